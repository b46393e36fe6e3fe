"""The queries of the preset node_exporter on this machine: a real node_exporter, scraped by a real Prometheus."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
import requests

from forecaster.config import load_config
from forecaster.readings import SourceError
from forecaster.service.assembly import make_source
from tests.integration.test_victoria_metrics import free_port
from tests.real_prometheus import running
from tests.tools import tool

# signal -> the line of the exporter's page that it needs
NEEDS = {
    "cpu_pct": r"node_cpu_seconds_total{", "mem_pct": r"node_memory_MemAvailable_bytes ",
    "cpu_pressure_pct": r"node_pressure_cpu_waiting_seconds_total ",
    "mem_pressure_pct": r"node_pressure_memory_waiting_seconds_total ",
    "io_pressure_pct": r"node_pressure_io_waiting_seconds_total ", "swap_mb_s": r"node_vmstat_pswpin ",
    "fds_used_pct": r"node_filefd_maximum \d[.\d]*(e\+0\d|e\+1[01])?$",
    "conntrack_used_pct": r"node_nf_conntrack_entries_limit [1-9]", "clock_offset_s": r"node_timex_offset_seconds "}


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """Addresses of a node_exporter and of a Prometheus that scrapes it every second."""
    folder, exporter = tmp_path_factory.mktemp("machine"), f"127.0.0.1:{free_port()}"
    config = ("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
              f"  - {{job_name: node, static_configs: [{{targets: ['{exporter}']}}]}}\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([tool("node_exporter"), f"--web.listen-address={exporter}"], stdout=log, stderr=log)
    try:
        with running(folder, config) as prometheus:
            yield f"http://{exporter}", prometheus
    finally:
        process.terminate()
        process.wait(20)


def test_what_the_exporter_of_this_machine_has_is_read(machine):
    exporter, prometheus = machine
    config = load_config("node_exporter", {
        "source.url": prometheus, "step": "10s", "refresh": "5s", "warmup": {"samples": 1}})
    source, until = make_source(config, time.time), time.monotonic() + 60
    values = np.empty(0)
    while not np.isfinite(values[:1]).any():  # rates are the last to come
        assert time.monotonic() < until, source.describe()
        time.sleep(0.5)
        with suppress(SourceError):  # until the first scrape
            values = source.latest(time.time()).values.reshape(-1)
    page = requests.get(f"{exporter}/metrics", timeout=10).text
    found = dict(zip(config.signals, values.tolist(), strict=True))
    expected = {name for name, line in NEEDS.items() if re.search("^" + line, page, re.MULTILINE)}
    assert {"cpu_pct", "mem_pct"} <= expected
    assert {name for name, value in found.items() if np.isfinite(value)} & {*NEEDS} == expected
    assert all(signal["error"] is None for signal in source.describe()["signals"].values())
