"""RFC 8894 section 3.1: whom the content key is locked for: RSA keys, passwords, EC keys."""

from __future__ import annotations

import contextlib
import itertools
import os
from functools import cache

import pytest

import der
import forge
import keys
import recipients
from der import NULL, algorithm, integer, octets, oid, seq, tlv
from pair import Pair, grant
from scepkit.errors import BadAlg, BadRequest, Malformed
from scepkit.protocol import csr
from scepkit.protocol.algorithms import (
    AES128,
    AES192,
    AES256,
    DES,
    DES3,
    DES3_WRAP,
    NO_LEGACY,
    SHA256,
    Legacy,
)
from scepkit.protocol.cms import enveloped, key_agreement, pbkdf2
from scepkit.protocol.cms import recipients as _recipients
from scepkit.protocol.cms.enveloped import Envelope
from scepkit.protocol.cms.key_transport import OAEP_SHA256
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import CertPoll, Failure, Pending, PKCSReq, Success

EVERY = frozenset(Legacy)
CIPHERS = {"aes128": AES128, "aes192": AES192, "aes256": AES256, "des3": DES3, "des": DES}
CURVES = ("p256", "p384", "p521")
UNREADABLE = enveloped.undecryptable("")
SECRET = "pässword"
KEK_AES128 = algorithm(forge.CIPHERS["aes128"][0], octets(b"v" * 16))


def holder(kind: str = "p256", which: str = "device") -> keys.Holder:
    return _holder(kind, which)


@cache
def _holder(kind: str, which: str) -> keys.Holder:
    return keys.certify(which, keys.key_of(kind, which), key_identifier=True)


def random(size: int) -> bytes:
    return bytes(range(size))


def seal(recipient, cipher=AES128, **options):
    return enveloped.seal(b"content", recipient.certificate, cipher, random, **options)


def opens(message, who=None, *, password=None, allowed=NO_LEGACY):
    credentials = [who.credential] if who else []
    return Envelope(message).open(credentials, allowed, random, password=password).content


def locked(lock, cipher="aes128", cek=b"k" * 16, **knobs):
    knobs = {"recipients": [lock], "iv": b"i" * 16} | knobs
    return forge.envelope(b"content", cipher=cipher, cek=cek, **knobs)


def recipient_of(message):
    """Return the one RecipientInfo of an envelope, as a tree."""
    (recipient,) = forge.body_of(message)[1].children
    return recipient


# --- which way ------------------------------------------------------------------------------------


@pytest.mark.rfc("S-3.1-2", "S-3.1-3", "P-03", "P-25")
@pytest.mark.parametrize(
    ("kind", "options", "tag", "version"),
    [
        ("rsa", {}, 0x30, 0),
        ("rsa", {"password": SECRET, "key_agreement": True}, 0x30, 0),
        ("p256", {"password": SECRET}, 0xA3, 3),
        ("p256", {"password": SECRET, "key_agreement": True}, 0xA3, 3),
        ("ed25519", {"password": SECRET, "key_agreement": True}, 0xA3, 3),
        ("p256", {"key_agreement": True}, 0xA1, 2),
    ],
)
def test_a_key_that_can_encrypt_does_and_one_that_cannot_leaves_it_to_the_password(
    kind, options, tag, version
):
    """RSA gets KeyTransRecipientInfo; EC and Ed25519 get PasswordRecipientInfo."""
    message = seal(holder(kind), **options)
    assert forge.body_of(message)[0].der() == integer(version)
    assert recipient_of(message).tag == tag


@pytest.mark.rfc("S-3.1-5", "P-51")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("p256", {}),
        ("p256", {"password": ""}),
        ("ed25519", {}),
        ("ed25519", {"key_agreement": True}),
    ],
)
def test_without_a_way_to_encrypt_nothing_is_written(kind, options):
    """The encryption layer is never skipped: without any way there is no message at all."""
    with pytest.raises(BadAlg, match="only RSA keys") as caught:
        seal(holder(kind), **options)
    assert "challengePassword" in caught.value.hint


@pytest.mark.rfc("P-51", "L-24")
def test_single_des_does_not_go_with_key_agreement():
    """There is no key wrap for single DES: that is known before anything is issued."""
    with pytest.raises(BadAlg, match="des-cbc does not go with key agreement"):
        seal(holder(), DES, key_agreement=True)
    assert opens(seal(holder(), DES, password="x"), password="x", allowed=EVERY) == b"content"


