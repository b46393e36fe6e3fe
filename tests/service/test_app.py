"""The forecaster put together: pages, reload, and the ways it can be started."""

import time
from datetime import datetime
from email.utils import formatdate
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from forecaster.__main__ import main
from forecaster.config import PRESETS, load_config
from forecaster.memory.scraped import ScrapeSource
from forecaster.models import features
from forecaster.models.artifact import read
from forecaster.readings import NoData, SourceDown, SourceNonsense, SourceRefused, SourceUnreachable
from forecaster.risk.chances import FILE
from forecaster.service import assembly as composition
from forecaster.service.app import Forecaster
from forecaster.service.cycle import Cycle
from forecaster.sources.clock import SourceClock
from serving.settings import SettingsError
from tests.grafana_stack import await_true
from tests.results import Clock
from tests.service.test_cycle import START, Fleet
from tests.tiny_models import history, tiny_chances, write_untrained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An artifact with chances of incidents."""
    folder = write_untrained(tmp_path_factory.mktemp("app") / "tiny")
    facts, _, _ = read(folder)
    (folder / FILE).write_bytes(tiny_chances().to_bytes(facts["weights_sha256"]))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _load_each_model_once():
    with pytest.MonkeyPatch.context() as patch:
        load = cache(composition.Model.load)  # the signals are left out: a model of a fleet does not use them
        patch.setattr(composition.Model, "load", lambda *known: load(*known[:3]))
        yield


class Bench:
    """A forecaster over simulated history whose configuration can be changed between reloads."""

    def __init__(self, monkeypatch, **overrides):
        self.clock, self.source, self.overrides = Clock(START), Fleet(), overrides
        monkeypatch.setattr(composition, "make_source", lambda *_: self.source)
        self.forecaster = Forecaster(self.config, self.clock)
        self.client = self.forecaster.app.test_client()

    def config(self):
        return load_config("fleet", self.overrides)

    def run(self):
        assert self.forecaster.parts.cycle.run_once()


@pytest.fixture
def bench(monkeypatch, folder):
    made = Bench(monkeypatch, model=str(folder))
    yield made
    made.forecaster.close()


def test_it_is_healthy_at_once_and_ready_with_the_first_forecast(bench):
    assert bench.client.get("/-/healthy").status_code == 200
    before = bench.client.get("/-/ready")
    assert before.status_code == 503 and b"no current forecast" in before.data
    bench.run()
    assert bench.client.get("/-/ready").status_code == 200
    bench.clock.now += 121
    assert bench.client.get("/-/ready").status_code == 503


def test_the_landing_page_shows_the_fleet_with_its_risk(bench):
    bench.run()
    page = bench.client.get("/").get_data(as_text=True)
    assert "ppdb001" in page and "Fleet health" in page and "<dt>Methods</dt><dd>tft" in page
    assert "chance of an incident on any server within 8 hours" in page and "unknown" not in page


def test_an_alerts_links_lead_to_the_servers_row_and_to_the_runbooks_entry(bench):
    bench.run()
    assert '<tr id="ppdb001"' in bench.client.get("/").text
    assert '<a href="/runbook">' in bench.client.get("/").text
    page = bench.client.get("/runbook")
    assert page.mimetype == "text/html" and '<h2 id="fleetcastserverp1">FleetcastServerP1</h2>' in page.text


def test_the_chances_of_the_models_incidents_are_the_same_on_every_page(bench):
    bench.run()
    incidents = bench.client.get("/status").get_json()["incidents"]
    names = {"cpu_saturated", "memory_exhausted", "latency_high"}
    known = {name: one["chance_known"] for name, one in incidents.items()}
    assert known == dict.fromkeys(names, len(history().servers))
    text = bench.client.get("/metrics").get_data(as_text=True)
    chances = {(labels["server"], labels["incident"]): sample.value
               for family in text_string_to_metric_families(text) for sample in family.samples
               if sample.name == "forecast_incident_chance" and (labels := sample.labels)["window"] == "8h"}
    assert {incident for _, incident in chances} == names
    body = bench.client.get("/predictions/current").get_json()
    for alert in body["alerts"]:
        for one in alert["incidents"]:
            assert one["chance_8h"] == pytest.approx(chances[alert["server_name"], one["incident"]], abs=1e-4)
    assert body["environment"]["chance_8h"] >= max(chances.values()) - 1e-4


def test_status_tells_model_source_warm_up_and_errors(bench):
    bench.run()
    status = bench.client.get("/status").get_json()
    assert status["model"]["model"] == "tiny" and status["model"]["loaded"] and status["model"]["problem"] is None
    assert status["warmup"]["is_warmed_up"] and status["warmup"]["message"] == "Model ready for predictions"
    assert status["source"] == {"kind": "test"} and set(status["errors"].values()) == {None}


def test_metrics_hold_forecasts_and_self_metrics(bench):
    bench.run()
    page = bench.client.get("/metrics").get_data(as_text=True)
    assert 'forecast_cpu_pct{server="ppdb001",profile="database",percentile="p90",horizon="30m"}' in page
    assert "forecaster_chances_loaded 1.0" in page
    assert "forecaster_model_loaded 1.0" in page and "process_resident_memory_bytes" in page


def test_gauges_are_the_essential_ones_unless_all_are_asked_for(bench):
    counts = []
    for gauges in ("essential", "all"):
        bench.overrides = bench.overrides | {"publish.gauges": gauges}
        assert bench.client.post("/-/reload").status_code == 200
        bench.run()
        counts.append(bench.client.get("/metrics").get_data(as_text=True).count('server="ppdb001"'))
    assert counts[0] <= 60 < counts[1]


def test_a_model_that_cannot_be_loaded_means_heuristics_everywhere_and_is_said_loudly(monkeypatch, tmp_path):
    bench = Bench(monkeypatch, model=str(tmp_path / "nowhere"))
    bench.run()
    status = bench.client.get("/status").get_json()
    assert not status["model"]["loaded"] and "nowhere" in status["model"]["problem"]
    page = bench.client.get("/metrics").get_data(as_text=True)
    assert "forecaster_chances_loaded 0.0" in page
    assert "forecaster_model_loaded 0.0" in page and "forecaster_model_configured 1.0" in page
    assert 'method="heuristic"} 1' in page and "Model problem" in bench.client.get("/").get_data(as_text=True)


def test_the_heuristic_by_choice_is_not_a_fault(monkeypatch):
    bench = Bench(monkeypatch, model="none")
    bench.run()
    page = bench.client.get("/metrics").get_data(as_text=True)
    assert "forecaster_model_configured 0.0" in page
    assert bench.client.get("/status").get_json()["model"]["problem"] is None


def test_a_reload_takes_the_new_settings_and_keeps_window_record_and_result(bench):
    bench.run()
    before, result = bench.forecaster.parts.cycle.memory, bench.forecaster.parts.board.last
    bench.overrides = bench.overrides | {"forecast_ttl": "1m"}
    assert bench.client.post("/-/reload").status_code == 200
    assert bench.forecaster.parts.board.ttl == 60 and bench.forecaster.parts.board.last is result
    kept = bench.forecaster.parts.cycle.memory
    assert kept.window is before.window and kept.record is before.record
    assert "forecaster_forecast_ttl_seconds 60.0" in bench.client.get("/metrics").get_data(as_text=True)


def test_the_landing_page_shows_the_old_forecast_until_a_reload_is_done(bench, monkeypatch):
    bench.run()
    shown, close = [], composition.Parts.close

    def closing(parts):
        shown.append(bench.client.get("/").text)
        return close(parts)

    monkeypatch.setattr(composition.Parts, "close", closing)
    bench.forecaster.reload()
    shown.append(bench.client.get("/").text)
    assert all(history().servers[0] in page for page in shown), "never an empty fleet"


def test_a_reload_keeps_the_sources_clock_unless_the_source_is_another(monkeypatch):
    monkeypatch.setattr(composition, "make_source", lambda *_: Fleet())
    own, overrides = Clock(START), {"model": "none"}
    clock = SourceClock(own)
    forecaster = Forecaster(lambda: load_config("fleet", overrides), clock)
    try:
        clock.heard(formatdate(START + 600), START, 0.0)
        assert forecaster.parts.cycle.run_once() and clock() == START + 600.5
        assert "600 s ahead of" in forecaster.app.test_client().get("/").get_data(as_text=True)
        forecaster.reload()
        assert clock() == START + 600.5
        overrides["source.url"] = "http://127.0.0.1:9999"
        forecaster.reload()
        assert clock() == START and clock.measured is None
        client = forecaster.app.test_client()
        await_true(lambda: "forecaster_clock_offset" not in client.get("/metrics").text, 20, "the next cycle has run")
    finally:
        forecaster.close()


def test_only_a_prometheus_that_does_not_answer_is_told_to_alertmanager_and_no_cycle_fails_with_it(monkeypatch, server):
    given = {"alertmanager.url": server.url, "alertmanager.after": 1e-6, "alertmanager.end_after": 1e6}
    bench = Bench(monkeypatch, model="none", **given)
    cycle, server.respond = bench.forecaster.parts.cycle, lambda request: request.answer(200, "")
    for error in (None, NoData(""), SourceRefused("", 503), SourceNonsense(""), SourceUnreachable(""), ValueError()):
        bench.source.error = error
        assert cycle.run_once() == (error is None or isinstance(error, NoData))
    assert server.seen == [] and "alertmanager" not in cycle.errors
    assert "\nforecaster_prometheus_down 0.0\n" in bench.client.get("/metrics").text
    bench.source.error = SourceDown("refused")
    assert not cycle.run_once() and [one.command for one in server.seen] == ["GET", "POST"]
    assert cycle.errors["alertmanager"] is None
    assert "\nforecaster_prometheus_down 1.0\n" in bench.client.get("/metrics").text, "rules hold what this inhibits"
    bench.source.error, server.respond = None, lambda request: request.answer(500, "")
    assert cycle.run_once() and "HTTP 500" in bench.client.get("/status").json["errors"]["alertmanager"]
    assert "\nforecaster_prometheus_down 0.0\n" in bench.client.get("/metrics").text, "as long as it is not told"
    bench.forecaster.close()
    assert composition.make_alertmanager(load_config("fleet", given | {"source.kind": "scrape"}), bench.clock) is None
    assert composition.make_alertmanager(load_config("fleet"), bench.clock) is None


def test_a_bad_reload_keeps_the_old_settings_and_model_and_says_why(bench, tmp_path):
    bench.run()
    old = bench.forecaster.parts
    for wrong, reason in (({"model": str(tmp_path / "gone")}, "gone"), ({"refresh": "7s"}, "refresh")):
        kept = dict(bench.overrides)
        bench.overrides = kept | wrong
        answer = bench.client.post("/-/reload")
        assert answer.status_code == 500 and reason in answer.get_json()["error"]
        bench.overrides = kept
    assert bench.forecaster.parts is old and bench.client.get("/-/ready").status_code == 200
    page = bench.client.get("/metrics").get_data(as_text=True)
    assert "forecaster_config_last_reload_successful 0.0" in page and "forecaster_model_loaded 1.0" in page


def test_without_prometheus_it_reads_the_exporter_itself_and_starts_warm_from_history(tmp_path, folder, monkeypatch):
    from exporter.fleet import Fleet as Simulated
    from exporter.history import write_history
    from exporter.profiles import load_fleet

    now = history().start + 6 * 3600
    with (tmp_path / "history.om").open("wb") as out:
        write_history(Simulated(load_fleet()), now - 3 * 3600, now, 60, out, {}, False)
    monkeypatch.setattr(ScrapeSource, "start", lambda self: None)
    config = load_config(
        "fleet",
        {
            "source.kind": "scrape",
            "source.bootstrap": str(tmp_path / "history.om"),
            "model": str(folder),
            "storage": str(tmp_path / "state"),
        },
    )
    forecaster = Forecaster(lambda: config, Clock(now))
    monkeypatch.setattr(forecaster.parts.cycle, "start", lambda *_: None)
    forecaster.start()
    assert forecaster.parts.cycle.run_once()
    assert set(forecaster.parts.board.last.method) == {"tft"}
    forecaster.close()
    assert (tmp_path / "state" / "scrape.npz").exists() and (tmp_path / "state" / "window.npz").exists()


def test_serving_does_not_import_what_only_training_needs():
    import subprocess
    import sys

    code = (
        "import sys, forecaster.service.app, forecaster.__main__; "
        "print([m for m in ('lightning', 'pandas', 'pytorch_forecasting', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_configuration_can_be_checked_without_running(capsys, tmp_path):
    assert main(["check-config"]) == 0
    assert "8 signals" in capsys.readouterr().out
    bad = tmp_path / "bad.yml"
    bad.write_text("refersh: 15s\nsignals: {}\n")
    assert main(["check-config", "--config.file", str(bad)]) == 1
    said = capsys.readouterr().err
    assert "refersh" in said and "refresh" in said and "bad.yml" in said


def test_a_checked_configuration_may_name_a_model_that_ships_and_no_folder_without_an_artifact(capsys, tmp_path):
    assert main(["check-config", "--config.file", "node_exporter"]) == 0
    assert "14 signals" in capsys.readouterr().out
    bad = tmp_path / "bad.yml"
    bad.write_text((PRESETS / "node_exporter.yml").read_text().replace("model: servers", "model: server"))
    assert main(["check-config", "--config.file", str(bad)]) == 1
    said = capsys.readouterr().err
    assert "server is not an artifact folder" in said and "servers" in said


def test_the_command_lines_source_and_model_win_over_the_file():
    from forecaster.__main__ import _parser
    from forecaster.commands.flags import read_config

    arguments = _parser().parse_args(
        [
            "serve",
            "--source",
            "scrape",
            "--source.url",
            "http://127.0.0.1:9/metrics",
            "--model",
            "none",
            "--web.listen-address",
            "127.0.0.1:7",
        ]
    )
    config = read_config(arguments)
    assert config.source.kind == "scrape" and config.source.targets == ("http://127.0.0.1:9/metrics",)
    assert config.model is None and config.listen == "127.0.0.1:7"


def test_an_unknown_preset_is_an_error_that_names_the_known_ones():
    with pytest.raises(SettingsError, match="fleet, kubernetes, node_exporter"):
        load_config("flet")


def test_the_thread_of_a_started_forecaster_forecasts_by_itself(bench):
    bench.forecaster.start()
    end = time.monotonic() + 30
    while bench.forecaster.parts.board.last is None and time.monotonic() < end:
        time.sleep(0.01)
    assert bench.client.get("/-/ready").status_code == 200


def test_reloads_at_the_same_time_leave_one_cycle_running(bench):
    import threading

    bench.forecaster.start()
    threads = [threading.Thread(target=bench.forecaster.reload) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(thread.name == "cycle" for thread in threading.enumerate()) == 1


def test_values_of_another_query_never_mix_with_these(bench, tmp_path):
    bench.run()
    before = bench.forecaster.parts.cycle.memory.window
    bench.overrides = bench.overrides | {"signals.cpu_pct.query": "server_cpu_utilization_ratio * 42"}
    assert bench.client.post("/-/reload").status_code == 200
    assert bench.forecaster.parts.cycle.memory.window is not before
    assert bench.forecaster.parts.cycle.memory.window.origin != before.origin
    assert bench.forecaster.parts.board.last is None


def test_a_reload_that_keeps_no_forecast_does_not_leave_the_success_of_the_last_one(bench, monkeypatch):
    bench.run()
    success = "forecaster_last_success_timestamp_seconds "
    bench.forecaster.reload()
    assert f"{success}0.0" not in bench.client.get("/metrics").text
    monkeypatch.setattr(Cycle, "start", lambda *_: None)
    bench.overrides = bench.overrides | {"total_shards": 2}
    bench.forecaster.reload()
    page = bench.client.get("/metrics").text
    assert f"{success}0.0" in page and "forecast_state{" not in page, "a fleet that is not complete ends no alert"


def test_a_reload_leaves_the_memory_to_a_thread_that_hangs_and_keeps_the_result(bench, monkeypatch):
    bench.run()
    old = bench.forecaster.parts
    monkeypatch.setattr(old.cycle, "close", lambda: False)
    bench.forecaster.reload()
    assert bench.forecaster.parts.cycle.memory.window is not old.cycle.memory.window
    assert bench.forecaster.parts.board.last is old.board.last


def test_a_model_that_reads_more_history_than_is_kept_is_refused(folder):
    with pytest.raises(composition.ModelError, match="reads 24 steps of history, encoder_steps is 12"):
        composition.load_model(load_config("fleet", {"model": str(folder), "warmup.samples": 100, "encoder_steps": 12}))


def test_a_model_is_taken_whatever_signals_are_configured_as_long_as_one_is_in_common(folder, caplog):
    config = load_config("fleet", {"model": str(folder)})
    swap, cpu = {"swap_pct": config.signals["mem_pct"]}, {"cpu_pct": config.signals["cpu_pct"]}
    with caplog.at_level("INFO"):
        assert composition.load_model(config.model_copy(update={"signals": swap | cpu})) is not None
    assert "model tiny: swap_pct not forecast, the trend is used" in caplog.text
    assert "model tiny: mem_pct, disk_io_mb_s, latency_ms, net_in_mb_s" in caplog.text
    with pytest.raises(composition.ModelError, match="forecasts cpu_pct, .*, none of which is among signals; add one"):
        composition.load_model(config.model_copy(update={"signals": swap}))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_model_reads_the_clock_of_the_configuration(folder, zone):
    model = composition.load_model(load_config("fleet", {"model": str(folder), "timezone": zone}))
    assert model.encoding.timezone == zone
    instant = np.array([START])
    clock, _ = features.clock_inputs(model.encoding, instant[:, None], np.zeros(1))
    there = datetime.fromtimestamp(START, ZoneInfo(zone))
    seconds = there.hour * 3600 + there.minute * 60 + there.second
    assert clock[0, 0, 0] == pytest.approx(np.sin(seconds / 86400 * 2 * np.pi), abs=1e-6)


def test_servers_beyond_the_limit_are_counted_and_shown_until_a_reload_makes_room(monkeypatch, folder):
    made = Bench(monkeypatch, **{"model": str(folder), "limits.servers": 2})
    try:
        made.run()
        known = len(made.source.latest(START).servers)
        held = made.client.get("/status").json["room"]
        assert held == {"held": 2, "limit": 2, "refused": known - 2}
        assert made.client.get("/status").json["servers"]["unforecast"] == {}, "their values are fine"
        assert f"forecaster_refused_servers_total {known - 2}.0" in made.client.get("/metrics").text
        made.overrides = {"model": str(folder)}
        made.forecaster.reload()
        made.clock.now += 15
        made.run()
        assert made.client.get("/status").json["room"] == {"held": known, "limit": 20_000, "refused": 0}
    finally:
        made.forecaster.close()
