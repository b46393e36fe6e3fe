"""A host that exposes CPU alone and has a backup every night, in a real Prometheus, as the clocks change."""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forecaster.config import load_config
from forecaster.service.app import Forecaster
from tests.real_prometheus import stored

pytestmark = pytest.mark.slow

ZONE, HOST = ZoneInfo("America/New_York"), "backup:9100"
END = datetime(2026, 11, 2, 7, tzinfo=UTC).timestamp()  # the second night after the clocks went back


def openmetrics() -> list[str]:
    """Nine days of one processor: 98.5 % busy from 02:00 local time on for 40 minutes, 20 % else; every two minutes."""
    series = {mode: f'node_cpu_seconds_total{{cpu="0",mode="{mode}",instance="{HOST}",job="node"}}'
              for mode in ("idle", "user")}
    spent, lines = {"idle": 1e5, "user": 1e5}, {mode: [] for mode in series}
    instants = np.arange(END - 9 * 86400, END, 120)
    for t in instants:
        local = datetime.fromtimestamp(t, ZONE)
        busy = 0.985 if local.hour == 2 and local.minute < 40 else 0.2
        for mode, share in (("idle", 1 - busy), ("user", busy)):
            lines[mode].append(f"{series[mode]} {spent[mode]:.2f} {t:.0f}")
            spent[mode] += 120 * share
    up = [f'up{{instance="{HOST}",job="node"}} 1 {t:.0f}' for t in instants]
    return ["# TYPE node_cpu_seconds counter", *lines["idle"], *lines["user"], "# TYPE up gauge", *up]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[str]:
    with stored(tmp_path_factory.mktemp("prometheus"), openmetrics()) as url:
        yield url


@pytest.mark.parametrize("now", [datetime(2026, 11, 1, 5, 45, tzinfo=UTC), datetime(2026, 11, 2, 6, 45, tzinfo=UTC)])
def test_the_backup_is_expected_at_its_local_hour_by_what_the_host_exposes(prometheus, now):
    clock = [now.timestamp() - 15 * 12]
    settings = {"source.url": prometheus, "timezone": ZONE.key, "storage": None}
    forecaster = Forecaster(lambda: load_config("node_exporter", settings), lambda: clock[0])
    try:
        cycle = forecaster.parts.cycle
        while clock[0] <= now.timestamp():
            assert cycle.run_once(), cycle.errors
            clock[0] += 15  # one piece of the past per refresh: a day
        assert cycle.memory.past.piece(now.timestamp()) is None
        answer = forecaster.app.test_client().get("/predictions/current").json
        assert answer["metadata"]["method"] == {HOST: "tft"}
        curves = answer["predictions"][HOST]
        for percentile in ("p50", "p90"):
            busy = np.flatnonzero(np.array(curves["cpu_pct"][percentile]) > 60)
            times = [datetime.fromtimestamp(now.timestamp() + 300 * (step + 1), ZONE) for step in busy]
            assert (times[0].hour, times[0].minute, times[0].fold) == (2, 5, 0) and times[-1].hour == 2
        assert curves["mem_pct"]["p50"] == [None] * 96 and curves["mem_pct"]["current"] is None
    finally:
        forecaster.close()
