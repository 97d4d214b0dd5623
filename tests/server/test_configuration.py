"""Files that configure devices: they say what they were made of, whatever that is."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography import x509
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

import configured
import keys
from scepkit.errors import UsageError
from scepkit.keys.pem import kind
from scepkit.operations.configuration.enrolment import (
    DeviceEnrolment,
    key_size,
    read_names,
    read_subject,
)
from scepkit.operations.configuration.mobileconfig import AppleProfile, identifier, mobileconfig
from scepkit.operations.configuration.windows_csp import (
    KeyProtection,
    WindowsNodes,
    windows_csp,
)
from scepkit.protocol.distinguished_name import Name
from scepkit.server.endpoints.description import description, device_enrolment
from scepkit.server.settings import load
from server.live import scep_here

ROOT, BELOW = keys.ca().x509, keys.ra().x509
CLIENT_AUTH = (ObjectIdentifier("1.3.6.1.5.5.7.3.2"),)
NODES = WindowsNodes(purposes=CLIENT_AUTH)
TURNING = "\u202e\u2066\u200f\u061c"
HOSTILE = st.text(
    st.one_of(
        st.sampled_from("<>&\"'];,=+#\\/ \r\n\t\0\x1b\x85\u2028\ufffe\ufdd0é漢\u200d" + TURNING),
        st.characters(),
        st.sampled_from(["]", ">"]),
    ),
    min_size=1,
    max_size=12,
)


def enrolment(subject="CN=device,O=Example", names=(), **more):
    return DeviceEnrolment(
        **{
            "endpoint": "default",
            "url": "https://pki.example.com/scep",
            "subject": read_subject(subject),
            "names": read_names(names),
            "chain": (ROOT,),
            "shown_top": ROOT,
            "challenge": "K7ZQ",
        }
        | more
    )


def texts(subject):
    return [[(one.oid.dotted_string, one.text()) for one in rdn] for rdn in subject.rdns]


FORMS = {
    "apple": lambda one: configured.of_apple(mobileconfig(one, AppleProfile())),
    "windows": lambda one: configured.of_windows(windows_csp(one, NODES)),
}


@pytest.mark.parametrize("form", FORMS)
@given(name=HOSTILE, unit=HOSTILE, serial=st.booleans())
def test_any_subject_comes_back_or_is_refused(form, name, unit, serial):
    attributes = [(NameOID.COMMON_NAME, name)]
    if serial:
        attributes.append((NameOID.PSEUDONYM, unit))
    try:
        rdns = [[x509.NameAttribute(NameOID.ORGANIZATION_NAME, unit)]]
        rdns.append([x509.NameAttribute(oid, text) for oid, text in attributes])
        written = str(Name.of(x509.Name(map(x509.RelativeDistinguishedName, rdns))))
    except (ValueError, UnicodeEncodeError):
        return  # too long, or a half of a character: no certificate has it
    try:
        wanted = enrolment(written)
    except UsageError:
        wanted = None
    if wanted is None:
        assert not all(one.isprintable() and one.strip() for one in (name, unit))
        return
    told = FORMS[form](wanted)
    assert told.subject == texts(wanted.subject)
    assert {text for rdn in told.subject for _, text in rdn} >= {name, unit}


@pytest.mark.parametrize("form", FORMS)
@given(
    kind=st.sampled_from(["dns", "email", "uri", "upn"]), local=HOSTILE, host=st.just("a.example")
)
def test_any_name_comes_back_or_is_refused(form, kind, local, host):
    text = {"dns": local, "uri": f"https://{host}/{local}"}.get(kind, f"{local}@{host}")
    try:
        told = FORMS[form](enrolment(names=[f"{kind}:{text}"]))
    except UsageError:
        return
    assert told.names == [f"{kind}:{text.strip()}"]


@pytest.mark.parametrize("character", ["\0", "\r", "\n", "\x1b", "\x85", "\ufffe", *TURNING])
def test_what_xml_cannot_hold_or_turns_text_is_refused(character):
    octets = "".join(f"\\{one:02x}" for one in character.encode())
    with pytest.raises(
        UsageError, match=rf"subject's CN has the character U\+{ord(character):04X}"
    ):
        enrolment(f"CN=a{octets}b")
    for profile in (
        AppleProfile(display_name=f"a{character}"),
        AppleProfile(organization=f"a{character}"),
    ):
        with pytest.raises(UsageError, match="has the character"):
            mobileconfig(enrolment(), profile)


def test_letters_of_any_script_are_kept():
    """The zero-width joiners are letters' business in Persian and Indic scripts."""
    for text in ("Zoë", "می\u200cخو", "क्\u200dष", "山田", "👩\u200d🚀"):
        for form in FORMS.values():
            assert form(enrolment(f"CN={text}")).subject == [[("2.5.4.3", text)]]


