"""Which servers are whose: the arithmetic of shards, and what a forecaster makes of its share."""

import json
import math
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from forecaster.__main__ import main
from forecaster.config import load_config
from forecaster.limits import Limits
from forecaster.memory.scraped import ScrapeSource
from forecaster.readings import NoData, Reading, Readings
from forecaster.service.app import Forecaster
from forecaster.service.assembly import fingerprint
from forecaster.sources.prometheus import PrometheusSource
from forecaster.sources.shard import Shard, ordinal
from serving.settings import SettingsError
from stack.layout import ROOT
from tests.local_server import local_server
from tests.results import Clock
from tests.tiny_models import tiny_chances, write_untrained

pytestmark = pytest.mark.slow

NAMES = [f"pp{profile}{number:04d}" for profile in ("db", "web", "ml", "etl") for number in range(2_500)]
# as Prometheus' own hashmod numbers them; see also test_shards_live
GOLDEN = {"ppdb001": 3, "ppdb002": 3, "ppweb001": 1, "ppml001": 3, "127.0.0.1:9100": 0, "host.example.org": 4,
          "größe": 3, "a": 2}
NOW = 1_700_000_100.0


# the arithmetic


def test_a_servers_shard_is_the_one_it_always_was():
    assert {name: [shard.owns(name) for shard in shards(5)].index(True) for name in GOLDEN} == GOLDEN


def shards(total: int) -> list[Shard]:
    return [Shard(number, total) for number in range(total)]


@pytest.mark.parametrize("total", [1, 2, 5, 50])
def test_each_server_belongs_to_exactly_one_shard(total):
    owners = Counter(name for shard in shards(total) for name in NAMES if shard.owns(name))
    assert owners == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("total", [2, 5, 50])
def test_shards_are_about_equally_large(total):
    counts = [sum(map(shard.owns, NAMES)) for shard in shards(total)]
    expected = len(NAMES) / total
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_square < total - 1 + 4 * math.sqrt(2 * (total - 1))  # 4 standard deviations above its mean


def test_who_owns_a_server_does_not_depend_on_who_else_is_there():
    few = [name for name in NAMES[::7] if Shard(1, 3).owns(name)]
    assert few == [name for name in NAMES if Shard(1, 3).owns(name) and name in set(NAMES[::7])]


@pytest.mark.parametrize(("number", "total"), [(1, 1), (-1, 2), (5, 5)])
def test_a_shard_that_is_none_of_them_is_refused(number, total):
    with pytest.raises(ValueError, match=f"shard {number} of {total}: expected 0 <= shard < total_shards"):
        Shard(number, total)


@pytest.mark.parametrize(("given", "expected"), [
    ("3", 3), (3, 3), ("forecaster-3", 3), ("fleetcast-forecaster-a-12", 12), ("forecaster", "forecaster"),
    ("forecaster3", "forecaster3"), (None, None), (True, True)])
def test_a_pods_name_counts_as_its_number(given, expected):
    assert ordinal(given) == expected


def test_placeholders_are_filled_in():
    query = 'avg by (server) (x{shard="$shard"}[$step]) * $total_shards'
    assert Shard(2, 5).fill(query) == 'avg by (server) (x{shard="2"}[$step]) * 5'


def test_a_reading_keeps_the_rows_of_the_shard():
    servers = tuple(GOLDEN)
    values = np.arange(len(servers) * 2, dtype=np.float32).reshape(-1, 2)
    profiles = tuple(f"of {server}" for server in servers)
    mine = [row for row, server in enumerate(servers) if GOLDEN[server] == 1]
    assert 0 < len(mine) < len(servers)
    one = Shard(1, 5).share(Reading(NOW, servers, profiles, values))
    many = Shard(1, 5).share(Readings(np.array([NOW]), servers, profiles, values[None]))
    assert one.servers == many.servers == tuple(servers[row] for row in mine)
    assert one.profiles == many.profiles == tuple(f"of {server}" for server in one.servers)
    np.testing.assert_array_equal(one.values, values[mine])
    np.testing.assert_array_equal(many.values, values[None][:, mine])


