"""What is seen and not forecast: servers, with the reason, and signals of servers that are forecast otherwise."""

from grafana import active_alerts, board, own_queries, panels
from grafana.panels import GREEN, ORANGE, column, now


def section() -> list[board.Placed]:
    """One row: how many servers for each reason, their names, and the servers that lack signals."""
    count = panels.number("Servers not forecast",
                          "Number of servers that are up or known and not forecast, by reason.", "none",
                          now(own_queries.UNFORECAST_COUNT, "{{reason}}"), steps=((None, GREEN), (1, ORANGE)),
                          names=True).decimals(0)
    servers = panels.rows("Seen, not forecast",
                          "no_values: no signal has a value. unusable_values: no value is a number within its bounds. "
                          "stale: silent for stale_after. Such a server raises no P1 or P2.",
                          [column(own_queries.UNFORECAST, "A")], {"server": "Server", "reason": "Reason"})
    signals = panels.rows("Servers with missing signals",
                          "Number of configured signals without a forecast. The names are in the forecaster's /status.",
                          [column(own_queries.MISSING, "A")],
                          {"server": "Server", "profile": "Profile", "Value": "Missing signals"})
    panels.cells(signals, "Missing signals", "none", decimals=0)
    signals.override_by_name("Server", [active_alerts.SERVER_LINK])
    return board.row(7, (4, count), (10, servers), (10, signals))
