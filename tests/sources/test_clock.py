"""The source's clock: measured by the Date of its answers, and followed."""

from email.utils import formatdate
from types import SimpleNamespace

import pytest

from forecaster.readings import NoData
from forecaster.sources.clock import SourceClock, source_clock
from forecaster.sources.prometheus import PrometheusSource
from tests.prometheus_answers import GOOD, T0
from tests.results import Clock

SIGNAL = [SimpleNamespace(name="load", query="load")]


class Apart:
    """A source whose clock is `ahead` seconds before the own one, which stands."""

    def __init__(self, ahead: float):
        self.own, self.ahead = Clock(T0 + 0.4), ahead
        self.clock = SourceClock(self.own)

    def answers(self, *waits: float) -> bool:
        """Answers that took this long, with the Date of their last moment; whether the correction changed."""
        for wait in waits:
            self.clock.heard(formatdate(int(self.own.now + wait + self.ahead), usegmt=True), self.own.now, wait)
        return self.clock.settle()


@pytest.mark.parametrize("ahead", [-180.0, -2.7, 0.0, 1.3, 180.0, 600.0])
def test_the_difference_is_known_to_half_a_second(ahead):
    apart = Apart(ahead)
    assert apart.clock.measured is None
    apart.answers(0.01, 0.02, 0.01)
    assert apart.clock.measured == pytest.approx(ahead, abs=0.52)


def test_slow_answers_do_not_shift_it_and_slow_answers_alone_tell_what_they_can():
    apart = Apart(0.0)
    assert not apart.answers(0.01, 4.0, 0.02, 4.5, 0.01) and apart.clock.measured == pytest.approx(0, abs=0.52)
    assert not apart.answers(4.0, 4.5) and apart.clock() == apart.own.now, "4 s of waiting may be 2 s of difference"
    apart.ahead = 180.0
    assert apart.answers(4.0, 4.5) and apart.clock() - apart.own.now == pytest.approx(180, abs=3)


def test_one_answer_with_another_date_does_not_count():
    apart = Apart(0.0)
    apart.clock.heard(formatdate(0), apart.own.now, 0.001)
    assert not apart.answers(*[0.01] * 5) and apart.clock.measured == pytest.approx(0, abs=0.52)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Nov 2026 00:00:00 GMT"])
def test_an_answer_without_a_date_leaves_what_is_known(date):
    apart = Apart(180.0)
    apart.clock.heard(date, apart.own.now, 0.01)
    assert not apart.clock.settle() and apart.clock.measured is None and apart.clock() == apart.own.now
    apart.answers(0.01)
    apart.clock.heard(date, apart.own.now, 0.01)
    assert not apart.clock.settle() and apart.clock.words == "Prometheus' clock is 180 s ahead of this machine's"


def test_the_correction_stands_while_the_difference_is_within_two_seconds_of_it():
    apart = Apart(1.2)
    assert not apart.answers(0.01) and apart.clock.offset == 0 and apart.clock.words is None
    apart.ahead = -180.0
    assert apart.answers(0.01)
    before = apart.clock()
    for apart.ahead in (-181.2, -178.9, -180.0):
        assert not apart.answers(0.01) and apart.clock() == before
    assert apart.clock.words == "Prometheus' clock is 180 s behind this machine's"
    apart.ahead = 0.3
    assert apart.answers(0.01) and apart.clock() == apart.own.now, "the own clock was set right"


def test_a_clock_that_is_given_as_the_truth_follows_nobody():
    own = Clock(T0)
    clock = source_clock(own)
    clock.heard(formatdate(T0 + 600), T0, 0.01)
    assert not clock.settle() and clock.measured is None and clock() == T0
    assert source_clock(clock) is clock


def test_a_source_that_has_no_series_says_that_the_clocks_differ(server):
    empty = GOOD.replace(GOOD[GOOD.index('[{'):-2], "[]")
    server.respond = lambda request: request.answer(200, empty)  # its Date is that of the machine
    clock = SourceClock(lambda: T0)
    source = PrometheusSource(server.url, SIGNAL, 300.0, clock=clock)
    with pytest.raises(NoData) as first:
        source.latest(T0)
    assert "clock" not in str(first.value) and source.describe()["clock_offset_seconds"] is None
    assert clock.settle()
    with pytest.raises(NoData, match=r"has no series at .*; Prometheus' clock is \d+ s ahead of this machine's"):
        source.latest(T0)
    told = source.describe()
    assert told["clock_offset_seconds"] == round(clock.measured, 1) and told["clock"] == clock.words
    source.close()
