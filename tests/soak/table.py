"""What the samples of a soak say of each process, and where that is too much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from tests.soak.watch import Sample

SETTLE = 60.0  # s after a start that are left out: what is loaded then stays
FEW = 5  # samples below which nothing is said of a life
THREADS, DESCRIPTORS = 12, 40  # more than at the start of the same life
MEGABYTES = {"forecaster": 700.0, "forecaster-node": 500.0, "exporter": 300.0, "pager": 300.0}  # of our own, at most
LONG = 1200.0  # s of a life from which on its slope counts
SHOWN = 300.0  # s from which on it is shown
SLOPE = 60.0  # MB per hour
A_SERVER = 0.5  # MB that each more server may take (docs/scaling.md)
FIGURES = ("threads", "descriptors", "megabytes")


@dataclass(frozen=True)
class Row:
    """One figure of the longest life of a part: at its start and end (means of FEW samples), largest, and slope per
    hour (least squares). lives: how often the part was started; seconds: how long this life was watched; servers: how
    many more a forecaster held at most than at its start."""

    part: str
    figure: str
    lives: int
    seconds: float
    start: float
    end: float
    largest: float
    slope: float
    servers: int = 0


def rows(samples: Mapping[str, Sequence[Sample]]) -> list[Row]:
    """Three rows for each part of which enough is known."""
    made = []
    for part, given in samples.items():
        lives = [list(same) for _, same in groupby(given, key=lambda one: one.pid)]
        longest = max(lives, key=lambda life: life[-1].at - life[0].at)
        settled = [one for one in longest if one.at - longest[0].at >= SETTLE]
        life = settled if len(settled) >= FEW else longest
        if len(life) < FEW:
            continue
        at = np.array([one.at for one in life])
        servers = max(one.servers for one in life) - max(one.servers for one in life[:FEW])
        for figure in FIGURES:
            values = np.array([getattr(one.usage, figure) for one in life], float)
            slope = np.polyfit(at - at[0], values, 1)[0] * 3600
            made.append(Row(part, figure, len(lives), float(at[-1] - at[0]), float(values[:FEW].mean()),
                            float(values[-FEW:].mean()), float(values.max()), float(slope), servers))
    return made


def judged(made: Sequence[Row]) -> list[str]:
    """What of this is too much."""
    found = []
    for row in made:
        more = row.end - row.start
        of = f"{row.part}: {row.figure} from {row.start:.0f} to {row.end:.0f}"
        if row.figure == "threads" and more > THREADS or row.figure == "descriptors" and more > DESCRIPTORS:
            found.append(f"{of} within {row.seconds:.0f} s")
        if row.figure == "megabytes":
            limit = MEGABYTES.get(row.part)
            if limit is not None and row.largest > limit:
                found.append(f"{row.part}: {row.largest:.0f} MB, expected at most {limit:.0f} MB")
            allowed = SLOPE / 2 + A_SERVER * row.servers
            if limit is not None and row.seconds >= LONG and row.slope > SLOPE and more > allowed:
                found.append(f"{of}, {row.slope:.0f} MB per hour over {row.seconds:.0f} s")
    return found


def text(made: Sequence[Row]) -> str:
    """The table."""
    head = f"{'part':<16}{'figure':<13}{'lives':>6}{'seconds':>9}{'start':>8}{'end':>8}{'max':>8}{'per hour':>10}"
    return "\n".join([head, *(
        f"{row.part:<16}{row.figure:<13}{row.lives:>6}{row.seconds:>9.0f}{row.start:>8.0f}{row.end:>8.0f}"
        f"{row.largest:>8.0f}" + (f"{row.slope:>+10.1f}" if row.seconds >= SHOWN else f"{'':>10}") for row in made)])
