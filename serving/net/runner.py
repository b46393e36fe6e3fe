"""Runs a web application: one process, an event loop that speaks HTTP (serving.net.http), and a clean shutdown.

The application is made in a thread while signals are heard already; connections wait until it is made. SIGTERM and
SIGINT end the service within 5 seconds, even while clients keep connections open. SIGHUP reloads the settings.

    ListenError (ServingError)   an invalid or unavailable listen address
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from flask import Flask

from serving import ServingError
from serving.net import access
from serving.net.http import Server
from serving.net.options import WebOptions
from serving.net.origin import Guard
from serving.net.traffic import Traffic
from serving.service import Service

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_DRAIN_SECONDS = 2.0  # how long open connections are waited for
_STOP_SECONDS = 4.0  # the process ends after that, whether the service has closed or not
_EXPECTED = "expected HOST:PORT, e.g. 127.0.0.1:8001, or 0.0.0.0:8001 for every interface"


class ListenError(ServingError):
    """A listen address that is malformed, unknown on this machine, in use or not permitted."""


def serve(app_factory: Callable[[], Flask], listen: str, name: str = "service",
          tls: Callable[[], ssl.SSLContext | None] = lambda: None, options: WebOptions | None = None,
          traffic: Traffic | None = None) -> None:
    """Serves `app_factory()` on `listen` ("host:port") until a signal ends it; never returns.

    tls: asked for each connection; None means plain HTTP. options: names of the service, reload, access log. traffic:
    counts what is not served. Exit code 0 after a signal; 1, with one line on stderr, if the address cannot be used; 3
    if the application cannot be made.
    """
    try:
        listener = bind(listen)
    except ListenError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    code = asyncio.run(_run(app_factory, listener, parse_address(listen)[0], name, tls, options or WebOptions(),
                            traffic))
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a full disk, or a reader that has left
            output.flush()
    os._exit(code)  # threads that still run, of the service or of a library, would keep the process


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
        listener.listen(4096)
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


async def _run(app_factory: Callable[[], Flask], listener: socket.socket, host: str, name: str,
               tls: Callable[[], ssl.SSLContext | None], options: WebOptions,
               traffic: Traffic | None) -> int:
    """Makes the application and serves it until a signal; the exit code."""
    loop = asyncio.get_running_loop()
    stop, hangups = asyncio.Event(), asyncio.Queue[None]()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hangups.put_nowait, None)
    address, port = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    scheme = "http" if tls() is None else "https"
    print(f"{name}: listening on {scheme}://{shown}:{port}", file=sys.stderr, flush=True)
    making = _in_thread("start", app_factory)
    stopped = loop.create_task(stop.wait())
    await asyncio.wait(list[asyncio.Future[Any]]([making, stopped]), return_when=asyncio.FIRST_COMPLETED)
    if not making.done():
        return 0
    try:
        app = making.result()
    except ServingError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 3
    except Exception:
        log.exception("the application could not be made")
        return 3
    server = Server(Guard(app, host, options), listener, app.config["MAX_CONTENT_LENGTH"], tls,
                    access=access.write if options.access_log else None, traffic=traffic)
    service = Service.of(app)
    reloading = loop.create_task(_reload(service, hangups))
    await stopped
    reloading.cancel()
    started = loop.time()
    await server.close(_DRAIN_SECONDS)
    if service is not None:
        closing = _in_thread("close", service.close)
        await asyncio.wait([closing], timeout=started + _STOP_SECONDS - loop.time())
        if closing.done() and (failed := closing.exception()) is not None:
            log.error("the service did not close cleanly", exc_info=failed)
    return 0


async def _reload(service: Service | None, hangups: "asyncio.Queue[None]") -> None:
    """Reloads the service for each hangup, one after the other."""
    while True:
        await hangups.get()
        if service is not None:
            try:
                await _in_thread("reload", service.try_reload)
            except Exception:
                log.exception("the settings could not be reloaded")


def _in_thread(name: str, work: Callable[[], Result]) -> "asyncio.Future[Result]":
    """The future result of `work`, which no end of the event loop waits for."""
    future = Future[Result]()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (it is raised where the result is awaited)
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return asyncio.wrap_future(future)
