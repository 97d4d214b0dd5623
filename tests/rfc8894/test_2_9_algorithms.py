"""RFC 8894 section 2.9: what has to be supported, what may be, and what must not."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

import captured
import forge
import keys
import recipients
from pair import Pair, substitute
from scepkit.errors import BadAlg, BadReply, LegacyRefused
from scepkit.protocol import csr
from scepkit.protocol.algorithms import CIPHERS, DIGESTS, NO_LEGACY, Legacy
from scepkit.protocol.cms import enveloped, signed
from scepkit.protocol.cms.enveloped import Envelope
from scepkit.protocol.scep import capabilities, pkimessage
from scepkit.protocol.scep.messages import Failure, Pending, Success

DIGEST_NAMES = {"sha1": Legacy.SHA1, "md5": Legacy.MD5}
CIPHER_NAMES = {"des3": Legacy.DES3, "des": Legacy.DES}
DIGESTS_BY_NAME = {digest.name: digest for digest in DIGESTS.values()}


@pytest.mark.rfc("S-2.9-1")
def test_the_mandatory_set_is_all_that_is_needed(pair, openssl):
    """GetCACaps, GetCACert, PKCSReq, binary POST, AES-128-CBC and SHA-256 give a certificate."""
    pair.enrol()
    assert [r.method for r in pair.http] == ["GET", "GET", "POST"]
    for message in (pair.trips[0].request, pair.replies[0]):
        assert forge.oid(forge.DIGESTS["sha256"][0]) in forge.signer_of(message)[2].der()
        enveloped = forge.body_of(forge.content_of(message))
        assert enveloped[2][1][0].der() == forge.oid("2.16.840.1.101.3.4.1.2")
        openssl.verify(message)


@pytest.mark.rfc("S-2.9-2")
def test_what_may_be_supported_is_when_it_is_allowed():
    """PKIOperation over GET, 3DES-CBC and SHA-1 may be used."""
    legacy = frozenset({Legacy.SHA1, Legacy.DES3})
    pair = Pair(allowed=legacy, client_allowed=legacy, caps=["DES3", "SHA-1"])
    pair.enrol()
    assert pair.trips[0].sent.method == "GET"
    for message in (pair.trips[0].request, pair.replies[0]):
        assert forge.oid(forge.DIGESTS["sha1"][0]) in forge.signer_of(message)[2].der()
        enveloped = forge.body_of(forge.content_of(message))
        assert enveloped[2][1][0].der() == forge.oid("1.2.840.113549.3.7")


@pytest.mark.rfc("S-2.9-3", "P-73", "L-02", "A-12")
@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_a_weak_digest_is_answered_bad_alg(pair, digest):
    """A request protected by MD5 (or by SHA-1, where it is off) is answered badAlg."""
    refused = pair.answer_to(forge.request(digest=digest))
    assert refused == Failure(0, f"{digest} is not allowed here")
    with pytest.raises(BadAlg) as caught:
        pkimessage.verify(pkimessage.parse(forge.request(digest=digest)), NO_LEGACY)
    assert caught.value.legacy == (digest,)
    assert f"'{digest}'" in caught.value.hint


@pytest.mark.rfc("S-2.9-3", "P-73", "L-02")
@pytest.mark.parametrize("cipher", ["des", "des3"])
def test_a_weak_cipher_is_answered_bad_alg(pair, cipher):
    """A request encrypted with single DES (or 3DES, where it is off) is answered badAlg."""
    refused = pair.answer_to(forge.request(cipher=cipher))
    assert refused == Failure(0, f"{cipher}-cbc is not allowed here")
    verified = pkimessage.verify(pkimessage.parse(forge.request(cipher=cipher)), NO_LEGACY)
    with pytest.raises(BadAlg) as caught:
        pkimessage.open_request(verified, [keys.ra().credential], NO_LEGACY, bytes)
    assert caught.value.legacy == (cipher,)


@pytest.mark.rfc("S-2.9-3", "P-73")
@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_a_weak_signature_of_the_pkcs10_is_answered_bad_alg(pair, digest):
    """A PKCS#10 signed with MD5 or SHA-1 is answered badAlg where that is off."""
    weak = forge.csr(digest=digest)
    assert pair.answer_to(forge.request(weak)) == Failure(0, f"{digest} is not allowed here")
    with pytest.raises(BadAlg) as caught:
        csr.read(weak, NO_LEGACY)
    assert caught.value.legacy == (digest,)
    assert csr.read(weak, allowed := frozenset({Legacy(digest)}))
    assert csr.verify(weak).check(allowed) == (Legacy(digest),)


