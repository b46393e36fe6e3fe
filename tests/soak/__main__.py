"""Hours of the whole stack with a fault every few minutes: what each process uses, and whatever is wrong or lost.

    python -m tests.soak --hours 2 [--seed 7]

Small storage for the full disk needs root, which may mount a tmpfs; without it that fault is left out, and said. Clock
steps are those of the forecasters (tests/season/shifted.py).
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from tests.soak.faults import drawn, faults
from tests.soak.table import judged, rows, text
from tests.soak.watch import Record, Watch
from tests.soak.world import World

PAUSE = (60.0, 240.0)  # s between two faults of a long run
QUIET_END = 90.0  # s at the end without a fault, in which everything has to be whole again
AT_LEAST = 6  # faults, however short the run is


def soak(folder: Path, hours: float, seed: int, emit: Callable[[str], None]) -> tuple[Record, list[str]]:
    """What was seen in so many hours, and the faults that were made."""
    world, record, made = World(folder, emit), Record(), list[str]()
    length = 3600 * hours
    end = max(length - QUIET_END, length / 2)
    chance = random.Random(seed)
    with world.running(), closing(Watch(world, record)) as watch:
        if not world.disk:
            emit("storage cannot be made small: there will be no full disk")
        longest = min(PAUSE[1], 2 * end / AT_LEAST)
        for fault in drawn(faults(world), chance):
            pause = chance.uniform(min(PAUSE[0], longest / 4), longest)
            if watch.clock + pause + fault.seconds > end:
                break
            time.sleep(pause)
            watch.happens = fault.name
            made.append(f"{watch.clock:.0f} s: {fault.name}")
            emit(made[-1])
            watch.excuse(fault.excuses, watch.clock + fault.seconds + fault.grace)
            finish = fault.begin(world)
            time.sleep(fault.seconds)
            finish()
            watch.excuse(fault.excuses, watch.clock + fault.grace)
        time.sleep(max(0.0, length - watch.clock))
    return record, made


def main() -> int:
    """Prints what happens, then the table and the violations; 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the faults (default: any)")
    parser.add_argument("--report", type=Path, help="file for all of it as JSON (default: in the folder of the run)")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    report = given.report or folder / "soak.json"
    print(f"seed {given.seed}; files and logs in {folder}", flush=True)
    record, made = soak(folder, given.hours, given.seed, lambda line: print(line, flush=True))
    table = rows(record.samples)
    violations = [*record.violations, *judged(table)]
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({
        "seed": given.seed, "hours": given.hours, "faults": made, "oldest_forecast_seconds": record.oldest,
        "values_compared": record.compared, "violations": violations, "table": [asdict(row) for row in table],
        "samples": {part: [[one.at, one.pid, *asdict(one.usage).values()] for one in of]
                    for part, of in record.samples.items()}}))
    print(f"\n{text(table)}\n\nseed {given.seed}: {len(made)} faults, {record.compared} values compared, the oldest "
          f"forecast {record.oldest:.0f} s; report in {report}")
    print("\n".join([f"{len(violations)} violations:", *violations] if violations else ["nothing was wrong"]))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
