"""The record of pages: when one begins and ends, and how it turned out."""

import numpy as np
import pytest

from forecaster.evaluation.episodes import judge, stretches
from forecaster.memory import pages as module
from forecaster.memory.episodes import FALSE, ON_ALREADY, OPEN, ROOM, TRUE, UNKNOWN
from forecaster.memory.pages import DAY, Pages
from forecaster.memory.snapshot import SnapshotError

START, STEP, CYCLE = 20_000 * DAY, 300.0, 60.0
NAMES = ("web1", "web2")


def fresh(identity="one") -> Pages:
    return Pages(STEP, identity, ("cpu_saturated", "latency_high"))


def go(pages: Pages, minutes: int, page=(), on=(), blind=(), unknown=(), start: float = START, names=NAMES) -> Pages:
    """A cycle a minute. page, on, blind, unknown: the minutes, counted from `start`, in which the first server's page
    rings, its first incident is on, it is BLIND, and its incident is not known."""
    for minute in range(minutes):
        first = np.arange(len(names)) == 0
        rung = np.stack([first & (minute in page)] * 2)
        flags = [np.stack([first & (minute in of), ~first & False], 1) for of in (on, unknown)]
        pages.cycle(start + CYCLE * minute, names, rung, ~(first & (minute in blind)), flags[0], ~flags[1])
    return pages


def turned(pages: Pages, rule: int = 0) -> list[str]:
    """How the pages of P1 turned out, the first first."""
    return [one.turned for one in reversed(pages.of()) if one.rule == rule]


def test_a_page_before_an_incident_is_true_with_the_time_that_it_gave():
    pages = go(fresh(), 60, page=range(5, 20), on=range(17, 30))
    assert turned(pages) == [TRUE]
    [page] = [one for one in pages.of() if one.rule == 0]
    assert (page.begin, page.since, page.lead, page.what) == (
        START + 300, START + 17 * 60, 720, "cpu_saturated")


def test_an_incident_within_the_half_hour_makes_a_page_true_that_is_over():
    assert turned(go(fresh(), 60, page=range(5, 10), on=[34])) == [TRUE]
    assert turned(go(fresh(), 60, page=range(5, 10), on=[36])) == [FALSE]


def test_a_page_that_still_rings_waits_for_its_incident():
    assert turned(go(fresh(), 120, page=range(5, 120))) == [OPEN]
    assert turned(go(fresh(), 120, page=range(5, 120), on=[119])) == [TRUE]


def test_an_incident_that_was_on_when_the_page_began_was_on_already():
    pages = go(fresh(), 60, page=range(5, 20), on=range(4, 30))
    assert turned(pages) == [ON_ALREADY] and np.isnan(pages.of()[0].lead)
    assert turned(go(fresh(), 60, page=range(25, 30), on=[3, 29])) == [ON_ALREADY], "one incident, with a short pause"
    assert turned(go(fresh(), 90, page=range(45, 50), on=[3, 49])) == [TRUE], "another one, after half an hour"


def test_a_page_that_lets_go_for_less_than_five_minutes_is_one():
    assert len(turned(go(fresh(), 60, page=[5, 6, 10, 14]))) == 1
    assert len(turned(go(fresh(), 60, page=[5, 6, 12]))) == 2


def test_tickets_wait_for_eight_hours():
    pages = go(fresh(), 500, page=range(5, 10), on=[400])
    assert turned(pages) == [FALSE] and turned(pages, 1) == [TRUE]


def test_a_server_that_is_not_seen_keeps_its_page_and_what_is_not_known_is_not_false():
    pages = go(fresh(), 200, page=range(5, 100), blind=range(100, 150), unknown=range(100, 150))
    assert pages.of()[0].last == START + 99 * 60 and turned(pages) == [UNKNOWN]
    assert turned(go(fresh(), 120, page=range(5, 30), unknown=range(12, 23))) == [UNKNOWN]
    assert turned(go(fresh(), 120, page=range(5, 30), unknown=range(12, 21))) == [FALSE], "a gap of ten minutes"
    assert turned(go(fresh(), 120, page=range(5, 30), unknown=range(12, 23), on=[32])) == [TRUE], "it came all the same"


def test_where_no_incident_was_ever_known_nothing_is_said():
    assert turned(go(fresh(), 120, page=range(5, 10), unknown=range(120))) == [FALSE], "the other one is known"
    pages, none = fresh(), np.zeros((1, 2), bool)
    for minute in range(60):
        pages.cycle(START + 60 * minute, ("web1",), np.array([[minute == 5]] * 2), np.ones(1, bool), none, none)
    assert turned(pages) == [UNKNOWN]


def test_a_server_that_is_gone_ends_its_page_and_nobody_knows_what_came():
    pages = go(fresh(), 10, page=range(5, 10))
    go(pages, 60, start=START + 600, names=("web2",))
    assert pages.of()[0].over and turned(pages) == [UNKNOWN]