@pytest.mark.rfc("L-02", "P-24")
@pytest.mark.parametrize("digest", DIGEST_NAMES)
@pytest.mark.parametrize("cipher", CIPHER_NAMES)
def test_each_legacy_algorithm_works_when_it_is_allowed_by_name(digest, cipher):
    """An explicit switch, off by default, lets an old device in and answers in its own words."""
    names = frozenset({DIGEST_NAMES[digest], CIPHER_NAMES[cipher]})
    message = forge.request(digest=digest, cipher=cipher)
    pair = Pair(allowed=names)
    assert isinstance(pair.answer_to(message), Success)
    for missing in names:
        refused = Pair(allowed=names - {missing}).answer_to(message)
        assert isinstance(refused, Failure)
        assert refused.fail_info == 0


@pytest.mark.rfc("L-02", "S-2.9-2")
@pytest.mark.parametrize("digest", ["sha1", "md5"])
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_openssl_and_we_verify_each_others_legacy_signatures(kind, digest, openssl):
    """SHA-1 and MD5 are those of `openssl cms` and `openssl req`, where they are allowed."""
    allowed = frozenset({DIGEST_NAMES[digest]})
    signer = keys.certify("device", keys.key_of(kind))
    chosen = DIGESTS_BY_NAME[digest]
    ours = signed.Signer(signer.credential, chosen).sign(b"content", [])
    assert openssl.verify(ours, signer) == b"content"
    openssl.request(csr.build(keys.name("x"), signer.key, digest=chosen))
    if (kind, digest) == ("p256", "md5"):
        # There is no such algorithm; ours is SHA-256.
        return
    theirs = signed.read_signed_data(openssl.sign(b"content", signer, digest))
    assert signed.verify(theirs, theirs.signers[0], signer.certificate, allowed) is chosen
    with pytest.raises(BadAlg):
        signed.verify(theirs, theirs.signers[0], signer.certificate, NO_LEGACY)


@pytest.mark.rfc("L-02", "S-2.9-2")
@pytest.mark.parametrize("cipher", ["des3", "des"])
def test_openssl_and_we_open_each_others_legacy_envelopes(cipher, openssl):
    """3DES and DES are those of `openssl cms`, where they are allowed."""
    allowed = frozenset({CIPHER_NAMES[cipher]})
    chosen = next(one for one in CIPHERS.values() if one.legacy in allowed)
    device = keys.device()
    ours = enveloped.seal(b"content", device.certificate, chosen, os.urandom)
    assert openssl.decrypt(ours, device) == b"content"
    theirs = openssl.encrypt(b"content", cipher, device)
    opened = Envelope(theirs).open([device.credential], allowed, os.urandom)
    assert (opened.content, opened.cipher) == (b"content", chosen)
    with pytest.raises(BadAlg):
        Envelope(theirs).open([device.credential], NO_LEGACY, os.urandom)


@pytest.mark.rfc("L-02", "P-24")
@pytest.mark.parametrize("digest", DIGEST_NAMES)
def test_an_ec_ra_answers_a_legacy_request(digest):
    """An EC RA mirrors SHA-1; for MD5, which ECDSA does not know, it says SHA-256."""
    ra = keys.certify("EC RA", keys.ec_key("ra"), keys.ca())
    pair = Pair(Pending(), ra=ra, allowed=frozenset(Legacy))
    reply = pair.ask(forge.request(recipient=keys.ca(), digest=digest)).body
    expected = digest if digest == "sha1" else "sha256"
    assert forge.signer_of(reply)[2][0].der() == forge.oid(forge.DIGESTS[expected][0])
    assert isinstance(pair.read_reply(reply), Failure)


@pytest.mark.rfc("L-02")
def test_one_name_allows_one_algorithm():
    """Allowing one legacy algorithm allows no other."""
    for digest, cipher in (("sha1", "des"), ("md5", "des3"), ("md5", "des")):
        pair = Pair(allowed=frozenset({Legacy.SHA1, Legacy.DES3}))
        refused = pair.answer_to(forge.request(digest=digest, cipher=cipher))
        assert refused.fail_info == 0


@pytest.mark.rfc("L-02", "S-2.9-3")
@pytest.mark.parametrize("name", captured.MICROMDM)
def test_micromdms_single_des_is_refused_by_name(pair, name):
    """scepclient's hard-coded SHA-1 and DES are refused until they are allowed, both at once."""
    assert pair.answer_to(captured.der(name)) == Failure(0, "sha1 and des are not allowed here")
    half = Pair(allowed=frozenset({Legacy.DES}))
    assert half.answer_to(captured.der(name)) == Failure(0, "sha1 is not allowed here")


