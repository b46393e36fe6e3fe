"""The wheel, installed where there is no checkout: it forecasts a fleet and exports what others need."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stack.layout import HOST, ROOT, free_ports
from tests.documents import blocks, words
from tests.stack_rehearsal import await_true
from tests.tools import tool

PAGE = "docs/your-hosts.md"
NOT_OF_THE_BUILD = shutil.ignore_patterns(
    ".*", "build", "dist", "site", "tests", "docs", "examples", "*.egg-info", "__pycache__"
)
WALK = [line for block in blocks("sh", PAGE) for line in block.replace("\\\n", " ").splitlines()
        if {"export", "promtool", "amtool"} & {*words(line)} or "check-config --config.file node_exporter" in line]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed in .venv, which sees the packages of this environment but not the checkout."""
    source, made, home = (tmp_path_factory.mktemp(name) for name in ("source", "wheel", "home"))
    shutil.copytree(ROOT, source, ignore=NOT_OF_THE_BUILD, symlinks=True, dirs_exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(made), str(source)], home)
    venv.create(home / ".venv", symlinks=True)
    python, [wheel] = home / ".venv" / "bin" / "python", made.glob("fleetcast-*.whl")
    run([*pip, "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)], home)
    [site] = (home / ".venv" / "lib").glob("python*/site-packages")
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "packages.pth").write_text("\n".join(packages))  # .pth files in there, as the checkout's, are not read
    return home


def run(command: list[str], folder: Path) -> str:
    """What a command prints; fails with it where the command does."""
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """This environment with the toolbox on PATH and nothing that leads Python to the checkout."""
    path = os.pathsep.join([str(Path(tool("promtool")).parent), os.environ["PATH"]])
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, "PATH": path}


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[None]:
    """A program that is ended afterwards."""
    with (folder / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def answer(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as response:
        return json.load(response)


def test_what_runs_is_the_wheel(home: Path):
    modules = ("forecaster", "exporter", "serving", "stack")
    program = f"import {', '.join(modules)}; print(*(m.__file__ for m in ({', '.join(modules)})))"
    files = run([".venv/bin/python", "-c", program], home).split()
    assert len(files) == len(modules) and all(Path(file).is_relative_to(home / ".venv") for file in files)


def test_it_has_the_presets_and_the_models_they_name(home: Path):
    said = run([".venv/bin/fleet-forecaster", "check-config", "--config.file", "node_exporter"], home)
    assert "good; 14 signals" in said


def test_the_page_leads_from_the_wheel_to_files_that_prometheus_and_alertmanager_take(home: Path):
    assert {words(line)[0] for line in WALK} == {".venv/bin/fleet-forecaster", "promtool", "amtool"}
    exported = {words(line)[2] for line in WALK if "export" in words(line)}
    assert exported == {"rules", "dashboards", "alertmanager", "kubernetes"}
    said = [run(["bash", "-c", line], home) for line in WALK]
    assert sum(text.count("SUCCESS") for text in said) == 6  # five files of rules, one configuration of Alertmanager
    assert {path.name for path in (home / "dashboards").iterdir()} == {
        f"fleetcast-{name}.json" for name in ("overview", "server", "capacity", "quality", "operations")}


def test_it_has_the_weights_of_what_fills_up(home: Path):
    run([".venv/bin/python", "-c", "from forecaster.capacity.forecast import Weights; Weights.load()"], home)


def test_it_serves_a_forecast_of_every_server_by_the_model_it_ships(home: Path):
    ports, exporter, forecaster = free_ports(), ".venv/bin/fleet-exporter", ".venv/bin/fleet-forecaster"
    fleet, serving = ports["exporter"], ports["forecaster"]
    run([exporter, "history", "--days", "0.125", "--resolution", "15", "--output", "history.om"], home)
    with running([exporter, "serve", "--web.listen-address", f"{HOST}:{fleet}"], home), \
         running([forecaster, "serve", "--source", "scrape", "--source.url", f"http://{HOST}:{fleet}/metrics",
                  "--source.bootstrap", "history.om", "--web.listen-address", f"{HOST}:{serving}"], home):
        def forecast() -> dict:
            made = answer(serving, "/predictions/current")
            return made if len(made["predictions"]) == 20 else {}

        made = await_true(forecast, 60, "20 servers are forecast")
        with urllib.request.urlopen(f"http://{HOST}:{serving}/runbook", timeout=5) as response:
            assert b'<h2 id="fleetcastserverp1">' in response.read()
    assert made["metadata"]["method"] == dict.fromkeys(made["predictions"], "tft")
