"""All kinds of input by name, what is known of each on disk, and how one input is judged."""

import logging
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fuzz.answers import Answers
from tests.fuzz.configurations import Configurations
from tests.fuzz.doors import DoorFiles
from tests.fuzz.judge import judged
from tests.fuzz.kind import Kind
from tests.fuzz.models import Models
from tests.fuzz.pages import Pages
from tests.fuzz.remote_reads import RemoteReads
from tests.fuzz.requests import Exporter, ForecasterPages, Pager
from tests.fuzz.scenario_logs import ScenarioLogs
from tests.fuzz.snapshots import Snapshots
from tests.fuzz.sockets import ExporterSockets, ForecasterSockets, PagerSockets

KINDS: dict[str, Callable[[], Kind]] = {kind.name: kind for kind in (
    Exporter, ForecasterPages, Pager, PagerSockets, ExporterSockets, ForecasterSockets, RemoteReads, Answers, Pages,
    Snapshots, ScenarioLogs, Models, Configurations, DoorFiles)}
CORPUS = Path(__file__).with_name("corpus")


def corpus(kind: str) -> Iterator[Path]:
    """The inputs of a kind that broke something once."""
    return iter(sorted(path for path in (CORPUS / kind).glob("*") if path.is_file()))


def drawn(kind: Kind, seed: int, number: int) -> bytes:
    """The input of this number: the same in every run."""
    return kind.draw(random.Random(f"{seed} {kind.name} {number}"))


def wrong(kind: Kind, given: bytes) -> str | None:
    """What is wrong with how this input is taken; None if nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy and PyTorch, about numbers
        return judged(kind.run, given, kind.seconds, kind.megabytes)


@contextmanager
def quiet() -> Iterator[None]:
    """What the product logs of bad inputs is not shown."""
    loggers = [logging.getLogger(name) for name in ("forecaster", "exporter", "serving", "stack", "pager")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
