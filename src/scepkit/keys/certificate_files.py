"""Certificates in files of any form that people get them in: PEM, DER, PKCS#7."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs7

from scepkit.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

MOST_OCTETS = 1 << 20
"""Of such a file: a hundred times more than a chain has."""

_PKCS7 = re.compile(rb"-----BEGIN (PKCS7|CMS|CERTIFICATE CHAIN|PKCS #7 SIGNED DATA)-----")
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


def read_certificates(content: bytes, name: Path | str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a file, in the order in which they stand there.

    Args:
        content: PEM with one or more certificates, one in DER, or PKCS#7 in either form.
        name: of the file, for the error.

    Raises:
        SettingsError: it is too large, or holds no certificate that can be read.
    """
    if len(content) > MOST_OCTETS:
        raise SettingsError(f"{name} is larger than {MOST_OCTETS >> 20} MiB", hint=_HINT)
    try:
        found = _read(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"{name} holds no certificate that can be read", hint=_hint(content)
        ) from error
    if not found:
        raise SettingsError(f"{name} holds no certificate", hint=_hint(content))
    return tuple(found)


_HINT = "give a certificate as PEM (-----BEGIN CERTIFICATE-----), DER or PKCS#7"


def _read(content: bytes) -> list[x509.Certificate]:
    if _PKCS7.search(content):
        # The library knows one label.
        labels = rb"(BEGIN|END) (CMS|CERTIFICATE CHAIN|PKCS #7 SIGNED DATA)-"
        return _read_pkcs7(re.sub(labels, rb"\1 PKCS7-", content))
    if b"-----BEGIN " in content:
        return x509.load_pem_x509_certificates(content)
    try:
        return [x509.load_der_x509_certificate(content)]
    except ValueError:
        return _read_pkcs7(content)


def _read_pkcs7(content: bytes) -> list[x509.Certificate]:
    with warnings.catch_warnings():
        # The library warns of BER, which openssl and Windows write.
        warnings.simplefilter("ignore", UserWarning)
        if b"-----BEGIN " in content:
            return pkcs7.load_pem_pkcs7_certificates(content)
        return pkcs7.load_der_pkcs7_certificates(content)


def _hint(content: bytes) -> str:
    label = _LABEL.search(content)
    if label is None or label[1] == b"CERTIFICATE":
        return _HINT
    return f"it is a {label[1].decode('ascii').lower()}; {_HINT}"
