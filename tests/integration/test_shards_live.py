"""A fleet of 1,000 servers in two shards, one with two replicas, beside one forecaster of all, under a real Prometheus.

The forecasters run in this process, on a clock that stands at one instant, so that what they say can be compared number
by number; Prometheus scrapes the fleet and the forecasters, and evaluates the rules that ship.
"""

import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from forecaster.config import load_config
from forecaster.models.artifact import folder_of
from forecaster.models.model import Model
from forecaster.service import assembly as composition
from forecaster.service.app import Forecaster
from forecaster.sources.shard import Shard
from stack.layout import ROOT
from tests.grafana_stack import Prometheus, await_true
from tests.local_server import LocalServer, Request, local_server
from tests.real_prometheus import running
from tests.results import Clock
from tests.sources.test_shard import GOLDEN

SERVERS = [f"pp{profile}{number:03d}" for profile in ("db", "web", "ml", "etl") for number in range(250)]
SHARDS = 2
SIGNALS = load_config("fleet").signals
SCRAPED = ("forecaster_.+|forecast_(fleet_.+|state|last_seen_timestamp_seconds|risk_score|priority|method|"
           "(incident|severe)_probability)")
# what the rules record of all shards, and the series that says it of one forecaster's servers
FIGURES = {
    "fleet:forecast_servers:count": "forecast_fleet_servers",
    'fleet:forecast_priority:sum{priority="P1"}': "forecast_fleet_high_risk_servers",
    "fleet:forecast_incident_probability:avg": "forecast_fleet_incident_probability",
    "fleet:forecast_health:bool": "forecast_fleet_health",
    "fleet:forecast_severe_probability:avg": "forecast_fleet_severe_share",
    "fleet:forecast_severe_probability:any": "forecast_fleet_severe_any_probability",
}


def page(now: float) -> str:
    """Every metric of the fleet: steady per server, and slowly swinging."""
    seeds = np.random.default_rng(7).random((len(SERVERS), len(SIGNALS), 2))
    swing = 0.9 + 0.1 * np.sin(now / 5 + 6.3 * seeds[:, :, 1])
    lines = []
    for s, server in enumerate(SERVERS):
        labels = f'{{server="{server}",profile="{server[2:-3]}"}}'
        for c, signal in enumerate(SIGNALS.values()):
            value = (0.2 + 1.1 * seeds[s, c, 0]) * swing[s, c] * (signal.max or 250.0) / signal.scale
            lines.append(f"{signal.metric}{labels} {min(value, (signal.max or math.inf) / signal.scale)}\n")
    return "".join(lines) + "".join(f'named{{server="{name}"}} 1\n' for name in GOLDEN)


