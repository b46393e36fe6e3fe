"""Fixtures that several test files share."""

import os
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import hypothesis
import pytest

# Before PyTorch is imported: with two workers on two cores, each with two threads, threads wait for each other by
# spinning, and training a tiny model takes minutes in place of seconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, so that a change is what turns a test red.
hypothesis.settings.register_profile("deterministic", derandomize=True)
hypothesis.settings.load_profile("deterministic")

from forecaster.sources.prometheus import PrometheusSource
from tests.local_server import LocalServer, local_server
from tests.prometheus_answers import STEP, good


@pytest.fixture
def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def source() -> Iterator[Callable[..., PrometheusSource]]:
    """Makes sources and closes them: source(url, **queries) with options as `with_`."""
    made = []

    def make(url: str, with_: dict | None = None, **queries: str) -> PrometheusSource:
        signals = [SimpleNamespace(name=name, query=query) for name, query in queries.items()]
        options = {"clock": lambda: 4711.0, "timeout": 10.0} | (with_ or {})
        made.append(PrometheusSource(url, signals, STEP, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server(good) as running:
        yield running
