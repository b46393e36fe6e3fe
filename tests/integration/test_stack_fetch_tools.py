"""stack/fetch_tools.sh with stand-ins for apt-get and dpkg-deb: neither network nor Debian is needed."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "stack" / "fetch_tools.sh"
COMMANDS = [
    "bash",
    "sh",
    "sed",
    "sort",
    "head",
    "tail",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "ln",
    "cat",
    "chmod",
    "find",
    "dirname",
    "readlink",
    "timeout",
    "id",
    "tar",
    "cp",
    "flock",
]
PROGRAMS = ("prometheus", "promtool", "alertmanager", "amtool", "node_exporter")
PACKAGES = {
    "prometheus": ("prometheus", "promtool"),
    "prometheus-alertmanager": ("prometheus-alertmanager", "amtool"),
    "prometheus-node-exporter": ("prometheus-node-exporter",),
}


class Machine:
    """A machine with the commands the script needs, and what a test adds to it."""

    def __init__(self, folder: Path):
        self.path = folder / "path"
        self.tools = folder / "tools"
        self.archive = folder / "archive"
        self.asked = folder / "asked"
        self.path.mkdir()
        self.archive.mkdir()
        for name in COMMANDS:
            found = shutil.which(name)
            if found:
                (self.path / name).symlink_to(found)

    def put(self, name: str, version: str = "2.45.0", folder: Path | None = None) -> Path:
        """A program that only knows its version."""
        return self.script(name, f'echo "{name}, version {version} (branch: none)"; echo "$@"', folder)

    def script(self, name: str, text: str, folder: Path | None = None) -> Path:
        program = (folder or self.path) / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        return program

    def offer(self, version: str = "2.45.0") -> None:
        """apt-get with the three packages; what is downloaded is noted in `asked`."""
        for package, programs in PACKAGES.items():
            root = self.archive / package
            for program in programs:
                self.put(program, version, root / "usr" / "bin")
            with tarfile.open(self.archive / f"{package}.deb", "w") as deb:
                deb.add(root, ".")
        self.script(
            "apt-get",
            f"""
for word; do package=$word; done
echo "$package" >>"{self.asked}"
cp "{self.archive}/$package.deb" .""",
        )
        self.script("apt-cache", "exit 0")
        self.script("dpkg-deb", 'mkdir -p "$3" && exec tar -xf "$2" -C "$3"')

    def fetch(self, *options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.path / "bash", SCRIPT, *options, self.tools],
            env={"PATH": str(self.path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def run(self, program: str) -> str:
        return subprocess.run(
            [self.tools / "bin" / program, "--version"],
            env={"PATH": str(self.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_programs_on_path_are_used_as_they_are(machine: Machine):
    for name in ("prometheus", "promtool", "prometheus-alertmanager", "amtool", "prometheus-node-exporter"):
        machine.put(name)
    done = machine.fetch()
    assert done.returncode == 0, done.stderr
    assert (machine.tools / "bin" / "alertmanager").resolve() == machine.path / "prometheus-alertmanager"
    assert all("version 2.45.0" in machine.run(name) for name in PROGRAMS)


def test_missing_programs_are_unpacked_from_packages(machine: Machine):
    machine.offer()
    done = machine.fetch()
    assert done.returncode == 0, done.stderr
    assert all("version 2.45.0" in machine.run(name) for name in PROGRAMS)
    assert machine.asked.read_text().split() == list(PACKAGES)


def test_what_only_the_tests_run_is_fetched_only_for_them(machine: Machine):
    machine.offer()
    done = machine.fetch("--tests")
    assert "victoria-metrics is missing" in done.stderr and done.returncode == 3  # the archive here has no such package
    assert "victoria" not in machine.fetch().stdout


def test_chromium_is_unpacked_with_a_font_and_the_libraries_that_the_machine_lacks(machine: Machine):
    machine.put("victoria-metrics")
    machine.offer()
    files = {"chromium-headless-shell": ("usr/bin/chromium-headless-shell", "usr/lib/chromium/chromium-headless-shell"),
             "fonts-dejavu-core": ("usr/share/fonts/dejavu",), "libnss3": ("usr/lib/x86_64-linux-gnu/libnss3.so",)}
    for package, paths in files.items():
        for path in paths:
            machine.script(Path(path).name, 'echo "$LD_LIBRARY_PATH $FONTCONFIG_FILE"',
                           machine.archive / package / Path(path).parent)
        with tarfile.open(machine.archive / f"{package}.deb", "w") as deb:
            deb.add(machine.archive / package, ".")
    machine.script("apt-get", f"""
