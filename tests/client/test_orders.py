"""What is sent, before it is sent: keys, the self-signed signer, the request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

import forge
import keys
import odd
from odd import TRUE
from scepkit.client import prepared_request
from scepkit.client.keys import check_spec, generate_key, kind, self_signed
from scepkit.errors import UsageError
from scepkit.protocol import csr
from scepkit.protocol.algorithms import SHA1, Legacy
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.extensions import KEY_USAGE, encoded
from scepkit.protocol.scep.messages import PKCSReq, RenewalReq

KEY = keys.rsa_key("client")


def make(subject="CN=dev1", key=KEY, **how):
    return prepared_request.prepare(key, subject, now=keys.NOW, **how)


@pytest.mark.rfc("S-2.3-1", "S-2.3-2", "S-2.3-3", "S-2.3-4", "S-2.3-7")
def test_the_signer(openssl):
    """A PKCSReq; self-signed, with its subject and key, for signatures and key encipherment."""
    order = make("CN=dev1,O=Example")
    assert isinstance(order.request, PKCSReq)
    certificate = order.signer.certificate.x509()
    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject.public_bytes() == order.request.csr.subject.der
    assert certificate.public_key() == order.request.csr.public_key
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage == keys.usage("digital_signature", "key_encipherment")


def test_the_signer_is_valid_for_a_wrong_clock_and_a_slow_approval():
    certificate = make().signer.certificate.x509()
    assert certificate.not_valid_before_utc == keys.NOW - timedelta(days=1)
    assert certificate.not_valid_after_utc == keys.NOW + timedelta(days=30)


def test_a_later_signer_of_the_same_key_can_read_the_reply_to_an_earlier_one():
    one = self_signed(KEY, keys.name("dev1"), keys.NOW).certificate
    two = self_signed(KEY, keys.name("dev1"), keys.NOW + timedelta(days=3)).certificate
    assert (one.issuer, one.serial_number) == (two.issuer, two.serial_number)
    assert one.serial > 0


def test_the_same_order_is_the_same_transaction():
    one, two = make(challenge="a", names=["dev1"]), make(challenge="a", names=["dev1"])
    assert one.request.csr.der == two.request.csr.der
    assert one.transaction_id == two.transaction_id


@pytest.mark.rfc("P-12", "S-3.2.1.1-1")
@pytest.mark.parametrize(
    "other",
    [
        {"subject": "CN=dev2"},
        {"challenge": "b"},
        {"names": ["dev2"]},
        {"key": keys.rsa_key("another")},
    ],
)
def test_another_order_is_another_transaction(other):
    """The transactionID is unique for each transaction, and plain hex."""
    one, two = make(challenge="a", names=["dev1"]), make(**{"challenge": "a"} | other)
    assert one.transaction_id != two.transaction_id
    assert len(bytes.fromhex(str(one.transaction_id))) == 16


@pytest.mark.rfc("S-2.4-1")
def test_the_challenge_is_in_the_request_and_nowhere_else():
    """The challengePassword goes into the PKCS#10 of an initial enrolment."""
    order = make(challenge="hunter2")
    assert order.request.csr.challenge_password == "hunter2"
    assert "hunter2" not in repr(order)
    assert b"hunter2" not in order.signer.certificate.der


@pytest.mark.parametrize("bits", [2048, 3072])
def test_a_key_is_of_the_size_that_was_asked_for(bits):
    assert generate_key(f"rsa:{bits}").key_size == bits


@pytest.mark.parametrize("spec", ["rsa:1024", "rsa", "dsa:2048", "", "rsa:2048 "])
def test_another_kind_of_key(spec):
    with pytest.raises(UsageError, match="cannot make a key") as caught:
        check_spec(spec)
    assert caught.value.hint == (
        "one of rsa:2048, rsa:3072, rsa:4096, ec:p256, ec:p384, ec:p521, ed25519"
    )


ELLIPTIC = ["ec:p256", "ec:p384", "ec:p521", "ed25519"]


