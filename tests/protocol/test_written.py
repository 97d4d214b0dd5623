"""What is put together from prepared pieces is what the grammar, written out, gives."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count, pairwise

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

import der
import forge
import keys
from scepkit.errors import FailInfo
from scepkit.protocol.algorithms import AES128, AES192, AES256, DES, DES3, DIGESTS
from scepkit.protocol.cms import signed
from scepkit.protocol.cms.key_transport import OAEP_SHA256
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import Attributes, MessageType, TransactionID
from scepkit.protocol.scep.messages import Failure, GetCert, Pending, Success

RSA, DEVICE = keys.ra(), keys.device()
SIGNERS = [RSA, keys.certify("p256", keys.ec_key()), keys.certify("ed25519", keys.ed25519_key())]
CIPHERS = {"aes128": AES128, "aes192": AES192, "aes256": AES256, "des3": DES3, "des": DES}
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)

nonces = st.binary(min_size=1, max_size=64)
names = st.builds(
    TransactionID, st.binary(min_size=1, max_size=255), st.sampled_from([0x0C, 0x13, 0x16])
)
# From 1950 to 2090, across the end of UTCTime.
times = st.none() | st.integers(-631_152_000, 3_786_912_000).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)
# Lengths of one to three octets.
blobs = st.sampled_from([0, 1, 100, 127, 128, 250, 255, 256, 700, 65_000, 65_536]).map(
    lambda size: der.octets(bytes(size))
)
replies = st.one_of(
    st.just(Pending()),
    st.builds(Failure, st.sampled_from(FailInfo), st.text(max_size=200)),
    st.builds(Success, st.lists(blobs, max_size=3).map(tuple), st.lists(blobs, max_size=1)),
)


@given(st.binary(min_size=1, max_size=255) | st.text("a1-:\\\x7f ", min_size=1).map(str.encode))
def test_a_transaction_id_is_shown_in_printable_ascii(octets):
    shown = str(TransactionID(octets))
    assert shown == octets.decode("latin-1").encode("unicode_escape").decode("ascii")
    assert shown.isascii()
    assert shown.isprintable()


def known():
    """Return a source of octets that are the same in every message."""
    numbers = count(1)
    return lambda size: bytes([next(numbers)]) * size


def written_out(
    ours: bytes, attributes: list[bytes], signer: keys.Holder, digest: str, content: bytes
) -> bytes:
    """Return the message by its grammar, with the signature of ours, which may be random."""
    if signer is SIGNERS[2]:
        digest, null = "sha512", b""
    else:
        null = der.NULL
    chosen = der.algorithm(forge.DIGESTS[digest][0], null)
    every = [
        forge.attribute(forge.CONTENT_TYPE, der.oid(forge.DATA)),
        forge.attribute(forge.MESSAGE_DIGEST, der.octets(forge.digest_of(digest, content))),
        *attributes,
    ]
    info = der.seq(
        der.integer(1),
        der.seq(signer.certificate.issuer, signer.certificate.serial_number),
        chosen,
        der.tlv(0xA0, *sorted(every)),
        forge.signature_algorithm_of(signer.key, digest),
        der.octets(forge.signer_of(ours)[5].content),
    )
    return der.seq(
        der.oid(forge.SIGNED_DATA),
        der.tlv(
            0xA0,
            der.seq(
                der.integer(1),
                der.set_(chosen),
                der.seq(der.oid(forge.DATA), der.tlv(0xA0, der.octets(content))),
                der.tlv(0xA0, signer.der),
                der.set_(info),
            ),
        ),
    )


def envelope(ours: bytes, inside: bytes, cipher: str, recipient: keys.Holder, *, oaep: bool):
    """Return the envelope by its grammar, with the encrypted key of ours, which is random."""
    _, key_size, block, _ = forge.CIPHERS[cipher]
    random = known()
    cek, iv = random(key_size), random(block)
    info = forge.body_of(ours)[1][0]
    assert recipient.key.decrypt(info[3].content, OAEP if oaep else padding.PKCS1v15()) == cek
    how = {"oaep": ("sha256", "sha256")} if oaep else {}
    lock = der.parse(forge.recipient_info(recipient, cek, **how))
    lock.children[3] = info[3]
    return forge.envelope(inside, recipients=[lock.der()], cipher=cipher, cek=cek, iv=iv)


def checked(ours: bytes, signer: keys.Holder) -> bytes:
    """Make sure that the signature holds and the attributes are in order; return the content."""
    pkimessage.verify(pkimessage.parse(ours), frozenset(), signers=[signer.certificate])
    attributes = [one.der() for one in forge.signer_of(ours)[3].children]
    assert all(one < after for one, after in pairwise(attributes))
    return forge.content_of(ours)


@given(
    replies,
    names,
    st.none() | nonces,
    times,
    st.sampled_from(SIGNERS),
    st.sampled_from(forge.SHA2),
    st.sampled_from(list(CIPHERS)),
    st.booleans(),
)
def test_a_reply(reply, name, nonce, time, signer, digest, cipher, oaep):
    (chosen,) = (one for one in DIGESTS.values() if one.name == digest)
    ours = pkimessage.seal_reply(
        reply,
        to=Attributes(name, 19, nonce),
        sender_nonce=forge.NONCE,
        signer=signed.Signer(signer.credential, chosen),
        recipient=DEVICE.certificate,
        cipher=CIPHERS[cipher],
        random=known(),
        oaep=OAEP_SHA256 if oaep else None,
        signing_time=time,
    )
    content = checked(ours, signer)
    scep = {
        "message_type": "3",
        "transaction_id": der.tlv(name.tag, name.value),
        "sender_nonce": forge.NONCE,
        "recipient_nonce": nonce,
        "pki_status": str(int(reply.pki_status)),
    }
    match reply:
        case Success(certificates, crls):
            inside = forge.signed_data(None, (), certificates, crls)
            assert content == envelope(content, inside, cipher, DEVICE, oaep=oaep)
        case Failure(fail_info, text):
            scep |= {"fail_info": str(int(fail_info))}
            scep |= {"fail_info_text": der.utf8(text)} if text else {}
    if not isinstance(reply, Success):
        assert content == b""
    attributes = forge.scep_attributes(**scep)
    if time is not None:
        form = "%y%m%d%H%M%SZ" if time.year < 2050 else "%Y%m%d%H%M%SZ"
        value = der.tlv(0x17 if time.year < 2050 else 0x18, time.strftime(form).encode())
        attributes.append(forge.attribute(forge.SIGNING_TIME, value))
    assert ours == written_out(ours, attributes, signer, digest, content)


@pytest.mark.parametrize("cipher", CIPHERS)
@given(names, nonces, st.integers(0, 2**160))
def test_a_request(cipher, name, nonce, serial):
    issuer = keys.name("CA").public_bytes()
    (sha256,) = (one for one in DIGESTS.values() if one.name == "sha256")
    ours = pkimessage.seal_request(
        GetCert(issuer, serial),
        transaction_id=name,
        sender_nonce=nonce,
        signer=DEVICE.credential,
        recipient=RSA.certificate,
        digest=sha256,
        cipher=CIPHERS[cipher],
        random=known(),
    )
    content = checked(ours, DEVICE)
    inside = der.seq(issuer, der.integer(serial))
    assert content == envelope(content, inside, cipher, RSA, oaep=False)
    attributes = forge.scep_attributes(
        message_type=str(int(MessageType.GET_CERT)),
        transaction_id=der.tlv(name.tag, name.value),
        sender_nonce=nonce,
    )
    assert ours == written_out(ours, attributes, DEVICE, "sha256", content)
