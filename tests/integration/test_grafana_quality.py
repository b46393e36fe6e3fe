"""The queries about the record, asked of Prometheus' own engine: what they say of two shards, and of nothing."""

import subprocess
from pathlib import Path

import pytest
import yaml

from grafana import own_queries
from tests.grafana_stack import interpolate
from tests.tools import tool

HOUR, DAY = own_queries.HOUR, own_queries.DAY


def series(name: str, value: float, instance: str = "a", signal: str = "cpu_pct", **labels: str) -> dict[str, str]:
    known = {"job": "forecaster", "fleet": "f", "instance": instance, "signal": signal, "horizon": "30m"} | labels
    return {"series": name + "{" + ",".join(f'{key}="{of}"' for key, of in known.items()) + "}", "values": f"{value}x2"}


def asked(folder: Path, expression: str, given: list[dict], expected: dict[str, float]) -> str:
    """What promtool complains of when the answer, by signal, is another one."""
    samples = [{"labels": f'{{signal="{signal}"}}', "value": value} for signal, value in expected.items()]
    query = interpolate(expression, {"fleet": "f", "horizon": "30m"})
    check = {"expr": query, "eval_time": "1m", "exp_samples": samples}
    content = {"tests": [{"interval": "1m", "input_series": given, "promql_expr_test": [check]}]}
    (folder / "test.yml").write_text(yaml.safe_dump(content))
    done = subprocess.run([tool("promtool"), "test", "rules", str(folder / "test.yml")], capture_output=True, text=True,
                          timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("window", [HOUR, DAY])
@pytest.mark.parametrize("figure", ["coverage", "loss"])
def test_a_figure_of_two_shards_is_their_mean_by_outcomes(tmp_path: Path, window: str, figure: str):
    ratio, outcomes, other = f"{window}{figure}_ratio", f"{window}outcomes", {HOUR: DAY, DAY: HOUR}[window]
    given = [
        series(ratio, 0.9), series(outcomes, 300), series(ratio, 0.5, "b"), series(outcomes, 100, "b"),
        series(outcomes, 700, "c"),  # a shard that has not scored enough yet has outcomes alone
        series(ratio, 0.1, horizon="8h"), series(outcomes, 999, horizon="8h"),
        series(ratio, 0.1, fleet="other"), series(outcomes, 999, fleet="other"),
        series(ratio, 1.5, signal="mem_pct"), series(outcomes, 12, signal="mem_pct"),
        series(f"{other}{figure}_ratio", 0.2), series(f"{other}outcomes", 50),
    ]
    assert asked(tmp_path, own_queries.recorded(window, figure), given, {"cpu_pct": 0.8, "mem_pct": 1.5}) == ""
    assert asked(tmp_path, own_queries.recorded(window, figure), given, {"cpu_pct": 0.7, "mem_pct": 1.5})


@pytest.mark.parametrize("window", [HOUR, DAY])
def test_outcomes_add_up_and_where_nothing_is_scored_there_is_no_zero(tmp_path: Path, window: str):
    given = [series(f"{window}outcomes", 300), series(f"{window}outcomes", 100, "b"),
             series(f"{window}outcomes", 0, signal="mem_pct")]
    assert asked(tmp_path, own_queries.outcomes(window), given, {"cpu_pct": 400}) == ""
    for expression in (own_queries.outcomes(window), own_queries.recorded(window, "coverage"), own_queries.WIDENING):
        assert asked(tmp_path, expression, given[2:], {}) == ""
