"""What RFC 8894 leaves open and the field settled: CMS and PKCS#10 (checklist P-01 to P-24)."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import padding

import forge
import keys
from der import NULL, integer, octets, oid, parse, seq, tlv
from pair import Pair
from scepkit.errors import BadAlg, BadReply, Malformed, ScepError
from scepkit.protocol import csr, public_keys
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import key_transport, signed
from scepkit.protocol.cms.enveloped import Envelope
from scepkit.protocol.cms.recipients import find as find_recipient
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.messages import Failure, Success

EVERY = frozenset(Legacy)
UNREADABLE = Failure(2, "the encrypted part could not be read")
STRANGER = Failure(
    2,
    "the message is encrypted to none of our certificates; "
    "fetch the CA certificates again (GetCACert)",
)


def opens(content, *, allowed=NO_LEGACY):
    return Envelope(content).open([keys.ra().credential], allowed, bytes).content


# --- signatures -----------------------------------------------------------------------------------


@pytest.mark.rfc("P-05")
def test_attributes_that_were_signed_unsorted_are_accepted(pair):
    """If the signature does not hold over the sorted attributes, the received order is tried."""
    unsorted = forge.request(sort=False, sign_sorted=False)
    encoded = [one.der() for one in forge.signer_of(unsorted)[3].children]
    assert encoded != sorted(encoded)
    assert isinstance(pair.answer_to(unsorted), Success)


@pytest.mark.rfc("P-05")
def test_attributes_that_were_sent_unsorted_but_signed_sorted_are_accepted(pair):
    """The signature is verified over the DER SET OF re-encoding first."""
    assert isinstance(pair.answer_to(forge.request(sort=False, sign_sorted=True)), Success)


@pytest.mark.rfc("P-04", "P-05")
@pytest.mark.parametrize(
    "nonce",
    [
        b"\x24\x80" + octets(b"the nonce") + octets(b" sent..") + b"\x00\x00",
        tlv(0x24, octets(b"the nonce"), octets(b" sent..")),
        b"\x04\x81\x10the nonce sent..",
    ],
)
def test_ber_in_a_single_attribute_is_accepted(pair, nonce):
    """BER is accepted at every nesting level, also when all around it is DER."""
    values = [
        *forge.scep_attributes(sender_nonce=None),
        forge.attribute(forge.SENDER_NONCE, nonce),
    ]
    reply = pair.ask(forge.request(attributes=values)).body
    assert isinstance(pair.read_reply(reply), Success)
    assert forge.signed_attribute(reply, forge.RECIPIENT_NONCE) == octets(b"the nonce sent..")


def signed_as_it_is(field, *, over=None, signer=None, damage=b""):
    """Return a pkiMessage whose attributes are `field`, signed over these very octets."""
    signer = signer or keys.device()
    content = forge.envelope(forge.csr(), keys.ra())
    body = field(content)
    over = (b"\x31" + body[1:]) if over is None else over(body)
    info = seq(
        integer(1),
        forge.rid(signer),
        forge.algorithm(forge.DIGESTS["sha256"][0]),
        body,
        forge.algorithm(forge.RSA_ENCRYPTION),
        octets(forge.sign(signer.key, over, "sha256") + damage),
    )
    return forge.signed_data(content, [info], [signer.der])


NONCE = octets(forge.NONCE)


def attributes_of(content, nonce=NONCE):
    return [
        *forge.scep_attributes(sender_nonce=None),
        forge.attribute(forge.SENDER_NONCE, nonce),
        forge.attribute(forge.CONTENT_TYPE, oid(forge.DATA)),
        forge.attribute(forge.MESSAGE_DIGEST, octets(forge.digest_of("sha256", content))),
    ]


BER_NONCE = b"\x24\x80" + octets(b"the nonce") + octets(b" sent..") + b"\x00\x00"
BER_FIELDS = {
    "indefinite length": lambda content: (
        b"\xa0\x80" + b"".join(attributes_of(content)) + b"\x00\x00"
    ),
    "a length too long": lambda content: (
        b"\xa0\x84"
        + len(b"".join(attributes_of(content))).to_bytes(4, "big")
        + b"".join(attributes_of(content))
    ),
    "a string in pieces": lambda content: tlv(0xA0, *attributes_of(content, BER_NONCE)),
    "an attribute of indefinite length": lambda content: tlv(
        0xA0,
        *attributes_of(content)[1:],
        b"\x30\x80" + attributes_of(content)[0][2:] + b"\x00\x00",
    ),
}


@pytest.mark.rfc("P-05")
@pytest.mark.parametrize("field", BER_FIELDS.values(), ids=BER_FIELDS)
def test_attributes_that_were_signed_in_ber_are_accepted(pair, field):
    """Attributes in BER that were signed as they are verify over the received octets."""
    reply = pair.ask(signed_as_it_is(field)).body
    assert isinstance(pair.read_reply(reply), Success)
    assert forge.signed_attribute(reply, forge.RECIPIENT_NONCE) == octets(b"the nonce sent..")


@pytest.mark.rfc("P-05", "P-72")
@pytest.mark.parametrize("field", BER_FIELDS.values(), ids=BER_FIELDS)
def test_received_octets_are_not_believed_without_a_signature(pair, field):
    """Trying the received octets lets nothing in that nobody signed."""
    wrong = (
        signed_as_it_is(field, over=lambda body: body),
        signed_as_it_is(field, over=lambda body: b"\x31" + body[1:-1] + b"x"),
        signed_as_it_is(field, damage=b"x"),
        signed_as_it_is(field).replace(b"the nonce", b"the ounce"),
    )
    for message in wrong:
        assert pair.answer_to(message).fail_info == 1


@pytest.mark.rfc("P-05")
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_signed_octets_are_found_in_a_message_that_is_all_ber(pair, wrapped):
    """Also where everything around the attributes is of indefinite length."""
    message = signed_as_it_is(BER_FIELDS["indefinite length"])
    if wrapped:
        inner = message[message.index(b"\xa0\x82") + 4 :]
        message = b"\x30\x80" + oid(forge.SIGNED_DATA) + b"\xa0\x80" + inner + b"\x00\x00" * 2
    assert isinstance(pair.answer_to(message), Success)


@pytest.mark.rfc("P-05")
def test_our_own_attributes_are_sorted(pair):
    """What is emitted is sorted DER."""
    pair.enrol()
    for message in (pair.trips[0].request, pair.replies[0]):
        encoded = [one.der() for one in forge.signer_of(message)[3].children]
        assert encoded == sorted(encoded)


@pytest.mark.rfc("P-06")
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512", "sha224"])
@pytest.mark.parametrize("parameters", [NULL, b""])
@pytest.mark.parametrize("combined", [True, False])
def test_every_name_of_an_rsa_signature_is_accepted(pair, digest, parameters, combined):
    """rsaEncryption and every shaNWithRSAEncryption, parameters NULL or absent, are accepted."""
    name = forge.WITH_RSA[digest] if combined else forge.RSA_ENCRYPTION
    message = forge.request(digest=digest, signature_algorithm=forge.algorithm(name, parameters))
    assert isinstance(pair.answer_to(message), Success)


@pytest.mark.rfc("P-06")
def test_rsa_encryption_is_emitted(pair):
    """Both ends emit rsaEncryption with NULL, which old peers insist on."""
    pair.enrol()
    for message in (pair.trips[0].request, pair.replies[0]):
        assert forge.signer_of(message)[4].der() == forge.algorithm(forge.RSA_ENCRYPTION)


@pytest.mark.rfc("P-06", "P-73")
@pytest.mark.parametrize("inner", ["sha1", "md5"])
def test_a_combined_name_does_not_smuggle_a_weak_digest_in(pair, inner):
    """SHA-256 over the content with sha1WithRSA over the attributes is still badAlg."""
    name = forge.algorithm(forge.WITH_RSA[inner])
    assert pair.answer_to(forge.request(signature_algorithm=name)) == Failure(
        0, f"{inner} is not allowed here"
    )


@pytest.mark.rfc("P-07", "S-3.2.1-1")
def test_a_missing_content_type_is_tolerated(pair):
    """A request without the contentType attribute is served; we never omit it ourselves."""
    assert isinstance(pair.answer_to(forge.request(content_type=None)), Success)


@pytest.mark.rfc("P-07", "P-72")
def test_a_false_content_type_is_not(pair):
    """A contentType attribute that contradicts the content is answered badMessageCheck."""
    refused = pair.answer_to(forge.request(content_type=forge.ENVELOPED_DATA))
    assert refused == Failure(1, "the contentType attribute is not the type of the content")


@pytest.mark.rfc("P-72")
@pytest.mark.parametrize("digest", [b"x" * 32, b"", b"x" * 20])
def test_a_digest_mismatch_is_answered_bad_message_check(pair, digest):
    """A messageDigest that is not the content's is answered badMessageCheck."""
    digest = digest or forge.digest_of("sha256", b"")
    refused = pair.answer_to(forge.request(signed_digest=digest))
    assert refused == Failure(1, "the content does not match its digest")
    assert pair.server.asked == []


