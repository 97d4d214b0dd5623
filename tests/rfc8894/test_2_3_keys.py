"""RFC 8894 sections 2.3 and 3.1: RSA, EC and Ed25519 keys as signers of messages and PKCS#10s."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import forge
import keys
from der import NULL, algorithm, bits, integer, oid, seq
from pair import Pair
from scepkit.errors import BadAlg, Malformed
from scepkit.protocol import csr, public_keys
from scepkit.protocol.algorithms import DIGESTS, NO_LEGACY, SHA256, SHA512, Legacy
from scepkit.protocol.cms import signed
from scepkit.protocol.scep.messages import Failure, Pending

KINDS = ("rsa", "p256", "p384", "p521", "ed25519")
SHA2 = ("sha224", "sha256", "sha384", "sha512")
BY_NAME = {digest.name: digest for digest in DIGESTS.values()}
EC = "1.2.840.10045.2.1"


def holder(kind):
    return keys.certify("device", keys.key_of(kind))


def sign(kind, chosen=SHA256, who=None):
    who = who or holder(kind)
    return signed.Signer(who.credential, chosen).sign(b"content", [])


@pytest.mark.rfc("S-3.1-4", "S-3.2-1")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_signs_a_request_that_the_server_believes(kind):
    """The sender signs with its private key, of whatever kind it is."""
    signer = holder(kind)
    pair = Pair(Pending(), signer=signer, password="secret")
    assert pair.answer_to(forge.request(signer=signer)) == Pending()
    (_, verified) = pair.server.asked[0]
    assert verified.certificate.key_hash == signer.certificate.key_hash
    assert pair.answer_to(forge.request(signer=signer, signature=b"wrong")).fail_info == 1
    another = keys.key_of(kind, "another")
    stolen = forge.request(signer=keys.Holder(another, signer.x509))
    assert pair.answer_to(stolen).fail_info == 1


@pytest.mark.rfc("S-3.1-4", "P-06")
@pytest.mark.parametrize("digest", SHA2)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ed25519"])
def test_openssl_and_we_verify_each_others_signatures(kind, digest, openssl):
    """RSA and ECDSA with every SHA-2 are those of `openssl cms`, both directions."""
    signer = holder(kind)
    assert openssl.verify(sign(kind, BY_NAME[digest], signer), signer) == b"content"
    theirs = signed.read_signed_data(openssl.sign(b"content", signer, digest))
    used = signed.verify(theirs, theirs.signers[0], signer.certificate, NO_LEGACY)
    assert used is BY_NAME[digest]


@pytest.mark.rfc("S-3.1-4")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("p")])
@pytest.mark.parametrize("digest", SHA2)
def test_an_ecdsa_signature_names_its_digest_and_has_no_parameters(kind, digest):
    """ecdsa-with-SHA2 without parameters (RFC 5758 section 3.2)."""
    signer = forge.signer_of(sign(kind, BY_NAME[digest]))
    assert signer[2][0].der() == oid(forge.DIGESTS[digest][0])
    assert signer[4].der() == seq(oid(forge.WITH_ECDSA[digest]))


@pytest.mark.rfc("S-3.1-4")
@pytest.mark.parametrize("chosen", DIGESTS.values(), ids=lambda one: one.name)
def test_ed25519_goes_with_sha512(chosen, openssl):
    """Ed25519 signs the attributes themselves, the digest is SHA-512, no parameters (RFC 8419)."""
    signer = holder("ed25519")
    message = sign("ed25519", chosen, signer)
    info = forge.signer_of(message)
    assert info[2].der() == seq(oid(forge.DIGESTS["sha512"][0]))
    assert info[4].der() == seq(oid("1.3.101.112"))
    attributes = info[3].der()
    openssl.verify_octets(b"\x31" + attributes[1:], info[5].content, signer)
    read = signed.read_signed_data(message)
    assert signed.verify(read, read.signers[0], signer.certificate, NO_LEGACY) is SHA512


@pytest.mark.rfc("S-3.3.1-1")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_may_be_asked_to_be_certified(kind, openssl):
    """The PKCS#10 of an RSA, EC or Ed25519 key verifies, ours with OpenSSL and ours with us."""
    key = keys.key_of(kind)
    der = csr.build(keys.name("x"), key, challenge_password="secret")
    openssl.request(der)
    read = csr.read(der, NO_LEGACY)
    assert read.spki == keys.spki(key)
    assert read.challenge_password == "secret"
    assert csr.read(forge.csr(key), NO_LEGACY).spki == keys.spki(key)
    with pytest.raises(Malformed, match="signature does not verify"):
        csr.read(forge.csr(key, signature=b"x" * 64), NO_LEGACY)


@pytest.mark.rfc("P-06")
@pytest.mark.parametrize("digest", SHA2)
def test_an_ec_signature_may_leave_the_digest_to_the_signer_info(digest):
    """id-ecPublicKey as signature algorithm is read like rsaEncryption: the digest is elsewhere."""
    signer = holder("p256")
    message = forge.pki_message(
        b"", forge.scep_attributes(), signer, digest=digest, signature_algorithm=algorithm(EC, b"")
    )
    read = signed.read_signed_data(message)
    assert signed.verify(read, read.signers[0], signer.certificate, NO_LEGACY).name == digest
    with pytest.raises(Malformed):
        csr.read(forge.csr(signer.key, signature_algorithm=algorithm(EC, b"")), NO_LEGACY)


