"""Who may have a certificate: the holder of an unspent challenge, and only for what it is for."""

from __future__ import annotations

import base64
import logging
import string
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import example, given, reject
from hypothesis import strategies as st

import forge
import keys
import minted
from enrolment import devices
from enrolment.world import HOUR, NAME, World
from scepkit.enrolment import binding
from scepkit.enrolment.challenges import REFUSED
from scepkit.enrolment.challenges.one_time import OneTimeChallenges
from scepkit.enrolment.challenges.orders import ChallengeOrder
from scepkit.errors import BadRequest, StoreError, UsageError
from scepkit.operations import challenges
from scepkit.protocol import csr as pkcs10
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.rfc4514 import parse_subject

REFUSAL = ("badRequest", REFUSED)


def judge(world, challenge, **how):
    return world.challenges.judge(devices.request(challenge, **how), world.now)


def void(world, secret):
    """Void the challenge and return its number."""
    found = world.store.find_challenge(NAME, world.challenges.mac(secret))
    done = challenges.void(world.store, [found], by="alice", now=world.now)
    assert done == challenges.Voided((found.id,), ())
    return found.id


# --- making them ----------------------------------------------------------------------------------


@pytest.mark.rfc("S-7.3-1")
def test_a_challenge_is_random(world):
    """A challenge is 160 random bits in 32 characters that every string type can hold."""
    made = minted.secrets(world.challenges, count=100, now=world.now, lifetime=HOUR)
    assert len(set(made)) == 100
    assert all(len(base64.b32decode(secret)) == 20 for secret in made)
    assert all(set(secret) <= set(string.ascii_uppercase + string.digits) for secret in made)


def test_all_or_none(world):
    """Challenges that cannot be stored are not given out."""
    world.sql("ALTER TABLE challenges RENAME TO elsewhere")
    with pytest.raises(StoreError):
        minted.secrets(world.challenges, count=2, now=world.now, lifetime=HOUR)


@pytest.mark.parametrize(
    "bound", [{"subject": "device"}, {"subject": "CN=a", "sans": ["dns:a b"]}, {"sans": ["dns:a"]}]
)
def test_bindings_that_cannot_be_read(world, bound):
    """A name that cannot be read, or names without a subject, are the operator's mistake."""
    with pytest.raises(UsageError):
        world.challenge(**bound)
    assert world.sql("SELECT count(*) FROM challenges") == [(0,)]


def test_labels(world):
    """A label is one line of text, with no blanks around it."""
    (secret,) = minted.secrets(world.challenges, now=world.now, lifetime=HOUR, label=" order 17 ")
    assert judge(world, secret).label == "order 17"
    for label in ("", "  ", "a\nb", "\x1b[2J", "x" * 101):
        with pytest.raises(UsageError, match="the label"):
            world.challenge(label=label)


# --- judging them ---------------------------------------------------------------------------------


@pytest.mark.rfc("S-2.4-2", "S-2.4-3", "S-2.4-7", "P-59", "P-75", "S-7.3-2", "S-7.3-3", "A-05")
@pytest.mark.parametrize(
    "data",
    [
        ["owner"],
        ["=x"],
        ["Owner=x"],
        ["owner="],
        ["owner=x", "owner=y"],
        ["owner=a\nb"],
        ["owner=" + "x" * 1001],
        ["x" * 33 + "=y"],
    ],
)
def test_data_that_cannot_be_used(data):
    """It is refused before a challenge is made."""
    with pytest.raises(UsageError):
        ChallengeOrder.of(timedelta(hours=1), data=data)


def test_data():
    """A value may hold whatever a line can show, an equals sign too."""
    data = ["owner=a=b", "mail=x@y.example"]
    assert ChallengeOrder.of(timedelta(hours=1), data=data).data == {
        "owner": "a=b",
        "mail": "x@y.example",
    }


