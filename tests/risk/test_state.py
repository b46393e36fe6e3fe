"""States: what each means, how a trouble ends, and that silence is never taken for health."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from forecaster.risk.state import MARGIN, Course, State, by_risk, counts, of_fleet
from forecaster.risk.thresholds import Priorities
from tests.results import curves, incidents_of, make_result

ROOT = Path(__file__).resolve().parents[2]
REFRESH = 15.0
BLIND, SAFE, WATCH, CLEARING, LIKELY, ACT_NOW = State
UNKNOWN = (np.nan, np.nan)


def risk_of(*priorities):
    """Risk of servers of these priorities by chance, without a known chance of any other incident."""
    of = {"P1": {"on": True}, "P2": {"chance": (0.1, 0.6)}, "P3": {}, "likely": {"chance": (0.01, 0.2)},
          "trend": {"chance": UNKNOWN}, "P1 by the trend": {"on": True, "chance": UNKNOWN}}
    given = [of[one] for one in priorities]
    forecast = curves(len(given))
    incidents = incidents_of(
        len(given), on=[(s, 0) for s, one in enumerate(given) if "on" in one],
        chance={(s, i): one["chance"] for s, one in enumerate(given) if "chance" in one for i in range(3)})
    names = tuple(f"s{place}" for place in range(len(given)))
    return make_result(names, ("x",) * len(given), forecast=forecast, incidents=incidents, by="chance").risk


def test_each_state_has_its_reason():
    states = by_risk(risk_of("P1", "P2", "likely", "trend", "P3"), Priorities())
    assert states.tolist() == [ACT_NOW, LIKELY, WATCH, WATCH, SAFE] and states.dtype == np.int64


def test_where_the_score_decides_an_incident_that_is_likely_by_its_chance_is_said_to_be():
    incidents = incidents_of(2, chance={(0, 0): (0.1, 0.6), (1, 0): (0.1, 0.3)})
    result = make_result(("a", "b"), ("x", "x"), incidents=incidents, by="score")
    assert result.risk.priority == ("P3", "P3")
    assert by_risk(result.risk, Priorities()).tolist() == [LIKELY, WATCH]


def test_a_server_without_a_forecast_is_blind_and_one_without_incidents_is_watched():
    assert by_risk(make_result(stale=["ppdb001"]).risk, Priorities()).tolist() == [BLIND, WATCH, WATCH]
    assert by_risk(make_result(any_server=0).risk, Priorities())[0] == WATCH, "a chance of 25 % of any"


class Story:
    """One server's cycles, one word each; `-` is one without a sample, from which on the silence counts."""

    def __init__(self, **limits):
        self.course, self.now, self.seen = Course(Priorities(**limits), REFRESH), 0.0, 0.0

    @property
    def pending(self) -> tuple[float, float]:
        """Seconds until now for which it is P1 or P2, and from now for which that has to last yet."""
        [[since, until]] = self.course.pending.tolist()
        return self.now - since, until - self.now

    def tell(self, word: str, cycles: int = 1, lost: bool = False) -> list[State]:
        """The states of that many cycles; lost: whether a signal is missing that was there."""
        states = []
        for _ in range(cycles):
            self.now += REFRESH
            if word != "-":
                self.seen = self.now
            risk = risk_of("P3" if word == "-" else word)
            states.append(State(self.course.step(self.now, ("s0",), np.array([self.seen]), risk, np.array([lost]))[0]))
        return states


def test_after_p1_a_server_is_clearing_for_five_minutes_and_then_what_it_is():
    story = Story()
    assert set(story.tell("P1", 8)) == {ACT_NOW}
    assert {*story.tell("P2", 5), *story.tell("P3", 15)} == {CLEARING}
    assert story.tell("P2") == [LIKELY]
    assert set(story.tell("P3", 20)) == {SAFE}, "15 s of P2 open no ticket"


def test_after_p2_a_server_is_clearing_for_half_an_hour_of_less_than_likely():
    story = Story()
    story.tell("P2", 20)
    assert set(story.tell("likely", 60)) == {CLEARING}
    story.tell("P2")
    assert set(story.tell("P3", 60)) == {CLEARING}
    assert story.tell("P3") == [SAFE]


def test_a_page_takes_the_place_of_a_ticket_so_that_its_clearing_is_the_pages_alone():
    story = Story()
    story.tell("P2", 20)
    story.tell("P1", 8)
    assert {*story.tell("P2", 15), *story.tell("P3", 5)} == {CLEARING}
    assert story.tell("P3") == [SAFE]
    story.tell("P2", 20)
    assert [*story.tell("P1"), *story.tell("P3")] == [ACT_NOW, CLEARING], "one odd forecast leaves the ticket's"


def test_one_odd_forecast_leaves_nothing_to_clear():
    story = Story()
    assert [*story.tell("P1", 3), *story.tell("P3")] == [ACT_NOW, ACT_NOW, ACT_NOW, SAFE]


