"""Settings of the risk stage: the specification's numbers, and every limit that is checked, on either side of it."""

import numpy as np
import pytest
from pydantic import ValidationError

from forecaster.risk.known import largest, mean_known, named
from forecaster.risk.thresholds import RiskConfig

LEVEL = {"p50": 90, "p90": 98, "weight": 0.35}


def test_the_numbers_are_those_of_the_specification():
    assert RiskConfig().model_dump() == {
        "roles": {"cpu": "cpu_pct", "memory": "mem_pct", "latency": "latency_ms", "disk": "disk_io_mb_s"},
        "points": {
            "cpu": bands((98, 40), (95, 30), (90, 15)),
            "memory": bands((98, 35), (95, 25), (90, 12)),
            "latency": bands((500, 25), (200, 15), (100, 8)),
        },
        "priorities": {"by": None, "p1": 70, "p2": 40, "p1_chance": 0.8, "p2_chance": 0.5,
                       "p1_confirm": 45, "p1_clear": 300, "p2_confirm": 165, "p2_clear": 1800},
        "incidents": None,
        "method": "weighted",
        "severe": {"cpu": 95, "memory": 95, "latency": 200},
        "incident": {
            "30m": levels((90, 98, 0.35), (85, 95, 0.15)),
            "8h": levels((88, 96, 0.25), (82, 92, 0.10)),
        },
        "health": {"critical": 0.7, "warning": 0.4},
    }


def bands(*bands):
    return tuple({"above": above, "points": points} for above, points in bands)


def levels(*given):
    severe, moderate = (dict(zip(("p50", "p90", "weight"), numbers, strict=True)) for numbers in given)
    return {"severe": severe, "moderate": moderate, "overrides": {}}


def of_bands(*given, role="cpu"):
    return {"points": {role: bands(*given)}}


def of_levels(**moderate):
    return {"incident": {"30m": {"severe": LEVEL, "moderate": LEVEL | moderate}}}


@pytest.mark.parametrize(
    "settings",
    [
        of_bands((90, 100)),
        of_bands((-5, 0.1)),
        of_bands(),
        of_levels(),
        of_levels(weight=0),
        {"priorities": {"p1": 100, "p2": 0}},
        {"priorities": {"p1": 40.1}},
        {"priorities": {"p2": 69.9}},
        {"priorities": {"by": "chance", "p1_chance": 1, "p2_chance": 0.001}},
        {"health": {"critical": 1, "warning": 0}},
        {"health": {"critical": 0.41}},
        {"health": {"warning": 0.69}},
    ],
)
def test_what_is_just_within_the_limits_is_accepted(settings):
    RiskConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (of_bands((90, 100.1)), "less than or equal to 100"),
        (of_bands((90, 0)), "greater than 0"),
        (of_bands((90, 9), (90, 8), role="cpu"), "to fall from band to band"),
        (of_bands((90, 9), (90, 8), role="memory"), "to fall from band to band"),
        (of_bands((90, 9), (90, 8), role="latency"), "to fall from band to band"),
        (of_bands((90, 9), (80, 9)), r"band above 80 \(9 points\) follows band above 90 \(9 points\)"),
        (of_bands((99, 9), (90, 8), (95, 7)), "band above 95"),
        (of_levels(p50=90.1), "p50 90.1 is above severe's 90"),
        (of_levels(p90=98.1), "p90 98.1 is above severe's 98"),
        (of_levels(weight=0.36), "weight 0.36 is above severe's 0.35"),
        (of_levels(weight=-0.1), "greater than or equal to 0"),
        ({"incident": {"30m": {"severe": LEVEL | {"weight": 1.1}, "moderate": LEVEL}}}, "less than or equal to 1"),
        ({"incident": {"8h": {"severe": LEVEL, "moderate": LEVEL}}}, "expected levels for 30m"),
        ({"incident": {w: {"severe": LEVEL, "moderate": LEVEL} for w in ("30m", "7m")}}, "'7m'"),
        ({"priorities": {"p1": 100.1}}, "less than or equal to 100"),
        ({"priorities": {"p1": -1}}, "greater than or equal to 0"),
        ({"priorities": {"p1": 50, "p2": -1}}, "greater than or equal to 0"),
        ({"priorities": {"p1": 40}}, r"expected less than p1 \(40\): lower p2 or raise p1"),
        ({"priorities": {"p2": 100.1}}, "less than or equal to 100"),
        ({"priorities": {"by": "points"}}, "'score' or 'chance'"),
        ({"priorities": {"p1_chance": 1.1}}, "less than or equal to 1"),
        ({"priorities": {"p2_chance": 0}}, "greater than 0"),
        ({"health": {"critical": 1.1}}, "less than or equal to 1"),
        ({"health": {"critical": -0.1}}, "greater than or equal to 0"),
        ({"health": {"warning": -0.1}}, "greater than or equal to 0"),
        ({"health": {"warning": 1.1}}, "less than or equal to 1"),
        ({"health": {"critical": 0.4}}, r"expected less than critical \(0.4\): lower warning or raise critical"),
        ({"roles": {"memory": "cpu_pct"}}, "cpu_pct plays role cpu already"),
        ({"roles": {"disk": "latency_ms"}}, "latency_ms plays role latency already"),
        ({"roles": {"latency": "mem_pct"}}, "mem_pct plays role memory already"),
    ],
)
def test_what_is_just_beyond_a_limit_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        RiskConfig.model_validate(settings)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8])
def test_the_largest_along_an_axis_leaves_unknown_values_out(steps):
    values = np.random.default_rng(steps).uniform(0, 9, (4, steps, 2)).astype(np.float32)
    values[1, 0], values[2] = np.nan, np.nan
    np.testing.assert_array_equal(largest(values, axis=1), np.fmax.reduce(values, axis=1))


def test_means_and_names_leave_unknown_values_out():
    assert mean_known(np.array([0.1, np.nan, 0.2, 0.3])) == 0.2
    assert np.isnan(mean_known(np.full(2, np.nan)))
    assert named(("a", "b"), np.array([1, -1, 0])) == ("b", None, "a")
