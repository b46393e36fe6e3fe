"""The scrape source against real pages of prometheus_client, and against targets that misbehave."""

import subprocess
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from forecaster.limits import Limits
from forecaster.memory.scraped import ScrapeSource
from forecaster.memory.snapshot import SnapshotError
from forecaster.memory.window import Window
from forecaster.readings import NoData, SourceNonsense, SourceUnreachable
from tests.local_server import LocalServer, local_server
from tests.tools import tool

pytestmark = pytest.mark.slow

T0 = 1_700_000_100.0  # a multiple of 300
STEP = 60.0
SIGNALS = {"cpu_pct": SimpleNamespace(metric="server_cpu_ratio", scale=100.0),
           "requests": SimpleNamespace(metric="requests_total", scale=1.0)}


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = T0):
        self.now = now

    def __call__(self) -> float:
        return self.now


def page(**cpu: float) -> bytes:
    """A page with the cpu of each server, a counter for those that end in 1, and metrics nobody asked for."""
    registry = CollectorRegistry()
    gauge = Gauge("server_cpu_ratio", "Share of CPU.", ["server", "profile"], registry=registry)
    counter = Counter("requests", "Requests.", ["server"], registry=registry)
    Gauge("server_cpu_ratio_limit", "Another.", ["server"], registry=registry).labels("nobody").set(1)
    Gauge("plain", "No labels.", registry=registry).set(3)
    for server, value in cpu.items():
        gauge.labels(server, server.rstrip("0123456789")).set(value)
        if server.endswith("1"):
            counter.labels(server).inc(7)
    return generate_latest(registry)


class Rig:
    """A source, its clock, and two targets whose pages a test decides."""

    def __init__(self, one: LocalServer, two: LocalServer):
        self.one, self.two, self.clock = one, two, Clock()
        self.made: list[ScrapeSource] = []
        self.pages(one=page(db1=0.5, web1=0.25))
        self.pages(two=page(app1=0.1))

    def pages(self, **bodies: bytes) -> None:
        """one=…, two=… change a target's page."""
        for name, body in bodies.items():
            getattr(self, name).respond = lambda request, body=body: request.answer(200, body)

    def source(self, *targets: str, **options) -> ScrapeSource:
        """A source of both targets unless told otherwise."""
        urls = targets or (self.one.url + "/metrics", self.two.url + "/metrics")
        self.made.append(ScrapeSource(urls, **{"signals": SIGNALS, "step": STEP, "clock": self.clock,
                                               "timeout": 3.0} | options))
        return self.made[-1]

    def rounds(self, source: ScrapeSource, count: int) -> None:
        """Scrapes `count` times, five seconds apart; the clock stands on the last one."""
        for n in range(count):
            self.clock.now += 5.0 if n else 0.0
            source.scrape()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with local_server(lambda request: None) as one, local_server(lambda request: None) as two:
        running = Rig(one, two)
        yield running
        for source in running.made:
            source.close()


def test_latest_is_every_targets_servers_in_signal_units(rig):
    source = rig.source()
    source.scrape()
    reading = source.latest(T0)
    assert reading.servers == ("app1", "db1", "web1") and reading.profiles == ("app", "db", "web")
    assert reading.values.dtype == np.float32 and reading.values.shape == (3, 2)
    np.testing.assert_allclose(reading.values, [[10, 7], [50, 7], [25, 7]], rtol=1e-6)


def test_latest_is_the_mean_over_the_trailing_step(rig):
    source = rig.source(rig.one.url)
    for n in range(20):
        rig.pages(one=page(db1=n / 100, **({"web2": 0.3} if n < 12 else {"web2": float("nan")})))
        rig.clock.now = T0 + 5 * n
        source.scrape()
    reading = source.latest(T0 + 95)
    np.testing.assert_allclose(reading.values[:, 0], [np.mean(range(8, 20))], rtol=1e-6)  # 12 samples a minute
    assert reading.servers == ("db1",), "what a page lists without a number was not observed"
    reading = source.latest(T0 + 65)
    assert reading.servers == ("db1", "web2")
    np.testing.assert_allclose(reading.values[1, 0], 30, rtol=1e-6)
    assert np.isnan(reading.values[1, 1])


