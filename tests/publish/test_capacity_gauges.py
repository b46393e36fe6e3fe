"""The gauges of what fills up: the series of each entity, when they are shown, and that Prometheus takes them."""

import dataclasses
import subprocess

import numpy as np
import pytest

from forecaster.capacity.outlook import About
from forecaster.publish.capacity_gauges import HORIZONS, LABELS, METRICS, CapacityCollector
from tests.outlooks import DAY, INSTANT, board_of, entity, make_outlook
from tests.publish.test_gauges import samples_of
from tests.results import Clock, page
from tests.tools import tool

FILLING = {"chance": (0.1, 0.6, 0.9, 1.0), "full_at": INSTANT + DAY, "priority": 2, "used": 0.9}


def text_of(outlook, clock=None, every=False) -> bytes:
    return page(CapacityCollector(board_of(outlook), clock or Clock(INSTANT), every))


def shown(outlook, **options) -> dict:
    return samples_of(text_of(outlook, **options))


def names(samples: dict) -> list[str]:
    return sorted(name for name, _ in samples)


def one(samples: dict, name: str, **labels: str) -> float:
    [value] = [value for (found, pairs), value in samples.items() if found == name and set(labels.items()) <= pairs]
    return value


def test_an_entity_that_fills_up_has_every_family_with_its_labels():
    samples = shown(make_outlook(full=True, **FILLING))
    labels = {"server": "web1", "profile": "web", "resource": "filesystem", "entity": "/data"}
    found: dict[str, set[str]] = {}
    for name, pairs in samples:
        assert set(labels.items()) <= pairs
        found.setdefault(name, set()).update(label for label, _ in pairs)
    assert found == {name: set(of) for name, of, _, text in METRICS if text.endswith(".")}
    assert one(samples, "observed_capacity_used_ratio") == np.float32(0.9)
    assert one(samples, "forecast_capacity_used_ratio", percentile="p90", horizon="14d") == np.float32(0.7)
    assert one(samples, "forecast_capacity_full_chance", window="24h") == np.float32(0.6)
    assert one(samples, "forecast_capacity_full_timestamp_seconds", percentile="p50") == INSTANT + DAY
    assert one(samples, "forecast_capacity_priority", priority="P2") == 1
    assert one(samples, "observed_capacity_size", unit="bytes") == 1e11
    assert one(samples, "observed_capacity_growth_ratio_per_day") == 0.01
    assert sum(name == "forecast_capacity_priority" for name, _ in samples) == 1


@pytest.mark.parametrize("highest", ["P1", "P3", None])
def test_what_is_full_says_the_highest_priority_that_it_may_have_and_nothing_where_that_is_none(highest):
    outlook = make_outlook([entity(), entity("web2")], full=(True, False))
    about = {"filesystem": About("File systems", "bytes", highest)}
    samples = shown(dataclasses.replace(outlook, resources=about))
    full = [(dict(pairs)["server"], dict(pairs)["priority"]) for name, pairs in samples
            if name == "observed_capacity_full"]
    assert full == [("web1", highest)] * (highest is not None)


def test_one_that_will_not_fill_has_the_essential_series_unless_all_are_asked_for():
    few, all_ = names(shown(make_outlook())), names(shown(make_outlook(), every=True))
    assert few == sorted([
        "observed_capacity_used_ratio", "observed_capacity_last_seen_timestamp_seconds",
        *["forecast_capacity_used_ratio"] * 2, *["forecast_capacity_full_chance"] * 4])
    # all forecasts, size, growth, before, changed, step, its time
    assert len(all_) == len(few) + 3 * len(HORIZONS) - 2 + 6
    assert "forecast_capacity_full_timestamp_seconds" not in all_  # unknown


def test_it_has_the_others_where_it_may_fill_or_comes_close():
    assert len(shown(make_outlook(chance=(0, 0, 0, 0.01)))) == len(shown(make_outlook(ahead=0.71)))
    assert len(shown(make_outlook(ahead=0.71))) > len(shown(make_outlook(ahead=0.69)))


def within_a_week(outlook):
    """As of a resource with `horizon: 7d`."""
    outlook.filling.used[:, HORIZONS["7d"]:] = outlook.filling.chance[:, -1] = np.nan
    return outlook


def test_a_shorter_horizon_of_its_resource_is_the_last_one():
    forecasts = [dict(pairs) for name, pairs in shown(within_a_week(make_outlook()))
                 if name == "forecast_capacity_used_ratio"]
    assert {(of["percentile"], of["horizon"]) for of in forecasts} == {("p50", "7d"), ("p90", "7d")}
    assert one(shown(within_a_week(make_outlook(**FILLING))), "forecast_capacity_full_timestamp_seconds",
               percentile="p50") == INSTANT + DAY


def test_a_scrape_between_two_outlooks_finds_both_rendered():
    board = board_of(make_outlook())
    collector = CapacityCollector(board, Clock(INSTANT))
    shown_now, later = collector.exposition(), make_outlook(used=0.7)
    collector.prepare(later)
    assert all(a is b for a, b in zip(collector.exposition(), shown_now, strict=True))
    board.publish(later)
    ready = collector.exposition()
    assert b" 0.7" in ready[0].text and ready[0] is collector.exposition()[0]


def test_too_old_an_outlook_leaves_when_each_was_seen():
    clock = Clock(INSTANT + 1920)
    assert "forecast_capacity_full_chance" in names(shown(make_outlook(), clock=clock))
    clock.now += 1
    assert names(shown(make_outlook(), clock=clock)) == ["observed_capacity_last_seen_timestamp_seconds"]


def test_before_the_first_pass_there_is_nothing():
    assert text_of(None) == b""


def test_odd_names_are_escaped_and_promtool_takes_the_page():
    odd = entity(name='/mnt/a "b"\\c\n%d', server="web{1}")
    text = text_of(make_outlook([odd, entity()], full=True, **FILLING))
    assert {dict(pairs)["entity"] for _, pairs in samples_of(text)} == {odd.name, "/data"}
    checked = subprocess.run([tool("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)
    assert checked.returncode == 0 and checked.stderr == b"", checked.stderr


def test_the_labels_are_those_of_servers_with_resource_and_entity():
    assert LABELS == ("server", "profile", "resource", "entity")
