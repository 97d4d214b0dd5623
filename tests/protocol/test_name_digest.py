"""The digest of a name: two names have it in common if they match, and else never."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from hypothesis import example, given
from hypothesis import strategies as st

import keys
from scepkit.protocol.asn1 import der
from scepkit.protocol.certificate import subject_digest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.rfc4514 import parse_subject

# Few letters, so that two are often equal.
_TEXTS = st.text("aA b=", min_size=1, max_size=4)
_RDNS = st.lists(st.tuples(st.sampled_from(["2.5.4.3", "2.5.4.10"]), _TEXTS), max_size=3)
_TAGS = {"utf8": 0x0C, "printable": 0x13, "ia5": 0x16}


def name(rdns, tag=0x0C, *, joined=False):
    """Return a Name; with all attributes in one RDN where they are joined."""
    attributes = [
        der.sequence(der.oid(ObjectIdentifier(kind)), bytes([tag, len(text)]) + text.encode())
        for kind, text in rdns
    ]
    sets = [b"".join(sorted(attributes))] if joined else attributes
    return Name(der.sequence(*(bytes([0x31, len(one)]) + one for one in sets if one)))


@given(_RDNS, _RDNS, st.booleans(), st.booleans(), st.sampled_from([*_TAGS.values()]))
@example([("2.5.4.3", "a b")], [("2.5.4.3", "A  B")], False, False, 0x13)
@example([("2.5.4.3", "a"), ("2.5.4.10", "b")], [("2.5.4.10", "b"), ("2.5.4.3", "a")], 0, 0, 0x16)
def test_names_with_one_digest_match(one, other, joined, also_joined, tag):
    first, second = name(one, joined=joined), name(other, tag, joined=also_joined)
    if first.is_empty:
        assert first.digest is None
    else:
        assert (first.digest == second.digest) == first.matches(second)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_what_cannot_be_read_equals_itself_alone(one, other):
    first, second = Name(b"\x30\x02\x31" + one), Name(b"\x30\x02\x31" + other)
    assert (first.digest == second.digest) == first.matches(second)


@pytest.mark.parametrize("text", ["CN=Device", "CN=DEVICE", "CN= device"])
def test_the_digest_of_a_certificate(text):
    own = keys.certify("device", keys.device().key).x509.public_bytes(Encoding.DER)
    assert subject_digest(own) == Name.of(parse_subject(text)).digest
    assert subject_digest(b"no certificate") is None
