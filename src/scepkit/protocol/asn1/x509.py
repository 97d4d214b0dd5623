"""The library's X.509 readers, held to our rules: `Malformed` or nothing, and no noise.

The library raises half a dozen unrelated classes for bytes that it refuses, some only when a field
is asked for, and it warns on the console of what RFC 5280 forbids and devices do all the same
(a serial number of 0, a country of one letter).
"""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

from scepkit.errors import Malformed

# What is raised for a key or a signature algorithm that the library cannot use.
UNUSABLE = (ValueError, TypeError, UnsupportedAlgorithm)
_REFUSED = (
    *UNUSABLE,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

# Once, for the process: `warnings.catch_warnings` around each call is not safe between threads.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning, module="scepkit")
warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)


def certificate(der: bytes) -> x509.Certificate:
    """Read a certificate as strictly as RFC 5280 asks.

    Raises:
        Malformed: the library refuses it.
    """
    try:
        found = x509.load_der_x509_certificate(der)
        # Names are read, and warned of, only when asked for the first time.
        _ = found.subject, found.issuer
    except _REFUSED as error:
        raise _refused("an RFC 5280 certificate", error) from error
    return found


def check(der: bytes) -> None:
    """Make sure that nothing in a certificate is refused, down to its key and its extensions.

    Raises:
        Malformed: the library refuses something.
    """
    found = certificate(der)
    try:
        _ = found.extensions, found.public_key()
    except _REFUSED as error:
        raise _refused("a certificate with a key and extensions that can be used", error) from error


def crl(der: bytes) -> x509.CertificateRevocationList:
    """Read a CRL as strictly as RFC 5280 asks.

    Raises:
        Malformed: the library refuses it.
    """
    try:
        found = x509.load_der_x509_crl(der)
        _ = found.issuer
    except _REFUSED as error:
        raise _refused("an RFC 5280 CRL", error) from error
    return found


def _refused(what: str, error: Exception) -> Malformed:
    return Malformed(f"not {what}: {error}")
