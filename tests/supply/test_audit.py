"""make audit: pinned packages beside advisories in the OSV format, from a folder or a zip."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stack.layout import ROOT
from supply.audit import DatabaseError, audit
from supply.pins import pins

PINS = pins("waterworks==1.5.0\nlamp-post==2.0")


def advisory(events: Sequence[dict[str, str]] = (), versions: Sequence[str] = (), name: str = "waterworks",
             **other: Any) -> dict:
    """A made-up advisory about one package."""
    return {"id": "MADE-UP-1", "modified": "2026-11-01T00:00:00Z", "summary": "a tap that cannot be closed", **other,
            "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "versions": [*versions],
                          "ranges": [{"type": "ECOSYSTEM", "events": [*events]}] if events else []}]}


@pytest.fixture
def found(tmp_path: Path):
    """What an audit of PINS says about advisories."""
    def look(*written: dict, accepted: dict[str, str] | None = None) -> list[str]:
        for number, one in enumerate(written):
            (tmp_path / f"{number}.json").write_text(json.dumps(one))
        return audit(tmp_path, PINS, accepted or {})[0]

    return look


@pytest.mark.parametrize(("events", "affected"), [
    ([{"introduced": "0"}], True),
    ([{"introduced": "0"}, {"fixed": "1.5.1"}], True),
    ([{"introduced": "0"}, {"fixed": "1.5"}], False),
    ([{"introduced": "1.5"}, {"fixed": "1.6"}], True),
    ([{"introduced": "1.5.1"}], False),
    ([{"introduced": "0"}, {"last_affected": "1.5.0"}], True),
    ([{"introduced": "0"}, {"last_affected": "1.4.9"}], False),
    ([{"introduced": "1.4"}, {"fixed": "1.10"}], True),  # 1.10 is later than 1.5
    ([{"fixed": "1.0"}, {"introduced": "0"}, {"introduced": "1.5rc1"}], True),  # in any order
    ([{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "1.2"}, {"fixed": "1.4"}], False),
])
def test_a_range_holds_the_versions_from_its_start_to_its_end(found, events, affected):
    assert bool(found(advisory(events))) is affected


def test_a_listed_version_is_affected_however_it_is_written(found):
    assert found(advisory(versions=["not-a-version", "1.5"]))
    assert not found(advisory(versions=["1.4", "1.5.0.post1"]))


def test_a_line_names_package_version_advisory_summary_and_remedy(found):
    one = advisory([{"introduced": "0"}, {"fixed": "1.6"}], aliases=["CVE-0000-1"])
    assert found(one) == ["waterworks 1.5.0: CVE-0000-1, MADE-UP-1: a tap that cannot be closed (fixed in 1.6)"]


def test_names_are_compared_as_the_index_does(found):
    assert found(advisory([{"introduced": "0"}], name="Lamp_Post"))


def test_other_packages_and_ecosystems_and_withdrawn_advisories_do_not_count(found):
    elsewhere = advisory([{"introduced": "0"}])
    elsewhere["affected"][0]["package"]["ecosystem"] = "npm"
    withdrawn = advisory([{"introduced": "0"}], withdrawn="2026-11-02T00:00:00Z")
    assert found(elsewhere, withdrawn, advisory([{"introduced": "0"}], name="somebody-elses")) == []


def test_an_accepted_advisory_does_not_count_by_any_of_its_names(found):
    one = advisory([{"introduced": "0"}], aliases=["CVE-0000-1"])
    assert found(one, accepted={"CVE-0000-1": "we have no taps"}) == []


def test_an_advisory_that_cannot_be_read_counts(found):
    [line] = found(advisory([{"introduced": "the beginning"}]))
    assert "fixed in an unknown version" in line


def test_a_database_without_advisories_is_an_error_and_no_all_clear(tmp_path: Path):
    with pytest.raises(DatabaseError, match="no advisory about PyPI"):
        audit(tmp_path, PINS, {})
    (tmp_path / "cut.json").write_text('{"id": ')
    with pytest.raises(DatabaseError, match=r"cut\.json .* is no JSON"):
        audit(tmp_path, PINS, {})


def command(database: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "supply.audit", str(database)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("name", "code"), [("torch", 1), ("no-package-of-ours", 0)])
def test_the_command_reads_a_zip_and_says_by_its_exit_code_whether_a_package_is_affected(tmp_path: Path, name, code):
    database = tmp_path / "all.zip"
    with zipfile.ZipFile(database, "w") as archive:
        archive.writestr("MADE-UP-1.json", json.dumps(advisory([{"introduced": "0"}], name=name)))
    done = command(database)
    assert done.returncode == code, done.stderr
    assert ("torch " in done.stdout) is bool(code) and "1 advisories, the newest of 2026-11-01" in done.stdout


def test_the_command_says_that_a_database_is_missing(tmp_path: Path):
    done = command(tmp_path / "none")
    assert done.returncode == 2 and "none is neither a folder nor a zip" in done.stderr
