"""RSASSA-PSS wherever a signature is verified, with every digest, mask and length of salt.

CMP has the same in cmp/test_bad_input.py.
"""

from __future__ import annotations

from itertools import product

import pytest
from cryptography import x509

import forge
import keys
from der import algorithm, integer, seq, tlv
from forge import DIGESTS, MGF1, PSS, RSASSA_PSS
from scepkit.errors import BadAlg, BadMessageCheck, Malformed
from scepkit.protocol import chain, csr, signatures
from scepkit.protocol import crl as crl_reading
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import ca_certificates, next_ca, pkimessage
from scepkit.protocol.scep.messages import Failure, Pending, Success
from scepkit.protocol.signatures import AlgorithmIdentifier

KEY = keys.rsa_key()
SHA1 = frozenset({Legacy.SHA1})
PAIRS = list(product(forge.SHA2, forge.SHA2))
UNREADABLE = Failure(2, "the encrypted part could not be read")


def salts(digest):
    """Return no salt, OpenSSL's and strongSwan's, the digest's length, and the longest."""
    size = DIGESTS[digest][1].digest_size
    return (0, 20, size, 256 - size - 2)


def of(digest, mask):
    return [PSS(digest, mask, salt) for salt in salts(digest)]


# --- where signatures are -------------------------------------------------------------------------


@pytest.mark.rfc("P-06")
@pytest.mark.parametrize(("digest", "mask"), PAIRS)
def test_a_pki_message(pair, digest, mask):
    """A SignerInfo's RSASSA-PSS is verified with any SHA-2, any SHA-2 for MGF1, any salt."""
    for pss in of(digest, mask):
        message = forge.request(signer=keys.device(), digest=digest, pss=pss)
        pkimessage.verify(pkimessage.parse(message), NO_LEGACY)
    assert isinstance(pair.answer_to(message), Success)


@pytest.mark.rfc("P-06")
@pytest.mark.parametrize(("digest", "mask"), PAIRS)
def test_a_pkcs10(digest, mask):
    """A PKCS#10's RSASSA-PSS is verified in the same way."""
    for pss in of(digest, mask):
        assert csr.read(forge.csr(digest=pss), NO_LEGACY).check(NO_LEGACY) == ()


@pytest.mark.rfc("P-06")
@pytest.mark.parametrize(("digest", "mask"), PAIRS)
def test_a_self_signed_certificate(digest, mask):
    """A device may sign its own certificate with RSASSA-PSS."""
    for pss in of(digest, mask):
        certificate = Certificate.read(forge.certificate(KEY, pss=pss))
        assert certificate.is_self_signed(NO_LEGACY)
        other = Certificate.read(forge.certificate(KEY, signing_key=keys.rsa_key("x"), pss=pss))
        assert not other.is_self_signed(NO_LEGACY)


@pytest.mark.rfc("P-06")
@pytest.mark.parametrize(("digest", "mask"), PAIRS)
def test_a_chain_and_a_crl(digest, mask):
    """A CA may sign certificates and CRLs with RSASSA-PSS."""
    ca = keys.certify("PSS CA", keys.rsa_key("ca"), ca=True)
    hash_ = DIGESTS[digest][1]()
    for pss in of(digest, mask):
        leaf = (
            x509.CertificateBuilder(ca.x509.subject, keys.name("leaf"), KEY.public_key(), 7)
            .not_valid_before(keys.NOW - keys.DAY)
            .not_valid_after(keys.NOW + keys.DAY)
            .sign(ca.key, hash_, rsa_padding=pss.padding)
        )
        leaf = Certificate.of(leaf)
        assert chain.build(leaf, [], ca.certificate, keys.NOW) == (leaf, ca.certificate)
        crl = (
            x509.CertificateRevocationListBuilder(ca.x509.subject, keys.NOW, keys.NOW + keys.DAY)
        ).sign(ca.key, hash_, rsa_padding=pss.padding)
        assert crl_reading.is_signed(ca.certificate, crl)
        assert not crl_reading.is_signed(keys.certify("PSS CA", KEY, ca=True).certificate, crl)


@pytest.mark.rfc("P-06")
def test_a_reply_and_an_announcement():
    """The client takes RSASSA-PSS from a CA: for a CertRep, and for GetNextCACert."""
    reply = forge.reply(pss=PSS())
    verified = pkimessage.verify(
        pkimessage.parse(reply), NO_LEGACY, signers=[keys.ra().certificate]
    )
    assert verified.certificate == keys.ra().certificate
    ca = keys.ca()
    following = keys.certify("next CA", keys.rsa_key("next"), ca=True)
    inside = forge.signed_data(None, certificates=[following.der])
    outer = forge.pki_message(inside, signer=ca, pss=PSS(salt=20))
    trusted = ca_certificates.trust([ca.certificate], ca.certificate, keys.NOW)
    assert next_ca.read(outer, trusted, NO_LEGACY, keys.NOW) == (following.certificate,)


