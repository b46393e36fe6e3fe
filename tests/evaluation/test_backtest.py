"""Past windows are forecast as in serving, and their forecasts are compared with actual values."""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.profiles import METRICS
from forecaster.config import load_config
from forecaster.evaluation import backtest, incidents, scoring
from forecaster.evaluation.backtest import Forecaster, Said
from forecaster.evaluation.chances import Exceedance
from forecaster.evaluation.incidents import Outcomes
from forecaster.evaluation.windows import Windows
from forecaster.models import heuristic
from forecaster.models.artifact import MODELS
from forecaster.models.forecast import Forecast, Quantiles
from forecaster.models.model import Model
from forecaster.risk.incidents import find
from forecaster.training.dataset import DatasetError
from tests.tiny_models import history, write_untrained

pytestmark = pytest.mark.slow

SIGNALS = load_config("fleet").signals
CPU = {"cpu_pct": SIGNALS["cpu_pct"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_untrained(tmp_path_factory.mktemp("artifact") / "tiny"), "cpu")


def simulated(count: int = 5) -> Windows:
    """Windows of different servers and instants of the simulated fleet."""
    place = np.stack([np.arange(count) * 3, 600 + 137 * np.arange(count)], 1)
    return Windows(history(), place, 5)


# -- forecasting


def test_a_model_is_asked_with_the_window_that_serving_would_show_it(model):
    windows = simulated()
    made = backtest.run(Forecaster("tiny", SIGNALS, model), windows)
    every = slice(None)
    served = np.concatenate([
        model.forecast(windows.context(every)[i : i + 1, :, -24:], float(windows.instants()[i]),
                       windows.names(every)[0][i : i + 1], windows.names(every)[1][i : i + 1],
                       windows.earlier(every)[i : i + 1])[0]
        for i in range(len(windows))
    ])
    np.testing.assert_allclose(made, served, rtol=1e-3, atol=1e-3)
    assert made.shape == (5, 8, 96, 3) and made.dtype == np.float32


def test_no_forecast_depends_on_values_after_its_origin(model):
    windows, changed = simulated(1), history().values.copy()
    now = windows.place[0, 1]
    changed[now + 1 :] = np.float32(77)
    later = Windows(replace(history(), values=changed), windows.place, 5)
    for source in (model, "heuristic", "persistence", "seasonal-naive", "last-day", "predict-linear"):
        one, other = (backtest.run(Forecaster("x", SIGNALS, source), w) for w in (windows, later))
        np.testing.assert_array_equal(one, other)


def test_batches_make_no_difference(model, monkeypatch):
    whole = backtest.run(Forecaster("tiny", SIGNALS, model), simulated())
    monkeypatch.setattr("forecaster.evaluation.windows.BATCH", 2)
    seen = []

    def bar(items):
        seen.extend(items)
        return seen

    parts = backtest.run(Forecaster("tiny", SIGNALS, model), simulated(), bar)
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-3)
    assert seen == [slice(0, 2), slice(2, 4), slice(4, 5)]


def test_where_history_is_too_short_the_heuristic_stands_in_and_is_counted(model):
    windows = simulated(3)
    context = windows.context(slice(None))
    context[1, :, :-2] = np.nan
    forecaster = Forecaster("tiny", SIGNALS, model)
    made = forecaster.forecast(context, windows.instants(), *windows.names(slice(None)))
    np.testing.assert_array_equal(made[1], heuristic.forecast(context[1:2, :, -12:], SIGNALS)[0])
    assert forecaster.left_to_heuristic == 1
    alone = Forecaster("tiny", SIGNALS, model)
    alone.forecast(context[[0, 2]], windows.instants()[[0, 2]], ("a", "b"), ("c", "d"))
    assert alone.left_to_heuristic == 0


def test_signals_in_another_order_are_given_to_the_model_in_its_own(model):
    windows, backwards = simulated(2), dict(reversed(SIGNALS.items()))
    turned_history = replace(history(), values=history().values[..., ::-1], signals=tuple(backwards))
    flipped = Windows(turned_history, windows.place, 5)
    straight, turned = (backtest.run(Forecaster("tiny", signals, model), w)
                        for signals, w in ((SIGNALS, windows), (backwards, flipped)))
    np.testing.assert_allclose(turned[:, ::-1], straight, rtol=1e-4, atol=1e-4)


