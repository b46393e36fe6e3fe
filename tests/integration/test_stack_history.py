"""What Prometheus gets of the time it did not run for; with the real exporter, promtool and Prometheus."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import requests
import yaml

from stack import HistoryFailed
from stack.history import COARSE, DAY, FINE, STATE, Gap, History, find_gap, newest_sample
from stack.layout import ROOT
from tests.tools import tool

NOW = 1_760_351_400.0
CPU = 'server_cpu_utilization_ratio{server="ppdb001"}'


def remember(storage: Path, until: float, written: float | None = None) -> Path:
    """A storage folder that was filled until `until`, and in which Prometheus last wrote at `written`."""
    storage.mkdir(exist_ok=True)
    (storage / STATE).write_text(json.dumps({"until": until}))
    if written is not None:
        (storage / "wal").mkdir(exist_ok=True)
        (storage / "wal" / "00000003").touch()
        os.utime(storage / "wal" / "00000003", (written, written))
    return storage


def make(storage: Path, **changes) -> History:
    settings = {
        "storage": storage,
        "exporter": (sys.executable, "-m", "exporter"),
        "promtool": tool("promtool"),
        "config": ROOT / "exporter" / "fleet.yml",
        "address": "127.0.0.1:8001",
        "report": lambda line: None,
    }
    return History(**{**settings, **changes})


def test_a_first_start_misses_all_days(tmp_path: Path):
    gap = find_gap(tmp_path, NOW, days=8)
    assert gap == Gap(NOW - 8 * DAY + COARSE, NOW, COARSE)
    assert str(gap) == "8 days"


def test_a_first_start_that_was_interrupted_counts_as_none(tmp_path: Path):
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "00000000").touch()
    assert newest_sample(tmp_path) is None


def test_the_gap_begins_with_the_last_sample_prometheus_wrote(tmp_path: Path):
    gap = find_gap(remember(tmp_path, NOW - DAY, written=NOW - 1000), NOW)
    assert gap is not None
    assert gap.resolution == FINE
    assert NOW - 1000 < gap.start <= NOW - 1000 + FINE
    assert gap.start % FINE == 0  # loaded twice, it gives the same samples


def test_what_is_filled_already_is_not_filled_again(tmp_path: Path):
    assert find_gap(remember(tmp_path, NOW - 5, written=NOW - DAY), NOW) is None


def test_a_short_stop_is_bridged_by_prometheus_itself(tmp_path: Path):
    assert find_gap(remember(tmp_path, NOW - DAY, written=NOW - 50), NOW) is None


def test_after_a_long_stop_only_the_last_days_are_filled(tmp_path: Path):
    gap = find_gap(remember(tmp_path, NOW - 40 * DAY), NOW, days=2)
    assert gap is not None
    assert (gap.resolution, gap.start) == (COARSE, NOW - 2 * DAY + COARSE)


@pytest.mark.parametrize("damaged", ["{}", "", "[" * 10**5, '{"until": NaN}', '{"until": 1e999}', '{"until": -1}',
                                     '{"until": 1' + "0" * 400 + "}", '{"until": "x"}', '{"until": 9e9}', "\xff"])
def test_damaged_notes_are_put_aside_and_the_last_days_loaded(tmp_path: Path, caplog, damaged: str):
    (tmp_path / STATE).write_text(damaged)
    gap = find_gap(tmp_path, NOW)
    assert gap is not None and gap.start == pytest.approx(NOW - 8 * DAY, abs=COARSE)
    assert (tmp_path / f"{STATE}.damaged").read_text() == damaged and f"{STATE} is damaged" in caplog.text


def test_a_failing_program_is_quoted_and_nothing_counts_as_filled(tmp_path: Path):
    history = make(tmp_path / "storage", config=tmp_path / "missing.yml", clock=lambda: NOW)
    with pytest.raises(HistoryFailed, match=r"exit code 1: .*missing\.yml"):
        history.backfill()
    assert newest_sample(tmp_path / "storage") is None
    assert list(tmp_path.iterdir()) == [tmp_path / "storage"]


@contextmanager
def prometheus(storage: Path, port: int) -> Iterator[str]:
    """A Prometheus that scrapes itself every second; its address."""
    config = storage.parent / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: 1s}}
scrape_configs: [{{job_name: prometheus, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
""")
    with (storage.parent / "log").open("a") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={storage}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if requests.get(url + "/-/ready", timeout=5).ok:
                    break
            except requests.ConnectionError:
                assert process.poll() is None, (storage.parent / "log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def samples(url: str, series: str) -> list[float]:
    """The timestamps of a series in the last three hours, in Unix seconds."""
    answer = requests.get(url + "/api/v1/query", params={"query": f"{series}[3h]"}, timeout=10).json()
    result = answer["data"]["result"]
    return [instant for instant, _ in result[0]["values"]] if result else []


def test_history_and_what_prometheus_stored_itself_form_one_past(tmp_path: Path, free_port: int):
    storage = tmp_path / "storage"
    start = float(int(time.time()))
    said: list[str] = []
    assert make(storage, report=said.append).backfill(days=1 / 24)
    assert said == ["loading 60 minutes of history at 15 s"]

    with prometheus(storage, free_port) as url:
        past = samples(url, CPU)
        assert len(past) in (239, 240)
        assert {after - before for before, after in pairwise(past)} == {FINE}
        assert start - FINE <= past[-1] <= time.time()
        deadline = time.monotonic() + 20
        while len(samples(url, "up")) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        own = samples(url, "up")
        labels = requests.get(url + "/api/v1/query", params={"query": CPU}, timeout=5).json()["data"][
            "result"
        ][0]
        assert labels["metric"]["instance"] == "127.0.0.1:8001"

    # The stop lasts until now, and is filled although younger samples wait in the write-ahead log.
    now = float(int(time.time()) + 1)
    make(storage).load(Gap(float(int(own[0])), now, 1))
    assert find_gap(storage, now) is None
    with prometheus(storage, free_port) as url:
        kept = samples(url, "up")
        assert kept[: len(own)] == own
        assert max(samples(url, CPU)) == int(now - 1)


def test_at_a_first_start_the_past_of_mounts_is_four_weeks_long(tmp_path: Path):
    config = tmp_path / "fleet.yml"
    shipped = yaml.safe_load((ROOT / "exporter" / "fleet.yml").read_text())
    config.write_text(yaml.safe_dump(shipped | {"servers": {"generic": 1}}))
    storage, said = tmp_path / "storage", []
    assert make(storage, config=config, report=said.append, clock=lambda: NOW).backfill()
    assert said == ["loading 20 days of older history of mounts at 600 s", "loading 8 days of history at 60 s"]
    blocks = sorted((json.loads(meta.read_text()) for meta in storage.glob("*/meta.json")), key=lambda b: b["minTime"])
    assert blocks[0]["minTime"] / 1000 == NOW - 28 * DAY
    assert blocks[0]["stats"]["numSeries"] == 3 * 2
    assert blocks[-1]["stats"]["numSeries"] == 8 + 3 * 2
    assert sum(block["stats"]["numSamples"] for block in blocks) == pytest.approx(8 * 8 * 1440 + 6 * (2304 + 2880), 12)


def test_a_second_backfill_at_once_has_nothing_to_do(tmp_path: Path):
    storage = tmp_path / "storage"
    make(storage).backfill(days=0.02)
    blocks = {path.name for path in storage.iterdir()}
    said: list[str] = []
    assert make(storage, report=said.append).backfill(days=0.02) is False
    assert {path.name for path in storage.iterdir()} == blocks
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == ["storage"]
