"""README.md's tables of series, endpoints and flags, and its commands, held against the running code."""

import argparse
import importlib
import json
import re
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

import exporter.__main__
import forecaster.__main__
from exporter.app import create_app as create_exporter
from exporter.profiles import load_fleet
from forecaster.app import Forecaster
from forecaster.collector import METRICS
from forecaster.config import load_config
from stack.layout import HOST, PORTS, ROOT, Layout, free_ports
from stack.pager import KINDS, Pager, PagerServer
from stack.parts import Part, Plan, read_procfile
from stack.ready import render
from stack.ready import table as address_table
from tests.documents import DOCUMENTS, bare, blocks, by_name, commands, section, table

NOW = 1_760_000_000.0
PARSERS = {"fleet-exporter": exporter.__main__._parser(), "fleet-forecaster": forecaster.__main__._parser()}
UNITS = {"_ratio": "ratio", "_bytes_per_second": "bytes/s", "_timestamp_seconds": "Unix seconds",
         "_seconds": "seconds", "_info": "1", "_ticks_total": "ticks", "_servers": "servers"}


@cache
def routes(service: str) -> frozenset[tuple[str, str]]:
    """(method, path) pairs of a service; that a reload takes PUT as well is left out."""
    if service == "exporter":
        app = create_exporter(load_fleet(), clock=lambda: NOW)
    else:
        app = Forecaster(lambda: load_config("fleet", {"model": "none"}), clock=lambda: NOW).app
    return frozenset((method, rule.rule) for rule in app.url_map.iter_rules()
                     for method in rule.methods - {"HEAD", "OPTIONS", "PUT"})


def flags_of(program: str) -> dict[tuple[str, str], str | None]:
    """Default by (flag, the commands that take it); None where it has none of its own."""
    found: dict[tuple[str, str | None], list[str]] = {}
    [subparsers] = [action for action in PARSERS[program]._actions
                    if isinstance(action, argparse._SubParsersAction)]
    for command, parser in subparsers.choices.items():
        for action in parser._actions:
            default = action.default or None
            text = f"{default:g}" if isinstance(default, float) else default and str(default)
            if not isinstance(action, argparse._HelpAction):
                of = found.setdefault((action.option_strings[0], "required" if action.required else text), [])
                of.append(command)
    return {("--version", "–"): None,
            **{(flag, " ".join(of)): default for (flag, default), of in found.items()}}


def test_every_series_of_the_forecaster_is_listed_with_its_labels_and_unit():
    listed = {name: cells[:2] for name, cells in by_name("Series of the forecaster").items()}
    assert listed == {name: (" ".join(labels) or "–", unit) for name, labels, unit, _ in METRICS}


def test_every_series_of_the_exporter_is_listed_with_its_labels_and_unit():
    page = create_exporter(load_fleet(), clock=lambda: NOW).test_client().get("/metrics").text
    exposed = {sample.name: " ".join(sample.labels) or "–" for family in text_string_to_metric_families(page)
               for sample in family.samples}
    assert {name: cells[:2] for name, cells in by_name("Series of the exporter").items()} == {
        name: (labels, next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "0 or 1"))
        for name, labels in exposed.items()}


def test_the_series_and_labels_of_every_query_exist():
    labels_of = {name.replace("<signal>", signal): {*labels} for name, labels, _, _ in METRICS
                 for signal in load_config("fleet").signals}
    queries = "\n".join(blocks("promql"))
    asked = re.findall(r"(?<![:\w])((?:forecast|observed|forecaster)_\w+)(?:\{(.*?)\})?", queries)
    recorded = set(re.findall(r"\w+:\w+:\w+", queries))
    rules = "".join(path.read_text() for path in (ROOT / "prometheus" / "rules").glob("*.yml"))
    assert len(asked) >= 10 and all(f"record: {name}\n" in rules for name in recorded)
    for name, matchers in asked:
        names = set(re.findall(r"(\w+)=", matchers))
        curve = {"server", "profile", "percentile", "source"} if "source" in names else set()
        assert names <= (curve or labels_of[name] | {"job", "fleet", "instance"}), name
        assert name in labels_of


@pytest.mark.parametrize(("service", "column"), [("exporter", 0), ("forecaster", 1)])
def test_every_route_of_a_service_is_listed(service, column):
    listed = {tuple(name.split()) for name, cells in by_name("Endpoints").items() if cells[column] != "–"}
    assert listed == routes(service)