def test_a_clock_that_is_set_back_makes_open_pages_unknown():
    pages = go(fresh(), 30, page=range(5, 30))
    go(pages, 120, start=START - 1800)
    assert turned(pages) == [UNKNOWN]


def test_after_a_clock_that_is_set_back_no_page_is_later_and_a_restart_keeps_them_all(tmp_path):
    path, pages = tmp_path / "pages.npz", go(fresh(), 50, page=range(2, 7), on=range(6, 9))
    go(pages, 60, page=[*range(5, 8), *range(40, 60)], on=range(8, 9), start=START + 3600)
    now = START + 3600 + 30 * 60
    go(pages, 10, page=range(10), start=now)  # half an hour back: the second page lies before it, the third began later
    first, second, third = (one for one in reversed(pages.of()) if one.rule == 0)
    assert (first.turned, first.lead) == (TRUE, 240) and (second.turned, second.lead) == (TRUE, 180)
    assert second.begin == START + 3900 and third.begin == now - 19 * 60 and third.last == now + 540
    go(pages, 120, start=now + 600)
    assert turned(pages) == [TRUE, TRUE, UNKNOWN]
    pages.snapshot(path)
    again = fresh()
    assert again.restore(path, now + 130 * 60) is None and repr(again.of()) == repr(pages.of())


def test_pages_of_four_weeks_are_kept_and_weeks_counted_where_there_was_a_forecast(monkeypatch):
    pages = go(fresh(), 60, page=range(5, 10), blind=range(30, 60))
    assert pages.weeks() * module.WEEK == pytest.approx((59 + 29) * 60)
    assert pages.weeks(["web1"]) * module.WEEK == pytest.approx(29 * 60)
    go(pages, 2, start=START + 27 * DAY, names=("web2",))
    assert len(turned(pages)) == 1 and pages.weeks() * module.WEEK == pytest.approx(88 * 60 + 300 + 60)
    go(pages, 2, start=START + 28 * DAY + 600, names=("web2",))
    assert turned(pages) == [] and pages.weeks() * module.WEEK == pytest.approx(300 + 60 + 300 + 60)
    monkeypatch.setattr(module, "MOST", 3)
    for hour in range(4):
        go(pages, 59, page=[5], start=START + 29 * DAY + 3600 * hour)
    assert len(pages.of()) == 3


