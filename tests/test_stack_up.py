"""`make up` from its first line to its last, with small parts."""

import json
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stack.layout import PORTS, ROOT, Layout
from stack.parts import Part, Plan, write_targets
from stack.ready import first_page, render, summary, table
from stack.up import Stack, run

PAGES: dict[str, str] = {}


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        moved = PAGES.get(self.path, "").startswith("/")
        self.send_response(302 if moved else 200 if self.path in PAGES else 404)
        if moved:
            self.send_header("Location", PAGES[self.path])
        self.end_headers()
        if not moved:
            self.wfile.write(PAGES.get(self.path, "").encode())

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Layout]:
    """A layout whose every part is one server with the pages of PAGES."""
    PAGES.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield Layout(ROOT, ROOT / ".data", ROOT, ROOT, dict.fromkeys(PORTS, server.server_address[1]))
        server.shutdown()
        thread.join()


def everything(*names: str) -> Plan:
    return Plan(
        tuple(Part(name, ("true",), PORTS[name], "/") for name in names or PORTS), ("A note.",), False
    )


def test_only_pages_that_render_are_shown(site: Layout):
    PAGES["/classic/graph"] = '<script src="/js"></script>'
    pages = ("/graph", "/classic/graph")
    assert first_page(site, "prometheus", pages, "/api") == site.url("prometheus", "/api")
    PAGES["/js"] = "code"
    assert first_page(site, "prometheus", pages, "/api") == site.url("prometheus", "/classic/graph")
    PAGES["/graph"] = "/classic/graph"
    assert first_page(site, "prometheus", ("/graph",), "/api") == site.url("prometheus", "/classic/graph")


def test_a_page_that_only_says_there_is_none_is_not_shown(site: Layout):
    PAGES["/"] = "<p>This package has no web application</p>"
    assert first_page(site, "alertmanager", ("/",), "/api/v2/alerts") == site.url(
        "alertmanager", "/api/v2/alerts"
    )


def test_the_table_has_a_row_for_every_part_that_runs(site: Layout):
    assert [row.what for row in table(site, everything())] == [
        "Forecasts",
        "Prometheus",
        "Alert rules",
        "Alertmanager",
        "Pages",
        "This machine",
        "Grafana",
        "Fleet",
    ]
    assert [row.what for row in table(site, everything("exporter", "forecaster"))] == ["Forecasts", "Fleet"]


def test_the_text_has_what_an_sre_pastes_and_what_is_missing():
    layout = Layout.here()
    text = render(
        layout,
        everything("exporter", "forecaster", "prometheus"),
        table(layout, everything("exporter")),
        "1 server.",
    )
    assert text.startswith("Fleetcast is ready: 1 server.\n")
    assert (
        "curl -X POST http://127.0.0.1:8001/scenario/set -H 'Content-Type: application/json' "
        '-d \'{"scenario":"critical"}\''
    ) in text
    assert 'forecast_cpu_pct{percentile="p90",horizon="30m"}' in text
    assert "make stop PART=prometheus" in text
    assert "A note." in text


def test_the_summary_says_how_many_servers_are_forecast_and_how(site: Layout):
    assert summary(site) == "the first forecast is on its way."
    PAGES["/status"] = json.dumps({"servers": {"total": 20}, "warmup": {"message": "Model is ready"}})
    assert summary(site) == "20 servers. Model is ready."


def test_a_taken_port_ends_the_start_and_leaves_what_is_there_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    try:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            layout = Layout(ROOT, tmp_path / "data", tmp_path / "config", ROOT, PORTS)
            write_targets(layout, ["node-exporter"])  # by whoever holds the port
            assert run(Stack(layout, Plan((Part("exporter", ("true",), port, "/"),), (), False)), 5) == 1
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), handlers, strict=True):
            signal.signal(number, handler)
    assert f"stack: port {port} is taken, exporter needs it" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    assert (tmp_path / "config" / "prometheus" / "targets" / "node.yml").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_a_signal_and_leaves_nothing(tmp_path: Path, free_port: int, number: int):
    """The embedded stack of a repository whose forecaster is a pager."""
    (tmp_path / "Procfile").write_text(
        "forecaster: python -m stack.pager --web.listen-address 127.0.0.1:8000\n"
    )
    for name in ("stack", "exporter", "serving"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from stack import parts, up
        from stack.layout import PORTS, Layout
        parts._scraping = lambda part, layout: part
        root = Path({str(tmp_path)!r})
        ports = {{**PORTS, "exporter": 1, "forecaster": {free_port}}}
        layout = Layout(root, root / "data", root, root, ports)
        sys.exit(up.run(up.Stack(layout, parts.plan(layout)), 60))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C stops everything" in line:
                break
        text = "".join(lines)
        assert "Fleetcast is ready" in text, text
        assert "writing 3 hours of history" in text
        assert "Without Prometheus" in text
        assert (tmp_path / "data" / "history.om").read_text().endswith("# EOF\n")
        began = time.monotonic()
        process.send_signal(number)
        assert "stopping" in process.stdout.read()
        assert process.wait(20) == 0
        assert time.monotonic() - began < 14
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", free_port)) != 0
