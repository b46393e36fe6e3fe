"""The record: what was forecast is held against what came, and bands that prove too narrow are widened."""

import re

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.memory.record import Record
from forecaster.memory.scores import (
    COLUMNS,
    COUNTED,
    COVERED,
    FIRST_BIN,
    LOSS,
    LOSS_HEURISTIC,
    figures,
    needed_factors,
    scored,
    widen,
)
from forecaster.memory.snapshot import SnapshotError
from forecaster.readings import Reading, Readings
from forecaster.service.app import Forecaster

pytestmark = pytest.mark.slow

STEP, START = 300.0, 1_760_000_100.0
HORIZONS = {"5m": 1, "30m": 6}
NAMES = tuple(f"s{i:02d}" for i in range(40))


def record(**changed) -> Record:
    return Record(
        **{"signals": ("cpu_pct",), "horizons": HORIZONS, "step": STEP, "window": 86400.0, "minimum": 500, "limit": 3.0}
        | changed
    )


def live(kept: Record, steps: int, spread: float = 1.0, seed: int = 0, begin: int = 0, skip=()):
    """Runs a forecaster of p10..p90 = 50 -/+ 1.2816 whose outcomes have that spread; what it publishes is widened."""
    rng = np.random.default_rng(seed)
    raw = np.tile(np.array([50 - 1.2816, 50, 50 + 1.2816], np.float32), (len(NAMES), 1, 2, 1))
    for n in range(begin, begin + steps):
        now = START + n * STEP
        if n in skip:
            continue
        assert kept.due(now)
        kept.observe(now, NAMES, (50 + spread * rng.standard_normal((len(NAMES), 1))).astype(np.float32))
        factors = kept.factors(96)
        published = raw if factors is None else widen(raw, factors[:, [0, 5]], np.array([0.0]), np.array([100.0]))
        kept.keep(now, NAMES, published, raw, raw * np.array([0.8, 1, 1.2], np.float32))
    return kept


def test_what_was_said_thirty_minutes_before_is_kept_beside_its_time_for_two_hours_and_half_an_hour_ahead():
    kept, rows = record(), np.arange(40, dtype=np.float32)[:, None, None, None]
    for n in range(40):
        now = START + n * STEP
        kept.observe(now, NAMES, np.full((40, 1), 50, np.float32))
        made = np.tile(np.array([n - 1, n, n + 1], np.float32), (40, 1, 2, 1)) + 1000 * rows
        kept.keep(now, NAMES, made, made, made)
    instants, values = kept.said("s07")
    assert kept.lead == 1800 and instants.tolist() == [START + (n + 6) * STEP for n in range(10, 40)]
    assert values.shape == (30, 1, 3) and values[:, 0, 1].tolist() == [7000 + n for n in range(10, 40)]
    instants, values = kept.said("unknown")
    assert instants.size == 0 and values.shape == (0, 1, 3)


def test_a_good_forecaster_is_shown_as_one_and_left_alone():
    proof = live(record(), 100).proof()
    assert proof.coverage == pytest.approx(0.8, abs=0.03)
    assert (proof.widening == 1).all() and (proof.loss < 0.6).all()
    assert proof.outcomes.tolist() == [[99 * 40, 94 * 40]]


def test_bands_that_are_too_narrow_are_widened_until_they_cover():
    kept = live(record(window=36 * STEP * 3), 400, spread=2.0)
    proof = kept.proof()
    assert proof.widening == pytest.approx(2.0, rel=0.15)
    assert proof.coverage == pytest.approx(0.8, abs=0.03), "what was published, not what was thought at first"


def test_widening_has_a_limit():
    assert live(record(limit=1.5), 200, spread=4.0).proof().widening.max() == 1.5


def test_nothing_is_shown_before_enough_outcomes_over_enough_hours():
    hours = live(record(minimum=10), 60)
    assert np.isnan(hours.proof().coverage).all() and (hours.proof().widening == 1).all(), "five hours"
    few = live(record(minimum=10_000), 200)
    assert np.isnan(few.proof().loss).all() and (few.proof().outcomes > 0).all()


def test_an_unobserved_outcome_is_not_scored():
    kept = record()
    for n in range(3):
        kept.observe(START + n * STEP, NAMES, np.full((40, 1), np.nan, np.float32))
        kept.keep(START + n * STEP, NAMES, *[np.ones((40, 1, 2, 3), np.float32)] * 3)
    assert (kept.proof().outcomes == 0).all()