def test_the_order_and_the_names_of_attributes():
    """RDNs in the order of a Name for Apple; what has no short name there goes by its OID."""
    wanted = enrolment("CN=a+UID=7,OU=b,ST=Zürich,C=CH,DC=example,emailAddress=a@b.example")
    expected = texts(wanted.subject)
    assert [rdn[0][0] for rdn in expected][:2] == [
        "1.2.840.113549.1.9.1",
        "0.9.2342.19200300.100.1.25",
    ]
    for form in FORMS.values():
        assert form(wanted).subject == expected
    profile = configured.of_apple(mobileconfig(wanted, AppleProfile()))
    shown = profile.rest["scep"]["Subject"]
    assert [rdn[0][0] for rdn in shown][2:] == ["C", "ST", "OU", "CN"]
    nodes = configured.of_windows(windows_csp(wanted, NODES)).rest
    assert nodes["SubjectName"].startswith("CN=a+OID.0.9.2342.19200300.100.1.1=7,OU=b,S=Zürich")


def test_quotes_as_cert_name_to_str_has_them():
    nodes = configured.of_windows(windows_csp(enrolment(r"CN=a\"b\,c,O=\ x"), NODES)).rest
    assert nodes["SubjectName"] == 'CN="a""b,c",O=" x"'


def test_the_kinds_of_names():
    names = ["dns:a.example", "dns:b.example", "email:a+b@b.example", "upn:al@corp.example"]
    for form in FORMS.values():
        assert sorted(form(enrolment(names=names)).names) == sorted(names)
    apple = FORMS["apple"](enrolment(names=names)).rest["scep"]["SubjectAltName"]
    assert apple["dNSName"] == ["a.example", "b.example"]
    assert apple["rfc822Name"] == "a+b@b.example"
    for form in FORMS.values():
        with pytest.raises(UsageError, match=r"ask for the name ip:192\.0\.2\.1"):
            form(enrolment(names=["ip:192.0.2.1"]))
    with pytest.raises(UsageError, match="cannot be told"):
        FORMS["windows"](enrolment(names=["uri:https://a.example/;b"]))
    with pytest.raises(UsageError, match="cannot be given the URL"):
        FORMS["windows"](enrolment(url="https://a.example/scep;x"))


def test_the_same_again_is_the_same():
    """A device takes the place of its profile; another subject is another payload of it."""

    def uuids(one, **chosen):
        rest = configured.of_apple(mobileconfig(one, AppleProfile(**chosen))).rest
        return [p["PayloadUUID"] for p in (rest, *rest["PayloadContent"])]

    first = uuids(enrolment())
    assert uuids(enrolment(challenge="ANOTHER"), display_name="x") == first
    other = uuids(enrolment("CN=other"))
    assert other[:2] == first[:2]
    assert other[2] != first[2]
    assert not set(uuids(enrolment(), identifier="com.example.vpn")) & set(first)
    assert not set(uuids(enrolment(endpoint="vpn"))) & set(first)
    named = [windows_csp(enrolment(challenge=c), NODES) for c in ("A", "B")]
    places = {configured.of_windows(one).rest["place"] for one in named}
    assert len(places) == 1


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://pki.example.com/scep", "com.example.pki.scep.default"),
        ("http://192.0.2.7:8080/scep", "192-0-2-7.scep.default"),
        ("http://[2001:db8::1]:8080/scep", "2001-db8-1.scep.default"),
        ("http://pki_1.example./scep", "example.pki-1.scep.default"),
    ],
)
def test_the_identifier(url, expected):
    assert identifier(enrolment(url=url)) == expected
    assert FORMS["apple"](enrolment(url=url)).rest["PayloadIdentifier"] == expected


@pytest.mark.parametrize("name", ["a b", "a..b", "<b>", "a/b", ".a"])
def test_identifiers_that_can_be_none(name):
    with pytest.raises(UsageError, match="can be no identifier"):
        mobileconfig(enrolment(), AppleProfile(identifier=name))
    if name != "a..b":
        with pytest.raises(UsageError, match="can be no identifier"):
            windows_csp(enrolment(), dataclasses.replace(NODES, identifier=name))


def test_where_somebody_approves_the_device_waits():
    assert FORMS["apple"](enrolment()).retries == (None, None)
    assert FORMS["apple"](enrolment(polls=True)).retries == (720, 60)
    assert FORMS["windows"](enrolment()).retries == (3, 5)
    assert FORMS["windows"](enrolment(polls=True)).retries == (30, 60)
    chosen = AppleProfile(retries=0, retry_seconds=5)
    assert configured.of_apple(mobileconfig(enrolment(polls=True), chosen)).retries == (0, 5)


