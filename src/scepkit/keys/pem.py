"""Private keys and certificates in PEM files, and the fingerprint that people compare.

Keys are made, written for their owner alone and read back with care; no message in here holds
anything of a key.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from scepkit.errors import SettingsError, UsageError
from scepkit.keys.files import plain_file, read_file, refusals, write_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

KEY_MODE = 0o600

# SHA-256 of the files whose keys this process has found sound; they tell nothing of the keys.
_PROVED: set[bytes] = set()

_GENERATORS: dict[str, Callable[[], PrivateKey]] = {
    "rsa:2048": partial(rsa.generate_private_key, 65537, 2048),
    "rsa:3072": partial(rsa.generate_private_key, 65537, 3072),
    "rsa:4096": partial(rsa.generate_private_key, 65537, 4096),
    "ec:p256": partial(ec.generate_private_key, ec.SECP256R1()),
}


def generate(spec: str) -> PrivateKey:
    """Make a new private key.

    Args:
        spec: "rsa:2048", "rsa:3072", "rsa:4096" (bits, exponent 65537) or "ec:p256".

    Raises:
        UsageError: no such kind of key.
    """
    generator = _GENERATORS.get(spec)
    if generator is None:
        raise UsageError(
            f"cannot make a key of kind {spec!r}", hint=f"one of {', '.join(_GENERATORS)}"
        )
    return generator()


def write_key(path: Path, key: PrivateKey | ed25519.Ed25519PrivateKey) -> None:
    """Write a key as unencrypted PKCS#8 PEM, mode 0600, atomically and durably.

    Raises:
        SettingsError: the file system refuses.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_file(path, pem, mode=KEY_MODE)


def read_key(path: Path) -> PrivateKey:
    """Read an RSA or EC private key from an unencrypted PEM file.

    Raises:
        SettingsError: missing, unreadable, open to others than its owner, encrypted, not a key,
            or a key of another kind.
    """
    key = read_any_key(path)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{path} holds a key that is neither RSA nor EC")
    return key


def read_any_key(path: Path) -> object:
    """Read a private key of any kind from an unencrypted PEM file.

    Raises:
        SettingsError: missing, unreadable, open to others than its owner, encrypted, not a key.
    """
    return _parse(path, _read_private(path))


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """Return the digest to sign with: SHA-256, or the one as strong as the curve (RFC 5758).

    Raises:
        SettingsError: a curve that is not P-256, P-384 or P-521.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    match key.curve.name:
        case "secp256r1":
            return hashes.SHA256()
        case "secp384r1":
            return hashes.SHA384()
        case "secp521r1":
            return hashes.SHA512()
        case curve:
            raise SettingsError(f"cannot sign certificates with a key on the curve {curve}")


def _read_private(path: Path) -> bytes:
    with refusals(f"cannot read the key file {path}"):
        try:
            with plain_file(path) as file:
                _check_mode(path, os.fstat(file.fileno()).st_mode)
                return file.read()
        except FileNotFoundError as error:
            raise SettingsError(
                f"there is no key file {path}", hint="look at the path, or restore it from a backup"
            ) from error


def _check_mode(path: Path, mode: int) -> None:
    if mode & 0o077:
        raise SettingsError(
            f"the key file {path} is open to others than its owner (mode {mode & 0o777:04o})",
            hint=f"chmod 600 {path}",
        )


def _parse(path: Path, pem: bytes) -> object:
    digest = hashlib.sha256(pem).digest()
    try:
        # Proving that the primes of an RSA key are primes takes 0.1 s, in which no other thread
        # runs. A damaged key must never sign, but the same bytes need not be proved again.
        key = load_pem_private_key(
            pem, password=None, unsafe_skip_rsa_key_validation=digest in _PROVED
        )
    except TypeError as error:
        raise SettingsError(
            f"the key file {path} is encrypted",
            hint=f"decrypt it with: (umask 077; openssl pkey -in {path} -out NEW)",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # The library's own words stay out: they may quote what is in the file.
        raise SettingsError(
            f"{path} is not a private key in PEM", hint="it should start with -----BEGIN"
        ) from error
    _PROVED.add(digest)
    return key


CERTIFICATE_MODE = 0o644


def sha256_fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the whole DER certificate as `sha256:` and 64 lower-case hex digits."""
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
