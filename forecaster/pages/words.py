"""Figures and times as the pages say them; what is unknown is "-"."""

from datetime import datetime
from math import isfinite
from zoneinfo import ZoneInfo

from forecaster.risk.incidents import UNITS

UNKNOWN = "-"
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def chance(value: float | None) -> str:
    """In whole percent, where 0 and 1 are not said of what is only near them."""
    if value is None or not isfinite(value):
        return UNKNOWN
    return "<1%" if value < 0.01 else ">99%" if value > 0.99 else f"{value:.0%}"


def share(value: float | None, digits: int = 0) -> str:
    """A share in percent, as it is."""
    return UNKNOWN if value is None or not isfinite(value) else f"{round(value, digits + 2) + 0.0:.{digits}%}"


def amount(value: float | None, unit: str) -> str:
    """Three significant digits and the unit."""
    if value is None or not isfinite(value):
        return UNKNOWN
    ending = UNITS.get(unit, f" {unit}")
    for scale, letter in _SCALES if unit not in ("percent", "ratio", "milliseconds") else ():
        if abs(value) >= scale:
            return f"{digits(value / scale)}{' ' if ending.startswith(' ') else ''}{letter}{ending.strip()}"
    return f"{digits(value)}{ending}"


def digits(value: float) -> str:
    """Three significant digits, without an exponent where that is readable."""
    if not isfinite(value):
        return UNKNOWN
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}".removesuffix(".0") if size >= 10 else f"{value:.3g}"


def clock(at: float, zone: ZoneInfo) -> str:
    """The time of day."""
    return f"{datetime.fromtimestamp(at, zone):%H:%M}"


def date(at: float | None, zone: ZoneInfo) -> str:
    """Day, time and zone."""
    return UNKNOWN if at is None or not isfinite(at) else f"{datetime.fromtimestamp(at, zone):%a %d %b %H:%M %Z}"


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for size, unit in ((2 * 86400, "d"), (2 * 3600, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / {'d': 86400, 'h': 3600, 'min': 60}[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"
