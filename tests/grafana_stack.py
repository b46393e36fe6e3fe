"""What Grafana would do with a dashboard, against a real Prometheus that real parts feed, on free ports.

The parts run at their own pace, except that Prometheus scrapes every second and the forecasters refresh every 5
seconds, so that everything has a value soon. The fleet's last three hours are loaded before the start.
"""

import json
import math
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.layout import Layout
from stack.parts import plan
from stack.up import Stack

HISTORY_DAYS = 3 / 24
DASHBOARDS = Path(__file__).resolve().parent.parent / "grafana" / "dashboards"
HOUR = 3600.0
STEP = 60.0  # seconds between the points of a range query
_WORD = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$([A-Za-z_]\w*)")  # $1 is label_replace's


def faster_stack(folder: Path) -> Stack:
    """A stack in `folder` without Grafana and pager, ready to be prepared and started."""
    layout = Layout.elsewhere(folder)
    config = layout.config
    _edit(
        config / "prometheus" / "prometheus.yml",
        lambda made: made.update(
            {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}}
        ),
    )
    for preset in ("fleet.yml", "node_exporter.yml"):
        _edit(config / "forecaster" / "presets" / preset, lambda made: made.update(refresh="5s"))
    return Stack(layout, plan(layout, without=("grafana", "pager")), HISTORY_DAYS)


def _edit(path: Path, change: Callable[[Any], None]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@dataclass(frozen=True)
class Query:
    """A query of a dashboard, where it stands, and whether Grafana asks for one instant only.

    relative: the panel's own range, as "6h" before now, in place of the dashboard's. step: seconds between the points.
    """

    dashboard: str
    panel: str
    ref: str
    expression: str
    instant: bool
    relative: str | None
    step: float

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}, {self.ref}"


def load(name: str) -> dict:
    """A committed dashboard."""
    return json.loads((DASHBOARDS / name).read_text())


def panels(dashboard: Mapping) -> list[dict]:
    """The panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(name: str) -> Iterator[Query]:
    """Every query of every panel of a committed dashboard."""
    for panel in panels(load(name)):
        for target in panel.get("targets", ()):
            yield Query(
                name,
                panel["title"],
                target["refId"],
                target["expr"],
                bool(target.get("instant")),
                panel.get("timeFrom"),
                HOUR if panel.get("interval") == "1h" else STEP,
            )


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """`text` with Grafana's variables replaced; KeyError for one that is not there."""
    return _WORD.sub(lambda found: variables[found[1] or found[2]], text)


class Prometheus:
    """The API of a running Prometheus."""

    def __init__(self, url: str):
        self.url = url

    def get(self, path: str, **form: Any) -> Any:
        """The `data` of an answer; AssertionError with Prometheus' words where it refuses, OSError while it starts."""
        encoded = urllib.parse.urlencode(form, doseq=True).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{encoded.decode()}", timeout=30) as response:
                return json.loads(response.read())["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503 and "json" not in error.headers.get_content_type():
                raise  # the listener is open, the storage is not yet
            raise AssertionError(f"{form}: {json.loads(error.read())['error']}") from error

    def instant(self, expression: str, at: float) -> list[dict]:
        """[{"metric": ..., "values": [[t, "v"]]}] with one value each."""
        result = self.get("query", query=expression, time=at)["result"]
        return [{"metric": one["metric"], "values": [one["value"]]} for one in result]

    def range(self, expression: str, start: float, end: float, step: float = STEP) -> list[dict]:
        return self.get("query_range", query=expression, start=start, end=end, step=step)["result"]

    def variable(self, query: str, regex: str, end: float) -> list[str]:
        """What Grafana offers for label_values(metric{...}, label) or query_result(expression), asked at `end`."""
        if result := re.fullmatch(r"query_result\((.+)\)", query):
            lines = ("".join(f'{name}="{of}",' for name, of in one["metric"].items())
                     for one in self.instant(result[1], end))
            return [re.search(regex.strip("/"), line)[1] for line in lines]
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        return self.get(f"label/{label}/values", **{"match[]": series})


def ask(
    prometheus: Prometheus, query: Query, variables: Mapping[str, str], span: tuple[float, float], now: float
) -> list[dict]:
    """The answer as Grafana gets it. `span`: the dashboard's range in seconds relative to `now`."""
    start, end = now + span[0], now + span[1]
    if query.relative is not None:
        start, end = now - int(query.relative.removesuffix("h")) * HOUR, now
    expression = interpolate(query.expression, {**variables, "__range": f"{round(end - start)}s"})
    if query.instant:
        return prometheus.instant(expression, end)
    return prometheus.range(expression, start, end, query.step)


def has_data(result: list[dict]) -> bool:
    """Whether there is anything to draw."""
    return any(math.isfinite(float(value)) for one in result for _, value in one["values"])


def await_true(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Returns once the condition holds; fails after `seconds` naming what was awaited."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.2)  # between two looks
