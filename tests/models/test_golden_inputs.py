"""Every input of both encodings, number by number: a feature that changes spoils the models that ship.

Who changes a feature on purpose trains the models anew and writes the numbers anew: python -m
tests.models.test_golden_inputs
"""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from forecaster.models import features, series
from forecaster.models.features import UNKNOWN, Encoding, Scaling
from forecaster.models.series import SeriesEncoding
from forecaster.models.views import CONTEXT

GOLDEN = Path(__file__).parent / "golden"
NAN = np.nan


def at(text: str) -> float:
    """Unix seconds of an instant such as 2026-03-08T06:59:59+00:00."""
    return datetime.fromisoformat(text).timestamp()


def jagged(count: int, seed: int) -> np.ndarray:
    """float32 (count,): whole tenths from 0 to 100 without a pattern, the same on every machine."""
    i = np.arange(count, dtype=np.int64)
    return ((i * i * 7919 + i * 104729 + seed * 6151) % 1009 % 1001 / 10).astype(np.float32)


def check(name: str, made: dict[str, np.ndarray]) -> None:
    stored = json.loads((GOLDEN / f"{name}.json").read_text())
    assert made.keys() == stored.keys()
    for key, expected in stored.items():
        values = np.array(expected["values"]).reshape(expected["shape"])
        assert (made[key].shape, str(made[key].dtype)) == (values.shape, expected["dtype"]), key
        np.testing.assert_allclose(made[key], values, rtol=2e-5, atol=2e-6, err_msg=f"{name}: {key}")


# -- a fleet's model ---------------------------------------------------------------------------------------------------


def fleet_encoding(timezone: str = "America/New_York") -> Encoding:
    scalings = (
        Scaling("cpu_pct", False, 0.0, 40.0, 10.0, 0.0, 100.0),
        Scaling("latency_ms", True, 0.5, 2.0, 0.25, 0.0, None),
        Scaling("balance", False, 0.0, -1.0, 4.0, None, None),
    )
    # steps of seven hours: nine of them cross midnights, a weekend, the end of a month and the change to summer time
    return Encoding(scalings, ("database", "web_api"), ("db1", "db2", "web1"), (2, 3), 25200.0, 4, 5, timezone)


def fleet_inputs(length: int, own_clocks: bool, with_earlier: bool = True) -> dict[str, np.ndarray]:
    """Three servers: values beyond the bounds, motions unknown, names seen and unseen in training."""
    encoding = fleet_encoding()
    window = jagged(36, 1).reshape(3, 3, 4) - 20  # also below 0, which the bounds of cpu_pct and latency_ms cut off
    window[0, 0, 2], window[1, 1, 3] = 300, 7e4
    earlier = jagged(36, 2).reshape(3, 3, 4)
    earlier[1, 0, 3], earlier[2, :, :2] = NAN, NAN
    times = "2026-03-07T12:34:56+00:00", "2026-02-28T23:00:00+00:00", "2026-10-31T01:02:03+00:00"
    instants = np.array([at(time) for time in times])
    identity = encoding.identify(("db2", "web1", "new9"), ("database", "web_api", "cache"))
    return features.batch(
        encoding, window, length, instants if own_clocks else instants[:1], identity, earlier if with_earlier else None
    )


FLEET = {
    "fleet_whole": lambda: fleet_inputs(4, own_clocks=True),
    "fleet_short_shared_clock": lambda: fleet_inputs(3, own_clocks=False),
    "fleet_without_motion": lambda: fleet_inputs(4, own_clocks=False, with_earlier=False),
}


@pytest.mark.parametrize("name", FLEET)
def test_every_input_of_a_fleets_model_is_what_it_was_in_training(name):
    check(name, FLEET[name]())


