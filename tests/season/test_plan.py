"""The plan of a season, and the files in fast motion."""

import pytest
import yaml

from tests.season import fast
from tests.season.exporter import SIGNALS
from tests.season.faults import KINDS
from tests.season.plan import draw
from tests.season.world import BIG, SHARDS, World

SERVERS = [f"web{n:02d}" for n in range(20)]


def test_a_seed_gives_one_plan_and_another_seed_another():
    assert draw(7, 40, SERVERS) == draw(7, 40, SERVERS)
    assert draw(7, 40, SERVERS) != draw(8, 40, SERVERS)


@pytest.mark.parametrize("seed", range(20))
def test_forty_incidents_see_every_kind_of_fault_and_leave_some_servers_alone(seed):
    plan = draw(seed, 40, SERVERS)
    assert {fault.kind.name for fault in plan.faults} == set(KINDS)
    assert len(plan.incidents) == 40
    assert {one.slot for one in plan.incidents} == set(range(len(plan.faults) - 1))
    assert len({one.server for one in plan.incidents}) == 16


def test_most_servers_of_each_shard_are_on_the_exporter_whose_end_blinds(tmp_path):
    servers = World(tmp_path / "world.json", lambda: 0.0).servers.values()
    for shard in range(SHARDS):
        share = [one.exporter == BIG for one in servers if one.shard == shard]
        assert len(share) == 10
        assert sum(share) > len(share) / 2
    assert len(SIGNALS) == 3


def test_durations_become_shorter_and_nothing_else_changes():
    rule = {"alert": "A", "for": "1m30s", "labels": {"severity": "5m"}, "annotations": {"summary": "rate(x[5m])"},
            "expr": 'avg_over_time(up{job="a"}[5m]) < 0.5 and max_over_time(x[1h:15s] offset 90s) > 30'}
    assert fast.Fast(15).tree(rule) == rule | {
        "for": "6000ms", "annotations": {"summary": "rate(x[20000ms])"},
        "expr": 'avg_over_time(up{job="a"}[20000ms]) < 0.5 and max_over_time(x[240000ms:1000ms] offset 6000ms) > 30'}


def test_the_files_that_ship_can_be_played_in_fast_motion(tmp_path):
    fast.rules(15, tmp_path / "rules")
    assert [file.name for file in (tmp_path / "rules").iterdir()]
    config = yaml.safe_load(fast.prometheus(15, {"fleet-exporter": ["here:1"]}, "here:2"))
    assert config["global"]["evaluation_interval"] == "1000ms"
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["here:1"]}]
    assert "here:3/page" in fast.alertmanager(15, "http://here:3")
