"""Values as JSON has them: rounded to four decimals, below 1 to four significant digits; null where unknown."""

import math
from datetime import UTC, datetime, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt


def numbers(values: npt.NDArray[np.floating]) -> Any:
    """The values (any shape) rounded, as nested lists, or one number, with None for NaN and infinities."""
    wide = values.astype(np.float64)
    known = np.isfinite(wide)
    size = np.abs(wide)
    exponent = np.floor(np.log10(size, where=known & (size > 0), out=np.zeros_like(wide)))
    scale = 10.0 ** np.clip(3 - np.minimum(exponent, -1), 4, 12)
    rounded = np.where(known, np.rint(np.where(known, wide, 0) * scale) / scale, np.nan)
    if not known.all():
        rounded = rounded.astype(object)
        rounded[~known] = None
    return rounded.tolist()


def number(value: float) -> float | int | None:
    """One value rounded like `numbers`; whole numbers as int."""
    return whole(numbers(np.array(value)))


def whole(value: float | None) -> float | int | None:
    """A whole number as int, anything else as it is."""
    return int(value) if value is not None and value == int(value) else value


def iso(instant: float) -> str | None:
    """Unix seconds as a time in UTC; None for NaN."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds") if math.isfinite(instant) else None


def begun(since: float, until: float, zone: tzinfo) -> tuple[str, str]:
    """Since when something is P1 or P2 (Unix s), and when its alert fires, in words."""
    first, last = (datetime.fromtimestamp(round(at), zone) for at in (since, until))
    return f"since {first:%H:%M:%S %Z}", f"fires soon after {last:%H:%M:%S} if that lasts"
