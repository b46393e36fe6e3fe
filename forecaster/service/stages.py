"""The stages of a cycle as they are seen from outside: timed, counted, and remembered with what they failed with."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

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
    """Call it with a stage's name around what the stage does."""

    def __init__(self, metrics: SelfMetrics):
        self._metrics = metrics
        self.errors: dict[str, str | None] = {}  # stage -> what it failed with when it last ran
        self.running: str | None = None  # the stage under way

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Raises StageError for whatever is raised inside."""
        started, self.running = time.perf_counter(), name
        try:
            yield
        except Exception as error:  # whatever it is: counted, shown, and the next cycle tries anew
            if not isinstance(error, SourceError | PushError):
                log.exception("stage %s failed", name)
            self.errors[name] = str(error) or type(error).__name__
            self._metrics.stage(name, time.perf_counter() - started, False)
            raise StageError(name, error) from error
        finally:
            self.running = None
        self.errors[name] = None
        self._metrics.stage(name, time.perf_counter() - started, True)
