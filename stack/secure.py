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
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bcrypt
import yaml

from stack.certificates import AUTHORITY, CERTIFICATE, KEY, current, make, private
from stack.layout import Layout
from stack.parts import WEB_CONFIG

USER = "fleetcast"
PASSWORD, CURL = "password", "curlrc"  # files
_LOOKS = 3600.0  # s between two looks at the certificate
_ROUNDS = 10  # of bcrypt: 0.1 s; the password has 190 random bits


def protect(layout: Layout) -> None:
    """Makes what is missing in the folder of a secured layout, and its configuration anew."""
    folder = _folder(layout)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    if not current(folder, datetime.now(UTC)):
        make(folder)
    if not (folder / PASSWORD).exists():
        private(folder / PASSWORD, secrets.token_urlsafe(24).encode())
    password = _password(folder)
    web = {
        "tls_server_config": {"cert_file": CERTIFICATE, "key_file": KEY},
        "basic_auth_users": {USER: bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS)).decode()},
    }
    private(folder / WEB_CONFIG, yaml.safe_dump(web).encode())
    private(folder / CURL, f'cacert = "{folder / AUTHORITY}"\nuser = "{USER}:{password}"\n'.encode())
    assert layout.plain is not None
    shutil.rmtree(layout.config, ignore_errors=True)  # it may have files that the plain one has no longer
    layout.copy_configuration(layout.plain)
    _configure(layout, folder)


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


def open_url(layout: Layout, url: str, timeout: float) -> http.client.HTTPResponse:
    """Opens a page of a part, with the login of the layout. Raises OSError."""
    if layout.secure is None:
        answer: http.client.HTTPResponse = urllib.request.urlopen(url, timeout=timeout)
        return answer
    login = base64.b64encode(f"{USER}:{_password(layout.secure)}".encode()).decode()
    asked = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})
    context = ssl.create_default_context(cafile=layout.secure / AUTHORITY)
    answer = urllib.request.urlopen(asked, timeout=timeout, context=context)
    return answer


def _configure(layout: Layout, folder: Path) -> None:
    """Puts the login into the layout's copy of the configuration."""
    basic = {"username": USER, "password_file": str(folder / PASSWORD)}
    authority = str(folder / AUTHORITY)
    go = {"basic_auth": basic, "tls_config": {"ca_file": authority}}
    ours = {"basic_auth": basic, "ca_file": authority}

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

    _edit(layout.config / "prometheus/prometheus.yml", prometheus)
    _edit(layout.config / "prometheus/alertmanager.yml", alertmanager)
    for preset in ("fleet", "node_exporter"):  # those of the parts
        _edit(layout.config / f"forecaster/presets/{preset}.yml", forecaster)
    for rules in (layout.config / "prometheus/rules").glob("*.yml"):
        rules.write_text(rules.read_text().replace("http://{{", "https://{{"))


def _edit(path: Path, change: Callable[[Any], None]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    text = yaml.safe_dump(content, sort_keys=False)
    path.write_text(f"# Written by `make up SECURE=1`: changes here are lost.\n{text}")


def _folder(layout: Layout) -> Path:
    assert layout.secure is not None, "a secured layout"
    return layout.secure


def _password(folder: Path) -> str:
    return (folder / PASSWORD).read_text("utf-8").strip()
