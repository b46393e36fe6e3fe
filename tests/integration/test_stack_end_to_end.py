"""What an SRE gets from `make up`, with every real program, in fast motion (see stack_rehearsal)."""

import math
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from stack.up import Stack
from tests.stack_rehearsal import STEP, Observer, await_true, rehearsal

CURVE = 'forecast_cpu_pct{source="curve",server="ppdb001"}'
FRESHER = 8  # seconds: how much newer than the one in /status the forecast is that answers, at most


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    made = rehearsal(tmp_path_factory.mktemp("stack"))
    with made:
        made.prepare()
        made.start()
        yield made


@pytest.fixture(scope="module")
def seen(stack) -> Observer:
    observer = Observer(stack.layout)
    await_true(lambda: fleet_on_the_model(observer), 60, "Prometheus holds forecasts of 20 servers by the model")
    return observer


def fleet(observer: Observer) -> str:
    return f'job="forecaster",instance="127.0.0.1:{observer.layout.ports["forecaster"]}"'


def fleet_on_the_model(observer: Observer) -> bool:
    return observer.value(f'sum(forecast_method{{method="tft",{fleet(observer)}}})') == 20


def test_prometheus_answers_forecasts_for_20_servers_soon_after_the_start(seen):
    result = seen.query(f'forecast_cpu_pct{{percentile="p90",horizon="30m",{fleet(seen)}}}')
    assert len(result) == 20
    assert all(0 <= float(one["value"][1]) <= 100 for one in result)
    assert seen.value(f"forecast_fleet_servers{{{fleet(seen)}}}") == 20


def by_percentile(result: list[dict]) -> dict[str, list]:
    assert len(result) == 3
    return {one["metric"]["percentile"]: one["values"] for one in result}


def test_the_curve_of_a_server_is_three_series_of_96_samples_one_step_apart_in_the_future(seen):
    """Asked for as stored: neither look-back nor the query's grid can make 96 points out of fewer samples."""
    now = time.time()
    curve = by_percentile(seen.query(f"{CURVE}[{98 * STEP}s]", now + 97 * STEP + 2))
    assert set(curve) == {"p10", "p50", "p90"}
    for samples in curve.values():
        instants = [round(t, 3) for t, _ in samples]
        assert len(set(instants)) == len(samples) == 96
        assert instants[0] > now
        assert {round(later - sooner, 3) for sooner, later in pairwise(instants)} == {STEP}
    assert len({tuple(t for t, _ in samples) for samples in curve.values()}) == 1
    low, mid, high = ([float(v) for _, v in curve[name]] for name in ("p10", "p50", "p90"))
    assert all(a <= b <= c for a, b, c in zip(low, mid, high, strict=True))
    assert any(a < c for a, c in zip(low, high, strict=True))


def test_a_range_query_from_the_first_step_to_the_last_returns_96_points_of_each_percentile(seen):
    issued = seen.get("forecaster", "/status")["forecast"]["issued_unix"]
    first = math.ceil(issued + STEP + FRESHER)  # the next forecasts' first samples are there by then
    assert first > time.time()
    points = by_percentile(seen.range(CURVE, first, first + 95 * STEP, STEP))
    # The samples behind the points: with look-back alone, fewer samples would be repeated.
    behind = by_percentile(seen.range(f"timestamp({CURVE})", first, first + 95 * STEP, STEP))
    for name in ("p10", "p50", "p90"):
        assert [t for t, _ in points[name]] == [first + k * STEP for k in range(96)]
        assert len({float(instant) for _, instant in behind[name]}) == 96
        assert all(0 <= t - float(instant) <= STEP for t, instant in behind[name])


def test_a_rule_can_look_at_the_whole_curve_without_anything_being_stored(seen):
    worst = seen.query(
        f'max_over_time(forecast_cpu_pct{{source="curve",percentile="p90"}}[{96 * STEP}s] offset -{96 * STEP}s)'
    )
    assert len([one for one in worst if one["metric"]["server"].startswith("pp")]) == 20


