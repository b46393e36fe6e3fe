"""Licences of what Fleetcast needs at run time, and the bill of materials of a release."""

import json
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from supply.licences import allows, problems
from supply.packages import Package, needed
from supply.pins import pins, settings
from supply.sbom import sbom

RULES = settings()
RUNTIME = needed()


def package(folder: Path, *fields: str) -> Package:
    """A package with such lines in its metadata."""
    info = folder / "waterworks-1.5.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.4", "Name: waterworks", "Version: 1.5", *fields]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    return Package("waterworks", PathDistribution(info), ())


def test_every_package_needed_at_run_time_has_an_allowed_licence():
    assert {"fleetcast", "torch", "numpy", "markupsafe"} <= {*RUNTIME} and not {"pytest", "pandas"} & {*RUNTIME}
    assert problems(RUNTIME.values(), RULES["allowed-licences"], RULES["licences"]) == []


def test_no_licence_is_written_down_for_a_package_that_is_not_needed():
    assert {*RULES["licences"]} <= {*RUNTIME}


@pytest.mark.parametrize(("expression", "allowed"), [
    ("MIT", True), ("GPL-3.0-only", False), ("MIT AND GPL-3.0-only", False), ("MIT OR GPL-3.0-only", True),
    ("MIT AND (GPL-3.0-only OR Zlib)", True), ("Apache-2.0", False), ("Apache-2.0 WITH LLVM-exception", True)])
def test_of_a_choice_one_licence_is_enough_and_of_a_sum_all_are_needed(expression: str, allowed: bool):
    assert allows(expression, ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"]) is allowed


@pytest.mark.parametrize("field", ["License-Expression: MIT", "License: MIT"])
def test_the_licence_is_read_from_the_metadata(tmp_path: Path, field: str):
    made = package(tmp_path, field)
    assert problems([made], ["MIT"], {}) == []
    [line] = problems([made], ["Zlib"], {})
    assert line.startswith("waterworks 1.5: MIT is not allowed: ") and "allowed-licences" in line


@pytest.mark.parametrize("field", ["License: free for all", "Classifier: License :: OSI Approved :: BSD License"])
def test_a_licence_that_is_not_named_by_its_identifier_is_unknown_until_it_is_written_down(tmp_path: Path, field: str):
    made = package(tmp_path, field)
    [line] = problems([made], ["Zlib"], {})
    assert line.startswith("waterworks 1.5: its metadata has no SPDX licence: read its licence file")
    assert problems([made], ["Zlib"], {"waterworks": "Zlib"}) == []


def test_the_bill_of_materials_has_versions_hashes_licences_and_what_needs_what():
    pinned = {pin.name: pin for pin in pins() if pin.here}
    text = sbom(RUNTIME, {name: pin.hashes for name, pin in pinned.items()}, RULES["licences"])
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    parts = {part["name"]: part for part in bill["components"]}
    assert {*parts} == {*RUNTIME} - {"fleetcast"} and bill["metadata"]["component"]["name"] == "fleetcast"
    for name, part in parts.items():
        assert part["version"] == str(pinned[name].version) and part["purl"] == f"pkg:pypi/{name}@{part['version']}"
        [files] = part["externalReferences"]
        assert {entry["content"] for entry in files["hashes"]} == {*pinned[name].hashes}
        [licence] = part["licenses"]
        assert licence.get("expression") or licence["license"]["id"]
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert any(ref.startswith("pkg:pypi/numpy@") for ref in needs[bill["metadata"]["component"]["purl"]])
    assert [ref.partition("@")[0] for ref in needs[parts["jinja2"]["purl"]]] == ["pkg:pypi/markupsafe"]


def test_a_package_of_unknown_licence_is_not_billed(tmp_path: Path):
    with pytest.raises(ValueError, match="waterworks has no known licence"):
        sbom({"waterworks": package(tmp_path)}, {"waterworks": ()}, {}, "waterworks")