@contextmanager
def prometheus(folder: Path, fleet: LocalServer, forecasters: dict[str, list[LocalServer]]) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the fleet, and the forecasters of each `fleet` label, by the rules that ship."""
    def addresses(*servers):
        return [server.url.removeprefix("http://") for server in servers]

    def hashmod(label, modulus):
        return {"source_labels": ["server"], "modulus": modulus, "target_label": label, "action": "hashmod"}

    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": [
            {"job_name": "fleet-exporter", "scrape_interval": "500ms", "scrape_timeout": "500ms",
             "static_configs": [{"targets": addresses(fleet)}],
             "metric_relabel_configs": [hashmod("share", SHARDS), hashmod("of_five", 5)]},
            {"job_name": "forecaster",
             "static_configs": [{"targets": addresses(*servers), "labels": {"fleet": name}}
                                for name, servers in forecasters.items()],
             "metric_relabel_configs": [{"source_labels": ["__name__"], "action": "keep", "regex": SCRAPED}]}],
    }
    with running(folder, yaml.safe_dump(config)) as url:
        yield Prometheus(url)


@dataclass
class Stage:
    """What is there: Prometheus, the instant all forecasters stand at, and the forecasters by shard and replica."""

    api: Prometheus
    now: float
    made: dict[tuple[str, int], Forecaster]
    doors: dict[tuple[str, int], LocalServer]

    def text(self, replica: str, shard: int) -> str:
        return self.made[replica, shard].app.test_client().get("/metrics").text

    def answers(self, replica: str, shard: int, up: bool) -> None:
        self.doors[replica, shard].respond = page_of(lambda: self.text(replica, shard)) if up else closed

    def evaluated(self) -> None:
        """Waits until all rules that are evaluated every second have seen what is there now."""
        # an evaluation that begins late is of the instant it was due at, up to an interval before
        asked = datetime.now(UTC) + timedelta(seconds=1)

        def all_since() -> bool:
            groups = [group for group in self.api.get("rules")["groups"] if group["interval"] == 1]
            return len(groups) == 4 and all(datetime.fromisoformat(one["lastEvaluation"]) > asked for one in groups)

        await_true(all_since, 60, "the rules are evaluated")  # texts of many pages take seconds on a busy machine

    def values(self, query: str) -> dict[tuple, float]:
        """Value by the labels that are left when name, job, fleet and instance are taken away."""
        found = {}
        for one in self.api.instant(query, time.time()):
            labels = one["metric"].items() - {(name, one["metric"].get(name)) for name in
                                              ("__name__", "job", "fleet", "instance")}
            assert tuple(sorted(labels)) not in found, f"{query} is no single value"
            found[tuple(sorted(labels))] = float(one["values"][0][1])
        return found


def page_of(text):
    return lambda request: request.answer(200, text())


def closed(request: Request) -> None:
    request.answer(503, "")


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("shards")
    model = Model.load(folder_of("default"), "cpu")
    keys = [("a", 0), ("a", 1), ("b", 0)]
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(composition, "load_model", lambda config, loaded=None: model if config.model else None)
        fleet = stack.enter_context(local_server(page_of(lambda: page(time.time()))))
        doors = {key: stack.enter_context(local_server(closed)) for key in [*keys, ("whole", 0)]}
        by_fleet = {"sharded": [doors[key] for key in keys], "whole": [doors["whole", 0]]}
        api = stack.enter_context(prometheus(folder, fleet, by_fleet))
        await_true(lambda: has_samples(api, 10), 30, "Prometheus has scraped the fleet ten times")
        now = math.floor(2 * time.time() - 1) / 2 - 0.5  # what was scraped up to then is stored
        made = {}
        for replica, shard in doors:
            total = 1 if replica == "whole" else SHARDS
            made[replica, shard] = one = forecaster(api.url, Clock(now), shard, total)
            # replica b starts when the other has had a cycle already
            for back in (0.5, 0) if (replica, shard) == ("a", 0) else (0,):
                one._clock.own.now = now - back
                assert one.parts.cycle.run_once(), one.parts.cycle.errors
        stage = Stage(api, now, made, doors)
        for key in doors:
            stage.answers(*key, up=True)
        count = f"count(forecast_risk_score) > {2 * len(SERVERS)} and on () count(up == 1) == 5"
        await_true(lambda: api.instant(count, time.time()), 30, "all forecasters are scraped")
        stage.evaluated()
        yield stage


def has_samples(api: Prometheus, count: int) -> bool:
    try:
        return bool(api.instant(f"min(count_over_time(server_gc_pause_seconds[1m])) >= {count}", time.time()))
    except OSError:  # it is starting
        return False


def forecaster(url: str, clock: Clock, shard: int, total: int, **more) -> Forecaster:
    """The fleet's preset in fast motion, so that a few seconds are a history."""
    given = {"source.url": url, "source.timeout": 20, "shard": shard, "total_shards": total,
             "step": 1, "refresh": 0.5, "warmup.samples": 2, "warmup.sample_interval": 0.5, "horizons": ["30m"], **more}
    return Forecaster(lambda: load_config("fleet", given), clock)


def forecasts(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("forecast_", "observed_"))]


def servers_of(text: str) -> set[str]:
    return set(re.findall(r'forecast_risk_score\{server="([^"]+)"', text))


def test_the_shards_are_those_of_prometheus_own_hashmod(stage):
    labels = [one["metric"] for one in stage.api.instant("server_gc_pause_seconds", stage.now)]
    assert {one["server"]: int(one["share"]) for one in labels} == {
        server: [Shard(number, SHARDS).owns(server) for number in range(SHARDS)].index(True) for server in SERVERS}
    assert {one["metric"]["server"]: int(one["metric"]["of_five"]) for one in stage.api.instant("named", stage.now)} \
        == GOLDEN