@pytest.mark.rfc("P-23")
def test_oaep_is_emitted_on_request(openssl):
    """RSAES-OAEP with SHA-256 can be had from the library."""
    message = seal(keys.ra(), oaep=OAEP_SHA256)
    assert recipient_of(message)[2][0].der() == oid(forge.RSAES_OAEP)
    assert openssl.decrypt(message, keys.ra()) == b"content"
    assert opens(message, keys.ra()) == b"content"


# --- the judge: openssl cms -----------------------------------------------------------------------


@pytest.mark.rfc("P-25", "S-3.1-3")
@pytest.mark.parametrize("cipher", CIPHERS)
def test_openssl_and_we_open_each_others_password_envelopes(cipher, openssl):
    """PBKDF2, PWRI-KEK and the password's UTF-8 are those of `openssl cms`, both directions."""
    ours = seal(holder(), CIPHERS[cipher], password=SECRET)
    assert openssl.decrypt_with_password(ours, SECRET) == b"content"
    theirs = openssl.encrypt_with_password(b"content", cipher, SECRET)
    assert opens(theirs, password=SECRET, allowed=EVERY) == b"content"


@pytest.mark.rfc("L-24", "P-03")
@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("cipher", [name for name in CIPHERS if name != "des"])
def test_openssl_and_we_open_each_others_key_agreement(curve, cipher, openssl):
    """Ephemeral ECDH to a P-256, P-384 or P-521 key is that of `openssl cms`, both directions."""
    device = holder(curve)
    ours = seal(device, CIPHERS[cipher], key_agreement=True)
    assert openssl.decrypt(ours, device) == b"content"
    theirs = openssl.encrypt(b"content", cipher, device)
    assert opens(theirs, device, allowed=EVERY) == b"content"


@pytest.mark.rfc("L-24")
@pytest.mark.parametrize(
    "option",
    [
        ["-keyid"],
        *(["-keyopt", f"ecdh_kdf_md:{md}"] for md in ("sha1", "sha224", "sha384", "sha512")),
        ["-keyopt", "ecdh_cofactor_mode:1"],
    ],
    ids=" ".join,
)
def test_what_openssl_can_vary_in_key_agreement_is_read(option, openssl):
    """Names by key identifier, every key derivation, cofactor Diffie-Hellman."""
    device = holder()
    if option == ["-keyid"]:
        (identifier,) = (
            extension.value.digest
            for extension in device.x509.extensions
            if extension.oid.dotted_string == "2.5.29.14"
        )
        name = tlv(0xA0, octets(identifier))
        message = locked(recipients.agreement_info(device, b"k" * 16, named=name))
    else:
        message = openssl.encrypt(b"content", "aes128", device, *option)
    assert opens(message, device) == b"content"


# --- passwords ------------------------------------------------------------------------------------


@pytest.mark.rfc("P-25")
def test_what_a_password_envelope_looks_like():
    """PBKDF2 with 16 octets of salt and HMAC-SHA256; PWRI-KEK with the content's cipher."""
    lock = recipient_of(seal(holder(), AES256, password=SECRET))
    assert lock[0].der() == integer(0)
    derivation, parameters = lock[1][0], lock[1][1]
    assert (lock[1].tag, derivation.der()) == (0xA0, oid(recipients.PBKDF2))
    assert len(parameters[0].content) == 16
    assert int.from_bytes(parameters[1].content) == 10_000
    assert parameters[2].der() == algorithm(recipients.PRFS["sha256"])
    assert lock[2][0].der() == oid(recipients.PWRI_KEK)
    assert lock[2][1][0].der() == oid(forge.CIPHERS["aes256"][0])


@pytest.mark.rfc("P-25")
@pytest.mark.parametrize(
    "knobs",
    [
        *({"prf": name} for name in [*recipients.PRFS, None]),
        *({"iterations": number} for number in (1, 2048, 10_000)),
        *({"salt": salt} for salt in (b"", b"8 octets", b"s" * 200)),
        *({"cipher": name} for name in ("aes192", "aes256")),
        {"key_length": 16},
    ],
    ids=str,
)
def test_what_may_vary_in_a_password_envelope(knobs):
    """Every PRF, HMAC-SHA1 by default, any sensible count, a keyLength that fits."""
    assert opens(locked(recipients.password_info(b"k" * 16, **knobs)), password="secret")


