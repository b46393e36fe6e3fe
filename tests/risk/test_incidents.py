"""Incidents of a fleet: which are on, how likely each is, when it begins, and what an on-call person is told."""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forecaster.models.features import CARRY_STEPS
from forecaster.models.forecast import Forecast, Quantiles
from forecaster.risk.conditions import Condition
from forecaster.risk.evidence import DAY, INPUTS
from forecaster.risk.incidents import UNITS, find
from forecaster.risk.thresholds import Priorities
from forecaster.signals import Signal
from tests.tiny_models import chances_of, tiny_chances

SIGNALS = {"cpu_pct": Signal(query="a", unit="percent", min=0, max=100, title="CPU"),
           "free_pct": Signal(query="b", unit="percent", title="Free memory"),
           "rtt": Signal(query="c", unit="milliseconds")}
LEVELS = (0.02, 0.1, 0.5, 0.9, 0.98)
NOW, STEP, WEEK = datetime(2026, 2, 10, 1, 45, tzinfo=UTC).timestamp(), 300.0, 7 * DAY
HOT = {"hot": {"signal": "cpu_pct", "above": 95}}


def surely(soon: float, later: float):
    """Chances that are these of every server that is not calm."""
    odds = np.log(np.array([soon, later]) / (1 - np.array([soon, later])))
    layer = np.zeros((1, INPUTS, 2), np.float32), odds.astype(np.float32)[None, None]
    return replace(tiny_chances(), layers=(layer,))


class Fleet:
    """Servers whose signals are all 50, by history and forecast, until a test changes them."""

    def __init__(self, servers: int = 1, steps: int = WEEK):
        self.context = np.full((servers, len(SIGNALS), steps), 50, np.float32)
        self.said = np.full((servers, len(SIGNALS), 96, len(LEVELS)), 50, np.float32)
        self.by_model = np.ones((servers, len(SIGNALS)), bool)
        self.missing = np.zeros((servers, len(SIGNALS)), bool)
        self.names = tuple(f"web{i}" for i in range(servers)), ("web",) * servers

    def find(self, conditions=HOT, chances=None, zone="UTC", now=NOW, **limits):
        values = self.said[..., 1:4].copy()
        values[self.missing] = np.nan
        by_model = self.by_model & ~self.missing
        some = by_model.any(1)
        said = np.where(by_model[..., None, None], self.said, np.nan)[some]
        made = Forecast(values, by_model, Quantiles(said, LEVELS, tuple(SIGNALS)) if some.any() else None)
        given = {name: Condition.model_validate(one) for name, one in conditions.items()}
        return find(given, chances, made, SIGNALS, self.names, self.context, now, STEP, ZoneInfo(zone),
                    Priorities(**limits))


def test_an_incident_is_on_where_the_newest_mean_is_beyond_its_limit_and_not_on_it():
    fleet = Fleet(3)
    fleet.context[:, 0, -1] = 95, 95.1, 50
    fleet.context[2, 0, -2] = 99
    assert fleet.find().on[:, 0].tolist() == [False, True, False]


def test_an_incident_below_a_limit_is_on_beneath_it():
    fleet = Fleet(2)
    fleet.context[:, 1, -1] = 5, 4.9
    assert fleet.find({"low": {"signal": "free_pct", "below": 5}}).on[:, 0].tolist() == [False, True]


def test_one_that_must_last_is_on_after_all_of_its_steps():
    fleet, lasting = Fleet(3), {"hot": {"signal": "cpu_pct", "above": 95, "for": "15m"}}
    fleet.context[0, 0, -2:] = fleet.context[1, 0, -3:] = fleet.context[2, 0, -4:] = 99
    fleet.context[2, 0, -2] = 95
    assert fleet.find(lasting).on[:, 0].tolist() == [False, True, False]


def test_a_history_that_is_shorter_than_it_must_last_is_on_after_all_of_it():
    fleet = Fleet(2, steps=24)
    fleet.context[0, 0] = fleet.context[1, 0, 1:] = 99
    assert fleet.find({"hot": {"signal": "cpu_pct", "above": 95, "for": "4h"}}).on[:, 0].tolist() == [True, False]


@pytest.mark.parametrize("steps", [WEEK, 24])
def test_a_missed_scrape_does_not_end_an_incident_and_a_long_gap_does(steps):
    fleet, lasting = Fleet(3, steps), {"hot": {"signal": "cpu_pct", "above": 95, "for": "15m"}}
    fleet.context[:, 0, -3 - CARRY_STEPS - 1 :] = 99
    fleet.context[0, 0, -1] = fleet.context[1, 0, -CARRY_STEPS:] = np.nan
    fleet.context[2, 0, -CARRY_STEPS - 1 :] = np.nan
    assert fleet.find(lasting).on[:, 0].tolist() == [True, True, False]