@pytest.mark.parametrize(("first", "state"), [("P1", ACT_NOW), ("P3", CLEARING)])
def test_silence_makes_a_server_blind_after_a_minute_and_its_clearing_waits(first, state):
    story = Story()
    story.tell("P1", 8)
    assert story.tell(first)[0] == state
    assert story.tell("-", 100)[4:] == [BLIND] * 96
    assert set(story.tell("P3", 19)) == {CLEARING}
    story.tell("P3")
    assert story.tell("P3") == [SAFE]


def test_a_clearing_of_a_server_on_the_trend_ends_although_no_chance_is_ever_known():
    story = Story()
    story.tell("P1 by the trend", 8)
    assert set(story.tell("trend", 20)) == {CLEARING} and story.tell("trend") == [WATCH]


def test_a_clearing_waits_while_no_chance_is_known_of_a_server_that_had_one():
    story = Story()
    story.tell("P1", 8)
    assert set(story.tell("trend", 100)) == {CLEARING}
    assert set(story.tell("P3", 20)) == {CLEARING} and story.tell("P3") == [SAFE]


def test_a_pause_of_the_cycles_is_no_time_in_which_a_server_was_well():
    story = Story()
    story.tell("P1", 8)
    story.tell("P3")
    story.now += 3600
    assert set(story.tell("P3", 10)) == {CLEARING}


def test_a_clock_set_back_neither_ends_nor_lengthens_what_is_clearing():
    story = Story()
    story.tell("P1", 8)
    story.now -= 3600
    assert set(story.tell("P3", 20)) == {CLEARING} and story.tell("P3", 2)[-1] == SAFE


def test_servers_that_come_and_go_keep_their_own_course():
    course, seen = Course(Priorities(), REFRESH), np.zeros(2)
    for cycle in range(8):
        course.step(REFRESH * cycle, ("a", "b"), seen + REFRESH * cycle, risk_of("P1", "P3"))
    now = REFRESH * 8
    assert course.step(now, ("b", "c", "a"), np.full(3, now), risk_of("P3", "P3", "P3")).tolist() == [
        SAFE, SAFE, CLEARING]
    assert course.step(now + REFRESH, ("b",), np.full(1, now), risk_of("P3")).tolist() == [SAFE]
    assert course.step(now + 30, ("a", "b"), np.full(2, now), risk_of("P3", "P3")).tolist() == [SAFE, SAFE], "forgotten"


def test_a_reload_keeps_the_course_with_the_new_limits():
    story = Story()
    story.tell("P1", 8)
    old, story.course = story.course, Course(Priorities(p1_clear=30), REFRESH)
    story.course.keep(old)
    assert story.tell("P3") == [CLEARING]


@pytest.mark.parametrize(("states", "fleet"), [
    ([SAFE, SAFE], SAFE), ([SAFE, WATCH, LIKELY], LIKELY), ([SAFE, CLEARING], CLEARING), ([], BLIND),
    ([BLIND, SAFE, SAFE], WATCH), ([BLIND, BLIND, LIKELY], BLIND), ([BLIND, BLIND, ACT_NOW], ACT_NOW),
    ([BLIND, LIKELY], LIKELY), ([BLIND, BLIND], BLIND)])
def test_a_fleet_is_as_its_most_urgent_server_and_never_safe_while_one_is_blind(states, fleet):
    assert of_fleet(np.array(states, np.int64)) == fleet


def test_states_are_counted_by_word_the_most_urgent_first():
    assert [*counts(np.array([0, 0, -1, 4])).items()] == [
        ("ACT NOW", 1), ("LIKELY", 0), ("CLEARING", 0), ("WATCH", 0), ("SAFE", 2), ("BLIND", 1)]


def test_without_a_signal_that_was_there_no_server_is_safe_and_no_trouble_ends():
    story = Story()
    assert story.tell("P3") == [SAFE] and story.tell("P3", lost=True) == [WATCH]
    story.tell("P1", 5)
    assert set(story.tell("P3", 100, lost=True)) == {CLEARING}
    assert story.tell("P3", 21)[-2:] == [CLEARING, SAFE]


def test_a_priority_is_pending_from_its_first_cycle_until_it_has_lasted_as_long_as_its_alert_takes():
    for word, fires in (("P1", 60), ("P2", 180)):
        story, seen = Story(), []
        for _ in range(13):
            story.tell(word)
            seen.append(story.pending)
        begun = [(t, fires - t) for t in range(0, fires, 15)]
        assert seen[:len(begun)] == begun and np.isnan(seen[len(begun):]).all()


def test_what_ends_before_it_counts_was_pending_to_its_end_and_begins_anew():
    story = Story()
    story.tell("P1", 3)
    assert story.pending == (30, 30)
    story.tell("P3")
    assert np.isnan(story.pending).all()
    story.tell("P1")
    assert story.pending == (0, 60)


