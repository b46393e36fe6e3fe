"""The forecasts on the landing page: a few lines of status, and a table of the fleet."""

from collections.abc import Mapping
from math import isnan

from forecaster.models.unforecast import REASONS
from forecaster.publish.api import SHOWN, first
from forecaster.publish.result import PERCENTILES, Result
from forecaster.risk.score import RISK_STEPS
from forecaster.risk.thresholds import Roles
from serving import __version__
from serving.web import Table

_P90 = PERCENTILES.index("p90")


def glance(last: Result | None, current: Result | None, model: Mapping[str, object], source: str,
           problem: str | None, now: float) -> dict[str, object]:
    """Item and value: version, model, age, fleet risk; ``problem`` says why the service is not ready."""
    shown = {"Version": __version__, "Model": model["model"], "Source": source}
    if model["problem"]:
        shown["Model problem"] = model["problem"]
    shown["Forecast age"] = f"{last.age(now):.0f} s" if last else "no forecast yet"
    if current is not None:
        shown["Fleet health"] = current.risk.health
        for window, chance in current.risk.fleet_probability.items():
            shown[f"Incident probability {window}"] = "unknown" if isnan(chance) else f"{chance:.0%}"
    if problem:
        shown["Not ready"] = problem
    return shown


def fleet_tables(result: Result | None, roles: Roles) -> tuple[Table, ...]:
    """The servers, highest risk first, then those that are not forecast; no table without a current forecast."""
    if result is None:
        return ()
    titles = (("CPU %", roles.cpu), ("Memory %", roles.memory), ("Latency ms", roles.latency))
    shown = [(title, result.signals.index(name)) for title, name in titles if name in result.signals]
    columns = ["Server", "Profile", "Priority", "Risk", "Method"]
    for title, _ in shown:
        columns += [f"{title} now", "p90 in 30 min"]
    columns.append("Message")
    scores = result.risk.score.tolist()
    by_risk = sorted(range(len(result.servers)),
                     key=lambda s: (1.0 if isnan(scores[s]) else -scores[s], result.servers[s]))
    rows = []
    for s in by_risk:
        method = "none" if result.stale[s] else result.method[s]
        priority = "stale" if result.stale[s] else result.risk.priority[s] or "-"
        row = [result.servers[s], result.profiles[s], priority, _text(scores[s]), method]
        for _, c in shown:
            row += [_text(result.observed[s, c]), _text(result.forecast[s, c, RISK_STEPS - 1, _P90])]
        rows.append([*row, result.risk.message(s) if result.risk.component[s] else "-"])
    return Table("Fleet", tuple(columns), rows), _unforecast(result)


def _unforecast(result: Result) -> Table:
    """Servers that are up or known and not forecast, at most SHOWN."""
    names = first(result.unforecast)
    rows = [(name, REASONS[result.unforecast[name]]) for name in names[:SHOWN]]
    rows += [(name, "see /status") for name in names[SHOWN:]]
    return Table("Seen, not forecast", ("Server", "Reason"), rows)


def _text(value: float) -> str:
    return "-" if isnan(value) else f"{value:.1f}".removesuffix(".0")
