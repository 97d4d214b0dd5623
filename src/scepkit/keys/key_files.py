"""Private keys in files of any form that people have: PEM, DER, PKCS#12; encrypted or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from scepkit.errors import SettingsError, UsageError
from scepkit.keys.pem import PrivateKey
from scepkit.protocol.asn1 import textual

MOST_OCTETS = 1 << 20

# Of the bags with a private key, in clear or encrypted (RFC 7292 section 4.2).
_KEY_BAGS = tuple(bytes.fromhex("060b2a864886f70d010c0a01") + bytes([number]) for number in (1, 2))


@dataclass(frozen=True, slots=True)
class KeyAndCertificates:
    """The contents of a PKCS#12 file: a key, its certificate, and others.

    Attributes:
        key: the private key.
        certificate: its own.
        others: the other certificates.
    """

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...]


def read_key(content: bytes, name: Path | str, ask: Callable[[], str]) -> PrivateKey:
    """Return the private key of a CA's file: PKCS#1, PKCS#8 or SEC1, in PEM or DER.

    Args:
        content: of the file.
        name: of the file, for the error.
        ask: returns the passphrase; called only if the key is encrypted.

    Raises:
        SettingsError: it holds no key that can be read, or not with this passphrase, or a key that
            is neither RSA nor EC.
    """
    return _rsa_or_ec(read_any_key(content, name, ask), name)


def read_any_key(content: bytes, name: Path | str, ask: Callable[[], str]) -> object:
    """Return the private key of a file, of whatever kind; arguments as for `read_key`.

    Raises:
        SettingsError: it holds no key that can be read, or not with this passphrase.
    """
    load = load_pem_private_key if b"-----BEGIN " in content else load_der_private_key
    try:
        try:
            return load(content, None)
        except TypeError:
            return load(content, _octets(ask()))
    except (ValueError, UnsupportedAlgorithm):
        # Not `from`: it may quote what is in the file.
        raise _unreadable(content, name) from None


def read_pkcs12(content: bytes, name: Path | str, ask: Callable[[], str]) -> KeyAndCertificates:
    """Return what a PKCS#12 file holds (RFC 7292).

    Args:
        content: of the file.
        name: of the file, for the error.
        ask: returns the passphrase; called if there is one.

    Raises:
        SettingsError: it cannot be read, or not with this passphrase, or it has no key, several
            keys, or no certificate for its key.
    """
    count = sum(map(content.count, _KEY_BAGS))
    if count > 1:
        raise SettingsError(
            f"{name} holds {count} private keys: which is the CA's, is for you to say",
            hint="export that one alone with its certificate, or key and certificate as files",
        )
    try:
        found = _open_pkcs12(content, ask)
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(
            f"{name} is no PKCS#12 file that can be read, or its passphrase is another one",
            hint="openssl pkcs12 -info -in FILE -noout shows what it is",
        ) from None
    if found.key is None:
        raise SettingsError(f"{name} holds no private key", hint="export it with its key")
    if found.cert is None:
        raise SettingsError(
            f"{name} holds no certificate for its key", hint="export it with its certificate"
        )
    others = tuple(one.certificate for one in found.additional_certs)
    return KeyAndCertificates(_rsa_or_ec(found.key, name), found.cert.certificate, others)


def _open_pkcs12(content: bytes, ask: Callable[[], str]) -> pkcs12.PKCS12KeyAndCertificates:
    for none in (None, b""):
        try:
            return pkcs12.load_pkcs12(content, none)
        except ValueError:
            continue
    return pkcs12.load_pkcs12(content, _octets(ask()))


def _octets(passphrase: str) -> bytes:
    if not passphrase:
        raise UsageError("the passphrase is empty", hint="give the one that the file has")
    return passphrase.encode()


def _rsa_or_ec(key: object, name: Path | str) -> PrivateKey:
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return key
    raise SettingsError(
        f"{name} holds a key that is neither RSA nor EC", hint="a CA here has one of the two"
    )


def _unreadable(content: bytes, name: Path | str) -> SettingsError:
    kind = textual.kind(content)
    if kind and b"PRIVATE KEY-----" not in content:
        return SettingsError(
            f"{name} is {kind}, not a private key", hint="name the file with its key"
        )
    return SettingsError(
        f"{name} holds no private key that can be read, or its passphrase is another one",
        hint="give the key as PEM or DER: PKCS#8, PKCS#1 or SEC1",
    )
