"""How Grafana is started: by `make up` where it is installed, and in a container."""

from pathlib import Path

import pytest
import yaml

from stack.layout import PORTS, ROOT, Layout
from stack.parts import environment, plan

PROMETHEUS = ("prometheus", "promtool", "fleet-exporter", "fleet-forecaster")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A machine on which Prometheus and the forecaster are installed."""
    folder = tmp_path / "opt" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", *PROMETHEUS):
        (folder / name).touch(0o755)
    monkeypatch.setattr("sys.executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder))
    return Layout(ROOT, tmp_path / "data", tmp_path / "config", tmp_path / "tools", dict(PORTS))


def command(layout: Layout) -> tuple[str, ...]:
    (found,) = (part.command for part in plan(layout).parts if part.name == "grafana")
    return found


@pytest.mark.parametrize(
    ("program", "start"), [("grafana-server", ("grafana-server",)), ("grafana", ("grafana", "server"))]
)
def test_either_program_is_started_with_the_same_provisioning(
    layout: Layout, tmp_path: Path, program: str, start: tuple[str, ...]
):
    (tmp_path / "opt" / "bin" / program).touch(0o755)
    words = command(layout)
    assert words[0] == str(tmp_path / "opt" / "bin" / start[0])
    assert words[1 : len(start)] == start[1:]
    assert f"cfg:paths.provisioning={layout.config}/grafana/provisioning" in words
    assert "cfg:server.http_addr=127.0.0.1" in words
    assert "--homepath=/usr/share/grafana" in words


def test_an_unpacked_grafana_runs_from_its_own_folder(layout: Layout, tmp_path: Path):
    (tmp_path / "opt" / "bin" / "grafana").touch(0o755)
    (tmp_path / "opt" / "conf").mkdir()
    (tmp_path / "opt" / "conf" / "defaults.ini").touch()
    assert f"--homepath={tmp_path / 'opt'}" in command(layout)


def test_without_grafana_everything_else_runs(layout: Layout):
    assert {part.name for part in plan(layout).parts} == {"exporter", "forecaster", "pager", "prometheus"}


def test_it_opens_with_the_fleet_and_has_no_administrator_unless_a_password_is_set(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("GF_SECURITY_ADMIN_PASSWORD", raising=False)
    made = environment(layout)
    assert Path(made["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).is_file()
    assert made["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    monkeypatch.setenv("GF_SECURITY_ADMIN_PASSWORD", "chosen")
    assert environment(layout)["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "false"


def test_the_container_opens_with_the_fleet():
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    folder = service["environment"]["FLEETCAST_DASHBOARDS"]
    home = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/overview.json"
    assert f"./grafana/dashboards:{folder}:ro" in service["volumes"]
    assert service["image"].startswith("docker.io/grafana/grafana:11.6.")
