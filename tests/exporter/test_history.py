import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import exporter.history
from exporter.collector import FAMILIES, FleetCollector
from exporter.fleet import Fleet
from exporter.history import HistoryError, instants, parse_labels, write_history
from exporter.live import LiveFleet
from exporter.profiles import load_fleet
from tests.tools import tool

START = 1_760_000_400.0
MOUNT_FAMILIES = ("server_filesystem_size_bytes", "server_filesystem_avail_bytes")
LABELS = {"job": "fleet-exporter", "instance": "127.0.0.1:8001"}
SMALL = {"servers": {"database": 2, "generic": 1}}


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """A small fleet that stands at START; writing its history must not move it."""
    fleet = Fleet(load_fleet(overrides=SMALL))
    fleet.at(START)
    return fleet


def written(fleet: Fleet, minutes: int, **options) -> tuple[int, str]:
    out = io.BytesIO()
    samples = write_history(fleet, START, START + minutes * 60, 60, out, **options)
    return samples, out.getvalue().decode()


def test_history_is_valid_openmetrics_with_each_family_in_one_piece(fleet):
    samples, text = written(fleet, 5, labels=LABELS)
    families = list(
        text_string_to_metric_families(text)
    )  # refuses interleaved families and unordered timestamps
    assert [family.name for family in families] == [*(family.name for family in FAMILIES), *MOUNT_FAMILIES]
    assert samples == sum(len(family.samples) for family in families) == 5 * 3 * 8 + 3 * 3 * 2
    assert {float(s.timestamp) for s in families[0].samples} == {START + 60 * k for k in range(5)}
    assert families[0].samples[0].labels == LABELS | {"server": "ppdb001", "profile": "database"}
    assert text.endswith("\n# EOF\n")
    assert text.count("# EOF") == 1


def test_history_loads_into_blocks_and_reads_back_every_sample(fleet, tmp_path):
    samples, text = written(fleet, 180, labels=LABELS)
    (tmp_path / "history.om").write_text(text)
    done = subprocess.run(
        [
            tool("promtool"),
            "tsdb",
            "create-blocks-from",
            "--max-block-duration=64h",
            "openmetrics",
            "-q",
            "history.om",
            "data",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    blocks = [json.loads(meta.read_text()) for meta in Path(tmp_path, "data").glob("*/meta.json")]
    assert sum(block["stats"]["numSamples"] for block in blocks) == samples == 180 * 3 * 8 + 36 * 3 * 3 * 2
    assert max(block["stats"]["numSeries"] for block in blocks) == 3 * 8 + 3 * 3 * 2
    assert min(block["minTime"] for block in blocks) == START * 1000


def test_history_is_what_a_scrape_at_that_time_showed(fleet):
    _, text = written(fleet, 6)
    live = FleetCollector(LiveFleet(load_fleet(overrides=SMALL), lambda: START + 300)).render().decode()
    scraped = [
        line for line in live.splitlines() if line.startswith("server_") and "server_state" not in line
    ]
    suffix = f" {START + 300:.0f}"
    past = [line.removesuffix(suffix) for line in text.splitlines() if line.endswith(suffix)]
    assert past == scraped
    assert len(past) == 3 * 8 + 3 * 3 * 2


def test_the_live_fleet_is_not_moved_by_writing_history(fleet):
    before = fleet.at(START).values
    written(fleet, 3)
    assert np.array_equal(fleet.at(START).values, before)


def test_states_are_written_on_request_only(fleet):
    assert "server_state" not in written(fleet, 2)[1]
    samples, text = written(fleet, 2, states=True)
    families = list(text_string_to_metric_families(text))
    assert [len(f.samples) for f in families if f.name == "server_state"] == [2 * 3 * 6]
    assert samples == 2 * 3 * (8 + 6) + 3 * 3 * 2
    assert sum(s.value for f in families if f.name == "server_state" for s in f.samples) == 2 * 3


def test_mounts_have_a_sample_every_5_minutes_or_at_the_resolution(fleet):
    for resolution, expected in ((15, [0, 300, 600]), (600, [0, 600]), (400, [0, 400, 800])):
        out = io.BytesIO()
        write_history(fleet, START, START + 900, resolution, out, mounts_only=True)
        families = list(text_string_to_metric_families(out.getvalue().decode()))
        assert tuple(family.name for family in families) == MOUNT_FAMILIES
        assert sorted({float(s.timestamp) - START for s in families[0].samples}) == expected


def test_a_stretch_without_a_whole_5_minutes_has_no_mounts(fleet):
    out = io.BytesIO()
    assert write_history(fleet, START + 10, START + 20, 1, out, mounts_only=True) == 0
    assert out.getvalue() == b"# EOF\n"


def test_a_walk_too_large_for_memory_gives_the_same_text(fleet, monkeypatch):
    expected = written(fleet, 4)
    monkeypatch.setattr(exporter.history, "_MEMORY_BYTES", 0)
    assert written(fleet, 4) == expected


def test_instants_include_the_start_and_exclude_the_end():
    assert instants(0, 180, 60).tolist() == [0, 60, 120]
    assert instants(0, 181, 60).tolist() == [0, 60, 120, 180]
    assert instants(10.5, 11, 0.25).tolist() == [10.5, 10.75]


def test_fractions_of_a_second_are_kept_to_the_millisecond(fleet):
    out = io.BytesIO()
    write_history(fleet, START, START + 1, 0.25, out)
    assert re.findall(r" (\S+)\n", out.getvalue().decode())[2:6] == [
        "1760000400",
        "1760000400.25",
        "1760000400.5",
        "1760000400.75",
    ]


@pytest.mark.parametrize(
    ("start", "end", "resolution"),
    [(60, 60, 60), (120, 60, 60), (0, 60, 0), (0, 60, -1), (0, 60, float("nan"))],
)
def test_an_impossible_stretch_is_refused_before_anything_is_written(fleet, start, end, resolution):
    out = io.BytesIO()
    with pytest.raises(HistoryError, match="expected"):
        write_history(fleet, start, end, resolution, out)
    assert out.getvalue() == b""


def test_labels_are_read_and_wrong_ones_refused():
    assert parse_labels(["job=a", "instance=h:1", "note=a=b"]) == {
        "job": "a",
        "instance": "h:1",
        "note": "a=b",
    }
    for given in (
        ["job"],
        ["=a"],
        ["9a=b"],
        ["__x=b"],
        ["a-b=c"],
        ["job="],
        ["server=a"],
        ["job=a", "job=b"],
    ):
        with pytest.raises(HistoryError, match=f"label '{re.escape(given[-1])}'"):
            parse_labels(given)
