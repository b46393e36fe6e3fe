"""Waits until every part is ready, finds the web pages that work, and prints their addresses."""

import json
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stack import PartFailed
from stack.certificates import AUTHORITY
from stack.layout import Layout
from stack.parts import Part, Plan
from stack.runner import Runner, log_file
from stack.secure import CURL, PASSWORD, USER, open_url

DEADLINE = 120.0  # seconds; loading the model on a slow machine takes most of it
_GIVEN_UP = ("FATAL", "EXITED")
_FORECASTS = 'forecast_cpu_pct{percentile="p90",horizon="30m"}'


@dataclass(frozen=True)
class Row:
    """A row of the address table: the page, its address and its use."""

    what: str
    address: str
    use: str


def fetch(layout: Layout, url: str, timeout: float = 3.0) -> tuple[str, str] | None:
    """(address after redirects, body) of a page of a part that answers 200; None otherwise."""
    try:
        with open_url(layout.secure, url, timeout) as response:
            return (response.url, response.read().decode(errors="replace")) if response.status == 200 else None
    except (OSError, ValueError):  # refused, timed out, or an HTTP error
        return None


def wait_ready(
    runner: Runner,
    deadline: float = DEADLINE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns once every part is ready; PartFailed has the parts that are not, with the end of their logs."""
    layout, waiting, end = runner.layout, list(runner.parts), clock() + deadline
    while waiting:
        waiting = [part for part in waiting if fetch(layout, layout.url(part.name, part.ready)) is None]
        states = runner.states() if runner.alive else {}
        dead = [part for part in waiting if part.name not in states or states[part.name].state in _GIVEN_UP]
        if dead:
            raise PartFailed(_explain(runner, dead, "cannot be started"))
        if waiting and clock() >= end:
            raise PartFailed(_explain(runner, waiting, f"is not ready after {deadline:.0f} s"))
        if waiting:
            sleep(0.3)


def _explain(runner: Runner, parts: Iterable[Part], problem: str) -> str:
    return "\n".join(
        f"{part.name} {problem}; the end of {log_file(runner.layout, part.name)}:\n"
        f"{runner.last_lines(part.name)}"
        for part in parts
    )


def first_page(layout: Layout, part: str, pages: Iterable[str], otherwise: str) -> str:
    """The address of the first page whose first script can be fetched; else the address of `otherwise`.

    The packages of distributions have other pages of Prometheus and Alertmanager than upstream, or none.
    """
    for page in pages:
        address, body = fetch(layout, layout.url(part, page)) or ("", "")
        script = body.partition("<script")[2].partition('src="')[2].partition('"')[0]
        if script and fetch(layout, urllib.parse.urljoin(address, script)) is not None:
            return address
    return layout.url(part, otherwise)


def table(layout: Layout, plan: Plan) -> list[Row]:
    """The pages of the parts that run, besides the one to open."""
    names = plan.names()
    rows = [Row("Runbook", layout.url("forecaster", "/runbook"), "what each alert means, and what to do first")]
    if "prometheus" in names:
        page = first_page(layout, "prometheus", ("/graph", "/classic/graph"), "/api/v1/targets")
        rows.append(Row("Prometheus", page, f"query it, e.g. {_FORECASTS}"))
        page = first_page(layout, "prometheus", ("/alerts", "/classic/alerts"), "/api/v1/alerts")
        rows.append(Row("Alert rules", page, "what is pending and firing"))
    if "alertmanager" in names:
        page = first_page(layout, "alertmanager", ("/",), "/api/v2/alerts")
        rows.append(Row("Alertmanager", page, "what is active, grouped and inhibited"))
    if "pager" in names:
        use = "what is open, and what reached the on-call person; shown here, too"
        rows.append(Row("Pager", layout.url("pager", "/"), use))
    if "forecaster-node" in names:
        use = "the same forecasts for the host you are on"
        rows.append(Row("This machine", layout.url("forecaster-node", "/"), use))
    if "grafana" in names:
        rows.append(Row("Grafana", layout.url("grafana", "/"), "data sources are set up"))
    rows.append(Row("Fleet", layout.url("exporter", "/"), "the simulated servers and their scenario"))
    return rows


def render(layout: Layout, plan: Plan, rows: Iterable[Row], summary: str) -> str:
    """The text that is printed once all parts are ready."""
    rows = tuple(rows)
    what, address = max(len(row.what) for row in rows), max(len(row.address) for row in rows)
    lines = [f"Fleetcast is ready: {summary}", "", f"  Open {layout.url('forecaster', '/')}", "", "What else answers:"]
    lines += [f"  {row.what:<{what}}  {row.address:<{address}}  {row.use}" for row in rows]
    curl = "curl"
    if layout.secure is not None:
        curl = f"curl -K {_short(layout.secure / CURL)}"
        lines += ["", f"Log in as {USER} with the password in {_short(layout.secure / PASSWORD)}.",
                  f"Browsers warn until they trust {_short(layout.secure / AUTHORITY)}."]
    lines += ["", "Make the fleet critical, and healthy again:"]
    lines += [
        f"  {curl} -X POST {layout.url('exporter', '/scenario/set')} -H 'Content-Type: application/json' "
        f'-d \'{{"scenario":"{scenario}"}}\''
        for scenario in ("critical", "healthy")
    ]
    if "prometheus" in plan.names():
        lines += ["", "Queries to start with:", "  topk(5, forecast_risk_score)", f"  {_FORECASTS}"]
    if layout in (Layout.here(layout.root), Layout.here(layout.root).secured()):
        part = "prometheus" if "prometheus" in plan.names() else "forecaster"
        lines += ["", "Stop one part and start it again:", f"  make stop PART={part}", f"  make start PART={part}"]
    lines += ["", *plan.notes, f"Logs are in {_short(layout.data / 'logs')}. Ctrl-C stops everything."]
    return "\n".join(lines)


def summary(layout: Layout) -> str:
    """The number of servers and the state of their warm-up, from the forecaster's /status."""
    try:
        status = json.loads((fetch(layout, layout.url("forecaster", "/status")) or ("", ""))[1])
        return f"{status['servers']['total']} servers. {status['warmup']['message']}."
    except (ValueError, KeyError, TypeError):
        return "the first forecast is not there yet."


def _short(path: Path) -> str:
    """A path, relative to the current folder if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
