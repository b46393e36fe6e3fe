"""On how many of the last days an expected incident was on at that time of day."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forecaster.risk.conditions import Condition
from forecaster.risk.recurring import recurring
from forecaster.risk.thresholds import RiskConfig

STEP, WEEK, NIGHT = 300.0, 2016, 288
SIGNALS = ("cpu_pct", "mem_pct", "latency_ms")
UTC = ZoneInfo("UTC")
NOW = datetime(2026, 2, 10, 1, 45, tzinfo=UTC).timestamp()
BACKUP = datetime(2026, 2, 10, 2, 0, tzinfo=UTC).timestamp()  # every day, for 40 minutes


def forecast(begin: int = 3, servers: int = 1, peak: float = 98.5) -> np.ndarray:
    """p90 of CPU is at the peak from step `begin` on, for 8 steps; all else is calm."""
    values = np.full((servers, len(SIGNALS), 96, 3), 20, np.float32)
    values[:, 0, begin - 1:begin + 7, 2] = peak
    return values


def week(nights=range(1, 8), now: float = NOW, backup: float = BACKUP, steps: int = WEEK) -> np.ndarray:
    """CPU at 98.5 for 40 minutes from `backup` on, so many days before; the newest step ends at `now`."""
    context = np.full((1, len(SIGNALS), steps), 20, np.float32)
    instants = now - STEP * np.arange(steps - 1, -1, -1)
    for night in nights:
        since = instants - (backup - night * 86400)
        context[0, 0, (since > 0) & (since <= 2400)] = 98.5
    return context


CONDITIONS = tuple(RiskConfig().conditions(SIGNALS).values())
LIMITS = "above 95%", "above 95%", "above 200 ms"


def of(context, values=None, now=NOW, zone=UTC, by_model=True, active=False, conditions=CONDITIONS,
       likely=0):
    values = forecast() if values is None else values
    made = np.full(values.shape[:2], by_model)
    on = np.zeros((len(values), len(conditions)), bool)
    on[:, 0] = active
    first = np.zeros(on.shape, np.int64)
    first[:, 0] = likely
    return recurring(values, made, SIGNALS, conditions, on, first, context, now, STEP, zone, LIMITS)


def test_a_backup_of_every_night_was_on_at_its_time_on_seven_of_the_last_seven_days():
    found = of(week(nights=range(1, 9)))
    assert (found.step[0, 0], found.on[0, 0], found.held[0, 0], found.ratio[0, 0]) == (3, 7, 7, 1.0)
    assert found.text(0, 0) == "above 95% at this time of day on 7 of the last 7 days"
    assert np.isnan(found.ratio[0, 1:]).all(), "nothing is expected of memory and latency"


def test_one_night_without_it_makes_six_of_seven():
    assert of(week(nights=(1, 2, 3, 5, 6, 7))).ratio[0, 0] == pytest.approx(6 / 7)


def test_trouble_that_no_night_had_is_zero_of_seven():
    found = of(week(nights=()))
    assert found.ratio[0, 0] == 0 and found.text(0, 0).endswith("on 0 of the last 7 days")


def test_what_is_on_within_half_an_hour_of_the_time_counts_and_what_ends_before_or_begins_after_does_not():
    for minutes, ratio in ((-75, 0), (-30, 1), (25, 1), (35, 0)):
        assert of(week(backup=BACKUP + 60 * minutes)).ratio[0, 0] == ratio, minutes


def test_days_without_data_at_that_time_do_not_count_and_fewer_than_three_days_say_nothing():
    gaps = week(nights=(1, 2, 3, 4, 5, 6))
    gaps[..., -4 * NIGHT:-2 * NIGHT] = np.nan  # of the days 3 and 4; what is missing elsewhere does not matter
    gaps[..., -100:-60] = np.nan
    found = of(gaps)
    assert (found.on[0, 0], found.held[0, 0], found.ratio[0, 0]) == (4, 5, 0.8)
    assert found.text(0, 0) == "above 95% at this time of day on 4 of the 5 days known of the last 7"
    gaps[..., :-2 * NIGHT - 100] = np.nan
    found = of(gaps)
    assert found.held[0, 0] == 2 and np.isnan(found.ratio[0, 0]) and found.text(0, 0) == ""


def test_most_values_around_the_time_must_be_known_for_a_day_to_count():
    few = week()
    day = WEEK - 1 + 3 - NIGHT
    few[..., day - 6:day] = np.nan
    assert of(few).held[0, 0] == 7
    few[..., day] = np.nan
    assert of(few).held[0, 0] == 6


def test_a_model_that_reads_two_hours_and_a_server_without_a_past_have_no_share():
    assert np.isnan(of(week()[..., -24:]).ratio).all()
    assert np.isnan(of(np.full((1, 3, WEEK), np.nan, np.float32)).ratio).all()


@pytest.mark.parametrize("day", [(2026, 3, 30), (2026, 10, 26)], ids=["clocks forward", "clocks back"])
def test_nightly_work_keeps_its_local_hour_when_the_clocks_change(day):
    berlin = ZoneInfo("Europe/Berlin")
    now, tonight = (datetime(*day, 4, minute, tzinfo=berlin).timestamp() for minute in (15, 30))
    context = week((), now)
    instants = now - STEP * np.arange(WEEK - 1, -1, -1)
    for night in range(1, 8):
        begin = datetime.fromtimestamp(tonight, berlin).replace(day=day[2] - night).timestamp()
        context[0, 0, (instants > begin) & (instants <= begin + 1200)] = 98.5
    found = of(context, now=now, zone=berlin)
    assert found.on[0, 0] == found.held[0, 0] >= 6 and found.ratio[0, 0] == 1
    assert of(context, now=now, zone=UTC).on[0, 0] <= 1, "by UTC, the nights before the change are an hour off"


def test_the_trend_heuristic_expects_no_incident_but_one_that_is_on_is_one():
    found = of(week(), by_model=False)
    assert (found.step == 0).all() and np.isnan(found.ratio).all() and found.text(0, 0) == ""
    found = of(week(backup=NOW), by_model=False, active=True)
    assert found.step[0].tolist() == [-1, 0, 0] and found.ratio[0, 0] == 1


def test_the_incident_is_one_of_p90_within_eight_hours_or_of_p10_where_it_is_below():
    assert not of(week(), forecast(peak=95.0)).step.any(), "on the threshold is not above it"
    assert of(week(backup=NOW + 89 * STEP), forecast(90)).ratio[0, 0] == 1
    low = 100 - forecast()[..., ::-1]
    found = of(100 - week(), low, conditions=(Condition(signal="cpu_pct", below=5), *CONDITIONS[1:]))
    assert (found.step[0, 0], found.on[0, 0]) == (3, 7)


def test_an_incident_that_is_on_is_expected_now_also_where_the_forecast_has_it_later_again():
    context = week(backup=NOW - 1200.0)
    assert of(context, forecast(90)).ratio[0, 0] == 0
    found = of(context, forecast(90), active=True)
    assert found.step[0, 0] == -1 and found.ratio[0, 0] == 1


def test_nights_on_which_it_did_not_last_do_not_count():
    condition = Condition.model_validate({"signal": "cpu_pct", "above": 95, "for": "15m"})
    lasting, spikes = week(), week(())
    spikes[0, 0, np.flatnonzero(lasting[0, 0] > 95)[::4]] = 98.5
    assert [of(context, conditions=(condition, *CONDITIONS[1:])).on[0, 0] for context in (lasting, spikes)] == [7, 0]
    assert of(spikes).on[0, 0] == 7, "without a duration each does"


def test_what_is_likely_is_expected_at_its_time_and_not_where_p90_touches_the_limit_before():
    found = of(week(backup=NOW + 60 * STEP), forecast(3), likely=61)
    assert (found.step[0, 0], found.ratio[0, 0]) == (61, 1.0)
    assert of(week(backup=NOW + 60 * STEP), forecast(3)).ratio[0, 0] == 0
    assert of(week(), forecast(3), likely=61, active=True).step[0, 0] == -1, "one that is on is expected now"
