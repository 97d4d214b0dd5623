"""What a CA issues keeps to its name constraints: `openssl verify -x509_strict` is the judge."""

from __future__ import annotations

import ipaddress
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
from chains import usage
from scepkit.ca import suitability
from scepkit.ca.authority import Authority
from scepkit.ca.identity import Identity
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.issuable import name_fault
from scepkit.ca.profiles.profile import Profile
from scepkit.errors import BadRequest, Malformed, SettingsError
from scepkit.protocol.asn1 import der
from scepkit.protocol.distinguished_name import EMPTY, Name
from scepkit.protocol.extensions import SUBJECT_ALTERNATIVE_NAME, Extensions, extension
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.name_constraints import NameConstraints, _text_of
from scepkit.server.settings.profiles.format import ProfileSettings
from waiting import PATIENCE

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
NC = x509.ObjectIdentifier("2.5.29.30")
MINIMUM, MAXIMUM = b"\x80\x01\x01", b"\x81\x01\x01"
CA_NAME = Name.parse("CN=Constrained,O=Example").x509()


def dns(text):
    return GeneralName.of(x509.DNSName(text))


def email(text):
    return GeneralName.email(text)


def uri(text):
    return GeneralName.of(x509.UniformResourceIdentifier(text))


def ip(text):
    kind = ipaddress.ip_network if "/" in text else ipaddress.ip_address
    return GeneralName.of(x509.IPAddress(kind(text)))


def directory(text):
    return GeneralName.of(x509.DirectoryName(Name.parse(text).x509()))


RID = GeneralName.of(x509.RegisteredID(x509.ObjectIdentifier("1.2.3")))


def subtrees(*names, bounds=b""):
    return b"".join(der.sequence(one.der, bounds) for one in names)


def constraints(permitted=(), excluded=(), bounds=b""):
    """Return the value of the extension, DER."""
    parts = [
        der.tagged(tag, subtrees(*names, bounds=bounds))
        for tag, names in enumerate((permitted, excluded))
        if names
    ]
    return der.sequence(*parts)


def certified(value=None, *, by=None, subject=CA_NAME, path_length=None, days=1000, critical=True):
    """Return a CA certificate with constraints, and its key."""
    key = keys.ec_key(str(subject))
    above, private = by or (None, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + days * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if above is not None:
        ski = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
        aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
        builder = builder.add_extension(aki, critical=False)
    if value is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(NC, value), critical=critical)
    return builder.sign(private, hashes.SHA256()), key


def order(subject, names, **more):
    value = der.sequence(*(one.der for one in names))
    asked = [extension(SUBJECT_ALTERNATIVE_NAME, value)] if names else []
    return Order(
        subject=subject if isinstance(subject, Name) else Name.parse(subject),
        public_key=keys.ec_key("device").public_key(),
        requested=Extensions.read(asked),
        profile=Profile(identity=True),
        now=NOW,
        identity=Identity.TAKEN_OVER,
        **more,
    )


def verifies(directory, leaf, root, *between):
    """Say whether openssl accepts a certificate."""
    files = {"leaf.pem": [leaf], "root.pem": [root], "between.pem": between or [root]}
    for file, certificates in files.items():
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
        (directory / file).write_bytes(pem)
    done = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-CAfile", "root.pem"),
            *("-untrusted", "between.pem", "leaf.pem"),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode == 0, done.stdout + done.stderr


def judged(directory, value, subject, names):
    """Return whether we issue, whether openssl verifies what we would, and what both say."""
    root, key = certified(value)
    wanted = order(subject, names)
    free = Authority(certified()[0], key).certify(wanted)
    accepted, said = verifies(directory, x509.load_der_x509_certificate(free.der), root)
    try:
        Authority(root, key).certify(wanted)
    except BadRequest as error:
        return False, accepted, f"{error.message}\n{said}"
    return True, accepted, said


# --- names at random ------------------------------------------------------------------------------

