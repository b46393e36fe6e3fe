"""Hosts that a real Prometheus scrapes and that give the preset node_exporter no values."""

import pytest
from prometheus_client import CollectorRegistry

from forecaster.config import load_config
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.service.assembly import assemble
from tests.prometheus_answers import T0
from tests.real_prometheus import stored
from tests.results import Clock, page

NOW = T0 // 300 * 300 + 3600


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """After one cycle, without a model. A host of Linux, one of Windows, and one whose total memory is 0."""
    def samples():
        for t in range(NOW - 1800, NOW + 1, 15):
            for host, up in (("linux01:9100", 1), ("win01:9182", 1), ("odd01:9100", 1), ("off01:9182", 0)):
                yield f'up{{instance="{host}",job="node"}} {up} {t}'
            for name, value in (("idle", 0.7), ("user", 0.3)):
                yield (f'node_cpu_seconds_total{{cpu="0",mode="{name}",instance="linux01:9100",job="node"}} '
                       f"{1e5 + value * (t - NOW):.2f} {t}")
            yield f'windows_cpu_time_total{{mode="idle",instance="win01:9182",job="node"}} {t - NOW + 1e5} {t}'
            yield f'node_memory_MemAvailable_bytes{{instance="odd01:9100",job="node"}} 0 {t}'
            yield f'node_memory_MemTotal_bytes{{instance="odd01:9100",job="node"}} 0 {t}'

    with stored(tmp_path_factory.mktemp("hosts"), samples()) as url:
        config = load_config("node_exporter", {"source.url": url, "model": "none"})
        made = assemble(config, SelfMetrics(CollectorRegistry(), "test"), Clock(NOW))
        assert made.cycle.run_once(), made.cycle.errors
    return made


def test_a_host_of_another_system_is_seen_and_not_forecast_for_lack_of_values(parts):
    result = parts.board.last
    assert result.servers == ("linux01:9100",)
    assert result.unforecast == {"odd01:9100": "unusable_values", "win01:9182": "no_values"}
    assert 'forecast_server_unforecast{server="win01:9182",reason="no_values"} 1' in page(parts.collector).decode()


def test_a_host_that_has_cpu_alone_is_forecast_and_its_missing_signals_are_counted(parts):
    assert 'forecast_missing_signals{server="linux01:9100",profile="generic"} 4' in page(parts.collector).decode()