def test_an_intermediate_ca():
    """Each certificate goes where it belongs, and Windows knows the root."""
    one = enrolment(chain=(BELOW, ROOT), shown_top=ROOT)
    assert one.shows_root
    told = FORMS["windows"](one)
    assert told.fingerprint == FORMS["apple"](one).fingerprint
    assert told.trusted == [BELOW, ROOT]
    # What GetCACert shows is what an Apple device can find there.
    short = dataclasses.replace(one, shown_top=BELOW)
    assert not short.shows_root
    assert FORMS["apple"](short).fingerprint != told.fingerprint


def test_what_windows_cannot_do():
    for wrong, what in (
        ({"challenge": "with_underscore"}, "characters that Windows cannot send"),
        ({"challenge": "schön"}, "characters that Windows cannot send"),
    ):
        with pytest.raises(UsageError, match=what) as caught:
            windows_csp(enrolment(**wrong), NODES)
        assert wrong["challenge"] not in f"{caught.value} {caught.value.hint}"
    hello = dataclasses.replace(NODES, protection=KeyProtection.HELLO)
    with pytest.raises(UsageError, match="belong together"):
        windows_csp(enrolment(), hello)
    with pytest.raises(UsageError, match="belong together"):
        windows_csp(enrolment(), dataclasses.replace(NODES, container="x"))
    hello = dataclasses.replace(hello, container="VPN")
    assert configured.of_windows(windows_csp(enrolment(), hello)).rest["ContainerName"] == "VPN"
    with pytest.raises(UsageError, match="2048 bits alone"):
        windows_csp(enrolment(key_size=4096), hello)


def test_the_choices_of_a_computer():
    nodes = dataclasses.replace(
        NODES, is_user=True, days=90, template="1.2.3", identifier="vpn-1", retries=7
    )
    told = configured.of_windows(windows_csp(enrolment(), nodes)).rest
    assert told["place"] == "./User/Vendor/MSFT/ClientCertificateInstall/SCEP/vpn-1"
    assert (told["ValidPeriod"], told["ValidPeriodUnits"]) == ("Days", "90")
    assert (told["TemplateName"], told["RetryCount"]) == ("1.2.3", "7")
    assert (told["HashAlgorithm"], told["EKUMapping"]) == ("SHA-2", "1.3.6.1.5.5.7.3.2")
    for number, place in enumerate(("tpm", "tpm-or-software", "software", "hello"), 1):
        assert KeyProtection(place).number == number


def test_without_a_challenge_there_is_none():
    for form in FORMS.values():
        assert form(enrolment(challenge="")).challenge is None


@pytest.mark.parametrize(
    ("wanted", "smallest", "largest", "size"),
    [
        (None, 2048, 8192, 2048),
        (None, 3072, 8192, 4096),
        (4096, 2048, 4096, 4096),
        (None, 1024, 2048, 2048),
    ],
)
def test_the_size_of_the_key(wanted, smallest, largest, size):
    assert key_size(wanted, smallest, largest) == size


@pytest.mark.parametrize(("wanted", "largest"), [(None, 0), (3072, 8192), (4096, 2048)])
def test_no_key_that_fits(wanted, largest):
    with pytest.raises(UsageError, match="RSA keys of 2048 or 4096 bits"):
        key_size(wanted, 2048, largest)


@pytest.mark.parametrize(
    ("settings", "shows_root"),
    [("", True), ('preset = "apple"', False), ("include_root = false", False)],
)
def test_what_is_shown_of_an_intermediate_ca(tmp_path, settings, shows_root):
    """The fingerprint is that of what a device finds; it is said where that is not the root."""
    root = keys.ca()
    issuing = keys.certify("Issuing", keys.ec_key("issuing"), root, ca=True)
    (tmp_path / "ca.pem").write_text(issuing.certificate.pem())
    (tmp_path / "chain.pem").write_text(root.certificate.pem())
    (tmp_path / "scep.toml").write_text(
        f'public_url = "https://pki.example.com/scep"\n[endpoint.default]\n{settings}\n'
    )
    endpoint = description(load(tmp_path), "default")
    one = device_enrolment(endpoint, read_subject("CN=a"), ())
    assert one.chain == (issuing.x509, root.x509)
    assert one.shown_top == (root if shows_root else issuing).x509
    assert one.shows_root == shows_root
    words = ("--subject", "CN=a", "--challenge", "none", "--dir", tmp_path)
    for form in ("mobileconfig", "windows-csp"):
        done = scep_here(form, *words)
        assert done.returncode == 0, done.stderr
        assert ("does not show the root" in done.stderr) == (not shows_root)
    shown = scep_here("admin", "endpoint", "show", "--dir", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert f"root       CN=Test CA, {kind(root.key.public_key())}" in shown.stdout