def test_a_signal_the_model_does_not_know_is_nan_and_has_no_part_in_its_figures(model):
    signals = {"swap_pct": SIGNALS["mem_pct"], **SIGNALS}
    values = np.concatenate([history().values[..., :1], history().values], -1)
    given = replace(history(), values=values, signals=tuple(signals))
    windows = Windows(given, simulated(2).place, 5)
    forecaster = Forecaster("tiny", signals, model)
    made = backtest.run(forecaster, windows)
    assert forecaster.unknown == ["swap_pct"]
    assert np.isnan(made[:, 0]).all() and np.isfinite(made[:, 1:]).all()
    found = backtest.evaluate(forecaster, made, windows.truth(), windows.scale(), incidents.outcomes([windows], {}))
    assert tuple(found["signals"]) == METRICS and np.isfinite(found["wql_mean"])


def test_a_model_without_a_signal_in_common_with_the_data_is_refused(model):
    with pytest.raises(DatasetError, match="tiny forecasts cpu_pct, .*; the data has swap_pct: expected a signal"):
        Forecaster("tiny", {"swap_pct": SIGNALS["mem_pct"]}, model)


def test_a_host_with_cpu_alone_is_forecast_as_well_as_with_all_signals():
    shipped = Model.load(MODELS / "servers", "cpu")
    names = shipped.encoding.signals
    keep = [METRICS.index(name) for name in names]
    windows = Windows(replace(history(), values=history().values[..., keep], signals=names), simulated(4).place, 5)
    whole = Forecaster("servers", {name: SIGNALS[name] for name in names}, shipped)
    cpu = names.index("cpu_pct")
    alone = Windows(replace(windows.history, values=windows.history.values[..., [cpu]], signals=("cpu_pct",)),
                    windows.place, 5)
    of_all, of_one = backtest.run(whole, windows)[:, [cpu]], backtest.run(Forecaster("servers", CPU, shipped), alone)
    expected, found = (scoring.figures(made, alone.truth(), None, ["cpu_pct"]) for made in (of_all, of_one))
    assert found["cpu_wql_8h"] == pytest.approx(expected["cpu_wql_8h"], rel=1e-4)


# -- incidents


TROUBLE = ("cpu_pct", "mem_pct", "latency_ms")
CONFIG = load_config("fleet")


class Even(Exceedance):
    """Chances that hold every incident for as likely as none, that of a calm server, too."""

    def __init__(self):
        object.__setattr__(self, "calm", np.full(2, 0.5))

    def judged(self, history, quantiles, levels, limit, lasting, floor):
        assert history.shape[1] == 2016 and quantiles.shape[1:] == (96, 3), "the history and all quantiles of the model"
        return np.full((len(history), 2), 0.5), np.ones(len(history), np.int64)


def outcomes(first) -> Outcomes:
    """Of three incidents in windows whose first incident is that of each server, at these steps."""
    first = np.stack([np.array(first, float), *np.full((2, len(first)), np.inf)], 1)
    return Outcomes(("cpu", "memory", "latency"), tuple("abcd"[: len(first)]), np.zeros(first.shape, bool), first,
                    np.ones(first.shape))


def test_priorities_and_probabilities_are_compared_with_incidents():
    said = Said({}, np.array(["P1", "P2", "P3", None], object), {"30m": np.array([0.9, 0.9, 0.0, 0.0])})
    found = backtest.of_incidents(said, outcomes([4, np.inf, 12, np.inf]))
    assert found["P1_30m"] == {"alarms": 1, "incidents": 1, "precision": 1, "recall": 1, "lead_minutes": 20}
    assert found["P2_30m"]["alarms"] == 2 and found["P2_30m"]["precision"] == 0.5, "an alarm of P1 is one of P2, too"
    assert found["P1_8h"]["incidents"] == 2 and found["P1_8h"]["recall"] == 0.5
    assert found["weighted_30m"]["base_rate"] == 0.25 and found["weighted_30m"]["auroc"] == pytest.approx(2.5 / 3)
    assert "weighted_8h" not in found and found["chances"] == {}


