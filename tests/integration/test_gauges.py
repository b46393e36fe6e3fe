"""The gauges of /metrics as a real Prometheus stores them."""

import time

import pytest
import yaml

from tests.grafana_stack import Prometheus, await_true
from tests.local_server import local_server
from tests.publish.test_gauges import answers, ours, samples_of
from tests.real_prometheus import running


@pytest.mark.parametrize("scored", [("cpu_pct", "mem_pct", "latency_ms"), None], ids=["essential", "all"])
def test_prometheus_stores_the_page_in_either_format_compressed_as_it_asks(tmp_path, free_port, scored):
    answered = answers(scored)

    def respond(request):
        asked = dict(request.headers)
        if request.path == "/text":  # Prometheus would rather have OpenMetrics; an older one cannot
            asked["Accept"] = "text/plain;version=0.0.4"
        response = answered(asked)
        request.answer(200, response.data, **{name.replace("-", "_"): text for name, text in response.headers.items()})
        formats[request.path] = response.content_type, response.headers["Content-Encoding"]

    formats, expected = {}, ours(samples_of(answered({}).data))
    with local_server(respond) as server:
        target = [{"targets": [server.url.removeprefix("http://")]}]
        config = {"scrape_configs": [
            {"job_name": name, "metrics_path": f"/{name}", "scrape_interval": "1s", "scrape_timeout": "1s",
             "static_configs": target} for name in ("text", "openmetrics")]}
        with running(tmp_path, yaml.safe_dump(config)) as url:
            api = Prometheus(url)
            await_true(lambda: scraped(api) == {"text", "openmetrics"}, 30, "both pages are scraped")
            for job in ("text", "openmetrics"):
                found = api.instant(f'{{job="{job}",__name__=~"(forecast|forecaster|observed)_.+"}}', time.time())
                stored = {}
                for one in found:
                    labels = {name: text for name, text in one["metric"].items() if name not in ("job", "instance")}
                    stored[labels.pop("__name__"), frozenset(labels.items())] = float(one["values"][0][1])
                assert ours(stored) == expected, job
    assert formats["/text"] == ("text/plain; version=0.0.4; charset=utf-8", "gzip")
    kind, encoding = formats["/openmetrics"]
    assert kind.startswith("application/openmetrics-text") and encoding == "gzip"


def scraped(api: Prometheus) -> set[str]:
    """The jobs whose last scrape was understood."""
    try:
        return {one["metric"]["job"] for one in api.instant("up == 1", time.time())}
    except OSError:  # it is starting
        return set()
