"""Profiles: the subject, the names and the templates of a certificate, as devices meet them."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

import der
import forge
import keys
from enrolment import devices
from enrolment.world import CA
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.blocklist import Blocklist
from scepkit.ca.profiles.patterns import Pattern
from scepkit.ca.profiles.profile import Profile
from scepkit.ca.profiles.templates import Template
from scepkit.enrolment.rules import KeyChange, RenewalRules
from scepkit.errors import BadRequest, SettingsError
from scepkit.protocol import csr as pkcs10
from scepkit.protocol import csr_writing
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import extension, read_purposes
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.rfc4514 import parse_subject
from scepkit.protocol.scep.messages import PKCSReq
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.server.settings.profiles.values import attribute_type

pytest.importorskip("jinja2", reason="pip install 'scepkit[profiles]'")
pytest.importorskip("re2", reason="pip install 'scepkit[profiles]'")


@pytest.fixture
def profile(world):
    """Make the endpoint issue by a profile, written as in scep.toml."""

    def use(**keys):
        world.use(profile=ProfileSettings(**keys).compiled("vpn"))

    return use


def enrol(world, subject="CN=device", *, sans=(), data=(), label=None):
    """Return the reply for a request with its own transactionID."""
    secret = world.challenge(data=data, label=label)
    return world.enrol(secret, subject=subject, sans=sans, transaction_id=secret)


def subject(reply):
    return str(Name.of(reply.x509.subject))


def names(reply):
    found = reply.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(one.value) for one in found]


# --- the subject ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "asked", "said"),
    [
        ({"O": {"required": True}}, "CN=a", "the subject's O is missing (subject.O.required"),
        ({"O": {"forbidden": True}}, "CN=a,O=x", "O is not allowed (subject.O.forbidden"),
        ({"OU": {"max": 1}}, "CN=a,OU=x,OU=y", "OU is there 2 times, at most 1"),
        ({"CN": {"pattern": "[a-z]+"}}, "CN=a1", "CN does not match the pattern (subject.CN.p"),
        ({"cn": {"pattern": "[a-z]+"}}, "CN=a b", "(subject.CN.pattern of the profile 'vpn')"),
        ({"2.5.4.3": {"pattern": "[a-z]+"}}, "CN=A", "subject.CN.pattern"),
        ({"OU": {"pattern": "x"}}, "CN=a,OU=x,OU=y", "OU does not match"),
    ],
)
def test_a_subject_that_is_refused(world, profile, rules, asked, said):
    """The device reads attribute and rule, and its challenge stays good."""
    profile(subject=rules)
    fail_info, text = enrol(world, asked).refusal
    assert fail_info == "badRequest"
    assert said in text
    assert (world.issued, world.spent) == (0, 0)


@pytest.mark.parametrize(
    ("rules", "others", "asked", "certified"),
    [
        ({"O": {"fixed": "Example"}}, "allow", "CN=a", "O=Example,CN=a"),
        ({"O": {"fixed": "Example"}}, "allow", "CN=a,O=x,C=CH", "CN=a,O=Example,C=CH"),
        ({"O": {"fixed": "Example"}}, "allow", "CN=a,O=x,O=y", "CN=a,O=Example"),
        ({"O": {"fixed": 'E",CN=root'}}, "allow", "CN=a", 'O=E\\"\\,CN=root,CN=a'),
        ({"C": {"fixed": "CH"}}, "allow", "CN=a,C=DE", "CN=a,C=CH"),
        ({"CN": {"required": True}}, "cut", "CN=a,O=x,OU=y", "CN=a"),
        ({}, "allow", "CN=a,O=x", "CN=a,O=x"),
        ({"OU": {"template": "{{ endpoint }}"}}, "allow", "CN=a", "OU=default,CN=a"),
        ({"CN": {"template": "{{ subject.CN | lower }}"}}, "allow", "CN=ABC", "CN=abc"),
        ({"OU": {"template": "{{ subject.OU | default('') }}"}}, "allow", "CN=a", "CN=a"),
        ({"O": {"template": "{{ subject_all.OU | join('-') }}"}}, "allow", "OU=x", "O=x,OU=x"),
    ],
)
def test_a_subject_that_the_profile_makes(world, profile, rules, others, asked, certified):
    profile(subject=rules, other_attributes=others)
    assert subject(enrol(world, asked)) == certified


def test_other_attributes_are_refused(world, profile):
    profile(subject={"CN": {}}, other_attributes="refuse")
    assert subject(enrol(world, "CN=a")) == "CN=a"
    assert "O is not allowed (other_attributes" in enrol(world, "CN=a,O=x").refusal[1]


def test_what_a_challenge_says(world, profile):
    """Its label and its data are values of templates; a request cannot say them."""
    profile(
        subject={
            "OU": {"template": "{{ challenge.label }}"},
            "O": {"template": "{{ challenge.data.owner }}"},
        }
    )
    reply = enrol(world, "CN=a,O=x", data=["owner=Example, Inc."], label="order 17")
    assert subject(reply) == "OU=order 17,CN=a,O=Example\\, Inc."
    text = enrol(world, label="order 17").refusal[1]
    assert text == (
        "the subject's O cannot be made: a value that it needs is missing or does not fit "
        "(subject.O.template of the profile 'vpn')"
    )


def test_a_label_that_a_challenge_has_not_is_missing(world, profile):
    """It is no text, such as `None`."""
    profile(subject={"OU": {"template": "{{ challenge.label }}"}})
    assert "a value that it needs is missing" in enrol(world).refusal[1]
    profile(subject={"OU": {"template": "{{ challenge.label | default('none') }}"}})
    assert subject(enrol(world)) == "OU=none,CN=device"


@pytest.mark.parametrize("made", ["{{ challenge.data }}", "{{ subject_all.CN }}", "{{ self }}"])
def test_what_is_no_text_is_no_value(world, profile, made):
    profile(subject={"OU": {"template": made}})
    assert "does not fit" in enrol(world, data=["owner=a"]).refusal[1]


ATTRIBUTES = st.sampled_from(["CN", "O", "OU", "serialNumber", "UID"])
TEXTS = st.text('abc ,+="\\\\#', min_size=1, max_size=5).filter(str.strip)


@given(
    st.lists(st.lists(st.tuples(ATTRIBUTES, TEXTS), min_size=1, max_size=2), max_size=4),
    # Not every text can be a serialNumber, and what cannot is no profile's.
    st.dictionaries(ATTRIBUTES.filter(lambda one: one != "serialNumber"), TEXTS, max_size=3),
    st.sampled_from(["allow", "cut"]),
)
def test_what_is_fixed_is_there_once_and_all_else_stays(parts, fixed, others):
    """Whatever a subject is like, and whatever the values are; to do it again changes nothing."""
    subject = Name(
        der.seq(
            *(
                der.set_(*(der.seq(attribute_type(one), der.utf8(text)) for one, text in part))
                for part in parts
            )
        )
    )
    rules = ProfileSettings(
        subject={one: {"fixed": text} for one, text in fixed.items()}, other_attributes=others
    ).compiled("vpn")
    if rules.subject is None:
        return
    made = rules.subject.certified(subject, {})
    found = [(one.label, one.text()) for rdn in made.rdns for one in rdn]
    for one, text in fixed.items():
        assert [value for label, value in found if label == one] == [text]
    asked = [(one.label, one.text()) for rdn in subject.rdns for one in rdn]
    left = [one for one in asked if one[0] not in fixed] if others == "allow" else []
    assert sorted(one for one in found if one[0] not in fixed) == sorted(left)
    assert rules.subject.certified(made, None) is made
    assert rules.of_request(made).matches(rules.of_request(subject))


HOSTILE = ['"', "'; DROP", "{{ 7 * 7 }}", "{% for x in y %}", "\\,O=evil", "+CN=root", "x" * 60]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("made", ["{{ subject.CN }}", "{{ challenge.data.v }}"])
def test_a_hostile_value_is_a_value(world, profile, value, made):
    """Nothing in it is a template, or an attribute more."""
    profile(subject={"OU": {"template": made}})
    attribute = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)])
    reply = enrol(world, attribute, data=[f"v={value}"])
    (made,) = reply.x509.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert made.value == value
    assert len(list(reply.x509.subject)) == 2


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "\u202ex", "x" * 65, "x" * 1024])
def test_a_value_that_cannot_be_in_a_name_is_refused(world, profile, value):
    """Whatever the template makes of it: of `description` a request may have more than of OU."""
    profile(
        subject={"OU": {"template": "{{ subject.description }}"}},
        other_attributes="cut",
    )
    description = x509.NameAttribute(x509.ObjectIdentifier("2.5.4.13"), value)
    asked = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a"), description])
    assert enrol(world, asked).refusal[0] == "badRequest"
    assert (world.issued, world.spent) == (0, 0)


def test_a_value_that_is_too_long_is_refused():
    template = Template.of("{{ challenge.data.v }}")
    values = {"challenge": {"data": {"v": "x" * 1_000_000}}}
    with pytest.raises(BadRequest, match="at most 1024 fit"):
        template.value(values, "OU", "subject.OU.template")


@given(st.text(max_size=80))
def test_a_template_puts_out_what_it_is_given(value):
    template = Template.of("{{ subject.CN }}")
    assert template.value({"subject": {"CN": value}}, "CN", "subject.CN.template") == value


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{% for a in names %}{% endfor %}",
        "{{ range(10) }}",
        "{{ subject.CN.upper() }}",
        "{{ 'a' * 1000000000 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ subject.CN | format }}",
        "{{ 9 ** 99999999 }}",
        "{{ ''.__class__.__mro__ }}",
        "{% include 'x' %}",
        "{{ request.CN }}",
        "{{ cycler }}",
        "{% macro a() %}{% endmacro %}",
        "{{ subject | attr('CN') }}",
        "{{ subject.CN | replace('a', subject.CN) }}",
        "{{ subject.CN | join(subject.CN) }}",
        "{{ subject.CN | join(d=subject.CN) }}",
    ],
)
def test_a_template_that_is_refused(text):
    """At the start, or with every request; it never computes anything."""
    begun = time.process_time()
    with pytest.raises((SettingsError, BadRequest)):
        Template.of(text).value({"subject": {"CN": "a"}}, "CN", "")
    assert time.process_time() - begun < 5


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "asked", "said"),
    [
        ({"dns": {"suffixes": ["example.com"]}}, ["dns:a.example.org"], "names.dns.suffixes"),
        ({"dns": {"suffixes": ["example.com"]}}, ["dns:evilexample.com"], "names.dns.suffixes"),
        ({"dns": {"patterns": ["[a-z]+[.]lan"]}}, ["dns:a1.lan"], "names.dns.patterns"),
        ({"dns": {"min": 1}}, [], "is there 0 times, at least 1 are needed (names.dns.min"),
        ({"dns": {"max": 1}}, ["dns:a.x", "dns:b.x"], "names.dns.max"),
        ({}, ["dns:*.example.com"], "has a wildcard (names.dns.wildcards"),
        ({"dns": {"wildcards": True}}, ["dns:*.com"], "a wildcard on a public suffix"),
        ({"dns": {"wildcards": True}}, ["dns:*.co.uk"], "a wildcard on a public suffix"),
        ({"dns": {"wildcards": True}}, ["dns:*."], "a wildcard on a public suffix"),
        ({"dns": {"wildcards": True}}, ["dns:*.COM."], "a wildcard on a public suffix"),
        ({"dns": {"wildcards": True}}, ["dns:a.*.example.com"], "is not its first label"),
        ({"dns": {"wildcards": True}}, ["dns:a*.example.com"], "is not its first label"),
        ({"dns": {"wildcards": True}}, ["dns:*.*.example.com"], "is not its first label"),
        ({"ip": {"networks": ["10.0.0.0/8"]}}, ["ip:192.0.2.1"], "names.ip.networks"),
        ({"ip": {"networks": ["10.0.0.0/8"]}}, ["ip:2001:db8::1"], "names.ip.networks"),
        ({"email": {"suffixes": ["example.com"]}}, ["email:a@example.org"], "names.email.suff"),
        ({"uri": {"suffixes": ["example.com"]}}, ["uri:http://a@b/example.com"], "names.uri.s"),
        ({"dns": {"min": 2}}, ["dns:a.x", "dns:a.x"], "is there 1 times, at least 2"),
        ({"uri": {"patterns": ["https://.*"]}}, ["uri:http://a/"], "names.uri.patterns"),
        ({"max": 2}, ["dns:a.x", "dns:b.x", "dns:c.x"], "3 alternative names are too many"),
        ({}, [f"dns:h{n}.x" for n in range(3000)], "3000 alternative names are too many"),
    ],
)
def test_names_that_are_refused(world, profile, rules, asked, said):
    profile(names=rules)
    assert said in enrol(world, sans=asked).refusal[1]
    assert (world.issued, world.spent) == (0, 0)


@pytest.mark.parametrize(
    ("rules", "asked", "certified"),
    [
        ({"dns": {"suffixes": [".Example.com"]}}, ["dns:a.EXAMPLE.com"], ["a.EXAMPLE.com"]),
        ({"dns": {"suffixes": ["example.com"]}}, ["dns:example.com"], ["example.com"]),
        ({"dns": {"wildcards": True}}, ["dns:*.example.co.uk"], ["*.example.co.uk"]),
        ({"ip": {"networks": ["10.0.0.0/8", "2001:db8::/32"]}}, ["ip:10.1.2.3"], ["10.1.2.3"]),
        ({"kinds": ["ip"]}, ["dns:*.com", "ip:10.1.2.3"], ["10.1.2.3"]),
        ({"dns": {"add": ["{{ subject.CN }}.lan"]}}, ["ip:10.1.2.3"], ["10.1.2.3", "device.lan"]),
        ({"dns": {"add": ["{{ subject.CN }}.lan"]}}, [], ["device.lan"]),
        ({"dns": {"add": ["device.lan"]}}, ["dns:device.lan"], ["device.lan"]),
        ({"ip": {"add": ["{{ challenge.data.ip }}"]}}, [], ["192.0.2.7"]),
    ],
)
def test_names_that_are_certified(world, profile, rules, asked, certified):
    profile(names=rules)
    assert names(enrol(world, sans=asked, data=["ip=192.0.2.7"])) == certified


def test_an_added_name_follows_the_rules_too(world, profile):
    profile(names={"dns": {"add": ["{{ subject.CN }}"], "suffixes": ["example.com"]}})
    assert names(enrol(world, "CN=a.example.com")) == ["a.example.com"]
    assert "names.dns.suffixes" in enrol(world, "CN=a.example.org").refusal[1]


@pytest.mark.parametrize("value", ["ä.example", "a b", "a\\nb", "x" * 300])
def test_an_added_name_that_is_none(world, profile, value):
    profile(names={"dns": {"add": ["{{ challenge.data.v }}"]}})
    assert enrol(world, data=[f"v={value}"]).refusal[0] == "badRequest"
    assert world.issued == 0


@pytest.mark.parametrize(
    ("kind", "made", "what"),
    [
        ("dns", "{{ challenge.data.v }}", "cannot be made: a value that it needs is missing"),
        ("ip", "x", "is none"),
        ("directory", "x", "is none"),
        ("uri", 60 * "{{ subject.CN }}", "would have 1200 characters"),
    ],
)
def test_an_added_name_that_cannot_be_made_says_by_which_rule(world, profile, kind, made, what):
    profile(names={"kinds": [kind], kind: {"add": [made]}})
    text = enrol(world, f"CN={20 * 'a'}").refusal[1]
    assert text.startswith(f"the {kind} name that is added {what}")
    assert text.endswith(f" (names.{kind}.add of the profile 'vpn')")


def test_addresses_in_the_subject_follow_the_rules(world, profile):
    """They become alternative names, whatever the request says."""
    profile(names={"email": {"suffixes": ["example.com"]}})
    assert "names.email" in enrol(world, "CN=a,E=x@example.org").refusal[1]
    assert names(enrol(world, "CN=a,E=x@example.com")) == ["x@example.com"]


def test_names_are_counted_once_however_many_there_are(world, profile, monkeypatch):
    """Each is compared with those of its hash alone: a stranger sends thousands."""
    compared = []
    same = GeneralName.__eq__

    def counted(one, other):
        compared.append(one)
        return same(one, other)

    profile(names={"email": {"suffixes": ["example.com"]}})
    asked = [f"email:{n}@example.com" for n in range(600)]
    subject = "CN=a," + ",".join(f"E={n}@example.com" for n in range(500, 900))
    monkeypatch.setattr(GeneralName, "__eq__", counted)
    text = enrol(world, subject, sans=asked).refusal[1]
    assert "900 alternative names are too many, at most 100" in text
    assert len(compared) < 1000


@pytest.mark.parametrize(
    "address", ['"x"@example.org', "X <x@example.org>", "x@example.org,a@example.com", "x@[::1]"]
)
@pytest.mark.parametrize("rule", [{"suffixes": ["example.com"]}, {"max": 0}, {"patterns": [".*"]}])
def test_what_stands_for_an_address_does_not_pass_by_the_rules(world, profile, rule, address):
    """It would be no alternative name, and in the subject all the same."""
    asked = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, address)])
    profile(names={"email": rule})
    assert "is not one address" in enrol(world, asked).refusal[1]
    profile(names={"dns": {"max": 1}})
    assert enrol(world, asked).x509


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.org\\.example.com/",
        "https://evil.org\\@a.example.com/",
        "https://evil.org%2f.example.com/",
        "https://evil.org .example.com/",
        "https://a.example.com@evil.org/",
        "https:evil.org//a.example.com",
        "https://[::1]/.example.com",
    ],
)
def test_a_host_that_readers_differ_on_is_below_no_suffix(world, profile, uri):
    profile(names={"uri": {"suffixes": ["example.com"]}})
    asked = x509.UniformResourceIdentifier(uri)
    assert "names.uri.suffixes" in enrol(world, sans=[asked]).refusal[1]


@pytest.mark.parametrize("uri", ["https://A.example.com:8443/x?y#z", "ldap://me@example.com./"])
def test_a_host_below_a_suffix(world, profile, uri):
    profile(names={"uri": {"suffixes": ["example.com"]}})
    assert names(enrol(world, sans=[x509.UniformResourceIdentifier(uri)])) == [uri]


@pytest.mark.parametrize("domain", ["bank.example", "BANK.Example", "ban\u212a.example"])
def test_a_letter_that_folds_into_ascii_is_another_one(world, profile, domain):
    """The Kelvin sign is no K, whatever Unicode says."""
    profile(names={"upn": {"suffixes": ["bank.example"]}}, identity=True)
    name = f"upn:admin@{domain}"
    secret = world.challenge(subject="CN=admin", sans=(name,))
    reply = world.enrol(secret, subject="CN=admin", sans=[name])
    if domain.isascii():
        assert reply.certificate
    else:
        assert "names.upn.suffixes" in reply.refusal[1]


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20))
@example("x,O=evil")
@example("x+O=evil")
@example("#0500")
@example('"\\')
def test_a_value_in_a_directory_name_is_one_attribute(value):
    rules = ProfileSettings(
        names={
            "kinds": ["directory"],
            "directory": {"add": ["CN={{ subject.CN }}+O={{ endpoint }},OU=a\\,b"]},
        }
    ).compiled("vpn")
    known = {"subject": {"CN": value}, "endpoint": value}
    (made,) = rules.names.certified((), Name.of(parse_subject("CN=a")), known)
    found = [[(one.label, one.text()) for one in rdn] for rdn in Name(made.octets).rdns]
    assert sorted(sorted(rdn) for rdn in found) == [[("CN", value), ("O", value)], [("OU", "a,b")]]


@pytest.mark.parametrize(
    ("made", "value", "uri"),
    [
        ("https://{{ subject.CN }}.example.com/", "a.b", "https://a.b.example.com/"),
        ("https://{{ subject.CN }}.example.com/", "evil.org/", "https://evil.org%2F.example.com/"),
        ("urn:x:{{ subject.CN }}", "\u00e4 :#", "urn:x:%C3%A4%20%3A%23"),
        ("{{ 'urn:' ~ subject.CN }}", "a:b", "urn%3Aa%3Ab"),
        ("{% if endpoint %}{{ subject.CN }}{% endif %}", "urn:b", "urn%3Ab"),
        ("{{ subject.CN }}", "https://a.example.com/", "https://a.example.com/"),
    ],
)
def test_a_value_in_a_uri_is_one_part(made, value, uri):
    rules = ProfileSettings(names={"uri": {"add": [made]}}).compiled("vpn")
    known = {"subject": {"CN": value}, "endpoint": "default"}
    (name,) = rules.names.certified((), Name.of(parse_subject("CN=a")), known)
    assert name.string == uri


def test_directory_names(world, profile):
    """They are taken over where they are allowed, and have to match as they are written."""
    directory = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")]))
    profile(names={"kinds": ["dns", "directory"], "directory": {"patterns": ["CN=a"]}})
    found = enrol(world, sans=[directory]).x509.extensions
    value = found.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(value) == [directory]
    other = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "b")]))
    assert "names.directory.patterns" in enrol(world, sans=[other]).refusal[1]


@given(st.ip_addresses(v=4), st.integers(7, 32))
def test_networks(address, length):
    network = ipaddress.ip_network(f"10.0.0.0/{length}")
    rules = ProfileSettings(names={"ip": {"networks": [str(network)]}}).compiled("vpn").names
    wanted = devices.request(sans=[f"ip:{address}"]).extensions.subject_alternative_names
    try:
        assert rules.certified(wanted, Name.of(parse_subject("CN=a")), {}) == wanted
    except BadRequest:
        assert address not in network
    else:
        assert address in network


@pytest.mark.parametrize("text", ["(", "(?=a)", r"(a)\1", "a{1001}", "(a{1000}){1000}"])
def test_a_pattern_that_is_refused(text):
    with pytest.raises(SettingsError, match="is no pattern"):
        Pattern.of(text)


@pytest.mark.parametrize("text", ["(a+)+b", "(a|a)*b", "(.*)*z", "(x+x+)+y"])
def test_a_pattern_that_would_go_back_for_ever(text):
    assert not Pattern.of(text).matches("a" * 100_000 + "x" * 100_000)


def test_a_pattern_matches_the_whole():
    assert Pattern.of("a|ab").matches("ab")
    assert not Pattern.of("a").matches("ab")
    assert not Pattern.of(".*").matches("\ud800")


# --- renewals -------------------------------------------------------------------------------------


def renewed(world, reply, subject="CN=device", **how):
    holder = keys.Holder(keys.device().key, reply.x509)
    return world.renew(holder, subject=subject, transaction_id=f"next {subject}", **how)


def test_a_renewal_keeps_what_the_profile_has_made(world, profile):
    """The device asks as at first; the values of its challenge are gone, and are kept."""
    profile(
        subject={
            "O": {"fixed": "Example"},
            "OU": {"template": "{{ challenge.data.unit }}"},
        },
        names={"dns": {"add": ["{{ challenge.data.host }}"]}},
    )
    first = enrol(world, data=["unit=Lab", "host=a.example"])
    assert subject(first) == "OU=Lab,O=Example,CN=device"
    again = renewed(world, first)
    assert (subject(again), names(again)) == (subject(first), ["a.example"])
    # With the subject of its certificate, as others do.
    other = renewed(world, first, "CN=device,O=Example,OU=Lab")
    assert (subject(other), names(other)) == (subject(first), ["a.example"])
    text = renewed(world, first, "CN=other").refusal[1]
    assert "has to be for the subject" in text


def test_a_renewal_is_held_to_the_rules_of_today(world, profile):
    profile()
    first = enrol(world, sans=["dns:a.example.org"])
    profile(names={"dns": {"suffixes": ["example.com"]}})
    assert "names.dns.suffixes" in renewed(world, first, sans=["dns:a.example.org"]).refusal[1]
    profile(subject={"CN": {"pattern": "x.*"}})
    assert "subject.CN.pattern" in renewed(world, first).refusal[1]


SAME_KEY = "(renewal.same_key of the profile)"


@pytest.mark.parametrize("kind", [17, 19])
@pytest.mark.parametrize(
    ("rule", "key", "said"),
    [
        (KeyChange.ALLOWED, "device", ""),
        (KeyChange.ALLOWED, "next", ""),
        (KeyChange.NEEDED, "device", f"for another key than its certificate has {SAME_KEY}"),
        (KeyChange.NEEDED, "next", ""),
        (KeyChange.FORBIDDEN, "device", ""),
        (KeyChange.FORBIDDEN, "next", f"for the key that its certificate has {SAME_KEY}"),
    ],
)
def test_the_key_of_a_renewal(world, rule, key, said, kind):
    device = world.enrolled()
    world.use(renewal=RenewalRules(same_key=rule))
    reply = world.renew(device, key=keys.rsa_key(key), kind=kind)
    if said:
        assert said in reply.refusal[1]
    else:
        assert reply.x509.public_key() == keys.rsa_key(key).public_key()


# --- who decides ----------------------------------------------------------------------------------


def test_a_request_that_waits_has_its_names_already(world, profile):
    """The operator sees them, and approves what is held to the rules of that time."""
    profile(subject={"O": {"fixed": "Example"}}, names={"dns": {"add": ["{{ subject.CN }}.lan"]}})
    world.use(approval=True)
    world.enrol(transaction_id="w")
    (row,) = world.store.requests()
    assert row.subject == "O=Example,CN=device"
    world.approval.approve(row.id, by="me", now=world.now)
    reply = world.poll(transaction_id="w")
    assert (subject(reply), names(reply)) == ("O=Example,CN=device", ["device.lan"])


def test_a_request_that_has_waited_is_held_to_the_rules_of_today(world, profile):
    """The operator is told, and the request waits on."""
    profile()
    world.use(approval=True)
    world.enrol(sans=["dns:a.example.org"], transaction_id="w")
    (row,) = world.store.requests()
    profile(names={"dns": {"suffixes": ["example.com"]}})
    with pytest.raises(BadRequest, match=r"names\.dns\.suffixes"):
        world.approval.approve(row.id, by="me", now=world.now)
    assert world.issued == 0


def test_a_stranger_is_told_nothing_of_the_rules(world, profile):
    """Without a right challenge a request that breaks them is like any other."""
    profile(subject={"CN": {"pattern": "x"}})
    assert world.enrol("wrong", subject="CN=device").refusal == (
        "badRequest",
        "the challengePassword is missing or not valid for this request",
    )


# --- keys, validity, further extensions -----------------------------------------------------------


def test_a_blocked_key(world):
    """By its hash; another key gets its certificate."""
    blocked = Blocklist.read("weak.txt", [keys.device().certificate.key_hash.hex().encode()])
    world.use(profile=ProfileSettings().compiled("vpn", blocked))
    assert "the key is blocked (key.blocklist" in enrol(world).refusal[1]
    secret = world.challenge()
    assert world.enrol(secret, signer=keys.device("other"), transaction_id="o").x509


@pytest.mark.parametrize("how", ["blocked", "kinds"])
def test_a_key_that_is_refused_does_not_wait_for_an_operator(world, how):
    blocked = Blocklist.read("weak.txt", [keys.device().certificate.key_hash.hex().encode()])
    key = {"kinds": ["p256"]} if how == "kinds" else {}
    world.use(profile=ProfileSettings(key=key).compiled("vpn", blocked), approval=True)
    assert "of the profile 'vpn'" in enrol(world).refusal[1]
    assert not world.sql("SELECT * FROM requests")


def test_weak_keys():
    """Close primes, small factors, and ROCA are found; an ordinary key is not."""
    pytest.importorskip("badkeys", reason="pip install 'scepkit[badkeys]'")
    rules = ProfileSettings(key={"weak": "refuse"}).compiled("vpn").keys
    prime = 2**521 - 1
    close = rsa.RSAPublicNumbers(65537, (prime * 3**320 | 1) ** 2).public_key()
    small = rsa.RSAPublicNumbers(65537, (2**1279 - 1) * 10007).public_key()
    for key, said in ((close, "close together"), (small, "small factor")):
        with pytest.raises(BadRequest, match=said):
            rules.check(key, b"")
    rules.check(keys.device().key.public_key(), b"")


def pair(name, value):
    texts = [der.tlv(0x1E, text.encode("utf-16-be")) for text in (name, value)]
    return der.seq(*texts)


@pytest.mark.parametrize(
    ("asked", "hours"),
    [
        ((("ValidityPeriod", "Hours"), ("ValidityPeriodUnits", "5")), 5),
        ((("ValidityPeriodUnits", "2"), ("ValidityPeriod", "Days")), 48),
        ((("ValidityPeriod", "Years"), ("ValidityPeriodUnits", "9")), 365 * 24),
        ((("ValidityPeriod", "Years"), ("ValidityPeriodUnits", "9999")), 365 * 24),
        ((("ValidityPeriod", "Days"),), 365 * 24),
        ((("ValidityPeriod", "Days"), ("ValidityPeriodUnits", "0")), 365 * 24),
        ((("ValidityPeriod", "Days"), ("ValidityPeriodUnits", "-1")), 365 * 24),
        ((("ValidityPeriod", "Days"), ("ValidityPeriodUnits", "9" * 400)), 365 * 24),
        ((("ValidityPeriod", "Ages"), ("ValidityPeriodUnits", "1")), 365 * 24),
    ],
)
def test_a_request_may_shorten_its_validity(world, asked, hours):
    """And not lengthen it; what cannot be read asks for nothing."""
    request = forged(asked)
    for mode, expected in (("shorten", hours), ("ignore", 365 * 24)):
        profile = ProfileSettings(requested_validity=mode, backdate="0m").compiled("vpn")
        order = Order(request.subject, request.public_key, request.extensions, profile, keys.NOW)
        issued = CA.certify(replace(order, csr=request))
        assert issued.not_after - issued.not_before == timedelta(hours=expected)


def forged(pairs):
    """Return a PKCS#10 with pairs of names and values, as archives are read: unsigned."""
    kind = der.oid("1.3.6.1.4.1.311.13.2.1")
    attributes = [der.seq(kind, der.set_(pair(*one))) for one in pairs]
    request = devices.request()
    return pkcs10.read_archived(
        csr_writing.unsigned(request.subject.der, request.canonical_spki, attributes)
    )


