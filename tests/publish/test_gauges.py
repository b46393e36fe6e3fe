"""The gauges of /metrics: which series are shown, with which values, and when they are withheld."""

import gzip
import re
import subprocess
import weakref

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from forecaster.publish.collector import ForecastCollector
from forecaster.publish.gauges import METRICS
from forecaster.publish.self_metrics import STAGES, SelfMetrics
from forecaster.risk.conditions import Condition
from forecaster.risk.state import State
from serving.exposition import Page, metrics_response
from tests.results import (
    DESCRIBED,
    HORIZONS,
    ISSUED,
    SIGNALS,
    WINDOWS,
    Clock,
    board_with,
    curves,
    incidents_of,
    make_result,
    page,
)
from tests.tools import tool

OUTLIVING = {"forecast_last_seen_timestamp_seconds", "forecast_server_stale", "forecast_warmup_samples",
             "forecast_warmup_required_samples"}
OF_STALE = OUTLIVING | {"forecast_server_unforecast"}


def collector_of(result, clock=None, ttl=120.0, scored=None):
    return ForecastCollector(board_with(result, ttl), HORIZONS, WINDOWS, DESCRIBED, clock or Clock(), scored)


def samples_of(text: bytes) -> dict:
    """{(name, frozenset of label pairs): value}; a series given twice is an error."""
    found = {}
    for family in parse_text(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    assert found, "nothing was exposed"
    return found


def shown(result, **options) -> dict:
    return samples_of(page(collector_of(result, **options)))


def value(samples: dict, name: str, **labels) -> float:
    return samples[name, frozenset(labels.items())]


def names(samples: dict) -> set[str]:
    return {name for name, _ in samples}


def test_a_forecast_is_shown_at_each_horizon_and_percentile_with_the_value_of_its_step():
    result = make_result()
    samples = shown(result)
    for c, signal in enumerate(SIGNALS):
        for label, step in HORIZONS.items():
            for q, percentile in enumerate(("p10", "p50", "p90")):
                assert value(samples, f"forecast_{signal}", server="ppweb001", profile="web_api",
                             percentile=percentile, horizon=label) == result.forecast[2, c, step - 1, q]
    assert sum(name == "forecast_cpu_pct" for name, _ in samples) == 3 * 3 * 5


def test_the_largest_value_of_a_window_is_that_of_its_steps_alone():
    forecast = curves(3)
    forecast[0, 0, 3, 2], forecast[0, 0, 50, 2] = 60, 70
    samples = shown(make_result(forecast=forecast))
    labels = {"server": "ppdb001", "profile": "database", "percentile": "p90"}
    assert value(samples, "forecast_cpu_pct_max", window="30m", **labels) == 60
    assert value(samples, "forecast_cpu_pct_max", window="8h", **labels) == 70


def test_risk_and_fleet_are_shown_as_the_risk_stage_found_them():
    forecast = curves(3)
    forecast[0, [0, 1, 3], :, 2] = [[99], [99], [600]]  # all three components at their most
    samples = shown(make_result(forecast=forecast))
    db = {"server": "ppdb001", "profile": "database"}
    assert value(samples, "forecast_risk_score", **db) == 100
    assert [value(samples, "forecast_risk_points", component=component, **db)
            for component in ("cpu", "memory", "latency")] == [40, 35, 25]
    assert [value(samples, "forecast_priority", priority=p, **db) for p in ("P1", "P2", "P3")] == [1, 0, 0]
    assert value(samples, "forecast_incident_probability", window="30m", **db) == 1
    assert value(samples, "forecast_fleet_incident_probability", window="30m") == pytest.approx(1 / 3)
    assert [value(samples, "forecast_fleet_health", state=state)
            for state in ("healthy", "warning", "critical")] == [0, 1, 0], "a server is P1"
    assert value(samples, "forecast_fleet_servers") == 3
    assert value(samples, "forecast_fleet_high_risk_servers") == 1


def test_observed_values_method_and_warm_up_are_shown_for_each_server():
    result = make_result(samples=[150, 149, 3], method=["tft", "heuristic", "heuristic"])
    samples = shown(result)
    web = {"server": "ppweb001", "profile": "web_api"}
    assert value(samples, "observed_latency_ms", **web) == result.observed[2, 3]
    assert value(samples, "forecast_method", method="tft", **web) == 0
    assert value(samples, "forecast_method", method="heuristic", **web) == 1
    assert value(samples, "forecast_warmup_samples", **web) == 3
    assert value(samples, "forecast_warmup_required_samples", **web) == 150
    assert value(samples, "forecast_last_seen_timestamp_seconds", **web) == ISSUED - 5


def test_the_record_shows_its_long_and_its_short_window_and_nothing_of_what_is_unknown():
    result = make_result()
    result.proof.recent_coverage[1, 2] = np.nan
    samples = shown(result)
    of_cpu = {"signal": "cpu_pct", "horizon": "1h"}
    figures = {"coverage_ratio": 0.8, "loss_ratio": 0.5, "outcomes": 800, "widening_ratio": 1,
               "recent_coverage_ratio": 0.7, "recent_loss_ratio": 0.8, "recent_outcomes": 48}
    assert {name: value(samples, f"forecast_live_{name}", **of_cpu) for name in figures} == pytest.approx(figures)
    drawn = [labels for name, labels in samples if name == "forecast_live_recent_coverage_ratio"]
    assert len(drawn) == len(SIGNALS) * len(HORIZONS) - 1
    assert frozenset({"signal": "mem_pct", "horizon": "1h"}.items()) not in drawn
    assert "forecast_live_recent_outcomes" not in names(shown(make_result(proven=False)))


def test_pages_are_shown_by_how_they_turned_out_and_not_at_all_without_a_record():
    samples = shown(make_result())
    assert value(samples, "forecast_live_pages", of="server", priority="P1", outcome="true") == 0
    assert value(samples, "forecast_live_pages", of="capacity", priority="P2", outcome="unknown") == 23
    assert "forecast_live_pages" not in names(shown(make_result(proven=False)))


def test_a_timestamp_keeps_its_milliseconds():
    samples = shown(make_result(last_seen=[ISSUED + 0.125] * 3))
    assert value(samples, "forecast_last_seen_timestamp_seconds", server="ppdb001",
                 profile="database") == ISSUED + 0.125


def test_what_is_not_known_has_no_series():
    forecast = curves(3)
    forecast[1, 2] = np.nan
    observed = forecast[:, :, 0, 1].copy()
    samples = shown(make_result(forecast=forecast, observed=observed))
    of_disk = {dict(labels)["server"] for name, labels in samples if "disk_io_mb_s" in name}
    assert of_disk == {"ppdb001", "ppweb001"}
    assert not any(np.isnan(number) for number in samples.values())


def test_a_stale_server_shows_only_when_it_was_last_seen_its_staleness_and_its_warm_up():
    samples = shown(make_result(stale=["ppdb002"], last_seen=[ISSUED, ISSUED - 2000, ISSUED]))
    of_stale = {name for name, labels in samples if ("server", "ppdb002") in labels}
    assert of_stale == OF_STALE
    assert value(samples, "forecast_server_stale", server="ppdb002", profile="database") == 1
    assert value(samples, "forecast_server_stale", server="ppdb001", profile="database") == 0
    assert value(samples, "forecast_fleet_servers") == 2


def test_a_fleet_without_a_live_server_has_no_health():
    samples = shown(make_result(stale=["ppdb001", "ppdb002", "ppweb001"]))
    assert names(samples) == OF_STALE


def test_a_server_that_is_seen_and_not_forecast_is_listed_with_the_reason_as_long_as_it_is_seen():
    board = board_with(make_result(stale=["ppdb002"], unforecast={"win01": "no_values"}))
    clock = Clock()
    collector = ForecastCollector(board, HORIZONS, WINDOWS, DESCRIBED, clock)
    clock.now += 3600  # how long the forecast lives does not matter
    listed = {labels: number for (name, labels), number in samples_of(page(collector)).items()
              if name == "forecast_server_unforecast"}
    assert listed == {frozenset({"server": "ppdb002", "reason": "stale"}.items()): 1,
                      frozenset({"server": "win01", "reason": "no_values"}.items()): 1}
    board.publish(make_result(issued=clock.now))
    assert b"win01" not in page(collector) and b"forecast_server_unforecast{" not in page(collector)


def test_the_number_of_signals_without_a_forecast_is_shown_where_there_are_some_and_a_forecast_of_another():
    forecast = curves(3)
    forecast[0, [1, 3]] = np.nan
    forecast[1] = np.nan
    of_first = "forecast_missing_signals", frozenset({"server": "ppdb001", "profile": "database"}.items())
    for optional, count in ((), 2), (["mem_pct"], 1), (["mem_pct", "latency_ms"], None):
        samples = shown(make_result(forecast=forecast, optional=optional))
        missing = {key: number for key, number in samples.items() if key[0] == of_first[0]}
        assert missing == ({of_first: count} if count else {})


def of_incidents(samples: dict, name: str) -> dict[tuple[str, ...], float]:
    """(server, incident[, window]) -> value of a series about incidents."""
    return {tuple(dict(labels)[label] for label in ("server", "incident", "window") if label in dict(labels)): number
            for (found, labels), number in samples.items() if found == f"forecast_incident_{name}"}


def test_an_incident_has_a_chance_in_each_window_and_one_of_beginning_while_it_is_not_on():
    incidents = incidents_of(on=[(0, 1)], chance={(0, 0): (0.25, 0.5), (0, 1): (0.875, 1.0)})
    samples = shown(make_result(incidents=incidents))
    chance, begin = (of_incidents(samples, name) for name in ("chance", "begin_chance"))
    assert chance["ppdb001", "cpu_saturated", "30m"] == begin["ppdb001", "cpu_saturated", "30m"] == 0.25
    assert chance["ppdb001", "cpu_saturated", "8h"] == begin["ppdb001", "cpu_saturated", "8h"] == 0.5
    assert chance["ppdb001", "memory_exhausted", "30m"] == 0.875
    assert len(chance) == 3 * 3 * 2
    active = of_incidents(samples, "active")
    assert begin == {key: value for key, value in chance.items() if key[:2] not in active}, "as its help says"


def test_an_incident_is_active_only_while_it_is_on():
    samples = shown(make_result(incidents=incidents_of(on=[(2, 0)], chance={(2, 0): (np.nan, np.nan)})))
    assert of_incidents(samples, "active") == {("ppweb001", "cpu_saturated"): 1}
    assert ("ppweb001", "cpu_saturated", "30m") not in of_incidents(samples, "chance"), "by the trend it has none"
    assert of_incidents(shown(make_result(incidents=incidents_of())), "active") == {}


def test_an_expected_incident_has_its_time_and_its_share_of_days_where_enough_are_held():
    expected = {(0, 0): 1800, (2, 2): 7200}
    for held, shares in ((6, {5 / 6}), (2, set())):
        samples = shown(make_result(incidents=incidents_of(begins=expected, recurring=(held - 1, held))))
        assert of_incidents(samples, "expected_timestamp_seconds") == {
            ("ppdb001", "cpu_saturated"): ISSUED + 1800, ("ppweb001", "latency_high"): ISSUED + 7200}
        assert set(of_incidents(samples, "recurring_ratio").values()) == shares


def test_series_of_incidents_have_the_configured_names_and_none_without_incidents():
    conditions = {"errors_high": Condition(signal="error_rate", above=0.05)}
    samples = shown(make_result(incidents=incidents_of(conditions=conditions)))
    assert {key[1] for key in of_incidents(samples, "chance")} == {"errors_high"}
    for none in (None, incidents_of(conditions={})):
        assert not any(name.startswith("forecast_incident_") and name != "forecast_incident_probability"
                       for name in names(shown(make_result(incidents=none))))


def test_incidents_of_another_configuration_have_their_series_from_the_next_result_on():
    board = board_with(make_result(incidents=incidents_of()))
    collector = ForecastCollector(board, HORIZONS, WINDOWS, DESCRIBED, Clock())
    page(collector)
    board.publish(make_result(incidents=incidents_of(conditions={"busy": Condition(signal="cpu_pct", above=50)})))
    assert {key[1] for key in of_incidents(samples_of(page(collector)), "chance")} == {"busy"}


def test_a_stale_server_has_no_incidents():
    incidents = incidents_of(on=[(1, 0)], begins={(1, 1): 600}, recurring=(7, 7))
    samples = shown(make_result(stale=["ppdb002"], incidents=incidents))
    for name in ("chance", "begin_chance", "active", "expected_timestamp_seconds", "recurring_ratio"):
        assert "ppdb002" not in {key[0] for key in of_incidents(samples, name)}


def test_past_the_time_to_live_only_what_tells_the_age_remains():
    clock = Clock(ISSUED + 120)
    collector = collector_of(make_result(), clock)
    assert "forecast_cpu_pct" in names(samples_of(page(collector)))
    clock.now += 0.001
    assert names(samples_of(page(collector))) == OUTLIVING


def test_before_the_first_result_there_are_no_series():
    assert page(collector_of(None)) == b""


def test_a_vanished_server_disappears_and_a_new_one_appears_with_the_next_result():
    board = board_with(make_result())
    collector = ForecastCollector(board, HORIZONS, WINDOWS, DESCRIBED, Clock())
    page(collector)
    board.publish(make_result(servers=("ppdb001", "ppgen001"), profiles=("database", "generic")))
    samples = samples_of(page(collector))
    of_servers = [dict(labels) for _, labels in samples if "server" in dict(labels)]
    assert {labels["server"] for labels in of_servers} == {"ppdb001", "ppgen001"}
    assert value(samples, "forecast_fleet_servers") == 2


def test_a_server_whose_profile_changes_is_shown_with_the_new_one():
    board = board_with(make_result(servers=("a",), profiles=("generic",)))
    collector = ForecastCollector(board, HORIZONS, WINDOWS, DESCRIBED, Clock())
    page(collector)
    board.publish(make_result(servers=("a",), profiles=("database",)))
    assert b"generic" not in page(collector)


def test_a_result_is_rendered_once_and_a_prepared_one_leaves_the_shown_one_in_place(monkeypatch):
    rendered, render = [], Page.render
    monkeypatch.setattr(Page, "render", lambda page, values: rendered.append(page) or render(page, values))
    first, second = make_result(), make_result(issued=ISSUED + 15)
    board = board_with(first)
    collector = ForecastCollector(board, HORIZONS, WINDOWS, DESCRIBED, Clock())
    for _ in range(3):
        page(collector)
    collector.prepare(second)
    count = len(rendered)
    page(collector)
    board.publish(second)
    page(collector)
    assert len(rendered) == count
    assert len(rendered) == 2 * len(set(rendered))


def test_a_host_that_comes_and_goes_without_values_does_not_cost_the_prefixes_of_all_forecasts(monkeypatch):
    collector = collector_of(None)
    collector.prepare(make_result())
    made, init = [], Page.__init__
    monkeypatch.setattr(Page, "__init__", lambda page, families: made.append(page) or init(page, families))
    for k in range(1, 5):
        collector.prepare(make_result(issued=ISSUED + 15 * k, unforecast={"win01": "no_values"} if k % 2 else {}))
    assert len(made) == 4, "one small page each"


def test_only_the_next_and_the_shown_result_are_held():
    collector, held = collector_of(None), []
    for k in range(4):
        result = make_result(issued=ISSUED + 15 * k)
        collector.prepare(result)
        held.append(weakref.ref(result))
    del result
    assert [reference() is None for reference in held] == [True, True, False, False]


def test_the_parts_of_a_compressed_page_are_made_once_and_read_as_one_text(monkeypatch):
    import serving.exposition as module
    packed, pack = [], module._pack
    monkeypatch.setattr(module, "_pack", lambda text: packed.append(len(text)) or pack(text))
    result = make_result()
    collector = collector_of(result)
    assert collector.prepare(result) == len(page(collector))
    collector.pack(result)
    made = len(packed)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    for _ in range(2):
        response = metrics_response(CollectorRegistry(), collector.exposition(), {**accept, "Accept-Encoding": "gzip"})
    assert [n for n in packed[made:] if n > len(b"# EOF\n")] == []
    plain = metrics_response(CollectorRegistry(), collector.exposition(), accept)
    assert gzip.decompress(response.data) == plain.data
    assert plain.data.endswith(b"\n# EOF\n") and plain.data.count(b"# EOF") == 1


def test_labels_that_need_escaping_come_back_as_they_were():
    odd = 'ra"ck\\1\n2'
    samples = shown(make_result(servers=(odd,), profiles=("a b",)))
    assert value(samples, "forecast_risk_score", server=odd, profile="a b") == 0


def answers(scored=None):
    """What answers a scrape by its headers: the self-metrics after some events, and a fleet with every series, or the
    essential ones for the signals `scored`."""
    registry = CollectorRegistry()
    own = SelfMetrics(registry, "1.2.3")
    own.settings(refresh=15, ttl=120)
    own.shard(1, 2)
    own.fleet({"critical": 0.7}, {"30m": {"floor": 0.01}})
    own.model(configured=True, loaded=True, chances=True, info={"model": "default", "method": "tft", "parameters": 75})
    own.stage("query", 0.25, success=True)
    own.stage("model", 0.5, success=False)
    own.signals({"cpu_pct": True, "mem_pct": False}, {"cpu_pct": 2})
    own.cycle(0.75, ISSUED, success=True)
    own.signals({"cpu_pct": True}, {})
    own.config_read(ISSUED, success=True)
    own.clock_offset(0.2)
    forecast = curves(3)
    forecast[1, 4] = np.nan
    incidents = incidents_of(on=[(1, 0)], begins={(0, 0): 3600}, recurring=(6, 7))
    result = make_result(servers=("ppdb001", "ppweb001", "gone"), profiles=("database", "web_api", "generic"),
                         stale=["gone"], forecast=forecast, incidents=incidents)
    text = collector_of(result, scored=scored).exposition()
    return lambda headers: metrics_response(registry, text, headers)


@pytest.fixture
def answered():
    return answers()


@pytest.fixture
def exposed(answered):
    """Text and type of /metrics by what is accepted."""

    def answer(accept: str = "") -> tuple[str, str]:
        response = answered({"Accept": accept})
        return response.get_data(as_text=True), response.headers["Content-Type"]

    return answer


def test_the_page_parses_as_text_and_as_openmetrics_with_the_same_series(exposed):
    text, _ = exposed()
    openmetrics, content_type = exposed("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    plain, strict = ({(sample.name, frozenset(sample.labels.items())) for family in families
                      for sample in family.samples}
                     for families in (parse_text(text), parse_openmetrics(openmetrics)))
    ours = {key for key in plain if key[0].startswith(("forecast_", "observed_"))}
    assert len(ours) > 100
    assert ours <= strict
    assert {key for key in strict if key[0].startswith(("forecast_", "observed_"))} == ours