def test_a_server_that_left_the_page_is_not_returned(rig):
    source = rig.source()
    source.scrape()
    rig.pages(one=page(db1=0.5))
    rig.rounds(source, 2)
    assert source.latest(T0 + 5).servers == ("app1", "db1")
    assert source.range(T0, T0 + 5, 5).servers == ("app1", "db1", "web1"), "its past stays"


def test_a_range_is_the_instant_answers_in_one_array(rig):
    source = rig.source()
    for n in range(50):
        rig.pages(one=page(db1=n / 100, **({"web1": n / 200} if n > 20 else {})))
        rig.clock.now = T0 + 5 * n + 1.2
        if n not in (7, 8, 30):
            source.scrape()
    readings = source.range(T0 - 100, T0 + 246, 15)
    assert readings.instants.tolist() == [T0 - 90 + 15 * n for n in range(23)]
    assert readings.servers == ("app1", "db1", "web1") and readings.values.dtype == np.float32
    assert np.isnan(readings.values[:6]).all()
    for n in range(6, 23):
        latest = source.latest(readings.instants[n])
        rows = [readings.servers.index(server) for server in latest.servers]
        np.testing.assert_allclose(readings.values[n, rows], latest.values, rtol=1e-5)
        assert np.isnan(np.delete(readings.values[n], rows, axis=0)).all()


def test_a_range_of_nothing_has_no_servers(rig):
    source = rig.source()
    assert source.range(T0, T0 + 60, 15).values.shape == (5, 0, 2)
    source.scrape()
    assert source.range(T0 - 86400, T0 - 86340, 15).values.shape == (5, 0, 2)
    assert source.range(T0 + 86400, T0 + 86460, 15).values.shape == (5, 0, 2)


def test_nothing_read_yet_is_no_data(rig):
    source = rig.source()
    with pytest.raises(NoData, match="no target was asked yet"):
        source.latest(T0)
    source.scrape()
    with pytest.raises(NoData, match="nothing was read in the 2 scrape intervals up to .*not asked then"):
        source.latest(T0 + 600)


def test_a_target_that_fails_is_counted_and_told_while_the_others_serve(rig):
    source = rig.source()
    rig.two.respond = lambda request: request.answer(503, "starting")
    rig.rounds(source, 3)
    assert source.latest(T0 + 10).servers == ("db1", "web1")
    one, two = source.describe()["targets"]
    assert one == {"url": f"{rig.one.url}/metrics", "up": True, "servers": 2, "last_success": T0 + 10,
                   "failures": 0, "error": None, "warnings": []}
    assert (two["up"], two["failures"], two["last_success"]) == (False, 3, None)
    assert two["error"] == f"{rig.two.url}/metrics: HTTP 503, expected 200 and a page of metrics"


def test_only_when_all_targets_fail_for_longer_than_a_step_the_source_is_unreachable(rig):
    source = rig.source()
    source.scrape()
    for server in (rig.one, rig.two):
        server.respond = lambda request: request.answer(500, "broken")
    rig.rounds(source, 12)
    with pytest.raises(NoData, match="nothing was read in the 2 scrape intervals up to .*HTTP 500.*HTTP 500"):
        source.latest(T0 + 55)
    rig.rounds(source, 3)
    with pytest.raises(SourceUnreachable, match="no target answered for 60s: .*HTTP 500.*HTTP 500"):
        source.latest(T0 + 65)
    rig.pages(two=page(app1=0.1))
    source.scrape()
    assert np.isfinite(source.latest(T0 + 65).values[0]).all()


def test_servers_of_a_dead_target_are_answered_for_two_scrape_intervals_and_no_longer(rig):
    source = rig.source()
    rig.rounds(source, 6)
    rig.one.respond = lambda request: request.answer(500, "broken")
    died, everyone = rig.clock.now, ("app1", "db1", "web1")
    for after, servers in ((5, everyone), (10, everyone), (15, ("app1",)), (20, ("app1",))):
        rig.clock.now = died + after
        source.scrape()
        assert source.latest(died + after).servers == servers, f"{after}s after"
    rig.two.respond = rig.one.respond
    rig.clock.now += 15
    source.scrape()
    with pytest.raises(NoData, match="2 scrape intervals"):
        source.latest(rig.clock.now)