@pytest.mark.rfc("P-72")
def test_a_changed_content_is_answered_bad_message_check(pair):
    """The content cannot be exchanged under a signature."""
    message = forge.request()
    other = forge.content_of(forge.request())
    changed = message.replace(forge.content_of(message), other)
    assert len(changed) == len(message)
    refused = pair.answer_to(changed)
    assert refused == Failure(1, "the content does not match its digest")


@pytest.mark.rfc("P-72")
@pytest.mark.parametrize(
    "signature", [b"", b"\x00", b"\x00" * 256, b"\xff" * 256, b"\x01" * 255, b"\x01" * 100_000]
)
def test_a_wrong_signature_is_answered_bad_message_check(pair, signature):
    """A wrong outer signature is answered badMessageCheck."""
    refused = pair.answer_to(forge.request(signature=signature))
    assert refused == Failure(1, "the signature does not verify")
    assert pair.server.asked == []


@pytest.mark.rfc("P-72", "P-60")
def test_every_attribute_is_under_the_signature(pair):
    """No attribute can be changed without being noticed."""
    message = forge.request()
    for value in (forge.NONCE, forge.ID.encode(), b"\x13\x0219"):
        assert message.count(value) == 1
        changed = message.replace(value, value[:-1] + bytes([value[-1] ^ 1]))
        assert pair.answer_to(changed) == Failure(1, "the signature does not verify")