def test_only_what_still_waits_for_its_outcome_is_held():
    kept = live(record(horizons={"5m": 1, "30m": 6, "8h": 96}), 0)
    forecasts = np.ones((40, 1, 3, 3), np.float32)
    for n in range(120):
        kept.observe(START + n * STEP, NAMES, np.ones((40, 1), np.float32))
        kept.keep(START + n * STEP, NAMES, forecasts, forecasts, forecasts)
    held = [part[2].shape[3] for part in kept._pending.values()]
    assert sum(held) == 96 + 6 + 1, "each horizon waits as many steps as it looks ahead"
    assert kept.proof().outcomes[0].tolist() == [119 * 40, 114 * 40, 24 * 40]


def test_steps_nobody_looked_at_are_not_scored_against_their_neighbours():
    kept = live(record(), 30, skip=range(10, 20))
    assert kept.proof().outcomes[0].tolist() == [18 * 40, 40 * sum(
        1 for n in range(30) if n not in range(10, 20) and n - 6 >= 0 and n - 6 not in range(10, 20)
    )]


def test_servers_are_matched_by_name_when_some_come_and_go():
    kept = record()
    kept.observe(START, ("a", "b"), np.zeros((2, 1), np.float32))
    kept.keep(START, ("a", "b"), *[np.zeros((2, 1, 2, 3), np.float32)] * 3)
    kept.observe(START + STEP, ("b", "c"), np.array([[0.0], [9.0]], np.float32))
    assert kept.proof().outcomes[0, 0] == 1


def test_one_step_is_kept_and_scored_once():
    kept = live(record(), 3)
    assert not kept.due(START + 2 * STEP + 15) and kept.due(START + 3 * STEP)


def test_a_clock_set_back_forgets_what_was_said_of_the_future():
    kept = live(record(), 50)
    kept.observe(START + 10 * STEP, NAMES, np.zeros((40, 1), np.float32))
    assert kept.proof().outcomes[0, 0] == 40 * 9 and kept.due(START + 10 * STEP)


def test_outcomes_leave_the_window():
    kept = live(record(window=20 * STEP), 100)
    assert kept.proof().outcomes[0].tolist() == [20 * 40, 20 * 40]


def test_idle_servers_that_sit_on_their_forecast_are_covered_and_not_widened():
    kept, exact = record(minimum=10), np.full((40, 1, 2, 3), 5.0, np.float32)
    for n in range(100):
        kept.observe(START + n * STEP, NAMES, np.full((40, 1), 5.0, np.float32))
        kept.keep(START + n * STEP, NAMES, exact, exact, exact)
    assert (kept.proof().coverage == 1).all() and kept.factors(96) is None


def one_host(kept: Record, outcomes, begin: int = 0) -> Record:
    """Forecasts 40, 50, 70 (the heuristic 30, 50, 80) of one host at each step, after the outcome was looked at."""
    made, trend = (np.array(levels, np.float32).reshape(1, 1, 1, 3) for levels in ([40, 50, 70], [30, 50, 80]))
    for n, outcome in enumerate(outcomes, begin):
        kept.observe(START + n * STEP, ("a",), np.array([[outcome]], np.float32))
        kept.keep(START + n * STEP, ("a",), made, made, trend)
    return kept


def recent(kept: Record) -> list[float]:
    proof = kept.proof()
    return [figure.item() for figure in (proof.recent_coverage, proof.recent_loss, proof.recent_outcomes)]


def test_the_last_hour_is_shown_from_a_dozen_outcomes_on_and_forgets_what_is_older():
    kept = one_host(record(horizons={"5m": 1}), [54, *[80] * 3, *[54] * 8])
    assert np.isnan(recent(kept)).all(), "the first step has no forecast to be held against: 11 outcomes"
    one_host(kept, [54], begin=12)
    # 54 loses (0.1 x 14 + 0.5 x 4 + 0.1 x 16) / 3, the heuristic (0.1 x 24 + 0.5 x 4 + 0.1 x 26) / 3;
    # 80 loses (0.1 x 40 + 0.5 x 30 + 0.9 x 10) / 3, the heuristic (0.1 x 50 + 0.5 x 30) / 3
    assert recent(kept) == pytest.approx([9 / 12, (9 * 5 + 3 * 28) / (9 * 7 + 3 * 20), 12])
    assert recent(one_host(kept, [54], begin=13)) == pytest.approx([10 / 12, (10 * 5 + 2 * 28) / (10 * 7 + 2 * 20), 12])
    assert recent(one_host(kept, [54] * 30, begin=14)) == pytest.approx([1, 5 / 7, 12])
    assert kept.proof().outcomes.item() == 43 and np.isnan(kept.proof().coverage.item()), "other rules"


