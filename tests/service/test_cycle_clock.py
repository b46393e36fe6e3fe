"""The cycle where the source's clock is not that of its machine."""

from email.utils import formatdate

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from forecaster.board import Board
from forecaster.config import load_config
from forecaster.memory.window import Window
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import NoData, Reading, SourceUnreachable
from forecaster.service.cycle import Cycle
from forecaster.sources.clock import SourceClock
from tests.results import Clock
from tests.service.test_cycle import START, Fleet


class Apart(Fleet):
    """A source `ahead` of the machine's clock, with nothing from its future; its answers carry its time."""

    def __init__(self, ahead: float):
        super().__init__()
        self.ahead, self.asked = ahead, []
        self.own = Clock(START - ahead + 0.3)  # the machine's clock
        self.clock = SourceClock(self.own)

    @property
    def time(self) -> float:
        return self.own.now + self.ahead

    def latest(self, instant: float) -> Reading:
        if self.error is None:
            self.clock.heard(formatdate(int(self.time), usegmt=True), self.own.now, 0.0)
        self.asked.append(instant)
        if instant > self.time + 300:
            raise NoData("no series")
        return super().latest(min(instant, self.time))


class Bench:
    """A cycle over such a source, whose machine's clock is put forward by hand."""

    def __init__(self, ahead: float):
        self.source, self.registry = Apart(ahead), CollectorRegistry()
        self.clock, config = self.source.clock, load_config("fleet", {"model": "none"})
        self.board, self.refresh = Board(config.forecast_ttl), config.refresh
        collector = ForecastCollector(self.board, config.horizons, config.windows, {}, self.clock)
        window = Window(tuple(config.signals), config.refresh, config.step, config.encoder_steps)
        metrics = SelfMetrics(self.registry, "test")
        self.cycle = Cycle(config, self.source, window, None, self.board, collector, metrics, self.clock)

    def run(self, refreshes: int = 0) -> list[float]:
        """Instants of the results: now, or after each of so many refreshes by the machine's clock."""
        issued = []
        for _ in range(max(refreshes, 1)):
            self.source.own.now += self.refresh if refreshes else 0
            assert self.cycle.run_once(), self.cycle.errors
            assert self.board.current(self.clock()) is self.board.last
            issued.append(self.board.last.issued)
        return issued

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)


@pytest.mark.parametrize("ahead", [180.0, -180.0, 600.0, -600.0])
def test_from_the_first_cycle_on_forecasts_are_those_of_the_sources_time(ahead):
    bench = Bench(ahead)
    assert bench.metric("forecaster_clock_offset_seconds") is None
    assert bench.run() == [START]
    assert bench.cycle.memory.window.newest == START and max(end for _, end in bench.source.ranges) < START
    assert bench.run(4) == [START + n * 15 for n in (1, 2, 3, 4)]
    assert bench.metric("forecaster_last_success_timestamp_seconds") == pytest.approx(bench.source.time, abs=1)
    assert bench.metric("forecaster_clock_offset_seconds") == pytest.approx(ahead, abs=0.6)
    told = "ahead of" if ahead > 0 else "behind"
    assert bench.cycle.errors["clock"] == (
        None if abs(ahead) < 300 else f"Prometheus' clock is 600 s {told} this machine's: set both by NTP")


def test_the_machines_clock_may_jump_and_no_instant_is_lost_or_read_twice():
    bench = Bench(0.0)
    issued = bench.run() + bench.run(3)
    bench.source.own.now += 180  # as when a wrong clock is set right
    bench.source.ahead -= 180
    issued += bench.run(3)
    bench.source.own.now -= 300
    bench.source.ahead += 300
    issued += bench.run(3)
    assert issued == [START + n * 15 for n in range(10)]
    samples = bench.cycle.memory.window.readings(START, issued[-1]).values
    assert np.isfinite(samples).all(), "no column was dropped"


def test_the_sources_clock_may_be_set_back_and_forecasts_go_on():
    bench = Bench(180.0)
    bench.run()
    before = bench.run(20)
    bench.source.ahead = 0.0
    after = bench.run(4)
    assert after == [before[-1] + 15 - 180 + n * 15 for n in range(4)]
    result, window = bench.board.last, bench.cycle.memory.window
    assert window.newest == after[-1] and not result.stale.any() and np.isfinite(result.forecast).all()
    assert (result.last_seen == after[-1]).all()
    bench.run(16)
    assert not window.gaps(bench.clock()), "within four minutes all that the jump laid open is read"


def test_a_correction_within_a_refresh_may_repeat_an_instant_and_loses_nothing():
    bench = Bench(0.0)
    issued = bench.run() + bench.run(2)
    bench.source.ahead = -3.0
    issued += bench.run(3)
    assert issued == [START + n * 15 for n in (0, 1, 2, 2, 3, 4)]
    assert np.isfinite(bench.cycle.memory.window.readings(START, issued[-1]).values).all()


def test_while_the_source_does_not_answer_its_time_goes_on():
    bench = Bench(180.0)
    bench.run()
    bench.source.error = SourceUnreachable("gone")
    bench.source.own.now += 60
    assert not bench.cycle.run_once() and bench.source.asked[-1] == START + 60
    assert bench.board.last.age(bench.clock()) == pytest.approx(60, abs=1)
    assert bench.metric("forecaster_clock_offset_seconds") == pytest.approx(180, abs=0.6)
