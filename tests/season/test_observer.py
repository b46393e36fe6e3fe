"""The observer, on seasons made by hand: it sees each kind of wrong, and is silent where all is right."""

import pytest

from tests.season.observer import NO_CHAIN, NO_FORECASTS, NO_PROMETHEUS, Ear, Said, Season, Trouble

PAGE = "web01 (web): cpu saturated is on now"
LOST = "web01 (web): lost sight of at 03:12 UTC, was critical"


def said(at: float, status: str = "firing", name: str = "FleetcastServerP1", server: str | None = "web01",
         words: str = PAGE) -> Said:
    return Said(at, "PAGE", status, {"alertname": name} | ({"server": server} if server else {}), words)


def down(at: float, status: str = "firing") -> Said:
    return said(at, status, "FleetcastForecasterDown", None, "Forecaster is down")


def away(begin: float = 1000.0, repaired: float = 1300.0, announced: frozenset[str] = NO_FORECASTS) -> Trouble:
    return Trouble("forecaster killed", announced, frozenset({"web01"}), begin, repaired, repaired + 30)


def wrong(*entries: Said, overloaded=(), silent=(), troubles=()) -> list[str]:
    return Season({"web01": list(overloaded)}, {"web01": list(silent)}, troubles, entries, 3000.0, slack=10.0).wrong()


def only(found: list[str], words: str) -> None:
    assert len(found) == 1, found
    assert words in found[0]


def test_an_incident_that_is_paged_and_over_is_right():
    assert wrong(said(200), said(900, "resolved"), overloaded=[(100, 500)]) == []


@pytest.mark.parametrize("unwell", [
    {"overloaded": [(100, 2000)]}, {"overloaded": [(100, 500)], "silent": [(400, 2000)]}])
def test_an_all_clear_for_a_server_that_is_overloaded_or_silent_is_wrong(unwell):
    only(wrong(said(200), said(900, "resolved"), **unwell), "for web01, which is not well")


def test_an_all_clear_that_was_on_its_way_when_the_server_got_worse_is_right():
    assert wrong(said(200), said(900, "resolved"), said(1050), said(2500, "resolved"),
                 overloaded=[(100, 500), (850, 2100)]) == []


def test_an_all_clear_while_nothing_is_known_of_a_server_is_wrong_though_it_is_well():
    only(wrong(said(200), down(1100), said(1200, "resolved"), down(1400, "resolved"), overloaded=[(100, 900)],
               troubles=[away()]), "of which nothing is known")


def test_an_all_clear_that_alertmanager_held_back_is_right():
    held_back = Trouble("Alertmanager away", NO_CHAIN, frozenset({"web01"}), 1000.0, 1300.0, 1330.0, holds_back=True)
    assert wrong(said(800), down(990), said(1310, "resolved"), down(1340, "resolved"), overloaded=[(600, 850)],
                 troubles=[away(950, 990), held_back]) == []


def test_the_end_of_an_alert_that_has_lost_sight_is_no_all_clear():
    ear = Ear()
    entries = [{"kind": "PAGE", "status": status, "labels": {"alertname": "FleetcastServerP1", "server": "web01"},
                "annotations": {"summary": words}, "ended": "no longer watched" if status == "resolved" else None}
               for status, words in (("firing", PAGE), ("firing", PAGE), ("firing", LOST), ("resolved", LOST))]
    for n in range(len(entries)):
        ear.hear(200.0 * (n + 1), entries[max(0, n - 1):n + 1])  # a pager that keeps the last two
    assert [(one.at, one.status) for one in ear.said] == [(200, "firing"), (600, "firing"), (800, "no longer watched")]
    assert wrong(*ear.said, overloaded=[(100, 2000)], silent=[(300, 2000)]) == []


def test_a_page_for_a_server_that_is_well_is_wrong():
    only(wrong(said(200), said(900, "resolved")), "page FleetcastServerP1 for web01, which is well")
    only(wrong(said(1000), said(1200, "resolved"), overloaded=[(100, 300)]), "which is well")
    only(wrong(said(1000, words=LOST), said(1200, "no longer watched"), overloaded=[(100, 300)]), "which is well")


def test_a_page_that_had_to_wait_until_the_chain_was_whole_is_right():
    assert wrong(down(1100), down(1400, "resolved"), said(1400), said(1900, "resolved"), overloaded=[(950, 1010)],
                 troubles=[away()]) == []


def test_an_incident_that_could_be_seen_and_is_not_paged_is_wrong():
    only(wrong(overloaded=[(100, 900)]), "web01 is overloaded since   1:40, and there is no page")
    assert wrong(overloaded=[(100, 300)]) == [], "too short"


def test_an_incident_is_due_once_it_could_be_seen_for_long_enough_after_the_repair():
    blind = [down(1100), down(1400, "resolved")]
    assert wrong(*blind, overloaded=[(1010, 1500)], troubles=[away()]) == []
    only(wrong(*blind, overloaded=[(1010, 1700)], troubles=[away()]), "there is no page")


def test_blindness_that_nobody_is_told_of_in_time_or_not_until_its_end_is_wrong():
    only(wrong(troubles=[away()]), "nobody is told from here to  21:40 (told: never)")
    only(wrong(down(1200), down(1350, "resolved"), troubles=[away()]), "(told:  20:00 to  21:40)")
    only(wrong(down(1100), down(1250, "resolved"), troubles=[away()]), "(told:  18:20 to  20:50)")
    assert wrong(down(1100), down(1350, "resolved"), troubles=[away()]) == []
    only(wrong(down(1100), down(1350, "resolved"), troubles=[away(announced=NO_PROMETHEUS)]), "(told: never)")


def test_a_page_about_blindness_while_nothing_is_away_is_wrong():
    only(wrong(down(500), down(600, "resolved")), "page FleetcastForecasterDown, and nothing is away")
    restart = away(1000, 1005, announced=frozenset())
    only(wrong(down(1040), down(1100, "resolved"), troubles=[restart]), "nothing is away")


def test_a_page_that_never_ends_and_one_that_nobody_knows_are_wrong():
    only(wrong(said(200), overloaded=[(100, 500)]), "page FleetcastServerP1 web01 of   3:20 never ended")
    only(wrong(down(1100), troubles=[away()]), "page FleetcastForecasterDown  of  18:20 never ended")
    only(wrong(said(200, name="Other", server=None), said(300, "resolved", "Other", None)), "page Other")