def test_every_scraped_part_is_up_and_every_rule_evaluates(seen):
    assert seen.query("up == 0") == []
    groups = seen.get("prometheus", "/api/v1/rules")["data"]["groups"]
    assert groups and all(rule["health"] in ("ok", "unknown") for group in groups for rule in group["rules"])


def test_this_machine_is_forecast_through_node_exporter(seen):
    host = f'{{server="127.0.0.1:{seen.layout.ports["node-exporter"]}",percentile="p50",horizon="30m"}}'
    for signal in ("cpu_pct", "mem_pct"):
        value = await_true(
            lambda signal=signal: seen.query(f"forecast_{signal}{host}"),
            40,
            f"{signal} of this machine is forecast",
        )
        assert 0 <= float(value[0]["value"][1]) <= 100


def test_a_healthy_fleet_pages_nobody(seen):
    """Watched for longer than the alert's `for` and the route's waiting time, which are 3 s and 1 s here."""
    evaluations = 'prometheus_rule_group_iterations_total{rule_group=~".*;fleetcast-servers"}'
    enough = seen.value(evaluations) + 10
    false_alarms: set[str] = set()

    def watched() -> bool:
        false_alarms.update(seen.active("FleetcastServerP1"), seen.paged("firing"))
        return seen.value(evaluations) >= enough

    await_true(watched, 60, "the rules about servers were evaluated ten times more")
    assert not false_alarms


def test_critical_pages_the_affected_servers_and_only_those_and_healthy_resolves_them(seen):
    affected = set(seen.set_scenario("critical")["affected_server_names"])
    assert len(affected) == 5
    await_true(
        lambda: affected <= seen.active("FleetcastServerP1"),
        60,
        "every affected server is P1 in Alertmanager",
    )
    await_true(lambda: affected <= seen.paged("firing"), 30, "the pager was told of every affected server")
    assert seen.active("FleetcastServerP1") == affected == seen.paged("firing")
    about = [
        one
        for one in seen.get("alertmanager", "/api/v2/alerts")
        if one["labels"].get("server") in affected and one["labels"]["alertname"] == "FleetcastServerP1"
    ]
    assert all("Risk score " in one["annotations"]["description"] for one in about)
    seen.set_scenario("healthy")
    await_true(lambda: not seen.active("FleetcastServerP1"), 120, "no P1 is left in Alertmanager")
    await_true(lambda: affected <= seen.paged("resolved"), 30, "the pager was told that it is over")


def test_a_prometheus_that_dies_leaves_no_wrong_value_and_forecasts_return_without_a_new_warm_up(stack, seen):
    stack.runner.stop_part("prometheus")
    await_true(
        lambda: "forecast_cpu_pct{" not in seen.get("forecaster", "/metrics"),
        40,
        "old forecasts are withheld",
    )
    metrics = seen.get("forecaster", "/metrics")
    assert 'forecaster_stage_success{stage="query"} 0' in metrics and "forecast_last_seen_timestamp_seconds{" in metrics
    assert "Prometheus" in seen.get("forecaster", "/status")["errors"]["query"]
    stack.runner.start_part("prometheus")
    await_true(lambda: fleet_on_the_model(seen), 60, "all 20 servers are forecast by the model again")
    assert seen.get("forecaster", "/status")["warmup"]["current_size"] == 37


def test_a_restarted_forecaster_is_back_on_the_model_at_once(stack, seen):
    stack.runner.stop_part("forecaster")
    stack.runner.start_part("forecaster")
    status = await_true(
        lambda: seen.get("forecaster", "/status")["warmup"]["is_warmed_up"] and seen.get("forecaster", "/status"),
        60,
        "the forecaster has a forecast again",
    )
    assert set(seen.get("forecaster", "/predictions/current")["metadata"]["method"].values()) == {"tft"}
    assert status["forecast"]["current"]
