"""Fleet overview: are the next eight hours safe, which server is the problem, why, and how sure is it?"""

from grafana_foundation_sdk.models import dashboard as models

from grafana import active_alerts, board, incidents, panels, queries, unforecast
from grafana.panels import ANY_IS_BAD, CHANCE_STEPS, GREEN, ORANGE, RISK_STEPS, VERMILLION, column, now, prop, query

_TILE_LINK = [board.server_link("${__field.labels.server}")]


def dashboard() -> models.Dashboard:
    """The dashboard Grafana opens with."""
    return board.build(board.OVERVIEW, "Fleet",
                       "Are the next eight hours safe, which server is the problem, why, and how sure is it?",
                       [board.query_variable(*board.FLEET), board.query_variable(*board.PROFILE)], board.AHEAD, "30s",
                       [("", _verdict()), ("", _figures()),
                        ("Active alerts: incidents that are on or possible, and every other P1 and P2",
                         [active_alerts.table().span(24).height(8)]),
                        ("Firing now", _firing()), ("Seen, not forecast", unforecast.section()),
                        ("Risk: the last 6 hours and the next 8", _risk())])


def _verdict() -> list[board.Placed]:
    first = panels.number("First incident in",
                          "Time until the first incident of any server is expected; NOW while one is on.",
                          "s", now(incidents.FLEET_FIRST),
                          steps=((None, GREEN), (0, VERMILLION), (3600, ORANGE)))
    first.mappings(panels.texts(panels.FIRST)).decimals(0)
    riskiest = panels.number("Riskiest servers",
                             "Three servers at most: P1, then P2, then those likeliest to have an incident within 8 "
                             "hours, with the chance, from 10 % on. Click one to open it.",
                             "percentunit", now(incidents.RISKIEST, "{{server}}"), steps=CHANCE_STEPS, names=True)
    ranks = (4, 5, panels.PRIORITY[1]), (2, 3, panels.PRIORITY[2])
    riskiest.mappings([
        models.RangeMap(options=models.DashboardRangeMapOptions(
            from_val=least, to=most, result=models.ValueMappingResult(text=text, color=colour)))
        for least, most, (text, colour) in ranks
    ])
    return board.row(5,
        (6, panels.number("Next 8 hours",
                          "ACT NOW: a server is P1. LIKELY: one is P2, or an incident is on or has a chance of 50 %. "
                          "POSSIBLE: of 10 %. SAFE: none of it. UNKNOWN: no chance is known.",
                          "none", now(incidents.FLEET_VERDICT), states=panels.VERDICT, nothing="NO FORECAST")),
        (8, riskiest.decimals(0).data_links([_link(_TILE_LINK[0])])),
        (4, panels.bars("Why",
                        "Number of servers by incident that is on or has a chance of 50 % within 8 hours. Without "
                        "chances: with risk points, by component.",
                        "none", now(incidents.WHY, "{{incident}}{{component}}"), steps=ANY_IS_BAD).decimals(0)),
        (3, first),
        (3, panels.number("Fleet health",
                          "Warning while a server is P1 or the mean weighted probability of 30 minutes is above 40 %, "
                          "critical where that is above 70 %.",
                          "none", now(queries.HEALTH), states=panels.HEALTH)))


def _figures() -> list[board.Placed]:
    by_priority = panels.bars("Servers by priority",
                              "Number of servers of each priority, by the risk score or by the chances of incidents.",
                              "none", now(queries.priority_count("P1"), "P1", "A"), steps=panels.PLAIN).decimals(0)
    by_priority.with_target(now(queries.priority_count("P2"), "P2", "B"))
    by_priority.with_target(now(queries.priority_count("P3"), "P3", "C"))
    for name, (_, colour) in zip(("P1", "P2", "P3"), panels.PRIORITY.values(), strict=True):
        by_priority.override_by_name(name, [panels.fixed(colour)])
    chances = [
        panels.number(f"Any incident within {window}",
                      f"Calibrated chance that at least one server has an incident within {window}, now and in the "
                      "last 6 hours.",
                      "percentunit", query(incidents.fleet_chance(window)), steps=CHANCE_STEPS,
                      nothing="no calibrated chance", course=True).decimals(0).min(0).max(1)
        for window in ("30m", "8h")
    ]
    scenario = panels.number("Scenario",
                             "Current scenario of the simulated fleet and number of affected servers. Real servers "
                             "have no scenario.",
                             "none", now(queries.SCENARIO, "{{scenario}}"), names=True)
    scenario.with_target(now(queries.AFFECTED, "servers affected", "B"))
    word = models.DashboardRangeMapOptions(from_val=0, to=1, result=models.ValueMappingResult(text="scenario"))
    scenario.override_by_query("A", [prop("mappings", [models.RangeMap(options=word)])])
    warmup = panels.number("Warm-up",
                           "Number of servers with too few samples for the model. The trend heuristic forecasts them.",
                           "none", now(queries.WARMUP), steps=((None, GREEN), (1, ORANGE)))
    warmup.mappings(panels.texts({-2: ("MODEL DID NOT LOAD", VERMILLION), -1: ("heuristic by choice", panels.SKY),
                                  0: ("complete", GREEN)}))
    return board.row(5,
        (4, chances[0]),
        (4, chances[1]),
        (5, by_priority),
        (3, panels.number("High risk", "Number of servers of priority P1. Each of them pages.", "none",
                          now(queries.HIGH_RISK), steps=ANY_IS_BAD)),
        (4, scenario),
        (4, warmup))