def test_a_signal_without_a_forecast_and_a_server_that_is_not_meant_are_unknown():
    fleet = Fleet(3)
    fleet.context[:, 0, -1] = 99
    fleet.missing[1, 0] = True
    found = fleet.find({"hot": HOT["hot"] | {"servers": "web[01]"}}, surely(0.9, 0.9))
    assert found.known[:, 0].tolist() == found.on[:, 0].tolist() == [True, False, False]
    for window in ("30m", "8h"):
        assert np.isfinite(found.chance[window][:, 0]).tolist() == [True, False, False]
    assert found.priority == ("P1", "P3", "P3"), "their other signals are forecast, and nothing is known against them"


def test_a_stale_server_has_no_forecast_and_thus_no_priority():
    fleet = Fleet(2)
    fleet.context[:, 0, -1] = 99
    fleet.missing[1] = True
    found = fleet.find(chances=surely(0.9, 0.9))
    assert found.priority == ("P1", None) and not found.on[1].any() and np.isnan(found.any("8h")[1])


def test_profiles_choose_servers_too():
    fleet = Fleet(2)
    fleet.context[:, 0, -1] = 99
    fleet.names = fleet.names[0], ("web", "batch")
    assert fleet.find({"hot": HOT["hot"] | {"profiles": "batch"}}).on[:, 0].tolist() == [False, True]


def test_a_signal_on_the_trend_has_no_chance_and_rings_only_for_what_is_on():
    fleet = Fleet(2, steps=24)
    fleet.by_model[:, 0] = False
    fleet.said[:, 0] = 99  # what its widening band touches
    fleet.context[1, 0, -1] = 99
    found = fleet.find(chances=surely(0.9, 0.9))
    assert np.isnan(found.chance["8h"]).all() and np.isnan(found.expected).all()
    assert found.on[:, 0].tolist() == [False, True] and found.priority == ("P3", "P1")
    assert found.message(0) == "" and found.nothing(0) == "No incident now, chances are unknown"
    assert found.message(1) == "CPU above 95% now, no calibrated chance"


def test_chances_stand_in_the_rows_of_their_servers_where_others_are_on_the_trend():
    fleet = Fleet(4)
    fleet.by_model[0] = False
    fleet.by_model[2, 0] = False
    fleet.said[1:, 0, 30:, -1] = 99
    found = fleet.find(HOT | {"slow": {"signal": "rtt", "above": 200}}, surely(0.7, 0.9))
    assert np.isnan(found.chance["8h"]).tolist() == [[True, True], [False, False], [True, False], [False, False]]
    assert found.chance["8h"][[1, 3], 0] == pytest.approx([0.9, 0.9])
    assert found.chance["30m"][1:, 1].tolist() == [0.001] * 3, "calm"


def test_without_chances_only_what_is_on_is_known():
    fleet = Fleet(2)
    fleet.context[1, 0, -1] = 99
    found = fleet.find(chances=None)
    np.testing.assert_array_equal(found.any("30m"), [np.nan, 1])
    assert found.priority == ("P3", "P1")


def test_judged_together_incidents_have_the_chances_that_they_have_apart():
    fleet, rng = Fleet(5), np.random.default_rng(5)
    fleet.context += rng.normal(0, 20, fleet.context.shape).astype(np.float32)
    fleet.context[1, 0, -40:-30] = np.nan
    fleet.said = np.sort(fleet.said + rng.normal(0, 20, fleet.said.shape), -1).astype(np.float32)
    conditions = {"hot": {"signal": "cpu_pct", "above": 95}, "warm": {"signal": "cpu_pct", "above": 80},
                  "low": {"signal": "free_pct", "below": 5}, "short": {"signal": "free_pct", "below": 20, "for": "15m"},
                  "slow": {"signal": "rtt", "above": 90, "for": "15m"}}
    chances = tiny_chances()
    found = fleet.find(conditions, chances)
    for i, (name, one) in enumerate(conditions.items()):
        column = [*SIGNALS].index(one["signal"])
        floor = 1e-3 if one["signal"] != "rtt" else 1e-6
        by_window, step = chances_of(chances, Condition.model_validate(one), fleet.context[:, column],
                                     fleet.said[:, column], LEVELS, floor)
        for window, expected in by_window.items():
            np.testing.assert_allclose(found.chance[window][:, i], expected, rtol=1e-6, err_msg=name)
        begin = np.where((step > 0) & ~found.on[:, i], NOW + STEP * step, np.nan)
        np.testing.assert_array_equal(found.expected[:, i], begin)
    assert (found.chance["8h"] >= found.chance["30m"]).all()


