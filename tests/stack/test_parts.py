"""From the Procfile and the programs of a machine to the parts that run."""

from itertools import pairwise
from pathlib import Path

import pytest

from stack import ProcfileError
from stack.layout import PORTS, ROOT, Layout
from stack.parts import plan, read_procfile, write_targets

EVERYTHING = ("prometheus", "promtool", "alertmanager", "node_exporter", "fleet-exporter", "fleet-forecaster")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A layout on a machine that has the programs it is called with, and no others."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def make(*programs: str) -> Layout:
        (tmp_path / "bin").mkdir()
        for name in ("python", *programs):
            (tmp_path / "bin" / name).touch(0o755)
        return Layout(ROOT, tmp_path / "data", tmp_path / "config", tmp_path / "tools", dict(PORTS))

    return make


def names(chosen) -> set[str]:
    return set(chosen.names())


def test_every_line_of_the_procfile_is_a_part_with_a_known_port():
    commands = read_procfile((ROOT / "Procfile").read_text())
    assert set(commands) == set(PORTS)
    for name, words in commands.items():
        assert any(str(PORTS[name]) in word for word in words), f"{name} does not name its port"


def test_a_line_that_is_no_part_is_refused_with_its_number():
    with pytest.raises(ProcfileError, match="line 3: expected `name: command`; found 'no part'"):
        read_procfile("# comment\n\nno part\n")
    with pytest.raises(ProcfileError, match="line 2: a is repeated"):
        read_procfile("a: one\na: two\n")


def test_quotes_in_the_procfile_hold_words_together():
    assert read_procfile("a: run 'two words' three") == {"a": ("run", "two words", "three")}


def test_a_complete_machine_runs_every_part_but_grafana(machine):
    chosen = plan(machine(*EVERYTHING))
    assert names(chosen) == set(PORTS) - {"grafana"}
    assert chosen.notes == ()
    assert not chosen.embedded


def test_grafana_runs_where_it_is_installed(machine):
    assert "grafana" in names(plan(machine(*EVERYTHING, "grafana-server")))


def test_without_node_exporter_its_forecaster_stays_away_and_the_rest_runs(machine):
    chosen = plan(machine(*[name for name in EVERYTHING if name != "node_exporter"]))
    assert names(chosen) == set(PORTS) - {"grafana", "node-exporter", "forecaster-node"}
    assert "node-exporter does not run: node_exporter is missing" in chosen.notes[0]


def test_without_prometheus_the_forecaster_reads_the_exporter_itself_and_that_is_said(machine):
    layout = machine("fleet-exporter", "fleet-forecaster", "alertmanager", "node_exporter")
    chosen = plan(layout)
    assert names(chosen) == {"exporter", "forecaster"}
    assert chosen.embedded
    assert "source: scrape" in chosen.notes[-1]
    forecaster = next(part for part in chosen.parts if part.name == "forecaster")
    assert forecaster.command[-8:] == (
        "--source",
        "scrape",
        "--source.url",
        "http://127.0.0.1:8001/metrics",
        "--source.bootstrap",
        str(layout.data / "history.om"),
        "--web.link",
        "Simulated fleet=http://127.0.0.1:8001/",
    )


def test_every_page_links_to_the_pages_of_the_others_that_run(machine):
    commands = {part.name: part.command for part in plan(machine(*EVERYTHING)).parts}
    links = {name: [word for before, word in pairwise(words) if before == "--web.link"]
             for name, words in commands.items()}
    assert links["exporter"] == ["Forecasts of the fleet=http://127.0.0.1:8000/",
                                 "Forecasts of this machine=http://127.0.0.1:8002/",
                                 "Pager=http://127.0.0.1:8003/"]
    assert links["forecaster"][0] == "Simulated fleet=http://127.0.0.1:8001/"
    assert links["prometheus"] == links["node-exporter"] == []


def test_forecasters_tell_alertmanager_where_it_runs(machine):
    layout = machine(*EVERYTHING)
    for without, told in (((), {"forecaster", "forecaster-node"}), (("alertmanager",), set())):
        commands = {part.name: part.command for part in plan(layout, without=without).parts}
        flag, url = "--alertmanager.url", layout.url("alertmanager")
        assert {name for name, words in commands.items() if (flag, url) in pairwise(words)} == told
        assert {name for name, words in commands.items() if flag in words} == told
    embedded = plan(layout, embedded=True).parts
    assert not any("--alertmanager.url" in part.command for part in embedded)


def test_prometheus_can_be_left_out_on_purpose(machine):
    assert names(plan(machine(*EVERYTHING), embedded=True)) == {"exporter", "forecaster"}


def test_only_optional_parts_that_run_are_targets(machine):
    layout = machine()
    targets = layout.config / "prometheus" / "targets"
    write_targets(layout, ["node-exporter", "forecaster-node", "exporter"])
    assert sorted(path.name for path in targets.iterdir()) == ["forecaster-node.yml", "node.yml"]
    write_targets(layout, ["node-exporter"])
    assert [path.name for path in targets.iterdir()] == ["node.yml"]
    assert "127.0.0.1:9100" in (targets / "node.yml").read_text()
    write_targets(layout, [])
    assert list(targets.iterdir()) == []