def test_an_hour_without_outcomes_shows_nothing_of_it():
    kept = one_host(record(horizons={"5m": 1}), [54] * 20)
    assert recent(kept)[2] == 12
    one_host(kept, [np.nan] * 12, begin=20)
    assert np.isnan(recent(kept)).all() and kept.proof().outcomes.item() == 19


def test_the_last_hour_survives_a_restart_and_ages_while_nothing_runs(tmp_path):
    kept = one_host(record(horizons={"5m": 1}), [*[54] * 10, *[80] * 5])
    kept.snapshot(tmp_path / "record.npz")
    again, late = record(horizons={"5m": 1}), record(horizons={"5m": 1})
    assert again.restore(tmp_path / "record.npz", START + 14.2 * STEP) is None
    assert recent(again) == recent(kept) == pytest.approx([7 / 12, (7 * 5 + 5 * 28) / (7 * 7 + 5 * 20), 12])
    assert late.restore(tmp_path / "record.npz", START + 26 * STEP) is None
    assert np.isnan(recent(late)).all()


def test_the_record_survives_a_restart(tmp_path):
    kept = live(record(), 150, spread=2.0)
    kept.snapshot(tmp_path / "record.npz")
    again = record()
    assert again.restore(tmp_path / "record.npz", START + 150 * STEP) is None
    np.testing.assert_array_equal(again.proof().coverage, kept.proof().coverage)
    np.testing.assert_array_equal(again.factors(96), kept.factors(96))
    live(again, 10, begin=150, spread=2.0)
    assert again.proof().outcomes[0, 1] == 40 * (150 - 6 + 10)


@pytest.mark.parametrize("changed", [{"identity": "other weights"}, {"step": 60.0}, {"horizons": {"5m": 1}}])
def test_the_record_of_another_model_or_layout_is_not_gone_on_with(tmp_path, changed):
    live(record(), 20).snapshot(tmp_path / "record.npz")
    assert "another model" in record(**changed).restore(tmp_path / "record.npz", START + 20 * STEP)


def test_the_record_of_an_earlier_version_is_named_as_such_and_is_not_damaged(tmp_path):
    path = tmp_path / "record.npz"
    live(record(), 20).snapshot(path)
    with np.load(path) as held:
        arrays = dict(held)
    np.savez(path, **arrays | {"version": 1})
    assert "has version 1, expected 2" in record().restore(path, START + 20 * STEP)


def test_a_damaged_record_starts_empty_and_says_so(tmp_path):
    path = tmp_path / "record.npz"
    live(record(), 20).snapshot(path)
    path.write_bytes(path.read_bytes()[:-200])
    fresh = record()
    with pytest.raises(SnapshotError, match="cannot be read"):
        fresh.restore(path, START)
    assert (fresh.proof().outcomes == 0).all()


def test_widening_keeps_the_median_and_the_bounds():
    forecast = np.array([[[[10.0, 50.0, 95.0]]]], np.float32)
    found = widen(forecast, np.array([[2.0]], np.float32), np.array([0.0]), np.array([100.0]))
    assert found[0, 0, 0].tolist() == [0.0, 50.0, 100.0]


def test_a_step_scores_widens_the_models_rows_and_leaves_the_heuristics_alone():
    kept = live(record(), 150, spread=2.0)
    forecast = np.tile(np.array([48.0, 50.0, 52.0], np.float32), (2, 1, 96, 1))
    before = forecast.copy()
    now, by_model = START + 150 * STEP, np.array([[True], [False]])
    heuristic = forecast[:, :, [0, 5]].copy()
    proof = kept.step_over(now, ("s00", "s01"), np.full((2, 1), 50.0), forecast, heuristic, by_model, [(0.0, None)])
    assert (forecast[0, :, :, 2] - 50 > 1.5 * 2).all() and (forecast[1] == before[1]).all()
    assert not kept.due(now + 15) and proof.widening.min() > 1.5
    later = before.copy()
    same = kept.step_over(now + 15, ("s00", "s01"), np.full((2, 1), 50.0), later, None, by_model, [(0.0, None)])
    assert np.array_equal(later, forecast) and np.array_equal(same.outcomes, proof.outcomes), "bands stay as wide"
    without = live(record(correction=False), 150, spread=2.0)
    without.step_over(now, ("s00",), np.full((1, 1), 50.0), before[:1], heuristic[:1], by_model[:1], [(0.0, None)])
    assert before[0, 0, 0, 2] == 52 and (without.proof().widening == 1).all()


