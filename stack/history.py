"""Gives Prometheus the past it was not running for.

The exporter's fleet is a function of the instant, so what a stopped Prometheus missed can still be written:
eight days before the first start, and later the time since the last stop. Prometheus must not run meanwhile.

    python -m stack.history --storage .data/prometheus      (for the containers; `make up` calls `backfill`)

The blocks get the compaction hint that Prometheus gives to blocks of late samples. Without it, it would take
everything up to their end for stored and drop the younger samples that it still has in its write-ahead log.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack import HistoryFailed
from stack.layout import HOST, PORTS
from stack.remedies import explain

DAYS = 8
DAY = 86400.0
BOOTSTRAP_HOURS = 3
SMALLEST_GAP = 60.0  # seconds; shorter ones are bridged by Prometheus' look-back of 5 minutes
FINE, COARSE = 15, 60  # seconds between samples, for gaps up to BOOTSTRAP_HOURS and for longer ones
STATE = "backfilled.json"  # in the storage folder: {"until": Unix seconds}
_BLOCK_SPAN = "72h"  # promtool reads its input once per block: 10 s for eight days instead of minutes
_LATE = "from-out-of-order"


@dataclass(frozen=True)
class Gap:
    """A stretch [start, end) without samples, in Unix seconds; resolution: the seconds between new samples."""

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

    storage: Prometheus' data folder; exporter: command words before `history`; promtool: its path;
    config: the fleet's file; address: host:port of the exporter, the `instance` of its series;
    clock: Unix seconds; report: takes one line of progress.
    """

    storage: Path
    exporter: Sequence[str]
    promtool: str
    config: Path
    address: str
    clock: Callable[[], float] = time.time
    report: Callable[[str], None] = print

    def backfill(self, days: float = DAYS) -> bool:
        """Fills what is missing up to now, at most the last `days`; whether there was anything to fill.

        Loading eight days takes a while, so what passed meanwhile is filled once more.
        """
        first = gap = find_gap(self.storage, self.clock(), days)
        while gap is not None:
            self.report(
                f"loading {gap} of history at {gap.resolution} s"
                + ("" if newest_sample(self.storage) is None else " (since the last sample)")
            )
            self.load(gap)
            gap = find_gap(self.storage, self.clock(), days)
        return first is not None

    def write(self, gap: Gap, output: Path) -> None:
        """The exporter's series over the gap, as OpenMetrics and with the labels that a scrape gives them."""
        run(
            (
                *self.exporter,
                "history",
                "--config.file",
                str(self.config),
                "--storage.path",
                str(self.storage.parent / "exporter"),  # the scenarios set meanwhile
                "--start",
                f"{gap.start:.0f}",
                "--end",
                f"{gap.end:.0f}",
                "--resolution",
                str(gap.resolution),
                "--label",
                "job=fleet-exporter",
                "--label",
                f"instance={self.address}",
                "--output",
                str(output),
            )
        )

    def load(self, gap: Gap) -> None:
        """Makes blocks beside the storage and moves them in one by one; only then the gap counts as filled."""
        self.storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="backfill-", dir=self.storage.parent) as folder:
            text, blocks = Path(folder, "history.om"), Path(folder, "blocks")
            self.write(gap, text)
            run(
                (
                    self.promtool,
                    "tsdb",
                    "create-blocks-from",
                    "openmetrics",
                    "--quiet",
                    f"--max-block-duration={_BLOCK_SPAN}",
                    str(text),
                    str(blocks),
                )
            )
            made = [block for block in blocks.iterdir() if (block / "meta.json").is_file()]
            if not made:
                raise HistoryFailed(
                    f"promtool made no blocks from {gap} of history; "
                    f"see whether `{' '.join(self.exporter)} history` prints any samples"
                )
            for block in made:
                mark_late(block)
                block.rename(self.storage / block.name)
        state = self.storage / STATE
        unfinished = state.with_suffix(".new")
        unfinished.write_text(json.dumps({"until": gap.end}))
        unfinished.replace(state)


def find_gap(storage: Path, now: float, days: float = DAYS) -> Gap | None:
    """What is missing between the newest sample and `now`, or None where it is too little to matter."""
    newest = newest_sample(storage)
    start = now - days * DAY if newest is None else max(newest, now - days * DAY)
    if now - start < SMALLEST_GAP:
        return None
    resolution = FINE if now - start <= BOOTSTRAP_HOURS * 3600 else COARSE
    # On a fixed grid: a stretch that is loaded twice, after an interruption, gives the same samples again.
    return Gap(start // resolution * resolution + resolution, float(int(now)), resolution)


def newest_sample(storage: Path) -> float | None:
    """When Prometheus last stored a sample or the backfill ended, in Unix seconds; None: never."""
    written = [segment.stat().st_mtime for segment in storage.glob("wal/[0-9]*") if segment.is_file()]
    try:
        written.append(float(json.loads((storage / STATE).read_text())["until"]))
    except FileNotFoundError:
        return None  # whatever is here comes from a first start that was interrupted
    except (ValueError, KeyError, TypeError) as error:
        raise HistoryFailed(
            f'{storage / STATE} is damaged ({error}); expected {{"until": <Unix seconds>}}. '
            "Delete it and start again: the last days are loaded anew"
        ) from error
    return max(written)


def mark_late(block: Path) -> None:
    """Gives a block the hint that it holds late samples; see the top of this file."""
    meta = json.loads((block / "meta.json").read_text())
    meta["compaction"]["hints"] = [_LATE]
    (block / "meta.json").write_text(json.dumps(meta, indent="\t"))


def run(command: Sequence[str]) -> None:
    """Runs a command to its end; HistoryFailed with its last words if it fails."""
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise HistoryFailed(f"`{' '.join(command[:4])} …` ended with exit code {done.returncode}: {said}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fills the gap of a storage folder whose Prometheus does not run."""
    parser = argparse.ArgumentParser(
        prog="python -m stack.history", description="Load the fleet's past into Prometheus."
    )
    parser.add_argument("--storage", type=Path, required=True, help="Prometheus' data folder")
    parser.add_argument("--config.file", dest="config", type=Path, default=Path("exporter/fleet.yml"))
    parser.add_argument(
        "--instance", default=f"{HOST}:{PORTS['exporter']}", help="host:port Prometheus scrapes"
    )
    parser.add_argument("--days", type=float, default=DAYS, help="how far back at most (default %(default)s)")
    options = parser.parse_args(arguments)
    promtool = shutil.which("promtool")
    if promtool is None:
        print("stack: promtool is not on PATH; install prometheus or put .tools/bin on PATH", file=sys.stderr)
        return 1
    history = History(
        options.storage, (sys.executable, "-m", "exporter"), promtool, options.config, options.instance
    )
    try:
        if not history.backfill(options.days):
            print("history is complete")
    except HistoryFailed as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"stack: {explain(error, options.storage)}", file=sys.stderr)
        return 1
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
