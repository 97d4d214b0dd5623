"""A SubjectPublicKeyInfo is held to X.690 before OpenSSL sees it."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

import keys
from scepkit.errors import Malformed
from scepkit.protocol import public_keys
from scepkit.protocol.algorithms import ED25519
from scepkit.protocol.asn1 import der

# One octet of a key is too few: a BIT STRING that holds it is right, and the key is none.
RIGHT, WRONG = "not a public key", "its key is no BIT STRING"


def refusal(bits):
    spki = der.sequence(der.algorithm(ED25519, b""), der.element(der.BIT_STRING, bits))
    with pytest.raises(Malformed) as error:
        public_keys.load_any(spki)
    return error.value.message


@pytest.mark.parametrize("unused", [*range(10), 0x80, 0xFF])
def test_as_many_bits_are_unused_as_are_0_at_the_end(unused):
    """X.690 sections 8.6.2 and 11.2.1: up to seven, all of them 0, and none of no octet."""
    for octets in (b"", *(bytes([octet]) for octet in range(256)), b"\x01\x00"):
        written = "".join(f"{octet:08b}" for octet in octets)
        is_right = unused < 8 and written.endswith("0" * unused)
        assert (RIGHT if is_right else WRONG) in refusal(bytes([unused]) + octets)


def test_a_bit_string_says_how_many_bits_are_unused():
    assert WRONG in refusal(b"")


def test_a_key_is_named_as_the_library_names_it():
    for key in (keys.rsa_key("a"), rsa.generate_private_key(3, 2048), keys.ec_key("b")):
        public = key.public_key()
        identifier = public_keys.key_identifier(public_keys.written(public))
        assert identifier == x509.SubjectKeyIdentifier.from_public_key(public).digest


@given(st.binary(min_size=268, max_size=272), st.integers(0, 30), st.integers(0, 255))
def test_a_key_that_looks_like_most_is_named_as_all_are(octets, place, octet):
    """Whatever is in it, and whatever of its beginning is another one's."""
    spki = bytearray(public_keys.written(keys.rsa_key("a").public_key())[:24] + octets)
    spki[place] = octet
    spki = bytes(spki)
    try:
        named = hashlib.sha1(public_keys._INFO.fields(spki)[-1][1:]).digest()
    except Malformed:
        with pytest.raises(Malformed):
            public_keys.key_identifier(spki)
    else:
        assert public_keys.key_identifier(spki) == named


def test_what_tells_a_key_from_others():
    """Two forms of a key have one identity; its identifier is of the octets that came."""
    key = keys.ec_key().public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    algorithm = spki[2 : -len(point) - 3]
    other = der.sequence(algorithm, der.bit_string(compressed))
    for one, octets in ((spki, point), (other, compressed)):
        assert public_keys.canonical(one) == spki
        assert public_keys.identity(one) == hashlib.sha256(spki).digest()
        assert public_keys.key_identifier(one) == hashlib.sha1(octets).digest()


def test_a_key_that_cannot_be_loaded_is_told_by_what_came():
    spki = der.sequence(der.algorithm(ED25519, b""), der.bit_string(b"short"))
    assert public_keys.canonical(spki) == spki
    assert public_keys.identity(spki) == hashlib.sha256(spki).digest()
    assert public_keys.key_identifier(spki) == hashlib.sha1(b"short").digest()