@pytest.mark.rfc("S-2.3-2")
@pytest.mark.parametrize("spec", ELLIPTIC)
def test_a_key_that_cannot_decrypt(spec, openssl):
    """The self-signed certificate has keyEncipherment only when the key can encrypt."""
    key = generate_key(spec)
    assert kind(key) == kind(key.public_key()) == spec
    order = make(key=key, challenge="a")
    certificate = order.signer.certificate.x509()
    certificate.verify_directly_issued_by(certificate)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    agreement = ("key_agreement",) if spec.startswith("ec") else ()
    assert usage == keys.usage("digital_signature", *agreement)
    openssl.request(order.request.csr.der)


@pytest.mark.rfc("L-24")
@pytest.mark.parametrize("spec", [*ELLIPTIC, "rsa:2048"])
def test_which_key_usage_is_asked_for(spec):
    """An EC key asks to agree, so that it can renew; the usage of all others is the CA's business.

    So is it in a renewal, by the new key: what the current one was has nothing to do with it.
    """
    key = generate_key(spec)
    wanted = [forge.seq(forge.oid("2.5.29.15"), TRUE, forge.octets(b"\x03\x02\x03\x88"))]
    for order in (make(key=key, challenge="a"), renewal(key)):
        usages = [e.der for e in order.request.csr.extensions if e.identifier == KEY_USAGE]
        assert usages == (wanted if spec.startswith("ec") else [])


@pytest.mark.parametrize("spec", ELLIPTIC)
def test_the_same_order_of_such_a_key_is_the_same_transaction(spec):
    """Its signature, too, is the same each time, so that an operator can compare digests."""
    key = generate_key(spec)
    one, two = make(key=key, challenge="a"), make(key=key, challenge="a")
    assert one.transaction_id == two.transaction_id
    assert one.request.csr.info == two.request.csr.info


SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def purposes(order):
    return order.request.csr.extensions.extended_key_usage


def test_purposes_are_asked_for_by_name_or_oid(openssl):
    order = make(purposes=["server_auth", CLIENT, "1.3.6.1.5.5.7.3.1"])
    assert purposes(order) == (SERVER, CLIENT)
    assert "TLS Web Server Authentication" in openssl.request(order.request.csr.der)
    assert purposes(make()) is None
    assert make(purposes=["server_auth"]).transaction_id != make().transaction_id
    assert make(purposes=["server_auth"]).wanted != make().wanted


def test_what_is_no_purpose_is_not_asked_for():
    with pytest.raises(UsageError, match="'tls' is not a purpose"):
        make(purposes=["tls"])


# --- renewal --------------------------------------------------------------------------------------


def renewal(new_key=None, **how):
    current = keys.customer()
    return prepared_request.prepare_renewal(
        current.key, current.certificate, new_key or current.key, **how
    )


@pytest.mark.rfc("S-2.4-4")
def test_a_renewal_has_no_challenge_unless_one_is_given():
    """In a renewal the challengePassword is left out; sending it again is allowed."""
    assert renewal().request.csr.challenge_password is None
    assert renewal(challenge="hunter2").request.csr.challenge_password == "hunter2"


@pytest.mark.rfc("S-2.3-5", "S-2.5-3", "S-2.3-8")
def test_a_renewal_is_signed_with_the_current_certificate():
    """Holding a certificate of the CA, sign with it and use RenewalReq."""
    order = renewal(KEY)
    assert order.request.message_type == 17
    assert order.signer.certificate.der == keys.customer().der
    assert order.signer.key == keys.customer().key
    assert order.request.csr.public_key == KEY.public_key()


def test_a_renewal_asks_for_the_same_names():
    names = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.DNSName("b.example")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(keys.name("dev1"))
        .issuer_name(keys.ca().x509.subject)
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(keys.NOW)
        .not_valid_after(keys.NOW + timedelta(days=9))
        .add_extension(names, critical=True)
        .sign(keys.ca().key, keys.SHA256)
    )
    csr = prepared_request.prepare_renewal(KEY, Certificate.of(certificate), KEY).request.csr
    assert csr.subject.der == keys.name("dev1").public_bytes()
    assert [extension.value for extension in csr.extensions] == [names.public_bytes()]


