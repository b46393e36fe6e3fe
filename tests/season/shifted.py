"""`python -m tests.season.shifted FILE serve ...`: the forecaster on a clock that is off by what FILE says, in seconds.

FILE holds one double. The shift can change while the forecaster runs, as a clock that somebody sets.
"""

import mmap
import struct
import sys
import time
from pathlib import Path


def shift(file: Path) -> None:
    """From now on time.time() is off by what the file says at that moment."""
    with file.open("rb") as opened:
        memory = mmap.mmap(opened.fileno(), 8, access=mmap.ACCESS_READ)
    right = time.time
    time.time = lambda: right() + struct.unpack_from("d", memory)[0]


if __name__ == "__main__":
    shift(Path(sys.argv[1]))
    sys.argv = ["fleet-forecaster", *sys.argv[2:]]
    from forecaster.__main__ import main

    sys.exit(main())