@pytest.mark.parametrize("of_today", ["shorten", "ignore"])
@pytest.mark.parametrize("mode", ["shorten", "ignore"])
def test_what_a_request_asked_for_is_kept_while_it_waits(world, mode, of_today):
    """Where the profile said so when it came, and says so when it is approved."""
    asked = (("ValidityPeriod", "Hours"), ("ValidityPeriodUnits", "5"))
    kind = der.oid("1.3.6.1.4.1.311.13.2.1")
    holder = keys.device()
    attributes = [der.seq(kind, der.set_(pair(*one))) for one in asked]
    attributes.append(forge.challenge(world.challenge()))
    request = pkcs10.read(forge.csr(holder.key, attributes=attributes), NO_LEGACY)
    world.use(profile=shortening(mode), approval=True)
    message = devices.seal(PKCSReq(request), to=world.ra)
    world.ask(message)
    world.use(profile=shortening(of_today))
    (row,) = world.store.requests()
    world.approval.approve(row.id, by="al", now=world.now)
    issued = world.ask(message).x509
    hours = 5 if mode == of_today == "shorten" else 24
    assert issued.not_valid_after_utc - issued.not_valid_before_utc == timedelta(hours=hours)


def shortening(mode):
    return ProfileSettings(requested_validity=mode, validity="24h", backdate="0m").compiled("vpn")