def test_one_answer_for_every_refusal(world):
    """Whatever is wrong with a challenge, the device reads the same; only the log differs."""
    spent, expired, own, voided = (world.challenge() for _ in range(4))
    void(world, voided)
    bound = world.challenge(subject="CN=other")
    named = world.challenge(subject="CN=device", sans=["dns:a.example"])
    elsewhere = OneTimeChallenges(store=world.store, endpoint="elsewhere", key=world.key)
    (foreign,) = minted.secrets(elsewhere, now=world.now, lifetime=2 * HOUR)
    assert world.enrol(spent, transaction_id="first").certificate
    world.now += HOUR
    later = {"transaction_id": "later", "to": world.ra}
    cases = {
        "no challengePassword": devices.pkcs_req(None, **later),
        "unknown challenge": devices.pkcs_req("guessed", **later),
        "was spent at": devices.pkcs_req(spent, **later),
        "expired at": devices.pkcs_req(expired, **later),
        "was voided at 2": devices.pkcs_req(voided, **later),
        "unknown  ": devices.pkcs_req(own.lower(), **later),
        "unknown ": devices.pkcs_req(foreign, **later),
    }
    world.now -= timedelta(minutes=1)
    cases_in_time = {
        "is for the subject CN=other": devices.pkcs_req(bound, **later),
        "is not for the name dns:b.example": devices.pkcs_req(named, sans=["b.example"], **later),
    }
    for now, messages in ((HOUR, cases), (timedelta(0), cases_in_time)):
        world.now = keys.NOW + now
        for reason, message in messages.items():
            assert world.ask(message).refusal == REFUSAL, reason
            assert reason.strip() in world.reason(message)
            assert "make another challenge" in world.reason(message)
    assert world.issued == 1


def test_the_last_instant(world):
    """A challenge is good until it expires, and no longer."""
    secret = world.challenge(lifetime=HOUR)
    world.now += HOUR - timedelta(microseconds=1)
    assert judge(world, secret).mac
    world.now += timedelta(microseconds=1)
    with pytest.raises(BadRequest):
        judge(world, secret)
    assert world.enrol(secret).refusal == REFUSAL


@pytest.mark.rfc("P-31")
@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(forge.printable, id="PrintableString"),
        pytest.param(lambda text: forge.tlv(0x0C, text.encode()), id="UTF8String"),
        pytest.param(lambda text: forge.tlv(0x1E, text.encode("utf-16-be")), id="BMPString"),
        pytest.param(lambda text: forge.tlv(0x14, text.encode()), id="TeletexString"),
        pytest.param(lambda text: forge.tlv(0x16, text.encode()), id="IA5String"),
    ],
)
def test_string_types(world, encoded):
    """A challenge is the same text in whatever string type a device sends it."""
    secret = world.challenge()
    message = forge.request(forge.csr(attributes=[forge.challenge(encoded(secret))]))
    assert world.ask(message).certificate
    assert world.spent == 1
    assert_nowhere(world, secret)


def test_text_beyond_unicode(world):
    """Half a UTF-16 pair is not text; it is refused like everything that cannot be read."""
    value = forge.tlv(0x1E, b"\xd8\x00")
    message = forge.request(forge.csr(attributes=[forge.challenge(value)]))
    assert world.ask(message).refusal[0] == "badRequest"


def test_a_challenge_that_is_voided_while_a_request_is_decided(world):
    """Whoever asks just before the void gets the same answer as after it, and no certificate."""
    secret = world.challenge()
    message = devices.pkcs_req(secret, to=world.ra)
    decision = world.endpoint.decide(message)
    number = void(world, secret)
    concluded = world.endpoint.conclude(decision, world.endpoint.record(decision).result())
    assert devices.read(concluded.reply, world.ra).refusal == REFUSAL
    assert "or voided" in concluded.reason
    assert concluded.challenge.id == number
    assert world.issued == 0
    assert world.ask(message).refusal == REFUSAL


def test_voiding_all_of_a_subject(world):
    """The whole subject has to be the same, as for a request; other endpoints can be left alone."""
    bound = ["CN=dev1,O=Example", "O=example,CN=DEV1", "CN=dev1", "CN=dev10,O=Example", None]
    made = [world.challenge(subject=subject) for subject in bound]
    world.enrol(made[0], subject=bound[0])
    found = challenges.for_subject(world.store, "cn=Dev1,o=EXAMPLE")
    assert [one.subject for one in found] == [bound[1]]
    assert challenges.for_subject(world.store, "cn=Dev1,o=EXAMPLE", "elsewhere") == []
    assert [one.subject for one in challenges.for_subject(world.store, "CN=dev1")] == ["CN=dev1"]
    with pytest.raises(UsageError, match="is not a subject"):
        challenges.for_subject(world.store, "dev1")