def test_only_the_signals_that_the_model_forecasts_are_scored_and_widened():
    kept = Record(("cpu_pct", "mem_pct"), {"5m": 1}, STEP, 86400.0, 5, 4.0)
    by_model = np.array([[True, False]])
    for n in range(100):
        forecast = np.tile(np.array([49, 50, 51], np.float32), (1, 2, 96, 1))
        proof = kept.step_over(START + n * STEP, ("a",), np.full((1, 2), 50 + 3 * (-1) ** n, np.float32), forecast,
                               forecast[:, :, [0]].copy(), by_model, [(0.0, 100.0)] * 2)
    assert proof.outcomes.tolist() == [[99], [0]] and np.isnan(proof.coverage).tolist() == [[False], [True]]
    assert forecast[0, 0, 0, 2] > 52 and forecast[0, 1, 0].tolist() == [49, 50, 51]


def test_a_forecast_is_compared_with_the_outcome_of_its_own_step():
    kept, nothing = record(), np.zeros((1, 1, 2, 3), np.float32)
    for n in range(20):
        ahead = np.arange(n + 1, n + 97, dtype=np.float32)[None, None, :, None].repeat(3, 3)  # exactly what will come
        proof = kept.step_over(START + n * STEP, ("a",), np.full((1, 1), n, np.float32), ahead, nothing,
                               np.array([[True]]), [(None, None)])
    assert proof.recent_coverage.tolist() == [[1, 1]] and proof.recent_loss.tolist() == [[0, 0]]


@pytest.mark.parametrize(("late", "outcomes"), [(0, 1), (149, 1), (150, 1), (151, 0)])
def test_an_outcome_counts_within_half_a_step_of_its_time(late, outcomes):
    kept = one_host(record(horizons={"30m": 6}), [50])
    kept.observe(START + 6 * STEP + late, ("a",), np.full((1, 1), 50, np.float32))
    assert kept.proof().outcomes.item() == outcomes


def test_scores_of_bands_that_are_wider_above_than_below_the_median():
    made = np.array([40, 50, 70], np.float32)[None, None]
    forecasts = np.stack([made, made, made]).repeat(5, 1)
    sums = scored(forecasts, np.array([[45], [60], [70], [71], [np.nan]], np.float32))[0]
    assert (sums[COUNTED], sums[COVERED]) == (4, 3), "the ends of the band belong to it, the unknown does not count"
    losses = (0.1 * 5 + 0.5 * 5 + 0.1 * 25, 0.1 * 20 + 0.5 * 10 + 0.1 * 10, 3 + 10 + 0, 3.1 + 10.5 + 0.9)
    assert sums[LOSS] == pytest.approx(2 * sum(losses) / 3)
    assert sums[FIRST_BIN:].sum() == 4 and sums[FIRST_BIN:].max() == 2, "45 and 60 are half a half-band away"


def test_a_band_without_width_gives_no_distance():
    flat = np.full((3, 2, 1, 3), 5, np.float32)
    assert scored(flat, np.array([[5], [9]], np.float32))[0, FIRST_BIN:].sum() == 0


def test_figures_are_shown_from_six_hours_on_and_without_a_loss_of_the_heuristic_no_ratio():
    kept = one_host(record(horizons={"5m": 1}, minimum=1), [54] * 73)
    assert np.isnan(kept.proof().coverage.item()), "the first outcome came with the second step"
    assert one_host(kept, [54], begin=73).proof().coverage.item() == 1
    total = np.zeros((1, 3, COLUMNS))
    total[0, :, COUNTED], total[0, :, LOSS], total[0, :, LOSS_HEURISTIC] = 10, 0.2, [0.4, 0, 0.4]
    _, loss = figures(total, np.array([[True, True, False]]))
    np.testing.assert_array_equal(loss, [[0.5, np.nan, np.nan]])


@pytest.mark.parametrize(("bounds", "ends"), [((47.5, None), (47.5, 54)), ((None, 52.5), (46, 52.5))])
def test_a_widened_band_stays_inside_the_bounds_a_signal_has(bounds, ends):
    kept = live(record(), 150, spread=2.0)
    forecast = np.tile(np.array([48, 50, 52], np.float32), (1, 1, 96, 1))
    now = START + 150 * STEP
    kept.step_over(now, ("s00",), np.full((1, 1), 50.0), forecast, forecast[:, :, [0, 5]], np.array([[True]]), [bounds])
    assert forecast[0, 0, 0].tolist() == pytest.approx([ends[0], 50, ends[1]], abs=0.6)
    assert forecast.min() >= (bounds[0] or 0) and forecast.max() <= (bounds[1] or 100)


