"""`make up`: checks, loads history, starts the parts, waits until they are ready, watches until Ctrl-C."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Self

from serving.shown import say
from stack import AlreadyRunning, StackError
from stack.history import BOOTSTRAP_HOURS, DAYS, FINE, Gap, History
from stack.layout import HOST, Layout
from stack.parts import BOOTSTRAP, Plan, find_program, plan, write_targets
from stack.preflight import check_ports
from stack.ready import DEADLINE, render, summary, table, wait_ready
from stack.remedies import report
from stack.runner import Runner, State, log_file
from stack.secure import Renewal, protect

_FOLDERS = ("logs", "prometheus", "alertmanager", "forecaster", "forecaster-node")


class Stack:
    """One stack from start to stop. A context manager: leaving it stops everything."""

    def __init__(self, layout: Layout, chosen: Plan, days: float = DAYS):
        self.layout = layout
        self.plan = chosen
        self.days = days
        self.runner = Runner(layout, chosen.parts)
        self._announced = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def prepare(self) -> None:
        """Checks ports, makes folders and loads history, before the first process starts. Raises StackError."""
        running = self.runner.running_elsewhere()
        if running is not None:
            raise AlreadyRunning(
                f"Fleetcast is already running: stop it with Ctrl-C where `make up` runs, or with `kill {running}`"
            )
        check_ports(self.plan.parts)
        for name in _FOLDERS:
            (self.layout.data / name).mkdir(parents=True, exist_ok=True)
        if self.layout.plain is not None:
            protect(self.layout)
        if self.plan.embedded:
            self._write_bootstrap()
        else:
            self._history().backfill(self.days)
            self._announced = True
            write_targets(self.layout, self.plan.names())

    def start(self, deadline: float = DEADLINE) -> None:
        """Starts the parts and returns once all are ready; PartFailed otherwise."""
        self.runner.start()
        wait_ready(self.runner, deadline)

    def stop(self) -> None:
        """Ends every part and removes the optional targets."""
        self.runner.stop()
        if self._announced:  # otherwise they belong to a stack that is already running
            write_targets(self.layout, ())

    def _history(self) -> History:
        exporter = find_program(self.layout, "fleet-exporter") or "fleet-exporter"
        return History(
            self.layout.data / "prometheus",
            (exporter,),
            find_program(self.layout, "promtool") or "promtool",
            self.layout.config / "exporter" / "fleet.yml",
            f"{HOST}:{self.layout.ports['exporter']}",
            report=say,
        )

    def _write_bootstrap(self) -> None:
        """Writes the last hours to a file, at every start."""
        history = self._history()
        now = float(int(history.clock()))
        say(f"writing {BOOTSTRAP_HOURS} hours of history for the forecaster")
        history.write(Gap(now - BOOTSTRAP_HOURS * 3600, now, FINE), self.layout.data / BOOTSTRAP)


class Watch:
    """Reports changes of the parts while they run, and the alerts that the pager receives."""

    def __init__(self, runner: Runner):
        self._runner = runner
        self._last: dict[str, State] = runner.states()
        self._pages = log_file(runner.layout, "pager")
        self._read = self._pages.stat().st_size if self._pages.exists() else 0

    def news(self) -> list[str]:
        """One line for each change since the last call, and each line the pager wrote."""
        return [*self._changes(), *self._new_pages()]

    def _changes(self) -> Iterable[str]:
        try:
            before, self._last = self._last, self._runner.states()
        except OSError:  # supervisord does not answer: if it ended, the watch ends with it
            return
        for name, now in self._last.items():
            was = before[name]
            if now.state == was.state and now.pid == was.pid:
                continue
            if now.state == "RUNNING":
                yield f"{name} runs again"
            elif now.state == "STOPPED":
                yield f"{name} is stopped; everything else keeps running"
            elif now.state == "FATAL":
                yield (
                    f"{name} does not stay up; correct the cause, then: make start PART={name}\n"
                    f"  the end of its log:\n{self._runner.last_lines(name)}"
                )
            elif was.state == "RUNNING" and now.state != "STOPPING":
                yield (
                    f"{name} ended and is restarted; everything else keeps running\n"
                    f"  the end of its log:\n{self._runner.last_lines(name, 5)}"
                )

    def _new_pages(self) -> list[str]:
        try:
            size = self._pages.stat().st_size
            with self._pages.open("rb") as log:
                log.seek(self._read if size >= self._read else 0)  # it was rotated
                text = log.read()
        except FileNotFoundError:
            return []
        complete = text[: text.rfind(b"\n") + 1]
        self._read = (self._read if size >= self._read else 0) + len(complete)
        lines = complete.decode(errors="replace").splitlines()
        return [line for line in lines if line.startswith(("PAGE", "TICKET"))]


def run(stack: Stack, deadline: float) -> int:
    """Starts the stack and watches it until a signal ends it; the exit code."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        return _run(stack, deadline, stopping)
    except KeyboardInterrupt:
        say("\nstopping")
        return 0
    except (StackError, OSError) as error:
        return report(error, stack.layout.data)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # nothing may interrupt the shutdown
        try:
            stack.stop()
        except OSError as error:
            report(error, stack.layout.data, "while stopping: ")


def _run(stack: Stack, deadline: float, stopping: threading.Event) -> int:
    """Starts the stack and watches it; returns only if supervisord ends."""
    stack.prepare()
    say(f"starting {', '.join(part.name for part in stack.plan.parts)}")
    stack.start(deadline)
    say("\n" + render(stack.layout, stack.plan, table(stack.layout, stack.plan), summary(stack.layout)))
    watch, renewal = Watch(stack.runner), Renewal(stack.layout)
    while stack.runner.alive:
        for line in (*watch.news(), *renewal.news()):
            say(line)
        stopping.wait(0.5)
    say("stack: supervisord ended; stopping", sys.stderr)
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make up`."""
    about = "Run Fleetcast on this machine until Ctrl-C."
    parser = argparse.ArgumentParser(prog="python -m stack.up", description=about)
    parser.add_argument("--embedded", action="store_true", help="run without Prometheus, even if it is installed")
    about = "TLS and a login for every part; the password is in .data/secure/password"
    parser.add_argument("--secure", action="store_true", help=about)
    about = "seconds until all parts must be ready (default: %(default)s)"
    parser.add_argument("--deadline", type=float, default=DEADLINE, help=about)
    options = parser.parse_args(arguments)
    layout = Layout.here().secured() if options.secure else Layout.here()
    try:
        chosen = plan(layout, options.embedded)
    except (StackError, OSError) as error:
        return report(error, layout.root)
    return run(Stack(layout, chosen), options.deadline)


if __name__ == "__main__":
    sys.exit(main())
