"""What `make containers` needs before it starts anything."""

import re

from tests.containers import bases, engine
from tests.containers.__main__ import base_images
from tests.containers.composed import SERVICES, size, writable
from tests.containers.pip_settings import build_arguments


def test_every_image_that_is_not_built_has_a_stand_in():
    made = set(re.findall(r"^FROM \S+ AS ([a-z-]+)", bases.FILE, re.MULTILINE))
    assert {bases.target(image) for image in base_images()} <= made - {"packages", "program"}
    assert bases.target("docker.io/library/python:3.11-slim-bookworm") == "python"


def test_images_are_used_by_tag_as_stand_ins_have_other_digests():
    assert bases.by_tag(f"FROM prom/prometheus:v2@sha256:{'0a' * 32} AS it") == "FROM prom/prometheus:v2 AS it"
    assert "@" not in "".join(map(bases.by_tag, base_images()))


def test_what_is_missing_is_named_with_the_package_that_has_it():
    assert "frobnicate is not installed: apt-get install frob" in engine.missing({"frobnicate": "frob"})
    assert not any("sh is not" in line for line in engine.missing({"sh": "dash"}))


def test_a_service_may_write_to_its_volumes_and_tmpfs_only():
    assert writable("exporter") == {"/data", "/tmp"}
    assert writable("node-exporter") == set()
    assert size(SERVICES["forecaster"]["mem_limit"]) == 1 << 30


def test_the_build_gets_the_files_that_pip_of_this_machine_reads(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", f"{wheels} https://example.org/wheels")
    arguments = build_arguments(tmp_path)
    assert f"--volume={wheels}:{wheels}:ro" in arguments
    assert f"--volume={tmp_path / 'pip.conf'}:/etc/pip.conf:ro" in arguments
    assert f"find-links = {wheels} https://example.org/wheels" in (tmp_path / "pip.conf").read_text()
    assert not any("example.org" in one for one in arguments)
