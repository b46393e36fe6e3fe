"""TLS, headers and users of a service, from a file in the format of Prometheus' exporter-toolkit (`--web.config.file`).

The format: https://prometheus.io/docs/prometheus/latest/configuration/https/. Paths are relative to the file.

`promtool check web-config` accepts every file that is accepted here. Refused are also: what Python's ssl cannot do
(RequireAnyClientCert, more than one curve); what opens a service by accident (an empty file, a section without content,
a client_ca_file without certificates); versions of which none is left; cipher suites without forward secrecy.
"""

import logging
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from serving.doors.files import content
from serving.settings import Settings, SettingsError, load

log = logging.getLogger(__name__)

Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
_VERSIONS = {"TLS10": ssl.TLSVersion.TLSv1, "TLS11": ssl.TLSVersion.TLSv1_1,
             "TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")  # always on, as in Go
_CIPHERS = {  # Go's names of TLS 1.2 to OpenSSL's
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
_HEADERS: Mapping[str, tuple[str, ...]] = {  # those of the toolkit, with their values where only some are allowed
    "Strict-Transport-Security": (), "X-Content-Type-Options": ("nosniff",), "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (), "Content-Security-Policy": (),
}
_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_CLIENT_CERTIFICATES = {"VerifyClientCertIfGiven": ssl.CERT_OPTIONAL, "RequireAndVerifyClientCert": ssl.CERT_REQUIRED}

Text = Annotated[str, Field(coerce_numbers_to_str=True)]


class TLSServer(Settings):
    """`tls_server_config`; without a certificate the service speaks plain HTTP."""

    cert_file: str = ""
    key_file: str = ""
    client_auth_type: Literal["", "NoClientCert", "RequestClientCert", "RequireClientCert", "RequireAnyClientCert",
                              "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = ""
    client_ca_file: str = ""
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: StrictBool = True
    curve_preferences: tuple[Literal["CurveP256", "CurveP384", "CurveP521", "X25519"], ...] = ()

    @field_validator("client_auth_type")
    @classmethod
    def _can_be_done(cls, given: str) -> str:
        if given in ("RequireAnyClientCert", "RequireClientCert"):
            raise ValueError(f"{given} is not supported: Python's ssl does not take a certificate that it cannot "
                             "verify; expected RequireAndVerifyClientCert with a client_ca_file")
        return given

    @field_validator("max_version")
    @classmethod
    def _above_min_version(cls, given: Version, info: ValidationInfo) -> Version:
        if _VERSIONS[given] < _VERSIONS[info.data.get("min_version", given)]:
            raise ValueError(f"expected {info.data['min_version']}, the min_version, or above")
        return given

    @field_validator("cipher_suites")
    @classmethod
    def _are_known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in given if name not in _CIPHERS and name not in _TLS13]
        if unknown:
            raise ValueError(f"unknown cipher suite {unknown[0]}; expected any of {', '.join((*_TLS13, *_CIPHERS))}")
        return given

    @field_validator("curve_preferences")
    @classmethod
    def _is_one(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len(given) > 1:
            raise ValueError("more than one curve is not supported by Python's ssl; expected one, or none for "
                             "OpenSSL's own preferences (X25519 first)")
        return given


class HTTPServer(Settings):
    """`http_server_config`. HTTP/2 is not spoken, whatever `http2` says: clients then speak HTTP/1.1."""

    http2: StrictBool = True
    headers: dict[str, Text] = Field(default_factory=dict)

    @field_validator("headers")
    @classmethod
    def _are_allowed(cls, given: dict[str, str]) -> dict[str, str]:
        for name, value in given.items():
            if name not in _HEADERS:
                raise ValueError(f"header {name} cannot be set; expected any of {', '.join(_HEADERS)}")
            allowed = _HEADERS[name] or (value,)
            if value not in allowed or not re.fullmatch(r"[ -~]*", value):
                raise ValueError(f"{name}: expected {' or '.join(_HEADERS[name]) or 'printable ASCII on one line'}")
        return given


class WebSettings(Settings):
    """The whole file."""

    tls_server_config: TLSServer = TLSServer()
    http_server_config: HTTPServer = HTTPServer()
    basic_auth_users: object = Field(default_factory=dict)  # checked by _users, whose messages show no password


@dataclass(frozen=True)
class Web:
    """What the file says. tls: None for plain HTTP; users: bcrypt hash by name; expiry: Unix seconds at which the first
    certificate of cert_file ends, None where that is not known or TLS not spoken."""

    tls: ssl.SSLContext | None
    headers: Mapping[str, str]
    users: Mapping[str, str]
    expiry: float | None


def read(path: Path, note: Callable[[Path], object] = lambda file: None) -> Web:
    """Reads the file, certificates and key; SettingsError if any of it cannot be used. note: gets the path of each of
    these files before it is opened."""
    note(path)
    given = load(WebSettings, path)
    tls, folder = given.tls_server_config, path.parent
    for name in (tls.cert_file, tls.key_file, tls.client_ca_file):
        if name:
            note(folder / name)
    users = _users(f"{path}: basic_auth_users", given.basic_auth_users)
    context = _context(tls, path)
    return Web(context, given.http_server_config.headers, users,
               None if context is None else _expiry(folder / tls.cert_file))


def _users(where: str, given: object) -> dict[str, str]:
    """bcrypt hash by name."""
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: is no mapping (not shown); expected `NAME: bcrypt hash` lines; correct the file")
    for name, hashed in given.items():
        if not isinstance(hashed, str) or not _BCRYPT.fullmatch(hashed):
            raise SettingsError(f"{where}.{name}: is no bcrypt hash (not shown); expected one such as $2b$10$… with 60 "
                                "characters; make it with `htpasswd -nBC 10 NAME`")
    return {str(name): hashed for name, hashed in given.items()}


def _context(given: TLSServer, path: Path) -> ssl.SSLContext | None:
    """The server's side of TLS, None without a certificate."""
    where = f"{path}: tls_server_config"
    if not (given.cert_file or given.key_file or given.client_ca_file or given.client_auth_type):
        return None
    for setting in ("cert_file", "key_file"):
        if not getattr(given, setting):
            raise SettingsError(f"{where}.{setting}: is missing; expected the path of a PEM file; add it")
    verify = _CLIENT_CERTIFICATES.get(given.client_auth_type, ssl.CERT_NONE)
    if given.client_ca_file and given.client_auth_type in ("", "NoClientCert"):
        raise SettingsError(f"{where}.client_ca_file: given without a client_auth_type that uses it; expected "
                            "RequireAndVerifyClientCert or VerifyClientCertIfGiven; add client_auth_type")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        _limit(context, given)
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(f"{where}: this machine's {ssl.OPENSSL_VERSION} refuses it ({error}); expected versions, "
                            "cipher suites and a curve that it has; choose others") from error
    certificate, key = path.parent / given.cert_file, path.parent / given.key_file
    for setting in ("cert_file", "key_file", "client_ca_file"):
        if getattr(given, setting):
            content(f"{where}.{setting}", path.parent / getattr(given, setting), "a readable PEM file")
    try:
        context.load_cert_chain(certificate, key, password=lambda: _no_password(where))
    except OSError as error:  # SSLError is one
        raise SettingsError(f"{where}.cert_file: {certificate} with key {key} cannot be used ({_reason(error)}); "
                            "expected a certificate and its key in PEM; renew both") from error
    if given.client_ca_file:
        authority = path.parent / given.client_ca_file
        try:
            context.load_verify_locations(authority)
        except OSError as error:
            raise SettingsError(f"{where}.client_ca_file: {authority} cannot be used ({_reason(error)}); expected "
                                "certificates in PEM; correct the file") from error
    elif verify != ssl.CERT_NONE:  # as Go does, whose exporter-toolkit takes such a file, too
        log.warning("%s.client_auth_type: %s without a client_ca_file takes the certificates of every authority that "
                    "this machine trusts; give the client_ca_file of your own authority", where, given.client_auth_type)
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = verify
    return context


def _limit(context: ssl.SSLContext, given: TLSServer) -> None:
    """Sets versions, cipher suites and curve; SSLError or ValueError if OpenSSL does not have them."""
    context.minimum_version, context.maximum_version = _VERSIONS[given.min_version], _VERSIONS[given.max_version]
    if not given.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if given.cipher_suites:
        older = [_CIPHERS[name] for name in given.cipher_suites if name in _CIPHERS]
        if older:
            context.set_ciphers(":".join(older))
        else:  # none of TLS 1.2 is left
            context.minimum_version = ssl.TLSVersion.TLSv1_3
    for curve in given.curve_preferences:
        context.set_ecdh_curve(_CURVES[curve])


def _expiry(certificate: Path) -> float | None:
    """Unix seconds at which the certificate of a PEM file ends, of a chain the earliest end; None where `cryptography`
    cannot read what OpenSSL has taken."""
    from cryptography import x509  # 8 MB that only TLS needs

    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        log.warning("%s: its end is not known (%s)", certificate, error)
        return None
    return min(one.not_valid_after_utc.timestamp() for one in chain)


def _no_password(where: str) -> NoReturn:
    """Raises, where OpenSSL would ask for a password on the terminal and wait."""
    raise SettingsError(f"{where}.key_file: is encrypted; expected a key without a password; decrypt it with "
                        "`openssl pkey -in FILE -out NEW`")


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return error.strerror or str(error)
