"""The forecaster's configuration: presets that work, rules that speak, names that keep their meaning."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from forecaster.capacity.priority import GUARDS
from forecaster.config import HORIZON_STEPS, PRESETS, ForecasterConfig, RiskConfig, load_config
from forecaster.publish.gauges import FAMILIES
from forecaster.signals import steps_of
from forecaster.sources.up import render
from serving.settings import SettingsError
from tests.tools import tool

FIXTURES = Path(__file__).with_name("fixtures") / "config"
FLEET = ("cpu_pct", "mem_pct", "disk_io_mb_s", "latency_ms", "net_in_mb_s", "net_out_mb_s", "error_rate",
         "gc_pause_ms")

# rule -> key, the offending value as shown, what was expected, the remedy. Each has a pair of files that
# differ in one line: <rule>.good.yml loads, <rule>.bad.yml does not.
RULES = {
    "base_is_a_preset": ("base", "'node'", "expected one of fleet, kubernetes, node_exporter", "check the spelling"),
    "band_points_fall": ("risk.points.cpu", "90 (30 points)", "to fall from band to band", "highest band"),
    "bands_highest_first": ("risk.points.cpu", "above 96", "to fall from band to band", "highest band"),
    "bounds_are_ordered": ("signals.cpu_pct.max", "0", "more than min (0)", "raise max or lower min"),
    "calibrated_has_a_model": ("risk", "model is null", "expected a calibrated model", "set model"),
    "capacity_excepts_by_re2": ("capacity.resources.disk.ignore.fstype", "'nfs['", "expression of RE2", "correct"),
    "capacity_history_is_four_weeks": ("capacity.resources.disk.history", "2505600", "less than or equal", "correct"),
    "capacity_name_is_a_label": ("capacity.resources", "'my-disk'", "lower case letters", "rename the resource"),
    "device_is_known": ("device", "'tpu'", "expected 'auto', 'cpu' or 'cuda'", "correct the value"),
    "dropped_after_stale": ("drop_after", "'30m'", "more than stale_after (1800s)", "raise drop_after"),
    "horizon_is_whole_steps": ("horizons", "'7m'", "a multiple of 5m", "name such a time"),
    "horizon_named_once": ("horizons", "'60m'", "expected each once", "remove the repetition"),
    "horizon_within_eight_hours": ("horizons", "'9h'", "from 5m to 8h", "name such a time"),
    "incident_has_one_limit": ("risk.incidents.hot.below", "", "expected one of above and below", "give one"),
    "incident_has_risk_window": ("risk.incident", "", "expected levels for 30m", "add incident.30m"),
    "incident_matches_by_re2": ("risk.incidents.hot.servers", "'web['", "not a regular expression of RE2", "correct"),
    "incident_name_is_a_label": ("risk.incidents", "'too-hot'", "lower case letters with digits", "rename"),
    "incident_names_a_signal": ("risk", "hot.signal is 'cpu'", "expected one of cpu_pct", "remove the incident"),
    "incident_window_is_shown": ("risk", "incident.8h", "not one of windows (30m)", "add it to windows"),
    "job_is_set": ("signals.cpu_pct.query", "$job", "stands for source.job", "set it"),
    "keys_are_known": ("refesh", "'15s'", "unknown key", "did you mean refresh?"),
    "label_is_a_name": ("source.server_label", "''", "at least 1 character", "correct the value"),
    "labels_differ": ("source.profile_label", "'instance'", "a label other than server_label", "or null"),
    "listen_is_host_and_port": ("listen", "'8000'", "expected host:port", "correct the value"),
    "metric_is_a_name": ("signals.cpu_pct.metric", "'cpu-ratio'", "pattern", "correct the value"),
    "moderate_below_severe": ("risk.incident.30m.moderate", "p90 99", "severe's 98", "lower moderate's p90"),
    "one_way_to_log_in": ("source.basic_auth", "", "expected one way to log in", "remove basic_auth"),
    "certificate_has_a_key": ("source.key_file", "nothing", "expected cert_file and key_file", "give both or neither"),
    "p2_below_p1": ("risk.priorities.p2", "70", "less than p1 (70)", "lower p2 or raise p1"),
    "prometheus_has_url": ("source.url", "nothing", "kind prometheus needs an address", "set source.url"),
    "query_closes_its_brackets": ("signals.cpu_pct.query", "'(cpu > 0'", "not closed", "close it"),
    "query_has_known_placeholders": ("signals.cpu_pct.query", "$interval", "unknown", "only $step"),
    "query_not_empty": ("signals.cpu_pct.query", "' '", "expected a PromQL expression", "write one"),
    "refresh_divides_step": ("refresh", "'7s'", "a divisor of step (300s)", "change refresh or step"),
    "refresh_within_step": ("refresh", "'10s'", "a divisor of step (5s)", "change refresh or step"),
    "role_has_its_unit": ("risk", "cpu_pct, in ratio", "expected percent", "convert in the query"),
    "role_names_a_signal": ("risk", "roles.cpu is 'cpu'", "expected one of cpu_pct", "correct roles.cpu"),
    "roles_differ": ("risk.roles.memory", "'cpu_pct'", "plays role cpu already", "name another signal"),
    "scale_is_positive": ("signals.cpu_pct.scale", "0", "greater than 0", "correct the value"),
    "scrape_has_metrics": ("signals", "cpu_pct.metric", "kind scrape reads metrics", "add cpu_pct.metric"),
    "scrape_has_targets": ("source.targets", "[]", "kind scrape needs an address", "set source.targets"),
    "secrets_stay_in_files": ("source.headers", "Authorization", "belongs in a file", "use bearer"),
    "shard_is_one_of_them": ("total_shards", "shard is 2", "from 0; expected more than 2", "raise total_shards"),
    "signal_name_fits_metric_name": ("signals", "'cpu-pct'", "lower case letters", "rename the signal"),
    "signal_name_is_free": ("signals", "'risk_score'", "no name the forecaster uses", "rename the signal"),
    "signal_name_is_no_window": ("signals", "forecast_cpu_pct_max", "two series", "rename the signal"),
    "signals_not_empty": ("signals", "", "at least 1 item", "correct the value"),
    "stale_after_two_refreshes": ("stale_after", "'29s'", "two refreshes (30s)", "raise stale_after"),
    "step_at_most_five_minutes": ("step", "'10m'", "expected at most 5m", "use 5m"),
    "link_is_http": ("links", "Pager is '127.0.0.1:8003'", "such as http://127.0.0.1:8001/", "start it with http://"),
    "tenant_has_matchers": ("tenants.servers.pay", "'{}'", "there is no matcher", "every server"),
    "tenant_matches_by_re2": ("tenants.servers.pay", "'pay['", "not an expression of RE2", "correct"),
    "tenant_matches_known_labels": ("tenants.servers.pay", "team is not a label", "server and profile", "use the"),
    "tenant_name_fits_a_header": ("tenants.servers.pay|all", "pattern", "correct the value"),
    "tenants_are_there": ("tenants", "there is no tenant", "some in servers", "remove required"),
    "timezone_is_known": ("timezone", "'Europe/Atlantis'", "such as UTC or Europe", "correct the value"),
    "ttl_of_two_refreshes": ("forecast_ttl", "'20s'", "at least two refreshes (30s)", "raise forecast_ttl"),
    "unit_is_known": ("signals.cpu_pct.unit", "'furlongs'", "expected 'percent'", "correct the value"),
    "up_is_a_selector": ("source.up", "max by", "such as up{job=", "times of its samples"),
    "url_has_no_login": ("source.url", "https://me", "expected one without a user", "use basic_auth"),
    "url_is_http": ("source.url", "'prometheus:9090'", "such as http://127.0.0.1:9090", "start it with http://"),
    "warmup_fits_encoder": ("warmup", "1441 samples", "at most the 7200s", "lower samples"),
    "warning_below_critical": ("risk.health.warning", "0.7", "less than critical (0.7)", "lower warning"),
    "windows_not_empty": ("windows", "[]", "expected a list of names", "name at least one"),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_names_file_key_value_and_remedy(rule):
    file = FIXTURES / f"{rule}.bad.yml"
    with pytest.raises(SettingsError) as caught:
        load_config(file)
    assert len(caught.value.problems) == 1, caught.value
    key, *parts = RULES[rule]
    assert str(caught.value).startswith(f"{file}: {key}: ")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("rule", RULES)
def test_the_good_twin_of_a_broken_file_loads_and_differs_in_one_line(rule):
    good, bad = ((FIXTURES / f"{rule}.{kind}.yml").read_text().splitlines() for kind in ("good", "bad"))
    assert isinstance(load_config(FIXTURES / f"{rule}.good.yml"), ForecasterConfig)
    assert len(set(bad) - set(good)) == 1
    assert abs(len(bad) - len(good)) <= 1


def test_every_fixture_belongs_to_a_rule():
    assert {file.name for file in FIXTURES.iterdir()} == {f"{rule}.{kind}.yml" for rule in RULES
                                                         for kind in ("good", "bad")}


def test_fleet_preset_has_the_eight_signals_in_order_with_their_bounds():
    config = load_config("fleet")
    assert tuple(config.signals) == FLEET
    bounds = {name: (signal.min, signal.max) for name, signal in config.signals.items()}
    bounded = {"cpu_pct": (0, 100), "mem_pct": (0, 100), "error_rate": (0, 1)}
    assert bounds == dict.fromkeys(FLEET, (0, None)) | bounded
    assert (config.listen, config.model) == ("127.0.0.1:8000", "default")
    assert (config.source.server_label, config.source.profile_label) == ("server", "profile")


def test_fleet_preset_spells_out_the_default_risk():
    spelled = yaml.safe_load((PRESETS / "fleet.yml").read_text())["risk"]
    assert spelled.keys() == RiskConfig.model_fields.keys() - {"method", "severe"}, "all that is not deprecated"
    assert load_config("fleet").risk == RiskConfig()


def test_fleet_preset_can_be_scraped_instead():
    config = load_config("fleet", {"source.kind": "scrape"})
    assert all(signal.metric and signal.metric in signal.query for signal in config.signals.values())


def test_node_preset_forecasts_real_hosts_by_trend_on_its_own_port():
    config = load_config("node_exporter")
    of_every_host = "cpu_pct", "mem_pct", "disk_io_mb_s", "net_in_mb_s", "net_out_mb_s"
    assert tuple(config.signals)[:5] == of_every_host
    assert tuple(name for name, signal in config.signals.items() if not signal.optional) == of_every_host
    assert {signal.like for signal in config.signals.values() if signal.optional} <= {*of_every_host}
    assert (config.listen, config.model) == ("127.0.0.1:8002", "servers")
    assert (config.source.server_label, config.source.profile_label) == ("instance", None)
    assert config.source.default_profile == "generic"


def test_defaults_are_those_of_the_design():
    config = load_config(FIXTURES / "unit_is_known.good.yml")
    assert (config.step, config.refresh, config.encoder_steps) == (300, 15, 24)
    assert (config.warmup.samples, config.warmup.sample_interval) == (150, 5)
    assert (config.forecast_ttl, config.stale_after, config.drop_after) == (120, 1800, 86400)
    assert (config.timezone, config.model, config.device, config.storage) == ("UTC", "default", "auto", None)
    assert config.horizons == {"5m": 1, "30m": 6, "1h": 12, "4h": 48, "8h": 96}
    assert config.windows == {"30m": 6, "8h": 96}
    assert (config.shard, config.total_shards) == (0, 1)
    assert (config.source.timeout, config.source.retries, config.source.scrape_interval) == (5, 2, 5)
    assert config.live.model_dump() == {"enabled": True, "window": 86400, "minimum": 500, "correction": True,
                                        "max_widening": 3}
    assert (config.publish.max_curve_samples, config.push.url, config.push.timeout) == (1_000_000, None, 10)


@pytest.mark.parametrize(("key", "limit", "beyond"), [
    ("listen", "a:65535", "a:65536"), ("source.retries", 0, -1), ("source.retries", 10, 11), ("shard", 0, -1),
    ("total_shards", 1, 0), ("encoder_steps", 2, 1), ("encoder_steps", 96, 97), ("step", "5m", "301s"),
    ("refresh", "5m", "10m"), ("warmup.samples", 1, 0), ("warmup.samples", 20, 21), ("forecast_ttl", "10m", "599s"),
    ("stale_after", "10m", "599s"), ("drop_after", "1801s", "1800s"), ("publish.max_curve_samples", 96, 95),
    ("live.minimum", 1, 0), ("live.max_widening", 1, 0.99),
])
def test_a_limit_is_accepted_and_what_lies_beyond_is_one_problem(key, limit, beyond):
    others = {"encoder_steps": 2, "refresh": "5m", "forecast_ttl": "10m", "warmup.samples": 20,
              "warmup.sample_interval": "30s"}
    load_config("node_exporter", others | {key: limit})
    with pytest.raises(SettingsError) as caught:
        load_config("node_exporter", others | {key: beyond})
    assert len(caught.value.problems) == 1, caught.value


@pytest.mark.parametrize("kind", ["prometheus", "scrape"])
@pytest.mark.parametrize("label", ["host.name", "host-name", "k8s.node/name", "сервер"])
def test_the_server_label_may_be_any_name_that_prometheus_3_stores(label, kind):
    assert load_config("fleet", {"source.server_label": label, "source.kind": kind}).source.server_label == label


@pytest.mark.parametrize("group", ["$1", "${1}"])
def test_the_groups_of_label_replace_are_promqls_own(group):
    query = f'label_replace(rate(cpu[$step]), "server", "{group}", "instance", "(.+):[0-9]+")'
    assert load_config("fleet", {"signals.cpu_pct.query": query}).signals["cpu_pct"].query == query


@pytest.mark.parametrize("query", ['a{x=")"}', "a{x='('}", 'a{x="\\"("}', "a{x=`\\(`}", "sum(a{x='#('}[5m:1m])"])
def test_brackets_in_the_strings_of_a_query_are_none(query):
    assert load_config("fleet", {"signals.cpu_pct.query": query}).signals["cpu_pct"].query == query


def test_comments_of_a_query_are_left_out():
    query = 'sum( # of (all\n  a{x="#1"})  # end'
    assert load_config("fleet", {"signals.cpu_pct.query": query}).signals["cpu_pct"].query == 'sum( a{x="#1"})'


@pytest.mark.parametrize("query", ["a)", "(a]", "sum(a[5m)", "a{x='1'}}"])
def test_a_bracket_that_closes_nothing_is_named(query):
    with pytest.raises(SettingsError, match="closes nothing"):
        load_config("fleet", {"signals.cpu_pct.query": query})


@pytest.mark.parametrize("interval", ["2m", "5m"])
def test_hosts_may_be_scraped_as_seldom_as_they_are(interval):
    assert load_config("node_exporter", {"source.scrape_interval": interval})


def test_no_signal_can_take_the_name_of_a_gauge():
    named = {family.name.removeprefix("forecast_") for family in FAMILIES if "<signal>" not in family.name}
    named |= {"server_unforecast", "missing_signals", "incident_recurring_ratio", "incident_chance", "maintenance",
              "capacity_used_ratio", "capacity_full_chance"}
    assert len(named) > 20
    for name in named:
        with pytest.raises(SettingsError, match="no name the forecaster uses"):
            load_config("fleet", {f"signals.{name}": {"query": "x", "unit": "count"}})


def test_names_of_horizons_keep_their_steps_when_time_runs_faster():
    config = load_config("fleet", {"step": "5s", "refresh": "1s", "warmup.sample_interval": "500ms"})
    assert config.horizons["30m"] == 6
    assert config.windows["8h"] == HORIZON_STEPS


@pytest.mark.parametrize(("label", "steps"), [("5m", 1), ("30m", 6), ("1h30m", 18), ("8h", 96), ("300s", 1)])
def test_a_horizon_is_named_by_its_time(label, steps):
    assert steps_of(label) == steps


def test_horizons_are_listed_shortest_first():
    config = load_config("fleet", {"horizons": ["8h", "5m", "30m"], "windows": ["8h", "30m"]})
    assert (list(config.horizons), list(config.windows)) == (["5m", "30m", "8h"], ["30m", "8h"])


def test_overrides_win_over_the_file_and_none_leaves_it():
    config = load_config("fleet", {"source.url": "http://metrics:9090/", "listen": None,
                                   "signals.cpu_pct.max": 50})
    assert (config.source.url, config.listen) == ("http://metrics:9090", "127.0.0.1:8000")
    assert config.signals["cpu_pct"].max == 50


def test_a_wrong_override_is_blamed_on_the_command_line():
    with pytest.raises(SettingsError, match=r"^command line: refresh: got '7s'; expected a divisor"):
        load_config("fleet", {"refresh": "7s"})


def test_the_heuristic_can_be_chosen_on_the_command_line():
    assert load_config("fleet", {"model": "none"}).model is None


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(SettingsError, match="^flet: there is no such preset .* fleet, kubernetes, node_exporter, or"):
        load_config("flet")


def test_a_missing_file_is_named():
    with pytest.raises(SettingsError, match=r"conf/missing\.yml: cannot be read"):
        load_config("conf/missing.yml")


def test_several_problems_are_all_told():
    with pytest.raises(SettingsError) as caught:
        load_config("fleet", {"refresh": "7s", "device": "tpu", "timezone": "Nowhere"})
    assert len(caught.value.problems) == 3


def test_a_file_changes_its_base_key_by_key_and_null_removes_a_mapping(tmp_path):
    file = tmp_path / "mine.yml"
    file.write_text("base: kubernetes\nsource: {job: nodes}\nrefresh: 30s\nhorizons: [30m]\nmodel: null\n"
                    "signals: {cpu_pct: {max: 90}, fds_used_pct: null}\nrisk: {incidents: {fds_exhausted: null}}\n"
                    "capacity: {resources: {entropy: null, volume: {limit: 0.9}}}\n")
    mine, base = load_config(file), load_config("node_exporter")
    assert (mine.refresh, mine.model, list(mine.horizons)) == (30, None, ["30m"])
    assert mine.source.up == 'up{job="nodes"}' and mine.source.server_label == base.source.server_label
    assert mine.signals["cpu_pct"].max == 90
    assert mine.signals["cpu_pct"].query == base.signals["cpu_pct"].query.replace('job="node"', 'job="nodes"')
    assert set(base.signals) - set(mine.signals) == {"fds_used_pct"}
    resources = mine.capacity.resources
    assert set(resources) == set(base.capacity.resources) - {"entropy"} | {"volume", "volume_inodes"}
    assert resources["volume"].limit == 0.9 and resources["volume"].unit == "bytes"


@pytest.mark.parametrize("preset", ["fleet", "node_exporter", "kubernetes"])
def test_priorities_of_what_fills_up_are_those_whose_alerts_were_counted(preset):
    assert load_config(preset).capacity.priorities.guards == GUARDS


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        load_config("fleet").refresh = 1


@pytest.mark.parametrize("preset", ["fleet", "node_exporter"])
def test_numbers_in_presets_come_with_a_reason(preset):
    lines = (PRESETS / f"{preset}.yml").read_text().splitlines()
    reasoned = 0
    for number, line in enumerate(lines):
        code, _, comment = line.partition("#")
        key, _, value = code.partition(":")
        if re.search(r"(?<![\w.])\d", value) and key.strip() not in ("query", "min"):
            above = [earlier.lstrip()[:1] for earlier in lines[max(0, number - 9):number]]
            assert comment or "#" in above, line
            reasoned += 1
    assert reasoned > 10


# -- the presets' queries, evaluated by promtool --------------------

def evaluate(folder: Path, preset: str, series: dict[str, str], expected: dict[str, dict[str, float]],
             at: str) -> None:
    """Has promtool evaluate each signal's query on `series` (5 s apart); expected by signal and labels, nothing of the
    others."""
    config = load_config(preset)
    tests = [{"expr": f"round({render(signal.query, config.step)}, 0.0001)", "eval_time": at,
              "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.get(name, {}).items()]}
             for name, signal in config.signals.items()]
    file = folder / "queries.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1s", "tests": [{
        "interval": "5s", "promql_expr_test": tests,
        "input_series": [{"series": name, "values": values} for name, values in series.items()]}]}))
    result = subprocess.run([tool("promtool"), "test", "rules", str(file)], capture_output=True, text=True,
                            check=False, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_fleet_queries_give_means_in_signal_units_and_drop_a_server_at_once(tmp_path):
    config = load_config("fleet")
    here, gone = '{profile="database", server="ppdb001"}', '{profile="database", server="ppdb002"}'
    series = {}
    for signal in config.signals.values():
        base = 50 / signal.scale
        series[signal.metric + here] = f"{base / 2:g}x59 {base * 1.5:g}x59"  # 5 min at half, 5 at 1.5 times
        series[signal.metric + gone] = f"{base:g}x100 stale"
    # 30 samples of the trailing 5 minutes lie before the rise and 30 behind it
    evaluate(tmp_path, "fleet", series, {name: {here: 50, gone: 50} for name in config.signals}, "7m28s")
    evaluate(tmp_path, "fleet", series, {name: {here: 75} for name in config.signals}, "9m58s")


def test_node_queries_give_one_series_per_host_and_no_rate_of_a_collector_that_fails(tmp_path):
    def host(metric, instance="a:9100", **labels):
        labels = {"instance": instance, "job": "node", **labels}
        return metric + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"

    def rising(per_second):
        return f"0+{per_second * 5:g}x120"

    series = {
        host("up"): "1x120",
        host("node_memory_MemTotal_bytes"): "8e9x120",
        host("node_memory_MemAvailable_bytes"): "2e9x120",
        host("node_memory_MemFree_bytes"): "1e9x120",
        host("node_disk_read_bytes_total", device="vda"): rising(2e6),
        host("node_disk_written_bytes_total", device="vda"): rising(1e6),
        host("node_disk_read_bytes_total", device="nvme0n1"): rising(4e6),
        host("node_disk_written_bytes_total", device="nvme0n1"): rising(0),
        host("node_disk_read_bytes_total", device="dm-0"): rising(2e6),
        host("node_disk_written_bytes_total", device="dm-0"): rising(1e6)}
    for cpu, (user, steal) in {"0": (0.25, 0.25), "1": (0.5, 0)}.items():
        for mode, share in {"user": user, "steal": steal, "idle": 0.25, "iowait": 0.25}.items():
            series[host("node_cpu_seconds_total", cpu=cpu, mode=mode)] = rising(share)
    for device, share in {"eth0": 1, "wlan0": 2, "lo": 64, "veth1": 64, "docker0": 64, "br-1": 64}.items():
        series[host("node_network_receive_bytes_total", device=device)] = rising(share * 1e6)
        series[host("node_network_transmit_bytes_total", device=device)] = rising(share * 5e5)
    series[host("node_scrape_collector_success", collector="netdev")] = "1x120"
    lost = {name.replace("a:9100", "b:9100"): values.replace("x120", "x89 stale") for name, values in series.items()}
    lost |= {host("node_scrape_collector_success", "b:9100", collector=name): "1x89 0x30"
             for name in ("cpu", "netdev", "diskstats")}
    other = {name.replace('"node"', '"edge"').replace("a:9100", "c:9100"): values
             for name, values in series.items()}

    values = {"cpu_pct": 50, "mem_pct": 75, "disk_io_mb_s": 7, "net_in_mb_s": 3, "net_out_mb_s": 1.5}
    for at, kept in (("7m", values), ("9m", ["mem_pct"])):  # rates would sink, a mean stays what it was
        expected = {name: {f'{{instance="{address}", job="node"}}': value
                           for address in ("a:9100", *(["b:9100"] if name in kept else []))}
                    for name, value in values.items()}
        evaluate(tmp_path, "node_exporter", series | lost | other, expected, at)