def _firing() -> list[board.Placed]:
    alerts = panels.rows("Firing alerts", "Firing alerts of this forecaster and of its dependencies.",
                         [column(queries.FIRING, "A")],
                         {"alertname": "Alert", "priority": "Priority", "server": "Server", "instance": "Raised for"})
    alerts.override_by_name("Server", [active_alerts.SERVER_LINK])
    held = panels.number("Held by Alertmanager",
                         "Active alerts are notified. Suppressed alerts are silenced, or inhibited by a page for the "
                         "same server. The watchdog is always active.",
                         "none", now(queries.ALERTMANAGER_ALERTS, "{{state}}"), nothing="no Alertmanager", names=True)
    return board.row(7,
        (12, alerts),
        (6, held),
        (3, panels.number("Silences", "Active silences in Alertmanager.", "none", now(queries.ALERTMANAGER_SILENCES))),
        (3, panels.number("Alert chain",
                          "Whether forecasts are current, rules are evaluated and alerts are delivered. If not, alerts "
                          "may be missing.",
                          "none", now(queries.WATCHDOG), states={0: ("BROKEN", VERMILLION), 1: ("works", GREEN)})))


def _risk() -> list[board.Placed]:
    tiles = panels.number("Risk map",
                          "One tile per server with the chance of an incident within 8 hours, highest first; 100 % "
                          "while one is on. Click a tile to open the server.",
                          "percentunit", now(incidents.MAP, "{{server}}"), steps=CHANCE_STEPS, names=True).decimals(0)
    tiles.mappings(panels.texts({-1: ("chance unknown", panels.GREY)}))
    past = [queries.past_limit(signal) for signal in queries.TROUBLE]
    names = [
        f"{panels.SIGNALS[signal][0]} above {limit} {'ms' if signal == 'latency_ms' else '%'}"
        for signal, limit in queries.TROUBLE.items()
    ]
    over = panels.lines("Servers past a limit",
                        "Number of servers above a limit: by actual values up to now, then by the p90 forecast.",
                        "none",
                        *(query(*one) for one in zip(past, names, "ABC", strict=True)))
    priorities = panels.stacked("Servers by priority over time",
                                "Number of servers of each priority: actual up to now, then by the risk points of the "
                                "p90 forecast.",
                                "none", query(queries.PRIORITY_COURSE, "{{priority}}")).interval("1m")
    for value, (name, (_, colour)) in enumerate(zip(("P1", "P2", "P3"), panels.PRIORITY.values(), strict=True), 1):
        priorities.override_by_name(str(value), [prop("displayName", name), panels.fixed(colour)])
    weighted = panels.lines("Weighted probability",
                            "Mean of the servers' incident probabilities as sums of weights. Lines: its limits of the "
                            "fleet's health.",
                            "percentunit", query(queries.FLEET_WEIGHTED, "within {{window}}")).min(0).max(1)
    panels.marked(weighted, *panels.HEALTH_LIMITS)
    risk = panels.lines("Risk over time",
                        "Risk score of the riskiest servers: actual up to now, then by the p90 forecast.", "none",
                        query(queries.RISK_COURSE, "{{server}}")).min(0).max(100).interval("1m")
    panels.marked(risk, *RISK_STEPS[1:])
    heat = panels.heat_rows("Risk by profile", "Highest risk score of each profile over time. Bright is high.", "none",
                            query(queries.RISK_BY_PROFILE, "{{profile}}"), 100).interval("1m")
    panels.coloured(over.decimals(0), dict(zip(names, (panels.BLUE, ORANGE, panels.PURPLE), strict=True)))
    tiles.data_links([_link(_TILE_LINK[0])])
    return [*board.row(9, (24, tiles), (12, risk), (12, heat)),
            *board.row(8, (8, priorities), (8, over), (8, weighted))]


def _link(made: dict[str, object]) -> panels.dashboard.DashboardLink:
    return panels.dashboard.DashboardLink(str(made["title"])).url(str(made["url"]))