def test_what_a_window_says_was_seen_last_is_true_to_two_scrape_intervals(rig):
    source, window = rig.source(rig.one.url), Window(tuple(SIGNALS), 15.0, STEP, 3)
    rig.rounds(source, 6)
    rig.one.respond = lambda request: request.answer(500, "broken")
    died = rig.clock.now
    for after in range(0, 75, 5):
        rig.clock.now = died + after
        source.scrape()
        try:
            window.append(source.latest(died + after))
        except (NoData, SourceUnreachable):
            assert after > 10
    assert died - 15 < window.last_seen.max() <= died + 10


def test_a_scrape_interval_as_long_as_the_step_forgives_a_missed_round_too(rig):
    source = rig.source(rig.one.url, scrape_interval=5.0, step=5.0)
    source.scrape()
    rig.clock.now = T0 + 10
    assert source.latest(T0).servers == ("db1", "web1")
    with pytest.raises(NoData):
        source.latest(T0 + 15)


def test_targets_that_never_answered_are_unreachable_after_a_step(rig, free_port):
    source = rig.source(f"http://127.0.0.1:{free_port}/metrics")
    source.scrape()
    with pytest.raises(NoData, match="refused"):
        source.latest(T0)
    rig.clock.now = T0 + 61
    source.scrape()
    with pytest.raises(SourceUnreachable, match="refused"):
        source.latest(T0 + 61)


@pytest.mark.parametrize(("body", "words"), [
    (b"<html><body>Welcome</body></html>", "none of the metrics requests_total, server_cpu_ratio.*Welcome"),
    (b'server_cpu_ratio{server="a" 1\n', "not in Prometheus' text format"),
    (b'server_cpu_ratio{server="a"} fast\n', "not in Prometheus' text format"),
    (b'server_cpu_ratio{host="a"} 1\n',
     "without the label 'server' are left out.*: 1, for example server_cpu_ratio: .'host': 'a'"),
    (b"server_cpu_ratio\xff\n", "holds none of the metrics"),
    (b"", "holds none of the metrics"),
    (b"x" * 5000, "larger than 4096 bytes"),
])
def test_a_page_of_nonsense_is_told_and_leaves_no_trace(rig, body, words):
    source = rig.source(rig.one.url, limits=Limits(bytes=16 * 4096))
    rig.pages(one=body)
    source.scrape()
    with pytest.raises(NoData, match=words):
        source.latest(T0)
    assert source.describe()["servers"] == 0 and source.describe()["targets"][0]["failures"] == 1


def test_a_label_value_may_hold_any_character(rig):
    name = 'a\\"b}\u2028 {c'
    rig.pages(one=f'server_cpu_ratio{{server="{name}"}} 0.5\n'.encode())
    source = rig.source(rig.one.url)
    source.scrape()
    assert source.latest(T0).servers == ('a"b}\u2028 {c',)


def test_half_a_page_is_no_page(rig):
    whole = page(db1=0.5, web1=0.2)
    rig.one.respond = lambda request: request.answer(200, whole[:-40], Content_Length=str(len(whole)),
                                                     Connection="close")
    source = rig.source()
    source.scrape()
    assert source.latest(T0).servers == ("app1",)


def test_a_slow_target_does_not_hold_up_the_others(rig):
    released = threading.Event()
    rig.one.respond = lambda request: released.wait(20)
    source = rig.source(timeout=0.5)
    try:
        began = time.monotonic()
        source.scrape()
        assert time.monotonic() - began < 3
        assert source.latest(T0).servers == ("app1",)
        assert "no answer within 0.5s" in source.describe()["targets"][0]["error"]
    finally:
        released.set()


def test_targets_are_read_at_the_same_time(rig):
    asked = threading.Event()
    bodies = page(db1=0.5), page(app1=0.1)
    rig.one.respond = lambda request: (asked.wait(20), request.answer(200, bodies[0]))
    rig.two.respond = lambda request: (asked.set(), request.answer(200, bodies[1]))
    source = rig.source()
    source.scrape()
    assert source.latest(T0).servers == ("app1", "db1"), "the first answers only once the second was asked"


def test_the_thread_scrapes_until_closed(rig):
    rig.clock = time.time
    source = rig.source(scrape_interval=0.5, step=5.0, timeout=2.0)
    source.start()
    source.start()
    assert [thread.name for thread in threading.enumerate()].count("scrape") == 1
    until = time.monotonic() + 20
    while len(rig.one.seen) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    while source.describe()["servers"] < 3 and time.monotonic() < until:
        time.sleep(0.01)
    now = min(target["last_success"] for target in source.describe()["targets"])
    assert source.latest(now).servers == ("app1", "db1", "web1")
    source.close()
    count = len(rig.one.seen)
    assert count >= 4 and not [thread for thread in threading.enumerate() if thread.name == "scrape"]
    assert rig.one.seen[0].headers["Accept"] == "text/plain; version=0.0.4"