def test_a_model_says_its_chances_of_every_window_it_forecasts(model):
    windows, forecaster = simulated(3), Forecaster("tiny", SIGNALS, model, CONFIG, Even())
    context = windows.context(slice(None))
    context[1] = np.nan
    forecaster.forecast(context, windows.instants(), *windows.names(slice(None)))
    said = forecaster.said()
    assert list(forecaster.conditions) == ["cpu_saturated", "memory_exhausted", "latency_high"]
    np.testing.assert_array_equal(said.chance["8h"], [[0.5] * 3, [np.nan] * 3, [0.5] * 3])
    assert said.priority[1] is None and forecaster.left_to_heuristic == 1
    assert forecaster.said() is None, "what was said is handed over once"


def test_incidents_are_found_as_in_a_cycle(model):
    """Chances and priorities are those that risk/ makes of the same forecast and history."""
    windows, whole = simulated(3), slice(None)
    config = load_config("fleet", {"risk.priorities.by": "chance", "timezone": "Europe/Berlin"})
    context, instants, names = windows.context(whole), windows.instants(), windows.names(whole)
    context[2, 0, -3:] = 99
    forecaster = Forecaster("tiny", SIGNALS, model, config, Exceedance())
    forecaster.forecast(context, instants, *names)
    said = forecaster.said()
    for row in range(3):
        one = slice(row, row + 1)
        values, done = model.quantiles(context[one], instants[row], names[0][one], names[1][one])
        made = Forecast(model.published(values), done, Quantiles(values, model.architecture.quantiles, METRICS))
        found = find(config.risk.conditions(SIGNALS), Exceedance(), made, SIGNALS, (names[0][one], names[1][one]),
                     context[one], instants[row], 300.0, ZoneInfo("Europe/Berlin"),
                     config.risk.priorities)
        for label, chance in found.chance.items():
            np.testing.assert_allclose(said.chance[label][row], chance[0], rtol=1e-3, atol=1e-4)
        assert said.priority[row] == found.priority[0]
    assert said.priority[2] in ("P1", "P2")


def test_windows_around_a_change_of_the_clock_are_assessed_one_by_one():
    berlin = ZoneInfo("Europe/Berlin")
    change = datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()
    instants = change + 86400 * np.array([-20, -10, 1, 2, 9, 20])
    assert [rows.tolist() for rows in backtest.by_clock(instants, berlin)] == [[0, 1], [2], [3], [4, 5]]
    assert [rows.tolist() for rows in backtest.by_clock(instants, ZoneInfo("UTC"))] == [[0, 1, 2, 3, 4, 5]]


def test_a_yardsticks_chances_are_those_of_its_quantiles_and_the_trend_has_none():
    windows = simulated(2)
    for name, known in (("last-day", True), ("heuristic", False)):
        forecaster = Forecaster(name, SIGNALS, name, CONFIG)
        backtest.run(forecaster, windows)
        assert np.isfinite(forecaster.said().chance["8h"]).all() == known


def test_without_a_configuration_nothing_is_said_of_incidents():
    forecaster = Forecaster("last-day", SIGNALS, "last-day")
    backtest.run(forecaster, simulated(1))
    assert forecaster.said() is None
    config = CONFIG.model_copy(update={"risk": CONFIG.risk.model_copy(update={"incidents": {}})})
    forecaster = Forecaster("last-day", SIGNALS, "last-day", config)
    made = backtest.run(forecaster, simulated(1))
    found = backtest.evaluate(forecaster, made, simulated(1).truth(), np.ones((1, 8)), incidents.outcomes([], {}))
    assert found["incidents"] == {}


def test_chances_alone_leave_out_signals_that_no_incident_reads(model):
    given = history()
    assert Forecaster("tiny", SIGNALS, model, CONFIG).needed(given) is given, "this model reads all signals together"
    needed = Forecaster("last-day", SIGNALS, "last-day", CONFIG).needed(given)
    unread = np.isnan(needed.values).all((0, 1))
    assert [name for name, empty in zip(needed.signals, unread, strict=True) if not empty] == list(TROUBLE[:2]) + [
        "latency_ms"]