@pytest.mark.rfc("P-72", "P-60")
def test_without_a_message_digest_nothing_is_believed(pair):
    """A message whose attributes do not cover the content is answered badMessageCheck."""
    signer = keys.device()
    attributes = sorted(
        [*forge.scep_attributes(), forge.attribute(forge.CONTENT_TYPE, oid(forge.DATA))]
    )
    info = seq(
        integer(1),
        forge.rid(signer),
        forge.algorithm(forge.DIGESTS["sha256"][0]),
        tlv(0xA0, *attributes),
        forge.algorithm(forge.RSA_ENCRYPTION),
        octets(forge.sign(signer.key, forge.set_(*attributes), "sha256")),
    )
    message = forge.signed_data(b"content", [info], [signer.der])
    assert pair.answer_to(message) == Failure(
        1, f"0 values of the signed attribute {forge.MESSAGE_DIGEST}"
    )


@pytest.mark.rfc("P-60")
def test_no_private_key_is_used_before_the_signature_holds(pair, monkeypatch):
    """Signature and attributes are checked before anything is decrypted."""
    monkeypatch.setattr(key_transport.KeyTransport, "unwrap", None)
    for message in (
        forge.request(signature=b"x"),
        forge.request(scep={"message_type": "99"}),
        forge.request(certificates=[]),
    ):
        assert isinstance(pair.answer_to(message), Failure)


# --- odd signers ----------------------------------------------------------------------------------

V3 = tlv(0xA0, integer(2))
HEX = tlv(0x02, b"6F0C9C14A87DDB208BD125CC4E2789C2")
# keyUsage with its DEFAULT FALSE written out, which is no DER.
EXPLICIT_DEFAULT = tlv(
    0xA3, seq(seq(oid("2.5.29.15"), tlv(0x01, b"\x00"), octets(tlv(0x03, b"\x05\xa0"))))
)
ODD_SIGNERS = {
    "v1, no extensions": {},
    "32 octets of ASCII hex as serial": {"serial": HEX},
    "33 octets": {"serial": tlv(0x02, b"\x00" + b"\xff" * 32)},
    "serial 0": {"serial": integer(0)},
    "negative serial": {"serial": integer(-77)},
    "serial with leading zeros": {"serial": tlv(0x02, b"\x00\x00\x01")},
    "empty serial": {"serial": tlv(0x02)},
    "no subject": {"subject": seq()},
    "issuer is somebody else": {"issuer": keys.name("nobody").public_bytes()},
    "version 4": {"version": tlv(0xA0, integer(3))},
    "explicit version 1": {"version": tlv(0xA0, integer(0))},
    "explicit default": {"version": V3, "extensions": EXPLICIT_DEFAULT},
    "extensions in version 1": {"extensions": EXPLICIT_DEFAULT},
    "unknown critical extension": {
        "version": V3,
        "extensions": tlv(0xA3, seq(seq(oid("1.2.3.4"), tlv(0x01, b"\xff"), octets(b"?")))),
    },
    "the same extension twice": {
        "version": V3,
        "extensions": tlv(0xA3, seq(*[seq(oid("2.5.29.14"), octets(octets(b"id")))] * 2)),
    },
    "expired": {"validity": ("000101000000Z", "000102000000Z")},
    "not yet valid": {"validity": ("490101000000Z", "491231235959Z")},
    "ends before it begins": {"validity": ("300101000000Z", "200101000000Z")},
    "no time at all": {"validity": ("", "")},
    "a country of one letter": {
        "subject": seq(forge.set_(seq(oid("2.5.4.6"), forge.printable("C"))))
    },
}


@pytest.mark.rfc("P-21", "P-22")
@pytest.mark.parametrize("oddity", ODD_SIGNERS)
def test_odd_self_signed_certificates_are_served(pair, oddity):
    """Devices' own certificates: v1, odd serials, no extensions, any validity: all are served."""
    key = keys.rsa_key()
    signer = forge.Odd(key, forge.certificate(key, **ODD_SIGNERS[oddity]))
    assert isinstance(pair.answer_to(forge.request(signer=signer), signer), Success)
    _, sender = pair.server.asked[0]
    assert sender.certificate.is_self_signed(NO_LEGACY) == ("issuer" not in ODD_SIGNERS[oddity])


@pytest.mark.rfc("P-21")
def test_numbers_of_odd_certificates():
    """A serial number is the number that its INTEGER says, of whatever size and sign."""
    for value in (0, 1, -77, 2**255, -(2**255)):
        der = forge.certificate(keys.rsa_key(), serial=integer(value))
        assert Certificate.read(der).serial == value


@pytest.mark.rfc("L-18")
@pytest.mark.parametrize("usage", [keys.usage("key_encipherment"), keys.usage("crl_sign")])
def test_the_signers_key_usage_is_ignored(pair, usage):
    """keyUsage of the signer certificate is ignored during the exchange."""
    signer = keys.certify("dev", keys.rsa_key(), key_usage=usage)
    assert isinstance(pair.answer_to(forge.request(signer=signer), signer), Success)


# --- envelopes ------------------------------------------------------------------------------------


@pytest.mark.rfc("P-03")
@pytest.mark.parametrize("version", [0, 1, 2, 3, 4])
def test_the_version_of_an_envelope_is_not_insisted_on(version):
    """Whichever version EnvelopedData says is accepted."""
    assert opens(forge.envelope(b"x", version=version)) == b"x"


