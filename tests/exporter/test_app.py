import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

from exporter import __version__
from exporter.__main__ import main
from exporter.app import create_app
from exporter.profiles import DEFAULT_FILE, load_fleet
from serving.settings import SettingsError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_760_000_000.0


class Reader:
    """Gives the configuration that is set, or raises the error that is set."""

    def __init__(self):
        self.overrides: dict = {}
        self.error: Exception | None = None

    def __call__(self):
        if self.error:
            raise self.error
        return load_fleet(overrides=self.overrides)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def client(reader, clock):
    return create_app(load_fleet(), clock, reader).test_client()


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "exporter", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_common_pages_answer(client):
    for path in ("/", "/metrics", "/status", "/-/healthy", "/-/ready"):
        assert client.get(path).status_code == 200, path
    page = client.get("/").text
    assert "fleet-exporter" in page
    assert '<a href="/metrics">' in page
    assert __version__ in page


def test_metrics_are_compressed_for_those_who_accept_it(client):
    answer = client.get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"\nserver_cpu_utilization_ratio{" in gzip.decompress(answer.data)


def test_a_reload_takes_the_new_fleet_and_keeps_the_scenario_set_by_hand(client, reader):
    client.post("/scenario/set", json={"scenario": "critical"})
    reader.overrides = {"servers": {"database": 8}}
    assert client.post("/-/reload").status_code == 200
    status = client.get("/status").json
    assert (status["fleet_size"], status["scenario"], status["affected_servers"]) == (8, "critical", 2)


def test_a_reload_that_names_another_scenario_lets_it_hold(client, reader):
    client.post("/scenario/set", json={"scenario": "critical"})
    reader.overrides = {"scenario": "degrading"}
    client.post("/-/reload")
    assert client.get("/status").json["scenario"] == "degrading"


def test_a_reload_without_a_change_leaves_the_fleet_as_it_is(client, clock):
    client.post("/scenario/set", json={"scenario": "critical"})
    clock.now += 1800
    before = client.get("/status").json
    assert before["servers_by_state"]["critical"] > 0
    client.post("/-/reload")
    assert client.get("/status").json == before


def test_a_reload_that_fails_keeps_the_fleet_and_is_seen_in_the_metrics(client, reader, clock):
    before = client.get("/status").json
    reader.error = SettingsError("fleet.yml: seed: got 'x'; expected a valid integer")
    clock.now += 1
    answer = client.post("/-/reload")
    assert answer.status_code == 500
    assert "fleet.yml: seed: got 'x'" in answer.json["error"]
    metrics = client.get("/metrics").text
    assert "config_last_reload_successful 0.0" in metrics
    assert float(re.search(r"\n\S+_reload_success_timestamp_seconds (\S+)", metrics)[1]) == NOW
    clock.now -= 1
    assert client.get("/status").json == before
    reader.error = None
    client.post("/-/reload")
    assert "config_last_reload_successful 1.0" in client.get("/metrics").text


def test_history_reads_the_scenarios_of_a_running_exporter_and_leaves_its_file_even_where_half_of_it_is_there(
        tmp_path, caplog):
    file, half = tmp_path / "scenarios.json", '{"version": 1, "time_scale": 1.0, "events": [[29333300, "crit'
    file.write_text(half)
    arguments = ["history", "--start", "2025-10-13T10:00:00Z", "--end", "2025-10-13T10:05:00Z", "--resolution", "5m",
                 "--storage.path", str(tmp_path), "--output", str(tmp_path / "history.om")]
    assert main(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"scenarios.json", "history.om"}
    assert file.read_text() == half
    assert "cannot be read" in caplog.text


def test_history_is_written_whole_or_not_at_all(tmp_path, capsys):
    path = tmp_path / "history.om"
    arguments = [
        "history",
        "--start",
        "2025-10-13T10:00:00Z",
        "--end",
        "1760350200",
        "--resolution",
        "5m",
        "--label",
        "job=fleet-exporter",
        "--output",
        str(path),
    ]
    assert main(arguments) == 0
    lines = path.read_text().splitlines()
    assert len(lines) == 8 * (2 + 20 * 2) + 2 * (2 + 60 * 2) + 1
    assert lines[-1] == "# EOF"
    assert lines[2].startswith('server_cpu_utilization_ratio{job="fleet-exporter",server="')
    assert lines[2].endswith(" 1760349600")
    assert list(tmp_path.iterdir()) == [path]
    assert "wrote 560 samples from 2025-10-13T10:00:00Z to 2025-10-13T10:10:00Z" in capsys.readouterr().err
    assert main([*arguments, "--start", "1760350200"]) == 1
    assert "is not after start" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
    assert main([*arguments, "--label", "job=again"]) == 1
    assert "label 'job=again': job is repeated" in capsys.readouterr().err


def test_history_goes_to_standard_output_by_default():
    done = command(
        "history", "--days", "0.01", "--resolution", "60", "--seed", "7", "--scenario", "degrading"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# HELP server_cpu_utilization_ratio ")
    assert done.stdout.endswith("\n# EOF\n")


def test_the_seed_changes_the_fleet(capfdbinary):
    span = ["history", "--start", "1760000000", "--end", "1760000060"]
    texts = []
    for seed in ("1", "2", "1"):
        assert main([*span, "--seed", seed]) == 0
        texts.append(capfdbinary.readouterr().out)
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["history", "--days", "0"], "argument --days: got '0'; expected a number of days greater than 0"),
        (
            ["history", "--start", "soon"],
            "argument --start: got 'soon'; expected Unix seconds or a time such as",
        ),
        (["history", "--start", "1", "--days", "2"], "argument --days: not allowed with argument --start"),
        (["history", "--resolution", "5x"], "argument --resolution: got '5x'; expected a duration such as"),
        (["serve", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
    ],
)
def test_wrong_arguments_are_explained(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["serve", "--scenario", "chaos"],
            "fleet-exporter: command line: scenario: got 'chaos', expected one of healthy, degrading",
        ),
        (["serve", "--seed", "-1"], "fleet-exporter: command line: seed: got -1; "),
        (
            ["serve", "--config.file", "/nowhere.yml"],
            "fleet-exporter: /nowhere.yml: cannot be read (No such file or directory)",
        ),
        (
            ["history", "--start", "100", "--end", "50"],
            "fleet-exporter: end 50 is not after start 100; expected start < end",
        ),
        (
            ["history", "--output", "/nowhere/h.om"],
            "fleet-exporter: /nowhere/h.om.unfinished: No such file or directory; expected",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_one_clear_line(capsys, arguments, message):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_the_version_is_shown(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"fleet-exporter {__version__}\n"


def test_a_fleet_file_of_ones_own_is_used(tmp_path, capfdbinary):
    own = tmp_path / "fleet.yml"
    own.write_text(DEFAULT_FILE.read_text().replace("prefix: ppdb", "prefix: mydb"))
    assert main(["history", "--config.file", str(own), "--start", "1760000000", "--end", "1760000060"]) == 0
    assert b'server="mydb001"' in capfdbinary.readouterr().out
