"""Where a stack has its files and ports."""

from pathlib import Path

import yaml

from stack.layout import PORTS, ROOT, Layout, free_ports


def test_the_standard_layout_is_the_repository_itself():
    layout = Layout.here()
    assert (layout.root, layout.config, layout.data) == (ROOT, ROOT, ROOT / ".data")
    assert layout.url("exporter", "/metrics") == "http://127.0.0.1:8001/metrics"
    assert layout.localise("127.0.0.1:9090 127.0.0.1:5") == "127.0.0.1:9090 127.0.0.1:5"


def test_every_part_gets_a_port_of_its_own():
    ports = free_ports()
    assert set(ports) == set(PORTS)
    assert len(set(ports.values())) == len(PORTS)


def test_another_layout_has_its_own_copy_of_the_configuration_with_its_own_ports(tmp_path: Path):
    layout = Layout.elsewhere(tmp_path, {"exporter": 18001, "forecaster": 18000, "alertmanager": 19093})
    text = (tmp_path / "config" / "prometheus" / "prometheus.yml").read_text()
    scrapes = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    assert scrapes["fleet-exporter"]["static_configs"][0]["targets"] == ["127.0.0.1:18001"]
    assert "127.0.0.1:18000/api/v1/read" in text
    assert "127.0.0.1:9093" not in text
    assert list((tmp_path / "config" / "prometheus" / "rules").glob("*.yml"))
    preset = yaml.safe_load((tmp_path / "config" / "forecaster" / "presets" / "fleet.yml").read_text())
    assert preset["source"]["url"] == layout.url("prometheus")
    assert preset["source"]["targets"] == ["http://127.0.0.1:18001/metrics"]


def test_a_port_is_replaced_only_where_it_is_the_whole_port():
    layout = Layout(ROOT, ROOT, ROOT, ROOT, {**PORTS, "forecaster": 1, "exporter": 8000})
    assert (
        layout.localise("http://127.0.0.1:8000/ 127.0.0.1:80001 10.0.0.1:8000")
        == "http://127.0.0.1:1/ 127.0.0.1:80001 10.0.0.1:8000"
    )
    assert layout.localise("localhost:8001") == "localhost:8000"


def test_words_of_a_command_are_placed_in_the_layout():
    layout = Layout(
        Path("/repo"), Path("/state"), Path("/conf"), Path("/bin"), {**PORTS, "prometheus": 7, "grafana": 8}
    )
    assert layout.place("--storage.tsdb.path=.data/prometheus") == "--storage.tsdb.path=/state/prometheus"
    assert layout.place(".data/forecaster") == "/state/forecaster"
    assert (
        layout.place("--config.file=prometheus/prometheus.yml")
        == "--config.file=/conf/prometheus/prometheus.yml"
    )
    assert layout.place("exporter/fleet.yml") == "/conf/exporter/fleet.yml"
    assert layout.place("--web.listen-address=127.0.0.1:9090") == "--web.listen-address=127.0.0.1:7"
    assert layout.place("cfg:server.http_port=3000") == "cfg:server.http_port=8"
    assert layout.place("--cluster.listen-address=") == "--cluster.listen-address="
    assert layout.place("--no-collector.systemd") == "--no-collector.systemd"
