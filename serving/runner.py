"""Runs a web application under gunicorn: one worker process, several threads, a clean end.

One worker because the state of a service lives in its process. The application is made inside
the worker, so threads it starts belong to the process that serves. SIGTERM and SIGINT end the
service within 5 seconds even where clients keep connections open; SIGHUP reloads its settings
in the running worker.

    ListenError (ServingError)   a listen address that cannot be used
"""

import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from serving import ServingError

log = logging.getLogger(__name__)

THREADS = 8
RELOAD_ERRORS = (ServingError, ValueError, OSError)  # what settings that cannot be used raise
_STOP_SECONDS = 4  # the master kills a worker that takes longer
_DRAIN_SECONDS = 2  # what the worker gives open connections, so that its close hook runs before that
_KEEPALIVE_SECONDS = 75  # longer than any usual scrape interval, so that scrapes reuse their connection
_BOOT_SECONDS = 300  # loading a model on a slow machine
_EXPECTED = "expected HOST:PORT, e.g. 127.0.0.1:8001, or 0.0.0.0:8001 for every interface"


class ListenError(ServingError):
    """A listen address that is malformed, does not exist here, is taken or is not allowed."""


def serve(app_factory: Callable[[], Flask], listen: str, name: str = "service") -> None:
    """Serves `app_factory()` on `listen` ("host:port") until a signal ends it; always leaves by SystemExit.

    Exit code 0 after a signal; 1, with one line on stderr, where the address cannot be listened on;
    3 where the application cannot be made.
    """
    try:
        listener = bind(listen)
    except ListenError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    host, port = listener.getsockname()[:2]
    print(
        f"{name}: listening on http://{f'[{host}]' if ':' in host else host}:{port}",
        file=sys.stderr,
        flush=True,
    )
    application = _Application(app_factory, listener.detach(), name)
    _Arbiter(application).run()


def parse_address(listen: str) -> tuple[str, int]:
    """(host, port) of "host:port" or "[ipv6]:port"; ListenError otherwise. Port 0 takes any free one."""
    host, colon, port = listen.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host.strip("[]") or (":" in host and not bracketed) or any(map(str.isspace, host)):
        raise ListenError(f"cannot listen on {listen!r}: {_EXPECTED}")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ListenError(f"cannot listen on {listen!r}: {port!r} is no port from 0 to 65535; {_EXPECTED}")
    return host.strip("[]"), int(port)


def bind(listen: str) -> socket.socket:
    """A listening socket on `listen`; ListenError with the remedy where there can be none."""
    host, port = parse_address(listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ListenError(
            f"cannot listen on {listen}: the host {host!r} is unknown here; "
            "use an address of this machine such as 127.0.0.1"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        reasons = {
            errno.EADDRINUSE: "the port is taken; stop the program that uses it or choose another port",
            errno.EADDRNOTAVAIL: "this machine has no such address; use 127.0.0.1 or 0.0.0.0",
            errno.EACCES: "not allowed; choose a port from 1024 up",
        }
        reason = reasons.get(error.errno, f"{error.strerror}; choose another address")
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
        self._service: Any = None
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

    def load(self) -> Flask:
        """Makes the application; called once, in the worker."""
        signal.signal(signal.SIGHUP, self._on_hangup)
        try:
            app = self._app_factory()
        except ServingError as error:
            print(f"{self._name}: {error}", file=sys.stderr, flush=True)
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from error
        from serving.web import service_of  # web imports this module

        self._service = service_of(app)
        self._loaded.set()
        return app

    def _on_hangup(self, number: int, frame: Any) -> None:
        """Reloads beside the event loop, which must stay free to accept requests."""
        threading.Thread(target=self._reload, name="reload", daemon=True).start()

    def _reload(self) -> None:
        self._loaded.wait()
        if self._service is None or self._service.reload is None:
            return
        with self._reloading:
            try:
                self._service.reload()
            except RELOAD_ERRORS as error:
                log.error("reload failed, the previous settings stay in use: %s", error)

    def _worker_exit(self, arbiter: Arbiter, worker: Any) -> None:
        """The close hook, in the worker. Leaves at once: a silent client must not hold the process."""
        if os.getpid() != worker.pid:
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
    """gunicorn's master, which passes SIGHUP on instead of replacing the worker."""

    def handle_hup(self) -> None:
        self.kill_workers(signal.SIGHUP)


def _shorten_drain(arbiter: Arbiter, worker: Any) -> None:
    """In the worker only: it gives up on open connections before the master gives up on it."""
    worker.cfg.set("graceful_timeout", _DRAIN_SECONDS)