@pytest.mark.parametrize("distance", [0.021, 0.5, 1.0, 2.0, 49.0])
def test_the_factor_of_a_band_covers_the_distances_with_little_to_spare(distance):
    raw = np.array([49, 50, 51], np.float32)[None, None].repeat(10, 1)
    far = [50 + distance] * 8 + [500] * 2  # two of ten may stay outside
    factor = needed_factors(scored(np.stack([raw] * 3).reshape(3, 10, 1, 3), np.array(far, np.float32)[:, None]))
    assert distance <= factor.item() * 1.0001 and factor.item() < 1.15 * distance


@pytest.mark.parametrize("changed", [{"identity": "other"}, {"window": 2 * 86400.0}, {"minimum": 501}, {"limit": 2.0},
                                     {"correction": False}, {"signals": ("mem_pct",)}, {"step": 60.0}])
def test_a_record_is_continued_under_the_same_settings_only(changed):
    assert record().same(record()) and not record().same(record(**changed))


@pytest.mark.parametrize("damage", [
    {"sums": np.zeros((1, 1, 2, 66))}, {"rows_0": np.array([0])}, {"rows_0": np.full(40, 40)},
    {"rows_0": np.full(40, -1)}, {"servers": np.array([1])}, {"kept_0": np.zeros((3, 40, 1, 3, 3))},
    {"kept_0": np.zeros((3, 40, 1, 2, 2))}, {"kept_0": np.zeros((2, 40, 1, 2, 3))},
    {"kept_0": np.zeros((3, 40, 2, 2, 3))}, {"kept_0": np.zeros((3, 40, 1, 2))},
])
def test_a_record_whose_parts_do_not_fit_together_is_ignored(tmp_path, damage):
    path, kept = tmp_path / "record.npz", live(record(), 3)
    kept.snapshot(path)
    with np.load(path) as file:
        held = dict(file)
    np.savez(path, **held | damage)
    with pytest.raises(SnapshotError, match="expected|do not fit together"):
        record().restore(path, START + 3 * STEP)


SIGNALS = 14  # of the preset


class OneHost:
    """A source of one host whose signals are noise around a level."""

    def close(self) -> None:
        """Has nothing to close."""

    def _values(self, instant: float) -> np.ndarray:
        return np.random.default_rng(int(instant)).normal(50, 2, (1, SIGNALS)).astype(np.float32)

    def latest(self, instant: float) -> Reading:
        return Reading(instant, ("127.0.0.1:9100",), ("generic",), self._values(instant))

    def range(self, start: float, end: float, step: float, offset: float = 0.0) -> Readings:
        instants = np.arange(start, end + step / 2, step)
        return Readings(instants, ("127.0.0.1:9100",), ("generic",), np.stack([self._values(at) for at in instants]))


class TooSure:
    """The preset's model, whose forecast is the level with p10..p90 half as wide as outcomes need."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def quantiles(self, window, *_):
        levels = np.array(self._model.architecture.quantiles, np.float32)
        values = 50 + 2.56 * (levels - 0.5) / 0.8
        return np.broadcast_to(values, (*window.shape[:2], 96, len(levels))).copy(), np.ones(window.shape[:2], bool)


def test_a_single_host_sees_its_proof_at_every_horizon_within_a_day_and_has_its_bands_widened():
    now = [START // 86400 * 86400]
    forecaster = Forecaster(lambda: load_config("node_exporter"), lambda: now[0])
    cycle = forecaster.parts.cycle
    cycle._source, cycle._model = OneHost(), TooSure(cycle._model)

    def shown(hours: float, name: str) -> list[float]:
        while cycle.run_once() and now[0] % 86400 < hours * 3600:
            now[0] += STEP
        page = forecaster.app.test_client().get("/metrics").text
        return [float(value) for value in re.findall(rf"^forecast_live_{name}{{.*}} (\S+)$", page, re.MULTILINE)]

    assert shown(11 / 12, "recent_coverage_ratio") == [], "11 outcomes at 5 minutes, fewer at longer horizons"
    assert len(shown(2, "recent_coverage_ratio")) == len(shown(2, "recent_outcomes")) == SIGNALS * 3, "5m, 30m and 1h"
    assert shown(6, "coverage_ratio") == [], "a quarter of a day of one host is too little to judge by"
    of_each = len(forecaster.parts.config.horizons)
    assert len(shown(23, "coverage_ratio")) == len(shown(23, "loss_ratio")) == SIGNALS * of_each
    assert min(shown(23, "widening_ratio")) > 1.5