@pytest.mark.rfc("P-03", "P-19")
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_recipient_may_be_named_by_its_key_identifier(wrapped):
    """RecipientIdentifier may be the SKI, also with the OCTET STRING of the extension around it."""
    identifier = keys.ra().certificate.subject_key_identifier
    named = tlv(0x80, octets(identifier) if wrapped else identifier)
    assert opens(forge.envelope(b"x", named=named, version=2)) == b"x"


@pytest.mark.rfc("P-04")
@pytest.mark.parametrize("pieces", [1, 2, 7, 40])
def test_encrypted_content_in_pieces(pieces):
    """The constructed [0] encryptedContent of Go clients is joined."""
    content = b"something longer than forty octets, so that every piece holds at least one octet"
    assert opens(forge.envelope(content, pieces=pieces)) == content


@pytest.mark.rfc("P-19")
def test_foreign_recipients_are_ignored():
    """RecipientInfos for others, of kinds we do not know as well, are passed over."""
    cek = b"k" * 16
    others = [
        forge.recipient_info(keys.device(), cek),
        tlv(0xA1, integer(3), NULL),
        tlv(0xA3, integer(0)),
        tlv(0xA4, oid("1.2.3"), NULL),
    ]
    mine = forge.recipient_info(keys.ra(), cek)
    for recipients in ([*others, mine], [mine, *others], [others[0], mine, *others[1:]]):
        assert opens(forge.envelope(b"x", cek=cek, recipients=recipients)) == b"x"


@pytest.mark.rfc("P-19", "P-75")
@pytest.mark.parametrize("who", ["device", "old RA"])
def test_an_envelope_for_somebody_else_says_to_fetch_the_certificates(pair, who):
    """No matching RecipientInfo: badRequest with a text, so that the client refetches."""
    recipient = {
        "device": keys.device(),
        "old RA": keys.certify("Test RA", keys.rsa_key("ra"), keys.ca()),
    }[who]
    assert pair.answer_to(forge.request(recipient=recipient)) == STRANGER


@pytest.mark.rfc("P-19", "P-16")
def test_a_name_is_issuer_and_serial_number_together(pair):
    """Neither the RA's serial number under another issuer nor its issuer alone means the RA."""
    issuer, serial = keys.ra().certificate.issuer, keys.ra().certificate.serial_number
    other = keys.name("Another CA").public_bytes()
    for named in (seq(other, serial), seq(issuer, integer(7))):
        content = forge.envelope(forge.csr(), named=named)
        assert pair.answer_to(forge.request(content=content)) == STRANGER
        with pytest.raises(BadReply, match="not known"):
            pair.believe(forge.reply(sid=named))


@pytest.mark.rfc("P-19")
def test_an_envelope_for_nobody(pair):
    """An envelope without recipients is for none of ours."""
    assert pair.answer_to(forge.request(content=forge.envelope(b"", recipients=[]))) == STRANGER


@pytest.mark.rfc("P-40")
def test_recipients_are_bounded(pair):
    """More than a handful of recipients is refused unread."""
    one = forge.recipient_info(keys.device(), b"k" * 16)
    content = forge.envelope(b"", recipients=[one] * 17)
    assert pair.answer_to(forge.request(content=content)).text.endswith(
        "17 recipients in one envelope"
    )


@pytest.mark.rfc("P-23")
@pytest.mark.parametrize(
    "oaep",
    [
        *(("sha1", "sha1"), ("sha256", "sha256"), ("sha256", "sha1"), ("sha1", "sha256")),
        *(("sha384", "sha384"), ("sha512", "sha512"), ("sha224", "sha224")),
    ],
)
def test_oaep_is_accepted(pair, oaep):
    """RSAES-OAEP with SHA-1 or SHA-2 parameters opens like PKCS#1 v1.5."""
    content = forge.envelope(forge.csr(), oaep=oaep)
    assert isinstance(pair.answer_to(forge.request(content=content)), Success)


@pytest.mark.rfc("P-23")
@pytest.mark.parametrize("parameters", [b"", NULL, seq()])
def test_oaep_defaults_are_sha1(parameters):
    """Absent, NULL or empty OAEP parameters stand for SHA-1 and MGF1 with SHA-1."""
    content = forge.envelope(b"x", oaep=("sha1", "sha1"), oaep_parameters=parameters)
    assert opens(content) == b"x"


@pytest.mark.rfc("P-23")
def test_oaep_parameters_may_be_given_by_halves():
    """Either OAEP parameter may be left at its default."""
    sha256 = forge.algorithm(forge.DIGESTS["sha256"][0])
    no_mask = seq(tlv(0xA0, sha256))
    assert opens(forge.envelope(b"x", oaep=("sha256", "sha1"), oaep_parameters=no_mask)) == b"x"
    only_mask = seq(tlv(0xA1, forge.algorithm(forge.MGF1, sha256)))
    assert opens(forge.envelope(b"x", oaep=("sha1", "sha256"), oaep_parameters=only_mask)) == b"x"


def only_hash(digest: str) -> bytes:
    """Return OAEP parameters as Go's libraries write them: a digest without parameters, no mask."""
    return seq(tlv(0xA0, forge.algorithm(forge.DIGESTS[digest][0], b"")))


GO = ("sha256", "sha256")
RFC = ("sha256", "sha1")


