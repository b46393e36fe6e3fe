"""The clockwork: what is published after each refresh, and what happens when a stage fails."""


import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from forecaster.board import Board
from forecaster.config import load_config
from forecaster.memory.episodes import TURNED
from forecaster.memory.memory import SNAPSHOT_FILE
from forecaster.memory.pages import Pages
from forecaster.memory.window import Window
from forecaster.models.model import Model
from forecaster.publish.collector import ForecastCollector
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import NoData, Reading, Readings, SourceError, SourceRefused, SourceUnreachable
from forecaster.risk.state import State, of_fleet
from forecaster.service.cycle import Cycle
from tests.grafana_stack import await_true
from tests.outlooks import make_outlook
from tests.results import Clock, page
from tests.tiny_models import history, tiny_chances, write_untrained, write_untrained_series

START = history().start + 12 * 3600


class Fleet:
    """A source over simulated history; servers can be silenced and the source can fail."""

    def __init__(self):
        self.silent: set[str] = set()
        self.born: dict[str, float] = {}
        self.error: Exception | None = None
        self.range_error: Exception | None = None
        self.ranges: list[tuple[float, float]] = []
        self.read: list[list[float]] = []  # instants of each range
        self.up: tuple[str, ...] | None = None
        self.listed: tuple[str, ...] | None = None
        self.failed: dict[str, SourceError] = {}
        self.left_out: dict[str, int] = {}
        self.late = 0.0  # Unix s of the clock until which history is missing
        self.now = 0.0

    def _at(self, instant: float) -> np.ndarray:
        values = history().values[int((instant - history().start) // 60)].copy()
        for i, server in enumerate(history().servers):
            if instant < self.born.get(server, 0.0):
                values[i] = np.nan
        return values

    def latest(self, instant: float) -> Reading:
        if self.error:
            raise self.error
        rows = [i for i, server in enumerate(history().servers) if server not in self.silent]
        if not rows and not self.up:
            raise NoData("nothing there")
        pick = tuple(history().servers[i] for i in rows), tuple(history().profiles[i] for i in rows)
        values, self.now = self._at(instant)[rows], instant
        values[:, [history().signals.index(name) for name in self.failed]] = np.nan
        return Reading(instant, *pick, values, self.failed, self.left_out, self.up, self.listed)

    def range(self, start: float, end: float, step: float, offset: float = 0.0) -> Readings:
        self.ranges.append((start, end))
        if self.range_error:
            raise self.range_error
        instants = np.arange(start, end + step / 2, step)
        assert (instants % step == offset).all()
        self.read.append(instants.tolist())
        values = np.stack([self._at(t) for t in instants])
        for i, server in enumerate(history().servers):
            if server in self.silent or self.now < self.late:
                values[:, i] = np.nan
        return Readings(instants, history().servers, history().profiles, values)

    def close(self):
        """Has nothing to close."""

    def describe(self):
        return {"kind": "test"}


class Bench:
    """A cycle on a clock that stands where it is put."""

    def __init__(self, model, chances=None, preset="fleet", source=None, **overrides):
        self.config = load_config(preset, overrides)
        self.clock, self.source = Clock(START), source or Fleet()
        self.registry = CollectorRegistry()
        self.board = Board(self.config.forecast_ttl)
        self.collector = ForecastCollector(self.board, self.config.horizons, self.config.windows, {}, self.clock)
        self.cycle = self.make(model, chances)

    def make(self, model, chances=None) -> Cycle:
        window = Window(tuple(self.config.signals), self.config.refresh, self.config.step, self.config.encoder_steps)
        return Cycle(
            self.config,
            self.source,
            window,
            model,
            self.board,
            self.collector,
            SelfMetrics(CollectorRegistry(), "test") if hasattr(self, "cycle") else SelfMetrics(self.registry, "test"),
            self.clock,
            chances=chances,
        )

    def run(self, seconds: float = 0.0):
        self.clock.now += seconds
        self.cycle.run_once()
        return self.board.current(self.clock.now)

    def go(self, seconds: float):
        """Runs every refresh for that long."""
        for _ in range(round(seconds / self.config.refresh)):
            result = self.run(self.config.refresh)
        return result

    def metric(self, name: str, **labels) -> float:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_untrained(tmp_path_factory.mktemp("cycle") / "tiny"), "cpu")


@pytest.fixture
def bench(model):
    return Bench(model)


def test_the_first_cycle_fills_the_window_from_history_and_forecasts_all_servers_by_the_model(bench):
    result = bench.run()
    assert set(result.method) == {"tft"} and len(result.servers) == 20
    assert result.issued == START and np.isfinite(result.forecast).all()
    np.testing.assert_allclose(result.observed, bench.source._at(START), rtol=1e-6)
    assert bench.source.ranges and (result.samples == 150).all()


def test_chances_stand_beside_the_weighted_probability_and_only_for_servers_the_model_forecasts(model):
    bench = Bench(model, tiny_chances())
    bench.source.born["ppdb001"] = START - 60.0
    result = bench.run()
    assert result.method[result.index("ppdb001")] == "heuristic"
    risk = result.risk
    chances, weighted = risk.severe["30m"], risk.probability["30m"]
    on = risk.incidents.on.any(1)  # is certain, also by the trend
    trend = [method == "heuristic" and not one for method, one in zip(result.method, on, strict=True)]
    assert np.isnan(chances).tolist() == trend
    assert np.isfinite(weighted).all()
    assert 0 < np.nanmin(chances) <= np.nanmax(chances) <= risk.severe_any["30m"] <= 1
    assert risk.incidents.names == ("cpu_saturated", "memory_exhausted", "latency_high") and risk.by == "score"
    np.testing.assert_array_equal(chances, risk.incidents.any("30m"))
    text = page(bench.collector).decode()
    assert 'forecast_severe_probability{server="ppdb002",profile="database",window="8h"}' in text
    assert 'forecast_incident_chance{server="ppdb001"' not in text


def test_by_method_calibrated_the_chances_are_the_incident_probability_and_the_share_decides_health(model):
    risk = Bench(model, tiny_chances(), **{"risk.method": "calibrated"}).run().risk
    for window in ("30m", "8h"):
        np.testing.assert_array_equal(risk.probability[window], risk.severe[window])
        assert risk.fleet_probability[window] == pytest.approx(np.mean(risk.severe[window]))


def test_a_model_without_chances_shows_none_and_still_says_what_is_on(model):
    bench = Bench(model, **{"risk.severe.memory": 1.0})
    result = bench.run()
    text, on, memory = page(bench.collector).decode(), result.risk.incidents.on, result.signals.index("mem_pct")
    assert "forecast_incident_chance{" not in text and text.count("forecast_severe_probability{") == 2 * on.any(1).sum()
    np.testing.assert_array_equal(on[:, 1], result.observed[:, memory] > 1)
    assert on[:, 1].any() and np.isnan(result.risk.incidents.chance["8h"]).all()


def test_a_server_that_misses_one_scrape_keeps_its_chances_its_incidents_and_its_priority(model):
    bench = Bench(model, tiny_chances(), **{"risk.severe.memory": 1.0, "risk.priorities.by": "chance"})
    before = bench.run().risk
    bench.source.silent.add("ppdb001")
    result = bench.run(15.0)
    row = result.index("ppdb001")
    assert np.isnan(result.observed[row]).all() and result.risk.incidents.on[row, 1]
    assert result.risk.priority[row] == before.priority[row] == "P1"
    assert np.isfinite(result.risk.severe["8h"][row])


def test_a_server_on_the_trend_that_misses_a_scrape_gets_no_points_for_its_band():
    bench = Bench(None)
    before = bench.run()
    assert set(before.method) == {"heuristic"}
    bench.source.silent.update(history().servers)
    after = bench.run(15.0)
    assert np.isnan(after.observed).all()
    np.testing.assert_array_equal(after.risk.points, before.risk.points)
    assert (after.risk.worst_step == 0).all()


def test_the_trend_of_each_signal_is_published_whatever_forecasts_it(bench):
    result = bench.run()
    assert np.isfinite(result.trend).all()


class Hosts(Fleet):
    """The same servers as hosts that measure processor and memory alone; the last one's processor is full from
    `full` on."""

    full = float("inf")

    def _at(self, instant: float) -> np.ndarray:
        values = np.full((len(history().servers), 2), 30, np.float32)
        values[:, 0] += np.arange(len(values)) + 3 * np.sin(instant / 7200)
        if instant >= self.full:
            values[-1, 0] = 99
        return values


HOSTS = """
refresh: 1m
warmup: {sample_interval: 1m, samples: 30}
signals:
  cpu_pct: {title: CPU, query: a, unit: percent, min: 0, max: 100}
  mem_pct: {title: Memory, query: b, unit: percent, min: 0, max: 100}
risk:
  incidents:
    cpu_saturated: {signal: cpu_pct, above: 95, for: 10m, alone: ALONE}
    memory_exhausted: {signal: mem_pct, above: 95}
    memory_unread: {signal: mem_pct, below: 5, severity: P2}
"""


@pytest.mark.parametrize(("alone", "priority"), [("P1", "P1"), ("P3", "P3")])
def test_a_fleet_of_hosts_has_priorities_by_chance_of_a_model_of_single_series(tmp_path, alone, priority):
    """A full processor rings after it has lasted, is named, and lets go when it is over."""
    (tmp_path / "hosts.yml").write_text(HOSTS.replace("ALONE", alone))
    single = Model.load(write_untrained_series(tmp_path / "series", ("cpu_pct", "mem_pct")), "cpu")
    bench = Bench(single, tiny_chances(), preset=tmp_path / "hosts.yml", source=Hosts())
    calm = bench.run()
    assert (calm.risk.by, set(calm.risk.priority), set(calm.method)) == ("chance", {"P3"}, {"tft"})
    assert calm.risk.high_risk == 0 and calm.risk.health == "healthy"
    assert calm.risk.message(0) == "No incident predicted within 8 hours"
    bench.source.full = START + 60.0
    assert not bench.go(300.0).risk.incidents.on.any(), "for 10 minutes, that is two steps"
    rung = bench.go(420.0).risk
    assert rung.priority == ("P3",) * 19 + (priority,) and rung.incidents.on[-1].tolist() == [True, False, False]
    assert rung.message(19).startswith("CPU above 95% now, chance that it goes on ")
    assert rung.health == ("warning" if priority == "P1" else "healthy")
    bench.source.full = float("inf")
    over = bench.go(60.0).risk
    assert not over.incidents.on.any() and "P1" not in over.priority


def test_the_first_forecast_reads_a_fifth_of_the_history_and_is_the_same_as_with_all_of_it(bench, model):
    whole = Bench(model)
    whole.cycle._reads = ((0.0, 15.0, None),)
    first, same = bench.run(), whole.run()
    np.testing.assert_array_equal(first.forecast, same.forecast)
    assert first.method == same.method and (first.samples == same.samples).all()
    columns = {instant for stretch in bench.source.read for instant in stretch}
    assert len(columns) <= 480 / 5 and len(whole.source.read[0]) == 479
    for _ in range(15):
        np.testing.assert_array_equal(bench.run(15.0).forecast, whole.run(15.0).forecast)
    ours, theirs = (one.cycle.memory.window.readings(START - 6960, START + 225) for one in (bench, whole))
    assert not bench.cycle.memory.window.gaps(START + 225)
    np.testing.assert_array_equal(ours.values, theirs.values)


def test_history_that_fails_amid_the_first_minutes_leaves_forecasts_to_the_columns_there_are(bench, model):
    whole = Bench(model)
    whole.cycle._reads = ((0.0, 15.0, None),)
    bench.run(), whole.run()
    bench.source.range_error = SourceUnreachable("too slow")
    asked = len(bench.source.ranges)
    for _ in range(3):
        ours, theirs = bench.run(15.0), whole.run(15.0)
        assert ours.method == theirs.method and ours.risk.priority == theirs.risk.priority
        np.testing.assert_allclose(ours.forecast, theirs.forecast, rtol=0.01, atol=0.5)
    assert len(bench.source.ranges) == asked + 1
    bench.source.range_error = None
    bench.go(300.0)
    assert not bench.cycle.memory.window.gaps(bench.clock.now)


def test_values_that_count_only_while_a_server_is_up_are_read_at_every_refresh():
    assert Bench(None, preset="node_exporter").cycle._reads == ((0.0, 15.0, None),)


def test_after_four_minutes_cycles_ask_for_the_present_only(bench):
    bench.run()
    bench.go(240.0)
    asked = len(bench.source.ranges)
    for _ in range(4):
        assert bench.run(15.0).issued == bench.clock.now
    assert len(bench.source.ranges) == asked


def test_the_present_is_the_last_whole_refresh_so_that_replicas_agree(bench, model):
    bench.clock.now = START + 7.3
    other = Bench(model)
    other.clock.now = START + 11.9
    ours, theirs = bench.run(), other.run()
    assert ours.issued == theirs.issued == START
    np.testing.assert_array_equal(ours.forecast, theirs.forecast)


def test_after_an_outage_the_gap_is_filled_and_forecasts_return_without_a_new_warm_up(bench):
    bench.run()
    bench.source.error = SourceUnreachable("Prometheus is down")
    for _ in range(8):
        bench.run(15.0)
    bench.source.error = None
    result = bench.run(15.0)
    assert (START + 15.0, START + 120.0) in bench.source.ranges
    assert result.issued == START + 135.0 and set(result.method) == {"tft"}


def test_while_the_source_is_down_the_last_forecast_ages_and_then_disappears(bench):
    first = bench.run()
    bench.source.error = SourceUnreachable("Prometheus is down")
    assert bench.run(60.0) is first
    assert bench.run(61.0) is None
    shown = page(bench.collector).decode()
    assert "forecast_cpu_pct{" not in shown and "forecast_last_seen_timestamp_seconds{" in shown
    assert bench.metric("forecaster_cycle_failures_total", stage="query") == 2
    assert bench.metric("forecaster_stage_success", stage="query") == 0
    assert bench.metric("forecaster_last_success_timestamp_seconds") == START
    assert bench.cycle.errors["query"] == "Prometheus is down"


def test_history_that_cannot_be_read_is_shown_and_retried_after_a_minute_while_the_present_goes_on(bench):
    bench.source.range_error = SourceUnreachable("too slow")
    result = bench.run()
    assert set(result.method) == {"heuristic"}, "one sample is no warm-up"
    assert bench.cycle.errors["query"] == "too slow"
    bench.source.range_error = None
    assert set(bench.go(45.0).method) == {"heuristic"} and len(bench.source.ranges) == 1
    assert set(bench.go(15.0).method) == {"tft"}


def test_history_that_is_refused_is_asked_for_after_pauses_that_double_and_never_given_up():
    bench = Bench(None, refresh="1m")
    bench.source.range_error = SourceUnreachable("too slow")
    asked = []
    for minute in range(65):
        before = len(bench.source.ranges)
        bench.run(60.0 if minute else 0.0)
        asked += [minute] * (len(bench.source.ranges) > before)
    assert asked == [0, 1, 3, 7, 15, 31, 47, 63]


def test_a_signal_that_failed_is_shown_as_failed_and_its_column_is_read_once_it_is_back(bench):
    bench.run()
    bench.go(240.0)
    failed = bench.clock.now + 15.0
    bench.source.failed = {"latency_ms": SourceUnreachable("too slow")}
    result = bench.run(15.0)
    latency = result.signals.index("latency_ms")
    assert np.isnan(result.observed[:, latency]).all() and np.isfinite(np.delete(result.observed, latency, 1)).all()
    assert np.isfinite(result.forecast).all() and bench.cycle.errors["query"] is None
    success = {name: bench.metric("forecaster_signal_success", signal=name) for name in result.signals}
    assert success.pop("latency_ms") == 0 and set(success.values()) == {1}
    asked = len(bench.source.ranges)
    bench.run(15.0)
    assert len(bench.source.ranges) == asked, "in vain while the query fails"
    bench.source.failed = {}
    bench.run(15.0)
    assert bench.source.ranges[asked:] == [(failed, failed + 15.0)]
    assert bench.metric("forecaster_signal_success", signal="latency_ms") == 1
    np.testing.assert_allclose(bench.cycle.memory.window.latest(failed)[:, latency],
                               bench.source._at(failed)[:, latency], rtol=1e-6)
    bench.go(60.0)
    assert len(bench.source.ranges) == asked + 1


def test_series_that_were_left_out_are_counted_by_signal(bench):
    bench.source.left_out = {"cpu_pct": 3}
    bench.run()
    assert bench.metric("forecaster_signal_left_out_series", signal="cpu_pct") == 3
    assert bench.metric("forecaster_signal_left_out_series", signal="mem_pct") == 0


def test_values_that_reach_the_store_late_are_read_when_they_are_there():
    bench = Bench(None, refresh="1m")
    bench.run()
    begun = bench.go(300.0).issued
    bench.source.silent.update(history().servers)
    bench.go(600.0)
    bench.source.silent.clear()
    bench.source.late = begun + 780.0  # before that, the store has no history
    window, hole = bench.cycle.memory.window, (begun + 60.0, begun + 600.0)
    bench.source.ranges.clear()
    bench.go(120.0)
    assert bench.source.ranges == [hole, hole] and np.isnan(window.latest(begun + 300.0)).all()
    bench.go(120.0)
    assert bench.source.ranges == [hole, hole, hole] and np.isfinite(window.latest(begun + 300.0)).all()
    bench.go(1200.0)
    assert len(bench.source.ranges) == 3, "what is complete is not asked for again"


def test_a_new_server_is_forecast_by_the_trend_until_it_is_warm_and_the_fleet_stays_on_the_model(bench):
    bench.source.born["ppdb002"] = START - 600.0
    result = bench.run()
    methods = dict(zip(result.servers, result.method, strict=True))
    assert methods.pop("ppdb002") == "heuristic" and set(methods.values()) == {"tft"}
    assert 0 < result.samples[result.index("ppdb002")] < 150
    for _ in range(12):
        result = bench.run(15.0)
    assert result.method[result.index("ppdb002")] == "tft"


def test_a_silent_server_loses_its_observation_at_once_and_its_forecast_after_half_an_hour(bench):
    bench.run()
    bench.source.silent.add("ppdb001")
    result = bench.run(15.0)
    i = result.index("ppdb001")
    assert np.isnan(result.observed[i]).all() and not result.stale[i] and np.isfinite(result.forecast[i]).all()
    result = bench.run(1860.0)
    i = result.index("ppdb001")
    assert result.stale[i] and np.isnan(result.forecast[i]).all() and result.risk.priority[i] is None
    assert result.last_seen[i] == START
    assert result.stale.sum() == 1


def test_a_server_is_blind_from_a_minute_of_silence_on_and_its_fleet_is_not_called_healthy(bench):
    silent = history().servers[0]
    bench.cycle.run_once()
    bench.source.silent = {silent}
    states = []
    for _ in range(5):
        bench.clock.now += 15
        bench.cycle.run_once()
        states.append(bench.board.last.state[bench.board.last.index(silent)])
    assert states[-1] == State.BLIND and State.BLIND not in states[:-1]
    assert bench.board.last.health in ("unknown", "warning", "critical")
    assert of_fleet(bench.board.last.state) >= State.WATCH


def test_a_server_silent_for_a_day_is_forgotten(model):
    bench = Bench(model, drop_after="1h")
    bench.run()
    bench.source.silent.add("ppdb001")
    assert bench.run(3700.0).index("ppdb001") is None


@pytest.mark.parametrize(("listed", "forgotten"), [
    ("others", True), ("all", False), ("none", False), ("never", False), ("again", False)])
def test_a_server_taken_out_of_what_is_watched_is_forgotten_when_it_would_be_stale_and_a_dead_one_is_not(
        model, listed, forgotten):
    bench, servers = Bench(model), history().servers
    others = tuple(server for server in servers if server != "ppdb001")
    bench.source.listed = others if listed == "never" else servers
    bench.run()
    bench.source.silent.add("ppdb001")
    bench.source.listed = {"all": servers, "none": ()}.get(listed, others)
    for minute in range(29):
        assert bench.run(60.0).index("ppdb001") is not None, minute
    if listed == "again":
        bench.source.listed = servers
    stale = bench.run(120.0)
    assert (stale.index("ppdb001") is None) == forgotten
    assert ("ppdb001" in stale.unforecast) != forgotten, "a dead one is reported"


def test_a_list_that_lacks_servers_for_a_moment_after_a_long_outage_forgets_none(bench):
    bench.source.listed = history().servers
    bench.run()
    bench.source.silent, bench.source.listed = {"ppdb001"}, history().servers[1:]
    assert bench.run(7200.0).index("ppdb001") is not None


def test_a_server_that_is_up_without_values_is_listed_until_it_is_no_longer_up_and_takes_no_memory(bench):
    bench.source.up = (*history().servers, "win01")
    result = bench.run()
    assert result.unforecast == {"win01": "no_values"} and result.index("win01") is None
    assert "win01" not in bench.cycle.memory.window.servers
    assert 'forecast_server_unforecast{server="win01",reason="no_values"} 1' in page(bench.collector).decode()
    bench.source.up = history().servers
    assert bench.run(15.0).unforecast == {} and "win01" not in page(bench.collector).decode()


def test_a_stale_server_is_listed_as_such_until_it_is_forgotten_and_then_only_if_it_is_up(model):
    bench = Bench(model, drop_after="1h")
    bench.source.up = history().servers
    bench.run()
    bench.source.silent.update({"ppdb001", "ppdb002"})
    assert bench.run(1860.0).unforecast == {"ppdb001": "stale", "ppdb002": "stale"}
    bench.source.up = tuple(server for server in history().servers if server != "ppdb002")
    assert bench.run(3700.0).unforecast == {"ppdb001": "no_values"}


def test_a_fleet_without_any_value_is_listed_although_nothing_is_forecast(bench):
    bench.source.silent, bench.source.up = set(history().servers), ("win01", "win02")
    result = bench.run()
    assert result.servers == () and result.unforecast == {"win01": "no_values", "win02": "no_values"}
    assert page(bench.collector).decode().count("forecast_server_unforecast{") == 2


def test_a_fleet_that_falls_silent_altogether_goes_stale_instead_of_failing(bench):
    bench.run()
    bench.source.silent.update(history().servers)
    assert np.isnan(bench.run(15.0).observed).all()
    result = bench.run(1860.0)
    assert result.stale.all() and result.risk.health == "unknown"


def test_before_any_server_was_seen_no_data_is_a_failure_that_says_so(bench):
    bench.source.silent.update(history().servers)
    assert bench.run() is None
    assert bench.cycle.errors["query"] == "nothing there"


def test_a_clock_set_back_is_survived_without_numbers_from_the_future(bench):
    bench.run()
    bench.run(600.0)
    result = bench.run(-300.0)
    assert result.issued == START + 300.0
    assert (result.last_seen <= START + 300.0).all()
    np.testing.assert_allclose(result.observed, bench.source._at(START + 300.0), rtol=1e-6)


def test_without_a_model_every_server_is_forecast_by_the_trend():
    result = Bench(None).run()
    assert set(result.method) == {"heuristic"} and np.isfinite(result.forecast).all()


def test_an_unforeseen_error_in_a_stage_is_counted_and_the_next_cycle_runs(bench, monkeypatch):
    monkeypatch.setattr("forecaster.service.cycle.score.assess", lambda *_: 1 / 0)
    assert bench.run() is None
    assert bench.metric("forecaster_cycle_failures_total", stage="risk") == 1
    monkeypatch.undo()
    assert bench.run(15.0) is not None
    assert bench.cycle.errors["risk"] is None


def test_a_restart_takes_over_the_window_and_asks_only_for_what_it_missed(model, tmp_path):
    bench = Bench(model, storage=str(tmp_path))
    bench.run()
    ended = bench.go(240.0).issued
    bench.cycle.close()
    bench.cycle = bench.make(model)
    bench.cycle.memory.restore(bench.clock.now)
    bench.source.ranges.clear()
    assert set(bench.run(60.0).method) == {"tft"}
    assert bench.source.ranges == [(ended + 15.0, ended + 45.0)]


def test_a_damaged_snapshot_is_ignored_and_history_asked_for_again(model, tmp_path):
    (tmp_path / SNAPSHOT_FILE).write_bytes(b"half a file")
    bench = Bench(model, storage=str(tmp_path))
    bench.cycle.memory.restore(bench.clock.now)
    assert set(bench.run().method) == {"tft"}


def test_a_full_disk_is_shown_and_forecasts_go_on(model, tmp_path, monkeypatch):
    bench = Bench(model, storage=str(tmp_path / "state"))
    bench.run()
    monkeypatch.setattr(
        "forecaster.memory.window.save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    bench.cycle.memory.save()
    assert "No space left on device" in bench.cycle.errors["snapshot"]
    assert bench.run(15.0) is not None


def test_the_thread_runs_a_cycle_at_once_and_ends_when_told(bench):
    bench.cycle.start()
    await_true(lambda: bench.board.last is not None, 30, "the first cycle has published")
    assert bench.cycle.close(timeout=10)


def test_a_model_that_fails_is_shown_and_the_trend_stands_in(bench, monkeypatch):
    monkeypatch.setattr(bench.cycle._model, "quantiles", lambda *_: 1 / 0)
    result = bench.run()
    assert set(result.method) == {"heuristic"} and np.isfinite(result.forecast).all()
    assert bench.metric("forecaster_cycle_failures_total", stage="model") == 1
    assert bench.cycle.errors["model"] == "division by zero"


def test_a_sensors_nonsense_does_not_reach_the_forecast(bench):
    real = bench.source._at

    def broken(instant):
        values = real(instant)
        values[2, 0] = 1e30
        return values

    bench.source._at = broken
    result = bench.run()
    assert np.isfinite(result.forecast[2]).all() and result.risk.priority[2] is not None


def test_told_to_end_while_the_source_keeps_it_waiting_it_leaves_the_window_alone(bench):
    bench.run()
    newest, latest = bench.cycle.memory.window.newest, bench.source.latest

    def slow(instant):
        bench.cycle.close()
        return latest(instant)

    bench.source.latest = slow
    bench.run(15.0)
    assert bench.cycle.memory.window.newest == newest


@pytest.mark.parametrize("during", ("range", "fill"))
def test_told_to_end_amid_the_gaps_it_publishes_nothing_and_leaves_the_others_to_the_cycle_that_takes_over(during):
    bench = Bench(None)
    window = bench.cycle.memory.window
    of = bench.source if during == "range" else window
    read = getattr(of, during)

    def closing(*given):
        bench.cycle.close()
        return read(*given)

    setattr(of, during, closing)
    assert not bench.cycle.run_once() and bench.board.last is None
    assert len(bench.source.read) == 1 and window.gaps(START, 300.0)[0][0] == START - 6900.0


def test_a_page_does_not_end_because_its_signal_cannot_be_read_any_more():
    bench = Bench(None, step="1m", **{"risk.priorities.p1_clear": "1m", "risk.priorities.p2_clear": "1m"})
    cpu, at = history().signals.index("cpu_pct"), bench.source._at
    bench.source._at = lambda instant: np.where(np.arange(at(instant).shape[1]) == cpu, 99.9, at(instant))
    assert min(bench.go(240).state) == State.LIKELY
    bench.source.failed = {"cpu_pct": SourceRefused("too busy", 503)}
    blind = bench.go(900)
    assert blind.missing.any(axis=1).all() and set(blind.state) == {State.CLEARING}


def test_a_page_is_kept_with_how_it_turned_out_beside_what_fills_up():
    bench = Bench(None, step="1m")
    memory, cpu, at = bench.cycle.memory, history().signals.index("cpu_pct"), bench.source._at
    memory.pages = Pages(60.0, "", tuple(bench.cycle._conditions))
    filling = bench.cycle._capacity = Board(1e9)
    bench.source._at = lambda instant: np.where(np.arange(at(instant).shape[1]) == cpu, 99.9, at(instant))
    for n in range(4):
        filling.publish(make_outlook(priority=1, instant=START + 600 * n))
        bench.clock.now += 600
        result = bench.go(300)
    turned = dict(zip(TURNED, result.pages[1], strict=True))
    assert turned["on_already"] == len(result.servers) and sum(turned.values()) == len(result.servers)
    assert result.pages[2].sum() == 1, "after a quarter of an hour as P1"
    assert "cpu_saturated" in memory.pages.of()[-1].what


def test_a_fleet_that_was_retired_is_published_as_empty_instead_of_failing(model):
    bench = Bench(model, drop_after="1h")
    bench.run()
    bench.source.silent.update(history().servers)
    result = bench.run(3700.0)
    assert result.servers == () and page(bench.collector) == b""
    assert bench.run(15.0).servers == ()


def test_a_page_too_large_for_some_scrapers_is_said_once_and_its_size_always_shown(bench, monkeypatch, caplog):
    bench.run()
    size = bench.metric("forecaster_exposition_bytes")
    assert size == len(page(bench.collector)) and "scrapers" not in caplog.text
    monkeypatch.setattr("forecaster.publish.self_metrics.LARGEST_SCRAPE", int(size) - 1000)
    bench.run(15.0)
    bench.run(15.0)
    assert caplog.text.count("scrapers accept") == 1
    assert "set publish.gauges: essential or divide the fleet into shards" in caplog.text


def test_a_page_that_went_on_before_a_restart_has_not_just_begun_after_it(tmp_path):
    bench = Bench(None, step="1m", storage=str(tmp_path))
    cpu, at = history().signals.index("cpu_pct"), bench.source._at
    bench.source._at = lambda instant: np.where(np.arange(at(instant).shape[1]) == cpu, 99.9, at(instant))

    def started(restored: bool) -> np.ndarray:
        bench.cycle = bench.make(None)
        bench.cycle.memory.pages = Pages(60.0, "", tuple(bench.cycle._conditions))
        if restored:
            bench.cycle.restore()
        return bench.run(15.0).waits

    assert started(False).all(), "P2, and it may be one odd forecast"
    assert not bench.go(240).waits.any()
    bench.cycle.close()
    assert not started(True).any()
    assert started(False).all(), "without its record, it cannot know"
    bench.source._at = at
    for restored in (True, False):
        started(restored)
        assert (State.CLEARING in bench.board.last.state.tolist()) == restored