POLICY = {"oid": "1.2.3.4", "cps": "https://a.example/cps"}


def test_further_extensions(world, profile):
    """Policies and constant ones are in each certificate, others where a request has them."""
    profile(
        policies=[POLICY],
        extensions=[{"oid": "1.2.3.5", "value": "0c0161"}],
        copied_extensions=["1.2.3.6"],
    )
    found = enrol_with(world, ("1.2.3.6", b"\x05\0"), ("1.2.3.7", b"\x05\0")).x509.extensions
    (policy,) = found.get_extension_for_class(x509.CertificatePolicies).value
    assert policy.policy_qualifiers == ["https://a.example/cps"]
    others = {one.oid.dotted_string: one.value.public_bytes() for one in found}
    assert (others["1.2.3.5"], others["1.2.3.6"]) == (b"\x0c\x01a", b"\x05\0")
    assert "1.2.3.7" not in others


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([b""], "is no DER"),
        ([b"\x05"], "is no DER"),
        ([b"\x05\0\0"], "is no DER"),
        ([b"\x04\x81\x01a"], "is no DER"),
        ([b"\x04\x82\x10\x01" + bytes(4097)], "has 4101 octets, at most 4096"),
        ([b"\x05\0", b"\x04\0"], "is there twice"),
    ],
)
def test_a_copied_extension_that_is_refused(world, profile, values, said):
    profile(copied_extensions=["1.2.3.6"])
    reply = enrol_with(world, *(("1.2.3.6", value) for value in values))
    assert f"the extension 1.2.3.6 {said}" in reply.refusal[1]
    assert world.spent == 0


