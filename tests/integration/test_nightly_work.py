"""Nightly work on real hosts behind node_exporter, from a week that a real Prometheus holds."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from forecaster.config import load_config
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.service.assembly import assemble
from tests.real_prometheus import stored
from tests.results import Clock

pytestmark = pytest.mark.slow

DAY, EVERY, MINUTES = 86400, 60, 15
NOW = 1_760_000_400 // 300 * 300
NAMES = ("cpu_saturated", "memory_exhausted")
BEGIN = NOW + 60 * MINUTES  # of tonight's backup, and of those before at this time of day


def host(name: str, nights: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    """Eight days of 20 % CPU and 40 % memory, and of 98.5 % in the 40 minutes of a backup so many nights ago."""
    labels, busy_seconds = f'instance="{name}",job="node"', 0.0
    for t in range(NOW - 8 * DAY, NOW + 1, EVERY):
        busy = 0.985 if any(0 < t - (BEGIN - night * DAY) <= 2400 for night in nights) else 0.2
        busy_seconds += EVERY * busy
        idle = t - (NOW - 8 * DAY) + EVERY - busy_seconds
        yield t, f'node_cpu_seconds_total{{cpu="0",mode="user",{labels}}} {busy_seconds:.2f} {t}'
        yield t, f'node_cpu_seconds_total{{cpu="0",mode="idle",{labels}}} {idle:.2f} {t}'
        yield t, f"node_memory_MemAvailable_bytes{{{labels}}} {16e9 * (0.015 if busy > 0.9 else 0.6):.0f} {t}"
        yield t, f"node_memory_MemTotal_bytes{{{labels}}} 16000000000 {t}"
        yield t, f"up{{{labels}}} 1 {t}"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Of the cycle that follows when the whole past is read."""
    nights = {"every:9100": range(1, 9), "most:9100": (1, 2, 4, 5, 6, 7, 8)}
    samples = sorted(sample for name, of in nights.items() for sample in host(name, tuple(of)))
    with stored(tmp_path_factory.mktemp("nightly"), (line for _, line in samples)) as url:
        config = load_config("node_exporter", {"source.url": url, "source.timeout": "20s"})
        parts = assemble(config, SelfMetrics(CollectorRegistry(), "test"), Clock(NOW))
        for _ in range(9):  # one reads the present and each of seven a day, before the last
            assert parts.cycle.run_once(), parts.cycle.errors
    return parts.board.last


def shares(result, server: str) -> list[float]:
    """Of CPU and memory."""
    found = result.risk.incidents
    return found.recurring.ratio[result.index(server), [found.names.index(name) for name in NAMES]].tolist()


def test_a_backup_of_every_night_was_on_every_night_and_is_no_page(result):
    s, found = result.index("every:9100"), result.risk.incidents
    assert result.method[s] == "tft" and result.risk.by == "chance" and result.risk.priority[s] != "P1"
    assert shares(result, "every:9100") == [1.0, 1.0]
    said = {found.recurring.text(s, found.names.index(name)) for name in NAMES}
    assert said == {"above 95% at this time of day on 7 of the last 7 days"}


def test_a_backup_that_one_night_lacked_was_on_on_six_of_seven_days(result):
    assert shares(result, "most:9100") == pytest.approx([6 / 7, 6 / 7])
