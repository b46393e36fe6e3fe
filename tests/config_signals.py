"""Signals as a source takes them, without a whole configuration."""

from types import SimpleNamespace


def signal(metric: str, scale: float = 100.0, low: float | None = 0.0, high: float | None = 100.0) -> SimpleNamespace:
    """A signal read from `metric`, by default a ratio in percent."""
    return SimpleNamespace(metric=metric, scale=scale, min=low, max=high)