# --- what the parameters say ----------------------------------------------------------------------


@pytest.mark.rfc("P-06", "P-72")
@pytest.mark.parametrize(
    "said",
    [
        PSS(salt=31),
        PSS(salt=0),
        PSS(salt=222),
        PSS(salt=223),
        PSS(salt=1024),
        PSS(digest="sha512"),
        PSS(mask="sha512"),
    ],
    ids=str,
)
def test_other_parameters_than_it_was_made_with_do_not_verify(said):
    """What is declared is what is verified: another salt, digest or mask is another signature."""
    message = forge.request(pss=PSS(), signature_algorithm=said.algorithm)
    with pytest.raises(BadMessageCheck, match="does not verify"):
        pkimessage.verify(pkimessage.parse(message), NO_LEGACY)
    with pytest.raises(Malformed, match="does not verify"):
        csr.read(forge.csr(digest=PSS(), signature_algorithm=said.algorithm), NO_LEGACY)


def parameters(digest=DIGESTS["sha256"][0], mask=None, salt=32, more=b""):
    mask = algorithm(MGF1, algorithm(DIGESTS["sha256"][0])) if mask is None else mask
    return seq(tlv(0xA0, algorithm(digest)), tlv(0xA1, mask), tlv(0xA2, integer(salt)), more)


UNVERIFIABLE = {
    "none": (b"", "RSASSA-PSS without parameters"),
    "NULL": (b"\x05\x00", "RSASSA-PSS without parameters"),
    "a negative salt": (parameters(salt=-1), "with a salt that is not 0 to 1024 octets"),
    "a giant salt": (parameters(salt=1 << 4000), "with a salt that is not 0 to 1024"),
    "a trailer": (parameters(more=tlv(0xA3, integer(2))), "with a trailerField other than 1"),
    "a digest": (parameters(digest="1.2.3"), "with digest 1.2.3 is"),
    "a mask": (parameters(mask=algorithm("1.2.3.4")), "RSASSA-PSS: mask generation 1.2.3.4 is"),
    "no digest of the mask": (parameters(mask=algorithm(MGF1, b"")), "MGF1 without a digest is"),
    "NULL for the mask's": (parameters(mask=algorithm(MGF1)), "MGF1 without a digest is"),
    "a digest of the mask": (
        parameters(mask=algorithm(MGF1, algorithm("1.2.3"))),
        "RSASSA-PSS with MGF1 of digest 1.2.3 is",
    ),
}


@pytest.mark.rfc("P-73")
@pytest.mark.parametrize(("given", "said"), UNVERIFIABLE.values(), ids=UNVERIFIABLE)
def test_what_is_not_supported_is_bad_alg_and_named(pair, given, said):
    """What is not supported of RSASSA-PSS is answered badAlg, which says what it is."""
    name = algorithm(RSASSA_PSS, given)
    refused = pair.answer_to(forge.request(pss=PSS(), signature_algorithm=name))
    assert refused.fail_info == 0
    assert said in refused.text
    assert refused.text.endswith("is not supported")


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize(("given", "said"), UNVERIFIABLE.values(), ids=UNVERIFIABLE)
def test_inside_an_envelope_its_owner_alone_is_told(pair, given, said):
    """A PKCS#10 that cannot be verified may be anybody's, but for whoever signs with its key."""
    request = forge.csr(digest=PSS(), signature_algorithm=algorithm(RSASSA_PSS, given))
    told = pair.answer_to(forge.request(request))
    assert told.fail_info == 0
    assert said in told.text
    stranger = keys.device("stranger")
    assert pair.answer_to(forge.request(request, signer=stranger)) == UNREADABLE
    with pytest.raises(Malformed) as caught:
        csr.read(request, NO_LEGACY)
    assert said in caught.value.message


@pytest.mark.rfc("P-73")
def test_parameters_that_cannot_be_read(pair):
    """Parameters that are none are a broken message, not an algorithm."""
    name = algorithm(RSASSA_PSS, integer(1))
    assert pair.answer_to(forge.request(signature_algorithm=name)).fail_info == 1


def test_a_default_that_is_written_out_is_read():
    """DER leaves a trailerField of 1 out; somebody writes it all the same."""
    pss = PSS()
    name = algorithm(RSASSA_PSS, pss.parameters(tlv(0xA3, integer(1))))
    message = forge.request(pss=pss, signature_algorithm=name)
    pkimessage.verify(pkimessage.parse(message), NO_LEGACY)
    request = csr.read(forge.csr(digest=pss, signature_algorithm=name), NO_LEGACY)
    csr.read_archived(request.archive)