def test_the_shards_are_disjoint_and_together_the_whole_fleet(stage):
    shares = [servers_of(stage.text("a", shard)) for shard in range(SHARDS)]
    assert not shares[0] & shares[1] and shares[0] | shares[1] == set(SERVERS) == servers_of(stage.text("whole", 0))
    assert min(map(len, shares)) > 400
    owners = stage.values('count by (server) (forecast_risk_score{fleet="sharded"})')
    assert owners == {(("server", server),): 2.0 if server in shares[0] else 1.0 for server in SERVERS}


def test_two_replicas_give_the_same_bytes_though_one_started_later(stage):
    first, second = (forecasts(stage.text(replica, 0)) for replica in "ab")
    assert first == second and len(first) > 400 * 50
    assert len([line for line in first if 'method="tft"} 1' in line]) > 400


def test_a_server_is_forecast_alike_in_its_shard_and_in_the_whole_fleet(stage):
    def by_series(text):
        return {series: float(value) for series, _, value in (line.rpartition(" ") for line in forecasts(text))
                if 'server="' in series}

    whole, parts = by_series(stage.text("whole", 0)), {}
    for shard in range(SHARDS):
        parts |= by_series(stage.text("a", shard))
    assert parts.keys() == whole.keys()
    # the sums of a matrix product are added up in an order that depends on its size
    np.testing.assert_allclose(list(parts.values()), [whole[series] for series in parts], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("recorded", FIGURES)
def test_a_recorded_figure_of_all_shards_is_that_of_one_process(stage, recorded):
    def of(fleet, query):
        name, _, labels = query.partition("{")
        return stage.values(f'{name}{{fleet="{fleet}"{"," + labels if labels else "}"}')

    def without_priority(values):
        return {tuple(label for label in labels if label[0] != "priority"): value for labels, value in values.items()}

    expected = of("whole", FIGURES[recorded])
    assert expected and any(expected.values()), "nothing to compare"
    for fleet in ("sharded", "whole"):
        found = without_priority(of(fleet, recorded))
        assert found.keys() == expected.keys()
        for labels, value in found.items():
            assert value == pytest.approx(expected[labels], rel=1e-4), labels


def test_a_server_is_one_alert_though_two_replicas_say_it(stage):
    at_risk = {
        labels for labels, value in stage.values('forecast_priority{fleet="whole",priority="P1"}').items() if value
    }
    servers = {dict(labels)["server"] for labels in at_risk}
    assert 10 < len(servers) < len(SERVERS)
    query = 'ALERTS{alertname="FleetcastServerP1",fleet="sharded"}'
    assert {dict(labels)["server"] for labels in stage.values(query)} == servers
    assert len(stage.values(query)) == len(servers)


def test_a_query_can_leave_the_division_to_prometheus(stage):
    queries = {
        f"signals.{name}.query": f'avg_over_time({signal.metric}{{share="$shard"}}[$step]) * {signal.scale:g} and '
        f"{signal.metric}"
        for name, signal in SIGNALS.items()
    }
    made = forecaster(stage.api.url, Clock(stage.now), 1, SHARDS, **queries | {"model": "none"})
    assert made.parts.cycle.run_once()
    shown = servers_of(made.app.test_client().get("/metrics").text)
    assert shown == servers_of(stage.text("a", 1))
    assert {one["series"] for one in made.parts.source.describe()["signals"].values()} == {len(shown)}


def test_a_shard_without_any_replica_is_missing_and_one_without_its_second_is_not(stage):
    alert, count = 'ALERTS{alertname="FleetcastShardMissing"}', 'fleet:forecast_servers:count{fleet="sharded"}'

    def answer(*which: tuple[str, int]) -> None:
        for key in (("a", 0), ("a", 1), ("b", 0)):
            stage.answers(*key, up=key in which)
        addresses = {stage.doors[key].url.removeprefix("http://") for key in which}
        await_true(lambda: addresses == {one["metric"]["instance"] for one in stage.api.instant(
            'up{fleet="sharded"} == 1', time.time())}, 10, "these and no others are scraped")
        stage.evaluated()

    answer(("a", 0), ("a", 1))
    assert stage.values(alert) == {} and stage.values(count) == {(): len(SERVERS)}
    answer(("a", 0), ("b", 0))
    await_true(lambda: stage.values(alert), 90, "the shard has been away for longer than a restart takes")
    (labels,) = stage.values(alert)
    assert dict(labels)["priority"] == "P1"
    assert stage.values(count) == {(): len(servers_of(stage.text("a", 0)))}