# the configuration


def test_the_command_line_names_the_shard_by_number_or_by_pod(capsys, monkeypatch):
    served = []
    monkeypatch.setattr("forecaster.commands.serve.serve", lambda app, listen, *settings: served.append(listen))
    assert main(["serve", "--shard", "forecaster-4", "--total-shards", "5"]) == 0 and served
    assert main(["serve", "--shard=forecaster-5", "--total-shards=5"]) == 1
    assert "command line: total_shards: got 5; shard is 5, and shards are counted from 0" in capsys.readouterr().err
    assert main(["serve", "--shard=forecaster", "--total-shards=5"]) == 1
    assert "command line: shard: got 'forecaster'; expected a valid integer" in capsys.readouterr().err


def test_one_forecaster_is_the_only_shard_by_default():
    assert load_config("fleet").share == Shard(0, 1)
    with pytest.raises(SettingsError, match="total_shards: got 0; expected greater than or equal to 1"):
        load_config("fleet", {"total_shards": 0})


def test_a_window_of_another_shard_is_of_another_origin():
    made = [fingerprint(load_config("fleet", {"shard": number, "total_shards": total}))
            for number, total in ((0, 1), (0, 2), (1, 2), (1, 3))]
    assert len(set(made)) == 4


# sources: servers of other shards are left out before anything is kept


SERVERS = NAMES[:40]
MINE = [name for name in SERVERS if Shard(1, 3).owns(name)]
QUERY = SimpleNamespace(name="cpu_pct", query="cpu", metric="cpu", scale=1.0)


def answer(names, kind):
    """Prometheus' answer: one series for each name, its value the name's place."""
    def sample(number):
        return {"value": [NOW, str(number)]} if kind == "vector" else {"values": [[NOW, str(number)]]}

    result = [{"metric": {"server": name, "profile": "p"}, **sample(number)} for number, name in enumerate(names)]
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


@pytest.fixture
def prometheus():
    """A server that answers as Prometheus does; `names` may be changed."""
    def respond(request):
        request.answer(200, answer(server.names, "matrix" if request.path.endswith("range") else "vector"))

    with local_server(respond) as server:
        server.names = SERVERS
        yield server


def of_prometheus(server, shard, **options):
    return PrometheusSource(server.url, [QUERY], 300.0, shard=shard, clock=lambda: NOW, **options)


def test_prometheus_answers_for_all_and_the_shard_keeps_its_own(prometheus):
    source = of_prometheus(prometheus, Shard(1, 3), limits=Limits(series=len(MINE)))
    now, before = source.latest(NOW), source.range(NOW, NOW, 300.0)
    assert list(now.servers) == list(before.servers) == sorted(MINE)
    expected = [SERVERS.index(name) for name in sorted(MINE)]
    assert now.values[:, 0].tolist() == before.values[0, :, 0].tolist() == expected
    assert source.describe()["signals"]["cpu_pct"]["series"] == len(SERVERS)


def test_a_shard_without_a_server_of_a_fleet_that_has_some_reads_an_empty_fleet(prometheus):
    prometheus.names = [name for name in SERVERS if name not in MINE]
    source = of_prometheus(prometheus, Shard(1, 3))
    assert source.latest(NOW).values.shape == (0, 1) and source.range(NOW, NOW, 300.0).servers == ()
    prometheus.names = []
    with pytest.raises(NoData):
        source.latest(NOW)


def test_a_shard_without_a_server_reads_an_empty_fleet_also_where_one_signal_fails(prometheus):
    prometheus.names = [name for name in SERVERS if name not in MINE]
    answers = prometheus.respond
    prometheus.respond = lambda request: (request.answer(500, "down") if request.form["query"] == "mem"
                                          else answers(request))
    both = [QUERY, SimpleNamespace(name="mem_pct", query="mem")]
    reading = PrometheusSource(prometheus.url, both, 300.0, shard=Shard(1, 3)).latest(NOW)
    assert reading.values.shape == (0, 2) and list(reading.failed) == ["mem_pct"]