@pytest.mark.rfc("S-2.9-3", "L-02", "S-7.5-1")
@pytest.mark.parametrize("allowed", [NO_LEGACY, frozenset(Legacy)])
def test_des_and_md5_are_neither_advertised_nor_chosen(allowed):
    """DES and MD5 are never advertised and never chosen by our client."""
    offered = [keyword.upper() for keyword in capabilities.offered(allowed)]
    assert {"DES", "MD5"}.isdisjoint(offered)
    for caps in (b"", b"DES\nMD5\n", b"DES3\nSHA-1\n", b"SCEPStandard\n"):
        try:
            choice = capabilities.choose(capabilities.parse(caps), allowed)
        except LegacyRefused:
            continue
        assert choice.digest.legacy is not Legacy.MD5
        assert choice.cipher.legacy is not Legacy.DES


@pytest.mark.rfc("P-73")
def test_an_ec_key_may_be_certified(pair):
    """The key in the PKCS#10 may be EC when the message itself is signed with RSA."""
    message = forge.request(forge.csr(keys.ec_key()))
    assert isinstance(pair.answer_to(message), Success)


@pytest.mark.rfc("P-73")
@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"signature_algorithm": forge.algorithm("1.2.840.113549.1.1.10")}, "signature algorithm"),
        ({"signature_algorithm": forge.algorithm("1.2.840.10045.4.3.2", b"")}, "signature algo"),
    ],
)
def test_an_unknown_signature_algorithm_is_answered_bad_alg(pair, knobs, said):
    """Unsupported signature algorithms are answered badAlg."""
    refused = pair.answer_to(forge.request(**knobs))
    assert refused.fail_info == 0
    assert said in refused.text


@pytest.mark.rfc("P-73")
def test_an_unknown_cipher_is_answered_bad_alg(pair):
    """Unsupported content-encryption algorithms are answered badAlg."""
    content = forge.envelope(b"", cipher_oid="1.2.840.113549.3.2")
    assert pair.answer_to(forge.request(content=content)) == Failure(
        0, "content-encryption algorithm 1.2.840.113549.3.2 is not supported"
    )


@pytest.mark.rfc("P-73")
def test_an_unknown_key_transport_is_answered_bad_alg(pair):
    """Unsupported key-encryption algorithms are answered badAlg."""
    recipient = forge.seq(
        forge.integer(0), forge.rid(keys.ra()), forge.algorithm("1.2.3.4"), forge.octets(b"x")
    )
    content = forge.envelope(b"", recipients=[recipient])
    assert pair.answer_to(forge.request(content=content)) == Failure(
        0, "key-transport algorithm 1.2.3.4 is not supported"
    )


@pytest.mark.rfc("L-02")
@pytest.mark.parametrize("digest", DIGEST_NAMES)
def test_the_client_refuses_a_weak_reply_and_says_what_would_allow_it(pair, digest):
    """A reply in a legacy algorithm that the user did not allow is refused by its name."""
    with pytest.raises(LegacyRefused) as caught:
        pair.believe(forge.reply(digest=digest))
    assert caught.value.names == (digest,)


@pytest.mark.rfc("L-02")
@pytest.mark.parametrize("cipher", CIPHER_NAMES)
def test_the_client_refuses_a_weakly_encrypted_reply(pair, cipher):
    """The same for the envelope of a SUCCESS."""
    content = forge.envelope(b"", keys.device(), cipher=cipher)
    with pytest.raises(LegacyRefused) as caught:
        pair.believe(forge.reply(content, pki_status="0"))
    assert caught.value.names == (cipher,)


LEGACY = sorted({*DIGEST_NAMES.values(), *CIPHER_NAMES.values()})


def success(digest, cipher, wrap=None):
    """Return a SUCCESS; with a key wrap its envelope is for a password."""
    cek = os.urandom(forge.CIPHERS[cipher][1])
    locks = [recipients.password_info(cek, cipher=wrap)] if wrap else None
    content = forge.envelope(
        signed.certs_only([]), keys.device(), cipher=cipher, cek=cek, recipients=locks
    )
    return forge.reply(content, pki_status="0", digest=digest)


def asked_for(error):
    """Return what an error says to allow."""
    return frozenset(map(Legacy, error.names))


@pytest.mark.rfc("L-02")
@given(
    st.sampled_from(["sha256", "sha1", "md5"]),
    st.sampled_from(["aes128", "des3", "des"]),
    st.sampled_from([None, "aes128", "des3", "des"]),
    st.frozensets(st.sampled_from(LEGACY)),
)
def test_one_hint_names_all_that_a_reply_takes(digest, cipher, wrap, allowed):
    """Digest, cipher and key wrap: whoever follows the hint needs no second challenge."""
    names = {**DIGEST_NAMES, **CIPHER_NAMES}
    needed = {names[one] for one in (digest, cipher, wrap) if one in names}
    reply = success(digest, cipher, wrap)
    if not needed <= allowed:
        with pytest.raises(LegacyRefused) as caught:
            Pair(client_allowed=allowed, password="secret").believe(reply)
        assert asked_for(caught.value) == needed | allowed
        for one in needed - allowed:
            assert one.value in caught.value.message
        allowed = asked_for(caught.value)
    assert isinstance(Pair(client_allowed=allowed, password="secret").believe(reply), Success)


