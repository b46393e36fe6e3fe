"""`make up SECURE=1`: TLS and a login for every part, with one certificate and one password, made at the first start.

In: a secured Layout. Out: its folder, of which the owner alone may read:

    ca.crt, server.crt, server.key   stack.certificates, renewed before they end, while the stack runs
    password                         of the user `fleetcast`
    web.yml                          the web configuration of every part (exporter-toolkit's format)
    curlrc                           the same login for `curl -K`
    config/                          the configuration of the plain layout, with addresses and logins for this one

Delete the folder, while nothing runs, to have a new certificate and a new password.
"""

import base64
import http.client
import secrets
import shutil
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bcrypt
import yaml

from stack.certificates import AUTHORITY, CERTIFICATE, KEY, OWNER, current, make, private
from stack.layout import HOST, Layout
from stack.parts import WEB_CONFIG

USER = "fleetcast"
PASSWORD, CURL = "password", "curlrc"  # files
_LOOKS = 3600.0  # s between two looks at the certificate
_ROUNDS = 10  # of bcrypt: 0.1 s; the password has 190 random bits


def protect(layout: Layout) -> None:
    """Makes what is missing in the folder of a secured layout, and its configuration anew."""
    assert layout.secure is not None and layout.plain is not None, "a secured layout"
    folder = layout.secure
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    make_login(folder, folder, (HOST, "localhost"))
    private(folder / CURL, f'cacert = "{folder / AUTHORITY}"\nuser = "{USER}:{_password(folder)}"\n'.encode())
    shutil.rmtree(layout.config, ignore_errors=True)  # it may have files that the plain one has no longer
    layout.copy_configuration(layout.plain)
    configure(layout.config, folder)


def make_login(server: Path, client: Path, addresses: Sequence[str], mode: int = OWNER) -> None:
    """Makes what is missing of certificates and password, and the web configuration anew.

    server: the folder of what a part serves with; client: that of what it asks others with, AUTHORITY and PASSWORD;
    addresses: those in the certificate; mode: who may read the files.
    """
    if not current(server, datetime.now(UTC), addresses):
        make(server, addresses, mode=mode)
    if client != server:
        private(client / AUTHORITY, (server / AUTHORITY).read_bytes(), mode)
    if not (client / PASSWORD).exists():
        private(client / PASSWORD, secrets.token_urlsafe(24).encode(), mode)
    web = {
        "tls_server_config": {"cert_file": CERTIFICATE, "key_file": KEY},
        "basic_auth_users": {USER: bcrypt.hashpw(_password(client).encode(), bcrypt.gensalt(_ROUNDS)).decode()},
    }
    private(server / WEB_CONFIG, yaml.safe_dump(web).encode(), mode)


class Renewal:
    """Renews the certificate of a layout, if that is secured, while its parts run, which read it by themselves. ticks:
    seconds of a clock that only moves forward."""

    def __init__(self, layout: Layout, ticks: Callable[[], float] = time.monotonic):
        self._folder, self._ticks, self._looked = layout.secure, ticks, ticks()

    def news(self) -> Iterator[str]:
        """Looks at the certificate once an hour; a line where it was about to end."""
        if self._folder is None or self._ticks() - self._looked < _LOOKS:
            return
        self._looked = self._ticks()
        try:
            if not current(self._folder, datetime.now(UTC)):
                make(self._folder)
                yield f"the certificate is renewed; a browser that trusts {self._folder / AUTHORITY} has to be told"
        except OSError as error:
            yield f"the certificate in {self._folder} ends soon and cannot be renewed: {error}"


def open_url(client: Path | None, asked: str | urllib.request.Request, timeout: float) -> http.client.HTTPResponse:
    """Opens a page of a part, with the AUTHORITY and the PASSWORD in a folder if there is one. Raises OSError."""
    request = urllib.request.Request(asked) if isinstance(asked, str) else asked
    context = None
    if client is not None:
        login = base64.b64encode(f"{USER}:{_password(client)}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
        context = ssl.create_default_context(cafile=client / AUTHORITY)
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout, context=context)
    return answer


def client_config(client: Path) -> dict[str, Any]:
    """How Prometheus' programs log in with what is in a folder: the HTTP configuration of its client library."""
    return {"basic_auth": {"username": USER, "password_file": str(client / PASSWORD)},
            "tls_config": {"ca_file": str(client / AUTHORITY)}}


def configure(config: Path, client: Path) -> None:
    """Puts the login of a folder into a copy of the configuration, whose addresses are https:// already."""
    go = client_config(client)
    ours = {"basic_auth": go["basic_auth"], **go["tls_config"]}

    def prometheus(config: Any) -> None:
        for asked in (*config["scrape_configs"], *config["alerting"]["alertmanagers"]):
            asked.update(go, scheme="https")
        for asked in config["remote_read"]:
            asked.update(go)

    def alertmanager(config: Any) -> None:
        config.setdefault("global", {})["http_config"] = go

    def forecaster(config: Any) -> None:
        config["source"] = {**config.get("source", {}), **ours}
        config["alertmanager"] = {**config.get("alertmanager", {}), **ours}

    _edit(config / "prometheus/prometheus.yml", prometheus)
    _edit(config / "prometheus/alertmanager.yml", alertmanager)
    for preset in ("fleet", "node_exporter"):  # those of the parts
        _edit(config / f"forecaster/presets/{preset}.yml", forecaster)
    for rules in (config / "prometheus/rules").glob("*.yml"):
        rules.write_text(rules.read_text().replace("http://{{", "https://{{"))


def _edit(path: Path, change: Callable[[Any], None]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    text = yaml.safe_dump(content, sort_keys=False)
    path.write_text(f"# Written anew at each start by stack.secure: changes here are lost.\n{text}")


def _password(folder: Path) -> str:
    return (folder / PASSWORD).read_text("utf-8").strip()
