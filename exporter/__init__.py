"""The simulated fleet as a Prometheus exporter.

In: a fleet file and the time. Out: metrics of the servers at /metrics, or past days as OpenMetrics.

    profiles       the fleet file, validated
    schedule       diurnal curve, weekends and transition rates as arrays
    physics        metrics as a function of load, distress and noise
    latent         the hidden condition of the servers at a minute
    fleet          the course of the fleet through time, its scenarios and forks
    traits         sizes, patterns and speeds of mounts
    filling        how full mounts become within an hour, and what happens to them
    mounts         the mounts of the fleet through time, and possible futures
    live           the fleet at the present time, for several threads
    scenario_log   the scenarios that were set, on disk
    collector      the metric families
    control        /status and /scenario/set
    page           the page for people
    history        past days as OpenMetrics
    app, __main__  the Flask application and the command line
"""

from serving import __version__

__all__ = ["__version__"]