@pytest.mark.rfc("P-23")
@pytest.mark.parametrize("digest", forge.SHA2)
def test_oaep_without_a_mask_is_read_in_both_ways(pair, digest):
    """A digest without maskGenAlgorithm is MGF1 with SHA-1 by the RFC, with that digest in Go."""
    for mask in ("sha1", digest):
        how = {"oaep": (digest, mask), "oaep_parameters": only_hash(digest)}
        content = forge.envelope(forge.csr(), **how)
        assert isinstance(pair.answer_to(forge.request(content=content)), Success)
        reply = forge.envelope(signed.certs_only([keys.ca().der]), keys.device(), **how)
        verified = pkimessage.verify(
            pkimessage.parse(forge.reply(reply, pki_status="0")), NO_LEGACY
        )
        credential = keys.device().credential
        read = pkimessage.open_reply(verified, [credential], NO_LEGACY, bytes)
        assert read == Success((keys.ca().der,))


@pytest.mark.rfc("P-23", "P-54")
@pytest.mark.parametrize(
    ("oaep", "parameters"),
    [
        (("sha256", "sha512"), only_hash("sha256")),
        (("sha512", "sha512"), only_hash("sha256")),
        (("sha1", "sha256"), seq()),
        (("sha1", "sha256"), only_hash("sha1")),
        (
            GO,
            seq(
                tlv(0xA0, forge.algorithm(forge.DIGESTS["sha256"][0])),
                tlv(0xA1, forge.algorithm(forge.MGF1, forge.algorithm(forge.DIGESTS["sha1"][0]))),
            ),
        ),
    ],
)
def test_no_other_oaep_is_read_in_two_ways(pair, oaep, parameters):
    """What names its mask, or no digest, or SHA-1, means one thing; all else is unreadable."""
    content = forge.envelope(forge.csr(), oaep=oaep, oaep_parameters=parameters)
    assert pair.answer_to(forge.request(content=content)) == UNREADABLE


class Counting:
    """An RSA key that counts how often it decrypts."""

    def __init__(self) -> None:
        self.key, self.calls = keys.ra().key, []
        self.key_size = self.key.key_size

    def decrypt(self, encrypted, scheme):
        self.calls.append(scheme)
        return self.key.decrypt(encrypted, scheme)


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("oaep", [RFC, GO, ("sha512", "sha512")], ids=["rfc", "go", "neither"])
@pytest.mark.parametrize("size", [0, 1, 16, 24, 32, 126])
def test_both_ways_are_always_tried(oaep, size):
    """The key decrypts twice, whichever way is right, if any is; a failure is no octets at all."""
    cek = bytes(range(size))
    der = forge.recipient_info(keys.ra(), cek, oaep=oaep, oaep_parameters=only_hash("sha256"))
    transport, _ = find_recipient(der, [keys.ra().credential], None, NO_LEGACY)
    key = Counting()
    assert replace(transport, key=key).unwrap() == (b"" if oaep[0] == "sha512" else cek)
    assert key.calls == list(transport.schemes)
    assert len(key.calls) == 2


@pytest.mark.rfc("P-23", "P-73")
@pytest.mark.parametrize(
    "parameters",
    [
        seq(tlv(0xA0, forge.algorithm(forge.DIGESTS["md5"][0]))),
        seq(tlv(0xA0, forge.algorithm("1.2.3"))),
        seq(tlv(0xA1, forge.algorithm("1.2.3"))),
        seq(tlv(0xA1, forge.algorithm(forge.MGF1, NULL))),
    ],
)
def test_unknown_oaep_parameters_are_bad_alg(parameters):
    """OAEP with a hash or mask function that is not supported is badAlg."""
    with pytest.raises(BadAlg):
        opens(forge.envelope(b"x", oaep=("sha1", "sha1"), oaep_parameters=parameters))


@pytest.mark.rfc("P-23")
def test_pkcs1_v15_is_emitted(pair):
    """Both ends emit RSAES-PKCS1-v1_5, for reach."""
    pair.enrol()
    for message in (pair.trips[0].request, pair.replies[0]):
        recipient = forge.body_of(forge.content_of(message))[1][0]
        assert recipient[2].der() == forge.algorithm(forge.RSA_ENCRYPTION)


