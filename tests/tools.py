"""Where the tests find the programs of Prometheus' toolbox."""

import os
import shutil
from pathlib import Path

_TOOLS = Path(__file__).resolve().parent.parent / ".tools"


def tool(name: str) -> str:
    """The path of promtool, prometheus or amtool, in .tools/ or on PATH; AssertionError if in neither."""
    places = [_TOOLS / "bin", _TOOLS / "root" / "usr" / "bin"]
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))
    assert found, (
        f"{name} is neither in .tools/bin nor on PATH: run `make tools` to fetch it, or install Prometheus"
    )
    return found