@pytest.mark.rfc("P-25", "P-73")
@pytest.mark.parametrize("count", [0, -1, 1_000_001, 2**31, 2**200])
def test_the_iteration_count_is_bounded_before_any_work(count, monkeypatch):
    """A count below 1 or above a million is badAlg for a client too, and nothing is derived."""
    monkeypatch.setattr(pbkdf2, "PBKDF2HMAC", None)
    lock = recipients.password_info(b"", iterations=count, encrypted=b"x" * 32)
    with pytest.raises(BadAlg, match="1 to 1000000 iterations"):
        opens(locked(lock), password="secret")


@pytest.mark.rfc("P-25", "P-73")
@pytest.mark.parametrize(
    "knobs",
    [
        {"derivation": b""},
        {"derivation": tlv(0xA0, oid("1.2.3"), NULL)},
        {"derivation": tlv(0xA0, oid(recipients.PBKDF2))},
        {"wrap": algorithm("1.2.3", KEK_AES128)},
        {"wrap": algorithm(recipients.PWRI_KEK)},
        {"wrap": algorithm(recipients.PWRI_KEK, algorithm("1.2.3", octets(b"v" * 16)))},
        {"key_length": 32},
        {
            "derivation": tlv(
                0xA0,
                oid(recipients.PBKDF2),
                seq(octets(b"salt"), integer(1), algorithm("1.2.840.113549.2.6")),
            )
        },
    ],
    ids=range(8),
)
def test_an_unknown_way_to_use_a_password_is_bad_alg(knobs):
    """Another key derivation, PRF, keyLength or key wrap is badAlg, whatever the password."""
    lock = recipients.password_info(b"k" * 16, **knobs)
    for password in ("secret", "another"):
        with pytest.raises(BadAlg):
            opens(locked(lock), password=password)


@pytest.mark.rfc("P-25", "P-73", "L-02")
def test_a_legacy_cipher_does_not_come_in_through_the_key_wrap():
    """PWRI-KEK with 3DES is badAlg unless 3DES is allowed, also around AES content."""
    message = locked(recipients.password_info(b"k" * 16, cipher="des3"))
    with pytest.raises(BadAlg, match="des3-cbc is not allowed here") as caught:
        opens(message, password="secret")
    assert caught.value.legacy == ("des3",)
    assert opens(message, password="secret", allowed=frozenset({Legacy.DES3})) == b"content"


@pytest.mark.rfc("P-25", "P-75")
@pytest.mark.parametrize(
    "knobs",
    [
        {"derivation": tlv(0xA0, oid(recipients.PBKDF2), seq())},
        {"derivation": tlv(0xA0, oid(recipients.PBKDF2), seq(algorithm("1.2.3"), integer(1)))},
        {"wrap": algorithm(recipients.PWRI_KEK, seq())},
        {"wrap": algorithm(recipients.PWRI_KEK, algorithm(forge.CIPHERS["aes128"][0]))},
        {"iv": b"v" * 15},
    ],
    ids=range(5),
)
def test_parameters_of_a_password_envelope_that_cannot_be_read(knobs):
    """Broken parameters are seen before the password is used."""
    lock = recipients.password_info(b"", encrypted=b"x" * 32, **knobs)
    with pytest.raises(Malformed):
        opens(locked(lock), password="secret")


@pytest.mark.rfc("P-26")
def test_without_a_candidate_nothing_is_derived(monkeypatch):
    """With no password known for the transaction there is no guessing, and no work."""
    monkeypatch.setattr(pbkdf2, "PBKDF2HMAC", None)
    message = locked(recipients.password_info(b"", encrypted=b"x" * 32))
    for password in (None, ""):
        with pytest.raises(BadRequest, match="a password that is not known here"):
            opens(message, password=password)