def enrol_with(world, *extensions):
    """Return the reply to a request with extensions, each an OID and its value."""
    wanted = der.seq(*(extension(der.oid(oid), value) for oid, value in extensions))
    secret = world.challenge()
    attributes = [forge.challenge(secret), forge.attribute("1.2.840.113549.1.9.14", wanted)]
    request = pkcs10.read(forge.csr(keys.device().key, attributes=attributes), NO_LEGACY)
    return world.ask(devices.seal(PKCSReq(request), to=world.ra, transaction_id=secret))


# --- identity -------------------------------------------------------------------------------------

LOG_IN = {"names": {"upn": {"add": ["{{ challenge.data.upn }}"]}}, "identity": True}


def test_the_data_of_a_challenge_say_who_somebody_is(world, profile):
    """The profile makes the name of them; a request may ask for the same, and for no other."""
    profile(**LOG_IN)
    mine, other = "upn:me@example.com", "upn:admin@example.com"
    for asked in ((), (mine,)):
        certificate = enrol(world, sans=asked, data=["upn=me@example.com"]).x509
        assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert (
        "user principal name" in enrol(world, sans=[other], data=["upn=me@example.com"]).refusal[1]
    )


def test_the_data_of_a_host_say_nothing_of_a_log_in(world, profile):
    """The purpose of one wants a challenge that names who logs in."""
    purposes = ["client_auth", "smartcard_logon"]
    wanted = x509.ExtendedKeyUsage(read_purposes(purposes))
    asked = [x509.Extension(wanted.oid, False, wanted)]

    def reply(kind, data):
        profile(
            names={kind: {"add": [f"{{{{ challenge.data.{kind} }}}}"]}},
            allowed_eku=purposes,
            identity=True,
        )
        secret = world.challenge(data=data)
        message = PKCSReq(devices.request(secret, extensions=asked))
        return world.ask(devices.seal(message, to=world.ra, transaction_id=secret))

    assert "smartcard_logon" in reply("dns", ["dns=host.example"]).refusal[1]
    assert reply("upn", ["upn=me@example.com"]).certificate


