"""The outcomes of chances: what was said of incidents against what came."""

import numpy as np
import pytest

from forecaster.memory.outcomes import BINS, CAME, COUNTED, DAY, SAID, Outcomes
from forecaster.memory.snapshot import SnapshotError

START = 20_000 * DAY
WINDOWS = {"30m": 2, "8h": 4}  # steps, so that tests are short


def kept(identity="one") -> Outcomes:
    return Outcomes(("cpu_saturated",), WINDOWS, 300.0, identity)


def go(outcomes: Outcomes, chances, on=None, known=None, servers=("web1",), start=START) -> Outcomes:
    """One step for each chance, of each of the servers: the same for both windows."""
    for k, chance in enumerate(chances):
        said = np.broadcast_to(np.asarray(chance, float), (len(servers),))[:, None]
        flags = [np.broadcast_to(np.asarray(default if of is None else of[k], bool), (len(servers),))[:, None].copy()
                 for of, default in ((on, False), (known, True))]
        outcomes.step_over(start + 300 * k, servers, *flags, dict.fromkeys(WINDOWS, said))
    return outcomes


def counts(outcomes: Outcomes, window: int) -> list[tuple[int, float, int]]:
    """(counted, mean chance, came) of the bins that hold something."""
    return [(int(n), round(said / n, 3), int(came)) for n, said, came in outcomes.total()[window, 0] if n]


def test_a_chance_is_counted_when_its_window_has_passed_with_what_came_of_it():
    said = go(kept(), [0.75, 0.02, 0.02, 0.02, 0.02], on=[False, True, False, False, False])
    assert counts(said, 0) == [(1, 0.02, 0), (1, 0.75, 1)]  # steps 0 and 2; while it is on, nothing is said
    assert counts(said, 1) == [(1, 0.75, 1)]


def test_an_incident_that_comes_and_goes_between_two_steps_has_come():
    outcomes = go(kept(), [0.75])
    go(outcomes, [0.5], on=[True], start=START + 60)  # within the step
    go(outcomes, [np.nan], known=[False], start=START + 120)  # of a single cycle, which does not lose what was said
    go(outcomes, [0.02, 0.02], start=START + 300)
    assert counts(outcomes, 0) == [(1, 0.75, 1)]


def test_nothing_is_counted_before_a_window_has_passed():
    assert not go(kept(), [0.5, 0.5]).total().any()


def test_what_was_unknown_in_between_is_not_counted_even_where_it_came():
    said = go(kept(), [0.5, 0.1, 0.1], on=[False, True, False], known=[True, True, False])
    assert not said.total().any()
    assert not go(kept(), [np.nan, 0.5, np.nan]).total()[0].any()


def test_a_server_that_comes_or_goes_or_moves_keeps_what_was_said_of_it():
    outcomes = kept()
    go(outcomes, [(0.3, 0.7)], servers=("web1", "web2"))
    go(outcomes, [(0.1, 0.1)], servers=("app1", "web1"), on=[(False, True)], start=START + 300)
    go(outcomes, [0.1], servers=("web1",), start=START + 600)
    assert counts(outcomes, 0) == [(1, 0.3, 1)]


def test_a_fleet_that_is_gone_altogether_is_no_error():
    outcomes = go(kept(), [0.3])
    nothing = np.zeros((0, 1))
    outcomes.step_over(START + 300, (), nothing > 0, nothing > 0, dict.fromkeys(WINDOWS, nothing))
    assert not outcomes.total().any()


def test_a_missing_step_or_a_clock_set_back_begins_anew():
    outcomes = go(kept(), [0.5])
    go(outcomes, [0.5, 0.5], start=START + 600)
    assert not outcomes.total().any()
    go(outcomes, [0.5], start=START + 900 - 600)
    assert not outcomes.total().any()


def test_it_counts_once_a_step_however_often_it_is_called():
    outcomes = kept()
    for shift in range(0, 1200, 15):
        go(outcomes, [0.5], start=START + shift)
    assert counts(outcomes, 0) == [(2, 0.5, 0)]


def test_counts_are_forgotten_after_a_week():
    outcomes = go(kept(), [0.5] * 3)
    go(outcomes, [0.2] * 3, start=START + 6 * DAY)
    assert sum(n for n, *_ in counts(outcomes, 0)) == 2
    go(outcomes, [0.2] * 3, start=START + 7 * DAY)
    assert [n for n, *_ in counts(outcomes, 0)] == [2]


def test_a_well_calibrated_forecaster_lies_on_the_diagonal():
    rng, outcomes, names = np.random.default_rng(1), kept(), tuple(f"s{n}" for n in range(400))
    known, nothing = np.ones((400, 1), bool), np.full((400, 1), np.nan)
    for k in range(0, 60, 4):  # what was said two steps before comes with that chance
        chance = rng.uniform(0, 1, (400, 1))
        for shift, said, on in ((0, chance, ~known), (1, nothing, ~known), (2, nothing, rng.random((400, 1)) < chance),
                                (3, nothing, ~known)):
            outcomes.step_over(START + 300 * (k + shift), names, on, known, dict.fromkeys(WINDOWS, said))
    total = outcomes.total()[0, 0]
    assert total[:, COUNTED].sum() == 6000
    far = total[3:, CAME] / total[3:, COUNTED] - total[3:, SAID] / total[3:, COUNTED]
    assert np.abs(far).max() < 0.06


def test_a_restart_keeps_the_counts_and_other_settings_do_not(tmp_path):
    path, was = tmp_path / "chances.npz", go(kept(), [0.5] * 4)
    was.snapshot(path)
    again = kept()
    assert again.restore(path, START + 900) is None and counts(again, 0) == counts(was, 0)
    assert "another model" in kept("two").restore(path, START)
    assert kept().restore(path, START + 8 * DAY) is None
    assert not kept().same(kept("two")) and kept().same(kept())


def test_a_damaged_snapshot_is_an_error_and_changes_nothing(tmp_path):
    path = tmp_path / "chances.npz"
    outcomes = go(kept(), [0.5] * 4)
    outcomes._sums[int(START // DAY)][0, 0, 0, 0] = np.nan
    outcomes.snapshot(path)
    with pytest.raises(SnapshotError, match="below 0"):
        kept().restore(path, START)
    assert kept().total().shape == (2, 1, BINS, 3)
