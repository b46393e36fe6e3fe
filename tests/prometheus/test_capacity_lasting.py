"""How long a P1 or P2 of what fills up has lasted by the forecaster, beside the alerts that promtool fires."""

import subprocess
from pathlib import Path

import numpy as np
import yaml

from forecaster.capacity.lasting import FIRES, FULL, HELD, P1, P2, Lasting
from stack.layout import ROOT
from tests.tools import tool

RULES = [ROOT / "prometheus" / "rules" / f"{name}.yml" for name in ("servers", "capacity")]
EVERY, PASSES = 10, 72  # minutes, number
OF = {"job": "forecaster", "fleet": "hosts"}
ENTITY = {**OF, "instance": "a", "server": "web1", "profile": "web", "resource": "disk", "entity": "/data"}


def story(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(urgency, hours until p50 is full) at each pass; both stay for a while."""
    rng = np.random.default_rng(seed)
    turns = rng.integers(1, 9, 40)
    urgency = np.repeat(rng.choice([0, 1, P2, P1, P1, FULL], 40), turns)[:PASSES]
    near = np.repeat(rng.choice([3.0, 7.0, 20.0, 40.0, 100.0], 40), rng.permutation(turns))[:PASSES]
    return urgency.astype(np.int8), np.where(urgency == FULL, -1.0, near)


def series(name: str, values: list[float | None], **labels: str) -> dict[str, str]:
    given = ",".join(f'{label}="{value}"' for label, value in labels.items())
    minutes = ["stale" if value is None else f"{value:g}" for value in values for _ in range(EVERY)]
    return {"series": f"{name}{{{given}}}", "values": " ".join(minutes)}


def expected(urgency: np.ndarray, hours: np.ndarray) -> dict[str, list[bool]]:
    """Priority -> whether its alert goes on, a while after each pass."""
    lasting, said = Lasting(np.full((1, 2), np.nan), np.zeros((1, 2), bool)), {"P1": [], "P2": []}
    for number, (rank, left) in enumerate(zip(urgency, hours, strict=True)):
        now, at = 60.0 * EVERY * number, np.array([rank], np.int8)
        lasting = lasting.then(now, at, np.array([now + 3600 * left]))
        later = now + 60.0 * (EVERY - 3)
        sure = not np.isfinite(lasting.pending(later, at)).any()
        said["P1"].append(bool(lasting.rings[0, 0] or rank == P1 and sure))
        since = later - lasting.since[0, 1]
        said["P2"].append(bool(lasting.rings[0, 1] or since >= FIRES[1]))
    return said


def test_a_p1_or_p2_has_lasted_as_soon_as_its_alert_fires_and_for_as_long_as_that_goes_on(tmp_path: Path):
    tests = []
    for seed in range(2):
        urgency, hours = story(seed)
        always = [1.0] * PASSES
        given = [
            series("up", always, **OF, instance="a"), series("forecaster_total_shards", always, **OF, instance="a"),
            series("forecaster_shard_ordinal", [0.0] * PASSES, **OF, instance="a", shard_ordinal="0"),
            series("forecaster_forecast_ttl_seconds", [120.0] * PASSES, **OF, instance="a"),
            *({"series": f'{name}{{job="forecaster",fleet="hosts",instance="a"}}', "values": f"0+60x{EVERY * PASSES}"}
              for name in ("forecaster_last_success_timestamp_seconds",
                           "forecaster_capacity_last_success_timestamp_seconds")),
            series("observed_capacity_used_ratio", [0.9] * PASSES, **ENTITY),
            series("observed_capacity_full", [1.0 if one == FULL else None for one in urgency], **ENTITY,
                   priority="P1"),
            series("forecast_capacity_full_timestamp_seconds",
                   [None if left < 0 else 60 * EVERY * n + 3600 * left for n, left in enumerate(hours)], **ENTITY,
                   percentile="p50"),
            *(series("forecast_capacity_priority", [1.0 if one == rank else None for one in urgency], **ENTITY,
                     priority=name) for name, rank in (("P1", P1), ("P2", P2), ("P3", 1)))]
        names = {"P1": "FleetcastCapacity(Full|P1)", "P2": "FleetcastCapacityP2"}
        said = expected(urgency, hours)
        assert all(True in of and False in of for of in said.values())
        checks = [{"expr": f'count(ALERTS{{alertname=~"{names[name]}",alertstate="firing"}}) > bool 0 or vector(0)',
                   "eval_time": f"{EVERY * n + EVERY - 3}m", "exp_samples": [{"labels": "{}", "value": float(fires)}]}
                  for name, of in said.items() for n, fires in enumerate(of) if name == "P1" or urgency[n] != FULL]
        tests.append({"name": f"story {seed}", "interval": "1m", "input_series": given, "promql_expr_test": checks})
    content = {"rule_files": [*map(str, RULES)], "evaluation_interval": "1m",
               "group_eval_order": ["fleetcast-servers", "fleetcast-capacity"], "tests": tests}
    (tmp_path / "stories.yml").write_text(yaml.safe_dump(content))
    done = subprocess.run([tool("promtool"), "test", "rules", str(tmp_path / "stories.yml")], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_times_are_those_of_the_shipped_rules():
    rules = [rule for group in yaml.safe_load(RULES[1].read_text())["groups"] for rule in group["rules"]]
    lasts = {rule.get("alert"): rule.get("for") for rule in rules}
    assert [lasts[f"FleetcastCapacity{name}"] for name in ("Full", "P1", "P2")] == [None, "15m", "1h"]
    assert FIRES == (15 * 60, 3600)
    held = {rule["labels"]["priority"]: rule["expr"] for rule in rules
            if rule.get("record") == "entity:capacity_held:bool"}
    for name, seconds in zip(("P1", "P2"), HELD, strict=True):
        assert f"time() + {seconds / 3600:.0f} * 3600" in held[name]