@pytest.mark.rfc("P-26")
def test_one_candidate_is_tried_once(monkeypatch):
    """However many PasswordRecipientInfos there are, one password costs one derivation."""
    derived = []
    real = pbkdf2.PBKDF2HMAC

    def counting(*arguments):
        derived.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(pbkdf2, "PBKDF2HMAC", counting)
    right = recipients.password_info(b"k" * 16)
    wrong = recipients.password_info(b"k" * 16, "another")
    message = locked(None, recipients=[wrong, *[right] * 10])
    assert opens(message, password="secret") != b"content"
    assert len(derived) == 1


@pytest.mark.rfc("P-26", "S-3.1-3")
def test_a_request_to_an_ec_ca_is_password_enveloped():
    """A CA whose key cannot encrypt gets the request under the challengePassword."""
    ca = holder("p384", "EC CA")
    message = pkimessage.seal_request(
        PKCSReq(csr.read(forge.csr(), NO_LEGACY)),
        transaction_id=TransactionID(b"1"),
        sender_nonce=forge.NONCE,
        signer=keys.device().credential,
        recipient=ca.certificate,
        digest=SHA256,
        cipher=AES128,
        random=os.urandom,
        password="secret",
    )
    verified = pkimessage.verify(pkimessage.parse(message), NO_LEGACY)
    opened = pkimessage.open_request(
        verified, [ca.credential], NO_LEGACY, random, password="secret"
    )
    assert opened.request.csr.challenge_password == "secret"
    assert opened.recipient is None
    with pytest.raises(BadRequest, match=UNREADABLE.text):
        pkimessage.open_request(verified, [], NO_LEGACY, random, password="another")


# --- key agreement --------------------------------------------------------------------------------


@pytest.mark.rfc("L-24")
@pytest.mark.parametrize(
    "knobs",
    [
        *({"kdf": name} for name in recipients.STD_DH),
        *({"wrap_size": size} for size in (24, 32)),
        {"ukm": b"user keying material"},
        {"ukm": b""},
        {"wrap": algorithm(recipients.AES_WRAPS[16])},
        {"key_algorithm": algorithm(recipients.EC_PUBLIC_KEY)},
        {"key_algorithm": algorithm(recipients.EC_PUBLIC_KEY, oid("1.2.840.10045.3.1.7"))},
        {"scheme": "1.3.132.1.14.1"},
    ],
    ids=str,
)
def test_what_may_vary_in_key_agreement(knobs):
    """Every key derivation and AES key wrap, with keying material, parameters NULL or absent."""
    device = holder()
    message = locked(recipients.agreement_info(device, b"k" * 16, **knobs))
    assert opens(message, device) == b"content"
    assert (
        opens(
            forge.envelope(
                b"x",
                cek=b"k" * 16,
                recipients=[
                    recipients.agreement_info(holder("p256", "another"), b"k" * 16),
                    recipients.agreement_info(device, b"k" * 16, **knobs),
                ],
            ),
            device,
        )
        == b"x"
    )


@pytest.mark.rfc("L-24", "P-19")
def test_one_key_agreement_may_have_several_recipients():
    """Of several RecipientEncryptedKeys the one that names our certificate counts."""
    device = holder()
    others = tuple(
        seq(forge.rid(holder("p256", f"other {number}")), octets(b"x" * 24)) for number in range(3)
    )
    message = locked(recipients.agreement_info(device, b"k" * 16, others=others))
    assert opens(message, device) == b"content"
    with pytest.raises(BadRequest, match="none of our certificates"):
        opens(message, holder("p256", "stranger"))
    with pytest.raises(Malformed, match="recipients in one key agreement"):
        opens(locked(recipients.agreement_info(device, b"k" * 16, others=others * 6)), device)


@pytest.mark.rfc("L-24", "P-73")
@pytest.mark.parametrize(
    "knobs",
    [
        {"scheme": "1.2.3"},
        {"scheme": "1.3.133.16.840.63.0.16"},
        {"wrap": algorithm("1.2.3"), "encrypted": b""},
        {"originator": tlv(0x80, b"key identifier")},
        {"originator": seq(keys.name("x").public_bytes(), integer(1))},
        {"key_algorithm": algorithm(forge.RSA_ENCRYPTION)},
    ],
    ids=str,
)
def test_an_unknown_way_of_key_agreement_is_bad_alg(knobs):
    """MQV, static-static Diffie-Hellman and the like are badAlg."""
    with pytest.raises(BadAlg):
        opens(locked(recipients.agreement_info(holder(), b"k" * 16, **knobs)), holder())


