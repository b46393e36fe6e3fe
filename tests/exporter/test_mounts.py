"""Mounts that fill: what each pattern does and never does, one course whatever the order of calls, and the oracle."""

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.mounts import GIB, PATTERNS, Mounts

START = 1_760_000_400.0  # a whole hour in October 2025
FILLING = ("steady", "changing", "weekday", "rising_sawtooth", "jump", "cleaned")
HOURS = 12 * 168
Season = tuple[Mounts, NDArray[np.float64], NDArray[np.float64]]


def fleet(patterns: tuple[str, ...] | None, servers: int, seed: int = 3) -> Mounts:
    return Mounts([f"s{i}" for i in range(servers)], ["web_api"] * servers, seed, patterns)


@pytest.fixture(scope="module")
def season() -> Season:
    """Twelve weeks of 450 mounts of all patterns: used share and size, (N, 2016)."""
    mounts = fleet(PATTERNS, 150)
    used, size = mounts.course(START, HOURS)
    return mounts, used / size, size


def rows(mounts: Mounts, *patterns: str) -> NDArray[np.bool_]:
    return np.isin(mounts.patterns, patterns)


def test_a_server_has_the_mounts_of_its_profile() -> None:
    mounts = Mounts(["a", "b"], ["web", "database"], 1, sizes={"web": {"/": 20}})
    assert mounts.entities == (
        ("a", "web", "/"), ("b", "database", "/"), ("b", "database", "/data"), ("b", "database", "/var/log"),
    )  # fmt: skip


def test_a_fleet_without_mounts_has_an_empty_course() -> None:
    used, size = Mounts(["a"], ["web"], 1, sizes={"web": {}}).course(START, 5)
    assert used.shape == size.shape == (0, 5)


def test_an_unknown_pattern_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown \['flat'\]; expected some of steady, changing"):
        fleet(("flat",), 1)


def test_used_space_lies_between_nothing_and_the_size(season: Season) -> None:
    mounts, share, size = season
    assert share.shape == (len(mounts.entities), HOURS) and np.isfinite(share).all()
    assert share.min() >= 0 and share.max() <= 1
    assert size[:, 0].min() >= 8 * GIB and (size % GIB == 0).all()


@pytest.mark.parametrize("pattern", FILLING)
def test_some_mounts_of_a_growing_pattern_fill_within_twelve_weeks(season: Season, pattern: str) -> None:
    mounts, share, _ = season
    full = (share[rows(mounts, pattern)] >= 1).any(1)
    assert full.any() and not full.all()


def test_a_mount_that_fills_is_exactly_full_for_2_to_24_hours(season: Season) -> None:
    mounts, share, _ = season
    full = np.pad(share[rows(mounts, *FILLING)] >= 1, ((0, 0), (1, 1))).astype(np.int8)
    _, begins = np.nonzero(np.diff(full) == 1)
    _, ends = np.nonzero(np.diff(full) == -1)
    whole = (begins > 0) & (ends < HOURS)  # not cut off by the begin or the end of the course
    lasted = (ends - begins)[whole]
    assert lasted.max() == 24 and np.median(lasted) in range(9, 18)
    assert (lasted >= 2).mean() > 0.99  # unless the device is replaced meanwhile


def test_saw_teeth_bursts_and_resized_mounts_never_fill(season: Season) -> None:
    mounts, share, _ = season
    assert share[rows(mounts, "sawtooth", "burst", "resized")].max() < 0.99


def test_a_mount_that_is_meant_to_be_full_is_so_for_ever(season: Season) -> None:
    mounts, share, _ = season
    full = share[rows(mounts, "full")]
    assert full.min() > 0.98 and (full == 1).all(1).any()