# Few of each, so that names often fit, or nearly.
HOSTS = st.sampled_from(["b", "a.b", "A.B", "ba.b", "x.a.b"])
LOCALS = st.sampled_from(["x", "X"])
MAILBOXES = st.builds("{}@{}".format, LOCALS, HOSTS)
PATHS = st.sampled_from(["", "/", "/p", ":80", ":80/p"])
URIS = st.builds("{}://{}{}".format, st.sampled_from(["http", "x-y"]), HOSTS, PATHS)
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.1.1", "11.0.0.0", "2001:db8::1", "::1"])
NETWORKS = st.sampled_from(
    ["10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "10.0.1.1/32", "2001:db8::/32", "::/0"]
)
WORDS = st.sampled_from(["Ex  ample", "ex ample", "\u00dcnit", "\u00fcnit", "a.b"])
PART = st.builds("{}={}".format, st.sampled_from(["O", "CN"]), WORDS)
SUBJECTS = st.lists(PART, min_size=1, max_size=3).map(",".join)
DOMAINS = st.one_of(HOSTS, HOSTS.map(".{}".format))

# The bases of each kind, and its names.
KINDS = [
    (st.one_of(DOMAINS, st.just("")).map(dns), HOSTS.map(dns)),
    (st.one_of(DOMAINS, MAILBOXES).map(email), MAILBOXES.map(email)),
    (DOMAINS.map(uri), URIS.map(uri)),
    (NETWORKS.map(ip), ADDRESSES.map(ip)),
    (SUBJECTS.map(directory), st.nothing()),
    (st.sampled_from([RID, GeneralName.upn(".a")]), st.just(GeneralName.upn("u@a"))),
]
NAMES = st.one_of(*(names for _, names in KINDS))
BASES = st.one_of(*(bases for bases, _ in KINDS))
MIXED = [*KINDS, (BASES, NAMES)]


def some(kind):
    bases, names = kind
    few = st.lists(bases, max_size=2)
    return st.tuples(few, few, st.just([]) if names.is_empty else st.lists(names, max_size=2))


ODD_NAMES = st.one_of(
    HOSTS.map("{}.".format).map(dns),
    HOSTS.map("*.{}".format).map(dns),
    st.builds("http://{}@{}{}".format, LOCALS, HOSTS, PATHS).map(uri),
    st.builds(
        "http://{}{}".format, HOSTS, st.sampled_from(["?q", "#f", "/a:b", "?a/b", "/@x"])
    ).map(uri),
    st.sampled_from(
        ["urn:x:y", "http://10.0.0.1/", "http://[::1]/", "mailto:a@b", "x", "http:///p"]
    ).map(uri),
    NAMES,
)
ODD_SUBJECTS = st.one_of(
    SUBJECTS,
    st.builds("CN={},E={}".format, HOSTS, MAILBOXES),
    st.sampled_from(["CN=a.example.com", "CN=*.example.com", "CN=a_b.example.com"]),
)
SOME = st.lists(BASES, max_size=3)
OF_A_KIND = st.sampled_from(MIXED).flatmap(some)
BOUNDS = st.sampled_from([b""] * 8 + [MINIMUM, MAXIMUM])


@given(OF_A_KIND, BOUNDS, SUBJECTS)
@settings(max_examples=400, deadline=None)
def test_what_is_issued_verifies_and_what_is_refused_would_not(
    tmp_path_factory, drawn, bounds, subject
):
    permitted, excluded, names = drawn
    value = constraints(permitted, excluded, bounds)
    if not permitted and not excluded:
        return
    directory = tmp_path_factory.getbasetemp()
    issued, accepted, said = judged(directory, value, subject, names)
    assert issued == accepted, said


@given(SOME, SOME, ODD_SUBJECTS, st.lists(ODD_NAMES, max_size=3))
@settings(max_examples=150, deadline=None)
def test_what_is_issued_verifies_however_odd_it_is(
    tmp_path_factory, permitted, excluded, subject, names
):
    """In the corners more is refused than openssl does: other verifiers differ there."""
    if not permitted and not excluded:
        return
    value = constraints(permitted, excluded)
    directory = tmp_path_factory.getbasetemp()
    issued, accepted, said = judged(directory, value, subject, names)
    assert accepted or not issued, said


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_octets_at_random_are_constraints_or_refused(value):
    try:
        found = NameConstraints.read(value, "CN=ca")
        found.check(Name.parse("CN=a"), [dns("a"), email("a@b"), uri("http://a"), ip("::1")])
    except (Malformed, BadRequest):
        pass


# --- one by one -----------------------------------------------------------------------------------

HERE = "CN=dev,O=Example"


@pytest.mark.parametrize(
    ("permitted", "excluded", "subject", "names", "told"),
    [
        ([dns("example.com")], [], HERE, [dns("evil.org")], "dNSName is in no permitted subtree"),
        ([dns("example.com")], [], HERE, [dns("badexample.com")], "in no permitted subtree"),
        ([dns("example.com")], [], "CN=a.evil.org", [], "the host name in the CN is in no perm"),
        ([], [dns("b.a.com")], HERE, [dns("*.a.com")], "in an excluded subtree"),
        ([dns("a.com")], [], HERE, [dns("x.a.com.")], "it ends with a dot"),
        ([email("a.com")], [], HERE, [email("x@b.a.com")], "rfc822Name is in no permitted"),
        ([], [email("x@a.com")], HERE, [email("x@A.com")], "rfc822Name is in an excluded"),
        ([email("x@a.com")], [], HERE, [email("X@a.com")], "rfc822Name is in no permitted"),
        ([email("a.com")], [], "CN=d,E=x@b.com", [], "emailAddress of the subject is in no perm"),
        ([uri("a.com")], [], HERE, [uri("http://b.com/")], "uniformResourceIdentifier is in no"),
        ([], [uri("a.com")], HERE, [uri("urn:x:y")], "it names no host"),
        ([], [uri("a.com")], HERE, [uri("http://10.0.0.1/")], "its host is an address"),
        ([], [uri("a.com")], HERE, [uri("http://a.com?x:y")], "not read alike by all"),
        ([ip("10.0.0.0/8")], [], HERE, [ip("11.0.0.1")], "iPAddress is in no permitted"),
        ([ip("10.0.0.0/8")], [], HERE, [ip("::1")], "iPAddress is in no permitted"),
        ([], [ip("::/0")], HERE, [ip("::1")], "iPAddress is in an excluded"),
        ([directory("O=Example")], [], "CN=dev", [], "the subject is in no permitted"),
        ([], [directory("O=Example")], HERE, [], "the subject is in an excluded"),
        ([GeneralName.upn("@a")], [], HERE, [GeneralName.upn("u@a")], "otherName cannot be held"),
    ],
)
def test_a_refusal_names_the_kind_and_the_rule(tmp_path, permitted, excluded, subject, names, told):
    """And no value; the log has the subtrees, which are the CA's."""
    root, key = certified(constraints(permitted, excluded))
    with pytest.raises(BadRequest) as found:
        Authority(root, key).certify(order(subject, names))
    assert told in found.value.text
    assert found.value.text.startswith("by the CA's name constraints ")
    assert 'of "CN=Constrained,O=Example"' in found.value.message
    for value in ("evil", "badexample", "11.0", "dev", "x@", "X@", "u@a", "urn:"):
        assert value not in found.value.text
    base = str((permitted or excluded)[0])
    if "subtree" in told and not base.startswith("ip:"):
        assert base.partition(":")[2] in found.value.message


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"\x0a\0\0\0\xff\0\0\0", "10.0.0.0/8"),
        (b"\x0a\0\0\0\0\0\0\0", "10.0.0.0/0"),
        (b"\x0a\1\2\3\xff\xff\xff\xff", "10.1.2.3/32"),
        (b"\x0a\0\0\1\xff\0\0\xff", "10.0.0.1/255.0.0.255"),
        (bytes.fromhex("20010db8") + bytes(12) + b"\xff" * 4 + bytes(12), "2001:db8::/32"),
        (b"\x0a\0\0\0\xff", "#0a000000ff"),
        (b"\x0a\0\0\0\xff\0\0\0\0", "#0a000000ff00000000"),
        (b"", "#"),
    ],
)
def test_networks_are_shown_as_people_write_them(octets, shown):
    name = GeneralName(der.element(0x87, octets))
    assert _text_of(name) == f"ip:{shown}"