def test_more_servers_than_are_judged_at_once_have_their_own_chances(monkeypatch):
    fleet = Fleet(7)
    fleet.context[:, 0] += np.random.default_rng(1).normal(0, 25, (7, WEEK)).astype(np.float32)
    whole = fleet.find(chances=tiny_chances()).chance["8h"]
    monkeypatch.setattr("forecaster.risk.incidents.PAIRS", 3)
    np.testing.assert_allclose(fleet.find(chances=tiny_chances()).chance["8h"], whole, rtol=1e-6)


def expected_at(step: int = 20):
    fleet = Fleet(1)
    fleet.said[0, 0, step - 1 :] = 99
    return fleet


def test_it_is_expected_where_the_forecast_and_the_chance_have_it_and_not_while_it_is_on():
    fleet = expected_at()
    assert fleet.find(chances=surely(0.1, 0.9)).expected[0, 0] == NOW + 20 * STEP
    assert np.isnan(fleet.find(chances=surely(0.1, 0.49)).expected[0, 0])
    fleet.context[0, 0, -1] = 99
    assert np.isnan(fleet.find(chances=surely(0.9, 0.9)).expected[0, 0])


def test_the_chance_that_it_begins_is_its_chance_and_unknown_while_it_is_on():
    fleet = Fleet(2)
    fleet.context[0, 0, -1] = fleet.context[1, 0, -2] = 99
    found = fleet.find(chances=surely(0.7, 0.9))
    assert np.isnan(found.begin("8h")[0, 0]) and found.begin("30m")[1, 0] == pytest.approx(0.7)


def test_any_is_the_largest_chance_of_those_that_are_known():
    fleet = Fleet(3)
    fleet.missing[:, 2] = fleet.missing[1, 0] = fleet.missing[2] = True
    conditions = HOT | {"full": {"signal": "free_pct", "above": 95}, "slow": {"signal": "rtt", "above": 90}}
    found = fleet.find(conditions, surely(0.4, 0.5))
    found.chance["8h"][0, 0] = 0.7
    assert found.any("8h") == pytest.approx([0.7, np.nanmax(found.chance["8h"][1]), np.nan], nan_ok=True)


ALONE = {"hot": HOT["hot"] | {"alone": "P3"}}


@pytest.mark.parametrize(("days_on", "known_days", "priority"), [
    (0, 7, "P1"), (1, 7, "P1"), (2, 7, "P3"), (0, 3, "P1"), (0, 2, "P3"), (2, 3, "P3")])
def test_usual_is_what_was_on_on_two_of_the_last_seven_days_or_is_not_known_of_a_new_server(
        days_on, known_days, priority):
    fleet = Fleet(1)
    fleet.context[0, 0, : WEEK - known_days * DAY] = np.nan
    fleet.context[0, 0, -1] = 99  # what lasts still is no day
    for day in range(1, days_on + 1):
        fleet.context[0, 0, -100 - day * DAY] = 99  # at another time of day
    found = fleet.find(ALONE, surely(0.9, 0.9))
    assert found.priority == (priority,) and found.days[0, 0] == days_on


def test_a_first_trouble_stays_one_for_three_days_and_then_is_how_the_server_is():
    for hours, priority in ((30, "P1"), (71, "P1"), (73, "P3")):
        fleet = Fleet(1)
        fleet.context[0, 0, -12 * hours :] = 99
        assert fleet.find(ALONE, surely(0.9, 0.9)).priority == (priority,), hours


def test_what_gives_no_more_than_p3_is_no_part_of_the_chance_of_any_incident():
    fleet = Fleet(1)
    fleet.context[0, 0] = 99
    assert np.isnan(fleet.find(ALONE, surely(0.9, 0.9)).any("8h")[0]), "a clock that nothing sets"
    assert fleet.find({"hot": HOT["hot"]}, surely(0.9, 0.9)).any("8h")[0] == pytest.approx(0.9)