def test_at_the_most_that_ring_at_once_no_other_is_counted(monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    names, pages = tuple(f"s{n}" for n in range(5)), fresh()
    for minute in range(5):
        all_on = np.ones((5, 2), bool)
        pages.cycle(START + 60 * minute, names, all_on.T, all_on[:, 0], ~all_on, all_on)
    assert len(pages._active) == 2 and {one.begin for one in pages.of()} == {START}


def test_live_and_backtest_count_the_same_pages_and_true_ones():
    rng = np.random.default_rng(3)
    for _ in range(10):
        rung, on = (np.append(np.repeat(rng.random(60) < share, 4), np.zeros(60, bool)) for share in (0.2, 0.06))
        rung[0] = False
        pages = go(fresh(), len(rung), page=np.flatnonzero(rung), on=np.flatnonzero(on))
        at = np.arange(len(rung), dtype=float)
        figures = judge([stretches(rung, at, 4)], [stretches(on, at, 29)], 30, (0, 1e9))
        found = turned(pages)
        assert set(found) <= {TRUE, ON_ALREADY, FALSE} and len(found) == figures["pages"] > 0
        assert len(found) - found.count(FALSE) == pytest.approx(figures["true"] * figures["pages"])


# -- what fills up --------------------------------------------------------------------------------------


def fill(pages: Pages, passes: int, page=(), full=(), relieved=(), lost=(), start=START) -> Pages:
    """A pass every ten minutes, of one entity."""
    for n in range(passes):
        flag = [np.array([n in of]) for of in (page, lost, full, relieved)]
        pages.capacity(start + 600 * n, [("web1", "filesystem /data")], np.stack([flag[0]] * 2), ~flag[1], *flag[2:])
    return pages


def test_what_fills_up_is_a_page_after_a_quarter_of_an_hour_and_true_once_it_is_full():
    assert turned(fill(fresh(), 40, page=[3, 4]), 2) == [], "it did not hold for long enough"
    pages = fill(fresh(), 60, page=range(3, 20), full=range(20, 60))
    assert turned(pages, 2) == [TRUE] and turned(pages, 3) == [TRUE]
    [page] = [one for one in pages.of() if one.rule == 2]
    assert (page.begin, page.lead, page.entity) == (START + 5 * 600, 15 * 600, "filesystem /data")


def test_what_was_full_before_the_clock_was_set_back_was_on_already():
    pages = fill(fresh(), 6, full=range(4, 6))
    assert turned(fill(pages, 6, page=range(6), full=range(6)), 2) == [ON_ALREADY]


def test_a_page_that_nobody_follows_any_more_is_forgotten_and_may_ring_anew():
    pages = fill(fresh(), 10, page=range(3, 10))
    go(pages, 2, start=START + 27 * DAY)
    assert turned(pages, 2) == [OPEN]
    go(pages, 2, start=START + 29 * DAY)
    assert turned(pages, 2) == []
    fill(pages, 10, page=range(3, 10), start=START + 30 * DAY)
    assert [one.begin for one in pages.of() if one.rule == 2] == [START + 30 * DAY + 3000]


def test_where_somebody_made_room_a_page_is_not_called_false():
    assert turned(fill(fresh(), 80, page=range(3, 10), relieved=[12]), 2) == [ROOM]
    assert turned(fill(fresh(), 80, page=range(3, 10)), 2) == [FALSE]
    assert turned(fill(fresh(), 80, page=range(3, 10), lost=range(12, 25)), 2) == [UNKNOWN]


# -- snapshots ------------------------------------------------------------------------------------------


def test_a_restart_goes_on_with_an_open_page(tmp_path):
    path, was = tmp_path / "pages.npz", go(fresh(), 20, page=range(5, 20))
    was.snapshot(path)
    again = fresh()
    assert again.restore(path, START + 1500) is None and repr(again.of()) == repr(was.of())
    assert again.weeks() == was.weeks()
    go(again, 60, page=range(3, 20), on=[10], start=START + 1500)  # after five minutes, and three without the page
    assert turned(again) == [TRUE]
    later = fresh()
    later.restore(path, START + 7200)
    go(later, 60, start=START + 7200)
    assert turned(later) == [UNKNOWN], "nobody looked for two hours"


def test_what_rings_when_the_forecaster_stops_is_known_for_an_hour(tmp_path):
    path, was, again = tmp_path / "pages", go(fresh(), 20, page=range(10, 30)), fresh()
    was.snapshot(path)
    again.restore(path, now := START + 1500)
    assert again.ringing(now) == was.ringing(now) == ({NAMES[0]}, {NAMES[0]})
    assert again.ringing(now + 7200) == (set(), set())
    go(again, 22, start=START + 1200)
    assert again.ringing(START + 2520) == (set(), set()), "its alert is over, although the page is not"


def test_a_page_of_what_fills_up_that_is_not_over_is_known_for_an_hour_after_a_restart(tmp_path):
    path, was, again = tmp_path / "pages", fill(fresh(), 12, page=range(3, 10)), fresh()
    was.snapshot(path)
    again.restore(path, now := START + 11 * 600)
    assert again.filling(now) == was.filling(now) == ({("web1", "filesystem /data")}, {("web1", "filesystem /data")})
    assert again.filling(now + 3601) == (set(), set())
    assert fill(again, 60, start=now).filling(now + 59 * 600) == (set(), set()), "it is over"


def test_a_snapshot_of_other_settings_or_of_a_time_to_come_is_not_taken(tmp_path):
    path = tmp_path / "pages.npz"
    go(fresh(), 20, page=range(5, 20)).snapshot(path)
    assert "another model" in fresh("two").restore(path, START + 1500)
    assert "has not come" in fresh().restore(path, START - 3600)
    assert not fresh().same(fresh("two")) and fresh().same(fresh())


def test_a_source_whose_clock_is_minutes_ahead_costs_no_pages_at_a_restart(tmp_path):
    path, was = tmp_path / "pages.npz", go(fresh(), 20, page=range(5, 20))
    was.snapshot(path)
    again = fresh()
    assert again.restore(path, START) is None and repr(again.of()) == repr(was.of())


def test_a_damaged_snapshot_is_an_error_and_changes_nothing(tmp_path):
    path, pages = tmp_path / "pages.npz", go(fresh(), 20, page=range(5, 20))
    pages._held[0].turned = "perhaps"
    pages.snapshot(path)
    other = fresh()
    with pytest.raises(SnapshotError, match="do not fit together"):
        other.restore(path, START + 1500)
    assert other.of() == []


@pytest.mark.parametrize(("name", "value"), [("begin", 1e300), ("begin", -1.0), ("last", np.nan), ("rule", 9)])
def test_a_page_of_no_time_or_rule_is_damage(tmp_path, name, value):
    path, pages = tmp_path / "pages.npz", go(fresh(), 20, page=range(5, 20))
    setattr(pages._held[0], name, value)
    pages.snapshot(path)
    with pytest.raises(SnapshotError, match="do not fit together"):
        fresh().restore(path, START + 1500)


def test_of_1000_servers_it_holds_less_than_two_megabytes(tmp_path):
    names, pages, path = tuple(f"node-{n:04}.example.test" for n in range(1000)), fresh(), tmp_path / "pages.npz"
    for minute in range(120):
        flags = np.ones((1000, 2), bool)
        pages.cycle(START + 60 * minute, names, np.full((2, 1000), minute % 20 < 3), flags[:, 0], ~flags, flags)
    pages.snapshot(path)
    assert len(pages.of()) == module.MOST and path.stat().st_size < 2 << 20
