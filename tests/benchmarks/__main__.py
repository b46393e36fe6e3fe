"""`make bench`: every figure of speed and size beside its floor or its peer; not part of the tests.

    python -m tests.benchmarks            all of them
    python -m tests.benchmarks forward    only tests/benchmarks/bench_forward.py
"""

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.measure import machine

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # what the tests share: models, results, tools


def main() -> int:
    """Runs the benchmarks, prints their lines as they come, and writes them to --report; 0 whatever was measured."""
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--report", type=Path, help="JSON file to write the lines to")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; expected some of {', '.join(names)}")
    print(machine())
    measured = {}
    for name in arguments.only or names:
        module = importlib.import_module(f"tests.benchmarks.bench_{name}")
        print(f"\n{name}: {module.__doc__.splitlines()[0]}")
        measured[name] = []
        for line in module.lines():
            print(line, flush=True)
            measured[name].append(asdict(line))
    if arguments.report is not None:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        arguments.report.write_text(json.dumps({"machine": machine(), "lines": measured}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