def test_a_renewal_asks_for_the_same_purposes_or_for_others():
    current = keys.certify("dev1", KEY, keys.ca(), purposes=[SERVER]).certificate
    assert purposes(prepared_request.prepare_renewal(KEY, current, KEY)) == (SERVER,)
    assert purposes(
        prepared_request.prepare_renewal(KEY, current, KEY, purposes=["client_auth"])
    ) == (CLIENT,)
    assert purposes(prepared_request.prepare_renewal(KEY, current, KEY, purposes=())) is None


def test_an_odd_certificate_is_renewed_octet_for_octet():
    """A CA that compares octets is content, whatever they are: of the subject, and of the names."""
    names = forge.seq(*(odd.tlv(0x82, b"a_b.ex\xe4mple"), odd.tlv(0xA3), odd.tlv(0x87, b"12345")))
    der = forge.certificate(
        KEY,
        subject=odd.SMITH,
        version=odd.V3,
        serial=odd.SERIALS["padded negative"],
        extensions=odd.extensions(
            odd.extension(odd.BASIC, b"?"), odd.extension(odd.NAMES, names, odd.FALSE)
        ),
    )
    order = prepared_request.prepare_renewal(KEY, Certificate.read(der), KEY)
    assert order.request.csr.subject.der == odd.SMITH
    (found,) = order.request.csr.extensions
    assert (found.der, found.value) == (odd.extension(odd.NAMES, names), names)
    assert order.signer.certificate.der == der


@pytest.mark.rfc("S-3.2.1.1-1")
def test_each_renewal_is_a_transaction_of_its_own():
    """The same renewal is the same transaction; of another certificate, or key, it is another."""
    one = renewal(KEY).transaction_id
    assert renewal(KEY).transaction_id == one
    assert renewal().transaction_id != one
    other = keys.customer("another")
    assert prepared_request.prepare_renewal(other.key, other.certificate, KEY).transaction_id != one
    assert make(f"CN={keys.customer().x509.subject.rfc4514_string()[3:]}").transaction_id != one


# --- a PKCS#10 of somebody else's, and extensions of one's own ------------------------------------

TEMPLATE = x509.Extension(
    x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2"),
    critical=False,
    value=x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2"), b"\x1e\x06\0W\0e\0b"
    ),
)


def asked(order):
    """Return the extensions of a request as somebody else reads them: by OID."""
    found = x509.load_der_x509_csr(order.request.csr.der).extensions
    return {one.oid.dotted_string: one.value.public_bytes() for one in found}


def written(subject="dev1", key=KEY, **how):
    """Write a PKCS#10 with the library, as somebody else would."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(keys.name(subject))
    if "challenge" in how:
        password = x509.oid.AttributeOID.CHALLENGE_PASSWORD
        builder = builder.add_attribute(password, how["challenge"])
    return builder.sign(key, how.get("digest", keys.SHA256))


WRITTEN_DER = written().public_bytes(Encoding.DER)
WRITTEN_PEM = written().public_bytes(Encoding.PEM)


def of_csr(wanted, key=KEY, **how):
    return prepared_request.of_csr(key, wanted, now=keys.NOW, **how)


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
def test_a_csr_of_somebody_else_goes_out_as_it_is(encoding):
    wanted = written(challenge=b"hunter2")
    order = of_csr(wanted.public_bytes(encoding))
    assert isinstance(order.request, PKCSReq)
    assert order.request.csr.der == wanted.public_bytes(Encoding.DER)
    assert order.request.csr.challenge_password == "hunter2"
    signer = order.signer.certificate.x509()
    signer.verify_directly_issued_by(signer)
    assert (signer.subject, signer.public_key()) == (wanted.subject, KEY.public_key())
    assert of_csr(order.request.csr).transaction_id == order.transaction_id
    assert of_csr(written("dev2").public_bytes(Encoding.DER)).transaction_id != order.transaction_id


def test_the_new_key_of_a_renewal_may_be_somewhere_else():
    """The PKCS#10 proves it; the message is signed with the current key."""
    current = keys.customer()
    order = of_csr(written().public_bytes(Encoding.DER), current.key, renewed=current.certificate)
    assert isinstance(order.request, RenewalReq)
    assert (order.signer.key, order.signer.certificate) == (current.key, current.certificate)


