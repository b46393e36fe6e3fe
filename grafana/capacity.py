"""Capacity: what is full first, when, and how sure is that? Then one entity: its course, its forecast, its growth."""

from collections.abc import Mapping

from grafana_foundation_sdk.models import dashboard as models

from grafana import board, fans, filling, panels, states, tiles
from grafana.panels import column, now, prop, query
from grafana.states import BLUE, CHANCE_BARS, CHANCE_STEPS, CRITICAL, GREY, NOTICE, ORANGE, QUIET, VERMILLION, WARNING

_DATE = "time:D MMM HH:mm"
_URGENCY: states.States = {
    -1: ("–", QUIET),
    0: ("–", QUIET),
    1: ("P3", NOTICE),
    2: ("P2", WARNING),
    3: ("P1", CRITICAL),
    4: ("FULL", CRITICAL),
}
_NOW: states.States = {-1: ("not within 14 days", QUIET), 0: ("NOW", CRITICAL)}
_SOON: states.Steps = ((None, QUIET), (0, CRITICAL), (4 * 3600, WARNING), (24 * 3600, NOTICE), (7 * 24 * 3600, QUIET))
_USED: states.Steps = ((None, QUIET), (0.8, NOTICE), (0.9, WARNING), (1, CRITICAL))
_UNKNOWN = "no forecast"


def dashboard() -> models.Dashboard:
    """Opened from alerts about what fills up, and from the table of a server."""
    variables = [
        board.query_variable(*board.FLEET),
        board.query_variable("server", "Server", filling.SERVERS, "The server; what is likely to be full comes first.",
                             regex=filling.names("server")),
        board.query_variable("resource", "Resource", filling.RESOURCES, "What of the server is limited.",
                             regex=filling.names("resource")),
        board.query_variable("entity", "Entity", filling.ENTITIES, "Which of them, such as a mount point.",
                             regex=filling.names("entity")),
    ]
    return board.build(board.CAPACITY, "Capacity", "What is full first, when, and how sure is that?", variables,
                       board.DAYS_AHEAD, "1m",
                       [("", _state()),
                        ("", [_table("What is full first", filling.FLEET_ROWS, {"server": ("Server", 170)})
                              .override_by_name("Server", [prop("links", [_link("${__data.fields.Server}")])])
                              .span(24).height(10)]),
                        ("$server: $resource $entity", [*_entity(), *_charts()])])


def server_row() -> list[board.Placed]:
    """The row of the dashboard of a server."""
    made = _table("What fills up", filling.SERVER_ROWS, {})
    made.override_by_name("Entity", [prop("links", [_link("${server}")])])
    return [made.span(24).height(7)]


def _link(server: str) -> dict[str, object]:
    entity = "".join(f"&var-{name.lower()}=${{__data.fields.{name}:percentencode}}" for name in ("Resource", "Entity"))
    return panels.link("Open this entity", f"/d/{board.CAPACITY}?${{datasource:queryparam}}&${{fleet:queryparam}}"
                                           f"&var-server={server}{entity}&from=now-14d&to=now%2B14d")


def _state() -> list[board.Placed]:
    first = panels.number("First full in", "Time until the first entity of the fleet is full (p50).", "s",
                          now(filling.FIRST), steps=_SOON, nothing=_UNKNOWN).mappings(panels.texts(_NOW))
    age = panels.number("Outlook age", "Time since the last forecast of what fills up, which is made every 10 minutes. "
                        "It is grey from half an hour on.",
                        "s", now(filling.AGE), steps=((None, QUIET), (1800, states.UNKNOWN)), nothing="none yet")
    full = panels.number("Full now", "Entities at their limit that were not full for the whole of the last week.",
                         "none", now(filling.FULL_NOW), steps=states.ANY_IS_BAD)
    soon = [panels.number(f"Full within {filling.WINDOWS[window]}",
                          f"Entities that are more likely than not to be full within {filling.WINDOWS[window]}.",
                          "none", now(filling.likely(window)), steps=((None, QUIET), (1, colour)))
            for window, colour in (("24h", WARNING), ("7d", NOTICE))]
    failed = panels.number("Resources not read", "Resources whose query fails. Their entities keep the last forecast.",
                           "none", now(filling.FAILED), steps=states.ANY_IS_BAD)
    return board.row(4, (5, first.decimals(1)), (3, full), (4, soon[0]), (4, soon[1]),
                     (2, panels.number("Watched", "Entities that are forecast.", "none", now(filling.COUNT))),
                     (3, failed), (3, age.decimals(0)))


