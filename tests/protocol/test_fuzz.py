"""Whatever bytes come, nothing but a ScepError leaves the protocol.

Warnings are errors here, so nothing in a peer's bytes makes a library warn either.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

import captured
import der
import forge
import keys
import mutation
import recipients
from pair import Pair
from scepkit.ca.profiles.profile import Profile, check_public_key, from_request
from scepkit.ca.subject_rules import certified_subject
from scepkit.errors import ScepError
from scepkit.protocol import chain, csr
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.asn1 import ber, rewriting, types
from scepkit.protocol.asn1 import der as der_writing
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import signed
from scepkit.protocol.cms.enveloped import Envelope
from scepkit.protocol.oddities import oddities
from scepkit.protocol.scep import (
    attributes,
    ca_certificates,
    capabilities,
    http,
    pkimessage,
    transaction,
)
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.http import HTTPRequest
from scepkit.protocol.scep.messages import PKCSReq, Success

EVERY = frozenset(Legacy)
MESSAGES = [captured.der(name) for name in (*captured.REQUESTS, "ndes-failure")]
CSRS = [captured.der(f"{name}.csr") for name in captured.PROGRAMS]
SAN = x509.SubjectAlternativeName(
    [
        x509.DNSName("host.example"),
        x509.RFC822Name("who@example"),
        x509.DirectoryName(keys.name("directory")),
        x509.OtherName(ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), der.utf8("upn@example")),
        x509.UniformResourceIdentifier("urn:x:y"),
        x509.RegisteredID(ObjectIdentifier("1.2.3")),
    ]
)
EXTENSIONS = [
    x509.Extension(value.oid, False, value)
    for value in (
        SAN,
        keys.usage("digital_signature"),
        x509.ExtendedKeyUsage([ObjectIdentifier("1.3.6.1.5.5.7.3.2")]),
        x509.BasicConstraints(False, None),
    )
]


# Digits with a zone, in range or not.
TIMES = st.from_regex(rb"[0-9]{8,14}([.,][0-9]{1,3})?(Z|[+-][0-9]{4})?", fullmatch=True)


@cache
def world():
    """Return what a client holds."""
    return Pair().exchange


def certificates():
    """Return certificates of every make: CA, RA, device, and those of the captures."""
    embedded = [
        one
        for name in captured.REQUESTS
        for one in signed.read_signed_data(captured.der(name)).certificates
    ]
    return [keys.ca().der, keys.ra().der, forge.certificate(keys.rsa_key()), *embedded]


def request_seeds():
    return [*MESSAGES, forge.request(), forge.request(scep={"message_type": "20"})]


# --- every parser ---------------------------------------------------------------------------------


@given(st.data())
def test_ber(data):
    with suppress(ScepError):
        out = rewriting.to_der(data.draw(mutation.anything([*MESSAGES, *CSRS])))
        assert rewriting.to_der(out) == out


@given(st.data())
def test_cut(data):
    with suppress(ScepError):
        element = data.draw(mutation.anything([*MESSAGES, *CSRS]))
        children = rewriting.cut(element)
        assert b"".join(children) in element


@pytest.mark.parametrize(
    "kind",
    [
        *(types.IssuerAndSubject, types.IssuerAndSerialNumber, types.SubjectPublicKeyInfo),
        *(types.RSAPublicKey, types.RSAESOAEPParams, int, bytes),
        *(types.KeyAgreeRecipientInfo, types.PasswordRecipientInfo, types.PBKDF2Params),
        *(types.RecipientKeyIdentifier, types.OriginatorPublicKey),
    ],
)
@given(data=st.data())
def test_codec(kind, data):
    with suppress(ScepError):
        ber.decode(kind, data.draw(mutation.anything([*MESSAGES, *CSRS])), "thing")


@given(st.data())
def test_read_signed_data(data):
    with suppress(ScepError):
        signed.read_signed_data(data.draw(mutation.anything(MESSAGES)))


@given(st.data())
def test_certificate(data):
    with suppress(ScepError):
        use(Certificate.read(data.draw(mutation.anything(certificates()))))


def use(certificate):
    _ = certificate.serial, certificate.key_hash
    for step in (
        lambda: certificate.is_self_signed(EVERY),
        lambda: certificate.public_key,
        certificate.x509,
        lambda: oddities(certificate),
        lambda: judge(certificate),
    ):
        with suppress(ScepError):
            step()


def judge(one):
    """Do with a certificate what clients do."""
    for question in (
        lambda: one.is_ca,
        lambda: chain.may_sign(one, 0),
        lambda: chain.issued(keys.ca().certificate, one),
        lambda: chain.issued(one, one),
        lambda: chain.build(one, [one], keys.ca().certificate, keys.NOW),
        lambda: ca_certificates.trust(
            [one, keys.ca().certificate], keys.ca().certificate, keys.NOW
        ),
        lambda: ca_certificates.trust([one], one, keys.NOW),
        lambda: ca_certificates.find([one], "0" * 64),
        lambda: one.extensions.crl_places,
        lambda: str(one.subject_name),
        lambda: one.alternative_names,
    ):
        with suppress(ScepError):
            question()


@given(st.data())
def test_csr(data):
    with suppress(ScepError):
        csr.read(data.draw(mutation.anything(CSRS)), EVERY)


@given(st.data())
def test_csr_that_is_signed_whatever_it_says(data):
    infos = [der.parse(one)[0].der() for one in CSRS]
    infos.append(
        der.parse(
            csr.build(keys.name("d"), keys.rsa_key(), challenge_password="x", extensions=EXTENSIONS)
        )[0].der()
    )
    info = der.parse(data.draw(mutation.trees(infos)))
    if info.constructed and len(info.children) > 2:
        info.children[2] = der.parse(keys.spki(keys.rsa_key()))
    with suppress(ScepError):
        repr(csr.read(forge.sign_csr(info.der(), keys.rsa_key()), EVERY))


@given(st.data())
def test_extensions_that_are_signed_whatever_they_say(data):
    wanted = der.parse(csr.build(keys.name("d"), keys.rsa_key(), extensions=EXTENSIONS))[0][3][0][
        1
    ][0].der()
    changed = data.draw(mutation.trees([wanted]))
    with suppress(ScepError):
        request = forge.attribute(forge.EXTENSION_REQUEST, changed)
        read = csr.read(forge.csr(attributes=[request]), EVERY)
        # A CA looks at all of it.
        subject = certified_subject(read.subject)
        _ = [str(one) for one in read.extensions.subject_alternative_names]
        key = check_public_key(read.public_key, Profile())
        _ = [*from_request(read.extensions, key, Profile(), subject)]


@given(st.data())
def test_message(data):
    message = data.draw(mutation.anything(request_seeds()))
    with suppress(ScepError):
        receive(message)


def receive(message):
    parsed = pkimessage.parse(message)
    _ = str(parsed.attributes.transaction_id)
    verified = pkimessage.verify(parsed, EVERY)
    pkimessage.open_request(verified, [keys.ra().credential], EVERY, bytes)


@given(st.data())
def test_message_that_is_signed_whatever_it_says(data):
    seeds = [forge.attribute("1.2.3", der.printable("x"))]
    seeds += forge.scep_attributes(
        recipient_nonce=b"n", pki_status="0", fail_info="2", fail_info_text=der.utf8("text")
    )
    chosen = [
        data.draw(st.one_of(st.just(seed), mutation.trees([seed]), mutation.trees(seeds)))
        for seed in seeds
    ]
    with suppress(ScepError):
        receive(forge.pki_message(b"content", chosen))


@given(st.data())
def test_pss_parameters(data):
    """Whatever stands for the parameters of RSASSA-PSS, in the message or in the PKCS#10."""
    parameters = data.draw(mutation.trees([forge.PSS().parameters()]))
    name = forge.algorithm(forge.RSASSA_PSS, parameters)
    with suppress(ScepError):
        receive(forge.request(pss=forge.PSS(), signature_algorithm=name))
    with suppress(ScepError):
        receive(forge.request(forge.csr(digest=forge.PSS(), signature_algorithm=name)))