def test_a_series_that_names_no_server_is_left_out_and_said_by_every_shard(prometheus):
    prometheus.names = [*SERVERS, ""]
    source = of_prometheus(prometheus, Shard(1, 3))
    assert source.latest(NOW).servers == tuple(sorted(MINE))
    assert "without the label 'server'" in source.describe()["signals"]["cpu_pct"]["warnings"][0]


def test_a_query_can_ask_for_its_own_share_alone(prometheus):
    signal = SimpleNamespace(name="cpu_pct", query='cpu{shard="$shard"}')
    PrometheusSource(prometheus.url, [signal], 300.0, shard=Shard(1, 3)).latest(NOW)
    assert prometheus.seen[-1].form["query"] == 'cpu{shard="1"}'


def of_pages(url, shard, tmp_path, clock):
    return ScrapeSource([url], [QUERY], 300.0, scrape_interval=5.0, clock=clock, shard=shard)


def page(names):
    return "".join(f'cpu{{server="{name}"}} {number}\n' for number, name in enumerate(names))


def test_a_page_is_read_for_the_shards_servers_and_a_snapshot_of_another_shard_is_not_taken_over(tmp_path):
    clock = Clock(NOW)
    with local_server(lambda request: request.answer(200, page(SERVERS))) as server:
        source = of_pages(server.url, Shard(1, 3), tmp_path, clock)
        source.scrape()
        assert list(source.latest(NOW).servers) == sorted(MINE)
        source.snapshot(tmp_path / "held.npz")
        assert of_pages(server.url, Shard(1, 3), tmp_path, clock).restore(tmp_path / "held.npz", clock()) is None
        for other in (Shard(0, 3), Shard(1, 4), Shard()):
            assert of_pages(server.url, other, tmp_path, clock).restore(tmp_path / "held.npz", clock())


def test_a_page_with_servers_of_other_shards_only_is_an_empty_fleet_until_it_fails(tmp_path):
    clock, others = Clock(NOW), [name for name in SERVERS if name not in MINE]
    with local_server(lambda request: request.answer(200, page(others))) as server:
        source = of_pages(server.url, Shard(1, 3), tmp_path, clock)
        with pytest.raises(NoData, match="no target was asked yet"):
            source.latest(NOW)
        source.scrape()
        assert source.latest(NOW).servers == ()
        server.respond = lambda request: request.answer(500, "")
        source.scrape()
        with pytest.raises(NoData, match="HTTP 500"):
            source.latest(NOW)


def test_past_samples_of_other_shards_are_left_out(tmp_path):
    file = tmp_path / "past.om"
    file.write_text("".join(f'cpu{{server="{name}"}} 1 {NOW}\n' for name in SERVERS) + "# EOF\n")
    source = of_pages("http://127.0.0.1:1", Shard(1, 3), tmp_path, Clock(NOW))
    source.bootstrap(file)
    assert sorted(source.latest(NOW).servers) == sorted(MINE)


# a forecaster of a share


def forecaster(server, clock, tmp_path=None, **overrides):
    overrides = {"source.url": server.url, "model": "none", "storage": tmp_path, **overrides}
    return Forecaster(lambda: load_config("fleet", overrides), clock)


def get(made, path):
    return made.app.test_client().get(path)