def test_a_day_of_which_less_than_half_is_known_is_not_held():
    fleet = Fleet(1)
    fleet.context[0, 0, : WEEK - 2 * DAY - DAY // 2 - 1] = np.nan
    fleet.context[0, 0, -1] = 99
    assert fleet.find(ALONE, surely(0.9, 0.9)).priority == ("P1",)
    fleet.context[0, 0, WEEK - 2 * DAY - DAY // 2 - 1] = np.nan
    assert fleet.find(ALONE, surely(0.9, 0.9)).priority == ("P3",)


def test_a_spike_that_does_not_last_makes_no_day_usual():
    fleet = Fleet(1)
    fleet.context[0, 0, -3:] = 99
    fleet.context[0, 0, -100 - DAY] = 99
    found = fleet.find({"hot": ALONE["hot"] | {"for": "15m"}}, surely(0.9, 0.9))
    assert found.days[0, 0] == 0 and found.priority == ("P1",)


def nightly(days=range(1, 8)):
    """CPU is full from 02:00 to 02:40 UTC on the days before; it is expected at the third step from now."""
    fleet = expected_at(3)
    for day in days:
        fleet.context[0, 0, WEEK + 3 - day * DAY : WEEK + 11 - day * DAY] = 99
    return fleet


def test_work_of_every_night_is_a_ticket_before_it_begins_while_it_is_on_and_as_it_ends():
    fleet = nightly()
    assert fleet.find(chances=surely(0.9, 0.9)).priority == ("P2",)
    for ends in (False, True):
        fleet = nightly()
        fleet.context = np.roll(fleet.context, -10, 2)  # 50 minutes later
        fleet.context[0, 0, -8:] = 99
        fleet.said[0, 0] = 50 if ends else 99
        found = fleet.find(chances=surely(0.9, 0.9), now=NOW + 10 * STEP)
        assert found.on[0, 0] and found.recurring.ratio[0, 0] == 1 and found.priority == ("P2",)


def test_the_message_says_what_when_how_likely_and_what_it_rests_on():
    found = nightly((1, 2, 4, 5, 6, 7)).find(chances=surely(0.88, 0.97))
    assert found.message(0) == (
        "CPU above 95% expected at 02:00 UTC, chance 88% within 30 minutes, 97% within 8 hours; "
        "above 95% at this time of day on 6 of the last 7 days")


def test_the_time_in_the_message_is_that_of_the_configured_zone():
    assert "expected at 03:00 CET, " in nightly().find(chances=surely(0.9, 0.9), zone="Europe/Berlin").message(0)


def test_of_an_incident_that_is_on_the_chance_is_that_it_goes_on():
    fleet = Fleet(1, steps=24)
    fleet.context[0, 0, -1] = 99
    assert fleet.find(chances=surely(0.6, 0.97)).message(0) == (
        "CPU above 95% now, chance that it goes on 60% within 30 minutes, 97% within 8 hours")


def test_an_incident_that_is_not_likely_is_possible_and_without_any_the_message_is_empty():
    fleet = Fleet(1, steps=24)
    fleet.said[0, 0, 50, -1] = 99
    assert fleet.find(chances=surely(0.05, 0.3)).message(0) == (
        "CPU above 95% possible, chance 5% within 30 minutes, 30% within 8 hours")
    fleet.said[:] = 50
    found = fleet.find(chances=surely(0.05, 0.3))
    assert found.message(0) == "" and found.nothing(0) == "No incident predicted within 8 hours"


def test_a_limit_is_told_in_the_unit_of_its_signal():
    fleet, conditions = Fleet(1, steps=24), {"low": {"signal": "free_pct", "below": 2.5},
                                             "slow": {"signal": "rtt", "above": 1200}}
    assert fleet.find(conditions).texts == ("Free memory below 2.5%", "rtt above 1200 ms")
    units = Signal.model_fields["unit"].annotation
    assert {*UNITS} == {*units.__args__}


def test_a_server_for_which_no_incident_is_meant_is_told_so():
    found = Fleet(1).find({"hot": HOT["hot"] | {"servers": "db.*"}}, surely(0.9, 0.9))
    assert found.priority == ("P3",) and found.nothing(0) == "No incident is defined for it"


@pytest.mark.parametrize("servers", [0, 2])
def test_without_incidents_and_without_servers_there_is_nothing(servers):
    found = Fleet(servers).find({}, surely(0.9, 0.9))
    assert found.on.shape == found.chance["8h"].shape == found.recurring.ratio.shape == (servers, 0)
    assert found.priority == ("P3",) * servers and np.isnan(found.any("8h")).tolist() == [True] * servers
    assert Fleet(0).find(chances=surely(0.9, 0.9)).priority == ()
