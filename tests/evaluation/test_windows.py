"""Windows of the past are cut without leaks from histories of every kind."""

import json

import numpy as np
import pytest

from exporter.profiles import METRICS, load_fleet
from forecaster.config import load_config
from forecaster.evaluation import scoring, windows
from forecaster.evaluation.windows import CONTEXT_STEPS, Windows, at_origins, draw, from_file, kept_out, single
from forecaster.training.dataset import DatasetError, History
from forecaster.training.simulation import FLEET_DISTANCE
from tests.local_server import local_server
from tests.tiny_models import MONDAY

pytestmark = pytest.mark.slow

STEP = 300.0


def ramp(rows: int = 3 * scoring.DAY, resolution: float = STEP) -> History:
    """Two servers whose one signal tells the row it stands in, the second server's 10000 more."""
    values = (np.arange(rows)[:, None, None] + np.array([0, 10_000])[:, None]).astype(np.float32)
    return History(MONDAY, resolution, ("cpu_pct",), ("a001", "b001"), ("database", "web_api"), values)


# -- cutting


def test_a_windows_targets_begin_at_its_origin_and_its_context_ends_before():
    windows = at_origins(ramp(), STEP, np.array([[1, 300]]))
    truth, context = windows.truth(), windows.context(slice(None))
    assert truth.shape == (1, 1, 96) and truth.dtype == np.float32
    assert (truth[0, 0, 0], truth[0, 0, -1], context[0, 0, -1]) == (10_300, 10_395, 10_299)
    assert windows.instants().tolist() == [MONDAY + 299 * STEP]
    assert windows.names(slice(None)) == (("b001",), ("web_api",))


def test_a_context_is_a_week_and_unknown_before_the_history_begins():
    context = at_origins(ramp(), STEP, np.array([[0, 300]])).context(slice(None))
    assert context.shape == (1, 1, CONTEXT_STEPS) == (1, 1, 7 * 288)
    assert np.isnan(context[0, 0, :-300]).all()
    np.testing.assert_array_equal(context[0, 0, -300:], np.arange(300))


def test_targets_beyond_the_end_are_unknown():
    truth = at_origins(ramp(400), STEP, np.array([[0, 390]])).truth()
    assert np.isfinite(truth).sum() == 10 and truth[0, 0, 9] == 399


def test_one_minute_history_is_read_in_steps_of_five_minutes_with_its_newest_motion():
    windows = Windows(ramp(9000, 60.0), np.array([[0, 2000]]), 5)
    np.testing.assert_array_equal(windows.truth()[0, 0, :3], [2005, 2010, 2015])
    np.testing.assert_array_equal(windows.context(slice(None))[0, 0, -3:], [1990, 1995, 2000])
    np.testing.assert_array_equal(windows.earlier(slice(None))[0, 0, -2:], [1994, 1999])
    assert Windows(ramp(), np.array([[0, 300]]), 1).earlier(slice(None)) is None, "too coarse"


def test_drawn_windows_have_a_day_before_and_eight_hours_after():
    windows = draw(ramp(), STEP, 40, seed=3)
    assert len(windows) == 80 and windows.place[:, 1].min() >= scoring.DAY
    assert np.isfinite(windows.truth()).all() and windows.place[:, 1].max() + 96 < len(ramp().values)
    np.testing.assert_array_equal(windows.place, draw(ramp(), STEP, 40, seed=3).place)
    assert (windows.place != draw(ramp(), STEP, 40, seed=4).place).any()


def test_windows_are_drawn_only_where_the_present_is_observed_and_hardly_a_target_missing():
    holey = ramp()
    holey.values[400:402, 0] = np.nan
    holey.values[600:606, 1] = np.nan
    windows = draw(holey, STEP, 1000, seed=0)
    first, second = (set(windows.place[windows.place[:, 0] == s, 1].tolist()) for s in (0, 1))
    assert not first & set(range(400, 425)) and 425 in first and 350 in first
    assert not second & set(range(509, 600)) and second & set(range(288, 504))


@pytest.mark.parametrize(("resolution", "rows"), [(STEP, 400), (60.0, 2000)])
def test_windows_are_drawn_from_a_day_after_the_begin_to_eight_hours_before_the_end(resolution, rows):
    windows = draw(ramp(rows, resolution), STEP, rows, 0)
    of_first = windows.place[windows.place[:, 0] == 0, 1]
    day, horizon = int(86400 / resolution), int(8 * 3600 / resolution)
    np.testing.assert_array_equal(of_first, np.arange(day, rows - horizon))


def test_the_present_is_observed_at_whole_steps_before_now():
    holey = ramp(2000, 60.0)
    holey.values[1460, 0] = np.nan
    windows = draw(holey, STEP, 2000, 0)
    drawn = windows.place[windows.place[:, 0] == 0, 1]
    assert sorted(set(range(1440, 1520)) - set(drawn.tolist())) == list(range(1460, 1520, 5))


def test_windows_may_be_limited_to_the_last_weeks():
    for rows, first in ((500, 500), (499.5, 500), (500.5, 501)):
        assert draw(ramp(), STEP, 1000, 0, first=MONDAY + rows * STEP).place[:, 1].min() == first


def test_a_history_too_short_for_one_window_says_how_much_is_needed():
    with pytest.raises(DatasetError, match=r"no window can be cut from 25\.0 h of 2 servers; expected at least 32 h"):
        draw(ramp(300), STEP, 4, 0)


