"""The tables of parts and what `make up` prints, held against the running code and the dashboards."""

import re
from urllib.parse import urlsplit

from stack.layout import PORTS, ROOT, Layout, free_ports
from stack.parts import Part, Plan, read_procfile
from stack.ready import render
from stack.ready import table as address_table
from tests.documents import blocks, by_name, sentences


def test_every_part_of_the_procfile_is_listed_with_its_port():
    listed = {name: int(port) for name, (port, _) in by_name("Stop, kill, look inside", "docs/running.md").items()}
    assert listed == {name: PORTS[name] for name in read_procfile((ROOT / "Procfile").read_text())}


def test_every_panel_and_word_the_tour_names_is_on_a_dashboard():
    text = sentences("docs/tour.md")
    boards = "".join(path.read_text() for path in (ROOT / "grafana/dashboards").glob("*.json")).lower()
    named = {
        *re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text),
        *re.findall(r"\b[A-Z]{3,}(?: [A-Z]{3,})+\b|SAFE", text),
    }
    assert {"Active alerts", "ACT NOW", "SAFE"} <= named
    assert {name for name in named if name.lower() not in boards} == set()


def test_what_make_up_prints_is_shown_as_it_is():
    layout = Layout(ROOT, ROOT / ".data", ROOT, ROOT / ".tools/bin", free_ports())  # where nothing answers
    parts = (Part(name, (), layout.ports[name], "/") for name in PORTS if name != "grafana")
    plan = Plan(tuple(parts), (), False)
    printed = address_table(layout, plan)
    [text] = blocks("text", "README.md")
    first, _, address, _, title, *lines = text.rstrip().splitlines()
    shown = render(layout, plan, printed, "20 servers. Model ready for predictions.").splitlines()
    assert (first, address, title) == (shown[0], "  Open http://127.0.0.1:8000/", shown[4])
    assert shown[2] == f"  Open {layout.url('forecaster', '/')}"
    told = [re.split(r"  +", line.strip()) for line in lines]
    assert [(what, use) for what, _, use in told] == [(row.what, row.use) for row in printed]
    part_at = {port: name for name, port in layout.ports.items()}
    assert [urlsplit(address).port for _, address, _ in told] == [
        PORTS[part_at[urlsplit(row.address).port]] for row in printed]
