"""Runs a web application under gunicorn: one worker process, several threads, a clean shutdown.

The state of a service lives in its process, so there is one worker. The application is made inside the worker, so
that the threads it starts belong to the process that serves. SIGTERM and SIGINT end the service within 5 seconds,
even while clients keep connections open. SIGHUP reloads the settings in the running worker.

    ListenError (ServingError)   an invalid or unavailable listen address
"""

import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from serving import ServingError
from serving.service import Service

log = logging.getLogger(__name__)

THREADS = 8
_STOP_SECONDS = 4  # the master kills a worker that takes longer to stop
_DRAIN_SECONDS = 2  # how long the worker waits for open connections; its close hook needs the rest of _STOP_SECONDS
_KEEPALIVE_SECONDS = 75  # longer than any usual scrape interval, so that scrapes reuse their connection
_BOOT_SECONDS = 300  # enough to load a model on a slow machine
_EXPECTED = "expected HOST:PORT, e.g. 127.0.0.1:8001, or 0.0.0.0:8001 for every interface"


class ListenError(ServingError):
    """A listen address that is malformed, unknown on this machine, in use or not permitted."""


def serve(app_factory: Callable[[], Flask], listen: str, name: str = "service") -> None:
    """Serves `app_factory()` on `listen` ("host:port") until a signal ends it; always ends by SystemExit.

    Exit code 0 after a signal; 1, with one line on stderr, if the address cannot be used; 3 if the application
    cannot be made.
    """
    try:
        listener = bind(listen)
    except ListenError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"{name}: listening on http://{shown}:{port}", file=sys.stderr, flush=True)
    _Arbiter(_Application(app_factory, listener.detach(), name)).run()


def parse_address(listen: str) -> tuple[str, int]:
    """(host, port) of "host:port" or "[ipv6]:port"; ListenError otherwise. Port 0 means any free port."""
    host, colon, port = listen.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host.strip("[]") or (":" in host and not bracketed) or any(map(str.isspace, host)):
        raise ListenError(f"cannot listen on {listen!r}: {_EXPECTED}")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ListenError(f"cannot listen on {listen!r}: {port!r} is not a port from 0 to 65535; {_EXPECTED}")
    return host.strip("[]"), int(port)


def bind(listen: str) -> socket.socket:
    """A listening socket on `listen`; ListenError, with the remedy, if the address cannot be used."""
    host, port = parse_address(listen)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(
            f"cannot listen on {listen}: the host {host!r} is unknown; use an address of this machine such as 127.0.0.1"
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        reasons = {
            errno.EADDRINUSE: "the port is in use; stop the program that uses it or choose another port",
            errno.EADDRNOTAVAIL: "this machine has no such address; use 127.0.0.1 or 0.0.0.0",
            errno.EACCES: "permission denied; choose a port of 1024 or above",
        }
        reason = reasons.get(error.errno or 0, f"{error.strerror}; choose another address")
        raise ListenError(f"cannot listen on {listen}: {reason} (--web.listen-address)") from error
    return listener


class _Application(BaseApplication):
    """Hands gunicorn its settings and, inside the worker, the Flask application."""

    def __init__(self, app_factory: Callable[[], Flask], listener_fd: int, name: str):
        self._app_factory = app_factory
        self._listener_fd = listener_fd
        self._name = name
        self._loaded = threading.Event()
        self._reloading = threading.Lock()
        self._service: Service | None = None
        super().__init__()

    def load_config(self) -> None:
        settings = {
            "bind": f"fd://{self._listener_fd}",
            "proc_name": self._name,
            "workers": 1,
            "worker_class": "gthread",
            "threads": THREADS,
            "timeout": _BOOT_SECONDS,
            "graceful_timeout": _STOP_SECONDS,
            "keepalive": _KEEPALIVE_SECONDS,
            "loglevel": "warning",
            "accesslog": None,
            "control_socket_disable": True,
            "post_fork": _shorten_drain,
            "worker_exit": self._worker_exit,
        }
        for key, value in settings.items():
            if key in self.cfg.settings:  # the control socket exists in newer versions only
                self.cfg.set(key, value)

    # type: ignore, because Flask takes environ as a dict and gunicorn's stubs declare any mapping
    def load(self) -> Flask:  # type: ignore[override]
        """Makes the application; gunicorn calls it once, in the worker."""
        signal.signal(signal.SIGHUP, self._on_hangup)
        try:
            app = self._app_factory()
        except ServingError as error:
            print(f"{self._name}: {error}", file=sys.stderr, flush=True)
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from error
        self._service = Service.of(app)
        self._loaded.set()
        return app

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        """Reloads in a thread, because the event loop must stay free to accept requests."""
        threading.Thread(target=self._reload, name="reload", daemon=True).start()

    def _reload(self) -> None:
        self._loaded.wait()
        if self._service is not None:
            with self._reloading:
                self._service.try_reload()

    def _worker_exit(self, arbiter: Arbiter, worker: Worker) -> None:
        """Closes the service, in the worker. Exits at once, so that an idle client cannot hold the process."""
        # type: ignore, because the stubs know only gunicorn's placeholder "[booting]", which becomes a process id
        if os.getpid() != worker.pid:  # type: ignore[comparison-overlap]
            return
        if self._service is not None:
            try:
                self._service.close()
            except Exception:
                log.exception("the service did not close cleanly")
        if worker.booted and not worker.alive:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


class _Arbiter(Arbiter):
    """gunicorn's master; it passes SIGHUP on instead of replacing the worker."""

    def handle_hup(self) -> None:
        self.kill_workers(signal.SIGHUP)


def _shorten_drain(arbiter: Arbiter, worker: Worker) -> None:
    """Lets the worker, and only the worker, give up on open connections after _DRAIN_SECONDS."""
    worker.cfg.set("graceful_timeout", _DRAIN_SECONDS)
