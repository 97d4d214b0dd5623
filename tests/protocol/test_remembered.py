"""What is remembered of messages takes little memory, whatever strangers put into them."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import keys
from scepkit.errors import ScepError
from scepkit.protocol import algorithms, public_keys
from scepkit.protocol.asn1 import der
from scepkit.protocol.distinguished_name import object_identifier

PSS = bytes.fromhex("06092a864886f70d01010a")
MANY, FEW, LONG = 150, 64, 100_000


def long(number):
    """An element as long as a request may hold, another one for each number."""
    return der.element(der.OCTET_STRING, number.to_bytes(4, "big") + bytes(LONG))


def pss_key(number):
    public = keys.rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    bits = der.element(der.BIT_STRING, b"\0" + public)
    return der.sequence(der.sequence(PSS, long(number)), bits)


def oid(number):
    return b"\x06" + long(number)[1:]


@pytest.mark.parametrize(
    ("read", "made"),
    [
        (public_keys.identity, long),
        (public_keys.canonical, pss_key),
        (public_keys.load_any, pss_key),
        (algorithms.read_algorithm, lambda number: der.sequence(PSS, long(number))),
        (object_identifier, oid),
    ],
)
def test_few_long_octets_are_remembered(read, made):
    made(0)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(MANY):
            with contextlib.suppress(ScepError):
                read(made(number))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < (FEW + 1) * LONG