def test_every_route_of_the_pager_is_listed():
    server = PagerServer((HOST, 0), Pager(lambda line: None, lambda: datetime.fromtimestamp(NOW, UTC)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{HOST}:{server.port}/nothing", timeout=5)
        with refused.value as answer:  # it names what it has
            told = json.load(answer)["error"].partition("expected GET ")[2]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    listed = re.findall(r"`(GET|POST) (/\S*)`", section("Endpoints").partition("|")[0])
    assert sorted(listed) == sorted([*(("GET", path) for path in re.findall(r"/[\w/-]+", told)),
                                     *(("POST", path) for path in KINDS)])


@pytest.mark.parametrize("program", PARSERS)
def test_every_flag_of_a_program_is_listed_with_its_commands_and_default(program):
    taken = flags_of(program)
    listed = table("Command line", f"{program.removeprefix('fleet-')}/README.md")
    assert set(listed) == set(taken)
    for flag, default in taken.items():
        told = listed[flag][0]
        assert bare(told) == default if default else "`" not in told[:1], f"{flag}: {told}, not {default}"


def test_every_command_shown_is_one_that_its_program_takes():
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    service_at = {port: name.removesuffix("-node") for name, port in PORTS.items()}
    for words in commands():
        program, text = Path(words[0]).name, " ".join(words)
        if program == "make":
            assert words[1] in targets, text
            assert {word.removeprefix("PART=") for word in words[2:]} <= set(PORTS), text
        elif program in PARSERS:
            PARSERS[program].parse_args(words[1:])  # exits where it cannot be run
            flags = {word for word in words if word.startswith("--")}
            assert flags <= {flag for flag, _ in flags_of(program)}, f"{text}: an abbreviated flag"
        elif program == "curl":
            [address] = [urlsplit(word) for word in words if "://" in word]
            method = words[words.index("-X") + 1] if "-X" in words else "GET"
            service = service_at[address.port]
            if service in ("exporter", "forecaster"):
                assert (method, address.path) in routes(service), text
            if "-d" in words:
                assert json.loads(words[words.index("-d") + 1])["scenario"] in load_fleet().scenarios
        elif "docker" in words:
            assert f"${{{words[0].partition('=')[0]}:?" in (ROOT / "docker-compose.yml").read_text(), text
        elif program == "sed":
            assert list(ROOT.glob(words[-1])), text
            assert any(words[2].split("#")[1] in path.read_text() for path in ROOT.glob(words[-1])), text
        elif program == "tail":
            assert Path(words[-1]).stem in PORTS, text
        elif program == "kubectl":
            assert (ROOT / words[words.index("--kustomize") + 1] / "kustomization.yaml").exists(), text
        else:
            assert program == "amtool", f"{text}: a program that no test knows"


def test_every_module_that_is_run_takes_its_flags(capsys):
    shown = re.findall(r"python -m ([\w.]+) (--\S+?)`", DOCUMENTS["README.md"])
    assert shown
    for module, flag in shown:
        with pytest.raises(SystemExit):
            importlib.import_module(module).main(["--help"])
        assert f" {flag} " in capsys.readouterr().out


def test_every_part_of_the_procfile_is_listed_with_its_port():
    listed = {name: int(port) for name, (port, _) in by_name("Stop, kill, look inside").items()}
    assert listed == {name: PORTS[name] for name in read_procfile((ROOT / "Procfile").read_text())}


def test_what_make_up_prints_is_shown_as_it_is():
    layout = Layout(ROOT, ROOT / ".data", ROOT, ROOT / ".tools/bin", free_ports())  # where nothing answers
    parts = (Part(name, (), layout.ports[name], "/") for name in PORTS if name != "grafana")
    plan = Plan(tuple(parts), (), False)
    printed = address_table(layout, plan)
    [text] = blocks("text")
    first, *lines = filter(None, text.splitlines())
    assert first == render(layout, plan, printed, "20 servers. Model ready for predictions.").splitlines()[0]
    told = [re.split(r"  +", line.strip()) for line in lines]
    assert [(what, use) for what, _, use in told] == [(row.what, row.use) for row in printed]
    part_at = {port: name for name, port in layout.ports.items()}
    assert [urlsplit(address).port for _, address, _ in told] == [
        PORTS[part_at[urlsplit(row.address).port]] for row in printed]
