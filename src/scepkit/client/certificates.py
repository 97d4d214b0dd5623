"""Certificates in the client's files, read as leniently as those that peers send.

What was installed has to load again, and what a CA issues is not always what the library takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scepkit.errors import Malformed, SettingsError
from scepkit.keys.files import write_file
from scepkit.keys.pem import read_certificate_file
from scepkit.protocol import certificate
from scepkit.protocol.asn1 import textual
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import signed

_MODE = 0o644


def read_certificate(path: Path) -> Certificate:
    """Read the one certificate of a PEM file.

    Raises:
        SettingsError: missing, unreadable, or not exactly one certificate.
    """
    found = read_certificates(path)
    if len(found) != 1:
        # To ignore the others silently would leave the user wondering which one is used.
        raise SettingsError(f"{path} holds {len(found)} certificates, not one")
    return found[0]


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """Read the certificates of a PEM file, one or more.

    Raises:
        SettingsError: missing, unreadable, or without any certificate.
    """
    text = read_certificate_file(path)
    try:
        found = tuple(map(Certificate.read, textual.pem(text, signed.MAX_CERTIFICATES)))
        for one in found:
            # Asked for here, so that nobody has to expect later that it cannot be read.
            _ = one.validity
    except Malformed as error:
        raise SettingsError(f"{path} holds a certificate that cannot be read: {error}") from error
    if not found:
        raise SettingsError(
            f"{path} is not a certificate in PEM",
            hint="it should start with -----BEGIN CERTIFICATE-----",
        )
    return found


def write_certificates(path: Path, certificates: Iterable[bytes]) -> None:
    """Write certificates as PEM, mode 0644, atomically and durably.

    Args:
        path: where.
        certificates: DER, or what is to be looked at in its place.

    Raises:
        SettingsError: the file system refuses.
    """
    text = "".join(map(certificate.pem, certificates))
    write_file(path, text.encode("ascii"), mode=_MODE)