def test_a_template_of_the_requests_own_values_vouches_for_nobody(world, profile):
    profile(names={"upn": {"add": ["{{ subject.CN }}@example.com"]}}, identity=True)
    assert "user principal name" in enrol(world, "CN=admin", data=["upn=x@y"]).refusal[1]
    assert world.issued == 0


# --- the length of a renewal chain ----------------------------------------------------------------


def chained(world, holder, days):
    """Renew a certificate after some days; return the reply."""
    world.now += timedelta(days=days)
    return world.renew(holder, transaction_id=f"chain {world.now}")


@pytest.mark.parametrize("purged", [False, True])
def test_a_chain_of_renewals_ends(world, purged):
    """It counts from the first certificate, also when that is deleted long since."""
    world.use(profile=Profile(validity=timedelta(days=100)))
    world.use(renewal=RenewalRules(longest=timedelta(days=200)))
    holder = world.enrolled()
    for _ in range(2):
        holder = keys.Holder(holder.key, chained(world, holder, 90).x509)
        if purged:
            world.sql("UPDATE certificates SET renews = NULL, renews_issuer = NULL")
    reply = chained(world, holder, 30)
    assert reply.refusal == (
        "badRequest",
        (
            "this certificate has been renewed for as long as is allowed "
            "(renewal.longest of the profile)"
        ),
    )
    # With a challenge it is a first enrolment, and the time begins anew.
    anew = world.renew(holder, challenge=world.challenge(), kind=19, transaction_id="anew")
    assert anew.x509
    again = chained(world, keys.Holder(holder.key, anew.x509), 90)
    assert again.x509


def test_a_chain_without_an_end(world):
    world.use(profile=Profile(validity=timedelta(days=100)))
    holder = world.enrolled()
    for _ in range(3):
        holder = keys.Holder(holder.key, chained(world, holder, 90).x509)
