"""Risk: the specification's numbers, thresholds crossed strictly, and no claim about what is not known."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecaster.models import heuristic
from forecaster.models.forecast import Forecast
from forecaster.risk.incidents import find
from forecaster.risk.score import COMPONENTS, assess
from forecaster.risk.thresholds import Incident, Level, Levels, Priorities, RiskConfig, Roles
from forecaster.signals import Signal

SIGNALS = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms", "net_in_mb_s")
CONFIG = RiskConfig()
NAN = np.nan


def quiet(servers: int = 1, signals: int = len(SIGNALS)) -> np.ndarray:
    """float32 (S, C, 96, 3): all 10, far from every threshold."""
    return np.full((servers, signals, 96, 3), 10, np.float32)


def with_p90(cpu=10.0, memory=10.0, latency=10.0, step: int = 3) -> np.ndarray:
    """A quiet server whose p90 has these values at one 1-based step."""
    values = quiet()
    for signal, value in (("cpu_pct", cpu), ("mem_pct", memory), ("latency_ms", latency)):
        values[0, SIGNALS.index(signal), step - 1, 2] = value
    return values


def up(value: float) -> float:
    """The next float32 above value."""
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def test_worked_example_of_the_specification():
    values = with_p90(memory=93.4, latency=245)
    values[0, 0, :6, 2] = [67.4, 68.2, 69.0, 72.1, 71.5, 70.8]
    risk = assess(values, SIGNALS, CONFIG)
    assert risk.worst[0].tolist() == pytest.approx([72.1, 93.4, 245])
    assert risk.points[0].tolist() == [0, 12, 15]
    assert risk.score[0] == 27
    assert risk.priority == ("P3",)


def test_message_names_the_value_and_when_it_is_reached():
    risk = assess(with_p90(cpu=93.4, step=6), SIGNALS, CONFIG)
    assert risk.message(0) == "CPU predicted to reach 93.4% in 30 minutes"


def test_message_gives_latency_in_milliseconds_and_the_first_step_of_the_worst_value():
    values = with_p90(latency=245, step=2)
    values[0, SIGNALS.index("latency_ms"), 4, 2] = 245
    risk = assess(values, SIGNALS, CONFIG)
    assert risk.worst_step[0].tolist() == [1, 1, 2]
    assert risk.message(0) == "Latency predicted to reach 245 ms in 10 minutes"


def test_message_of_a_quiet_server_says_so():
    assert "No threshold" in assess(quiet(), SIGNALS, CONFIG).message(0)


@pytest.mark.parametrize(("component", "threshold", "below", "above"), [
    ("cpu", 90, 0, 15), ("cpu", 95, 15, 30), ("cpu", 98, 30, 40),
    ("memory", 90, 0, 12), ("memory", 95, 12, 25), ("memory", 98, 25, 35),
    ("latency", 100, 0, 8), ("latency", 200, 8, 15), ("latency", 500, 15, 25)])
def test_a_band_is_crossed_only_from_above_its_threshold(component, threshold, below, above):
    position = COMPONENTS.index(component)
    on = assess(with_p90(**{component: threshold}), SIGNALS, CONFIG)
    beyond = assess(with_p90(**{component: up(threshold)}), SIGNALS, CONFIG)
    assert on.points[0, position] == below
    assert beyond.points[0, position] == above
    assert beyond.component == (component,)
    assert np.delete(beyond.points[0], position).tolist() == [0, 0]


@pytest.mark.parametrize(("cpu", "memory", "latency", "score", "priority"), [
    (99, 99, 501, 100, "P1"), (99, 99, 10, 75, "P1"), (99, 96, 10, 65, "P2"), (99, 10, 10, 40, "P2"),
    (96, 10, 101, 38, "P3"), (10, 99, 10, 35, "P3"), (99, 91, 201, 67, "P2"), (10, 10, 10, 0, "P3")])
def test_score_is_the_sum_of_points_and_decides_the_priority(cpu, memory, latency, score, priority):
    risk = assess(with_p90(cpu, memory, latency), SIGNALS, CONFIG)
    assert (risk.score[0], risk.priority[0]) == (score, priority)
    assert risk.high_risk == (priority == "P1")


@pytest.mark.parametrize(("score", "priority"), [(39, "P3"), (40, "P2"), (69, "P2"), (70, "P1")])
def test_priorities_start_exactly_at_their_scores(score, priority):
    config = RiskConfig.model_validate({"points": {"cpu": [{"above": 50, "points": score}]}})
    assert assess(with_p90(cpu=60), SIGNALS, config).priority == (priority,)


def test_score_is_capped_at_one_hundred():
    config = RiskConfig.model_validate({"points": {"cpu": [{"above": 50, "points": 90}]}})
    assert assess(with_p90(cpu=60, memory=99), SIGNALS, config).score[0] == 100


def test_only_the_first_six_steps_earn_points():
    assert assess(with_p90(cpu=99, step=6), SIGNALS, CONFIG).score[0] == 40
    assert assess(with_p90(cpu=99, step=7), SIGNALS, CONFIG).score[0] == 0


def test_only_p90_earns_points():
    values = quiet()
    values[..., :2] = 99
    assert assess(values, SIGNALS, CONFIG).score[0] == 0


def test_the_component_with_most_points_drives():
    assert assess(with_p90(cpu=91, memory=96, latency=501), SIGNALS, CONFIG).component == ("memory",)
    assert assess(quiet(), SIGNALS, CONFIG).component == (None,)


def chances(signal: str, quantile: int, value: float, step: int = 1) -> dict[str, float]:
    values = quiet()
    values[0, SIGNALS.index(signal), step - 1, quantile] = value
    probability = assess(values, SIGNALS, CONFIG).probability
    return {window: float(chance[0]) for window, chance in probability.items()}


@pytest.mark.parametrize("signal", ["cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms"])
@pytest.mark.parametrize(("quantile", "threshold", "window", "on", "beyond"), [
    (1, 85, "30m", 0, 0.15), (1, 90, "30m", 0.15, 0.35), (2, 95, "30m", 0, 0.15), (2, 98, "30m", 0.15, 0.35),
    (1, 82, "8h", 0, 0.10), (1, 88, "8h", 0.10, 0.25), (2, 92, "8h", 0, 0.10), (2, 96, "8h", 0.10, 0.25)])
def test_each_core_signal_adds_the_weight_of_its_level(signal, quantile, threshold, window, on, beyond):
    assert chances(signal, quantile, threshold)[window] == on
    assert chances(signal, quantile, up(threshold))[window] == beyond


def test_other_signals_and_p10_add_nothing():
    assert chances("net_in_mb_s", 2, 1000) == {"30m": 0, "8h": 0}
    assert chances("cpu_pct", 0, 99) == {"30m": 0, "8h": 0}


def test_windows_end_at_their_last_step():
    assert chances("cpu_pct", 2, 99, step=6) == {"30m": 0.35, "8h": 0.25}
    assert chances("cpu_pct", 2, 99, step=7) == {"30m": 0, "8h": 0.25}
    assert chances("cpu_pct", 2, 99, step=96) == {"30m": 0, "8h": 0.25}


def test_probability_is_capped_at_one():
    risk = assess(np.full((1, 5, 96, 3), 99, np.float32), SIGNALS, CONFIG)
    assert {window: chance[0] for window, chance in risk.probability.items()} == {"30m": 1.0, "8h": 1.0}


def test_weights_add_up_exactly():
    values = quiet()
    values[0, :3, 0, 1] = 86  # three roles at the moderate level; in binary, 3 * 0.15 is not 0.45
    assert assess(values, SIGNALS, CONFIG).probability["30m"][0] == 0.45


def test_a_role_can_have_levels_of_its_own():
    own = Levels(severe=Level(p50=400, p90=500, weight=0.5), moderate=Level(p50=150, p90=200, weight=0.2))
    incident = dict(CONFIG.incident)
    incident["30m"] = Incident(severe=incident["30m"].severe, moderate=incident["30m"].moderate,
                               overrides={"latency": own})
    config = RiskConfig(incident=incident)
    for latency, chance in ((200, 0), (201, 0.2), (501, 0.5)):
        assert assess(with_p90(latency=latency), SIGNALS, config).probability["30m"][0] == chance
    assert assess(with_p90(cpu=99), SIGNALS, config).probability["30m"][0] == 0.35


CORE, P2_AT_MOST = [0, 1, 2, 3], [0, 2]  # columns


def fleet_of(troubled: int, servers: int, columns: list[int]):
    """Risk of a fleet where these signals of the first `troubled` servers are at 99."""
    values = quiet(servers)
    values[:troubled, columns] = 99
    return assess(values, SIGNALS, CONFIG)


@pytest.mark.parametrize(("troubled", "servers", "columns", "probability", "health"), [
    (0, 3, CORE, 0, "healthy"), (4, 7, P2_AT_MOST, 0.4, "healthy"), (41, 70, P2_AT_MOST, 0.41, "warning"),
    (3, 3, P2_AT_MOST, 0.7, "warning"), (7, 10, CORE, 0.7, "warning"), (71, 100, CORE, 0.71, "critical"),
    (3, 3, CORE, 1, "critical")])
def test_fleet_health_follows_the_mean_probability_strictly(troubled, servers, columns, probability, health):
    risk = fleet_of(troubled, servers, columns)
    assert risk.fleet_probability["30m"] == probability
    assert risk.health == health


def test_a_fleet_with_a_server_of_p1_is_at_least_in_warning_however_large_it_is():
    risk = fleet_of(1, 500, CORE)
    assert (risk.fleet_probability["30m"], risk.high_risk, risk.health) == (0.002, 1, "warning")
    assert fleet_of(1, 500, P2_AT_MOST).health == "healthy", "P2 is no such server"


def test_a_server_without_forecast_has_no_risk_and_no_part_in_the_fleet():
    values = np.full((3, 5, 96, 3), 99, np.float32)
    values[1] = NAN
    values[2] = 10
    risk = assess(values, SIGNALS, CONFIG)
    assert np.isnan(risk.score[1])
    assert np.isnan(risk.points[1]).all()
    assert np.isnan(risk.probability["30m"][1])
    assert risk.priority == ("P1", None, "P3")
    assert risk.component == ("cpu", None, None)
    assert risk.worst_step[1].tolist() == [0, 0, 0]
    assert risk.message(1) == "No forecast"
    assert risk.fleet_probability == {"30m": 0.5, "8h": 0.5}
    assert risk.high_risk == 1


@pytest.mark.parametrize("servers", [0, 2])
def test_a_fleet_without_any_forecast_is_unknown_and_not_healthy(servers):
    risk = assess(np.full((servers, 5, 96, 3), NAN, np.float32), SIGNALS, CONFIG)
    assert risk.health == "unknown"
    assert np.isnan(list(risk.fleet_probability.values())).all()
    assert (risk.high_risk, risk.priority) == (0, (None,) * servers)
    assert risk.points.shape == risk.worst.shape == risk.worst_step.shape == (servers, 3)


def test_one_signal_without_forecast_leaves_the_others_their_say():
    values = with_p90(cpu=99)
    values[0, SIGNALS.index("mem_pct")] = NAN
    risk = assess(values, SIGNALS, CONFIG)
    assert risk.points[0, 0] == 40
    assert np.isnan(risk.points[0, 1])
    assert risk.points[0, 2] == 0
    assert (risk.score[0], risk.priority, risk.probability["30m"][0]) == (40, ("P2",), 0.35)


def test_signals_that_are_not_forecast_add_nothing_and_are_listed():
    signals = ("mem_pct", "cpu_pct")
    values = np.full((1, 2, 96, 3), 99, np.float32)
    risk = assess(values, signals, CONFIG)
    assert risk.missing == ("latency", "disk")
    assert risk.points.tolist() == [[40, 35, 0]]
    assert (risk.score[0], risk.probability["30m"][0]) == (75, 0.7)


def test_roles_find_their_signals_by_name():
    config = RiskConfig(roles=Roles(cpu="net_in_mb_s", disk="cpu_pct"))
    values = quiet()
    values[0, SIGNALS.index("net_in_mb_s"), 0, 2] = 99
    assert assess(values, SIGNALS, config).component == ("cpu",)


def test_fields_have_their_shapes_and_types():
    risk = assess(quiet(4), SIGNALS, CONFIG)
    for field, shape, kind in ((risk.points, (4, 3), np.float64), (risk.score, (4,), np.float64),
                               (risk.worst, (4, 3), np.float32), (risk.worst_step, (4, 3), np.int64)):
        assert (field.shape, field.dtype) == (shape, kind)
    assert risk.probability.keys() == risk.fleet_probability.keys() == {"30m", "8h"}
    assert all(chance.shape == (4,) for chance in risk.probability.values())


def test_a_new_host_on_the_trend_has_no_points_for_what_its_band_may_touch():
    """16 % memory, whose band touches 95 % within 4.5 hours, as that of any server does."""
    encoder = np.full((1, 1, 24), np.nan, np.float32)
    encoder[0, 0, -3:] = [14, 15, 16]
    memory = heuristic.forecast(encoder, (Signal(query="a", unit="percent", min=0, max=100),))
    assert memory[0, 0, :, 2].max() > 95
    by_band, by_now = (assess(memory, ("mem_pct",), CONFIG, by_model=made) for made in (None, np.array([[False]])))
    assert by_band.probability["8h"][0] == 0.25
    assert (by_now.score[0], by_now.priority, by_now.probability["8h"][0]) == (0, ("P3",), 0)
    assert by_now.worst[0, 1] == 16


def test_a_server_on_the_trend_has_its_points_for_what_is_beyond_a_limit_now():
    values = quiet(2)
    values[:, 0] = [10, 96, 99.5]
    by_model = np.ones(values.shape[:2], bool)
    by_model[0] = False
    risk = assess(values, SIGNALS, CONFIG, by_model=by_model)
    assert risk.points[:, 0].tolist() == [30, 40] and risk.worst_step[:, 0].tolist() == [0, 1]
    assert risk.message(0) == "CPU at 96.0% now" and "predicted to reach 99.5%" in risk.message(1)
    assert risk.probability["30m"].tolist() == [0.35, 0.35]
    assert values[0, 0, 0, 2] == np.float32(99.5), "the published band stays as it is"


def test_a_signal_without_a_forecast_stays_unknown_on_the_trend():
    values = quiet()
    values[0, 1] = NAN
    risk = assess(values, SIGNALS, CONFIG, by_model=np.zeros((1, len(SIGNALS)), bool))
    assert np.isnan(risk.points[0]).tolist() == [False, True, False]


def with_incidents(on: bool, by=None, signals=SIGNALS, values=None, chances=None):
    """Risk of one server whose CPU is full now, or not, although no forecast of it crosses a threshold."""
    values = quiet(signals=len(signals)) if values is None else values
    context = np.full((1, len(signals), 24), 99 if on else 10, np.float32)
    given = {name: Signal(query="a", unit="percent") for name in signals}
    config = RiskConfig(priorities=Priorities(by=by))
    found = find(config.conditions(signals), chances, Forecast(values, np.ones(values.shape[:2], bool)), given,
                 (("a",), ("b",)), context, 0.0, 300.0, ZoneInfo("UTC"), config.priorities)
    severe = {window: found.any(window) for window in ("30m", "8h")}
    return assess(values, signals, config, severe, incidents=found)


def test_fleets_with_three_roles_go_by_score_and_others_by_chance_unless_it_is_configured():
    assert with_incidents(True).by == "score" and with_incidents(True).priority == ("P3",)
    two = with_incidents(True, signals=("cpu_pct", "mem_pct"))
    assert (two.by, two.priority, two.high_risk, two.health) == ("chance", ("P1",), 1, "warning")
    assert with_incidents(True, by="chance").priority == ("P1",)
    assert with_incidents(True, by="score", signals=("cpu_pct",)).priority == ("P3",)
    assert assess(quiet(), ("cpu_pct",) * 5, RiskConfig()).by == "score", "without incidents"


@pytest.mark.parametrize("on", [False, True])
def test_by_score_priorities_and_points_are_as_they_were_whatever_the_incidents(on):
    values = with_p90(cpu=99, memory=96)
    risk, bare = with_incidents(on, values=values), assess(values, SIGNALS, CONFIG)
    assert (risk.priority, risk.component, risk.health) == (bare.priority, bare.component, bare.health)
    np.testing.assert_array_equal(risk.points, bare.points)
    assert risk.probability["8h"] == bare.probability["8h"]


@pytest.mark.parametrize(("points", "soon", "later", "said"), [
    ({"cpu": 99, "memory": 99}, 0.23, 0.3, "; chance of an incident within 30 minutes 23%"),
    ({"cpu": 99, "memory": 99}, 0.23, 0.9, "; chance of an incident within 30 minutes 23%"),
    ({"cpu": 99}, 0.01, 0.3, "; chance of an incident within 8 hours 30%"),
    ({"cpu": 99}, np.nan, np.nan, "; no calibrated chance")])
def test_a_priority_by_points_that_no_chance_speaks_for_says_what_it_rests_on(points, soon, later, said):
    def by(soon, later):
        return assess(with_p90(**points), SIGNALS, CONFIG, {"30m": np.array([soon]), "8h": np.array([later])})

    assert by(soon, later).by_points.tolist() == [True]
    score = 75 if "memory" in points else 40
    assert by(soon, later).message(0) == f"CPU predicted to reach 99.0% in 15 minutes (p90), risk score {score}{said}"
    assert by(0.5, 0.5).by_points.tolist() == [False]
    assert by(0.5, 0.5).message(0) == "CPU predicted to reach 99.0% in 15 minutes"


def test_the_message_names_the_incident_by_chance_and_adds_it_by_score():
    full = "cpu_pct above 95% now, no calibrated chance"
    assert with_incidents(True, signals=("cpu_pct",)).message(0) == full
    assert with_incidents(True, values=with_p90(cpu=99)).message(0) == (
        f"CPU predicted to reach 99.0% in 15 minutes; {full}")
    assert with_incidents(True).message(0) == full
    assert with_incidents(False, by="chance").message(0) == "No incident now, chances are unknown"
    assert with_incidents(False).message(0).startswith("No threshold predicted to be crossed")


numbers = st.floats(0, 600, width=32)
forecasts = arrays(np.float32, (2, 4, 96, 1), elements=numbers, fill=numbers)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(forecasts, forecasts)
def test_risk_rises_with_p90_and_stays_in_its_range(base, more):
    signals = SIGNALS[:4]
    low, high = (assess(np.concatenate([base, base, p90], axis=3), signals, CONFIG)
                 for p90 in (base, base + more))
    assert (low.points <= high.points).all()
    assert (low.score <= high.score).all()
    assert (low.score >= 0).all()
    assert (high.score <= 100).all()
    for window in ("30m", "8h"):
        assert (low.probability[window] <= high.probability[window]).all()
        assert (high.probability[window] <= 1).all()
        assert (low.probability[window] >= 0).all()
        assert 0 <= low.fleet_probability[window] <= high.fleet_probability[window] <= 1
