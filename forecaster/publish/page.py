"""The forecasts on the landing page: a few lines of status, and a table of the fleet."""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isnan, nan

import numpy as np

from forecaster.capacity.forecast import WINDOWS
from forecaster.capacity.outlook import MEDIAN, PRIORITIES, Outlook
from forecaster.models.unforecast import REASONS
from forecaster.publish.alerts import by_urgency
from forecaster.publish.api import SHOWN, first
from forecaster.publish.result import PERCENTILES, Result
from forecaster.risk.score import RISK_STEPS
from forecaster.risk.state import State, counts, of_fleet
from forecaster.risk.thresholds import Roles
from serving import __version__
from serving.web import Table

_WINDOWS = {"30m": "30 minutes", "8h": "8 hours"}
_P90 = PERCENTILES.index("p90")


def glance(last: Result | None, current: Result | None, model: Mapping[str, object], source: str,
           problem: str | None, now: float) -> dict[str, object]:
    """Item and value: version, model, age, fleet health and chances; ``problem`` says why the service is not ready."""
    shown = {"State": _state(current), "Version": __version__, "Model": model["model"], "Source": source}
    if model["problem"]:
        shown["Model problem"] = model["problem"]
    if model.get("chances_problem"):
        shown["No chances of incidents"] = model["chances_problem"]
    shown["Forecast age"] = f"{last.age(now):.0f} s" if last else "no forecast yet"
    if current is not None:
        shown["Fleet health"] = current.health
        blind = of_fleet(current.state) is State.BLIND  # and its forecast is old
        for window, words in _WINDOWS.items():
            chance = nan if blind else current.risk.severe_any.get(window, nan)
            shown[f"Chance of an incident on any server within {words}"] = _chance(chance, "unknown")
    if problem:
        shown["Not ready"] = problem
    return shown


def fleet_tables(result: Result | None, roles: Roles) -> tuple[Table, ...]:
    """The servers, most urgent first, then those that are not forecast; no table without a current forecast."""
    if result is None:
        return ()
    titles = (("CPU %", roles.cpu), ("Memory %", roles.memory), ("Latency ms", roles.latency))
    shown = [(title, result.signals.index(name)) for title, name in titles if name in result.signals]
    # a phone shows the first columns
    columns = ["Server", "State", *(f"Chance {words}" for words in _WINDOWS.values()), "Profile", "Priority", "Risk",
               "Method"]
    for title, _ in shown:
        columns += [f"{title} now", "p90 in 30 min"]
    columns.append("Message")
    risk = result.risk
    named = risk.incidents.leading >= 0 if risk.incidents is not None else np.zeros(len(result.servers), bool)
    rows = []
    for s in by_urgency(result):
        method = "none" if result.stale[s] else result.method[s]
        priority = "stale" if result.stale[s] else risk.priority[s] or "-"
        state = State(result.state[s])
        known = {} if state is State.BLIND else risk.severe
        row = [result.servers[s], state.word]
        row += [_chance(known[window][s] if window in known else nan, "-") for window in _WINDOWS]
        row += [result.profiles[s], priority, _text(risk.score[s]), method]
        for _, c in shown:
            row += [_text(result.observed[s, c]), _text(result.forecast[s, c, RISK_STEPS - 1, _P90])]
        rows.append([*row, result.message(s) if risk.component[s] or named[s] else "-"])
    return Table("Fleet", tuple(columns), rows, anchors=True), _unforecast(result)


def filling_table(outlook: Outlook | None) -> tuple[Table, ...]:
    """What is full, or will be (p50) within 14 days, or has a priority, the first SHOWN by date; else no table."""
    if outlook is None:
        return ()
    dates = outlook.filling.full_at[:, MEDIAN]
    there = outlook.full | np.isfinite(dates) | (outlook.priority > 0)
    found = [row for row in outlook.order if there[row]]
    rows = []
    for row in found[:SHOWN]:
        one, rank, full = outlook.entities[row], int(outlook.priority[row]), bool(outlook.full[row])
        date = "-" if isnan(dates[row]) else f"{datetime.fromtimestamp(dates[row], UTC):%a %d %b %H:%M} UTC"
        chances = outlook.filling.chance[row].tolist()
        rows.append((one.server, outlook.resources[one.resource].title, one.name, f"{outlook.used[row]:.0%}",
                     "now" if full else date, PRIORITIES[rank - 1] if rank else "-",
                     *("-" if full else _chance(chance, "-") for chance in chances)))
    if len(found) > SHOWN:
        rows.append((f"and {len(found) - SHOWN} more", *["-"] * (5 + len(WINDOWS))))
    columns = ("Server", "Resource", "Entity", "Used", "Full at", "Priority", *(f"Chance {name}" for name in WINDOWS))
    return (Table("What fills up", columns, rows),) if rows else ()


def _state(current: Result | None) -> str:
    """The fleet's, and how many servers are in which."""
    if current is None:
        return f"{State.BLIND.word}: there is no current forecast"
    servers = ", ".join(f"{number} {word}" for word, number in counts(current.state).items() if number)
    return f"{of_fleet(current.state).word}: {servers or 'no server is known'}"


def _unforecast(result: Result) -> Table:
    """Servers that are up or known and not forecast, at most SHOWN."""
    names = first(result.unforecast)
    rows = [(name, REASONS[result.unforecast[name]]) for name in names[:SHOWN]]
    rows += [(name, "see /status") for name in names[SHOWN:]]
    return Table("Seen, not forecast", ("Server", "Reason"), rows)


def _chance(value: float, unknown: str) -> str:
    """In whole percent, where 0 and 1 are not said of what is only near them."""
    if isnan(value):
        return unknown
    return "<1%" if value < 0.01 else ">99%" if value > 0.99 else f"{value:.0%}"


def _text(value: float) -> str:
    return "-" if isnan(value) else f"{value:.1f}".removesuffix(".0")
