import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest

from serving.net.runner import ListenError, bind, parse_address

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys, time
from serving.net.options import WebOptions
from serving import ServingError
from serving.web import Service, create_app, serve

def reload():
    print("reloaded", flush=True)
    if os.environ.get("BAD_RELOAD"):
        raise ServingError("the file is broken")

def make():
    if os.environ.get("SLOW_BOOT"):
        time.sleep(60)
    if os.environ.get("BAD_BOOT"):
        raise ServingError("the model is missing")
    close = lambda: print("closed", flush=True)
    return create_app(Service("example", str(os.getpid()), reload=reload, close=close))

serve(make, sys.argv[1], "example", options=WebOptions(access_log="ACCESS" in os.environ))
"""


class Running:
    """The program above on a port of its own, with one kept-alive connection to it."""

    def __init__(self, **environment: str):
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "127.0.0.1:0"],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = self.process.stderr.readline().strip().removeprefix("example: listening on http://")
        host, port = self.address.split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=20)

    def get(self, path: str) -> tuple[int, str]:
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_within_5_seconds_though_connections_are_open(number):
    with Running() as running:
        assert running.get("/-/healthy")[0] == 200
        host, port = running.address.split(":")
        with socket.create_connection((host, int(port))):  # a client that never says anything
            started = time.monotonic()
            running.process.send_signal(number)
            output, errors = running.process.communicate(timeout=20)
            assert time.monotonic() - started < 5
        assert (running.process.returncode, output, errors) == (0, "closed\n", "")


def test_hangup_reloads_the_process_that_runs():
    with Running() as running:
        before = running.get("/")[1]
        running.process.send_signal(signal.SIGHUP)
        assert running.process.stdout.readline() == "reloaded\n"
        assert running.get("/")[1] == before  # the page shows the process id


def test_a_hangup_whose_reload_fails_leaves_the_service_running():
    with Running(BAD_RELOAD="1") as running:
        assert running.get("/-/healthy")[0] == 200
        running.process.send_signal(signal.SIGHUP)
        assert running.process.stdout.readline() == "reloaded\n"
        assert "the file is broken" in running.process.stderr.readline()
        assert running.get("/-/healthy")[0] == 200


def test_one_process_serves_and_a_reload_over_http_is_refused():
    with Running() as running:
        assert running.get("/")[1] == f"example: {running.process.pid}\n"
        running.connection.request("POST", "/-/reload")
        answer = running.connection.getresponse()
        assert (answer.status, "--web.enable-lifecycle" in answer.read().decode()) == (403, True)


def test_a_signal_ends_the_service_while_the_application_is_being_made():
    with Running(SLOW_BOOT="1") as running:
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        running.process.communicate(timeout=20)
        assert (running.process.returncode, time.monotonic() - started < 2) == (0, True)


def test_the_access_log_is_written_to_standard_error():
    with Running(ACCESS="1") as running:
        running.get("/-/healthy?a=b")
        running.connection.close()
        line = json.loads(running.process.stderr.readline())
        assert [*line] == ["time", "client", "method", "path", "status", "bytes", "seconds"]
        assert (line["path"], line["status"], line["bytes"]) == ("/-/healthy", 200, 20)


def test_an_application_that_cannot_be_made_ends_the_service_with_its_message():
    with Running(BAD_BOOT="1") as running:
        errors = running.process.stderr.read()
        assert running.process.wait(20) == 3
        assert "example: the model is missing\n" in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("nonsense", "expected HOST:PORT, e.g. 127.0.0.1:8001"),
        ("127.0.0.1:99999", "'99999' is not a port from 0 to 65535"),
        ("192.0.2.1:8001", "this machine has no such address; use 127.0.0.1 or 0.0.0.0"),
        ("TAKEN", "the port is in use; stop the program that uses it or choose another port"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line_and_exit_code_1(listen, reason):
    with bind("127.0.0.1:0") as taken:
        listen = listen.replace("TAKEN", f"127.0.0.1:{taken.getsockname()[1]}")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, listen],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("example: cannot listen on ")
    assert listen in done.stderr
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("listen", "parsed"),
    [
        ("127.0.0.1:8001", ("127.0.0.1", 8001)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        (" 0.0.0.0:1 ", ("0.0.0.0", 1)),
    ],
)
def test_addresses_are_read(listen, parsed):
    assert parse_address(listen) == parsed


@pytest.mark.parametrize(
    "listen", ["", ":8001", "8001", "::1:80", "[]:80", "a b:80", "host:", "host:-1", "host:٣", "h:65536"]
)
def test_malformed_addresses_are_refused_by_name(listen):
    with pytest.raises(ListenError, match="expected HOST:PORT"):
        parse_address(listen)


def test_an_unknown_host_is_named():
    with pytest.raises(ListenError, match=r"the host 'no\.such\.host\.invalid' is unknown; use an address"):
        bind("no.such.host.invalid:80")
