"""What `issue` puts into a certificate, and what it refuses."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from scepkit.ca.authority import random_serial
from scepkit.ca.extensions import Locations
from scepkit.ca.identity import Identity
from scepkit.ca.profiles.profile import Profile
from scepkit.errors import BadRequest, SettingsError, UsageError
from scepkit.keys.pem import sha256_fingerprint
from scepkit.protocol.general_name import UPN

EMPTY = x509.Name([])
EVERY_USAGE = [
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
]


def cn(value, **kwargs):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value, **kwargs)])


def usage(*bits):
    return x509.KeyUsage(**{bit: bit in bits for bit in EVERY_USAGE})


def find(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def oids(certificate):
    return {extension.oid for extension in certificate.extensions}


ORDINARY = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
}


@pytest.mark.parametrize("ca_spec", ["rsa:2048", "rsa:3072", "ec:p256"])
@pytest.mark.parametrize("spec", ["rsa:2048", "ec:p256"])
def test_openssl_accepts_what_is_issued(issue, make_ca, key, openssl, ca_spec, spec):
    ca = make_ca(ca_spec)
    certificate = issue(ca, public_key=key(spec).public_key())
    openssl.verify(certificate, ca.certificate)
    text = openssl.text(certificate)
    signed = "ecdsa-with-SHA256" if ca_spec == "ec:p256" else "sha256WithRSAEncryption"
    usages = "Digital Signature" + (", Key Encipherment" if spec == "rsa:2048" else "")
    assert f"Signature Algorithm: {signed}" in text
    assert "X509v3 Basic Constraints: critical\n                CA:FALSE" in text
    assert f"X509v3 Key Usage: critical\n                {usages}\n" in text
    assert "X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n" in text
    assert oids(certificate) == ORDINARY


def test_the_authority_key_identifier_is_the_cas_subject_key_identifier(issue, ca):
    ski = find(ca.certificate, x509.SubjectKeyIdentifier).value.digest
    assert find(issue(), x509.AuthorityKeyIdentifier).value.key_identifier == ski


def test_a_foreign_key_identifier_of_the_ca_is_taken_over(issue, make_ca, now):
    """RFC 5280 4.2.1.1: the AKI is the value in the issuer's SKI, however that was derived."""
    ours = make_ca()
    public = ours.private_key.public_key()
    end = ours.certificate.not_valid_after_utc
    foreign = (
        x509.CertificateBuilder(cn("F"), cn("F"), public, 7, now - timedelta(1), end)
        .add_extension(x509.SubjectKeyIdentifier(b"0123"), critical=False)
        .sign(ours.private_key, ours.certificate.signature_hash_algorithm)
    )
    bare = x509.CertificateBuilder(cn("F"), cn("F"), public, 7, now, end).sign(
        ours.private_key, ours.certificate.signature_hash_algorithm
    )
    issued = issue(type(ours)(foreign, ours.private_key))
    assert find(issued, x509.AuthorityKeyIdentifier).value.key_identifier == b"0123"
    issued = issue(type(ours)(bare, ours.private_key))
    computed = x509.SubjectKeyIdentifier.from_public_key(public).digest
    assert find(issued, x509.AuthorityKeyIdentifier).value.key_identifier == computed


def test_a_curve_that_certificates_are_not_signed_with_is_no_ca_key(ca):
    key = ec.generate_private_key(ec.SECP256K1())
    with pytest.raises(SettingsError, match="secp256k1"):
        type(ca)(ca.certificate, key)


def test_serials_are_127_random_bits_and_positive(issue):
    serials = [random_serial() for _ in range(2000)]
    assert len(set(serials)) == 2000
    assert all(0 < serial < 2**127 for serial in serials)
    assert max(serial.bit_length() for serial in serials) == 127
    assert issue().serial_number != issue().serial_number
    assert issue(serial=4711).serial_number == 4711


def test_a_serial_out_of_range_is_a_bug_of_the_caller_not_of_the_request(issue):
    with pytest.raises(ValueError):
        issue(serial=0)


