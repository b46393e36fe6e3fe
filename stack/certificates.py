"""Certificates of a stack: an authority of its own, and a certificate that it signs for the addresses of this machine.

Made with `cryptography`: programs that could make them, such as openssl, are not on every machine and differ in their
flags. A private key is readable by its owner only, unless a mode is given. The key of the authority is not kept.

A certificate can be renewed while programs use it. The new one has the same key, so that only one file of a server
changes, and a new authority, which stands beside the one before in the file that clients read. That is written first.
"""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY, CERTIFICATE, KEY = "ca.crt", "server.crt", "server.key"  # PEM, in the folder
DAYS = 365
OWNER = 0o600  # the mode of a file that its owner alone may read
_RENEWED = 30  # days before the end


def make(folder: Path, addresses: Sequence[str] = ("127.0.0.1", "localhost"), days: float = DAYS,
         now: datetime | None = None, mode: int = OWNER) -> None:
    """Writes AUTHORITY, CERTIFICATE and KEY, valid for `days` from an hour before `now` on; or renews those that the
    folder has. OSError if it cannot be written to.

    mode: who may read them. The certificate serves and logs in: it may be a server's and a client's.
    """
    began = (now or datetime.now(UTC)) - timedelta(hours=1)
    ended = began + timedelta(days=days)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = _key(folder) or ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Fleetcast of {began:%Y-%m-%d}")])

    def builder(name: x509.Name, of: ec.EllipticCurvePrivateKey, authority: bool) -> x509.CertificateBuilder:
        return (x509.CertificateBuilder().subject_name(name).issuer_name(authority_name).public_key(of.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(began).not_valid_after(ended)
                .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
                .add_extension(_usage(authority), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                               critical=False))

    authority = builder(authority_name, authority_key, True).sign(authority_key, hashes.SHA256())
    certificate = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, addresses[0])]), key, False)
        .add_extension(x509.SubjectAlternativeName([_name(address) for address in addresses]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                       critical=False)
        .sign(authority_key, hashes.SHA256()))
    trusted = [authority, *_served_by(folder)]
    private(folder / AUTHORITY, b"".join(one.public_bytes(Encoding.PEM) for one in trusted), mode)
    private(folder / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode)
    private(folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM), mode)


def current(folder: Path, now: datetime, addresses: Sequence[str] = ()) -> bool:
    """Whether the folder has a certificate that lasts for a while, with these addresses, and its key."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        named = {*certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value}
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    if not named >= {_name(address) for address in addresses}:
        return False
    key = _key(folder)
    whole = (folder / AUTHORITY).is_file() and key is not None and key.public_key() == certificate.public_key()
    return whole and certificate.not_valid_after_utc - now > timedelta(days=_RENEWED)


def private(path: Path, content: bytes, mode: int = OWNER) -> None:
    """Writes a file that only its owner may read, or who `mode` says, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER), "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())  # or a password may be empty after a loss of power
    new.replace(path)


def _key(folder: Path) -> ec.EllipticCurvePrivateKey | None:
    """The key that the folder has."""
    try:
        key = load_pem_private_key((folder / KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _served_by(folder: Path) -> list[x509.Certificate]:
    """The authority of the certificate that the folder has, if its clients trust it: not the latest one where a renewal
    was cut short."""
    try:
        served = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        trusted = x509.load_pem_x509_certificates((folder / AUTHORITY).read_bytes())
    except (OSError, ValueError):
        return []
    return [one for one in trusted if _signed(one, served)]


def _signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority,
                         content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
                         encipher_only=False, decipher_only=False)