# --- known, and not allowed -----------------------------------------------------------------------

LEGACY = {
    "digest": PSS("sha1", "sha256", 20),
    "mask": PSS("sha256", "sha1", 20),
    "both": PSS("sha1", "sha1", 20),
}


@pytest.mark.rfc("S-2.9-3", "P-73")
@pytest.mark.parametrize("pss", LEGACY.values(), ids=LEGACY)
def test_sha1_is_legacy_wherever_it_is(pair, pss):
    """SHA-1, in the digest or in the mask, needs the switch; the refusal names it."""
    said = f"RSASSA-PSS with {pss.digest}, MGF1 of {pss.mask} and a salt of 20 octets"
    message = forge.request(pss=pss)
    assert pair.answer_to(message) == Failure(0, f"{said} is not allowed here")
    pkimessage.verify(pkimessage.parse(message), SHA1)
    request = forge.csr(digest=pss)
    with pytest.raises(BadAlg, match="not allowed here") as caught:
        csr.read(request, NO_LEGACY)
    assert caught.value.legacy == ("sha1",)
    assert csr.read(request, SHA1).check(SHA1) == (Legacy.SHA1,)
    own = Certificate.read(forge.certificate(KEY, pss=pss))
    assert [own.is_self_signed(allowed) for allowed in (NO_LEGACY, SHA1)] == [False, True]


@pytest.mark.rfc("S-2.9-3")
def test_empty_parameters_are_sha1():
    """What is left out is SHA-1, MGF1 with SHA-1 and a salt of 20 octets (RFC 4055)."""
    name = algorithm(RSASSA_PSS, seq())
    message = forge.request(pss=PSS("sha1", "sha1", 20), signature_algorithm=name)
    pkimessage.verify(pkimessage.parse(message), SHA1)
    with pytest.raises(BadAlg) as caught:
        pkimessage.verify(pkimessage.parse(message), NO_LEGACY)
    assert caught.value.legacy == ("sha1",)


@pytest.mark.rfc("P-73")
@pytest.mark.parametrize(
    ("pss", "name"),
    [
        (PSS("sha3-256", "sha256"), "RSASSA-PSS with sha3-256, MGF1 of sha256"),
        (PSS("sha256", "sha3-256"), "RSASSA-PSS with sha256, MGF1 of sha3-256"),
    ],
    ids=["digest", "mask"],
)
def test_sha3_is_told_once_the_signature_holds(pair, pss, name):
    """SHA-3 is not supported; in a PKCS#10 the device is told so, if its signature holds."""
    said = Failure(0, f"signature algorithm {name} and a salt of 32 octets is not supported")
    assert pair.answer_to(forge.request(pss=pss)) == said
    assert pair.answer_to(forge.request(forge.csr(digest=pss))) == said
    broken = forge.csr(signature_algorithm=pss.algorithm)
    assert pair.answer_to(forge.request(broken)) == UNREADABLE


@pytest.mark.rfc("P-73")
@pytest.mark.parametrize(
    ("key", "dotted", "name"),
    [
        (KEY, "2.16.840.1.101.3.4.3.14", "RSASSA-PKCS1-v1_5 with sha3-256"),
        (keys.ec_key(), "2.16.840.1.101.3.4.3.10", "ECDSA with sha3-256"),
    ],
    ids=["rsa", "ec"],
)
def test_sha3_without_pss(pair, key, dotted, name):
    """Nor is it with the other kinds of signatures."""
    request = csr.verify(
        forge.csr(key, digest="sha3-256", signature_algorithm=algorithm(dotted, b""))
    )
    with pytest.raises(BadAlg, match=f"signature algorithm {name} is not supported"):
        request.check(NO_LEGACY)
    stranger = keys.device("stranger")
    assert pair.answer_to(forge.request(request.der, signer=stranger)) == UNREADABLE


@pytest.mark.rfc("P-73")
def test_pss_is_for_rsa_keys(pair):
    """An EC key has no padding."""
    message = forge.request(
        signer=keys.certify("ec", keys.ec_key()), signature_algorithm=PSS().algorithm
    )
    refused = pair.answer_to(message)
    assert refused.fail_info == 0
    assert refused.text.endswith("is not supported for this key")


def pss_spki(parameters=b""):
    """Return the SubjectPublicKeyInfo of an id-RSASSA-PSS key with the numbers of an RSA one."""
    return forge.rsa_spki(KEY.public_key().public_numbers().n, 65537, RSASSA_PSS, parameters)


