"""The tables of series, endpoints, flags and parts, held against the running code."""

import json
import re
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.app import create_app as create_exporter
from exporter.profiles import load_fleet
from forecaster.publish.gauges import METRICS
from stack.layout import HOST, PORTS, ROOT, Layout, free_ports
from stack.pager import KINDS, Pager, PagerServer
from stack.parts import Part, Plan, read_procfile
from stack.ready import render
from stack.ready import table as address_table
from tests.docs.programs import NOW, PARSERS, flags_of, routes
from tests.documents import bare, blocks, by_name, section, sentences, table

SERIES, ENDPOINTS = "docs/reference/series.md", "docs/reference/endpoints.md"
UNITS = {"_ratio": "ratio", "_bytes_per_second": "bytes/s", "_timestamp_seconds": "Unix seconds",
         "_seconds": "seconds", "_info": "1", "_ticks_total": "ticks", "_servers": "servers"}


def test_every_series_of_the_forecaster_is_listed_with_its_labels_and_unit():
    listed = {name: cells[:2] for name, cells in by_name("Series of the forecaster", SERIES).items()}
    assert listed == {name: (" ".join(labels) or "–", unit) for name, labels, unit, _ in METRICS}


def test_every_series_of_the_exporter_is_listed_with_its_labels_and_unit():
    page = create_exporter(load_fleet(), clock=lambda: NOW).test_client().get("/metrics").text
    exposed = {sample.name: " ".join(sample.labels) or "–" for family in text_string_to_metric_families(page)
               for sample in family.samples}
    assert {name: cells[:2] for name, cells in by_name("Series of the exporter", SERIES).items()} == {
        name: (labels, next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "0 or 1"))
        for name, labels in exposed.items()}


@pytest.mark.parametrize(("service", "column"), [("exporter", 0), ("forecaster", 1)])
def test_every_route_of_a_service_is_listed(service, column):
    listed = {tuple(name.split()) for name, cells in by_name("Endpoints", ENDPOINTS).items() if cells[column] != "–"}
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
    listed = re.findall(r"`(GET|POST) (/\S*)`", section("Endpoints", ENDPOINTS).partition("|")[0])
    assert sorted(listed) == sorted([*(("GET", path) for path in re.findall(r"/[\w/-]+", told)),
                                     *(("POST", path) for path in KINDS)])


@pytest.mark.parametrize("program", PARSERS)
def test_every_flag_of_a_program_is_listed_with_its_commands_and_default(program):
    taken = flags_of(program)
    listed = table(program, "docs/reference/command-line.md")
    assert set(listed) == set(taken)
    for flag, default in taken.items():
        told = listed[flag][0]
        assert bare(told) == default if default else "`" not in told[:1], f"{flag}: {told}, not {default}"


def test_every_part_of_the_procfile_is_listed_with_its_port():
    listed = {name: int(port) for name, (port, _) in by_name("Stop, kill, look inside", "docs/running.md").items()}
    assert listed == {name: PORTS[name] for name in read_procfile((ROOT / "Procfile").read_text())}


def test_every_panel_and_word_the_tour_names_is_on_a_dashboard():
    text = sentences("docs/tour.md")
    boards = "".join(path.read_text() for path in (ROOT / "grafana/dashboards").glob("*.json")).lower()
    named = {*re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text), *re.findall(r"\b[A-Z]{3,}(?: [A-Z]{3,})+\b|SAFE", text)}
    assert {"Riskiest servers", "ACT NOW", "SAFE"} <= named
    assert {name for name in named if name.lower() not in boards} == set()


def test_what_make_up_prints_is_shown_as_it_is():
    layout = Layout(ROOT, ROOT / ".data", ROOT, ROOT / ".tools/bin", free_ports())  # where nothing answers
    parts = (Part(name, (), layout.ports[name], "/") for name in PORTS if name != "grafana")
    plan = Plan(tuple(parts), (), False)
    printed = address_table(layout, plan)
    [text] = blocks("text", "README.md")
    first, *lines = filter(None, text.splitlines())
    assert first == render(layout, plan, printed, "20 servers. Model ready for predictions.").splitlines()[0]
    told = [re.split(r"  +", line.strip()) for line in lines]
    assert [(what, use) for what, _, use in told] == [(row.what, row.use) for row in printed]
    part_at = {port: name for name, port in layout.ports.items()}
    assert [urlsplit(address).port for _, address, _ in told] == [
        PORTS[part_at[urlsplit(row.address).port]] for row in printed]