def test_a_fleets_inputs_agree_with_a_calculation_by_hand():
    window = np.array([[[30, 40, 55, 130], [-3, 0.5, 7.5, 19.5], [-9, -1, 3, 7]]], np.float32)
    earlier = np.array([[[30, 38, NAN, 130], [0, 0.5, 7.5, 9.5], [-9, -1, 3, 6]]], np.float32)
    encoding = fleet_encoding("UTC")
    identity = encoding.identify(("db3",), ("web_api",))
    made = features.batch(encoding, window, 4, np.array([at("2026-01-01T00:00:00+00:00")]), identity, earlier)
    observed = [  # (cpu - 40) / 10, (ln(latency + 0.5) - 2) / 0.25, (balance + 1) / 4, then their changes / 0.2
        [-1.0, -10.772589, -2.0, 0.0, 0.0, 0.0],  # latency -3 is taken as its bound, 0: (ln 0.5 - 2) x 4
        [0.0, -8.0, 0.0, 1.0, 0.0, 0.0],  # ln 1 = 0; cpu rose from 38: 0.2 / 0.2
        [1.5, 0.317766, 1.0, 0.0, 0.0, 0.0],  # (ln 8 - 2) x 4; what cpu was before is unknown: 0
        [6.0, 3.982929, 2.0, 0.0, 13.862944, 1.25],  # cpu 130 is taken as 100; (ln 20 - ln 10) x 4 / 0.2; 0.25 / 0.2
    ]
    np.testing.assert_allclose(made["observed"][0], observed, rtol=1e-5, atol=1e-5)
    assert made["static"].tolist() == [[2, UNKNOWN]] and made["static_reals"].tolist() == [[1.0]]
    assert made["calendar"][0, :, 0].tolist() == [2, 2, 2, 3, 3, 3, 3, 4, 4], "seven hours a step; Thursday begins now"
    assert (made["calendar"][0, :, 1] == UNKNOWN).all(), "neither December nor January is among the months of training"
    np.testing.assert_allclose(made["known"][0, :, 3], np.array([-3, -2, -1, 0, 1, 2, 3, 4, 5]) / 5, rtol=1e-6)
    np.testing.assert_allclose(made["known"][0, 4, :2], [0.9659258, -0.2588190], rtol=1e-5)  # 07:00: 105 degrees


@pytest.mark.parametrize(
    ("timezone", "instant", "hour", "weekday", "month"),
    [
        ("UTC", "1970-01-01T00:00:00+00:00", 0.0, 3, 1),
        ("UTC", "2026-12-31T23:59:59+00:00", 23 + 3599 / 3600, 3, 12),
        ("Asia/Kolkata", "2026-01-02T18:45:00+00:00", 0.25, 5, 1),  # half an hour off: Saturday has just begun
        ("America/New_York", "2026-03-08T06:59:59+00:00", 1 + 3599 / 3600, 6, 3),  # the last second of winter time
        ("America/New_York", "2026-03-08T07:00:00+00:00", 3.0, 6, 3),
        ("Europe/Berlin", "2026-05-31T22:00:00+00:00", 0.0, 0, 6),  # Sunday in May there, Monday in June here
        ("Pacific/Auckland", "2026-08-14T12:30:00+00:00", 0.5, 5, 8),
        ("Pacific/Honolulu", "2026-11-01T09:59:00+00:00", 23 + 59 / 60, 5, 10),
    ],
)
def test_the_clock_is_that_of_the_time_zone_on_any_weekday_and_in_any_month(timezone, instant, hour, weekday, month):
    encoding = Encoding((), (), (), tuple(range(1, 13)), 300.0, 24, 96, timezone)
    clock, calendar = features.clock_inputs(encoding, np.array([[at(instant)]]), np.array([24]))
    angle = hour / 24 * 2 * np.pi
    np.testing.assert_allclose(clock[0, 0], [np.sin(angle), np.cos(angle), weekday >= 5, 0.25], atol=1e-6)
    assert calendar[0, 0].tolist() == [weekday, month]


def test_the_variables_of_both_encodings_keep_their_names_order_and_sizes():
    of_fleet, of_series = fleet_encoding().variables, series_encoding(8, "UTC").variables
    clock = ("clock_hour_sin", "clock_hour_cos", "clock_is_weekend", "clock_step")
    assert of_fleet.static_categories == {"profile": 3, "server": 4} and of_fleet.static_reals == ("encoder_share",)
    assert of_fleet.known_categories == {"clock_day_of_week": 7, "clock_month": 13} and of_fleet.known_reals == clock
    signals = ("cpu_pct", "latency_ms", "balance")
    assert of_fleet.observed == (*(f"signal_{s}" for s in signals), *(f"motion_{s}" for s in signals))
    assert of_series.static_categories == {"signal": 3} and of_series.known_categories == {}
    assert of_series.static_reals == tuple(f"static_{i}" for i in range(32))  # 3 x 3 + 3 + 11 + 9
    assert of_series.known_reals == (*clock, *(f"view_{i}" for i in range(8)))
    assert of_series.observed == ("series", "repeated")
    assert series_encoding(8, "UTC").outputs == (15 + 4) * 3  # 15 views and 4 steps, 3 quantiles


