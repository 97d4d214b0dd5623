"""What a CA writes is what the library's builder makes of the same input, octet for octet."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import der
from ca import orders
from ca.linting import findings
from scepkit.ca.authority import Authority
from scepkit.ca.extensions import Locations
from scepkit.errors import BadRequest
from scepkit.protocol.algorithms import PSSPublicKey
from scepkit.protocol.certificate import Certificate

CAS = ("rsa:2048", "ec:p256", "ec:p384")
LOCATIONS = Locations("http://pki.example.com/scep", "default")
DIGESTS = {"ec:p384": hashes.SHA384()}


@pytest.fixture(scope="module")
def keys(key):
    def public(spec):
        if spec == "ed25519":
            return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
        if spec == "ec:p521":
            return ec.derive_private_key(7, ec.SECP521R1()).public_key()
        return key(spec).public_key()

    return public


@pytest.fixture(scope="module")
def cas(key):
    """A CA of each kind, valid for as long as certificates can be about."""

    def make(spec):
        private = key(spec, "ca")
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Old and lasting CA")])
        identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
        certificate = (
            x509.CertificateBuilder(name, name, private.public_key(), 1, orders.START, orders.END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(identifier, critical=False)
            .sign(private, DIGESTS.get(spec, hashes.SHA256()))
        )
        return Authority(certificate, private)

    return {spec: make(spec) for spec in CAS}


@pytest.fixture(scope="module")
def outcomes():
    """Count both ways out: a property that only ever sees refusals proves little."""
    seen = {"issued": 0, "refused": 0, "after 2049": 0, "with names": 0}
    yield seen
    assert min(seen.values()) > 10, seen


# More than elsewhere: one takes a millisecond or two, and there are many ways to write one.
@settings(max_examples=20 * settings.default.max_examples, suppress_health_check=list(HealthCheck))
@given(
    one=orders.wanted, spec=st.sampled_from(CAS), is_located=st.booleans(), is_known=st.booleans()
)
def test_the_builder_makes_the_same(cas, keys, outcomes, one, spec, is_located, is_known):
    ca, locations = cas[spec], LOCATIONS if is_located else None
    public_key = keys(one.key)
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    order = one.order(public_key, spki=spki if is_known else b"")
    expected = orders.built(one, public_key, ca, locations)
    if expected is None:
        outcomes["refused"] += 1
        with pytest.raises(BadRequest):
            ca.at(locations).certify(order)
        return
    issued = ca.at(locations).certify(order)
    made = x509.load_der_x509_certificate(issued.der)
    assert made.tbs_certificate_bytes.hex() == expected.tbs_certificate_bytes.hex()
    signed, theirs = der.parse(issued.der), der.parse(expected.public_bytes(Encoding.DER))
    assert signed[1].der() == theirs[1].der()
    made.verify_directly_issued_by(ca.certificate)
    # What is handed over beside the octets is what they say.
    assert issued.serial == expected.serial_number == one.serial
    assert issued.not_before == expected.not_valid_before_utc
    assert issued.not_after == expected.not_valid_after_utc
    assert issued.key_hash == hashlib.sha256(spki).digest()
    assert type(issued).read(issued.der) == issued
    outcomes["issued"] += 1
    outcomes["after 2049"] += issued.not_after.year >= 2050
    outcomes["with names"] += bool(issued.names)


@settings(max_examples=4 * settings.default.max_examples, suppress_health_check=list(HealthCheck))
@given(one=orders.ordinary, spec=st.sampled_from(CAS))
def test_a_key_that_the_builder_does_not_know_is_all_that_differs(cas, keys, one, spec):
    """An RSA key for RSASSA-PSS alone: the builder would write another algorithm."""
    plain = keys("rsa:2048")
    assert isinstance(plain, rsa.RSAPublicKey)
    written = der.parse(plain.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    written.children[0] = der.parse(der.seq(der.oid("1.2.840.113549.1.1.10")))
    spki = written.der()
    own_usages = one.profile.key_usages & {"digital_signature"}
    assert own_usages
    issued = cas[spec].certify(one.order(PSSPublicKey(plain, spki, None)))
    read = Certificate.read(issued.der)
    assert (read.spki, read.key_hash) == (spki, issued.key_hash)
    signing = orders.replace(one, usages=frozenset({"digital_signature"}), key="rsa:2048")
    expected = orders.built(signing, plain, cas[spec])
    ours, theirs = (
        der.parse(x509.load_der_x509_certificate(octets).tbs_certificate_bytes)
        for octets in (issued.der, expected.public_bytes(Encoding.DER))
    )
    for number, part in enumerate(theirs.children):
        assert number == 6 or ours[number].der() == part.der(), number


# Each takes a tenth of a second, and says what it is about as it stands: it is not made smaller.
@settings(suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate])
@given(one=orders.ordinary, spec=st.sampled_from(CAS), is_located=st.booleans())
def test_what_is_written_is_clean(cas, keys, one, spec, is_located):
    """Whatever is in the request, pkilint finds nothing that RFC 5280 forbids."""
    ca = cas[spec].at(LOCATIONS if is_located else None)
    assert findings(ca.certify(one.order(keys(one.key))).der) == []
