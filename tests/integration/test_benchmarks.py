"""The benchmarks are no tests, but what they import and how `make bench` finds and prints them must not rot."""

import ast
import importlib.util
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from stack.layout import ROOT
from tests.benchmarks import __main__ as bench
from tests.benchmarks.measure import Line

FOLDER = ROOT / "tests" / "benchmarks"
NAMES = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
OURS = {"exporter", "forecaster", "serving", "stack", "tests", *(path.stem for path in (ROOT / "tests").glob("*.py"))}


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_imported_without_running_and_yields_lines_one_by_one(name):
    module = importlib.import_module(f"tests.benchmarks.bench_{name}")
    assert inspect.isgeneratorfunction(module.lines), "a list would show nothing until the last figure is measured"
    assert get_type_hints(module.lines) == {"return": Iterator[Line]} and not inspect.signature(module.lines).parameters
    assert module.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_only_when_it_runs_exists_too(path):
    found = 0
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in OURS:
            module = importlib.import_module(node.module)
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = hasattr(module, "__path__") and importlib.util.find_spec(name) is not None
                assert is_module or hasattr(module, alias.name), f"{path.name}: there is no {name}"
                found += 1
    assert found or path.stem in ("__init__", "measure")


def test_make_bench_runs_all_of_them_prints_each_line_and_writes_it_down(tmp_path, monkeypatch, capsys):
    for name in NAMES:
        module = importlib.import_module(f"tests.benchmarks.bench_{name}")
        made = iter([Line(f"the {name} figure", 2.0, "ms", "its peer", 1.0)])
        monkeypatch.setattr(module, "lines", lambda made=made: made)
    report = tmp_path / "made" / "bench.json"
    monkeypatch.setattr("sys.argv", ["make bench", "--report", str(report)])
    assert bench.main() == 0
    printed, written = capsys.readouterr().out, json.loads(report.read_text())["lines"]
    assert sorted(written) == NAMES and len(NAMES) >= 10
    for name in NAMES:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"the {name} figure ")]
        assert "2 ms" in line and "<= 1  MISSED" in line and line.endswith("its peer")
        assert [one["what"] for one in written[name]] == [f"the {name} figure"]


def test_a_benchmark_nobody_has_is_refused_by_name(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["make bench", "speed"])
    with pytest.raises(SystemExit):
        bench.main()
    assert f"no benchmark speed; expected some of {', '.join(NAMES)}" in capsys.readouterr().err


def test_make_bench_is_this_command():
    assert "-m tests.benchmarks $(ONLY) --report" in Path(ROOT / "Makefile").read_text()


def test_without_a_gpu_its_script_says_so_and_ends_well(monkeypatch, capsys):
    gpu = importlib.import_module("tests.benchmarks.gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main() == 0 and "no CUDA device" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "more", "met"), [(1.0, False, True), (2.0, False, True), (2.1, False, False),
                                                    (2.0, True, True), (1.9, True, False)])
def test_a_figure_is_good_up_to_its_limit_or_from_it_on(value, more, met):
    assert Line("it", value, "x", "", 2.0, more).met is met
    assert Line("it", value, "x").met is None