def test_servers_gone_for_the_retention_are_forgotten(rig):
    source = rig.source(retention=300.0)
    source.scrape()
    rig.pages(one=page(new1=0.5))
    rig.clock.now = T0 + 290
    source.scrape()
    assert source.describe()["servers"] == 4
    rig.clock.now = T0 + 305
    source.scrape()
    assert source.describe()["servers"] == 2


def test_a_clock_set_back_is_told(rig):
    source = rig.source()
    source.scrape()
    rig.clock.now = T0 - 3600
    source.scrape()
    assert "clock went back" in source.describe()["clock"]
    assert source.latest(T0 - 3600).servers == ("app1", "db1", "web1")


@pytest.mark.parametrize(("changes", "words"), [
    ({"signals": {"gc": SimpleNamespace(metric=None, scale=1)}}, "signal gc has no metric for source scrape"),
    ({"signals": {}}, "at least one signal"), ({"retention": 30.0}, "retention 30s is shorter than the step"),
    ({"targets": ()}, "at least one target"), ({"scrape_interval": 0}, "scrape_interval is 0s"),
])
def test_settings_that_cannot_work_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        ScrapeSource(**{"targets": ("http://x/metrics",), "signals": SIGNALS, "step": STEP} | changes)


# -- before the first scrape ----------------------------------------------------------------------------

def history(minutes: int, servers: int = 2, end: str = "# EOF\n") -> str:
    """Samples a minute apart up to T0: cpu n / 1000 for minute n."""
    lines = ["# HELP server_cpu_ratio Share of CPU.", "# TYPE server_cpu_ratio gauge"]
    for s in range(servers):
        series = f'server_cpu_ratio{{job="fleet",server="db{s}",profile="db"}}'
        lines += [f"{series} {n / 1000 + s} {T0 - 60 * (minutes - 1 - n):.0f}" for n in range(minutes)]
    lines.append("# TYPE other gauge")
    lines += [f'other{{server="db0"}} 1 {T0 - n:.0f}' for n in range(20)]
    return "\n".join(lines) + "\n" + end


