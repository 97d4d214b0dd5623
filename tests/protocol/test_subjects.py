"""Subjects as people write them: every name of an attribute, and a hint for every slip."""

from __future__ import annotations

import pytest
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from der import oid, seq, set_, tlv
from scepkit.ca.subject_rules import allowed_names, certified_subject
from scepkit.errors import BadRequest, UsageError
from scepkit.protocol import name_attributes
from scepkit.protocol.asn1 import strings
from scepkit.protocol.distinguished_name import Name, escape
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.rfc4514 import parse_subject

KINDS = [kind for kind in name_attributes.BY_OID.values() if kind.is_text]
EXACT = [kind for kind in KINDS if kind.exact]
ANY = [kind for kind in KINDS if not kind.exact]


def shown(text):
    """Return a subject as it is printed."""
    return str(Name.of(parse_subject(text)))


def refused(text):
    """Return message and hint of a refusal."""
    with pytest.raises(UsageError) as caught:
        parse_subject(text)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("SN", "surname"),
        ("GN", "givenName"),
        ("E", "emailAddress"),
        ("email", "emailAddress"),
        ("uid", "UID"),
        ("userId", "UID"),
        ("street", "STREET"),
        ("streetAddress", "STREET"),
        ("dc", "DC"),
        ("S", "ST"),
        ("commonname", "CN"),
        ("jurisdictionL", "jurisdictionLocalityName"),
        ("1.2.840.113549.1.9.2", "unstructuredName"),
        ("OID.2.5.4.5", "serialNumber"),
        ("2.5.4.9999", "2.5.4.9999"),
    ],
)
def test_names_that_people_write_are_printed_in_one_way(written, printed):
    assert shown(f"{written}=x") == f"{printed}=x"


@pytest.mark.parametrize(
    "name",
    [
        "serialNumber",
        "unstructuredName",
        "unstructuredAddress",
        "dnQualifier",
        "surname",
        "givenName",
        "emailAddress",
        "postalCode",
        "title",
        "businessCategory",
        "initials",
        "pseudonym",
        "name",
        "generationQualifier",
        "organizationIdentifier",
        "x500UniqueIdentifier",
        "description",
        "telephoneNumber",
        "postalAddress",
    ],
)
def test_an_attribute_that_has_a_name_is_shown_by_it(name):
    assert shown(f"{name.upper()}=x1,CN=a") == f"{name}=x1,CN=a"


def test_every_name_is_accepted_and_belongs_to_one_oid():
    for name, kind in name_attributes.BY_NAME.items():
        if kind.is_text:
            assert shown(f"{name}=xx") == f"{kind.label}=xx"
    # A name that two of them had would silently be the later one's.
    assert len(name_attributes.BY_NAME) == len(
        [
            n
            for k in name_attributes.BY_OID.values()
            for n in {k.name.lower(), *map(str.lower, k.aliases)}
        ]
    )


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("CN=Acme, Inc.,O=x", r"'CN=Acme\, Inc.,O=x'"),
        ("CN=a+b,O=x", r"'CN=a\+b,O=x'"),
        ("CN=#1,O=x", r"'CN=\#1,O=x'"),
        ('CN=a "b" c', r"""'CN=a \"b\" c'"""),
        ('CN="Acme, Inc.",O=x', r"'CN=Acme\, Inc.,O=x'"),
        (r"CN=MILL\user", r"'CN=MILL\\user'"),
        (r"CN=MILL\admin", r"'CN=MILL\\admin'"),
        ("CN=a;b", r"'CN=a\;b'"),
        ("CN=a;O=b", "'CN=a,O=b'"),
        ("CN=<a>", r"'CN=\<a\>'"),
        (r"CN=a\,b, c", r"'CN=a\,b\, c'"),
    ],
)
def test_a_special_character_gets_a_hint_that_shows_the_backslash(text, right):
    _, hint = refused(text)
    assert right in hint
    assert parse_subject(right.strip("'"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("C=CHE", "the subject's C must have two letters, not 3"),
        ("jurisdictionC=C,CN=a", "jurisdictionCountryName must have two letters, not 1"),
        (f"CN={'x' * 65}", "the subject's CN has 65 characters, at most 64 fit"),
        (f"O={'x' * 65},CN=a", "the subject's O has 65 characters, at most 64 fit"),
        (f"CN={'ü' * 40}", "the subject's CN takes 80 octets in UTF-8, at most 64 fit"),
        ("CN=", "the subject's CN is empty"),
        ("O=x,serialNumber= ,CN=a", "the subject's serialNumber is empty"),
        (r"CN=\ \ ", "the subject's CN is nothing but blanks"),
        ("CN=a+CN=b", "the subject has CN twice in one part"),
        ("member=a", "member is no text"),
        ("/CN=a/O=b", "separated by commas, not by slashes"),
        ("serialNumbr=1", "'serialNumbr' is not the name of an attribute"),
        ("CN=a,", "nothing follows its last ','"),
        ("CN=#0402", "the hex of its DER"),
        ("CN=#020101", "not the hex of a string"),
        ("CN=\udcff", "not UTF-8"),
        ("serialNumber=a_b,CN=a", "the subject's serialNumber has characters that are in no Print"),
        ("dnQualifier=\u00fc,CN=a", "dnQualifier has characters that are in no PrintableString"),
        (r"telephoneNumber=\+41 @,CN=a", "telephoneNumber has characters that are in no Print"),
        ("jurisdictionC=_1,CN=a", "jurisdictionCountryName has characters that are in no Print"),
        ("serialNumber=#0C02C3BC,CN=a", "serialNumber has characters that are in no Printable"),
        ("E=\u00fc@b.example,CN=a", "the subject's emailAddress has characters that are in no IA5"),
        ("DC=\u00fc,CN=a", "the subject's DC has characters that are in no IA5String"),
    ],
)
def test_a_subject_that_no_certificate_has_is_refused_by_name(text, said):
    assert said in refused(text)[0]


