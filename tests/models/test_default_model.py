"""The model in the repository, on simulated fleets it has never seen."""

from datetime import UTC, datetime

import numpy as np
import pytest

from exporter.fleet import Fleet
from exporter.profiles import METRICS, STATES, load_fleet
from forecaster.config import load_config
from forecaster.models.artifact import DEFAULT
from forecaster.models.heuristic import forecast as trend_forecast
from forecaster.models.model import Model
from forecaster.risk.score import assess
from forecaster.risk.thresholds import RiskConfig
from forecaster.training.dataset import History
from forecaster.training.simulation import simulate

pytestmark = pytest.mark.slow

WEDNESDAY = datetime(2026, 5, 6, tzinfo=UTC).timestamp()
HOUR = 60  # rows of one-minute history
TROUBLE = [STATES.index(state) for state in ("degraded", "critical", "recovering")]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(DEFAULT, "cpu")


def fleet_of(seed: int) -> Fleet:
    return Fleet(load_fleet(overrides={"seed": seed}))


def window(history: History, now: int) -> np.ndarray:
    """float32 (S, C, 24): the encoder at a row of one-minute history."""
    return np.ascontiguousarray(history.values[now - 115 : now + 1 : 5].transpose(1, 2, 0))


def test_it_is_small_and_made_for_the_fleet_preset(model):
    assert sum(path.stat().st_size for path in DEFAULT.iterdir()) < 1_000_000
    assert model.encoding.signals == tuple(load_config("fleet").signals) == METRICS
    assert (model.encoding.encoder_steps, model.encoding.horizon, model.architecture.hidden) == (24, 96, 32)


def test_its_bands_hold_what_they_promise_and_it_beats_the_trend_on_every_core_signal(model):
    signals = load_config("fleet").signals
    history = simulate(load_fleet(overrides={"seed": 77}), WEDNESDAY - 86400, 3.0, 300.0, None, seed=0)
    inside, loss, trend_loss = [], [], []
    for now in range(2 * HOUR, len(history.values) - 8 * HOUR, 97):
        truth = history.values[now + 5 : now + 481 : 5].transpose(1, 2, 0)
        values, _ = model.forecast(
            window(history, now), history.start + now * 60, history.servers, history.profiles, window(history, now - 1)
        )
        inside.append((values[..., 0] <= truth) & (truth <= values[..., 2]))
        loss.append(pinball(truth, values))
        trend_loss.append(pinball(truth, trend_forecast(window(history, now), signals)))
    coverage = np.mean(inside, axis=(0, 1, 3))
    assert (coverage[:4] > 0.7).all() and (coverage[:4] < 0.9).all()
    assert (np.mean(loss, 0)[:4] < 0.6 * np.mean(trend_loss, 0)[:4]).all()


def pinball(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean pinball loss over p10, p50, p90 by signal, (C,)."""
    error, levels = truth[..., None] - values, np.array([0.1, 0.5, 0.9])
    return np.maximum(levels * error, (levels - 1) * error).mean((0, 2, 3))


@pytest.mark.parametrize(("kept", "more"), [(range(4), 1.02), ((0, 1), 1.06), ((0, 3, 4, 6), 1.25)])
def test_a_server_that_lacks_signals_is_forecast_almost_as_well_by_those_it_has(model, kept, more):
    history = simulate(load_fleet(overrides={"seed": 79}), WEDNESDAY - 86400, 3.0, 300.0, None, seed=0)
    kept, losses = list(kept), []
    for now in range(2 * HOUR, len(history.values) - 8 * HOUR, 157):
        truth = history.values[now + 5 : now + 481 : 5].transpose(1, 2, 0)[:, kept]
        whole = window(history, now)
        lacking = np.full_like(whole, np.nan)
        lacking[:, kept] = whole[:, kept]
        about = history.start + now * 60, history.servers, history.profiles, window(history, now - 1)
        made = [model.forecast(given, *about)[0][:, kept] for given in (whole, lacking)]
        losses.append([pinball(truth, values) for values in made])
    whole, lacking = np.mean(losses, 0)
    assert (lacking < more * whole).all()


def test_in_a_healthy_week_it_pages_for_no_server_that_stays_out_of_trouble(model):
    fleet = fleet_of(42)
    minutes = 7 * 1440
    history = simulate(load_fleet(), WEDNESDAY, 7.0, 300.0, None, seed=0)
    trouble = np.isin(fleet.trajectory(WEDNESDAY, minutes)[1], TROUBLE).any(0)
    assert (~trouble).sum() >= 8
    looked = 0
    for now in range(2 * HOUR, minutes, 20):
        rows = np.flatnonzero(~trouble & ((history.values[now, :, 0] > 65) | (history.values[now, :, 1] > 65)))
        if rows.size:  # only servers under load can come near a P1
            servers, profiles = (tuple(names[i] for i in rows) for names in (history.servers, history.profiles))
            values, _ = model.forecast(
                window(history, now)[rows], WEDNESDAY + now * 60, servers, profiles, window(history, now - 1)[rows]
            )
            assert "P1" not in assess(values, METRICS, RiskConfig()).priority
            looked += rows.size
    assert looked > 40


@pytest.mark.parametrize(("seed", "hour"), [(42, 3), (5, 14), (9, 21)])
def test_it_sees_a_critical_scenario_minutes_before_the_thresholds_and_names_only_the_affected(model, seed, hour):
    fleet, start = fleet_of(seed), WEDNESDAY + 86400 + hour * 3600
    fleet.set_scenario("critical", start)
    raw, _ = fleet.trajectory(start - 4 * 3600, 6 * HOUR)
    means = np.stack([raw[max(0, i - 4) : i + 1].mean(0) for i in range(len(raw))])
    history = History(start - 4 * 3600, 60.0, METRICS, fleet.servers, fleet.profiles, means)
    first = np.full(len(fleet.servers), np.inf)
    for minute in range(30):
        now = 4 * HOUR + minute
        values, _ = model.forecast(
            window(history, now), start + minute * 60, fleet.servers, fleet.profiles, window(history, now - 1)
        )
        is_p1 = np.array(assess(values, METRICS, RiskConfig()).priority) == "P1"
        first = np.where(is_p1, np.minimum(first, minute), first)
    crossed = np.argmax(
        (means[4 * HOUR :, fleet.affected, 0] > 95) | (means[4 * HOUR :, fleet.affected, 1] > 95), axis=0
    )
    assert (first[fleet.affected] <= 8).all() and np.isinf(first[~fleet.affected]).all()
    assert (first[fleet.affected] <= crossed).all() and (crossed - first[fleet.affected]).mean() >= 1


def test_a_server_it_has_never_heard_of_is_forecast_like_its_profile(model):
    history = simulate(load_fleet(overrides={"seed": 78}), WEDNESDAY, 1.0, 300.0, None, seed=0)
    now = 10 * HOUR
    known, _ = model.forecast(window(history, now), WEDNESDAY + now * 60, history.servers, history.profiles)
    strangers = tuple(f"new{i:03d}" for i in range(len(history.servers)))
    unknown, done = model.forecast(window(history, now), WEDNESDAY + now * 60, strangers, history.profiles)
    assert done.all()
    np.testing.assert_allclose(unknown[:, 0, :, 1].mean(1), known[:, 0, :, 1].mean(1), rtol=0.1)