@pytest.mark.parametrize(
    ("wanted", "how", "match"),
    [
        (lambda: b"", {}, "PKCS#10 cannot be used"),
        (lambda: b"\x30\x00", {}, "PKCS#10 cannot be used"),
        (lambda: keys.ca().x509.public_bytes(Encoding.PEM), {}, "PKCS#10 cannot be used"),
        (lambda: written().public_bytes(Encoding.PEM) * 2, {}, "more than 1 PEM block"),
        (lambda: written().public_bytes(Encoding.DER)[:-1] + b"?", {}, "does not verify"),
        (lambda: written(key=keys.rsa_key("other")).public_bytes(Encoding.DER), {}, "not the key"),
        (
            lambda: written().public_bytes(Encoding.DER),
            {"renewed": keys.customer().certificate},
            "not the key of the current certificate",
        ),
    ],
)
def test_a_csr_that_cannot_be_sent(wanted, how, match):
    with pytest.raises(UsageError, match=match):
        of_csr(wanted(), **how)


def test_an_old_signature_of_a_csr_needs_leave():
    der = csr.build(keys.name("dev1"), KEY, digest=SHA1)
    with pytest.raises(UsageError, match=r"PKCS#10 cannot be used: .*(sha1|SHA-1)"):
        of_csr(der)
    assert of_csr(der, allowed=frozenset({Legacy.SHA1})).request.csr.der == der


def test_extensions_of_ones_own():
    as_object = make(extensions=[TEMPLATE], names=["dev1.example"])
    der = encoded(TEMPLATE.value)
    assert make(extensions=[der], names=["dev1.example"]).request.csr.der == (
        as_object.request.csr.der
    )
    assert asked(as_object) == {
        "1.3.6.1.4.1.311.20.2": b"\x1e\x06\0W\0e\0b",
        "2.5.29.17": x509.SubjectAlternativeName([x509.DNSName("dev1.example")]).public_bytes(),
    }


def test_a_key_usage_of_ones_own_is_the_only_one():
    usage = keys.usage("digital_signature")
    own = x509.Extension(usage.oid, critical=True, value=usage)
    order = make(key=generate_key("ec:p256"), extensions=[own])
    assert asked(order) == {"2.5.29.15": usage.public_bytes()}


def test_a_renewal_asks_for_other_names():
    names = x509.SubjectAlternativeName([x509.DNSName("new.example")])
    current = keys.certify("dev1", KEY, keys.ca(), purposes=[SERVER]).certificate
    own = x509.Extension(names.oid, critical=False, value=names)
    order = prepared_request.prepare_renewal(KEY, current, KEY, extensions=[own, TEMPLATE])
    assert asked(order)["2.5.29.17"] == names.public_bytes()
    assert purposes(order) == (SERVER,)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"extensions": [TEMPLATE, TEMPLATE]}, r"asked for twice: 1\.3\.6\.1\.4\.1\.311\.20\.2"),
        ({"extensions": [b"?"]}, "cannot be asked for"),
        (
            {
                "names": ["a.example"],
                "extensions": [encoded(x509.SubjectAlternativeName([x509.DNSName("b")]))],
            },
            r"asked for twice: 2\.5\.29\.17",
        ),
        ({"extensions": [odd.extension(odd.NAMES, b"?")]}, "cannot be asked for"),
    ],
)
def test_extensions_that_cannot_be_asked_for(how, match):
    with pytest.raises(UsageError, match=match):
        make(**how)


@given(st.binary(max_size=200), st.integers(0, 10_000), st.booleans())
def test_whatever_a_file_holds_it_is_a_csr_or_wrong_usage(octets, place, is_der):
    """Octets of nothing, and a PKCS#10 with some of its octets replaced."""
    good = WRITTEN_DER if is_der else WRITTEN_PEM
    place %= len(good)
    for wanted in (octets, good[:place] + octets + good[place + len(octets) :]):
        try:
            order = of_csr(wanted)
        except UsageError:
            continue
        assert order.request.csr.key_hash == order.signer.certificate.key_hash


@given(st.binary(max_size=60))
def test_whatever_is_no_extension_is_wrong_usage(octets):
    for der in (octets, encoded(x509.UnrecognizedExtension(TEMPLATE.oid, octets))):
        try:
            order = make(extensions=[der])
        except UsageError:
            continue
        assert [one.der for one in order.request.csr.extensions] == [der]