@pytest.mark.rfc("L-24", "P-73", "L-02")
def test_triple_des_key_wrap_is_legacy(openssl):
    """The Triple-DES key wrap is badAlg unless 3DES is allowed."""
    device = holder()
    wrap = recipients.des3_wrap_algorithm()
    lock = recipients.agreement_info(device, b"k" * 16, wrap=wrap, encrypted=b"x" * 40)
    with pytest.raises(BadAlg, match="des3 key wrap is not allowed here") as caught:
        opens(locked(lock), device)
    assert caught.value.legacy == ("des3",)
    theirs = openssl.encrypt(b"content", "des3", device)
    assert wrap in theirs
    assert opens(theirs, device, allowed=frozenset({Legacy.DES3})) == b"content"


@pytest.mark.rfc("P-73")
def test_a_recipient_info_that_does_not_fit_the_key_it_names_is_bad_alg():
    """Key transport to an EC certificate of ours, or key agreement to an RSA one, is badAlg."""
    device, ra = holder(), keys.ra()
    transport = seq(
        integer(0), forge.rid(device), algorithm(forge.RSA_ENCRYPTION), octets(b"x" * 256)
    )
    agreement = recipients.agreement_info(device, b"k" * 16, named=forge.rid(ra))
    for lock, who in ((transport, device), (agreement, ra)):
        with pytest.raises(BadAlg, match="not for the key of the certificate that it names"):
            opens(locked(lock), who)


# --- no oracle ------------------------------------------------------------------------------------


def damaged_password_locks():
    """Yield PasswordRecipientInfos that are wrong in what only the password's owner can see."""
    kek = recipients.hashlib.pbkdf2_hmac("sha256", b"secret", b"salt of 16 bytes", 1000, 16)
    cek, iv = b"k" * 16, b"v" * 16
    yield "another password", recipients.password_info(cek, "another")
    for size in (0, 1, 15, 16, 17, 31, 33, 48, 64, 80, 4096):
        yield f"{size} octets", recipients.password_info(cek, encrypted=b"x" * size)
    for count in (0, 1, 15, 17, 28, 29, 255):
        changed = recipients.wrapped(cek, "aes128", kek, iv, count=count)
        yield f"count {count}", recipients.password_info(cek, encrypted=changed)
    changed = recipients.wrapped(cek, "aes128", kek, iv, check=0xFE)
    yield "wrong check", recipients.password_info(cek, encrypted=changed)
    for size in (1, 8, 24, 28, 32):
        changed = recipients.wrapped(b"k" * size, "aes128", kek, iv)
        yield f"a key of {size} octets", recipients.password_info(cek, encrypted=changed)


def damaged_agreements():
    """Yield KeyAgreeRecipientInfos that are wrong in what only the key's owner can see."""
    device, cek = holder(), b"k" * 16
    on_another_curve = (
        keys.ec_key("x", "p384")
        .public_key()
        .public_bytes(recipients.Encoding.X962, recipients.PublicFormat.UncompressedPoint)
    )
    points = {
        "no octets": b"",
        "infinity": b"\x00",
        "a form alone": b"\x04",
        "off the curve": b"\x04" + b"\x01" * 64,
        "on another curve": on_another_curve,
        "compressed": b"\x02" + b"\xff" * 32,
    }
    for what, point in points.items():
        yield f"point: {what}", recipients.agreement_info(device, cek, point=point)
    for size in (0, 1, 8, 16, 23, 24, 25, 32, 40, 4096):
        yield f"{size} octets", recipients.agreement_info(device, cek, encrypted=b"x" * size)
    for size in (24, 32):
        yield f"a key of {size} octets", recipients.agreement_info(device, b"k" * size)
    another = recipients.agreement_info(holder("p256", "another"), cek, named=forge.rid(device))
    yield "another's key", another


PASSWORD_LOCKS, AGREEMENTS = dict(damaged_password_locks()), dict(damaged_agreements())


@pytest.fixture(scope="module")
def answer():
    """Return what a server says to an envelope: failInfo and text, as a device sees them."""
    pair = Pair(ra=holder())
    responder = pair.server.responder

    def ask(content):
        received = responder.receive(forge.request(content=content))
        try:
            responder.open(responder.verify(received), "secret")
        except BadRequest as error:
            return error.fail_info, error.text
        raise AssertionError("the envelope opened")

    return ask


