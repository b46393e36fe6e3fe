"""200 reloads of a forecaster that runs, while clients read it: nothing is left open, and no answer fails."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.local_server import local_server
from tests.reloads import Clients, ask, reload
from tests.service.test_reload import prometheus_of
from tests.soak.processes import usage
from tests.stack_rehearsal import await_true
from tests.tiny_models import write_untrained

WARM_UP, RELOADS = 20, 200


@contextmanager
def forecaster(folder: Path, source: str) -> Iterator[tuple[int, int]]:
    """(pid, port) of one that has a forecast."""
    flags = ("--config.file", "fleet", "--source.url", source, "--model", str(write_untrained(folder / "tiny")),
             "--storage.path", str(folder / "state"), "--web.listen-address", "127.0.0.1:0", "--web.enable-lifecycle")
    with (folder / "log").open("w+") as log, subprocess.Popen(
            [sys.executable, "-m", "forecaster", "serve", *flags], stdout=log, stderr=log) as process:
        try:
            listening = r"listening on http://127.0.0.1:(\d+)"
            found = await_true(lambda: re.search(listening, (folder / "log").read_text()), 20, "it listens")
            port = int(found[1])
            await_true(lambda: ask(port, "GET", "/-/ready")[0] == 200, 60, "there is a forecast")
            yield process.pid, port
        finally:
            process.terminate()


@pytest.mark.timeout(300)  # 40 s of CPU, on two processes
def test_200_reloads_leave_no_threads_descriptors_or_memory_and_clients_notice_nothing(tmp_path):
    with local_server(prometheus_of("web1")) as server, forecaster(tmp_path, server.url) as (pid, port):
        with Clients(port, b"web1") as clients:
            for _ in range(WARM_UP):
                reload(port)
            before = usage(pid)
            for _ in range(RELOADS):
                reload(port)

            def closed() -> bool:
                now = usage(pid)
                # up to nine connections to the source come with the first cycle that no reload ends
                return (now.threads <= before.threads + 2 and now.descriptors <= before.descriptors + 12
                        and now.megabytes < before.megabytes + 16)

            await_true(closed, 30, f"it holds what it held after {WARM_UP} reloads, {before}")
        assert clients.failed == []
        assert clients.answers > RELOADS and clients.updates > 0