def test_a_saw_tooth_drops_often_and_its_floor_stays(season: Season) -> None:
    mounts, share, _ = season
    floors = share[rows(mounts, "sawtooth")].reshape(-1, 3, HOURS // 3).min(2)
    still = np.ptp(floors, axis=1) < 0.1
    assert still.mean() > 0.6  # the others have had their device replaced


def test_the_floor_of_a_rising_saw_tooth_rises(season: Season) -> None:
    mounts, share, _ = season
    weekly = share[rows(mounts, "rising_sawtooth")].reshape(-1, HOURS // 168, 168).min(2)
    assert np.median(np.diff(weekly, axis=1)) > 0.002


def test_weekends_are_quiet_where_growth_is_that_of_weekdays(season: Season) -> None:
    mounts, share, _ = season
    growth = np.median(np.diff(share[rows(mounts, "weekday")], axis=1), axis=0)
    hour = (START / 3600 + np.arange(HOURS - 1) - 96) % 168
    assert growth[hour >= 120].mean() < 0.3 * growth[hour < 120].mean()


def test_bursts_rise_fast_and_their_files_are_deleted(season: Season) -> None:
    mounts, share, _ = season
    steps = np.diff(share[rows(mounts, "burst")], axis=1)
    assert (steps > 0.02).any(1).mean() > 0.8 and (steps < -0.05).any(1).mean() > 0.8


def test_jumps_stay(season: Season) -> None:
    mounts, share, _ = season
    jumping = share[rows(mounts, "jump")]
    where, when = np.nonzero(np.diff(jumping[:, :-8], axis=1) > 0.1)
    assert where.size > 20
    assert np.mean(jumping[where, when + 6] > jumping[where, when] + 0.05) > 0.9


def test_only_an_operator_changes_a_size_and_the_used_space_stays(season: Season) -> None:
    mounts, share, size = season
    resized = rows(mounts, "resized")
    where, when = np.nonzero(np.diff(size[resized], axis=1) > 0)
    assert where.size > 20
    factor = size[resized][where, when + 1] / size[resized][where, when]
    assert factor.min() > 1.2 and factor.max() <= 3.1
    used = (share * size)[resized]
    assert np.median(np.abs(used[where, when + 1] / used[where, when] - 1)) < 0.02
    assert (np.diff(size[rows(mounts, "sawtooth", "burst", "full")], axis=1) == 0).all()


def test_clean_ups_by_hand_come_at_many_levels(season: Season) -> None:
    mounts, share, _ = season
    cleaned = share[rows(mounts, "cleaned")]
    where, when = np.nonzero(np.diff(cleaned, axis=1) < -0.1)
    assert where.size > 20 and np.ptp(cleaned[where, when]) > 0.2


def test_the_speed_of_a_changing_mount_changes(season: Season) -> None:
    mounts, share, _ = season

    def spread(pattern: str) -> float:
        """Median over mounts of how much the median growth of a week differs from week to week, logarithmic."""
        weekly = np.median(np.diff(share[rows(mounts, pattern)][:, ::24], axis=1)[:, :77].reshape(-1, 11, 7), axis=2)
        return float(np.median(np.std(np.log(np.maximum(weekly, 1e-6)), axis=1)))

    assert spread("changing") > 1.3 * spread("steady")


def test_the_course_does_not_depend_on_the_order_of_calls() -> None:
    used, size = fleet(None, 6).course(START, 48, minutes=5)
    other = fleet(None, 6)
    other.futures(START + 30 * 3600, 5, 4, 1)
    for column in (300, 0, 77, 575):
        now = other.at(START + 300 * column)
        assert np.array_equal(now[0], used[:, column]) and np.array_equal(now[1], size[:, column])


def test_a_course_that_starts_long_before_is_the_same() -> None:
    late, early = fleet(PATTERNS, 6), fleet(PATTERNS, 6)
    early.at(START - 300 * 86400)
    hours = 60 * 24
    whole, part = early.course(START - hours * 3600, hours + 24)[0], late.course(START, 24)[0]
    assert np.array_equal(whole[:, hours:], part)


def test_a_device_is_replaced_once_in_half_a_year() -> None:
    mounts = fleet(("steady",), 40)
    used, size = mounts.course(START, 26 * 168)
    replaced = (np.diff(used / size, axis=1) < -0.02).any(1)
    assert 0.4 < replaced.mean() < 1.0


def test_the_first_days_of_the_era_have_a_course() -> None:
    assert np.isfinite(fleet(PATTERNS, 4).course(3 * 86400, 24)[0]).all()


def test_futures_are_repeatable_and_depend_on_the_stream() -> None:
    mounts = fleet(PATTERNS, 3)
    first = mounts.futures(START, 24, 5, 1)
    assert first.shape == (5, 9, 24) and first.dtype == np.float32
    assert np.array_equal(first, mounts.futures(START, 24, 5, 1))
    assert not np.array_equal(first, mounts.futures(START, 24, 5, 2))


def test_futures_within_an_hour_go_on_from_the_present() -> None:
    mounts = fleet(("steady", "weekday"), 4)
    now = np.divide(*mounts.at(START + 3500))
    following = mounts.futures(START + 3500, 1, 30, 1)[:, :, 0]
    assert np.abs(np.median(following, axis=0) - now).max() < 0.03


def test_futures_know_no_better_than_chance_when_a_device_will_be_replaced() -> None:
    mounts = fleet(("steady", "weekday"), 300)
    futures, (used, size) = mounts.futures(START, 336, 30, 1), mounts.course(START, 336)
    far = (futures[:, :, -1].max(0) < 0.8) & (used[:, 0] / size[:, 0] > 0.1)  # not full in two weeks, but for this
    emptied = (np.diff(futures, axis=2) < -0.03).any(2).mean(0)[far]
    soon = (np.diff(used / size, axis=1) < -0.03).any(1)[far]
    assert 5 < soon.sum() < 0.15 * far.sum()
    assert emptied.mean() == pytest.approx(soon.mean(), abs=0.03)
    assert emptied[soon].mean() < 0.15  # a schedule that they knew would make it nearly 1


def test_four_true_courses_in_five_lie_within_p10_and_p90_of_the_futures() -> None:
    mounts = fleet(PATTERNS, 60, seed=5)
    inside = []
    for day in (0, 20, 40):
        begin = START + day * 86400
        low, high = np.quantile(mounts.futures(begin, 72, 60, 1), [0.1, 0.9], axis=0)
        truth = np.divide(*mounts.course(begin + 3600, 72))
        inside.append(((truth >= low - 1e-6) & (truth <= high + 1e-6))[:, [0, 23, 71]])
    coverage = np.concatenate(inside).mean(0)
    assert (np.abs(coverage - 0.8) < 0.06).all()
