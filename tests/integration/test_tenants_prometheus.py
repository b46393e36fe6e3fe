"""A tenant's Prometheus scrapes and reads curves with a token that is bound to the tenant.

Prometheus sends no header of ours with a scrape, and Debian's 2.42 none with a remote read either (prometheus#13030).
"""

import threading

import pytest
import requests
from werkzeug.serving import make_server

from tests.grafana_stack import await_true
from tests.integration.test_remote_read import Live
from tests.real_prometheus import running
from tests.results import ISSUED
from tests.service.test_tenants import Bench, doors

OWN = 'pay-"1"\\'


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tenants")
    bench = Bench(doors(folder), **{"tenants.required": True})
    server = make_server("127.0.0.1", 0, bench.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"127.0.0.1:{server.server_port}"
    try:
        with running(folder, f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: pay
    authorization: {{credentials_file: {folder}/bound.token}}
    static_configs: [{{targets: ["{url}"]}}]
  - job_name: nobody
    authorization: {{credentials_file: {folder}/free.token}}
    static_configs: [{{targets: ["{url}"]}}]
remote_read:
  - url: http://{url}/api/v1/read
    authorization: {{credentials_file: {folder}/bound.token}}
    read_recent: true
    required_matchers: {{source: curve}}
""") as prometheus:
            yield Live(prometheus, bench.forecaster.parts.board)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def servers(live: Live, query: str, **at: float) -> set[str]:
    return {one["metric"]["server"] for one in live.results("query", query=query, **at) if "server" in one["metric"]}


def test_a_scrape_with_the_token_of_a_tenant_stores_its_servers_only(live):
    await_true(lambda: live.results("query", query='up{job="pay"} == 1'), 30, "the tenant's scrape succeeds")
    await_true(lambda: live.results("query", query='up{job="nobody"} == 0'), 30, "one without a tenant is refused")
    assert servers(live, '{job="pay"}') == {OWN, "pay-café"}
    [count] = live.results("query", query='forecast_fleet_servers{job="pay"}')
    assert count["value"][1] == "1"
    names = requests.get(f"{live.url}/api/v1/label/server/values", timeout=10).json()["data"]
    assert sorted(names) == sorted([OWN, "pay-café"])


def test_remote_read_with_the_token_of_a_tenant_draws_its_curves_only(live):
    for matcher in ("", ',server=~".+"', ',server!="x"', ',profile!~"pay.*"'):
        found = servers(live, f'forecast_cpu_pct{{source="curve"{matcher}}}', time=ISSUED + 700)
        assert found == {OWN}, matcher
