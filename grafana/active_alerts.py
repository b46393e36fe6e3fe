"""The table of active alerts: one row for each incident that is on or possible, one query for each column."""

from grafana import board, incidents, panels
from grafana.panels import column, prop
from grafana.states import CHANCE_STEPS, SHOWN

WORDS = {name: one.words for name, one in incidents.NAMED.items()}
SERVER_LINK = prop("links", [board.server_link("${__data.fields.Server}")])
# query of each column; a phone shows the first four
_COLUMNS = {
    "A": incidents.ROW_STATE,
    "B": incidents.ROW_CHANCES["8h"],
    "C": incidents.ROW_FROM,
    "D": incidents.ROW_UNTIL,
    "E": incidents.ROW_CHANCES["30m"],
    "F": incidents.ROW_WHY,
    "G": incidents.ROW_SINCE,
}


def table() -> panels.table.Panel:
    """State, server, chance, when, and why."""
    made = panels.rows("Active alerts",
                       "Incidents that are on or have a chance of 10% in 8 hours, and servers in trouble or BLIND. "
                       "From, until: by p50. Why: now → p90 in 30 min. Since: P1 or P2.",
                       [column(expression, ref) for ref, expression in _COLUMNS.items()],
                       {"Value #A": ("State", 85), "server": ("Server", 123), "Value #B": ("8 h", 55),
                        "Value #C": ("From", 62), "Value #D": ("Until", 62), "Value #E": ("30 min", 70),
                        "why": ("Why", 330), "Value #G": ("Since", 140), "profile": ("Profile", 160)},
                       nothing="BLIND: no current forecast", sort={"State": True, "8 h": True})
    panels.cells(made, "State", "none", states={(2.5 if value < 0 else value): of for value, of in SHOWN.items()})
    for heading in ("8 h", "30 min"):
        panels.cells(made, heading, "percentunit", steps=CHANCE_STEPS, decimals=0)
    panels.cells(made, "From", "time:HH:mm")
    made.override_by_name("From", [prop("mappings", panels.texts({0: ("now", CHANCE_STEPS[-1][1])}))])
    panels.cells(made, "Until", "time:HH:mm")
    panels.cells(made, "Since", "time:D MMM HH:mm")
    made.override_by_name("Why", [prop("mappings", panels.words_for(WORDS))])
    return made.override_by_name("Server", [SERVER_LINK])
