"""A certificate against its request: what was cut, added or changed, and nothing else."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import der
import keys
from scepkit.errors import UsageError
from scepkit.protocol import comparison, csr
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.comparison import Change
from scepkit.protocol.extensions import purpose_name, read_purposes
from scepkit.protocol.rfc4514 import parse_subject

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
RULE = "no {}".format
WWW, MAIL = x509.DNSName("www.example.com"), x509.RFC822Name("a@b.example")
EC = keys.ec_key("device")


def extension(value, *, critical=False):
    return x509.Extension(value.oid, critical, value)


def names(*values):
    return extension(x509.SubjectAlternativeName(values))


def eku(*values):
    return extension(x509.ExtendedKeyUsage(values))


def usage(*values):
    return extension(keys.usage(*values), critical=True)


def request(*extensions, subject="CN=www"):
    made = csr.build(parse_subject(subject), EC, extensions=extensions)
    return csr.read(made, NO_LEGACY)


def certificate(*extensions, subject="CN=www"):
    return keys.certify(parse_subject(subject), EC, more=extensions).certificate


def compared(asked, got, **how):
    return comparison.compare(request(*asked), certificate(*got, **how))


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ((), ()),
        ((names(WWW), eku(SERVER, CLIENT)), (names(WWW), eku(CLIENT, SERVER))),
        # Left to the CA.
        ((), (names(), eku(CLIENT), usage("digital_signature"))),
        ((names(WWW),), (names(x509.DNSName("WWW.example.com")), eku(CLIENT))),
        # Without them a certificate is good for all.
        ((eku(SERVER), usage("key_agreement")), ()),
    ],
)
def test_what_is_as_it_was_asked_for_is_not_told(asked, got):
    assert compared(asked, got) == ()
    assert comparison.cut(request(*asked), certificate(*got), RULE) == ()


def test_what_was_cut_and_added_is_told():
    assert compared(
        (names(WWW, x509.IPAddress(ipaddress.ip_address("192.0.2.1"))), eku(SERVER, CLIENT)),
        (names(WWW, MAIL), eku(CLIENT)),
    ) == (
        Change(
            "names", ("dns:www.example.com", "ip:192.0.2.1"), ("dns:www.example.com", str_of(MAIL))
        ),
        Change("purposes", ("server_auth", "client_auth"), ("client_auth",)),
    )


def str_of(mail):
    return f"email:{mail.value}"


def test_a_key_usage_that_was_cut_is_told():
    (change,) = compared(
        (usage("digital_signature", "key_agreement"),), (usage("digital_signature"),)
    )
    assert change.missing == ("key_agreement",)
    assert str(change) == "the key usage key_agreement: asked for, but not in the certificate"


def test_a_certificate_of_a_ca_that_nobody_asked_for_is_told():
    """The key on a device could issue certificates."""
    of_ca, of_device = (
        extension(x509.BasicConstraints(is_ca, None), critical=True) for is_ca in (True, False)
    )
    for asked in ((), (of_device,)):
        (change,) = compared(asked, (of_ca,))
        assert change == Change("ca", ("no",), ("yes",))
        assert "is that of a CA, and not asked for as such" in str(change)
    (change,) = compared((of_ca,), ())
    assert str(change) == "the certificate is not that of a CA, which was asked for"
    assert compared((of_ca,), (of_ca,)) == compared((), (of_device,)) == ()


def test_another_subject_is_told_and_another_string_type_is_not():
    (change,) = compared((), (), subject="CN=other")
    assert str(change) == "the subject is CN=other; requested was CN=www"
    printable = x509.Name(
        [
            x509.NameAttribute(
                x509.NameOID.COMMON_NAME, "www", _type=x509.name._ASN1Type.PrintableString
            )
        ]
    )
    assert comparison.compare(request(), keys.certify(printable, EC).certificate) == ()


def test_an_address_that_is_in_the_subject_is_no_addition():
    subject = "E=a@b.example,CN=www"
    asked, got = request(subject=subject), certificate(names(MAIL), subject=subject)
    assert comparison.compare(asked, got) == ()


def test_the_log_is_told_of_every_extension_that_is_not_there():
    constraints = extension(x509.BasicConstraints(ca=True, path_length=None))
    odd = x509.Extension(
        x509.ObjectIdentifier("1.2.3"),
        False,
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"),
    )
    asked = request(names(WWW, MAIL), eku(SERVER), constraints, odd)
    no_ca = extension(x509.BasicConstraints(ca=False, path_length=None))
    got = certificate(names(WWW), eku(CLIENT), no_ca)
    assert comparison.cut(asked, got, RULE) == (
        "name email:a@b.example (no names)",
        "purpose server_auth (no purposes)",
        "extension 2.5.29.19 (no extension)",
        "extension 1.2.3 (no extension)",
    )
    all_of_it = certificate(names(WWW, MAIL), eku(SERVER), constraints, odd)
    assert comparison.cut(asked, all_of_it, RULE) == ()


def test_however_much_was_cut_a_line_stays_a_line():
    many = names(*(x509.DNSName(f"{'x' * 300}{n}.example") for n in range(100)))
    told = comparison.cut(request(many), certificate(), RULE)
    assert told[-1] == "80 more"
    assert sum(map(len, told)) < 5000
    (change,) = comparison.compare(request(many), certificate())
    assert len(str(change)) < 5000


def test_of_many_names_each_is_compared_with_those_of_its_hash_alone():
    """A device may ask for thousands."""
    compared = []

    class Text(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(self)
            return str.__eq__(self, other)

        def __str__(self):
            return self

    asked = [Text(n) for n in range(300)]
    got = [Text(n) for n in range(400, 100, -1)]
    change = Change(*comparison._names(asked, got, request().subject))
    assert change.got == (*map(str, range(101, 300)), *map(str, range(400, 299, -1)))
    assert len(change.missing) == len(change.added) == 101
    assert len(compared) < 5000


def test_what_cannot_be_read_is_not_compared():
    damaged = x509.UnrecognizedExtension(x509.OID_SUBJECT_ALTERNATIVE_NAME, der.NULL)
    assert compared((names(WWW),), (extension(damaged),)) == ()


@pytest.mark.parametrize(
    "text", ["server_auth", "serverAuth", "SERVER-AUTH", "1.3.6.1.5.5.7.3.1", SERVER]
)
def test_a_purpose_goes_by_name_or_oid(text):
    assert read_purposes([text, text]) == (SERVER,)
    assert purpose_name(SERVER) == "server_auth"


@pytest.mark.parametrize("text", ["server", "sever_auth", "3.1.2", "1", "", "1.2.x"])
def test_what_is_no_purpose_gets_the_names(text):
    with pytest.raises(UsageError) as caught:
        read_purposes([text])
    assert "client_auth, server_auth" in caught.value.hint
    assert ("did you mean server_auth?" in caught.value.hint) is text.startswith("se")
