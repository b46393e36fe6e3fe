"""Certificates, users and tokens for tests of the doors."""

import base64
import functools
import socket
import ssl
import tempfile
from pathlib import Path

import bcrypt

from stack import certificates

PASSWORD, WRONG = "correct horse", "battery staple"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()  # 4: the least work
TOKENS = {"reader": ("read",), "controller": ("read", "control"), "writer": ("write",)}


def basic(name: str, password: str) -> dict[str, str]:
    """The header of a login by password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """The header of a login by token."""
    return {"Authorization": f"Bearer {token}"}


def token_of(name: str) -> str:
    """The token of a name in `write_tokens`."""
    return f"token-of-{name}-0123456789"


def write_tokens(folder: Path, scopes: dict[str, tuple[str, ...]] = TOKENS) -> Path:
    """A file of tokens, each in a file of its own."""
    for name in scopes:
        (folder / f"{name}.token").write_text(token_of(name) + "\n")
    file = folder / "tokens.yml"
    lines = (f"  {name}: {{file: {name}.token, scopes: [{', '.join(of)}]}}\n" for name, of in scopes.items())
    file.write_text("tokens:\n" + "".join(lines))
    return file


def write_users(folder: Path, tls: bool = False, **hashes: str) -> Path:
    """A web configuration with these users (alice by default), and TLS with the folder's certificate."""
    file = folder / "web.yml"
    users = "".join(f'  {name}: "{of}"\n' for name, of in (hashes or {"alice": HASH}).items())
    served = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n" if tls else ""
    file.write_text(f"{served}basic_auth_users:\n{users}")
    return file


@functools.cache
def _made() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        certificates.make(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def write_certificates(folder: Path) -> None:
    """An authority, a certificate for 127.0.0.1 and its key."""
    for name, content in _made().items():
        (folder / name).write_bytes(content)


def trusting(folder: Path) -> ssl.SSLContext:
    """A client's side of TLS that trusts the folder's authority."""
    return ssl.create_default_context(cafile=folder / certificates.AUTHORITY)


def served_certificate(port: int, context: ssl.SSLContext) -> bytes:
    """The certificate, as DER, that a service on loopback shows; ssl.SSLError where the client does not trust it."""
    with (socket.create_connection(("127.0.0.1", port), 10) as plain,
          context.wrap_socket(plain, server_hostname="127.0.0.1") as secure):
        return secure.getpeercert(binary_form=True)


def certificate_of(folder: Path) -> bytes:
    """The folder's certificate, as DER."""
    return ssl.PEM_cert_to_DER_cert((folder / certificates.CERTIFICATE).read_text())