# --- bound ones -----------------------------------------------------------------------------------


@pytest.mark.rfc("P-58")
@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("CN=dev1,O=Example,C=CH", "CN=dev1,O=Example,C=CH"),
        ("CN=dev1,O=Example,C=CH", "C=CH,O=Example,CN=dev1"),
        ("CN=dev1,O=Example", "CN=DEV1,O=EXAMPLE"),
        ("CN=dev 1", "CN=dev    1"),
        ("CN=Grün", "CN=gRüN"),
        ("CN=a+OU=b,O=c", "OU=b+CN=a,O=c"),
        ("E=a@b.example,CN=a", "CN=a,E=A@b.example"),
        (r"CN=a\,b\+c\"d\\e,O=\#1", r"CN=a\,b\+c\"d\\e,O=\#1"),
    ],
)
def test_the_same_subject(world, bound, asked):
    """Order of the RDNs, case and runs of spaces do not make it another subject.

    The certificate carries what the challenge is bound to, as it is spelled there.
    """
    reply = world.enrol(world.challenge(subject=bound), subject=asked)
    assert reply.x509.subject == parse_subject(bound)


@pytest.mark.parametrize("kind", ["PrintableString", "UTF8String", "BMPString", "T61String"])
def test_the_string_type_of_a_subject(world, kind):
    """How a device encodes its name does not matter."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev1", _ASN1Type[kind])])
    assert world.enrol(world.challenge(subject="CN=dev1"), subject=subject).certificate


@pytest.mark.rfc("P-58")
@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("CN=dev1", "CN=dev2"),
        ("CN=dev1", "CN=dev1,O=Example"),
        ("CN=dev1,O=Example", "CN=dev1"),
        ("CN=dev1", "O=dev1"),
        ("CN=dev1", "CN=dev1,CN=dev1"),
        ("CN=dev1", "CN=dev 1"),
        ("CN=dev1,O=Example", "CN=dev1+O=Example"),
        ("CN=dev1,O=Example", "CN=Example,O=dev1"),
        ("CN=kiosk", "CN=\u212aiosk"),
        ("CN=Strasse", "CN=Straße"),
        ("CN=Grün", "CN=GRÜN"),
        ("CN=a b", "CN=a\u00a0b"),
    ],
)
def test_another_subject(world, bound, asked):
    """The holder of a bound challenge cannot be anybody else, and burns it by no attempt."""
    secret = world.challenge(subject=bound)
    assert world.enrol(secret, subject=asked).refusal == REFUSAL
    assert world.spent == 0
    assert world.enrol(secret, subject=bound, transaction_id="b").certificate


@pytest.mark.rfc("P-58")
@pytest.mark.parametrize(
    ("bound", "asked", "good"),
    [
        (["dns:a.example", "ip:192.0.2.1"], [], True),
        (["dns:a.example", "ip:192.0.2.1"], ["dns:a.example"], True),
        (["dns:a.example", "ip:192.0.2.1"], ["ip:192.0.2.1", "dns:A.Example"], True),
        (["dns:a.example"], ["dns:a.example", "dns:b.example"], False),
        (["dns:a.example"], ["uri:a.example"], False),
        (["ip:2001:db8::1"], ["ip:2001:DB8:0::1"], True),
        ([], ["dns:device"], False),
        (["email:a@b.example"], ["email:A@b.example"], True),
        (["dns:*.example"], ["dns:a.example"], False),
    ],
)
def test_alternative_names(world, bound, asked, good):
    """A request may have the names of its challenge, or fewer; never one more."""
    secret = world.challenge(subject="CN=device", sans=bound)
    reply = world.enrol(secret, sans=asked)
    assert (reply.rep.pki_status.name == "SUCCESS") is good
    if not good:
        assert reply.refusal == REFUSAL


def test_a_principal_name_cannot_be_smuggled_in(world):
    """Microsoft's user principal name is a name too: a bound challenge is not for it."""
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
    upn = x509.OtherName(oid, b"\x0c\x0dadmin@example")
    secret = world.challenge(subject="CN=device", sans=["dns:a.example"])
    assert world.enrol(secret, sans=[upn]).refusal == REFUSAL


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
_OIDS = [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.USER_ID, NameOID.TITLE]
_ATTRIBUTE = st.builds(
    x509.NameAttribute,
    st.sampled_from(_OIDS),
    _TEXT.filter(lambda text: len(text.encode()) <= 64),
)