@pytest.mark.rfc("L-02")
def test_a_reply_without_an_envelope_is_named_as_far_as_it_goes(pair):
    """PENDING and FAILURE have a digest only."""
    for status in ({"pki_status": "3"}, {"pki_status": "2", "fail_info": "2"}):
        with pytest.raises(LegacyRefused) as caught:
            pair.believe(forge.reply(digest="md5", **status))
        assert asked_for(caught.value) == {Legacy.MD5}


@pytest.mark.rfc("L-02", "S-2.2-2")
@pytest.mark.parametrize(
    "knobs",
    [
        {"signer": keys.customer()},
        {"signature": b"\x00" * 256},
        {"transaction_id": "another"},
        {"recipient_nonce": b"another nonce..."},
    ],
    ids=["another signer", "a broken signature", "another transaction", "another nonce"],
)
def test_nobody_is_told_to_allow_anything_for_a_forged_reply(pair, knobs):
    """Whoever is in between cannot have the user allow MD5: such a reply counts as none."""
    with pytest.raises(BadReply):
        pair.believe(forge.reply(digest="md5", **knobs))


@pytest.mark.rfc("L-02", "P-79")
def test_a_forged_legacy_reply_does_not_keep_the_true_one_out(pair):
    """The same request goes out again, and its answer counts."""
    pair.on_reply(1, substitute(forge.reply(digest="sha1", signer=keys.customer())))
    assert pair.enrol().certificate
    assert len(pair.trips) == 2


@pytest.mark.rfc("L-02", "P-73")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (forge.envelope(b"", keys.device(), cipher_oid="1.2.3"), "1.2.3 is not supported"),
        (forge.envelope(b"", keys.ra()), "none of our certificates"),
        (b"rubbish", "content cannot be read"),
    ],
    ids=["an unknown cipher", "for somebody else", "no envelope"],
)
def test_nothing_is_to_be_allowed_where_that_would_not_help(pair, content, said):
    """What could not be read with SHA-1 allowed either does not ask for SHA-1."""
    with pytest.raises(BadReply, match=said):
        pair.believe(forge.reply(content, pki_status="0", digest="sha1"))


@pytest.mark.rfc("L-02", "P-06")
def test_the_signatures_own_name_counts_as_well():
    """SHA-256 over the content with sha1WithRSA over the attributes takes SHA-1, MD5 takes both."""
    for digest, legacy in (("sha256", {"sha1"}), ("md5", {"sha1", "md5"})):
        name = forge.algorithm(forge.WITH_RSA["sha1"])
        message = pkimessage.parse(forge.reply(digest=digest, signature_algorithm=name))
        assert signed.legacy_uses(message.signer, keys.ra().certificate) == legacy
        with pytest.raises(BadAlg) as caught:
            pkimessage.verify(message, NO_LEGACY, signers=[keys.ra().certificate])
        assert set(caught.value.legacy) == legacy


@pytest.mark.rfc("P-73", "L-02")
@pytest.mark.parametrize("cipher", CIPHER_NAMES)
@pytest.mark.parametrize("digest", DIGEST_NAMES)
def test_a_refused_request_has_all_that_it_takes_named(digest, cipher):
    """Digest and cipher at once, for the operator who reads the log."""
    message = forge.request(digest=digest, cipher=cipher)
    refused = Pair().answer_to(message)
    assert refused.text.endswith(" are not allowed here")
    assert digest in refused.text
    assert cipher in refused.text
    with pytest.raises(BadAlg) as caught:
        pkimessage.verify(pkimessage.parse(message), NO_LEGACY)
    assert set(caught.value.legacy) == {digest, cipher}
    assert f"'{digest}'" in caught.value.hint
    assert f"'{cipher}'" in caught.value.hint


@pytest.mark.rfc("L-02", "S-3.5.2-12")
@pytest.mark.parametrize(
    ("caps", "missing", "hint"),
    [
        (b"", "SHA-256 and AES", "sha1,des3"),
        (b"AES\n", "SHA-256", "sha1"),
        (b"SHA-256\n", "AES", "des3"),
    ],
)
def test_before_anything_is_sent_one_hint_names_all_that_is_missing(caps, missing, hint):
    """What GetCACaps leaves out is said at once, before a challenge is spent."""
    with pytest.raises(LegacyRefused) as caught:
        capabilities.choose(capabilities.parse(caps), NO_LEGACY)
    assert caught.value.message == f"the CA does not say that it can do {missing}"
    assert ",".join(caught.value.names) == hint
    capabilities.choose(capabilities.parse(caps), asked_for(caught.value))
