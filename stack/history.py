"""Loads the fleet's past into Prometheus.

The exporter's fleet is a function of the instant, so the samples that Prometheus missed can be computed: eight days
before the first start (of mounts four weeks), and later the time since the last stop. Prometheus must not run
meanwhile.

    python -m stack.history --storage .data/prometheus      (for the containers; `make up` calls `backfill`)

The blocks get the compaction hint that Prometheus gives to blocks of out-of-order samples. Without the hint, Prometheus
would ignore the samples in its write-ahead log that are older than the end of the newest block.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.storage import put_aside, write
from stack import HistoryFailed
from stack.layout import HOST, PORTS
from stack.remedies import report

DAYS, MOUNT_DAYS = 8, 28  # what fills up is forecast from four weeks
DAY = 86400.0
BOOTSTRAP_HOURS = 3
SMALLEST_GAP = 60.0  # seconds; the look-back of Prometheus (5 minutes) covers shorter ones
FINE, COARSE = 15, 60  # seconds between samples, for gaps up to BOOTSTRAP_HOURS and for longer ones
MOUNT_RESOLUTION = 600  # seconds between samples of mounts before the last DAYS
STATE = "backfilled.json"  # in the storage folder: {"until": Unix seconds}
LATEST = 1 << 33  # Unix seconds: the year 2242
_BLOCK_SPAN = "72h"  # promtool reads its input once per block; this takes 10 s for eight days instead of minutes
_MOUNT_BLOCK_SPAN = "486h"  # the largest that promtool makes of 20 days
_LATE = "from-out-of-order"


@dataclass(frozen=True)
class Gap:
    """A time range [start, end) without samples, in Unix seconds; resolution: seconds between the new samples."""

    start: float
    end: float
    resolution: int

    def __str__(self) -> str:
        hours = (self.end - self.start) / 3600
        if hours >= 48:
            return f"{hours / 24:.0f} days"
        return f"{hours:.1f} hours" if hours >= 2 else f"{hours * 60:.0f} minutes"


@dataclass(frozen=True)
class History:
    """Writes and loads the exporter's past.

    storage: Prometheus' data folder; exporter: the command before `history`; promtool: its path; config: the fleet
    file; address: host:port of the exporter, the `instance` of its series; clock: Unix seconds; report: prints a line
    of progress.
    """

    storage: Path
    exporter: Sequence[str]
    promtool: str
    config: Path
    address: str
    clock: Callable[[], float] = time.time
    report: Callable[[str], None] = print

    def backfill(self, days: float = DAYS) -> bool:
        """Loads what is missing up to now, at most the last `days`; returns whether anything was missing.

        Loading takes time, so the time that passed meanwhile is loaded as well. At the first start, the past of mounts
        is MOUNT_DAYS long, unless `days` is less than DAYS.
        """
        first = gap = find_gap(self.storage, self.clock(), days)
        if gap is not None and days >= DAYS and newest_sample(self.storage) is None:
            begin = (gap.end - MOUNT_DAYS * DAY) // MOUNT_RESOLUTION * MOUNT_RESOLUTION
            if begin < gap.start:
                older = Gap(begin, gap.start, MOUNT_RESOLUTION)
                self.report(f"loading {older} of older history of mounts at {older.resolution} s")
                self._add(older, mounts_only=True)
        while gap is not None:
            since = "" if newest_sample(self.storage) is None else " (since the last sample)"
            self.report(f"loading {gap} of history at {gap.resolution} s{since}")
            self.load(gap)
            gap = find_gap(self.storage, self.clock(), days)
        return first is not None

    def write(self, gap: Gap, output: Path, mounts_only: bool = False) -> None:
        """Writes the exporter's series over the gap as OpenMetrics, with the labels that a scrape adds."""
        scenarios = self.storage.parent / "exporter"  # the scenarios that were set meanwhile
        run((
            *(*self.exporter, "history", "--config.file", str(self.config), "--storage.path", str(scenarios)),
            *("--start", f"{gap.start:.0f}", "--end", f"{gap.end:.0f}", "--resolution", str(gap.resolution)),
            *("--label", "job=fleet-exporter", "--label", f"instance={self.address}", "--output", str(output)),
            *(["--mounts-only"] if mounts_only else []),
        ))

    def load(self, gap: Gap) -> None:
        """Loads a gap; it is closed once all its blocks are there."""
        self._add(gap)
        write(self.storage / STATE, lambda file: file.write(json.dumps({"until": gap.end}).encode()))

    def _add(self, gap: Gap, mounts_only: bool = False) -> None:
        """Makes blocks beside the storage and moves them into it."""
        self.storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="backfill-", dir=self.storage.parent) as folder:
            text, blocks = Path(folder, "history.om"), Path(folder, "blocks")
            self.write(gap, text, mounts_only)
            command = (self.promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet")
            span = _MOUNT_BLOCK_SPAN if mounts_only else _BLOCK_SPAN
            run((*command, f"--max-block-duration={span}", str(text), str(blocks)))
            made = [block for block in blocks.iterdir() if (block / "meta.json").is_file()]
            if not made:
                raise HistoryFailed(
                    f"promtool made no blocks from {gap} of history; expected at least one; "
                    f"check that `{' '.join(self.exporter)} history` prints samples"
                )
            for block in made:
                mark_late(block)
                block.rename(self.storage / block.name)


def find_gap(storage: Path, now: float, days: float = DAYS) -> Gap | None:
    """The gap between the newest sample and `now`, or None if it is shorter than SMALLEST_GAP."""
    newest = newest_sample(storage)
    start = now - days * DAY if newest is None else max(newest, now - days * DAY)
    if now - start < SMALLEST_GAP:
        return None
    resolution = FINE if now - start <= BOOTSTRAP_HOURS * 3600 else COARSE
    # The grid is fixed: a gap that is loaded twice, after an interruption, gives the same samples again.
    return Gap(start // resolution * resolution + resolution, float(int(now)), resolution)


def newest_sample(storage: Path) -> float | None:
    """When Prometheus last stored a sample or the backfill ended, in Unix seconds; None if there was no backfill."""
    written = [segment.stat().st_mtime for segment in storage.glob("wal/[0-9]*") if segment.is_file()]
    path = storage / STATE
    try:
        until = float(json.loads(path.read_bytes())["until"])
        if not 0 <= until < LATEST:
            raise ValueError(f"until is {until}")
    except FileNotFoundError:
        return None  # any files here come from a first start that was interrupted
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        put_aside(path, f'{path} is damaged ({error}), expected {{"until": <Unix seconds>}}; the last days are loaded')
        return None
    return max([*written, until])


def mark_late(block: Path) -> None:
    """Gives a block the compaction hint for out-of-order samples; see the top of this file."""
    meta = json.loads((block / "meta.json").read_text())
    meta["compaction"]["hints"] = [_LATE]
    (block / "meta.json").write_text(json.dumps(meta, indent="\t"))


def run(command: Sequence[str]) -> None:
    """Runs a command to its end; HistoryFailed with the end of its stderr if it fails."""
    quiet = subprocess.DEVNULL
    done = subprocess.run(command, check=False, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise HistoryFailed(f"`{' '.join(command[:4])} …` ended with exit code {done.returncode}: {said}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the containers: loads the past into a storage folder; Prometheus must not run."""
    about = "Load the fleet's past into Prometheus."
    parser = argparse.ArgumentParser(prog="python -m stack.history", description=about)
    parser.add_argument("--storage", type=Path, required=True, help="Prometheus' data folder")
    parser.add_argument("--config.file", dest="config", type=Path, default=Path("exporter/fleet.yml"))
    about = "host:port that Prometheus scrapes"
    parser.add_argument("--instance", default=f"{HOST}:{PORTS['exporter']}", help=about)
    parser.add_argument("--days", type=float, default=DAYS, help="how far back at most (default %(default)s)")
    options = parser.parse_args(arguments)
    promtool = shutil.which("promtool")
    if promtool is None:
        print("stack: promtool is not on PATH; install prometheus or put .tools/bin on PATH", file=sys.stderr)
        return 1
    exporter = (sys.executable, "-m", "exporter")
    history = History(options.storage, exporter, promtool, options.config, options.instance)
    try:
        if not history.backfill(options.days):
            print("history is complete")
    except (HistoryFailed, OSError) as error:
        return report(error, options.storage)
    return 0


if __name__ == "__main__":
    sys.exit(main())