@pytest.mark.rfc("P-54", "P-75")
@pytest.mark.parametrize(
    "lock", [*PASSWORD_LOCKS.values(), *AGREEMENTS.values()], ids=[*PASSWORD_LOCKS, *AGREEMENTS]
)
def test_every_damage_gives_one_answer(answer, lock):
    """Wrong password, wrong check octets, wrong length, a point off the curve: one answer."""
    # The content would open with the key that was meant, and with what it was lengthened to.
    for size in (16, 24, 32):
        content = forge.envelope(forge.csr(), recipients=[lock], cek=b"k" * size, iv=b"i" * 16)
        assert answer(content) == (UNREADABLE.fail_info, UNREADABLE.text)


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize(
    "lock",
    [recipients.password_info(b"k" * 16), recipients.agreement_info(holder(), b"k" * 16)],
    ids=["password", "key agreement"],
)
def test_without_damage_it_opens(answer, lock):
    """The same envelope undamaged opens, or the test above would say nothing."""
    content = forge.envelope(forge.csr(), recipients=[lock], cek=b"k" * 16, iv=b"i" * 16)
    with pytest.raises(AssertionError, match="opened"):
        answer(content)


@pytest.mark.rfc("P-54", "L-24")
def test_a_damaged_triple_des_key_wrap_is_no_key():
    """RFC 3217's checksum and length are looked at; whatever is wrong, it is no key."""
    kek, cek = bytes(range(24)), bytes(range(100, 124))
    good = key_agreement.wrap_key(cek, DES3_WRAP, kek, os.urandom)
    assert key_agreement.unwrap_key(good, DES3_WRAP, kek) == cek
    assert key_agreement.unwrap_key(good, DES3_WRAP, kek[::-1]) is None
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 1
        assert key_agreement.unwrap_key(bytes(damaged), DES3_WRAP, kek) is None
    for size in (0, 8, 32, 39, 41, 48, 4096):
        assert key_agreement.unwrap_key(b"x" * size, DES3_WRAP, kek) is None


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize(
    "lock",
    [recipients.password_info(b"k" * 16), recipients.agreement_info(holder(), b"k" * 16)],
    ids=["password", "key agreement"],
)
@pytest.mark.parametrize("inside", [b"", b"rubbish", forge.csr(signature=b"wrong")])
def test_whatever_is_inside_gives_the_same_answer(answer, lock, inside):
    """Content that opens and is no PKCS#10 is answered like what does not open."""
    content = forge.envelope(inside, recipients=[lock], cek=b"k" * 16)
    assert answer(content) == (UNREADABLE.fail_info, UNREADABLE.text)


@pytest.mark.rfc("P-54")
@pytest.mark.parametrize(
    "locks",
    [
        [recipients.password_info(b"k" * 16), *PASSWORD_LOCKS.values()],
        [recipients.agreement_info(holder(), b"k" * 16), *AGREEMENTS.values()],
    ],
    ids=["password", "key agreement"],
)
def test_good_and_bad_take_the_same_path(locks, monkeypatch):
    """A substitute key is drawn, a key derived and the content decrypted whether good or bad."""
    paths = []
    for lock in locks:
        path = []
        for module, name in (
            (pbkdf2, "PBKDF2HMAC"),
            (key_agreement, "X963KDF"),
            (enveloped, "_decrypt"),
        ):
            watch(monkeypatch, path, module, name)
        with contextlib.suppress(BadRequest):
            Envelope(locked(lock)).open(
                [holder().credential],
                NO_LEGACY,
                lambda size, path=path: path.append(size) or bytes(size),
                password="secret",
            )
        paths.append(path)
        monkeypatch.undo()
    assert len(paths) > 10
    assert {tuple(path) for path in paths} == {tuple(paths[0])}
    assert len(paths[0]) == 3


def watch(monkeypatch, path, module, name):
    real = getattr(module, name)

    def noting(*arguments):
        path.append(name)
        return real(*arguments)

    monkeypatch.setattr(module, name, noting)


