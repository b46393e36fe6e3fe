"""The exporter as a process: it serves, and ends when told."""

import http.client
import subprocess
import sys
import time

from tests.exporter.test_app import ROOT, command


def test_the_exporter_serves_and_ends_within_5_seconds_with_a_connection_open(free_port):
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter", "serve", "--web.listen-address", f"127.0.0.1:{free_port}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr.readline() == f"fleet-exporter: listening on http://127.0.0.1:{free_port}\n"
        connection = http.client.HTTPConnection("127.0.0.1", free_port, timeout=20)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert (answer.status, b"server_state{" in answer.read()) == (200, True)
        second = command("serve", "--web.listen-address", f"127.0.0.1:{free_port}")
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert f"fleet-exporter: cannot listen on 127.0.0.1:{free_port}: the port is in use" in second.stderr
        started = time.monotonic()
        process.terminate()
        assert (process.wait(timeout=20), process.stderr.read()) == (0, "")
        assert time.monotonic() - started < 5
        connection.close()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
