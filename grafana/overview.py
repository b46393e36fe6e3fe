"""Fleet overview: are the next eight hours safe, which server is the problem, why, and how sure is it?"""

from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import BigValueTextMode

from grafana import active_alerts, board, incidents, panels, queries, states, tiles, unforecast
from grafana.panels import column, now, prop, query
from grafana.states import BLUE, ORANGE, PURPLE, RISK_STEPS, SKY, VERMILLION


def dashboard() -> models.Dashboard:
    """The dashboard Grafana opens with."""
    return board.build(board.OVERVIEW, "Fleet",
                       "Are the next eight hours safe, which server is the problem, why, and how sure is it?",
                       [board.query_variable(*board.FLEET), board.query_variable(*board.PROFILE)], board.AHEAD, "30s",
                       [("", _state()), ("", [active_alerts.table().span(24).height(8)]), ("", _servers()),
                        ("The last 6 hours and the next 8", _risk()), ("The last 6 hours", _past()),
                        ("Not forecast", [unforecast.table().span(24).height(6)])])


def _state() -> list[board.Placed]:
    chances = tiles.chances(incidents.fleet_chance,
                            "Calibrated chance that at least one server has an incident within {}. Without a colour, "
                            "as it is high in a large fleet of healthy servers.", states.PLAIN)
    return board.row(4,
        (7, tiles.state("State of the fleet", incidents.FLEET_STATE, tiles.NAME_TOO)),
        (4, tiles.first(incidents.FLEET_FIRST, "of any server")),
        (3, chances[0]),
        (3, chances[1]),
        (3, tiles.forecast_age()),
        (4, panels.number("Alert chain",
                          "Whether this fleet's forecasts are current, rules are evaluated, and alerts reach and leave "
                          "Alertmanager. If not, alerts may be missing.",
                          "none", now(queries.ALERT_CHAIN), states=states.CHAIN, nothing="no delivery in 2 min")))


def _servers() -> list[board.Placed]:
    chances = panels.number("Risk map",
                            "A tile for each server, coloured by the chance of an incident within 8 hours, highest "
                            "first; 100% while one is on. Hover for the name, click to open.",
                            "percentunit", now(incidents.MAP, "{{server}}"), steps=states.HEAT_STEPS,
                            shown=BigValueTextMode.NONE).decimals(0)
    chances.mappings(panels.texts({-2: ("chance unknown", states.NOTICE), -1: states.STATE[-1]}))
    label = "${__field.labels.server}"
    opened = board.server_link(label, f"{label}: ${{__value.text}}")
    chances.data_links([panels.dashboard.DashboardLink(str(opened["title"])).url(str(opened["url"]))])
    counts = panels.bars("Servers by state", "Number of servers in each state.", "none",
                         now(incidents.with_state(4), "ACT NOW", "A"), steps=states.BARS).decimals(0)
    by_urgency = sorted(states.SHOWN, reverse=True)
    for value, ref in zip(by_urgency[1:], "BCDEFG", strict=True):
        counts.with_target(now(incidents.with_state(value), states.SHOWN[value][0], ref))
    panels.coloured(counts, dict(states.SHOWN.values()))
    alerts = panels.rows("Firing alerts", "Firing alerts of this fleet and of what it depends on.",
                         [column(queries.FIRING, "A")],
                         {"priority": ("Priority", 70), "alertname": ("Alert", 200), "server": ("Server", 100),
                          "Value": ("Since", 120)},
                         nothing="Rules are not evaluated", sort={"Priority": False})
    panels.cells(alerts, "Since", "time:D MMM HH:mm")
    alerts.override_by_name("Since", [prop("mappings", panels.texts({0: ("–", states.QUIET)}))])
    alerts.override_by_name("Server", [active_alerts.SERVER_LINK])
    return board.row(7, (10, chances), (4, counts), (10, alerts))


def _risk() -> list[board.Placed]:
    past = [queries.past_limit(signal) for signal in queries.TROUBLE]
    names = [
        f"{panels.SIGNALS[signal][0]} above {limit} {'ms' if signal == 'latency_ms' else '%'}"
        for signal, limit in queries.TROUBLE.items()
    ]
    over = panels.lines("Servers above a limit",
                        "Number of servers above a limit: by actual values up to now, then by the p90 forecast.",
                        "none",
                        *(query(*one) for one in zip(past, names, "ABC", strict=True)))
    panels.coloured(over.decimals(0), dict(zip(names, (BLUE, ORANGE, PURPLE), strict=True)))
    priorities = panels.stacked("Servers by priority over time",
                                "Number of servers of each priority: actual up to now, then by the risk points of the "
                                "p90 forecast.",
                                "none", query(queries.PRIORITY_COURSE, "{{priority}}")).interval("1m")
    for value, (name, colour) in enumerate(zip(("P1", "P2", "P3"), (VERMILLION, ORANGE, SKY), strict=True), 1):
        priorities.override_by_name(str(value), [prop("displayName", name), panels.fixed(colour)])
    risk = panels.lines("Risk over time",
                        "Risk score of the riskiest servers: actual up to now, then by the p90 forecast.", "none",
                        query(queries.RISK_COURSE, "{{server}}")).min(0).max(100).interval("1m")
    panels.marked(risk, *RISK_STEPS[1:])
    heat = panels.heat_rows("Risk by profile", "Highest risk score of each profile over time. Bright is high.", "none",
                            query(queries.RISK_BY_PROFILE, "{{profile}}"), 100).interval("1m")
    return board.row(8, (12, risk), (12, heat), (12, priorities), (12, over))


def _past() -> list[board.Placed]:
    chance = panels.lines("Chance of an incident",
                          "Calibrated chance that at least one server has an incident, in the last 6 hours.",
                          "percentunit",
                          *(query(incidents.fleet_chance(window), f"within {words}", ref)
                            for (window, words), ref in zip(tiles.WINDOWS.items(), "AB", strict=True)))
    panels.coloured(chance.min(0).max(1), {"within 30 min": VERMILLION, "within 8 h": BLUE})
    weighted = panels.lines("Weighted probability",
                            "Mean of the servers' incident probabilities as sums of weights. Lines: its limits of the "
                            "fleet's health.",
                            "percentunit", query(queries.FLEET_WEIGHTED, "within {{window}}")).min(0).max(1)
    panels.marked(weighted, *states.HEALTH_LIMITS)
    return board.row(7, (12, panels.until_now(chance)), (12, panels.until_now(weighted)))
