"""`make up` from its first line to its last, with small parts."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stack.layout import PORTS, ROOT, Layout
from stack.parts import Part, Plan, write_targets
from stack.ready import first_page, render, summary, table
from stack.remedies import explain
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
        "Runbook",
        "Prometheus",
        "Alert rules",
        "Alertmanager",
        "Pager",
        "This machine",
        "Grafana",
        "Fleet",
    ]
    assert [row.what for row in table(site, everything("exporter", "forecaster"))] == [
        "Runbook", "Fleet"]


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
    assert summary(site) == "the first forecast is not there yet."
    PAGES["/status"] = json.dumps({"servers": {"total": 20}, "warmup": {"message": "Model is ready"}})
    assert summary(site) == "20 servers. Model is ready."


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Gives this process its signal handlers back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def test_a_taken_port_ends_the_start_and_leaves_what_is_there_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    with handlers_kept(), socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        layout = Layout(ROOT, tmp_path / "data", tmp_path / "config", ROOT, PORTS)
        write_targets(layout, ["node-exporter"])  # by whoever holds the port
        assert run(Stack(layout, Plan((Part("exporter", ("true",), port, "/"),), (), False)), 5) == 1
    assert f"stack: port {port} is in use, exporter needs it" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    assert (tmp_path / "config" / "prometheus" / "targets" / "node.yml").exists()


def test_a_data_folder_under_a_file_ends_the_start_with_one_line(
    tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture
):
    (tmp_path / "file").write_text("mine")
    layout = Layout(ROOT, tmp_path / "file" / "data", tmp_path / "config", ROOT, PORTS)
    with handlers_kept():
        assert run(Stack(layout, Plan((Part("exporter", ("true",), free_port, "/"),), (), False)), 5) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        f"stack: {tmp_path}/file/data/logs: Not a directory; move the file that is in place of the folder, "
        "then start again"
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_named_even_where_the_system_names_no_path(
    tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture
):
    """/dev/full is a disk that is always full."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "supervisord.conf").symlink_to("/dev/full")
    layout = Layout(ROOT, tmp_path / "data", tmp_path / "config", ROOT, PORTS)
    stack = Stack(layout, Plan((Part("exporter", ("true",), free_port, "/"),), (), False))
    stack.prepare = lambda: None
    with handlers_kept():
        assert run(stack, 5) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        f"stack: {tmp_path}/data: No space left on device; free some space on that disk, then start again"
    )


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "chown"), (errno.EROFS, "writable"), (errno.EDQUOT, "quota"), (errno.EIO, "correct the problem")],
)
def test_every_other_error_of_the_system_has_path_problem_and_remedy_too(number: int, remedy: str):
    text = explain(OSError(number, os.strerror(number), "/some/where"), Path("/else"))
    assert text.startswith(f"/some/where: {os.strerror(number)}; ")
    assert remedy in text and text.endswith(", then start again") and "\n" not in text


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
