"""The days before: kept at whole steps, asked for in pieces, joined with the sliding window."""

import numpy as np

from forecaster.memory.past import Past
from forecaster.readings import Reading, Readings

STEP, REFRESH, DAY = 300.0, 15.0, 86400.0
NOW = 20_000 * DAY


def past(steps=576):
    return Past(("cpu_pct",), STEP, REFRESH, steps)


def readings(first, last, servers=("a", "b")):
    """Every value tells its step."""
    instants = np.arange(first, last + 1, STEP)
    values = np.repeat((instants / STEP % 10_000)[:, None, None], len(servers), 1).astype(np.float32)
    return Readings(instants, servers, ("generic",) * len(servers), values)


def fill(kept, now):
    while (piece := kept.piece(now)) is not None:
        kept.fill(readings(*piece))


def test_a_week_is_asked_for_a_day_at_a_time_newest_first():
    kept = past()
    first, last = kept.piece(NOW)
    assert last == NOW and last - first == DAY - STEP
    kept.fill(readings(first, last))
    assert kept.piece(NOW) == (first - DAY, first - STEP)
    kept.fill(readings(first - DAY, first - STEP))
    assert kept.piece(NOW) is None


def test_a_source_without_history_is_asked_once():
    kept = past()
    while (piece := kept.piece(NOW)) is not None:
        instants = np.arange(piece[0], piece[1] + 1, STEP)
        kept.fill(Readings(instants, (), (), np.empty((len(instants), 0, 1), np.float32)))
    assert np.isnan(kept.context(NOW, ("a",), np.ones((1, 1, 24), np.float32))[..., :-24]).all()


def test_a_day_that_came_back_empty_is_asked_for_again_once_there_are_values_and_at_the_beginning_of_a_step():
    kept, empty = past(), []
    while (piece := kept.piece(NOW)) is not None:
        instants = np.arange(piece[0], piece[1] + 1, STEP)
        kept.fill(Readings(instants, (), (), np.empty((len(instants), 0, 1), np.float32)))
        kept.asked(*piece, NOW)
        empty.append(piece)
    kept.append(Reading(NOW + STEP, ("a",), ("generic",), np.ones((1, 1), np.float32)))
    first, last = kept.piece(NOW + STEP)
    assert last == NOW and last - first == DAY - STEP and len(empty) == 2
    assert kept.piece(NOW + STEP + REFRESH) is None
    kept.fill(readings(first, last))
    kept.asked(first, last, NOW + STEP)
    assert kept.piece(NOW + STEP)[1] == first - STEP, "the day before is the next"


def test_a_context_is_the_days_before_and_then_the_sliding_window():
    kept = past()
    fill(kept, NOW)
    found = kept.context(NOW, ("b", "new"), np.full((2, 1, 24), 7.0, np.float32))
    assert found.shape == (2, 1, 576) and (found[..., -24:] == 7).all()
    np.testing.assert_array_equal(found[0, 0, :-24], (np.arange(-575, -23) + NOW / STEP) % 10_000)
    assert np.isnan(found[1, 0, :-24]).all(), "of a new server nothing older is invented"


def test_between_two_steps_the_nearest_columns_are_taken():
    kept = past()
    fill(kept, NOW)
    early = kept.context(NOW + 100, ("a",), np.ones((1, 1, 24), np.float32))[0, 0, -25]
    late = kept.context(NOW + 200, ("a",), np.ones((1, 1, 24), np.float32))[0, 0, -25]
    assert late - early == 1


def test_only_readings_at_the_beginning_of_a_step_become_columns():
    kept = past()
    fill(kept, NOW)
    for instant, value in ((NOW + STEP, 1.0), (NOW + STEP + 15, 2.0)):
        kept.append(Reading(instant, ("a",), ("generic",), np.array([[value]], np.float32)))
    shifted = kept.context(NOW + 25 * STEP, ("a",), np.ones((1, 1, 24), np.float32))
    assert shifted[0, 0, -25] == 1.0


def test_a_snapshot_brings_the_days_back(tmp_path):
    kept, again = past(), past()
    fill(kept, NOW)
    kept.snapshot(tmp_path / "past.npz")
    assert again.restore(tmp_path / "past.npz", NOW) is None and again.piece(NOW) is None
