"""The table of active alerts: one row for each incident that is on or possible, one query for each column."""

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, incidents, panels
from grafana.panels import CHANCE_STEPS, RISK_STEPS, column, prop

# The incidents that are configured by default, in words.
WORDS = {
    "cpu_saturated": "CPU saturated",
    "memory_exhausted": "memory exhausted",
    "latency_high": "latency high",
    "cpu_pressure": "CPU pressure",
    "memory_pressure": "memory pressure",
    "io_pressure": "I/O pressure",
    "swap_storm": "swap storm",
    "disk_saturated": "disk saturated",
    "network_saturated": "network saturated",
    "fds_exhausted": "file descriptors exhausted",
    "conntrack_exhausted": "connection tracking exhausted",
    "clock_out_of_step": "clock out of step",
}

SERVER_LINK = prop("links", [board.server_link("${__data.fields.Server}")])
_WORDS = models.ValueMap(options={
    name: models.ValueMappingResult(text=text, index=index) for index, (name, text) in enumerate(WORDS.items())
})


def table() -> panels.table.Panel:
    """The table of active alerts. Columns: of the incident, then of the server: risk, and now, 30 m and Δ of each
    signal."""
    columns = {
        "Priority": incidents.ROW_PRIORITY,
        "30 min": incidents.ROW_CHANCES["30m"],
        "8 h": incidents.ROW_CHANCES["8h"],
        "Expected at": incidents.ROW_EXPECTED,
        "Now": incidents.ROW_ON,
        "Recurring": incidents.ROW_RECURRING,
        "Risk": incidents.ROW_RISK,
    }
    units = {}
    for signal, title in (("cpu_pct", "CPU"), ("mem_pct", "Mem"), ("latency_ms", "Lat")):
        for heading, expression in (
            ("now", incidents.row_now(signal)),
            ("30m", incidents.row_30m(signal)),
            ("Δ", incidents.row_delta(signal)),
        ):
            columns[f"{title} {heading}"] = expression
            units[f"{title} {heading}"] = panels.SIGNALS[signal][1]
    refs = {heading: chr(ord("A") + place) for place, heading in enumerate(columns)}
    names = {"Value #A": "Priority", "server": "Server", "profile": "Profile", "incident": "Incident"}
    names |= {f"Value #{ref}": heading for heading, ref in refs.items()}
    made = panels.rows("Active alerts",
                       "Incidents that are on or have a chance of 10 % within 8 hours, and other P1 and P2. Chances, "
                       "expected time, share of days it was on at that time; 30m: p90.",
                       [column(expression, refs[heading]) for heading, expression in columns.items()], names,
                       sort="Priority")
    panels.cells(made, "Priority", "none", states=panels.PRIORITY, width=110)
    made.override_by_name("Incident", [prop("mappings", [_WORDS])])
    for heading in ("30 min", "8 h"):
        panels.cells(made, heading, "percentunit", steps=CHANCE_STEPS, width=70, decimals=0)
    panels.cells(made, "Expected at", "time:HH:mm", width=90)
    panels.cells(made, "Now", "none", states={1: panels.ON[1]}, width=60)
    panels.cells(made, "Recurring", "percentunit", decimals=0)
    panels.cells(made, "Risk", "none", steps=RISK_STEPS, width=70)
    for heading, unit in units.items():
        panels.cells(made, heading, unit, decimals=1)
    return made.override_by_name("Server", [SERVER_LINK])
