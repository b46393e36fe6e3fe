"""The clock of a time zone: what repeats daily is expected at its local time, also where the clocks change."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forecaster.models import features, series, views
from forecaster.models.artifact import MODELS, encoding_of, read
from forecaster.models.features import Encoding
from forecaster.models.model import Model
from forecaster.models.views import CONTEXT
from forecaster.models.zone import changes, offsets

STEP, H = 300.0, 96
STEPS = np.arange(1 - CONTEXT, H + 1)
LEVELS = np.array([0.1, 0.5, 0.9], np.float32)
NEW_YORK, LORD_HOWE = "America/New_York", "Australia/Lord_Howe"  # changes of an hour, and of half an hour


def at(time: str) -> float:
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()


def minute(zone: str, instants: np.ndarray) -> np.ndarray:
    """float32: the minute of the local day at instants, by the standard library."""
    local = [datetime.fromtimestamp(t, ZoneInfo(zone)) for t in instants.ravel()]
    return np.array([t.hour * 60 + t.minute for t in local], np.float32).reshape(instants.shape)


@pytest.mark.parametrize(("zone", "instant", "hours"), [
    ("UTC", "2026-07-01T12:00", 0), ("Asia/Kolkata", "2026-07-01T12:00", 5.5),
    (NEW_YORK, "2026-11-01T05:59:59", -4), (NEW_YORK, "2026-11-01T06:00", -5),
    (NEW_YORK, "2026-03-08T06:59:59", -5), (NEW_YORK, "2026-03-08T07:00", -4),
    (LORD_HOWE, "2026-04-04T14:59:59", 11), (LORD_HOWE, "2026-04-04T15:00", 10.5),
    (LORD_HOWE, "2026-10-03T15:29:59", 10.5), (LORD_HOWE, "2026-10-03T15:30", 11),
])
def test_the_offset_changes_with_the_clock(zone, instant, hours):
    assert offsets(zone, np.array([[at(instant)]])).tolist() == [[hours * 3600]]


def test_only_a_change_within_the_steps_is_one():
    calm, near = at("2026-07-01T00:00"), at("2026-11-01T05:45")
    assert changes(NEW_YORK, np.array([calm]), STEPS, STEP) is None
    assert changes("UTC", np.array([near]), STEPS, STEP) is None
    shared = changes(NEW_YORK, np.array([near, near]), STEPS, STEP)
    assert shared.shape == (1, CONTEXT + H) and shared[0, [0, CONTEXT - 1, CONTEXT + 1, CONTEXT + 2]].tolist() == [
        -48, -48, -48, -60]
    assert changes(NEW_YORK, np.array([near, calm]), STEPS, STEP)[:, -1].tolist() == [-60, -48]


@pytest.mark.parametrize(("zone", "change"), [
    (NEW_YORK, "2026-11-01T06:00"), (NEW_YORK, "2026-03-08T07:00"),
    (LORD_HOWE, "2026-04-04T15:00"), (LORD_HOWE, "2026-10-03T15:30"),
])
@pytest.mark.parametrize("hours", [-7, -0.25, 0.25, 2, 30, 160])
def test_the_same_time_on_the_days_before_is_the_local_time(zone, change, hours):
    now = at(change) + hours * 3600
    filled = minute(zone, now + STEPS[None, :CONTEXT] * STEP)
    clock = changes(zone, np.array([now]), STEPS, STEP)
    days = views.views(filled, LEVELS, H, clock)["days"][0, 0]
    ahead = now + STEPS[CONTEXT:] * STEP
    expected = minute(zone, ahead)
    missing = np.zeros(H, bool)  # some day had no such time: its clock went past it
    for day in range(1, 8):
        then = ahead - day * 86400 + offsets(zone, ahead) - offsets(zone, ahead - day * 86400)
        missing |= minute(zone, then) != expected
    assert missing.sum() <= 12
    np.testing.assert_array_equal(days[~missing], np.repeat(expected[~missing, None], 3, 1))
    if clock is not None:
        plain = views.views(filled, LEVELS, H)["days"][0, 0]
        assert (plain[~missing] != days[~missing]).any(), "without the clock it is another time"


def test_rows_whose_clock_does_not_change_are_the_same_beside_one_whose_clock_does():
    facts, _, _ = read(MODELS / "servers")
    encoding = replace(encoding_of(MODELS / "servers", facts), timezone=NEW_YORK)
    filled = np.random.default_rng(1).random((3, CONTEXT)).astype(np.float32)
    known, signal = np.full(3, CONTEXT), np.array([0, 1, 2])
    calm, near = at("2026-07-01T00:00"), at("2026-11-01T05:45")
    alone = series.batch(encoding, filled[1:], known[1:], signal[1:], np.array([calm, calm + 60]))
    mixed = series.batch(encoding, filled, known, signal, np.array([near, calm, calm + 60]))
    for name, values in alone.items():
        np.testing.assert_array_equal(mixed[name][1:], values, err_msg=name)


def test_the_fleets_clock_inputs_are_local_on_both_sides_of_a_change_within_one_batch():
    encoding = Encoding((), (), (), tuple(range(1, 13)), STEP, 24, H, LORD_HOWE)
    instants = np.array([at("2026-10-03T15:10"), at("2026-04-04T14:40"), at("2026-07-01T12:00")])[:, None]
    steps = np.arange(-23, H + 1)
    clock, calendar = features.clock_inputs(encoding, instants + steps * STEP, steps)
    angle = minute(LORD_HOWE, instants + steps * STEP) / 1440 * 2 * np.pi
    np.testing.assert_allclose(clock[..., 0], np.sin(angle), atol=1e-6)
    np.testing.assert_allclose(clock[..., 1], np.cos(angle), atol=1e-6)
    local = [datetime.fromtimestamp(t, ZoneInfo(LORD_HOWE)) for t in (instants + steps * STEP).ravel()]
    assert calendar[..., 0].ravel().tolist() == [t.weekday() for t in local]
    assert calendar[..., 1].ravel().tolist() == [t.month for t in local]


def nightly(zone: str, hour: int, now: float) -> np.ndarray:
    """float32 (1, C, CONTEXT): CPU 98.5 % for 40 minutes from a local hour on, 20 % else; the other signals missing."""
    local = minute(zone, now + STEPS[:CONTEXT] * STEP)
    out = np.full((1, 5, CONTEXT), np.nan, np.float32)
    out[0, 0] = np.where((local > hour * 60) & (local <= hour * 60 + 40), 98.5, 20)
    return out


@pytest.fixture(scope="module")
def in_zone():
    """The shipped model `servers` by time zone."""
    return cache(lambda zone: Model.load(MODELS / "servers", "cpu", zone))


@pytest.mark.slow
@pytest.mark.parametrize(("zone", "hour", "now", "begins"), [
    (NEW_YORK, 2, "2026-10-31T05:45", "2026-10-31T06:00"),  # the night before the clocks go back
    (NEW_YORK, 2, "2026-11-01T05:45", "2026-11-01T07:00"),
    (NEW_YORK, 2, "2026-11-01T06:15", "2026-11-01T07:00"),
    (NEW_YORK, 2, "2026-11-02T06:45", "2026-11-02T07:00"),
    (NEW_YORK, 4, "2026-03-08T05:45", "2026-03-08T08:00"),  # the night in which they go forward
    (NEW_YORK, 4, "2026-03-09T06:45", "2026-03-09T08:00"),
    (LORD_HOWE, 4, "2026-04-04T14:45", "2026-04-04T17:30"),
    (LORD_HOWE, 4, "2026-10-03T15:15", "2026-10-03T17:00"),
])
def test_nightly_work_is_expected_at_its_local_hour(in_zone, zone, hour, now, begins):
    instant = at(now)
    values, _ = in_zone(zone).forecast(nightly(zone, hour, instant), instant, ("backup",), ("generic",))
    times = instant + STEPS[CONTEXT:] * STEP
    for percentile in (1, 2):
        busy = times[values[0, 0, :, percentile] > 60]
        assert busy.min() == at(begins) + 300 and busy.max() <= at(begins) + 45 * 60