@pytest.mark.rfc("P-24")
@pytest.mark.parametrize("digest", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cipher", ["des", "des3", "aes128", "aes192", "aes256"])
def test_the_reply_mirrors_the_requests_algorithms(digest, cipher):
    """The reply uses the request's digest and content encryption, within policy."""
    pair = Pair(allowed=EVERY)
    reply = pair.ask(forge.request(digest=digest, cipher=cipher)).body
    assert isinstance(pair.read_reply(reply), Success)
    assert algorithms_of(reply) == (forge.DIGESTS[digest][0], forge.CIPHERS[cipher][0])


def explicit(digest: str, mask: str) -> bytes:
    """Return OAEP parameters in DER, where SHA-1 is left out as the default."""
    parts = []
    if digest != "sha1":
        parts.append(tlv(0xA0, forge.algorithm(forge.DIGESTS[digest][0])))
    if mask != "sha1":
        of_mask = forge.algorithm(forge.DIGESTS[mask][0])
        parts.append(tlv(0xA1, forge.algorithm(forge.MGF1, of_mask)))
    return seq(*parts)


def wrapped(pair, device, **how):
    """Return the algorithm that wraps the key of a reply, and the key as it is encrypted."""
    content = forge.envelope(forge.csr(device.key), **how)
    reply = pair.ask(forge.request(content=content, signer=device)).body
    info = forge.body_of(forge.content_of(reply))[1][0]
    return info[2].der(), info[3].content


@pytest.mark.rfc("P-23", "P-24")
@pytest.mark.parametrize(
    ("oaep", "parameters", "mirrored"),
    [
        (("sha1", "sha1"), None, ("sha1", "sha1")),
        (("sha1", "sha1"), b"", ("sha1", "sha1")),
        (("sha256", "sha256"), None, ("sha256", "sha256")),
        (("sha1", "sha256"), None, ("sha1", "sha256")),
        (("sha512", "sha1"), None, ("sha512", "sha1")),
        (("sha256", "sha256"), only_hash("sha256"), ("sha256", "sha256")),
        (("sha256", "sha1"), only_hash("sha256"), ("sha256", "sha256")),
    ],
)
def test_the_reply_is_wrapped_as_the_request_was(pair, oaep, parameters, mirrored):
    """Who uses RSAES-OAEP gets it, with the same digests; without a mask, as both ways read it."""
    device = keys.device()
    algorithm, encrypted = wrapped(pair, device, oaep=oaep, oaep_parameters=parameters)
    assert algorithm == forge.algorithm(forge.RSAES_OAEP, explicit(*mirrored))
    hash_, mask = (forge.DIGESTS[one][1]() for one in mirrored)
    scheme = padding.OAEP(padding.MGF1(mask), hash_, None)
    assert len(device.key.decrypt(encrypted, scheme)) == 16


@pytest.mark.rfc("P-23")
def test_what_is_for_others_is_not_mirrored(pair):
    """Of several RecipientInfos ours says what the sender can do."""
    cek = bytes(16)
    other = forge.recipient_info(keys.certify("other", keys.rsa_key("other")), cek, oaep=GO)
    ours = forge.recipient_info(keys.ra(), cek)
    algorithm, _ = wrapped(pair, keys.device(), cek=cek, recipients=[other, ours])
    assert algorithm == forge.algorithm(forge.RSA_ENCRYPTION)


@pytest.mark.rfc("P-24")
def test_an_algorithm_that_is_not_allowed_is_not_mirrored(pair):
    """A refusal of weak algorithms is itself signed with SHA-256."""
    reply = pair.ask(forge.request(digest="md5")).body
    assert forge.oid(forge.DIGESTS["sha256"][0]) == forge.signer_of(reply)[2][0].der()


@pytest.mark.rfc("P-24")
def test_an_unknown_digest_is_not_mirrored(pair):
    """A request in a digest nobody knows is refused in SHA-256."""
    message = forge.request()
    known, unknown = (oid(f"2.16.840.1.101.3.4.2.{last}") for last in (1, 99))
    reply = pair.ask(message.replace(known, unknown)).body
    assert pair.read_reply(reply) == Failure(
        0, "digest algorithm 2.16.840.1.101.3.4.2.99 is not supported"
    )


def algorithms_of(reply):
    envelope_ = forge.body_of(forge.content_of(reply))
    return tuple(
        next(name for name, *_ in table if oid(name) == found)
        for table, found in (
            (forge.DIGESTS.values(), forge.signer_of(reply)[2][0].der()),
            (forge.CIPHERS.values(), envelope_[2][1][0].der()),
        )
    )


# --- no oracle ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers():
    """Return what the server says to any envelope: failInfo and text, as a device sees them."""
    pair = Pair()

    def ask(content):
        answer = pair.answer_to(forge.request(content=content))
        assert isinstance(answer, Failure), "the envelope opened"
        return answer.fail_info, answer.text

    return ask


BROKEN = (UNREADABLE.fail_info, UNREADABLE.text)


@pytest.mark.rfc("P-54", "P-75")
@pytest.mark.parametrize("cipher", ["aes128", "aes256"])
def test_ciphertext_damaged_anywhere_gives_one_answer(answers, cipher):
    """Wherever the ciphertext is damaged, failInfo and text are the same."""
    cek, iv = b"k" * forge.CIPHERS[cipher][1], b"i" * 16
    encrypted = forge.encrypt(forge.csr(), cipher, cek, iv)
    for position in range(0, len(encrypted), 5):
        damaged = bytearray(encrypted)
        damaged[position] ^= 0x81
        content = forge.envelope(b"", cipher=cipher, cek=cek, iv=iv, encrypted=bytes(damaged))
        assert answers(content) == BROKEN, position


@pytest.mark.rfc("P-54")
def test_every_octet_of_the_opened_request_gives_one_answer():
    """Whichever octet of the PKCS#10 is not what was signed: one answer, whatever the octet is.

    This is what an attacker who cuts and pastes CBC blocks of somebody's request can cause; keys,
    exponents and algorithm identifiers that come out of it must not be commented on.
    """
    request = forge.csr()
    info = parse(request)[0].der()
    others = set()
    for position in range(len(request)):
        for mask in (0x01, 0x80, 0xFF):
            damaged = bytearray(request)
            damaged[position] ^= mask
            try:
                # Only what is not signed can change without notice: the BIT STRING's unused bits.
                assert csr.read(bytes(damaged), NO_LEGACY).info == info
            except Malformed:
                continue
            except ScepError as error:
                others.add((position, mask, error.message))
    assert not others


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("size", [0, 1, 15, 17, 31])
def test_ciphertext_of_impossible_length_gives_the_same_answer(answers, size):
    """Ciphertext that is no whole number of blocks is answered like any other damage."""
    assert answers(forge.envelope(b"", encrypted=b"x" * size)) == BROKEN


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize("size", [0, 1, 8, 15, 17, 24, 32, 200])
def test_a_content_key_of_the_wrong_length_gives_the_same_answer(answers, size):
    """A content-encryption key of another length is replaced by a random one."""
    key = b"k" * size
    recipient = forge.recipient_info(keys.ra(), key)
    encrypted = forge.encrypt(forge.csr(), "aes128", b"k" * 16, b"i" * 16)
    content = forge.envelope(
        b"", cek=key, iv=b"i" * 16, recipients=[recipient], encrypted=encrypted
    )
    assert answers(content) == BROKEN


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize(
    "key", [b"", b"\x00", b"\x00" * 256, b"\xff" * 256, b"\x01" * 255, b"\x01" * 257, b"x" * 4096]
)
@pytest.mark.parametrize(
    "transport",
    [
        forge.algorithm(forge.RSA_ENCRYPTION, b""),
        forge.algorithm(forge.RSAES_OAEP, b""),
        forge.algorithm(forge.RSAES_OAEP, only_hash("sha256")),
    ],
    ids=["PKCS#1 v1.5", "OAEP", "OAEP in two ways"],
)
def test_a_damaged_key_transport_gives_the_same_answer(answers, key, transport):
    """Wrong key-transport padding is answered like any other damage."""
    recipient = seq(integer(0), forge.rid(keys.ra()), transport, octets(key))
    encrypted = forge.encrypt(forge.csr(), "aes128", b"k" * 16, b"i" * 16)
    content = forge.envelope(b"", iv=b"i" * 16, recipients=[recipient], encrypted=encrypted)
    assert answers(content) == BROKEN


@pytest.mark.rfc("P-54", "P-56")
@pytest.mark.parametrize(
    "inside",
    [
        *(b"", b"rubbish", b"\x30\x80", seq(), keys.device().der, b"\x30" * 40, b"\x00" * 4096),
        forge.csr(signature=b"wrong"),
        forge.csr(keys.rsa_key("other"), signature_algorithm=forge.algorithm("1.2.3.4")),
        forge.csr(spki=seq(forge.algorithm("1.2.3.4"), forge.bits(b"key"))),
        forge.csr(spki=forge.rsa_spki((1 << 2047) | 1, 1)),
        forge.csr(spki=forge.rsa_spki((1 << 2047) | 1, 2**64 + 1)),
        forge.csr(spki=forge.rsa_spki((1 << 16383) | 1, 65537)),
        forge.csr(spki=forge.rsa_spki((1 << 511) | 1, 65537)),
        forge.csr(spki=forge.rsa_spki(-5, 65537)),
        forge.csr(keys.ec_key(), signature_algorithm=forge.algorithm("1.2.840.113549.1.1.11")),
        parse(forge.csr())[0].der(),
    ],
)
def test_whatever_is_inside_gives_the_same_answer(answers, inside):
    """Content that is no PKCS#10, or one whose own signature cannot hold, is one answer."""
    assert answers(forge.envelope(inside)) == BROKEN


@pytest.mark.rfc("P-54")
def test_the_operator_learns_more_than_the_peer():
    """The log has the reason, the peer has the constant text."""
    verified = pkimessage.verify(pkimessage.parse(forge.request(b"rubbish")), NO_LEGACY)
    with pytest.raises(pkimessage.BadRequest) as caught:
        pkimessage.open_request(verified, [keys.ra().credential], NO_LEGACY, bytes)
    assert caught.value.text == UNREADABLE.text
    assert len(caught.value.message) > len(caught.value.text)


@pytest.mark.rfc("P-54")
def test_a_substitute_key_is_drawn_whether_it_is_needed_or_not():
    """Good and bad key transport take the same path: the random key is always made."""
    for recipient in (
        forge.recipient_info(keys.ra(), b"k" * 16),
        forge.recipient_info(keys.ra(), b"k" * 16, oaep=GO, oaep_parameters=only_hash("sha256")),
        seq(integer(0), forge.rid(keys.ra()), forge.algorithm(forge.RSA_ENCRYPTION), octets(b"x")),
    ):
        drawn = []
        content = forge.envelope(b"x", cek=b"k" * 16, recipients=[recipient])
        with contextlib.suppress(pkimessage.BadRequest):
            Envelope(content).open(
                [keys.ra().credential],
                NO_LEGACY,
                lambda size, drawn=drawn: drawn.append(size) or bytes(size),
            )
        assert drawn == [16]


@pytest.mark.rfc("S-3.2.2-1", "P-03")
def test_the_inner_content_type_is_not_insisted_on():
    """encryptedContentInfo.contentType other than id-data is read all the same."""
    assert opens(forge.envelope(b"x", content_type=forge.SIGNED_DATA)) == b"x"


@pytest.mark.rfc("P-70", "P-75")
@pytest.mark.parametrize(
    "iv", [b"", octets(b""), octets(b"x" * 15), octets(b"x" * 17), NULL, integer(1)]
)
def test_a_strange_iv_is_answered_bad_request(pair, iv):
    """An envelope without a fitting IV is no pkcsPKIEnvelope."""
    content = forge.envelope(b"", iv_field=iv)
    answer = pair.answer_to(forge.request(content=content))
    assert answer.fail_info == 2
    assert answer.text.startswith("the content is not a pkcsPKIEnvelope")


# --- the PKCS#10 ----------------------------------------------------------------------------------


@pytest.mark.rfc("P-21", "P-31")
@pytest.mark.parametrize("order", [1, -1])
def test_attributes_out_of_order_are_read(order):
    """strongSwan's attribute SET is out of DER order; the signature is over the bytes as sent."""
    attributes = [forge.challenge(), forge.attribute("1.2.3", forge.printable("x"))]
    request = forge.csr(attributes=sorted(attributes)[::order])
    assert csr.read(request, NO_LEGACY).challenge_password == "secret"


@pytest.mark.rfc("P-34")
def test_attributes_may_be_missing():
    """A PKCS#10 without the attributes field is read as one without attributes."""
    key = keys.rsa_key()
    info = seq(integer(0), keys.name("x").public_bytes(), keys.spki(key))
    read = csr.read(forge.sign_csr(info, key), NO_LEGACY)
    assert read.challenge_password is None
    assert list(read.extensions) == []


@pytest.mark.rfc("P-34")
@pytest.mark.parametrize("version", [0, 1, 2, -1])
def test_the_version_of_a_pkcs10_is_not_insisted_on(version):
    """Whatever version a PKCS#10 says, its signature is what counts."""
    assert csr.read(forge.csr(version=version), NO_LEGACY).challenge_password == "secret"


@pytest.mark.rfc("P-75")
@pytest.mark.parametrize("bits", [1024, 1536])
def test_a_small_key_is_refused_with_the_reason(pair, bits):
    """A device with too small a key learns so: its own signature shows that these are its words."""
    key = keys.rsa_key("small", bits)
    message = forge.request(forge.csr(key), signer=keys.certify("small", key))
    assert pair.answer_to(message) == Failure(
        2, f"RSA key of {bits} bits; 2048 to 8192 are accepted"
    )
    assert pair.server.asked == []


@pytest.mark.rfc("P-40", "P-75")
@pytest.mark.parametrize(
    ("spki", "said"),
    [
        (keys.spki(keys.rsa_key("small", 1024)), "RSA key of 1024 bits; 2048 to 8192 are accepted"),
        (forge.rsa_spki((1 << 8192) | 1, 3), "RSA key of 8193 bits; 2048 to 8192 are accepted"),
        (forge.rsa_spki((1 << 16383) | 1, 3), "RSA key of 16384 bits; 2048 to 8192 are accepted"),
        (forge.rsa_spki((1 << 2047) | 1, 1), "RSA public exponent not accepted"),
        (forge.rsa_spki((1 << 2047) | 1, 0), "RSA public exponent not accepted"),
        (forge.rsa_spki((1 << 2047) | 1, -3), "RSA public exponent not accepted"),
        (forge.rsa_spki((1 << 2047) | 1, 65536), "RSA public exponent not accepted"),
        (forge.rsa_spki((1 << 2047) | 1, 2**32 + 1), "RSA public exponent not accepted"),
        (forge.rsa_spki((1 << 2047) | 1, 2**2000 + 1), "RSA public exponent not accepted"),
        (forge.rsa_spki(-(1 << 2047), 3), "RSA modulus is negative"),
    ],
)
def test_a_signers_key_is_bounded_before_it_is_used(pair, spki, said, monkeypatch):
    """Moduli and exponents are bounded before OpenSSL sees them."""
    signer = forge.Odd(keys.rsa_key(), forge.certificate(keys.rsa_key(), spki=spki))
    assert unloaded(pair, signer, monkeypatch) == Failure(2, said)


@pytest.mark.rfc("P-40", "P-73")
@pytest.mark.parametrize("bits", [512, 16384])
@pytest.mark.parametrize(
    ("dotted", "said"),
    [
        ("1.2.840.113549.1.1.10", Failure(2, "RSA key of {} bits; 2048 to 8192 are accepted")),
        *(
            (one, Failure(0, "key type not supported"))
            for one in ("1.2.840.113549.1.1.7", "2.5.8.1.1", "1.2.3.4")
        ),
    ],
)
def test_no_other_name_of_an_rsa_key_gets_round_the_bounds(pair, dotted, said, bits, monkeypatch):
    """RSAES-OAEP keys and the like are not supported, and none is loaded without bounds."""
    spki = forge.rsa_spki((1 << bits - 1) | 1, 3, dotted, b"")
    signer = forge.Odd(keys.rsa_key(), forge.certificate(keys.rsa_key(), spki=spki))
    expected = replace(said, text=said.text.format(bits))
    assert unloaded(pair, signer, monkeypatch) == expected


def unloaded(pair, signer, monkeypatch):
    """Return the answer to a signer whose key must not even be loaded."""
    message = forge.request(signer=signer)
    with monkeypatch.context() as patch:
        patch.setattr(public_keys, "load_der_public_key", None)
        reply = pair.ask(message).body
    return pair.read_reply(reply)
