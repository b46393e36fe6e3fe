"""The whole stack with its real programs and its own configuration files, in fast motion on free ports.

Time runs 20 times faster: a model step is 15 s instead of 5 minutes, and the fleet lives 20 seconds in each. Divided
by 20 are also all durations of the rules, `group_wait` and `group_interval` of the routes, the forecaster's
`stale_after` and the times of CLEARING; scrapes, evaluations and refreshes come every second.

Not divided are Prometheus' look-back of 5 minutes, and `repeat_interval`, which is longer than the rehearsal.

The fleet falls into no trouble by itself: its natural transitions have the rate 0, so every server stays healthy until
a scenario is set, and whatever is paged before that is a false alarm. Nothing else differs from `make up`.
"""

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from forecaster.risk.thresholds import Priorities
from stack.layout import Layout
from stack.parts import plan
from stack.up import Stack
from tests.season.fast import Fast

SPEED = 20
STEP = 300 // SPEED
HISTORY_DAYS = (24 * STEP + 60) / 86400  # what the longest encoder reads, and a little more
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def faster(duration: str) -> str:
    """A duration of Prometheus or Alertmanager, divided by the speed, at least one second."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", duration).groups()
    return f"{max(1, round(int(number) * _UNITS[unit] / SPEED))}s"


def _edit(path: Path, change: Callable[[Any], None]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def _fleet(config: dict) -> None:
    config["time_scale"] = SPEED
    for targets in config["transitions"]["natural"].values():
        for transition in targets.values():
            transition["rate"] = 0


def _forecaster(config: dict) -> None:
    config |= {
        "step": f"{STEP}s",
        "refresh": "1s",
        "warmup": {"samples": 37, "sample_interval": "1s"},
        "forecast_ttl": "6s",
        "stale_after": faster(config["stale_after"]),
    }
    config["source"]["scrape_interval"] = "1s"
    limits = Priorities().model_dump()
    config.setdefault("risk", {}).setdefault("priorities", {}).update(
        {name: limits[name] / SPEED for name in ("p1_confirm", "p1_clear", "p2_confirm", "p2_clear")})


def _prometheus(config: dict) -> None:
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for job in config["scrape_configs"]:
        for files in job.get("file_sd_configs", ()):
            files["refresh_interval"] = "1s"


def _rules(content: dict) -> None:
    content["groups"] = Fast(SPEED).tree(content["groups"])


def _routes(content: dict) -> None:
    for route in (content["route"], *content["route"]["routes"]):
        route |= {key: faster(route[key]) for key in ("group_wait", "group_interval") if key in route}


def rehearsal(folder: Path, secure: bool = False, without: tuple[str, ...] = ("grafana",)) -> Stack:
    """A stack in `folder`, prepared to be started; `secure` as with `make up SECURE=1`."""
    layout = Layout.elsewhere(folder)
    config = layout.config
    _edit(config / "exporter" / "fleet.yml", _fleet)
    for preset in ("fleet.yml", "node_exporter.yml"):
        _edit(config / "forecaster" / "presets" / preset, _forecaster)
    _edit(config / "prometheus" / "prometheus.yml", _prometheus)
    _edit(config / "prometheus" / "alertmanager.yml", _routes)
    for rules in (config / "prometheus" / "rules").glob("*.yml"):
        _edit(rules, _rules)
    if secure:
        layout = layout.secured()
    return Stack(layout, plan(layout, without=without), HISTORY_DAYS)


class Observer:
    """What an SRE sees of a running stack."""

    def __init__(self, layout: Layout):
        self.layout = layout

    def get(self, part: str, path: str, timeout: float = 10.0) -> Any:
        with urllib.request.urlopen(self.layout.url(part, path), timeout=timeout) as response:
            body = response.read().decode()
        return json.loads(body) if body[:1] in "{[" else body

    def query(self, promql: str, instant: float | None = None) -> list[dict]:
        """The result of a query at an instant, now by default: [{"metric": {...}, "value": [t, "v"]}], and for
        `series[range]` [{"metric": {...}, "values": [[t, "v"], ...]}] with every sample as it is stored."""
        form = {"query": promql} if instant is None else {"query": promql, "time": instant}
        return self.get("prometheus", "/api/v1/query?" + urllib.parse.urlencode(form))["data"]["result"]

    def value(self, promql: str) -> float | None:
        """The value of a query with one series, None without."""
        result = self.query(promql)
        return float(result[0]["value"][1]) if result else None

    def range(self, promql: str, start: float, end: float, step: float) -> list[dict]:
        form = urllib.parse.urlencode({"query": promql, "start": start, "end": end, "step": step})
        return self.get("prometheus", f"/api/v1/query_range?{form}")["data"]["result"]

    def set_scenario(self, name: str) -> dict:
        request = urllib.request.Request(
            self.layout.url("exporter", "/scenario/set"),
            json.dumps({"scenario": name}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read())

    def active(self, alert: str) -> set[str]:
        """Servers of the simulated fleet for which an alert is active in Alertmanager."""
        return {
            one["labels"]["server"]
            for one in self.get("alertmanager", "/api/v2/alerts")
            if one["labels"]["alertname"] == alert and self.simulated(one["labels"])
        }

    def simulated(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert is about a server of the simulated fleet; this machine is in what trouble the tests make."""
        return "server" in labels and labels.get("fleet") == self.layout.url("forecaster").removeprefix("http://")

    def paged(self, status: str) -> set[str]:
        """Servers whose P1 page reached the pager as firing or resolved."""
        return {
            one["labels"]["server"]
            for one in self.get("pager", "/received")["received"]
            if one["status"] == status and one["labels"].get("alertname") == "FleetcastServerP1"
            and self.simulated(one["labels"])
        }


def await_true(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of `condition`, asked again until then; fails after `seconds` naming what was awaited."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = condition()
        except (OSError, ValueError) as error:  # a part that starts or restarts does not answer yet
            last = error
        else:
            if last:
                return last
        time.sleep(0.2)  # between two looks
    raise AssertionError(f"waited {seconds:g} s in vain until {what}; last seen: {last!r}")
