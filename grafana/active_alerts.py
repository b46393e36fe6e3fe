"""The table of active alerts: one row for each server with a risk, one query for each column."""

from grafana import board, panels, queries
from grafana.panels import RISK_STEPS, column, prop

SERVER_LINK = prop("links", [board.server_link("${__data.fields.Server}")])


def table() -> panels.table.Panel:
    """The table of active alerts. Columns: priority, server, profile, risk, driver, then now, 30 m and Δ of each."""
    targets = [column(queries.ACTIVE_RISK, "A"), column(queries.ACTIVE_PRIORITY, "B"),
               column(queries.ACTIVE_DRIVER, "C"), column(queries.ACTIVE_FIRST_TROUBLE, "D"),
               column(queries.ACTIVE_PROBABILITY, "E")]
    names = {
        "Value #B": "Priority",
        "server": "Server",
        "profile": "Profile",
        "Value #A": "Risk",
        "component": "Driver",
        "Value #D": "Trouble in",
        "Value #E": "Incident 8 h",
    }
    units, ref = {}, ord("F")
    for signal, title in (("cpu_pct", "CPU"), ("mem_pct", "Mem"), ("latency_ms", "Lat")):
        for heading, expression in (
            ("now", queries.active_now(signal)),
            ("30m", queries.active_30m(signal)),
            ("Δ", queries.active_delta(signal)),
        ):
            targets.append(column(expression, chr(ref)))
            names[f"Value #{chr(ref)}"] = f"{title} {heading}"
            units[f"{title} {heading}"] = panels.SIGNALS[signal][1]
            ref += 1
    made = panels.rows("Active alerts",
                       "Servers with a risk, highest first. 30m is the p90 forecast 30 minutes ahead, Δ its "
                       "difference to now. Click a server to open it.",
                       targets, names, sort="Risk")
    panels.cells(made, "Priority", "none", states=panels.PRIORITY, width=110)
    panels.cells(made, "Risk", "none", steps=RISK_STEPS, width=70)
    panels.cells(made, "Trouble in", "s", decimals=0)
    made.override_by_name("Trouble in", [prop("mappings", panels.texts({0: ("now", panels.VERMILLION)}))])
    panels.cells(made, "Incident 8 h", "percentunit", decimals=0)
    for heading, unit in units.items():
        panels.cells(made, heading, unit, decimals=1)
    return made.override_by_name("Server", [SERVER_LINK])