def ours(samples: dict) -> dict:
    """Those of the forecaster itself, which do not change from scrape to scrape; there are many."""
    kinds = ("forecast_", "forecaster_", "observed_")
    found = {key: value for key, value in samples.items() if key[0].startswith(kinds)}
    assert len(found) > 200
    return found


def test_promtool_finds_nothing_to_mend_but_the_units_in_the_signals_own_names(exposed):
    text, _ = exposed()
    assert text.count("\n") > 200
    done = subprocess.run([tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True,
                          timeout=20, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    # a signal keeps its name in its series, and some names carry a unit: latency_ms, disk_io_mb_s
    signal_units = [line for line in complaints if line.startswith(("forecast_", "observed_"))
                    and ("_ms" in line or "_mb_s" in line) and "abbreviated units" in line]
    assert signal_units, "promtool has looked at nothing"
    assert complaints == signal_units


def test_self_metrics_tell_what_was_reported(exposed):
    samples = samples_of(exposed()[0].encode())
    assert value(samples, "forecaster_build_info", version="1.2.3") == 1
    assert value(samples, "forecaster_model_info", model="default", method="tft", parameters="75") == 1
    assert value(samples, "forecaster_stage_success", stage="query") == 1
    assert value(samples, "forecaster_stage_success", stage="model") == 0
    assert value(samples, "forecaster_stage_duration_seconds", stage="model") == 0.5
    assert value(samples, "forecaster_cycle_failures_total", stage="model") == 1
    assert value(samples, "forecaster_cycle_failures_total", stage="query") == 0
    assert value(samples, "forecaster_cycle_failures_total", stage="risk") == 0
    assert value(samples, "forecaster_cycles_total") == 1
    assert value(samples, "forecaster_cycle_duration_seconds_count") == 1
    assert value(samples, "forecaster_last_success_timestamp_seconds") == ISSUED
    assert value(samples, "forecaster_refresh_interval_seconds") == 15
    assert value(samples, "forecaster_forecast_ttl_seconds") == 120
    assert value(samples, "forecaster_config_last_reload_successful") == 1
    assert value(samples, "forecaster_config_last_reload_success_timestamp_seconds") == ISSUED
    assert any(name.startswith("process_") for name in names(samples))
    assert any(name.startswith("python_") for name in names(samples))


def test_a_failed_cycle_and_a_refused_configuration_leave_the_times_of_the_last_good_ones():
    registry = CollectorRegistry()
    own = SelfMetrics(registry, "1")
    own.cycle(1, ISSUED, success=True)
    own.cycle(1, ISSUED + 15, success=False)
    own.config_read(ISSUED, success=True)
    own.config_read(ISSUED + 60, success=False)
    assert registry.get_sample_value("forecaster_last_success_timestamp_seconds") == ISSUED
    assert registry.get_sample_value("forecaster_cycles_total") == 2
    assert registry.get_sample_value("forecaster_config_last_reload_successful") == 0
    assert registry.get_sample_value("forecaster_config_last_reload_success_timestamp_seconds") == ISSUED
    assert {s.labels["stage"] for f in registry.collect() if f.name == "forecaster_cycle_failures"
            for s in f.samples if s.name.endswith("_total")} == set(STAGES)


def test_the_table_of_metrics_names_everything_on_the_page_with_its_labels(exposed):
    declared = {}
    for name, labels, unit, help_text in METRICS:
        assert unit
        assert help_text.endswith(".")
        if "_capacity_" in name:  # see test_capacity_gauges
            continue
        for signal in SIGNALS if "<signal>" in name else ("",):
            declared[name.replace("<signal>", signal)] = set(labels)
    declared["forecaster_model_info"].add("parameters")  # further labels come from the model's artifact
    on_page = {}
    for sample, labels in samples_of(exposed()[0].encode()):
        if sample.startswith(("forecast_", "observed_", "forecaster_")) and not sample.endswith("_created"):
            name = re.sub("_duration_seconds_(bucket|sum|count)$", "_duration_seconds", sample)
            on_page.setdefault(name, set()).update({label for label, _ in labels} - {"le"})
    assert on_page == declared


def test_of_a_signal_that_left_the_configuration_nothing_stays_on_the_page():
    registry = CollectorRegistry()
    own = SelfMetrics(registry, "1")
    own.signals({"cpu_pct": True, "mem_pct": False}, {"cpu_pct": 2})
    own.signals({"cpu_pct": False}, {})
    found = {(sample.name, sample.labels["signal"]): sample.value for family in registry.collect()
             if family.name.startswith("forecaster_signal") for sample in family.samples}
    assert found == {("forecaster_signal_success", "cpu_pct"): 0, ("forecaster_signal_left_out_series", "cpu_pct"): 0}


def test_states_are_numbers_and_a_stale_server_has_none():
    samples = shown(make_result(state=[State.ACT_NOW, State.BLIND, State.BLIND], stale=["ppweb001"]))
    assert {dict(labels)["server"]: number for (name, labels), number in samples.items() if name == "forecast_state"
            } == {"ppdb001": 4, "ppdb002": -1}
    assert {number for (name, _), number in samples.items() if name == "forecast_fleet_health"} == {0}, "not healthy"