@pytest.mark.rfc("P-73")
@pytest.mark.parametrize(
    ("kind", "dotted", "name"),
    [
        ("p256", forge.WITH_RSA["sha256"], "RSASSA-PKCS1-v1_5 with sha256"),
        ("p256", "1.3.101.112", "Ed25519"),
        ("ed25519", forge.WITH_ECDSA["sha256"], "ECDSA with sha256"),
        ("rsa", "1.3.101.112", "Ed25519"),
    ],
)
def test_a_signature_algorithm_of_another_kind_of_key_is_bad_alg(pair, kind, dotted, name):
    """A signature algorithm that is not the key's kind is badAlg, and is called by its name."""
    message = forge.request(signer=holder(kind), signature_algorithm=algorithm(dotted, b""))
    assert pair.answer_to(message) == Failure(
        0, f"signature algorithm {name} is not supported for this key"
    )


@pytest.mark.rfc("P-73")
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize(
    ("dotted", "name"),
    [
        ("1.3.101.113", "Ed448, 1.3.101.113"),
        ("1.2.840.113549.1.1.16", "sha512-256WithRSAEncryption, 1.2.840.113549.1.1.16"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_a_signature_algorithm_that_nobody_supports_is_bad_alg(pair, kind, dotted, name):
    """A signature algorithm that is not supported is named, by its OID at least."""
    message = forge.request(signer=holder(kind), signature_algorithm=algorithm(dotted, b""))
    assert pair.answer_to(message) == Failure(0, f"signature algorithm {name} is not supported")


EXPLICIT = seq(algorithm(EC, seq(integer(1))), bits(b"\x04" + b"\x01" * 64))
ED448 = seq(algorithm("1.3.101.113", b""), bits(b"\x04" * 57))


@pytest.mark.rfc("P-73", "P-40")
@pytest.mark.parametrize(
    ("spki", "fail_info", "said"),
    [
        (ED448, 0, "key type not supported"),
        (EXPLICIT, 1, "named curve"),
        (seq(algorithm(EC, NULL), bits(b"\x04" * 65)), 1, "without a curve"),
    ],
    ids=["Ed448", "explicit parameters", "no parameters"],
)
def test_an_odd_key_is_refused_before_it_is_loaded(pair, spki, fail_info, said, monkeypatch):
    """Curves in so many words, which could be made for an attack, never reach OpenSSL."""
    signer = forge.Odd(keys.rsa_key(), forge.certificate(keys.rsa_key(), spki=spki))
    message = forge.request(signer=signer)
    with monkeypatch.context() as patch:
        patch.setattr(public_keys, "load_der_public_key", None)
        reply = pair.ask(message).body
    answer = pair.read_reply(reply)
    assert answer.fail_info == fail_info
    assert said in answer.text


@pytest.mark.rfc("P-73")
@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.BrainpoolP256R1(), ec.SECP224R1()])
def test_another_curve_is_refused_with_the_reason(pair, curve):
    """Only P-256, P-384 and P-521: another curve is badAlg, for signing and for certifying."""
    key = ec.generate_private_key(curve)
    refused = Failure(0, f"an EC key on the curve {curve.name} is not accepted")
    assert pair.answer_to(forge.request(signer=keys.certify("odd", key))) == refused
    # What is wrong inside an envelope is told to nobody else.
    other = pair.answer_to(forge.request(forge.csr(key)))
    assert other == Failure(2, "the encrypted part could not be read")
    assert pair.server.asked == []


@pytest.mark.rfc("P-40", "P-72")
@pytest.mark.parametrize(
    "point", [b"", b"\x00", b"\x04", b"\x04" + b"\x01" * 64, b"\x05" * 65, b"\x02" + b"\xff" * 32]
)
def test_a_point_that_is_not_on_the_curve_is_no_key(pair, point):
    """An EC key off its curve is refused."""
    spki = seq(algorithm(EC, oid("1.2.840.10045.3.1.7")), bits(point))
    signer = forge.Odd(keys.rsa_key(), forge.certificate(keys.rsa_key(), spki=spki))
    assert pair.answer_to(forge.request(signer=signer)).fail_info == 1
    with pytest.raises((Malformed, BadAlg)):
        public_keys.load(spki)


@pytest.mark.rfc("P-21")
@pytest.mark.parametrize("kind", KINDS)
def test_self_signed_is_told_by_the_signature(kind):
    """A certificate of any kind of key is self-signed if its own key made the signature."""
    assert holder(kind).certificate.is_self_signed(frozenset(Legacy))
    issued = keys.certify("Test CA", keys.key_of(kind), keys.ca(), issuer_name=keys.name("Test CA"))
    assert not issued.certificate.is_self_signed(frozenset(Legacy))