def test_validity_is_backdated_and_as_long_as_the_profile_says(issue, make_ca, now):
    old = make_ca(at=now - timedelta(days=30))
    certificate = issue(old, profile=Profile(validity=timedelta(days=90)))
    assert certificate.not_valid_before_utc == now - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == now + timedelta(days=90)
    certificate = issue(old, profile=Profile(backdate=timedelta(hours=2)))
    assert certificate.not_valid_before_utc == now - timedelta(hours=2)


@pytest.mark.parametrize("validity", [timedelta(days=36500), timedelta.max])
def test_validity_never_leaves_that_of_the_ca(issue, ca, validity):
    certificate = issue(profile=Profile(validity=validity, backdate=timedelta(days=400)))
    assert certificate.not_valid_before_utc == ca.certificate.not_valid_before_utc
    assert certificate.not_valid_after_utc == ca.certificate.not_valid_after_utc


@pytest.mark.parametrize("days", [-1, 3652, 4000])
def test_a_ca_that_is_not_valid_is_not_the_peers_fault(issue, now, days):
    """A FAILURE would make the device give up for good; SettingsError becomes HTTP 503."""
    with pytest.raises(SettingsError, match="the CA is valid from"):
        issue(now=now + timedelta(days=days))


@pytest.mark.parametrize(
    ("spec", "asked", "granted"),
    [
        ("rsa:2048", ["key_encipherment"], ["key_encipherment"]),
        ("rsa:2048", ["digital_signature"], ["digital_signature"]),
        ("rsa:2048", ["digital_signature", "content_commitment"], ["digital_signature"]),
        ("rsa:2048", ["digital_signature", "key_cert_sign", "crl_sign"], ["digital_signature"]),
        ("ec:p256", ["digital_signature", "key_encipherment"], ["digital_signature"]),
        (
            "ec:p256",
            ["digital_signature", "key_agreement"],
            ["digital_signature", "key_agreement"],
        ),
        ("rsa:2048", ["digital_signature", "key_agreement"], ["digital_signature"]),
    ],
)
def test_a_requested_key_usage_only_narrows(issue, key, spec, asked, granted):
    certificate = issue(public_key=key(spec).public_key(), requested=[usage(*asked)])
    extension = find(certificate, x509.KeyUsage)
    assert extension.critical
    assert extension.value == usage(*granted)


@pytest.mark.parametrize(
    ("spec", "asked"),
    [("rsa:2048", ["key_cert_sign"]), ("ec:p256", ["key_encipherment"]), ("rsa:2048", [])],
)
def test_a_key_usage_of_which_nothing_is_allowed_is_refused(issue, key, spec, asked):
    with pytest.raises(BadRequest, match="key usages"):
        issue(public_key=key(spec).public_key(), requested=[usage(*asked)])


def test_the_profile_bounds_key_usage(issue):
    profile = Profile(key_usages=frozenset({"digital_signature"}))
    asked = usage("digital_signature", "key_encipherment")
    assert find(issue(profile=profile), x509.KeyUsage).value == usage("digital_signature")
    certificate = issue(profile=profile, requested=[asked])
    assert find(certificate, x509.KeyUsage).value == usage("digital_signature")


def test_requested_purposes_are_filtered(issue):
    asked = [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CODE_SIGNING,
        ExtendedKeyUsageOID.IPSEC_IKE,
        ExtendedKeyUsageOID.OCSP_SIGNING,
        ExtendedKeyUsageOID.SERVER_AUTH,
    ]
    extension = find(issue(requested=[x509.ExtendedKeyUsage(asked)]), x509.ExtendedKeyUsage)
    assert list(extension.value) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.IPSEC_IKE]
    assert not extension.critical


@pytest.mark.parametrize(
    "purpose",
    [
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.OCSP_SIGNING,
        ExtendedKeyUsageOID.CODE_SIGNING,
        ExtendedKeyUsageOID.TIME_STAMPING,
    ],
)
def test_purposes_of_which_none_is_allowed_are_refused(issue, purpose):
    with pytest.raises(BadRequest, match="extended key usages"):
        issue(requested=[x509.ExtendedKeyUsage([purpose])])


