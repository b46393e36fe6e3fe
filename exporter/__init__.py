"""The simulated fleet as a Prometheus exporter."""

from serving import __version__

__all__ = ["__version__"]