@pytest.mark.rfc("P-54", "P-25")
def test_the_password_is_in_no_text(answer):
    """Neither the error nor the object that holds it says the password."""
    lock = der.parse(recipients.password_info(b"k" * 16, "hunter2")).der()
    infos = enveloped._read(locked(lock)).recipients
    found, _ = _recipients.find(infos, [], "hunter2", NO_LEGACY)
    assert "hunter2" not in repr(found)
    assert "key" not in repr(holder().credential).split("certificate=")[0]


# --- both ends ------------------------------------------------------------------------------------


@pytest.mark.rfc("S-3.1-3", "P-25")
@pytest.mark.parametrize("kind", [*CURVES, "ed25519"])
def test_a_device_whose_key_cannot_encrypt_enrols_with_its_challenge(kind, openssl):
    """The CertRep to an EC or Ed25519 key is encrypted with the request's challengePassword."""
    device = holder(kind)
    pair = Pair(grant, signer=device, password="secret")
    issued = pair.enrol()
    assert issued.certificate.public_key == device.key.public_key()
    content = forge.content_of(pair.replies[0])
    assert recipient_of(content).tag == 0xA3
    assert openssl.decrypt_with_password(content, "secret")


@pytest.mark.rfc("L-24")
@pytest.mark.parametrize("curve", CURVES)
def test_key_agreement_is_offered_by_profile_only(curve, openssl):
    """An EC key without a challenge gets key agreement where the server is told so, else badAlg."""
    device = holder(curve)
    request = forge.request(forge.csr(device.key, attributes=[]), device)
    refused = Pair(grant, signer=device).answer_to(request)
    assert refused.fail_info == 0
    pair = Pair(grant, signer=device, key_agreement=True)
    reply = pair.ask(request).body
    assert isinstance(pair.read_reply(reply), Success)
    assert openssl.decrypt(forge.content_of(reply), device)


@pytest.mark.rfc("P-51", "P-73")
@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_a_reply_that_could_not_be_delivered_is_refused_before_anything_is_issued(kind):
    """A signer whose key cannot encrypt, without a challenge: badAlg, and policy is not asked."""
    device = holder(kind)
    pair = Pair(grant, signer=device)
    refused = pair.answer_to(forge.request(forge.csr(device.key, attributes=[]), device))
    assert refused == Failure(
        0,
        "the reply cannot be encrypted to the key that signed: "
        "without a challengePassword only RSA keys can be encrypted to",
    )
    assert pair.server.asked == []


@pytest.mark.rfc("P-51")
def test_check_deliverable_looks_at_key_password_and_cipher():
    """What decides is the signer's key, a known password, key agreement and the cipher."""
    for kind, password, agreement, cipher in itertools.product(
        ("rsa", "p256", "ed25519"), (None, "secret"), (False, True), ("aes128", "des")
    ):
        device = holder(kind)
        pair = Pair(Pending(), allowed=EVERY, key_agreement=agreement)
        responder = pair.server.responder
        verified = responder.verify(responder.receive(forge.request(signer=device, cipher=cipher)))
        expected = (
            kind == "rsa" or password or (kind == "p256" and agreement and cipher == "aes128")
        )
        if expected:
            responder.check_deliverable(verified, password)
        else:
            with pytest.raises(BadAlg, match="the reply cannot be encrypted"):
                responder.check_deliverable(verified, password)


@pytest.mark.rfc("P-51")
def test_pending_and_failure_need_no_way_to_encrypt():
    """A CertPoll of an EC key without a known password is answered where there is no envelope."""
    device = holder()
    poll = CertPoll(keys.name("a").public_bytes(), keys.name("b").public_bytes())
    payload = seq(poll.issuer, poll.subject)
    message = forge.request(payload, device, scep={"message_type": "20"})
    assert Pair(Pending(), signer=device).answer_to(message) == Pending()
    assert Pair(Success(()), signer=device).answer_to(message).fail_info == 0


@pytest.mark.rfc("L-24", "P-73")
def test_the_key_is_not_taken_for_another_purpose():
    """A point with unused bits is no key."""
    point = tlv(0x03, b"\x04", b"\x04" + b"\x10" * 64)
    originator = tlv(0xA1, algorithm(recipients.EC_PUBLIC_KEY, b""), point)
    with pytest.raises(Malformed, match="not whole octets"):
        opens(
            locked(recipients.agreement_info(holder(), b"k" * 16, originator=originator)), holder()
        )