# -- a model of single series ------------------------------------------------------------------------------------------


def series_encoding(horizon: int, timezone: str) -> SeriesEncoding:
    return SeriesEncoding(
        ("cpu_pct", "net_in_mb_s"), (1e-3, 1e-6), (0.0, 0.0), (100.0, None), (0.1, 0.5, 0.9), 300.0, horizon, timezone,
        encoder_steps=6,
    )


def histories() -> np.ndarray:
    """float32 (5, CONTEXT): noise, a day's curve with gaps, hours of history, nearly idle with bursts, exactly idle."""
    steps, noise = np.arange(CONTEXT), jagged(CONTEXT, 3)
    day = (20 + np.abs(steps % 288 - 144) / 4 + steps % 12 + noise / 20).astype(np.float32)
    day[100:130], day[-3:] = NAN, NAN
    hours = np.where(steps >= CONTEXT - 30, noise * 1000, NAN).astype(np.float32)
    bursts = np.where(steps % 50 < 3, noise, np.float32(0.01) + steps % 7 * np.float32(0.001)).astype(np.float32)
    return np.stack([noise, day, hours, bursts, np.full(CONTEXT, 0.25, np.float32)])


def series_inputs(horizon: int, timezone: str, instants: tuple[str, ...]) -> dict[str, np.ndarray]:
    filled, known = series.fill(histories())
    encoding, signal = series_encoding(horizon, timezone), np.array([0, 1, 1, 0, 1])
    return series.batch(encoding, filled, known, signal, np.array([at(time) for time in instants]))


SERIES = {
    "series_near": lambda: series_inputs(
        8,
        "America/New_York",
        (
            "2026-03-08T06:40:00+00:00",  # summer time begins within the encoder and decoder
            "2026-01-01T04:50:00+00:00",
            "2026-07-04T12:34:56+00:00",
            "2026-11-27T23:59:59+00:00",
            "1999-12-31T00:00:00+00:00",
        ),
    ),
}


@pytest.mark.parametrize("name", SERIES)
def test_every_input_of_a_model_of_single_series_is_what_it_was_in_training(name):
    check(name, SERIES[name]())


def test_over_the_whole_horizon_the_views_and_inputs_are_what_they_were_in_training():
    """Their sums over all steps: 96 x 17 x 3 numbers a row are too many to read."""
    made = series_inputs(96, "Asia/Kolkata", ("2026-05-31T18:31:00+00:00",) * 5)
    check("series_whole_horizon", sums(made))


def sums(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of every row and last axis: the mean over the axes between, and the mean weighted by their place."""
    out = {}
    for key in ("known", "static_reals", "days", "analogs"):
        flat = made[key].astype(np.float64).reshape(len(made[key]), -1, made[key].shape[-1])
        weights = np.arange(1, flat.shape[1] + 1)[:, None] / flat.shape[1]
        out[key] = np.stack([flat.mean(1), (flat * weights).mean(1)], 1)
    return out


def test_an_exactly_idle_series_has_inputs_that_can_be_told_without_a_calculation():
    made = series_inputs(8, "UTC", ("2026-01-01T00:00:00+00:00",) * 5)
    assert (made["observed"][4] == [0, 1]).all(), "at its median, and every value repeated"
    assert (made["known"][4, :, 4:] == 0).all(), "every view says the median"
    np.testing.assert_allclose(made["scale"][4], [0.25, 0.002 * 0.25 + 1e-6], rtol=1e-6)
    assert made["static"][:, 0].tolist() == [1, 2, 2, 1, 2]
    for view in ("flat", "hours", "two_hours", "days", "moves", "analogs"):
        assert (made[view][4] == 0.25).all()


def stored(made: dict[str, np.ndarray]) -> dict[str, object]:
    return {
        key: {
            "dtype": str(values.dtype),
            "shape": list(values.shape),
            "values": [float(f"{v:.7g}") if values.dtype.kind == "f" else int(v) for v in values.ravel()],
        }
        for key, values in made.items()
    }


if __name__ == "__main__":
    made = {name: make() for name, make in (FLEET | SERIES).items()}
    made["series_whole_horizon"] = sums(series_inputs(96, "Asia/Kolkata", ("2026-05-31T18:31:00+00:00",) * 5))
    for name, inputs in made.items():
        text = json.dumps(stored(inputs))
        (GOLDEN / f"{name}.json").write_text(text.replace('}, "', '},\n"') + "\n")