def test_a_request_may_name_what_it_would_get_anyway(issue):
    own = x509.ObjectIdentifier("1.2.3.4")
    profile = Profile(default_eku=(own,), allowed_eku=frozenset())
    asked = x509.ExtendedKeyUsage([own, ExtendedKeyUsageOID.SERVER_AUTH])
    extension = find(issue(requested=[asked], profile=profile), x509.ExtendedKeyUsage)
    assert list(extension.value) == [own]


def test_a_profile_may_have_no_purpose_at_all(issue):
    certificate = issue(profile=Profile(default_eku=()))
    assert oids(certificate) == ORDINARY - {ExtensionOID.EXTENDED_KEY_USAGE}


NAMES = {
    "dns": x509.DNSName("device.example"),
    "ip": x509.IPAddress(ip_address("2001:db8::1")),
    "email": x509.RFC822Name("user@example.org"),
    "uri": x509.UniformResourceIdentifier("ID:Microsoft Endpoint Manager:GUID:1"),
    "upn": x509.OtherName(UPN, b"\x0c\x04u@ex"),
}
VOUCHED = {"profile": Profile(identity=True), "identity": Identity.TAKEN_OVER}
NEVER = [
    x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01u"),
    x509.DirectoryName(cn("x")),
    x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
]


def test_only_allowed_kinds_of_names_are_taken_over(issue, openssl, ca):
    asked = [NEVER[0], *NAMES.values(), *NEVER[1:], NAMES["dns"]]
    certificate = issue(requested=[x509.SubjectAlternativeName(asked)], **VOUCHED)
    extension = find(certificate, x509.SubjectAlternativeName)
    assert list(extension.value) == list(NAMES.values())
    assert not extension.critical
    openssl.verify(certificate, ca.certificate)
    assert "DNS:device.example, IP Address:2001:DB8:0:0:0:0:0:1" in openssl.text(certificate)


@pytest.mark.parametrize("kind", NAMES)
def test_the_profile_says_which_kinds(issue, kind):
    allowed = {**VOUCHED, "profile": Profile(san_types=frozenset({kind}), identity=True)}
    asked = [*NEVER, *NAMES.values()]
    certificate = issue(requested=[x509.SubjectAlternativeName(asked)], **allowed)
    assert list(find(certificate, x509.SubjectAlternativeName).value) == [NAMES[kind]]


def test_a_subject_alt_name_of_which_nothing_is_allowed_is_left_out(issue):
    assert oids(issue(requested=[x509.SubjectAlternativeName(NEVER)])) == ORDINARY


@pytest.mark.rfc("P-34", "A-14")
def test_an_empty_subject_with_a_san_makes_the_san_critical(issue, openssl, ca):
    """An empty subject is fine with a subjectAltName, which is critical then."""
    san = x509.SubjectAlternativeName([NAMES["dns"]])
    certificate = issue(subject=EMPTY, requested=[san])
    assert find(certificate, x509.SubjectAlternativeName).critical
    openssl.verify(certificate, ca.certificate)


@pytest.mark.rfc("P-34")
@pytest.mark.parametrize("names", [None, [], NEVER])
def test_an_empty_subject_without_an_allowed_san_is_refused(issue, names):
    """Neither subject nor allowed subjectAltName: BadRequest."""
    requested = [] if names is None else [x509.SubjectAlternativeName(names)]
    with pytest.raises(BadRequest, match="neither a subject nor"):
        issue(subject=EMPTY, requested=requested)


