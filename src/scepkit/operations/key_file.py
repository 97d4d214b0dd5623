"""The key that an operator means: in a file of its own, in a certificate, or in a request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepkit.errors import FailInfoError, Malformed, UsageError
from scepkit.keys.pem import dearmored
from scepkit.protocol import csr, public_keys
from scepkit.protocol.certificate import Certificate

_NONE = (FailInfoError, Malformed, ValueError, TypeError, UnsupportedAlgorithm)


def read_key(content: bytes, name: str) -> bytes:
    """Return what certificates are found by that have the key in a file: a hash of it.

    Args:
        content: of the file: a key, public or private and not encrypted, a certificate or a
            PKCS#10, in PEM or DER.
        name: of the file.

    Raises:
        UsageError: it is none of them.
    """
    for read in _KEY_READERS:
        try:
            return read(content)
        except _NONE:
            continue
    raise UsageError(
        f"{name} is no key, certificate or PKCS#10",
        hint="give one in PEM or DER; a private key must not be encrypted",
    )


def _of_library(load: Callable[[bytes], Any]) -> Callable[[bytes], bytes]:
    """Return a reader of keys; `load` returns something with a public key."""

    def read(content: bytes) -> bytes:
        key = load(content)
        public = key.public_key() if hasattr(key, "public_key") else key
        return public_keys.identity(
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    return read


_KEY_READERS = (
    lambda content: Certificate.read(dearmored("CERTIFICATE", content) or content).key_hash,
    lambda content: (
        csr.read_archived(
            dearmored("CERTIFICATE REQUEST", content)
            or dearmored("NEW CERTIFICATE REQUEST", content)
            or content
        ).key_hash
    ),
    _of_library(serialization.load_pem_public_key),
    _of_library(serialization.load_der_public_key),
    _of_library(partial(serialization.load_pem_private_key, password=None)),
    _of_library(partial(serialization.load_der_private_key, password=None)),
)
