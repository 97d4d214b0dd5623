"""TLS of the API: from the operator's files, or with a certificate that the server makes itself.

The one that is made is good for ten years, so that whoever has noted its fingerprint, or its file,
keeps it; it is replaced once it has ended, or where it is not valid yet.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scepkit.ca.extensions import key_usage
from scepkit.errors import SettingsError
from scepkit.keys import pem
from scepkit.keys.files import read_file, refusals
from scepkit.server.settings import Settings
from scepkit.server.settings.api import address

CERTIFICATE, KEY = "api-tls.pem", "api-tls-key.pem"
"""The files in the server's directory, where the settings name none."""

_VALIDITY = timedelta(days=3652)
_BACKDATE = timedelta(minutes=5)


def files(settings: Settings) -> tuple[Path, Path]:
    """Return the files of certificate and key."""
    return (
        settings.directory / (settings.api_certificate or CERTIFICATE),
        settings.directory / (settings.api_key or KEY),
    )


def prepare(settings: Settings, now: datetime) -> x509.Certificate:
    """Return the certificate that the API shows; make one where there is none and none is named.

    Args:
        settings: the server's.
        now: an aware datetime.

    Raises:
        SettingsError: a file cannot be used.
    """
    certificate, key = files(settings)
    if settings.api_certificate is None and not _is_good(certificate, key, now):
        _make(settings, certificate, key, now)
    context(settings)
    with refusals(f"cannot read {certificate}"):
        found = x509.load_pem_x509_certificates(read_file(certificate))[0]
    if found.not_valid_after_utc <= now:
        raise SettingsError(
            f"the certificate in {certificate} ended at {found.not_valid_after_utc:%Y-%m-%d %H:%M}"
            " UTC",
            hint="put a new one there, or take api_certificate and api_key out",
        )
    return found


def context(settings: Settings) -> ssl.SSLContext:
    """Return what TLS is done with.

    Raises:
        SettingsError: a file cannot be used.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    load(made, settings)
    return made


def load(into: ssl.SSLContext, settings: Settings) -> None:
    """Have connections to come use the files as they are now.

    Raises:
        SettingsError: one cannot be used.
    """
    certificate, key = files(settings)
    # First: what OpenSSL says of a key that it cannot read names no file.
    pem.read_any_key(key, most=0o640)
    with refusals(f"cannot read {certificate}"):
        read_file(certificate)
    try:
        into.load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "no certificate"
        raise SettingsError(
            f"{certificate} and {key} cannot be used for TLS: {reason}",
            hint="the first has the certificate and then those above it, the second its key, in "
            "PEM without a passphrase",
        ) from error


def _is_good(certificate: Path, key: Path, now: datetime) -> bool:
    """Say whether the files that the server makes are there, and go on being of use."""
    if not (certificate.exists() and key.exists()):
        return False
    found = pem.read_certificate(certificate)
    same = found.public_key() == pem.read_key(key).public_key()
    # One of a clock that was ahead is not valid yet.
    return same and found.not_valid_before_utc <= now < found.not_valid_after_utc


def _make(settings: Settings, certificate: Path, key: Path, now: datetime) -> None:
    made = pem.generate("ec:p256")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scepkit API")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage({"digital_signature"}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(settings)), critical=False)
        .sign(made, pem.signature_hash(made))
    )
    pem.write_key(key, made)
    pem.write_certificate(certificate, signed)


def _names(settings: Settings) -> list[x509.GeneralName]:
    """Return the names by which the API may be reached."""
    host, _ = address(settings)
    hosts = ["localhost", "127.0.0.1", "::1", host, socket.gethostname()]
    if settings.public_url:
        hosts.append(urlsplit(settings.public_url).hostname or "")
    names: list[x509.GeneralName] = []
    for one in dict.fromkeys(hosts):
        try:
            address_of = ipaddress.ip_address(one)
        except ValueError:
            if one and one.isascii():
                names.append(x509.DNSName(one))
        else:
            if not address_of.is_unspecified:
                names.append(x509.IPAddress(address_of))
    return names
