"""The commands and queries of the documents, as written: taken by their programs, and by promtool."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from docs.generate import EXPORTER, FORECASTER, PAGER, PARSERS
from exporter.profiles import load_fleet
from forecaster.config import load_config
from forecaster.publish.gauges import METRICS
from stack.layout import PORTS, ROOT
from tests.documents import DOCUMENTS, blocks, commands, words
from tests.tools import tool

TARGETS = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
SERVICE_AT = {port: name.removesuffix("-node") for name, port in PORTS.items()}
TAKEN = {**{service: {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods}
            for service, app in (("exporter", EXPORTER), ("forecaster", FORECASTER), ("pager", PAGER))},
         "alertmanager": {("GET", "/api/v2/alerts")}}
OF_THE_SYSTEM = {"grep", "kubectl", "mkdir", "tail", "docker", "pip", "promtool", "amtool", "pre-commit"}
OF_A_HOST = {"awk", "cat", "chronyc", "date", "df", "du", "find", "for", "free", "ip", "lsblk", "nstat", "ps", "ss",
             "timedatectl", "top", "uptime", "vmstat"}  # what the runbook looks at a host in trouble with


def queries() -> list[str]:
    """Every PromQL query; a block whose lines all have a comment has one query a line."""
    found = []
    for document in DOCUMENTS:
        for block in blocks("promql", document):
            lines = block.splitlines()
            found += lines if all(" # " in line for line in lines) else [block]
    return found + [words(line)[-1] for line in sorted({*commands()}) if line.startswith("promtool query instant")]


def test_every_query_is_valid_promql(tmp_path):
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    assert len(rules) >= 15
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "documents", "rules": rules}]}))
    result = subprocess.run([tool("promtool"), "check", "rules", str(tmp_path / "queries.yml")],
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_series_and_labels_of_every_query_exist():
    labels_of = {name.replace("<signal>", signal): {*labels} for name, labels, _, _ in METRICS
                 for preset in ("fleet", "node_exporter") for signal in load_config(preset).signals}
    text = "\n".join(queries())
    asked = re.findall(r"(?<![:\w])((?:forecast|observed|forecaster)_\w+)(?:\{(.*?)\})?", text)
    recorded = set(re.findall(r"\w+:\w+:\w+", text))
    rules = "".join(path.read_text() for path in (ROOT / "prometheus" / "rules").glob("*.yml"))
    assert len(asked) >= 10 and all(f"record: {name}\n" in rules for name in recorded)
    for name, matchers in asked:
        names = set(re.findall(r"(\w+)=", matchers))
        exposed = name if name in labels_of else re.sub(r"_(?:bucket|sum|count)$", "", name)  # of a histogram
        assert exposed in labels_of, name
        curve = "source" in names
        more = {"source"} if curve else {"job", "fleet", "instance"}
        assert names <= labels_of[exposed] - ({"horizon"} if curve else set()) | more, name


@pytest.mark.parametrize("line", sorted({*commands()}))
def test_every_command_shown_is_one_that_its_program_takes(line):
    given = words(line)
    of_program = [word for word in given if word not in ("|", ">")]
    program = Path(next(word for word in given if "=" not in word)).name
    if program == "make":
        assert given[1] in TARGETS
        assert {word.removeprefix("PART=") for word in given[2:] if word.startswith("PART=")} <= set(PORTS)
    elif program in PARSERS:
        _taken(program, given)
    elif program == "curl":
        [address] = [urlsplit(word) for word in of_program if "://" in word]
        method = given[given.index("-X") + 1] if "-X" in given else "GET"
        assert (method, address.path) in TAKEN[SERVICE_AT[address.port]]
        if "-d" in given:
            assert json.loads(given[given.index("-d") + 1])["scenario"] in load_fleet().scenarios
    elif program in ("python", "python3"):
        if "-c" in given:
            compile(given[-1], line, "exec")
        elif given[1] == "-m":
            assert importlib.util.find_spec(given[2])
        else:
            assert (ROOT / given[1]).is_file()
    elif "docker" in given and "up" in given:
        assert f"${{{given[0].partition('=')[0]}:?" in (ROOT / "docker-compose.yml").read_text()
    elif program == "tail":
        assert Path(given[-1]).stem in PORTS
    elif program == "kubectl":
        if given[1] == "create":
            return
        folder = given[given.index("--kustomize") + 1]
        written = any(f"export kubernetes --out {folder} " in other for other in commands())
        assert written or (ROOT / folder / "kustomization.yaml").exists()
    else:
        assert program in OF_THE_SYSTEM | OF_A_HOST, "a program that no test knows"


def _taken(program: str, given: list[str]) -> None:
    if "--version" not in given:
        PARSERS[program].parse_args(given[1:])  # exits where it cannot be run
    flags = {word for word in given if word.startswith("--")}
    listed = DOCUMENTS["docs/reference/command-line.md"].split(f"## {program}\n")[1].split("\n## ")[0]
    assert all(re.search(f"^. `{re.escape(flag)}[ `]", listed, flags=re.MULTILINE) for flag in flags), "no such flag"


def test_every_module_that_is_run_takes_its_flags(capsys):
    shown = {found for text in DOCUMENTS.values() for found in re.findall(r"python -m ([\w.]+)(?: (--\S+?))?`", text)}
    assert ("stack.up", "--embedded") in shown
    for module, flag in shown:
        assert importlib.util.find_spec(module), module
        if flag:
            with pytest.raises(SystemExit):
                importlib.import_module(module).main(["--help"])
            assert f" {flag} " in capsys.readouterr().out
