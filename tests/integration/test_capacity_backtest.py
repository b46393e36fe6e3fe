"""`backtest --capacity --source prometheus` on a real Prometheus: six weeks of the fleet's mounts, as the exporter
writes them, and a disk that fills."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml

from exporter.profiles import DEFAULT_FILE
from forecaster.__main__ import main
from stack.layout import ROOT
from tests.real_prometheus import stored

DAY, END = 86400, 1_700_006_400
START = END - 15 * DAY
BEGIN = START - 28 * DAY
RESOURCES = {
    "filesystem": {"query": "1 - server_filesystem_avail_bytes / server_filesystem_size_bytes",
                   "size": "server_filesystem_size_bytes", "unit": "bytes", "entity": ["mountpoint"]},
    "disk": {"query": "disk_used_ratio", "entity": ["disk"]},
    "absent": {"query": "nothing_has_this_name", "entity": ["disk"]},
}


def disk(at: int) -> float:
    """2 % a day from 20 % on, full 10 days after START, and cleaned the day after."""
    share = 0.2 + 0.8 * (at - BEGIN) / (38 * DAY)
    return share if at < START + 11 * DAY else 0.2


def lines(fleet: str) -> Iterator[str]:
    history = [sys.executable, "-m", "exporter", "history", "--config.file", fleet, "--start", str(BEGIN),
               "--end", str(END), "--resolution", "5m", "--mounts-only", "--label", "job=fleet-exporter"]
    yield from subprocess.run(history, check=True, capture_output=True, text=True).stdout.splitlines()[:-1]  # # EOF
    yield "# TYPE disk_used_ratio gauge"
    for at in range(BEGIN, END, 300):
        if not START - 5 * DAY < at < START - 4.5 * DAY:  # Prometheus was away
            yield f'disk_used_ratio{{server="db1",profile="database",disk="sda"}} {min(disk(at), 1):.5f} {at}'
    for at in range(START + DAY, END, 300):
        yield f'disk_used_ratio{{server="db1",profile="database",disk="new"}} 0.3 {at}'


def test_history_of_a_prometheus_is_measured_by_resource(tmp_path, capsys):
    shipped = yaml.safe_load(DEFAULT_FILE.read_text())
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump(shipped | {"servers": {"generic": 1}}))
    preset = yaml.safe_load((ROOT / "forecaster" / "presets" / "fleet.yml").read_text())
    (tmp_path / "config.yml").write_text(yaml.safe_dump(preset | {"capacity": {"resources": RESOURCES}}))
    given = ["--config.file", str(tmp_path / "config.yml"), "--start", str(START), "--end", str(END)]
    with stored(tmp_path, lines(str(tmp_path / "fleet.yml"))) as url:
        assert main(["backtest", "--capacity", "--source", "prometheus", "--source.url", url, *given,
                     "--report", str(tmp_path / "report.json")]) == 0
    printed = capsys.readouterr().out
    assert "by resource" in printed and "oracle" not in printed.split("windows")[1]
    report = json.loads((tmp_path / "report.json").read_text())
    assert {name: of["entities"] for name, of in report["patterns"].items()} == {"filesystem": 3, "disk": 2}
    assert report["entities"] == 5 and report["hours"] == pytest.approx(360, abs=1)
    found = report["patterns"]["disk"]
    assert found["forecasts"]["fleetcast"]["loss"]["1d"] < report["forecasts"]["no change"]["loss"]["1d"]
    page = found["alerts"]["P2"]
    assert (page["fills"], page["foreseeable"], page["noticed"], page["false"]) == (1, 1, 1, 0)