@given(st.lists(_ATTRIBUTE, min_size=1, max_size=4))
@example([x509.NameAttribute(NameOID.COMMON_NAME, "0\xa0")])
def test_a_binding_survives_the_database(attributes):
    """Whatever subject an operator can write is the same after it was stored as text."""
    name = x509.Name(attributes)
    try:
        stored = parse_subject(name.rfc4514_string()).rfc4514_string()
    except UsageError:
        reject()
    key = keys.ec_key()
    der = pkcs10.build(name, key)
    assert not binding.fault(pkcs10.read(der, NO_LEGACY), Name.parse(stored), ())


# --- secrets --------------------------------------------------------------------------------------


def assert_nowhere(world: World, *secrets: str) -> None:
    """Fail if a secret is in a file of the directory, in any encoding that a device may use."""
    for name, content in world.files.items():
        for secret in secrets:
            forms = [secret.encode(e) for e in ("ascii", "utf-16-be", "utf-16-le", "utf-32-be")]
            raw = base64.b32decode(secret)
            forms += [raw, raw.hex().encode(), base64.b64encode(raw)]
            assert not any(form in content for form in forms), name


@pytest.mark.rfc("S-7.3-4")
def test_no_secret_is_kept(world, caplog, capfd):
    """Neither an unspent nor a spent nor a refused challenge can be read off the server."""
    caplog.set_level(logging.DEBUG)
    unspent, spent, bound = world.challenge(), world.challenge(), world.challenge(subject="CN=x")
    message = devices.pkcs_req(spent, to=world.ra)
    decision = world.endpoint.decide(message)
    answer = world.endpoint.record(decision).result()
    decided = world.endpoint.conclude(decision, answer)
    refused = world.endpoint.decide(devices.pkcs_req(bound, to=world.ra, transaction_id="b"))
    with pytest.raises(BadRequest) as caught:
        judge(world, spent)
    seen = [decision, answer, decided, refused, caught.value, caught.value.hint]
    seen += [devices.request(spent), judge(world, unspent), caplog.text, *capfd.readouterr()]
    seen += [world.store.find_challenge("default", judge(world, unspent).mac), world.challenges]
    texts = [f"{one!r} {one}" for one in seen]
    for secret in (unspent, spent, bound):
        assert not any(secret in text for text in texts)
    assert_nowhere(world, unspent, spent, bound)
    world.store.close()
    assert_nowhere(world, unspent, spent, bound)


def test_the_key_of_the_digests_matters(world):
    """Without the server's key a copy of the database is good for nothing."""
    secret = world.challenge()
    other = OneTimeChallenges(store=world.store, endpoint="default", key=bytes(32))
    with pytest.raises(BadRequest):
        other.judge(devices.request(secret), world.now)
    assert world.key not in b"".join(world.files.values())
    assert "MACs" not in repr(world.challenges)


def test_the_log_names_rule_and_attribute_of_a_refusal(world):
    """As the operator's list of refused requests does; what was granted has neither."""
    message = devices.pkcs_req("A" * 32, to=world.ra)
    facts = world.endpoint.decide(message).facts()
    assert (facts["rule"], facts["attribute"]) == ("challenge", "challengePassword")
    facts = world.endpoint.decide(devices.pkcs_req(world.challenge(), to=world.ra)).facts()
    assert {"rule", "attribute"}.isdisjoint(facts)
