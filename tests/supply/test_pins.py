"""constraints.txt: everything that is installed is pinned, and every file of it has a hash."""

import re
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from stack.layout import ROOT
from supply.install import FIRST, entries, main, requirements
from supply.lock import joined
from supply.packages import needed
from supply.pins import pins

PINS = pins()
HERE = {pin.name: pin for pin in PINS if pin.here}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INSTALLED = re.search(r"supply\.install (backtest .*)", (ROOT / "Makefile").read_text())[1].split()


def test_every_pinned_package_has_hashes():
    assert len(PINS) > 100
    assert [pin.name for pin in PINS if not pin.hashes or len({*pin.hashes}) != len(pin.hashes)] == []
    assert all(re.fullmatch("[0-9a-f]{64}", text) for pin in PINS for text in pin.hashes)


def test_what_pyproject_asks_for_is_pinned_to_a_version_that_it_accepts():
    for need in map(Requirement, requirements(PROJECT["optional-dependencies"])):
        assert HERE[canonicalize_name(need.name)].version in need.specifier, need


def test_what_make_venv_installs_is_pinned_with_everything_it_needs():
    packages = needed("fleetcast", INSTALLED)
    packages.pop("fleetcast")
    assert len(packages) > 80
    differing = {name: package.installed.version for name, package in packages.items()
                 if name not in HERE or Version(package.installed.version).public != HERE[name].version.public}
    assert differing == {}, "not what constraints.txt pins; run `make constraints` after a change of pyproject.toml"


def test_torch_has_the_hashes_of_its_builds_for_cpus_beside_the_standard_ones():
    [torch] = [pin for pin in PINS if pin.name == "torch"]
    assert {"6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",   # +cpu, Linux x86_64, Python 3.11
            "60fcdcb2"} <= {*torch.hashes, *(text[:8] for text in torch.hashes)}  # the standard build of the same


def test_pip_and_setuptools_come_first_and_with_hashes():
    first = [entry for entry in entries((ROOT / "constraints.txt").read_text()) if entry.startswith(FIRST)]
    assert [entry.partition("==")[0] for entry in first] == ["pip", "setuptools"]
    assert all("--hash=sha256:" in entry for entry in first)
    assert HERE["pip"].version >= Version("26.1") and version("pip") == str(HERE["pip"].version)


def test_no_command_installs_packages_without_hashes():
    for name in ("Makefile", "Dockerfile", ".ci/run"):
        for line in re.findall(r".*\bpip install .*", (ROOT / name).read_text().replace("\\\n", "")):
            assert "--require-hashes" in line or "--no-deps --no-build-isolation --editable ." in line, line


def test_an_extra_that_is_not_there_is_named_before_anything_is_installed(monkeypatch):
    monkeypatch.setattr("sys.argv", ["supply.install", "dev", "nothing"])
    monkeypatch.setattr("supply.install.install", lambda *_, **__: pytest.fail("something is installed"))
    with pytest.raises(SystemExit, match="no extra 'nothing'"):
        main()


@pytest.mark.parametrize("text", ["numpy>=2 --hash=sha256:00", "numpy", "numpy==2,<3"])
def test_an_entry_that_is_not_pinned_is_refused(text: str):
    with pytest.raises(ValueError):
        pins(text)


def lock(*entries: tuple[str, str]) -> str:
    return "".join(f"{pin} \\\n    --hash=sha256:{text * 64}\n" for pin, text in entries)


def test_hashes_of_other_builds_of_the_same_torch_are_joined():
    before, cpu = lock(("torch==2.13.0", "c")), lock(("torch==2.13.0+cpu", "d"))
    text = joined(lock(("numpy==2.4.6", "a"), ("torch==2.13.0", "b"), ("triton==3.7.1", "a")), before, cpu)
    assert [(pin.name, [text[0] for text in pin.hashes]) for pin in pins(text)] == [
        ("numpy", ["a"]), ("torch", ["b", "c", "d"]), ("triton", ["a"])]


def test_hashes_of_an_earlier_torch_are_dropped():
    text = joined(lock(("torch==2.14.0", "b")), lock(("torch==2.13.0", "c")), "")
    assert [pin.hashes for pin in pins(text)] == [("b" * 64,)]