def test_a_shard_without_servers_is_ready_healthy_and_empty(prometheus):
    prometheus.names = [name for name in SERVERS if name not in MINE]
    made = forecaster(prometheus, Clock(NOW), shard=1, total_shards=3)
    assert made.parts.cycle.run_once()
    assert get(made, "/-/ready").status_code == 200
    for path in ("/", "/status", "/alerts", "/predictions/current"):
        assert get(made, path).status_code == 200, path
    text = get(made, "/metrics").text
    assert 'forecaster_shard_ordinal{shard_ordinal="1"} 1.0' in text and "forecaster_total_shards 3.0" in text
    assert not [line for line in text.splitlines() if line.startswith(("forecast_", "observed_"))]
    assert get(made, "/status").get_json()["shard"] == {"ordinal": 1, "total": 3}
    prometheus.names = SERVERS
    made.parts.cycle.run_once()
    assert get(made, "/metrics").text.count("forecast_risk_score{") == len(MINE)


def test_a_snapshot_of_another_shard_is_not_taken_over(prometheus, tmp_path):
    clock = Clock(NOW)
    first = forecaster(prometheus, clock, tmp_path, shard=1, total_shards=3)
    first.parts.cycle.run_once()
    first.parts.cycle.memory.save()
    first.close()
    for shard, total, servers in ((1, 3, sorted(MINE)), (0, 3, []), (1, 2, [])):
        again = forecaster(prometheus, clock, tmp_path, shard=shard, total_shards=total)
        again.parts.cycle.memory.restore(NOW)
        assert list(again.parts.cycle.memory.window.servers) == servers
        again.close()


def test_a_reload_with_another_shard_begins_anew_and_says_so(prometheus):
    given = {"source.url": prometheus.url, "model": "none", "shard": 1, "total_shards": 3}
    made = Forecaster(lambda: load_config("fleet", given), Clock(NOW))
    made.parts.cycle.run_once()
    given["shard"] = 2
    made.start = lambda: None  # the cycle runs when the test says so
    made.reload()
    assert made.parts.cycle.run_once()
    text = get(made, "/metrics").text
    assert 'forecaster_shard_ordinal{shard_ordinal="2"} 2.0' in text and 'shard_ordinal="1"' not in text
    assert [name for name in SERVERS if f'forecast_risk_score{{server="{name}"' in text] == [
        name for name in SERVERS if Shard(2, 3).owns(name)]


def test_two_replicas_of_a_shard_give_the_same_bytes(prometheus, tmp_path):
    folder = write_untrained(tmp_path / "tiny")
    texts = []
    for seconds in (0.4, 7.1):  # the present of both is the last whole refresh
        clock = Clock(NOW + seconds)
        made = forecaster(prometheus, clock, shard=1, total_shards=3, model=str(folder))
        assert made.parts.cycle.run_once()
        lines = get(made, "/metrics").text.splitlines()
        texts.append([line for line in lines if line.startswith(("forecast_", "observed_"))])
    assert texts[0] == texts[1] and len(texts[0]) > 50 * len(MINE)


# figures of the whole fleet


def test_the_chance_of_any_server_that_the_rules_are_tested_with_is_the_forecasters():
    chances, servers = replace(tiny_chances(), separate=np.array([0.3, 1.0])), np.array([0.208, 0.505])
    text = (ROOT / "prometheus" / "tests" / "fleet_test.yml").read_text()
    for chance in servers:
        assert f"values: {chance:g}x8" in text
    assert 'window="30m"} > bool 0.538445750' in text
    assert 0.538445750 < chances.any("30m", servers) < 0.538445752


def test_what_fleet_figures_are_made_with_is_shown(prometheus):
    made = forecaster(prometheus, Clock(NOW), **{"risk.health.critical": 0.5, "risk.health.warning": 0.25})
    made._announce(replace(made.parts, joint=replace(tiny_chances(), separate=np.array([0.3, 1.0])).joint))
    text = get(made, "/metrics").text
    assert 'forecaster_health_limit_ratio{state="critical"} 0.5\n' in text
    assert 'forecaster_health_limit_ratio{state="warning"} 0.25\n' in text
    for window, value in (("30m", 0.3), ("8h", 1.0)):
        assert f'forecaster_calibration_parameter{{parameter="separate",window="{window}"}} {value}\n' in text
    made._announce(made.parts)
    assert "forecaster_calibration_parameter{" not in get(made, "/metrics").text
