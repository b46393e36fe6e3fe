"""Times and counts the stages of a cycle, and keeps the error of each."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from forecaster.publish.alertmanager import AlertmanagerError
from forecaster.publish.push import PushError
from forecaster.publish.self_metrics import SelfMetrics
from forecaster.readings import SourceError

log = logging.getLogger(__name__)


class StageError(Exception):
    """A stage failed; .stage names it, the cause is chained."""

    def __init__(self, stage: str, cause: Exception):
        super().__init__(f"{stage}: {cause}")
        self.stage = stage


class Stages:
    """A context manager to call with a stage's name, around the work of the stage."""

    def __init__(self, metrics: SelfMetrics):
        self._metrics = metrics
        self.errors: dict[str, str | None] = {}  # stage -> error of its last run, None where it succeeded
        self.running: str | None = None  # the stage that runs now

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Raises StageError for every exception inside."""
        started, self.running = time.perf_counter(), name
        try:
            yield
        except Exception as error:  # any error: it is counted and shown, and the next cycle tries again
            if not isinstance(error, SourceError | PushError | AlertmanagerError):
                log.exception("stage %s failed", name)
            self.errors[name] = str(error) or type(error).__name__
            self._metrics.stage(name, time.perf_counter() - started, False)
            raise StageError(name, error) from error
        finally:
            self.running = None
        self.errors[name] = None
        self._metrics.stage(name, time.perf_counter() - started, True)