@pytest.mark.parametrize(
    "bad",
    [
        x509.DNSName(""),
        x509.DNSName(" "),
        x509.DNSName("bank.example\0.evil.example"),
        x509.DNSName("http://a.example"),
        x509.DNSName("a.example:443"),
        x509.DNSName("a..example"),
        x509.DNSName("."),
        x509.DNSName("a@b.example"),
        x509.RFC822Name._init_without_validation("nobody"),
        x509.RFC822Name._init_without_validation("@example"),
        x509.RFC822Name._init_without_validation("a@b@c"),
        x509.DNSName("a." * 127 + "a"),
        x509.DNSName._init_without_validation("é.example"),
        x509.RFC822Name("a b@example"),
        x509.UniformResourceIdentifier(""),
        x509.UniformResourceIdentifier("http://a\r\nb"),
        x509.IPAddress(ip_network("10.0.0.0/8")),
        x509.OtherName(UPN, b"\x0c\x00"),
        x509.OtherName(UPN, b"\x0c\x01\xff"),
        x509.OtherName(UPN, b"\x04\x01u"),
        x509.OtherName(UPN, b"\x0c\x02u\n"),
    ],
    ids=repr,
)
def test_a_malformed_name_is_refused(issue, bad):
    with pytest.raises(BadRequest):
        issue(requested=[x509.SubjectAlternativeName([NAMES["dns"], bad])], **VOUCHED)


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (NameOID.COMMON_NAME, ""),
        (NameOID.COMMON_NAME, "x" * 65),
        (NameOID.COUNTRY_NAME, "D"),
        (NameOID.COUNTRY_NAME, "DEU"),
    ],
)
def test_a_subject_outside_the_bounds_is_refused(issue, oid, value):
    """RFC 5280 A.1; parsed requests can hold such names, though the library builds none."""
    with pytest.warns(UserWarning, match="length must be"):
        subject = x509.Name([x509.NameAttribute(oid, value, _validate=False)])
    with pytest.raises(BadRequest, match="the subject's C"):
        issue(subject=subject)


def test_a_name_is_measured_in_characters_not_octets(issue):
    with pytest.warns(UserWarning, match="length must be"):
        subject = cn("東" * 64, _validate=False)
    assert issue(subject=subject).serial_number


def test_a_unique_identifier_is_octets(issue):
    bits = x509.name._ASN1Type.BitString
    one = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\0\1", bits)
    assert issue(subject=x509.Name([one])).subject == x509.Name([one])


@pytest.mark.rfc("P-33")
def test_nothing_else_of_the_request_gets_into_the_certificate(issue, openssl):
    """Requested extensions are wishes: what the profile does not take is left out."""
    requested = [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.NameConstraints([x509.DNSName("example")], None),
        x509.CertificatePolicies(
            [x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)]
        ),
        x509.InhibitAnyPolicy(0),
        x509.OCSPNoCheck(),
        x509.AuthorityKeyIdentifier(b"evil", None, None),
        x509.SubjectKeyIdentifier(b"evil"),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    ]
    certificate = issue(requested=requested)
    assert oids(certificate) == ORDINARY
    assert not find(certificate, x509.BasicConstraints).value.ca
    assert find(certificate, x509.BasicConstraints).critical
    assert b"evil" not in certificate.public_bytes(Encoding.DER)
    assert "CA:FALSE" in openssl.text(certificate)


def test_an_extension_twice_or_unreadable_is_refused(issue):
    san = x509.SubjectAlternativeName([NAMES["dns"]])
    with pytest.raises(BadRequest, match="cannot be read"):
        issue(requested=[san, san])
    with pytest.raises(BadRequest, match="cannot be read"):
        issue(requested=[x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"\x04\x02\x07\x80")])


def test_keys_that_the_profile_does_not_allow_are_refused(issue, key):
    small = rsa.RSAPublicNumbers(65537, (1 << 1023) + 1).public_key()
    large = rsa.RSAPublicNumbers(65537, (1 << 8192) + 1).public_key()
    koblitz = ec.generate_private_key(ec.SECP256K1()).public_key()
    edwards = ed448.Ed448PrivateKey.generate().public_key()
    for public, reason in [
        (small, "1024 bits"),
        (large, "8193 bits"),
        (koblitz, "secp256k1"),
        (edwards, "none of RSA, EC and Ed25519"),
    ]:
        with pytest.raises(BadRequest, match=reason):
            issue(public_key=public)
    p256 = key("ec:p256").public_key()
    with pytest.raises(BadRequest, match="secp256r1"):
        issue(public_key=p256, profile=Profile(curves=frozenset()))
    edwards = ed25519.Ed25519PrivateKey.generate().public_key()
    with pytest.raises(BadRequest, match="Ed25519"):
        issue(public_key=edwards, profile=Profile(curves=frozenset({"secp256r1"})))
    assert issue(public_key=small, profile=Profile(rsa_bits=(1024, 4096))).public_key() == small