@given(st.data())
def test_envelope(data):
    no_mask = der.seq(der.tlv(0xA0, forge.algorithm(forge.DIGESTS["sha256"][0])))
    seeds = [
        forge.envelope(b"content"),
        forge.envelope(b"x", oaep=("sha1", "sha256"), pieces=3),
        forge.envelope(b"x", oaep=("sha256", "sha256"), oaep_parameters=no_mask),
    ]
    message = data.draw(mutation.anything(seeds))
    with suppress(ScepError):
        Envelope(message).open([keys.ra().credential], EVERY, bytes)
    Envelope(message).cipher(EVERY)


EC_DEVICE = keys.certify("EC device", keys.ec_key(), key_identifier=True)


def lock_seeds():
    """Return RecipientInfos for a password and an EC key."""
    cek = b"k" * 16
    identifier = EC_DEVICE.certificate.subject_key_identifier
    return [
        recipients.password_info(cek, iterations=1),
        recipients.password_info(cek, iterations=1, prf=None, cipher="des3", key_length=24),
        recipients.agreement_info(EC_DEVICE, cek, ukm=b"ukm"),
        recipients.agreement_info(
            EC_DEVICE, cek, named=der.tlv(0xA0, der.octets(identifier)), kdf="sha1"
        ),
        recipients.agreement_info(
            EC_DEVICE, cek, wrap=recipients.des3_wrap_algorithm(), encrypted=b"x" * 40
        ),
    ]