def _table(title: str, queries: Mapping[str, str], first: Mapping[str, tuple[str, int]]) -> panels.table.Panel:
    """One row an entity; `first`: the columns before its resource."""
    made = panels.rows(title,
                       "By the date at which p50 is full. Growth is a share of the limit a day, now and before it "
                       "changed.",
                       [column(expression, ref) for ref, expression in queries.items()],
                       {"Value #A": ("Priority", 80), **first, "resource": ("Resource", 120), "entity": ("Entity", 250),
                        "Value #B": ("Used", 70), "Value #C": ("Full at", 130), "Value #D": ("24 h", 70),
                        "Value #E": ("7 d", 70), "Value #F": ("Growth a day", 110), "Value #G": ("Before", 90)},
                       nothing="No current forecast, or nothing is watched", sort={"Full at": False})
    panels.cells(made, "Priority", "none", states=_URGENCY)
    panels.cells(made, "Used", "percentunit", steps=_USED, decimals=0)
    panels.cells(made, "Full at", _DATE)
    made.override_by_name("Full at", [prop("mappings", panels.texts({0: ("NOW", CRITICAL)}))])
    for heading in ("24 h", "7 d"):
        panels.cells(made, heading, "percentunit", steps=CHANCE_STEPS, decimals=0)
    for heading in ("Growth a day", "Before"):
        panels.cells(made, heading, "percentunit", decimals=2)
    return made


def _entity() -> list[board.Placed]:
    """What the alerts say: when it is full, how fast it grows, and since when."""
    share = panels.number("Used", "Used share of the limit.", "percentunit", now(filling.ENTITY_USED), steps=_USED,
                          nothing=_UNKNOWN)
    dates = [panels.number(f"Full at ({percentile})",
                           f"Time at which the {percentile} forecast is full. Of ten outcomes, {words} full earlier.",
                           _DATE, now(filling.ENTITY_AT[percentile]), nothing=_UNKNOWN).mappings(panels.texts(_NOW))
             for percentile, words in (("p90", "one is"), ("p50", "five are"), ("p10", "nine are"))]
    changed = panels.number("Growth changed", "Time at which the growth became what it is now.", _DATE,
                            now(filling.CHANGED), nothing="no change known")
    amounts = [panels.number(title, f"{text}, in the unit of its limit.", "sishort",
                             now(filling.amount(figure), "{{unit}}"), shown=tiles.NAME_TOO, nothing=nothing)
               for title, text, figure, nothing in (
                   ("Growth a day", "How much it grows a day now", "growth_ratio_per_day", "size unknown"),
                   ("Growth before", "How much it grew a day before that changed", "previous_growth_ratio_per_day",
                    "no change known"),
                   ("Largest step", "Largest rise within an hour of the last day", "largest_step_ratio",
                    "size unknown"))]
    step = panels.number("Step at", "End of the hour of the largest step.", _DATE, now(filling.STEP_AT),
                         nothing="no step")
    return [*board.row(4, (4, share.decimals(1)), *((5, one) for one in (*dates, changed))),
            *board.row(4, *((6, one) for one in (*amounts, step)))]


def _charts() -> list[board.Placed]:
    fan = panels.lines("Course and forecast",
                       "Used share: actual, then the forecast to 14 days ahead. The line at 100% is the limit.",
                       "percentunit", query(filling.COURSE, "actual", "A"))
    panels.coloured(fan, {"actual": GREY})
    panels.marked(fans.band(fan, filling.curve).min(0), (1, VERMILLION)).interval("1h")
    chances = panels.bars("Chance of full within", "Chance that it is full at any time within the window.",
                          "percentunit", now(filling.ENTITY_CHANCES, "{{window}}"), steps=CHANCE_BARS, largest=1)
    panels.titled(chances.decimals(0), filling.WINDOWS)
    grown = panels.lines("Change within a day, of the last month",
                         "Change of the used share within 24 hours, and its median and 90th percentile of 28 days.",
                         "percentunit", query(filling.DAILY, "within a day", "A"),
                         query(filling.usual(0.5), "median of the month", "B"),
                         query(filling.usual(0.9), "p90 of the month", "C"))
    panels.coloured(grown, {"within a day": BLUE, "median of the month": GREY, "p90 of the month": ORANGE})
    grown.interval("1h").time_from("672h").hide_time_override(True)
    return board.row(10, (24, fan)) + board.row(8, (8, chances), (16, grown))