@pytest.mark.parametrize(
    "change",
    [
        {"validity": timedelta()},
        {"backdate": timedelta(seconds=-1)},
        {"key_usages": frozenset()},
        {"key_usages": frozenset({"key_cert_sign"})},
        {"san_types": frozenset({"dirname"})},
        {"curves": frozenset({"secp256k1"})},
    ],
    ids=repr,
)
def test_a_profile_that_no_certificate_could_follow_is_refused(change):
    with pytest.raises(SettingsError, match="profile"):
        replace(Profile(), **change)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), None])
def test_keys_that_cannot_decrypt_are_certified_for_signing_alone(issue, ca, openssl, curve):
    """RFC 5480 section 3 and RFC 8410 section 5: no keyEncipherment, asked for or not."""
    private = ec.generate_private_key(curve) if curve else ed25519.Ed25519PrivateKey.generate()
    asked = usage("digital_signature", "key_encipherment")
    for requested in ([], [asked]):
        certificate = issue(public_key=private.public_key(), requested=requested)
        assert certificate.public_key() == private.public_key()
        assert find(certificate, x509.KeyUsage).value == usage("digital_signature")
        openssl.verify(certificate, ca.certificate)
    with pytest.raises(BadRequest, match="key usages"):
        issue(public_key=private.public_key(), requested=[usage("key_encipherment")])


def test_where_to_ask_for_its_status(issue, openssl, ca):
    """RFC 5280 sections 4.2.1.13 and 4.2.2.1: CRL, OCSP and issuer, not critical."""
    certificate = issue(ca.at(Locations("http://pki.example.com/x/", "vpn")))
    access = ExtensionOID.AUTHORITY_INFORMATION_ACCESS
    assert oids(certificate) == ORDINARY | {ExtensionOID.CRL_DISTRIBUTION_POINTS, access}
    assert not find(certificate, x509.CRLDistributionPoints).critical
    assert not find(certificate, x509.AuthorityInformationAccess).critical
    openssl.verify(certificate, ca.certificate)
    text, name = openssl.text(certificate), ca.key_hash.hex()[:16]
    assert f"Full Name:\n                  URI:http://pki.example.com/x/crl/{name}.crl\n" in text
    assert "OCSP - URI:http://pki.example.com/x/ocsp/vpn\n" in text
    assert f"CA Issuers - URI:http://pki.example.com/x/ca/{name}.cer\n" in text
    assert oids(issue(ca.at(None))) == ORDINARY


@pytest.mark.parametrize(
    "base",
    [
        "http://münchen.example",
        "ldap://pki.example.com",
        "http:///crl",
        "pki.example.com",
        "http://pki.example.com/?x",
        "http://pki.example.com/#x",
        "http://me@pki.example.com",
        "http://[::1",
        "http://:secret@pki.example.com",
        "http://pki.example.com:99999",
        "http://pki.example.com:web",
        "http://pki.example.com:0",
        "http://pki example.com",
        "http://pki.example.com/<x>",
    ],
)
def test_what_no_certificate_should_name(base):
    with pytest.raises(UsageError):
        Locations(base)


def test_a_url_that_takes_a_crl_to_get_the_crl():
    """RFC 5280 section 8."""
    assert Locations("https://pki.example.com").is_circular
    assert not Locations("http://pki.example.com").is_circular


def test_the_key_hash_is_that_of_the_public_key_as_openssl_writes_it(ca):
    pem = ca.certificate.public_bytes(Encoding.PEM)
    command = (
        "openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256"
    )
    said = subprocess.run(command, shell=True, input=pem, capture_output=True, check=True).stdout
    assert ca.key_hash.hex() == said.decode().split()[-1]


def test_the_default_purposes_are_all_allowed():
    assert set(Profile().default_eku) <= Profile().allowed_eku
    assert ExtendedKeyUsageOID.OCSP_SIGNING not in Profile().allowed_eku


def test_the_fingerprint_is_that_of_openssl(ca, openssl, tmp_path):
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    pem = ca.certificate.public_bytes(Encoding.PEM)
    said = subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode()
    plain = said.partition("=")[2].strip().replace(":", "").lower()
    assert sha256_fingerprint(ca.certificate) == f"sha256:{plain}"