def test_a_page_that_goes_on_is_not_pending_again_and_the_one_after_it_is():
    story = Story()
    story.tell("P1", 8)
    assert story.tell("P3", 2) == [CLEARING] * 2 and story.tell("P1") == [ACT_NOW]
    assert np.isnan(story.pending).all()
    story.tell("P3", 30)
    story.tell("P1")
    assert story.pending == (0, 60)


def test_a_ticket_on_its_way_to_a_page_is_pending_as_a_page():
    story = Story()
    story.tell("P2", 20)
    story.tell("P1", 2)
    assert story.pending == (15, 45)
    story.tell("P2")
    assert np.isnan(story.pending).all(), "its ticket goes on"


def test_what_is_left_of_a_page_as_p2_has_not_just_begun():
    story = Story()
    story.tell("P1", 8)
    assert set(story.tell("P2", 20)) == {CLEARING} and story.tell("P2") == [LIKELY]
    assert np.isnan(story.pending).all()


def test_nothing_is_pending_when_its_alert_may_fire_before_the_next_step():
    for refresh, pending in ((60.0, [True, False]), (45.0, [True, False]), (120.0, [False, False])):
        course, seen = Course(Priorities(), refresh), []
        for now in (0.0, refresh):
            course.step(now, ("s0",), np.array([now]), risk_of("P1"))
            seen.append(bool(np.isfinite(course.pending).all()))
        assert seen == pending


def test_the_margin_makes_the_limits_those_of_the_shipped_alerts():
    rules = yaml.safe_load((ROOT / "prometheus/rules/servers.yml").read_text())
    lasts = {rule.get("alert"): rule.get("for") for group in rules["groups"] for rule in group["rules"]}
    limits = Priorities()
    assert [timedelta(seconds=limit + MARGIN) for limit in (limits.p1_confirm, limits.p2_confirm)] == [
        timedelta(minutes=int(lasts[f"FleetcastServer{name}"].removesuffix("m"))) for name in ("P1", "P2")]


def test_a_server_that_is_blind_is_not_pending_and_begins_anew_when_it_is_back():
    story = Story()
    story.tell("P1", 2)
    assert story.tell("-", 6)[-1] == BLIND and np.isnan(story.pending).all()
    story.tell("P1")
    assert story.pending == (0, 60)


def test_other_limits_count_at_once_for_what_is_pending_and_end_no_page():
    story = Story()
    story.tell("P1", 2)
    for confirm, left in ((120, 105), (20, np.nan), (600, np.nan)):
        old, story.course = story.course, Course(Priorities(p1_confirm=confirm), REFRESH)
        story.course.keep(old)
        story.tell("P1")
        assert story.pending[1] == pytest.approx(left, nan_ok=True)


def test_after_a_restart_an_alert_that_went_on_goes_on_until_the_server_was_better_for_long_enough():
    def after(*paged, ticketed=()):
        story = Story()
        story.course.resume(paged, {*paged, *ticketed})
        return story

    story = after("s0", "gone")
    assert story.tell("P1") == [ACT_NOW] and np.isnan(story.pending).all()
    assert story.course.rung.tolist() == [[True], [True]]
    story = after("s0")
    assert story.tell("-", 6)[-1] == BLIND and story.tell("P1") == [ACT_NOW] and np.isnan(story.pending).all()
    story = after("s0")
    assert {*story.tell("P3", 10), *story.tell("P2", 5), *story.tell("-", 3)} == {CLEARING}
    assert story.tell("-", 5)[-1] == BLIND and story.course.rung.all(), "silence is not recovery"
    assert {*story.tell("P3", 6)} == {CLEARING}
    assert story.tell("P3") == [SAFE] and not story.course.rung.any()
    story.tell("P1")
    assert story.pending == (0, 60)
    story = after(ticketed=["s0"])
    story.tell("P2")
    assert np.isnan(story.pending).all()
    story.tell("P1")
    assert story.pending == (0, 60), "a ticket is no page"
    story = after(ticketed=["s0"])
    assert set(story.tell("P3", 120)) == {CLEARING} and story.tell("P3", 2)[-1] == SAFE
    assert story.tell("P2") == [LIKELY] and story.pending == (0, 180)
    assert after("other").tell("P1") == [ACT_NOW]
    story = after("other")
    story.tell("P1")
    assert story.pending == (0, 60)


def test_servers_that_are_pending_are_told_apart():
    course, now = Course(Priorities(), REFRESH), REFRESH
    course.step(0.0, ("a", "b"), np.zeros(2), risk_of("P1", "P3"))
    course.step(now, ("c", "b", "a"), np.full(3, now), risk_of("P2", "P1", "P1"))
    assert course.pending.tolist() == [[now, now + 180], [now, now + 60], [0, 60]]
