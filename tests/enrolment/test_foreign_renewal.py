"""Both ends joined in memory: our client renews a certificate that another CA issued."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import forge
import keys
from der import integer, octets, oid, seq, set_, tlv
from enrolment import devices
from scepkit.client.client import CA, Client
from scepkit.enrolment.rules import RenewalRules
from scepkit.errors import RequestRefused
from scepkit.protocol.cms import signed
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep import ca_certificates, capabilities, http
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.protocol.scep.messages import Success

REFUSED = "a RenewalReq has to be signed with a certificate of this CA"
SAID = capabilities.parse(b"SCEPStandard\nRenewal")


@pytest.fixture
def world(world, monkeypatch):
    """The clock of both ends is that of the world."""
    monkeypatch.setattr("scepkit.client.clock.now", lambda: world.now)
    return world


class Wire:
    """Carries messages to the endpoint, and keeps the certificates that are in them."""

    def __init__(self, world):
        self.world, self.carried = world, []

    def send(self, url, request):
        message = http.read_request(request).message
        self.carried.append(signed.read_signed_data(message).certificates)
        return HTTPResponse(200, self.world.endpoint.respond(message), http.PKI_MESSAGE)


@pytest.fixture
def wire(world):
    return Wire(world)


@pytest.fixture
def renew(world, wire):
    """Renew with the world's CA: who holds what, and its issuers."""
    ca = keys.ca().certificate
    certificates = ca_certificates.trust((keys.ra().certificate, ca), ca, world.now)
    trusted = CA(certificates, capabilities.choose(SAID, frozenset()), SAID)

    def renew(holder, issuers):
        client = Client("http://memory", transport=wire)
        new = keys.rsa_key("new")
        return client.renew(
            trusted, holder.key, holder.certificate, new, issuers=issuers
        ).certificate

    return renew


@pytest.fixture
def factory():
    """Root, intermediate and device of somebody else."""
    root = keys.certify("Factory root", keys.rsa_key("factory root"), ca=True)
    middle = keys.certify("Factory CA", keys.rsa_key("factory"), root, ca=True)
    return root, middle, keys.certify("device", keys.device().key, middle)


@pytest.mark.rfc("S-2.3-6", "A-15")
def test_the_chain_of_another_ca_goes_with_a_renewal(world, wire, renew, factory):
    """The server, which knows the root alone, finds the way to it; the root is not sent."""
    root, middle, device = factory
    world.use(renewal=RenewalRules(anchors=(root.certificate,)))
    with pytest.raises(RequestRefused):
        renew(device, ())
    wire.carried.clear()
    assert (
        renew(device, (middle.certificate, root.certificate)).issuer
        == keys.ca().certificate.subject
    )
    assert wire.carried == [(device.der, middle.der)]


@pytest.mark.rfc("S-2.3-9")
def test_a_ca_is_not_shown_its_own_chain(world, wire, renew, factory):
    """It knows what it issued; the message stays as small as it was."""
    _, middle, _ = factory
    device = world.enrolled()
    renew(device, (middle.certificate,))
    assert wire.carried == [(device.der,)]


def issued_by(ca, subject, *extensions, validity=("260101000000Z", "300101000000Z")):
    """Return a device with a certificate of a factory's that writes it octet by octet."""
    key = keys.device().key
    certificate = forge.certificate(
        key,
        subject=subject,
        issuer=ca.x509.subject.public_bytes(),
        version=tlv(0xA0, integer(2)),
        extensions=tlv(0xA3, seq(*extensions)) if extensions else b"",
        validity=validity,
        signing_key=ca.key,
    )
    return forge.Odd(key, certificate)


def common_name(tag, content):
    return seq(set_(seq(oid("2.5.4.3"), tlv(tag, content))))


def san(value):
    return seq(oid("2.5.29.17"), octets(value))


@pytest.mark.rfc("S-2.3-6")
@pytest.mark.parametrize(
    ("name", "extensions"),
    [
        (common_name(0x13, b"dev_1"), ()),
        (common_name(0x13, b"dev\xf6"), ()),
        (common_name(0x14, b"dev\xf6"), ()),
        (common_name(0x0C, b"dev"), (seq(oid("2.5.29.19"), octets(bytes.fromhex("3003020100"))),)),
        (common_name(0x0C, b"dev"), (seq(oid("2.5.29.14"), tlv(1, b"\0"), octets(b"x")),)),
        (common_name(0x0C, b"dev"), (san(b"garbage"),)),
        (common_name(0x0C, b"dev"), (san(b"\x30\0"), san(b"\x30\0"))),
    ],
    ids=range(7),
)
def test_an_odd_certificate_of_a_factory_renews(world, factory, name, extensions):
    """Factories write names and extensions as devices do; what nobody looks at never decides."""
    root, middle, _ = factory
    device = issued_by(middle, name, *extensions)
    world.use(renewal=RenewalRules(anchors=(root.certificate,)))
    for bag, good in ([middle.der], True), ([b"\x30\0", middle.der], True), ([], False):
        message = forge.request(
            forge.csr(device.key, subject=name, attributes=[]),
            device,
            certificates=[device.der, *bag],
            scep={"message_type": "17", "transaction_id": f"{len(bag)}"},
        )
        reply = devices.read(world.endpoint.respond(message), world.ra, device)
        assert bool(getattr(reply.rep, "certificates", ())) is good


