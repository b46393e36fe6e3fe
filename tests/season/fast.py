"""Fast motion: the files of prometheus/ with every duration divided by one factor, so that an hour passes in minutes.

Only durations change: `for`, ranges and offsets of rules, intervals, waiting times and timeouts of the two
configurations. What is compared with a number of seconds in an expression has no unit to be found by: SECONDS names
those expressions, and a rule that gets one later makes `rules` fail.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from serving.settings import parse_duration

PROMETHEUS = Path(__file__).resolve().parents[2] / "prometheus"
SCRAPE = 0.5  # s: shorter intervals than that measure how busy the machine is
_DURATION = r"(?:\d+(?:ms|[smhdw]))+"
_IN_QUERY = re.compile(rf"(?<=\[){_DURATION}(?=[\]:])|(?<=:){_DURATION}(?=\])|(?<=\boffset ){_DURATION}\b")
_KEYS = re.compile(r"for|keep_firing_for|interval|query_offset|\w+_(interval|timeout|wait)")


class Fast:
    """Divides by `factor`, and counts what it has divided."""

    def __init__(self, factor: float):
        self.factor, self.changed = factor, 0

    def __call__(self, duration: str | float) -> str:
        """A duration, shorter, in whole milliseconds."""
        self.changed += 1
        if duration == "0s":
            return duration
        return f"{max(1, round(parse_duration(duration) * 1000 / self.factor))}ms"

    def seconds(self, duration: str | float) -> float:
        """The same in seconds."""
        return parse_duration(duration) / self.factor

    def query(self, text: str) -> str:
        """A text with PromQL in it, its ranges and offsets shorter."""
        return _IN_QUERY.sub(lambda found: self(found[0]), text)

    def tree(self, node: Any) -> Any:
        """A YAML document with the durations of all its keys and queries shorter."""
        if isinstance(node, dict):
            return {key: self(value) if _KEYS.fullmatch(key) and isinstance(value, str) else self.tree(value)
                    for key, value in node.items()}
        if isinstance(node, list):
            return [self.tree(one) for one in node]
        return self.query(node) if isinstance(node, str) else node


def rules(factor: float, target: Path) -> None:
    """Writes the files of prometheus/rules into the folder `target`."""
    target.mkdir()
    for file in sorted((PROMETHEUS / "rules").glob("*.yml")):
        fast, text = Fast(factor), file.read_text()
        document = fast.tree(yaml.safe_load(text))
        expected = len(re.findall(rf"^ +(?:for|keep_firing_for|interval): {_DURATION}", text, re.MULTILINE))
        assert fast.changed >= expected, f"{file.name}: {fast.changed} durations changed, expected {expected} or more"
        (target / file.name).write_text(yaml.safe_dump(document, sort_keys=False, width=1000))


def prometheus(factor: float, targets: Mapping[str, list[str]], alertmanager: str) -> str:
    """prometheus.yml: `targets` by job in place of its own; forecasters come from targets/forecaster.yml as they do
    where there are several."""
    fast = Fast(factor)
    config = fast.tree(yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text()))
    assert fast.changed >= 5, f"prometheus.yml: {fast.changed} durations changed, expected 5 or more"
    scrape = f"{max(round(SCRAPE * 1000), round(5000 / factor))}ms"
    config["global"] |= {"scrape_interval": scrape, "scrape_timeout": scrape}
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    del config["remote_read"]  # nobody asks for curves
    for job in config["scrape_configs"]:
        job.pop("static_configs", None)
        if job["job_name"] in targets:
            job["static_configs"] = [{"targets": targets[job["job_name"]]}]
    return yaml.safe_dump(config, sort_keys=False)


def alertmanager(factor: float, pager: str) -> str:
    """alertmanager.yml, which sends to the address `pager`."""
    fast, text = Fast(factor), (PROMETHEUS / "alertmanager.yml").read_text()
    assert "http://127.0.0.1:8003" in text, "alertmanager.yml: expected the pager on port 8003"
    config = fast.tree(yaml.safe_load(text.replace("http://127.0.0.1:8003", pager)))
    assert fast.changed >= 9, f"alertmanager.yml: {fast.changed} durations changed, expected 9 or more"
    return yaml.safe_dump(config, sort_keys=False)


def flags(factor: float) -> list[str]:
    """Prometheus' flags whose defaults are durations that alerts depend on."""
    fast = Fast(factor)
    return [f"--{name}={fast(default)}" for name, default in {
        "query.lookback-delta": "5m", "rules.alert.resend-delay": "1m", "rules.alert.for-grace-period": "10m"}.items()]


def divided(defaults: Callable[[str], float], factor: float, *keys: str) -> dict[str, Any]:
    """A nested configuration of these dotted keys, each the default divided by the factor."""
    found: dict[str, Any] = {}
    for key in keys:
        *path, last = key.split(".")
        place = found
        for name in path:
            place = place.setdefault(name, {})
        place[last] = defaults(key) / factor
    return found
