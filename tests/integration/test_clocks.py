"""Forecasters whose clock is minutes from that of a real Prometheus, which scrapes them."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import yaml
from werkzeug.serving import make_server

from forecaster.config import load_config
from forecaster.service.app import Forecaster
from forecaster.sources.clock import SourceClock
from tests.grafana_stack import Prometheus, await_true
from tests.real_prometheus import running

pytestmark = pytest.mark.slow

BEHIND, AHEAD, FAR = "behind", "ahead", "far"  # the forecasters by the clocks of their machines
SKEWS = {BEHIND: -180.0, AHEAD: 180.0, FAR: 600.0}
CONFIG = {
    "source": {"server_label": "instance", "profile_label": None, "up": 'up{job="prometheus"}'},
    "signals": {"goroutines": {"query": 'max by (instance) (avg_over_time(go_goroutines{job="prometheus"}[$step]))',
                               "unit": "count"}},
    "model": None, "refresh": "1s", "step": "4s", "warmup": {"samples": 2, "sample_interval": "1s"},
    "forecast_ttl": "8s", "stale_after": "60s",
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[tuple[Prometheus, dict[str, Forecaster]]]:
    """A Prometheus that scrapes itself and the forecasters, which read it."""
    folder = tmp_path_factory.mktemp("clocks")
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        addresses = dict(zip((*SKEWS, "prometheus"), (f"127.0.0.1:{one.getsockname()[1]}" for one in ports),
                             strict=True))
    jobs = [{"job_name": name, "static_configs": [{"targets": [address]}]} for name, address in addresses.items()]
    (folder / "forecaster.yml").write_text(yaml.safe_dump(CONFIG))
    config = yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs})
    with running(folder, config, address=addresses["prometheus"]) as url:
        api = Prometheus(url)
        await_true(lambda: answers(api, 'count_over_time(up{job="prometheus"}[20s]) > 5'), 30, "it scraped itself")
        with contextlib.ExitStack() as stack:
            made = {}
            for name, skew in SKEWS.items():
                made[name] = Forecaster(lambda: load_config(folder / "forecaster.yml", {"source.url": url}),
                                        SourceClock(lambda skew=skew: time.time() + skew))
                stack.callback(made[name].close)
                host, port = addresses[name].split(":")
                web = make_server(host, int(port), made[name].app, threaded=True)
                thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05})
                thread.start()
                stack.callback(thread.join)
                stack.callback(web.shutdown)
                made[name].start()
            yield api, made


def answers(api: Prometheus, query: str) -> list[dict]:
    """The series of an answer, none while it does not answer."""
    try:
        return api.instant(query, time.time())
    except OSError:
        return []


def number(api: Prometheus, query: str) -> float | None:
    found = answers(api, query)
    return float(found[0]["values"][0][1]) if found else None


@pytest.mark.parametrize("name", SKEWS)
def test_forecasts_come_from_the_first_cycle_on_and_carry_prometheus_time(fleet, name):
    api, made = fleet
    board, cycle = made[name].parts.board, made[name].parts.cycle
    await_true(lambda: board.last, 20, "it forecasts")
    await_true(lambda: answers(api, f'forecaster_cycles_total{{job="{name}"}} > 5'), 30, "it was scraped")
    assert not any(error for stage, error in cycle.errors.items() if stage != "clock"), cycle.errors
    assert number(api, f'sum(forecaster_cycle_failures_total{{job="{name}"}})') == 0
    assert abs(time.time() - board.last.issued) < 10 and list(board.last.servers) == [api.url.removeprefix("http://")]


@pytest.mark.parametrize("name", SKEWS)
def test_the_age_of_the_last_success_is_right_in_prometheus_eyes(fleet, name):
    api, _ = fleet
    await_true(lambda: number(api, f'forecaster_last_success_timestamp_seconds{{job="{name}"}} > 0'), 30, "a success")
    age = number(api, f'time() - forecaster_last_success_timestamp_seconds{{job="{name}"}}')
    assert -2 < age < 20
    assert number(api, f'forecaster_clock_offset_seconds{{job="{name}"}}') == pytest.approx(-SKEWS[name], abs=1)


@pytest.mark.parametrize("name", SKEWS)
def test_the_difference_is_told_in_status_and_on_the_page_and_a_large_one_as_a_problem(fleet, name):
    forecaster = fleet[1][name]
    await_true(lambda: forecaster.parts.board.last, 20, "it forecasts")
    client, side = forecaster.app.test_client(), "behind" if SKEWS[name] > 0 else "ahead of"
    status = client.get("/status").json
    assert status["source"]["clock_offset_seconds"] == pytest.approx(-SKEWS[name], abs=1)
    assert status["forecast"]["current"] and status["forecast"]["age_seconds"] < 10
    assert status["source"]["clock"].endswith(f" s {side} this machine's")
    assert f" s {side} this machine" in client.get("/").get_data(as_text=True)
    assert (status["errors"]["clock"] is None) == (name != FAR)