@pytest.mark.rfc("S-2.3-6")
def test_a_certificate_that_no_factory_issued_renews_nothing(world, factory):
    """Expired, signed by somebody else of that name, or below a CA that may have none below."""
    root, middle, _ = factory
    name = common_name(0x13, b"dev_1")
    imitation = keys.certify("Factory CA", keys.rsa_key("imitation"), root, ca=True)
    nobody = keys.Holder(keys.rsa_key("nobody"), middle.x509)
    flat = keys.certify("Flat root", keys.rsa_key("flat"), ca=True, path_length=0)
    lower = keys.certify("Lower", keys.rsa_key("lower"), flat, ca=True)
    for ca, bag, validity in (
        (middle, [middle.der], ("200101000000Z", "210101000000Z")),
        (middle, [middle.der], ("never", "always")),
        (nobody, [middle.der, imitation.der], ("260101000000Z", "300101000000Z")),
        (lower, [lower.der], ("260101000000Z", "300101000000Z")),
    ):
        device = issued_by(ca, name, validity=validity)
        world.use(renewal=RenewalRules(anchors=(root.certificate, flat.certificate)))
        message = forge.request(
            forge.csr(device.key, subject=name, attributes=[]),
            device,
            certificates=[device.der, *bag],
            scep={"message_type": "17"},
        )
        refused = devices.read(world.endpoint.respond(message), world.ra, device).refusal
        assert refused[1] == REFUSED


def extended(value, *, critical=True):
    return x509.Extension(value.oid, critical, value)


OF_LAB = x509.NameConstraints(
    [x509.DirectoryName(Name.parse("O=Lab").x509()), x509.DNSName("lab.example")], None
)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")
CODE_SIGNING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@pytest.mark.rfc("S-2.3-6")
@pytest.mark.parametrize(
    ("limit", "subject", "name", "why"),
    [
        (extended(OF_LAB), "CN=dev,O=Lab", "dev.lab.example", ""),
        (extended(OF_LAB), "CN=dev,O=Corp", "dev.lab.example", "subject is in no permitted"),
        (extended(OF_LAB), "CN=dev,O=Lab", "vpn.corp.example", "dNSName is in no permitted"),
        (extended(OF_LAB, critical=False), "CN=dev,O=Corp", "dev.lab.example", "no permitted"),
        (extended(UNKNOWN), "CN=dev", "dev.example", "not known here: 1.3.6.1.4.1.99999.1"),
        (extended(UNKNOWN, critical=False), "CN=dev", "dev.example", ""),
        (extended(CODE_SIGNING, critical=False), "CN=dev", "dev.example", "other purposes"),
        (extended(CLIENT_AUTH, critical=False), "CN=dev", "dev.example", ""),
    ],
    ids=[
        "names",
        "another subject",
        "another host",
        "names, not critical",
        "unknown",
        "unknown, not critical",
        "code",
        "clients",
    ],
)
def test_a_ca_of_a_factory_vouches_for_what_it_may_certify(
    world, factory, limit, subject, name, why
):
    """Somebody may be trusted with names of a laboratory, or with code, and with nothing else."""
    root, _, _ = factory
    signs = {"ca": True, "key_usage": keys.usage("key_cert_sign")}
    lab = keys.certify("Lab CA", keys.rsa_key("lab"), root, more=[limit], **signs)
    san = x509.SubjectAlternativeName([x509.DNSName(name)])
    device = keys.certify(
        Name.parse(subject).x509(), keys.device().key, lab, more=[extended(san, critical=False)]
    )
    world.use(renewal=RenewalRules(anchors=(root.certificate,)))
    message = devices.renewal_req(
        to=world.ra,
        signer=device,
        subject=subject,
        sans=[f"dns:{name}"],
        issuers=[lab],
    )
    if why:
        assert why in world.reason(message)
        assert world.ask(message, device).refusal[1] == REFUSED
    else:
        assert isinstance(world.ask(message, device).rep, Success)


@pytest.mark.rfc("S-2.3-6")
@pytest.mark.parametrize(
    ("oid", "renews"),
    [
        ("1.3.6.1.4.1.99999.1", False),
        ("1.3.6.1.4.1.11129.2.4.3", False),
        ("1.3.6.1.4.1.311.21.10", True),
        ("1.3.6.1.5.5.7.1.24", True),
        ("2.16.840.1.113730.1.1", True),
    ],
    ids=["unknown", "precertificate", "application policies", "TLS feature", "Netscape"],
)
def test_a_critical_extension_of_a_device(world, factory, oid, renews):
    """What is not known could say that the certificate is none (RFC 5280 section 4.2)."""
    root, _, _ = factory
    more = [extended(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\5\0"))]
    device = keys.certify("dev", keys.device().key, root, more=more)
    world.use(renewal=RenewalRules(anchors=(root.certificate,)))
    reply = world.renew(device, subject="CN=dev")
    assert isinstance(reply.rep, Success) is renews


def test_an_email_address_of_a_factory_s_subject_may_be_asked_for(world, factory):
    """It becomes an alternative name, whether the factory's certificate has it there or not."""
    root, middle, _ = factory
    subject = seq(set_(seq(oid("1.2.840.113549.1.9.1"), tlv(0x16, b"a@b.example"))))
    device = issued_by(middle, subject)
    world.use(renewal=RenewalRules(anchors=(root.certificate,)))
    wanted = seq(san(seq(tlv(0x81, b"a@b.example"))))
    message = forge.request(
        forge.csr(
            device.key,
            subject=subject,
            attributes=[forge.attribute("1.2.840.113549.1.9.14", wanted)],
        ),
        device,
        certificates=[device.der, middle.der],
        scep={"message_type": "17"},
    )
    reply = devices.read(world.endpoint.respond(message), world.ra, device)
    assert reply.certificate.count(tlv(0x81, b"a@b.example")) == 1