@pytest.mark.parametrize(
    ("permitted", "names"),
    [
        ([dns("example.com")], [dns("a.EXAMPLE.com"), dns("example.com"), dns("*.example.com")]),
        ([dns(".example.com")], [dns("a.b.example.com")]),
        ([email("a.com"), email(".b.com")], [email("x@A.com"), email("y@c.b.com")]),
        ([uri(".a.com")], [uri("https://x.a.com:8443/p"), dns("elsewhere.org")]),
        ([ip("10.0.0.0/8"), ip("2001:db8::/32")], [ip("10.9.9.9"), ip("2001:db8::9")]),
        ([RID], [dns("a.com")]),
    ],
)
def test_what_is_allowed(tmp_path, permitted, names):
    assert judged(tmp_path, constraints(permitted), HERE, names)[:2] == (True, True)


def test_an_empty_subject_has_no_directory_name(tmp_path):
    value = constraints([directory("O=Example")])
    assert judged(tmp_path, value, EMPTY, [dns("a.com")])[:2] == (True, True)


def test_an_email_address_in_another_string_type(tmp_path):
    """Openssl refuses it under constraints of whatever kind."""
    root, key = certified(constraints([dns("a.com")]))
    octets = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "x@a.com")]).public_bytes()
    other = Name(octets.replace(b"\x16\x07x@a", b"\x0c\x07x@a"))
    with pytest.raises(BadRequest, match="IA5String"):
        NameConstraints.read(constraints([dns("a.com")]), "CN=ca").check(other, [])
    # As a device asks for it, it becomes one.
    assert Authority(root, key).certify(order(other, [dns("a.com")]))


