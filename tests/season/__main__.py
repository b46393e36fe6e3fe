"""A season of misfortune on the real stack, in fast motion: what the pager says, held against what is so."""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.season.observer import Season
from tests.season.plan import draw
from tests.season.play import Player
from tests.season.stack import Stack

FACTOR = 15.0  # an evaluation of the rules each second


def run(folder: Path, seed: int, incidents: int, factor: float = FACTOR,
        emit: Callable[[str], None] = lambda line: None) -> tuple[Season, Player]:
    """Plays a season in an empty folder; what was so and said, and the player with the chronicle."""
    with closing(Stack(folder, factor)) as stack:
        player = Player(stack, draw(seed, incidents, [*stack.world.servers]), emit)
        try:
            return player.play(), player
        finally:
            (folder / "chronicle.txt").write_text("\n".join([*player.lines, ""]))


def main() -> int:
    """Prints the chronicle as it happens, then what was wrong; 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.season", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the plan (default: any)")
    parser.add_argument("--incidents", type=int, default=200, help="servers that are overloaded (default: %(default)s)")
    parser.add_argument("--factor", type=float, default=FACTOR, help="times faster than time (default: %(default)s)")
    given, started = parser.parse_args(), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="season-"))
    print(f"seed {given.seed}; files, logs and chronicle in {folder}", flush=True)
    season, _ = run(folder, given.seed, given.incidents, given.factor, lambda line: print(line, flush=True))
    wrong = season.wrong()
    print(f"seed {given.seed}: {given.incidents} incidents, {season.announced()} of {season.incidents()} paged; "
          f"{len(season.troubles)} faults; the pager said {len(season.said)} things; "
          f"{time.monotonic() - started:.0f} s")
    print("\n".join(wrong or ["nothing was wrong"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