def test_a_name_with_a_slip_in_it_is_guessed():
    assert "serialNumber?" in refused("serialNumbr=1")[1]


def test_blanks_around_separators_do_not_count():
    # As `openssl x509 -subject` prints it.
    assert shown("CN = dev1, O = Example") == "CN=dev1,O=Example"
    assert shown(r"CN=a\ ,O=b ") == r"CN=a\ ,O=b"


def test_the_ca_refuses_what_the_client_does_in_the_same_words():
    for text in ("C=CHE,CN=a", "serialNumber=a_b,CN=a", "DC=\u00fc,CN=a"):
        with pytest.raises(BadRequest) as caught:
            certified_subject(Name.parse(text))
        assert caught.value.message == refused(text)[0]


LETTERS = {
    strings.PRINTABLE_STRING: st.sampled_from(sorted(strings.PRINTABLE)),
    strings.IA5_STRING: st.characters(codec="ascii"),
    strings.UTF8_STRING: st.characters(),
}


def values(kind):
    """Return values that a kind of attribute takes."""
    texts = st.text(LETTERS[kind.string], min_size=1, max_size=20)
    return texts.filter(lambda text: text.strip() and text.isprintable())


@st.composite
def attributes(draw):
    """Draw an attribute with a value that is not too long for it."""
    if draw(st.booleans()):
        return draw(st.sampled_from(EXACT)), draw(st.text("ABCXYZ", min_size=2, max_size=2))
    kind = draw(st.sampled_from(ANY))
    return kind, draw(values(kind))


@given(st.lists(attributes(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_what_is_printed_is_read_again_whatever_is_in_it(drawn, chance):
    def spelled(kind):
        name = chance.choice([kind.name, kind.label, kind.oid, *kind.aliases])
        return "".join(chance.choice([c.lower(), c.upper()]) for c in name)

    text = ",".join(f"{spelled(kind)}={escape(value)}" for kind, value in drawn)
    name = Name.of(parse_subject(text))
    assert [(one.oid, one.text()) for rdn in reversed(name.rdns) for one in rdn] == [
        (ObjectIdentifier(kind.oid), value) for kind, value in drawn
    ]
    printed = str(name)
    assert Name.parse(printed).reads_like(name)
    assert Name.of(parse_subject(printed)).reads_like(name)
    assert printed.startswith(f"{drawn[0][0].label}=")


@given(st.text(alphabet='CNOU=,+;#"\\<> a1\u00fc', max_size=16))
def test_any_text_is_read_as_a_subject_or_refused(text):
    try:
        name = Name.of(parse_subject(text))
    except UsageError:
        return
    assert Name.parse(str(name)).reads_like(name)


def test_a_name_that_is_not_well_formed_is_told_before_the_subject():
    """Whoever asks for a certificate is told of it as before, whatever else is wrong."""
    subject = Name(seq(set_(seq(oid("1.2.840.113549.1.9.1"), tlv(0x0C, b"\xff")))))
    names = [GeneralName(tlv(0x81, b"no address"))]
    with pytest.raises(BadRequest, match="rfc822Name"):
        allowed_names(names, subject, frozenset({"email"}))