def test_constraints_that_are_not_critical_count_too(tmp_path):
    root, key = certified(constraints([dns("a.com")]), critical=False)
    with pytest.raises(BadRequest):
        Authority(root, key).certify(order(HERE, [dns("b.com")]))


def test_those_of_the_certificates_above(tmp_path):
    """Name constraints, validity and path length of all that is known count."""
    root, root_key = certified(
        constraints([dns("a.com")]), subject=Name.parse("CN=Root").x509(), days=100
    )
    sub, key = certified(by=(root, root_key), days=100)
    authority = Authority(sub, key, above=[root])
    for at in (authority, authority.at(None)):
        with pytest.raises(BadRequest, match='of "CN=Root"'):
            at.certify(order(HERE, [dns("b.com")]))
    issued = authority.certify(order(HERE, [dns("x.a.com")]))
    assert issued.not_after == NOW + 100 * DAY
    leaf = x509.load_der_x509_certificate(issued.der)
    assert verifies(tmp_path, leaf, root, sub)[0]


def test_a_path_length_above_that_is_used_up(tmp_path):
    root, root_key = certified(subject=Name.parse("CN=Root").x509(), path_length=0)
    sub, key = certified(by=(root, root_key))
    with pytest.raises(SettingsError, match="a path length of 0: 1 CAs are below it"):
        Authority(sub, key, above=[root]).certify(order(HERE, []))
    leaf = x509.load_der_x509_certificate(Authority(sub, key).certify(order(HERE, [])).der)
    assert not verifies(tmp_path, leaf, root, sub)[0]


@pytest.mark.parametrize(
    "value",
    [
        b"\x30\x02\xa5\x00",
        b"\5\0",
        der.sequence(der.tagged(0, der.sequence())),
        constraints([GeneralName(b"\x87\x05\1\2\3\4\5")]),
        constraints([GeneralName(b"\x82\x02\xff\xff")]),
    ],
)
def test_constraints_that_cannot_be_read_allow_nothing(value):
    root, key = certified(value)
    with pytest.raises(SettingsError, match='name constraints of the certificate "CN=Constrained'):
        Authority(root, key)
    with pytest.raises(SettingsError, match="cannot be read"):
        suitability.check(root, key, [], datetime.now(UTC))


def test_more_names_than_can_be_compared():
    found = NameConstraints.read(constraints([dns(f"a{n}.com") for n in range(1100)]), "CN=ca")
    with pytest.raises(BadRequest, match="too many"):
        found.check(EMPTY, [dns("a1.com")] * 1000)


@pytest.mark.parametrize(
    ("suffixes", "said"),
    [
        ({"dns": ["example.com"]}, ""),
        ({"dns": ["example.org", "example.com"]}, ""),
        ({"dns": ["example.org"]}, "the CA may issue no dns name that the profile allows: "),
        ({"dns": ["example.com"], "email": ["example.org"]}, "no email name that the profile"),
    ],
)
def test_a_profile_whose_names_the_ca_may_not_issue(suffixes, said):
    """The start and `scep admin profile check` refuse it."""
    permitted = [dns("example.com"), email("example.com")]
    authority = Authority(*certified(constraints(permitted)))
    names = {kind: {"suffixes": some} for kind, some in suffixes.items()}
    profile = ProfileSettings(names=names).compiled("hosts")
    found = name_fault(profile, authority)
    assert found.startswith(said) if said.startswith("the") else said in found
    assert bool(found) == bool(said)