def test_a_resolution_that_does_not_divide_the_step_is_refused():
    with pytest.raises(DatasetError, match="70 s does not divide the step of 300 s"):
        draw(ramp(5000, 70.0), STEP, 4, 0)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.array([[0.0, 5.0]]), r"float64 \(1, 2\); expected integers \(N, 2\)"),
        (np.array([1, 2, 3]), r"int64 \(3,\); expected integers"),
        (np.empty((0, 2), np.int64), r"\(0, 2\); expected integers"),
        (np.array([[0, 300], [2, 300]]), r"window 1 is \(server 2, origin 300\); expected servers 0\.\.1"),
        (np.array([[-1, 300]]), "expected servers"),
        (np.array([[0, 0]]), r"origin 0\); expected .* origins 1\.\.864"),
        (np.array([[0, 865]]), "origin 865"),
    ],
)
def test_pairs_that_name_no_window_are_refused(pairs, message):
    with pytest.raises(DatasetError, match=message):
        at_origins(ramp(), STEP, pairs)


def test_origins_on_a_fine_grid_lie_a_step_after_now_and_may_be_the_first_row_or_the_end():
    windows = at_origins(ramp(900, 60.0), STEP, np.array([[0, 500], [1, 1], [1, 900]]))
    assert windows.place.tolist() == [[0, 495], [1, -4], [1, 895]]
    assert windows.truth(slice(1))[0, 0, 0] == 500
    assert windows.instants().tolist() == [MONDAY + 60 * row for row in (495, -4, 895)]


def test_one_window_of_several_histories_is_found_by_its_index():
    parts = [at_origins(ramp(), STEP, np.array([[0, 300], [1, 301]])), at_origins(ramp(), STEP, np.array([[1, 400]]))]
    assert [single(parts, i).context(slice(None))[0, 0, -1] for i in range(3)] == [299, 10_300, 10_399]
    assert single(parts, 2).title() == "b001, 2026-03-03 09:15 UTC"


def test_the_scale_of_a_window_is_its_own_day_ago_error():
    noise = np.random.default_rng(0).normal(50, 5, (3 * scoring.DAY, 2, 1)).astype(np.float32)
    given = History(MONDAY, STEP, ("cpu_pct",), ("a", "b"), ("x", "x"), noise)
    expected = np.abs(noise[288:700, 1, 0] - noise[: 700 - 288, 1, 0]).mean()
    assert at_origins(given, STEP, np.array([[1, 700]])).scale() == pytest.approx(np.array([[expected]]), rel=1e-5)


# -- files


def test_windows_are_read_from_a_file(tmp_path):
    np.save(tmp_path / "w.npy", np.array([[1, 5], [0, 7]]))
    assert from_file(tmp_path / "w.npy", ramp(), STEP).place.tolist() == [[1, 4], [0, 6]]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.npy", "no such file"), ("empty.npy", "cannot be read as .npy"), ("text.npy", "cannot be read as .npy"),
     ("data.npz", "an archive of arrays")],
)
def test_a_file_without_windows_is_refused(tmp_path, name, message):
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("0 12\n")
    np.savez(tmp_path / "data.npz", values=np.zeros(3))
    with pytest.raises(DatasetError, match=f"--windows {tmp_path / name}: {message}"):
        from_file(tmp_path / name, ramp(), STEP)


# -- kept-out servers


def test_kept_out_are_a_models_servers_from_an_instant_on():
    facts = {"kept_out_servers": ["b001"], "kept_out_from": "2026-03-04T00:00:00Z"}
    kept, first = kept_out(ramp(), "mine", facts)
    assert kept.servers == ("b001",) and first == MONDAY + 2 * 86400
    np.testing.assert_array_equal(kept.values[:, 0], ramp().values[:, 1])
    assert draw(kept, STEP, 20, 1, first).instants().min() >= first


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "mine does not list servers kept out of its training"),
        ({"kept_out_servers": ["a001"]}, "expected the first --model to be one trained with --data"),
        ({"kept_out_servers": ["a001", "z"], "kept_out_from": "1"}, "lacks 1 of the 2 servers .*, such as z"),
    ],
)
def test_a_model_that_kept_nothing_out_of_this_recording_is_refused(facts, message):
    with pytest.raises(DatasetError, match=message):
        kept_out(ramp(), "mine", facts)


# -- histories


def test_simulated_fleets_differ_in_seed_and_time_and_are_the_same_again():
    first, second = windows.simulated(load_fleet(), 2, 0.2, STEP, 1, iter)
    again, _ = windows.simulated(load_fleet(), 2, 0.2, STEP, 1, iter)
    assert first.signals == METRICS and first.resolution == 60 and first.start % 60 == 0
    assert first.start - second.start == FLEET_DISTANCE
    assert not np.allclose(first.values, second.values)
    np.testing.assert_array_equal(first.values, again.values)


def test_a_prometheus_is_read_at_a_fifth_of_a_step_where_serving_reads_it_so():
    assert windows.resolution(load_config("fleet")) == 60
    assert windows.resolution(load_config("fleet", {"refresh": 50})) == 300


def test_a_prometheus_history_begins_on_a_whole_step(tmp_path):
    def answer(request) -> None:
        first, last, step = (float(request.form[name]) for name in ("start", "end", "step"))
        values = [[t, "1"] for t in np.arange(first, last + 1, step)]
        series = [{"metric": {"server": "a", "profile": "database"}, "values": values}]
        request.answer(200, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}}))

    with local_server(answer) as server:
        config = load_config("fleet", {"source.url": server.url})
        history = windows.recorded(config, MONDAY + 170, MONDAY + 3600, iter)
    assert (history.start, history.resolution, len(history.values)) == (MONDAY, 60, 60)