@given(st.data())
def test_lock(data):
    lock = data.draw(
        st.one_of(mutation.anything(lock_seeds()), mutation.trees(lock_seeds(), max_changes=1))
    )
    message = forge.envelope(b"content", cek=b"k" * 16, recipients=[lock])
    with suppress(ScepError):
        Envelope(message).open(
            [EC_DEVICE.credential], EVERY, bytes, password="secret", max_iterations=1000
        )


@given(st.sampled_from([0x17, 0x18, 0x13, 0x05]), st.one_of(st.binary(max_size=30), TIMES))
def test_time(tag, content):
    read = ber.time(tag, content)
    if read is not None:
        written = der.parse(der_writing.time(read))
        assert ber.time(written.tag, written.content) == read


PAYLOADS = {
    "19": CSRS,
    "17": CSRS,
    "20": [der.seq(keys.name("a").public_bytes(), keys.name("b").public_bytes())],
    "21": [der.seq(keys.name("a").public_bytes(), der.integer(5))],
    "22": [der.seq(keys.name("a").public_bytes(), der.integer(-5))],
}


@pytest.mark.parametrize("message_type", PAYLOADS)
@given(data=st.data())
def test_payload_that_is_sealed_whatever_it_says(message_type, data):
    inside = data.draw(mutation.anything(PAYLOADS[message_type]))
    with suppress(ScepError):
        receive(forge.request(inside, scep={"message_type": message_type}))


@given(st.data())
def test_signer_certificate_whatever_it_says(data):
    device = data.draw(mutation.trees(certificates()))
    sid = b""
    with suppress(ScepError):
        read = Certificate.read(device)
        sid = der.seq(read.issuer, read.serial_number)
    with suppress(ScepError):
        receive(forge.request(certificates=[device], **({"sid": sid} if sid else {})))


