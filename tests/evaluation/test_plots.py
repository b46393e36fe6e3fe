"""Pictures of a backtest are written, and show the windows they name."""

import numpy as np
import pytest

from forecaster.evaluation import plots, scoring

pytestmark = pytest.mark.slow

SIGNALS = ("cpu_pct", "mem_pct", "latency_ms")


@pytest.fixture
def backtest():
    """Ten windows, the first forecast best and the last worst."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 40, (10, 3, 96))
    off = np.arange(10)[:, None, None, None]
    return np.sort(truth[..., None] + off * rng.normal(0, 1, (10, 3, 96, 3)), -1), truth, np.ones((10, 3))


def test_the_worst_median_and_best_window_are_found_by_their_loss(backtest):
    assert plots.rank(*backtest) == {"worst": 9, "median": 5, "best": 0}


def test_windows_without_truth_are_not_chosen(backtest):
    forecast, truth, scale = backtest
    truth[[0, 9]] = np.nan
    assert plots.rank(forecast, truth, scale) == {"worst": 8, "median": 5, "best": 1}
    truth[:] = np.nan
    assert plots.rank(forecast, truth, scale) == {}


def test_all_pictures_are_written_as_png(backtest, tmp_path):
    forecast, truth, scale = backtest
    said, came = np.linspace(0, 1, 50), np.arange(50) > 20
    rows = scoring.probability_figures(said, came) | {"reliability": scoring.reliability(said, came)}
    asked = []

    def context(index):
        asked.append(index)
        return np.full((3, 2016), 30.0)

    written = plots.write(tmp_path, {"model": forecast, "other": forecast + 1}, truth, scale, SIGNALS, context, str,
                          {"model": {"chances": {"8h": {"any": rows}}, "weighted_30m": rows, "P1_30m": {"alarms": 0}}})
    assert {path.name for path in written} == {
        "fan_worst.png", "fan_median.png", "fan_best.png", "by_horizon.png", "reliability.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    assert asked == [9, 5, 0]


def test_a_fan_chart_has_a_panel_for_every_signal_with_band_median_and_truth(backtest):
    forecast, truth, _ = backtest
    figure = plots.fan(forecast[3], truth[3], np.full((3, 2016), 30.0), SIGNALS, "a title")
    assert [axes.get_title() for axes in figure.axes] == list(SIGNALS)
    median, came = (line.get_ydata() for line in (figure.axes[1].lines[2], figure.axes[1].lines[1]))
    np.testing.assert_array_equal(median, forecast[3, 1, :, 1])
    np.testing.assert_array_equal(came, truth[3, 1])
    assert figure.get_suptitle() == "a title"


def test_without_incident_figures_there_is_no_reliability_diagram(backtest, tmp_path):
    forecast, truth, scale = backtest
    context = np.zeros((3, 5))
    written = plots.write(tmp_path, {"model": forecast}, truth, scale, SIGNALS, lambda _: context, str, {"model": {}})
    assert plots.RELIABILITY not in {path.name for path in written}


def test_a_forecaster_that_is_far_off_does_not_flatten_the_others(backtest):
    forecast, truth, _ = backtest
    figure = plots.by_horizon({"a": forecast, "b": forecast, "far off": forecast * 1000}, truth, SIGNALS)
    assert figure.axes[0].get_ylim()[1] < 10
