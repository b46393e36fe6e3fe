"""The Result of a cycle and the board it is pinned to."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from forecaster.board import Board
from tests.results import ISSUED, make_result


def test_a_result_cannot_be_changed():
    result = make_result()
    with pytest.raises(FrozenInstanceError):
        result.issued = 0.0
    for array in (result.observed, result.trend, result.forecast, result.samples, result.last_seen,
                  result.stale):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_array_a_result_is_made_of_stays_writable_for_its_maker():
    last_seen = np.zeros(3)
    replace(make_result(), last_seen=last_seen)
    last_seen[0] = 1.0


@pytest.mark.parametrize(("name", "wrong"), [
    ("observed", np.zeros((3, 4), np.float32)), ("observed", np.zeros((3, 5))),
    ("forecast", np.zeros((3, 5, 96, 2), np.float32)), ("samples", np.zeros(3)), ("stale", np.zeros(3)),
    ("last_seen", np.zeros(3, np.float32)), ("last_seen", np.zeros(2)), ("method", ("tft",))])
def test_an_array_of_the_wrong_shape_or_type_is_refused(name, wrong):
    with pytest.raises(AssertionError, match=name):
        replace(make_result(), **{name: wrong})


def test_steps_lie_one_step_apart_after_the_issue():
    result = make_result()
    assert result.times()[[0, 5, 95]].tolist() == [ISSUED + 300, ISSUED + 1800, ISSUED + 28800]


def test_a_server_is_found_by_its_name():
    result = make_result()
    assert result.index("ppweb001") == 2
    assert result.index("ppdb999") is None


def test_age_is_never_negative_where_the_clock_was_set_back():
    assert make_result().age(ISSUED + 7) == 7
    assert make_result().age(ISSUED - 3600) == 0


def test_a_board_forgets_what_is_current_but_not_what_was_last():
    board = Board(ttl=120)
    assert board.last is None
    assert board.current(ISSUED) is None
    result = make_result()
    board.publish(result)
    assert board.current(ISSUED + 120) is result
    assert board.current(ISSUED + 120.5) is None
    assert board.last is result
