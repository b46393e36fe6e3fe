"""Servers that are not forecast, or not wholly, each with the reason."""

from grafana import active_alerts, board, own_queries, panels
from grafana.panels import column


def table() -> board.Placed:
    """One row a server."""
    made = panels.rows("Servers without a forecast",
                       "no_values: no signal has a value. unusable_values: no value is a number within its bounds. "
                       "stale: silent for stale_after. Missing signals are named in /status.",
                       [column(own_queries.UNFORECAST, "A")], {"server": ("Server", 300), "reason": ("Reason", 300)},
                       nothing="no current forecast", sort={"Reason": False})
    return made.override_by_name("Server", [active_alerts.SERVER_LINK])