case "$*" in *--simulate*) printf 'Inst libnss3 (1 amd64)\\nInst libllvm15 (1)\\nInst systemd (1)\\n'; exit ;; esac
for word; do case $word in [a-z]*[a-z0-9]) test "$word" = download || test "$word" = "$(id -un)" ||
  cp "{machine.archive}/$word.deb" . ;; esac; done""")
    done = machine.fetch("--tests")
    assert done.returncode == 0, done.stderr
    libraries, fonts = machine.run("chromium").split()
    assert any(Path(folder, "libnss3.so").is_file() for folder in libraries.split(":") if folder)
    assert "usr/share/fonts" in Path(fonts).read_text()


def test_a_second_run_asks_for_nothing(machine: Machine):
    machine.offer()
    machine.fetch()
    machine.asked.unlink()
    done = machine.fetch()
    assert (done.returncode, done.stdout.strip()) == (0, "tools: all programs are there")
    assert not machine.asked.exists()


def test_the_fetched_programs_move_with_their_folder(machine: Machine):
    machine.offer()
    machine.fetch()
    machine.tools = machine.tools.rename(machine.tools.with_name("moved"))
    assert "version" in machine.run("prometheus")


def test_an_interrupted_download_leaves_nothing_and_is_made_again(machine: Machine):
    machine.offer()
    whole = (machine.archive / "prometheus.deb").read_bytes()
    (machine.archive / "prometheus.deb").write_bytes(whole[:700])
    assert machine.fetch().returncode == 3
    assert not (machine.tools / "bin" / "prometheus").exists()
    assert not (machine.tools / "packages" / "prometheus").exists()
    assert [path.name for path in (machine.tools / "packages").glob(".*")] == []
    (machine.archive / "prometheus.deb").write_bytes(whole)
    assert machine.fetch().returncode == 0


def test_a_broken_program_is_replaced(machine: Machine):
    machine.offer()
    machine.fetch()
    (machine.tools / "packages" / "prometheus" / "usr" / "bin" / "promtool").unlink()
    assert machine.fetch().returncode == 0
    assert "version" in machine.run("promtool")


def test_without_apt_each_missing_part_is_named_with_its_remedy(machine: Machine):
    machine.put("prometheus")
    machine.put("promtool")
    done = machine.fetch()
    assert done.returncode == 3
    missing = [line for line in done.stderr.splitlines() if "missing" in line]
    assert len(missing) == 3
    assert "node_exporter is missing" in missing[2]
    assert "install the package prometheus-node-exporter" in missing[2]
    assert "version" in machine.run("prometheus")


def test_without_network_the_missing_part_is_named_and_the_rest_is_kept(machine: Machine):
    machine.offer()
    (machine.archive / "prometheus-node-exporter.deb").unlink()
    done = machine.fetch()
    assert done.returncode == 3
    assert "node_exporter is missing (the package could not be fetched)" in done.stderr
    assert "alertmanager is missing" not in done.stderr


def test_a_prometheus_that_is_too_old_for_the_rules_is_not_used(machine: Machine):
    for name in ("prometheus", "promtool"):
        machine.put(name, "2.31.2")
    machine.offer()
    done = machine.fetch()
    assert done.returncode == 0
    assert "it is version 2.31.2, the alert rules need 2.42.0 or newer" in done.stderr
    assert "version 2.45.0" in machine.run("prometheus")


def test_packages_that_are_too_old_count_as_missing(machine: Machine):
    machine.offer("2.31.2")
    done = machine.fetch()
    assert done.returncode == 3
    assert "prometheus is missing (it is version 2.31.2, the alert rules need 2.42.0 or newer)" in done.stderr
    assert not (machine.tools / "bin" / "prometheus").exists()


def test_alertmanager_finds_its_templates_wherever_it_was_unpacked(machine: Machine):
    fixed = "/usr/share/prometheus/alertmanager"
    templates = machine.archive / "prometheus-alertmanager" / fixed[1:]
    templates.mkdir(parents=True)
    (templates / "default.tmpl").write_text("the template")
    machine.offer()
    root = machine.archive / "prometheus-alertmanager"
    machine.script("prometheus-alertmanager", f'cat "{fixed}/default.tmpl"', root / "usr" / "bin")
    with tarfile.open(machine.archive / "prometheus-alertmanager.deb", "w") as deb:
        deb.add(root, ".")
    assert machine.fetch().returncode == 0
    assert machine.run("alertmanager") == "the template"
    program = (
        machine.tools / "packages" / "prometheus-alertmanager" / "usr" / "bin" / "prometheus-alertmanager"
    )
    original = root / "usr" / "bin" / "prometheus-alertmanager"
    assert program.stat().st_size == original.stat().st_size  # a binary must not shift


def test_wrong_usage_has_its_own_exit_code(machine: Machine):
    done = subprocess.run(["bash", SCRIPT, "one", "two"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr
