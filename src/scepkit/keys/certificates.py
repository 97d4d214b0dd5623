"""Certificates in files, and the fingerprint that people compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.errors import SettingsError
from scepkit.keys.files import read_file, refusals, write_file

if TYPE_CHECKING:
    from pathlib import Path

CERTIFICATE_MODE = 0o644


def sha256_fingerprint(certificate: x509.Certificate) -> str:
    """Tell the SHA-256 of the whole DER certificate as `sha256:` and 64 lower-case hex digits."""
    return f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}"


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Write a certificate as PEM, mode 0644, atomically and durably.

    Raises:
        SettingsError: the file system refuses.
    """
    write_file(path, certificate.public_bytes(Encoding.PEM), mode=CERTIFICATE_MODE)


def read_certificate(path: Path) -> x509.Certificate:
    """Read the one certificate of a PEM file.

    Raises:
        SettingsError: missing, unreadable, or not exactly one certificate.
    """
    found = read_certificates(path)
    if len(found) != 1:
        # To ignore the others silently would leave the operator wondering which one is used.
        raise SettingsError(f"{path} holds {len(found)} certificates, not one")
    return found[0]


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file, one or more.

    Raises:
        SettingsError: missing, unreadable, or without any certificate.
    """
    text = read_certificate_file(path)
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except ValueError as error:
        raise SettingsError(
            f"{path} is not a certificate in PEM",
            hint="it should start with -----BEGIN CERTIFICATE-----",
        ) from error


def read_certificate_file(path: Path) -> bytes:
    """Return the content of a file of certificates, PEM or not.

    Raises:
        SettingsError: missing or unreadable.
    """
    with refusals(f"cannot read the certificate file {path}"):
        try:
            return read_file(path)
        except FileNotFoundError as error:
            raise SettingsError(
                f"there is no certificate file {path}",
                hint="look at the path, or restore it from a backup",
            ) from error