@given(st.data())
def test_attributes(data):
    pairs = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        *(attributes.MESSAGE_TYPE, attributes.PKI_STATUS, attributes.FAIL_INFO),
                        *(attributes.SENDER_NONCE, attributes.RECIPIENT_NONCE),
                        *(attributes.TRANSACTION_ID, attributes.FAIL_INFO_TEXT),
                        *(attributes.MICROSOFT_HRESULT, attributes.SIGNING_TIME),
                    ]
                ),
                st.lists(
                    mutation.anything(
                        [
                            der.printable("19"),
                            der.octets(b"n" * 16),
                            der.tlv(0x17, b"261122120000Z"),
                        ]
                    ),
                    max_size=2,
                ),
            ),
            max_size=9,
        )
    )
    with suppress(ScepError):
        row = b"".join(der.seq(kind, der.tlv(0x31, b"".join(values))) for kind, values in pairs)
        read = attributes.read(ber.attributes(row))
        attributes.write(
            *(read.transaction_id, read.message_type or 3, read.sender_nonce or b"n" * 16),
            *(read.recipient_nonce, read.pki_status, read.fail_info, read.fail_info_text),
        )


@given(st.one_of(st.binary(max_size=5000), mutation.octets([b"AES\r\nSHA-256\nSCEPStandard\n"])))
def test_capabilities(body):
    capabilities.parse(body)


@given(
    st.sampled_from(["GET", "POST", "PUT", ""]),
    st.one_of(
        st.binary(max_size=200),
        mutation.octets(
            [
                http.pki_operation(b"message" * 9, post=False).query,
                b"operation=GetCACert&message=%41%zz",
                b"operation=PKIOperation&message=YWJj%250A+-_",
            ]
        ),
    ),
    st.binary(max_size=50),
)
def test_http_request(method, query, body):
    with suppress(ScepError):
        http.read_request(HTTPRequest(method, query, body))


@given(st.one_of(st.binary(max_size=200), mutation.octets([b"YWJjZA%3D%3D", b"%252B+/-_\n%0A="])))
def test_decode_message(raw):
    with suppress(ScepError):
        http.decode_message(raw)


@given(st.data())
def test_ca_certificates(data):
    seeds = [keys.ca().der, signed.certs_only([keys.ra().der, keys.ca().der])]
    pem = [keys.ca().x509.public_bytes(Encoding.PEM) * 2]
    body = data.draw(st.one_of(mutation.anything(seeds), mutation.octets(pem)))
    with suppress(ScepError):
        for one in ca_certificates.parse(body):
            judge(one)


@given(st.data())
def test_ca_certificates_that_are_whole_but_odd(data):
    body = data.draw(mutation.trees(certificates()))
    with suppress(ScepError):
        for one in ca_certificates.parse(signed.certs_only([body, keys.ca().der])):
            judge(one)


@given(st.one_of(st.text(max_size=100), st.from_regex(r"(sha-?256[:= ])?([0-9a-fA-F]{2}:?){32}")))
def test_fingerprint(text):
    with suppress(ScepError):
        assert len(ca_certificates.read_fingerprint(text)) == 64


@given(st.data())
def test_reply(data):
    seeds = [
        captured.der("ndes-failure"),
        forge.reply(),
        forge.reply(pki_status="2", fail_info="2"),
        forge.reply(success(), pki_status="0"),
    ]
    read_reply(data.draw(mutation.anything(seeds)))


def success(*more, inner=None):
    inner = inner or signed.certs_only(
        [keys.certify("device", keys.rsa_key(), keys.ca()).der, *more]
    )
    return forge.envelope(inner, keys.device())


@given(st.data())
def test_reply_that_is_signed_whatever_it_holds(data):
    inner = signed.certs_only([keys.customer().der, keys.ca().der], [der.seq()])
    changed = data.draw(mutation.anything([inner]))
    read_reply(forge.reply(success(inner=changed), pki_status="0"))


@given(st.data())
def test_issued_certificate_whatever_it_says(data):
    read_reply(forge.reply(success(data.draw(mutation.trees(certificates()))), pki_status="0"))


def read_reply(body):
    with suppress(ScepError):
        reply = transaction.read_reply(
            world(), body, TransactionID(forge.ID.encode("ascii")), forge.NONCE
        )
        str(reply)
        if isinstance(reply, Success):
            request = PKCSReq(csr.read(forge.csr(), NO_LEGACY))
            transaction.accept(world(), request, reply, TransactionID(b"1"))