def test_history_is_there_before_the_first_scrape_and_promtool_takes_the_same_file(rig, tmp_path):
    path = tmp_path / "history.om"
    path.write_text(history(120))
    subprocess.run([tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", "history.om", "data"],
                   cwd=tmp_path, check=True, capture_output=True)
    source = rig.source(rig.one.url)
    assert source.bootstrap(path) == 240
    reading = source.latest(T0)
    assert reading.servers == ("db0", "db1") and reading.profiles == ("db", "db")
    np.testing.assert_allclose(reading.values[:, 0], [11.9, 111.9], rtol=1e-5)
    readings = source.range(T0 - 7140, T0, 60)
    np.testing.assert_allclose(readings.values[:, 0, 0], np.arange(120) / 10, rtol=1e-4, atol=1e-4)
    assert source.describe()["bootstrap"] == f"240 samples of 2 servers from {path}"
    source.scrape()
    assert source.latest(T0).servers == ("db1", "web1"), "from now on the page says who is there"


def test_history_stands_in_for_the_first_scrape_only_until_that_was_tried(rig, tmp_path):
    path = tmp_path / "history.om"
    path.write_text(history(120))
    source = rig.source(rig.one.url)
    rig.one.respond = lambda request: request.answer(503, "starting")
    rig.clock.now = T0 + 40
    source.bootstrap(path)
    assert source.latest(T0 + 40).servers == ("db0", "db1")
    source.scrape()
    with pytest.raises(NoData, match="2 scrape intervals up to .*HTTP 503"):
        source.latest(T0 + 40)


def test_only_the_retention_is_taken_over_and_nothing_from_the_future(rig, tmp_path):
    path = tmp_path / "history.om"
    path.write_text(history(120))
    source = rig.source(rig.one.url, retention=600.0)
    assert source.bootstrap(path) == 2 * 12  # ten minutes and the step before, both ends included
    rig.clock.now = T0 - 300
    later = rig.source(rig.one.url, retention=600.0)
    later.bootstrap(path)
    assert later.range(T0 - 280, T0, 60).servers == ()


def test_a_bad_line_of_a_history_file_loses_only_itself_and_is_said(rig, tmp_path):
    path = tmp_path / "history.om"
    path.write_text(history(3).replace("# EOF", 'server_cpu_ratio{server="a"} 1 soon\nother 1\n# EOF'))
    source = rig.source()
    assert source.bootstrap(path) > 0
    assert "lines other than name{labels} value timestamp are left out: 2" in source.describe()["bootstrap"]


@pytest.mark.parametrize(("text", "words"), [
    (history(3, end=""), "does not end with '# EOF'"), ("", "does not end with '# EOF'"),
    ("server_cpu_ratio 1\n# EOF\n", "lines other than name{labels} value timestamp are left out: 1, .*line 1: "),
    ('server_cpu_ratio{server="a"} 1 soon\n# EOF\n', "line 1: .*soon"),
    ('server_cpu_ratio{server="a} 1 2\n# EOF\n', "line 1: .*text format"),
    ('\nserver_cpu_ratio{host="a} 1 2\n# EOF\n', "line 2: .*text format"),
])
def test_a_history_file_that_is_cut_off_or_without_a_usable_line_leaves_no_trace(rig, tmp_path, text, words):
    path = tmp_path / "history.om"
    path.write_text(text)
    source = rig.source()
    with pytest.raises(SourceNonsense, match=words):
        source.bootstrap(path)
    assert str(path) in source.describe()["bootstrap"] and source.describe()["servers"] == 0
    with pytest.raises(SourceUnreachable, match="No such file"):
        source.bootstrap(tmp_path / "none")


def test_three_hours_of_twenty_servers_are_read_within_seconds(rig, tmp_path):
    path = tmp_path / "history.om"
    path.write_text(history(180, servers=160))
    began = time.process_time()
    assert rig.source().bootstrap(path) == 28_800
    assert time.process_time() - began < 3


def test_a_snapshot_brings_back_what_was_held(rig, tmp_path):
    path, source = tmp_path / "state" / "scrape.npz", rig.source()
    rig.rounds(source, 10)
    source.snapshot(path)
    fresh = rig.source()
    assert fresh.restore(path, rig.clock.now) is None and fresh.describe()["snapshot"] == f"restored from {path}"
    np.testing.assert_array_equal(fresh.latest(T0 + 45).values, source.latest(T0 + 45).values)
    np.testing.assert_array_equal(fresh.range(T0, T0 + 45, 15).values, source.range(T0, T0 + 45, 15).values)


@pytest.mark.parametrize("changes", [
    {"targets": ("http://127.0.0.1:1/metrics",)}, {"server_label": "instance"},
    {"signals": SIGNALS | {"cpu_pct": SimpleNamespace(metric="server_cpu_ratio", scale=1.0)}},
    {"signals": SIGNALS | {"cpu_pct": SimpleNamespace(metric="server_cpu_ratio_limit", scale=100.0)}},
])
def test_a_snapshot_of_other_targets_metrics_or_scales_is_ignored_and_told(rig, tmp_path, changes):
    path, source = tmp_path / "scrape.npz", rig.source()
    source.scrape()
    source.snapshot(path)
    changes = dict(changes)
    other = rig.source(*changes.pop("targets", ()), **changes)
    assert other.restore(path, rig.clock.now) and "another origin" in other.describe()["snapshot"]
    assert other.describe()["servers"] == 0
    again = rig.source(rig.two.url + "/metrics", rig.one.url + "/metrics")
    assert again.restore(path, rig.clock.now) is None, "the order of targets does not matter"


def test_a_snapshot_that_is_damaged_old_or_missing_is_ignored_and_told(rig, tmp_path):
    path, source = tmp_path / "scrape.npz", rig.source()
    source.scrape()
    source.snapshot(path)
    fresh = rig.source()
    with pytest.raises(SnapshotError):
        fresh.restore(tmp_path / "none", T0)
    assert "no snapshot" in fresh.describe()["snapshot"]
    rig.clock.now = T0 + 4 * 3600
    assert fresh.restore(path, rig.clock.now) and "nothing from the last" in fresh.describe()["snapshot"]
    rig.clock.now = T0
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SnapshotError):
        fresh.restore(path, T0)
    assert "cannot be read" in fresh.describe()["snapshot"]
    assert fresh.describe()["servers"] == 0