@pytest.mark.rfc("P-73", "P-25")
def test_a_key_for_pss_alone_is_another_key(pair):
    """Nothing is encrypted to an id-RSASSA-PSS key: badAlg, unless there is a challenge for it."""
    signer = forge.Odd(KEY, forge.certificate(KEY, spki=pss_spki(), pss=PSS()))
    assert signer.certificate.key_hash != keys.device().certificate.key_hash
    bare = forge.csr(spki=pss_spki(), digest=PSS(), attributes=[])
    refused = pair.answer_to(forge.request(bare, signer=signer, pss=PSS()))
    assert refused.fail_info == 0
    assert "without a challengePassword only RSA keys can be encrypted to" in refused.text
    pair.server.decisions = [Pending()]
    with_challenge = forge.csr(spki=pss_spki(), digest=PSS())
    assert pair.answer_to(forge.request(with_challenge, signer=signer, pss=PSS())) == Pending()


@pytest.mark.rfc("P-73")
def test_a_key_for_pss_alone_makes_no_other_signatures(pair):
    """RSASSA-PKCS1-v1_5 is not of its kind, nor what its own parameters do not allow."""
    signer = forge.Odd(KEY, forge.certificate(KEY, spki=pss_spki(), pss=PSS()))
    assert pair.answer_to(forge.request(signer=signer)).fail_info == 0
    only = pss_spki(PSS("sha512", "sha512", 20).parameters())
    signer = forge.Odd(KEY, forge.certificate(KEY, spki=only, pss=PSS("sha512", "sha512", 20)))
    for pss, good in (
        (PSS("sha512", "sha512", 20), True),
        (PSS("sha512", "sha512", 64), True),
        (PSS("sha512", "sha512", 19), False),
        (PSS("sha256", "sha512", 20), False),
        (PSS("sha512", "sha256", 20), False),
    ):
        message = pkimessage.parse(forge.request(signer=signer, pss=pss))
        if good:
            assert pkimessage.verify(message, NO_LEGACY)
        else:
            with pytest.raises(BadAlg, match="not supported for this key"):
                pkimessage.verify(message, NO_LEGACY)


def test_the_log_names_every_use_of_sha1(pair):
    """SHA-1 in a mask is a use of it, though no digest of the message is."""
    pair.server.responder._allowed = SHA1
    received = pkimessage.parse(forge.request(pss=LEGACY["mask"]))
    assert pair.server.responder.legacy_uses(received) == (Legacy.SHA1,)


def test_a_scheme_is_read_with_its_key():
    """Whoever reads a scheme has it checked against key and switches."""
    pss = AlgorithmIdentifier(x509.ObjectIdentifier(RSASSA_PSS), PSS("sha1").parameters())
    assert signatures.parse(pss).legacy == (Legacy.SHA1,)
    with pytest.raises(BadAlg):
        signatures.read(pss, KEY.public_key(), NO_LEGACY)
    with pytest.raises(BadAlg):
        signatures.read(pss, keys.ec_key().public_key(), SHA1)


# --- other people's -------------------------------------------------------------------------------


@pytest.mark.rfc("P-06")
@pytest.mark.parametrize("salt", ["20", "digest", "max"])
def test_openssl_signs_a_message(openssl, salt):
    """`openssl cms -sign -keyopt rsa_padding_mode:pss` is understood."""
    signer = keys.device()
    made = openssl.sign(
        b"content",
        signer,
        "sha256",
        *("-keyopt", "rsa_padding_mode:pss", "-keyopt", f"rsa_pss_saltlen:{salt}"),
    )
    data = signed.read_signed_data(made)
    (info,) = data.signers
    assert info.signature_algorithm.oid.dotted_string == RSASSA_PSS
    signed.verify(data, info, signer.certificate, NO_LEGACY)


@pytest.mark.rfc("P-06")
@pytest.mark.parametrize("salt", ["20", "digest", "max"])
@pytest.mark.parametrize("mask", ["sha256", "sha512"])
def test_openssl_signs_a_pkcs10(openssl, tmp_path, salt, mask):
    """`openssl req -sigopt rsa_padding_mode:pss` is understood."""
    made = openssl.run(
        *("req", "-new", "-batch", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key"),
        *("-subj", "/CN=pss", "-outform", "DER", "-sigopt", "rsa_padding_mode:pss"),
        *("-sigopt", f"rsa_pss_saltlen:{salt}", "-sigopt", f"rsa_mgf1_md:{mask}"),
    )
    assert str(csr.read(made, NO_LEGACY).subject) == "CN=pss"
