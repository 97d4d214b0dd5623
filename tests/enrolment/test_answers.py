"""The answer of a service: it binds a request, and the profile makes a certificate of it."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

import keys
from enrolment import devices
from enrolment.test_identity import SID, UPN, names, purposes, wanted
from enrolment.test_third_parties import OtherIssuer, Referee, ask, decide, request
from enrolment.world import NAME
from scepkit.ca.issuer import Later
from scepkit.ca.profiles.names import NameRule, NameRules
from scepkit.ca.profiles.profile import SAN_TYPES, Profile
from scepkit.ca.profiles.subject import AttributeRule, SubjectRules
from scepkit.ca.profiles.templates import Template
from scepkit.enrolment.answers import NOTHING, REFUSED, ServiceAnswer
from scepkit.enrolment.challenges import NoChallenge
from scepkit.enrolment.rules import RenewalRules, SubjectRule
from scepkit.enrolment.third_parties import No, ThirdParties, Yes
from scepkit.errors import StoreError, ThirdPartyFailed
from scepkit.operations.approval import Approval
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.scep.messages import Failure, Pending, PKCSReq, RenewalReq, Success
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.server.settings.profiles.values import attribute_type
from scepkit.store import SameSubject

HOST = "dns:host.example"
SMARTCARD = ExtendedKeyUsageOID.SMARTCARD_LOGON


def yes(**answer):
    return Yes(ServiceAnswer(**answer))


def profile(subject=None, names=None, **more):
    """Return a profile with templates: of attributes, and of names by their kinds."""
    made = {
        attribute_type(label): AttributeRule(
            label=label, type=attribute_type(label), template=Template.of(text)
        )
        for label, text in (subject or {}).items()
    }
    rules = {
        kind: NameRule(added=tuple(map(Template.of, texts)))
        for kind, texts in (names or {}).items()
    }
    return Profile(
        subject=SubjectRules("made", made) if made else None,
        names=NameRules("made", SAN_TYPES, rules) if rules else None,
        **more,
    )


def sealed(world, *sans, challenge=None, eku=(), **how):
    return devices.seal(PKCSReq(wanted(*sans, eku=eku, challenge=challenge)), to=world.ra, **how)


def crash(*_):
    raise StoreError("the machine stops here")


# --- what it makes of a certificate ---------------------------------------------------------------


def test_the_profile_makes_subject_and_names_of_it(world):
    made = profile(
        {"OU": "{{ service.data.department }}", "O": "{{ service.subject.CN | upper }}"},
        {"dns": ["{{ service.names.dns | first }}", "{{ service.data.host }}.example"]},
    )
    answer = yes(
        subject="CN=device", names=["dns:more.example"], data={"department": "IT", "host": "h"}
    )
    world.use(profile=made, parties=ThirdParties(referee=Referee(answer)))
    reply = ask(world, request(world, world.challenge()))
    assert str(Name(reply.x509.subject.public_bytes())) == "O=DEVICE,OU=IT,CN=device"
    assert names(reply) == ["dns:more.example", "dns:h.example"]


@pytest.mark.parametrize("answer", [Yes(), yes(data={"other": "x"}), yes(subject="CN=device")])
def test_a_value_that_it_lacks_refuses_the_request(world, answer):
    made = profile({"OU": "{{ service.data.department }}"})
    world.use(profile=made, parties=ThirdParties(referee=Referee(answer)))
    reply = ask(world, request(world, world.challenge()))
    assert reply.refusal == (
        "badRequest",
        (
            "the subject's OU cannot be made: a value that it needs is missing or does not fit"
            " (subject.OU.template of the profile 'made')"
        ),
    )
    assert world.issued == 0


def test_a_template_may_do_without_it(world):
    made = profile({"OU": '{{ service.data.department | default("none") }}'})
    world.use(profile=made, parties=ThirdParties(referee=Referee()))
    reply = ask(world, request(world, world.challenge()))
    assert str(Name(reply.x509.subject.public_bytes())) == "OU=none,CN=device"


def test_without_a_service_its_values_are_missing(world):
    world.use(profile=profile({"OU": "{{ service.data.department }}"}))
    assert world.enrol(world.challenge()).refusal[0] == "badRequest"


@pytest.mark.parametrize(
    ("hours", "valid"), [(1, timedelta(hours=1)), (24 * 365, timedelta(days=30))]
)
@pytest.mark.parametrize("waits", [False, True])
def test_it_shortens_the_validity_and_never_lengthens_it(world, hours, valid, waits):
    parties = ThirdParties(referee=Referee(yes(validity=timedelta(hours=hours))))
    made = Profile(validity=timedelta(days=30))
    world.use(profile=made, parties=parties, approval=waits)
    message = request(world, world.challenge())
    if not waits:
        issued = ask(world, message).x509
    else:
        assert isinstance(ask(world, message).rep, Pending)
        world.now += timedelta(days=2)  # longer than a yes is good for
        world.store.forget_assents(world.now - timedelta(days=1))
        (row,) = world.store.requests()
        world.approval.approve(row.id, by="al", now=world.now)
        issued = ask(world, message).x509
    assert issued.not_valid_after_utc == (world.now + valid).replace(microsecond=0)


# --- what it binds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "allowed", "asked", "issued"),
    [
        ("CN=device", [HOST, "dns:b"], [HOST], [HOST]),
        ("CN=DEVICE", [HOST], ["dns:HOST.example"], [HOST]),
        ("CN=device", [], [], None),
        ("CN=other", [], [], "for the subject CN=other"),
        ("CN=device", [], [HOST], f"not for the name {HOST}"),
        ("CN=device", ["dns:b"], [HOST], f"not for the name {HOST}"),
    ],
)
def test_it_binds_the_request(world, subject, allowed, asked, issued):
    """As a bound challenge does, whose spelling is issued; the device is not told what differs."""
    answer = yes(subject=subject, names=allowed)
    world.use(parties=ThirdParties(referee=Referee(answer)))
    step = asyncio.run(decide(world, sealed(world, *asked, challenge=world.challenge())))
    if isinstance(issued, str):
        assert step.answer == Failure(2, REFUSED)
        assert step.reason == f"the answer of MDM is {issued}"
        assert (world.issued, world.spent) == (0, 0)
        return
    reply = devices.read(step.reply, world.ra)
    assert str(Name(reply.x509.subject.public_bytes())) == subject
    assert issued is None or names(reply) == issued


def test_it_binds_a_renewal(world):
    holder = world.enrolled()
    referee = Referee(yes(subject="CN=other"), yes(subject="CN=device"))
    world.use(parties=ThirdParties(referee=referee))
    answers = [
        asyncio.run(
            decide(world, devices.renewal_req(to=world.ra, signer=holder, transaction_id=one))
        ).answer
        for one in "bbc"
    ]
    # The answer to a request stands as long as a yes does.
    assert answers[:2] == [Failure(2, REFUSED)] * 2
    assert isinstance(answers[2], Success)
    assert len(referee.asked) == 2


@pytest.mark.parametrize("new_names", [False, True])
@pytest.mark.parametrize("says", ["its own part", "all of it"])
def test_it_need_not_name_what_the_profile_makes(world, says, new_names):
    """Neither at first, nor at a renewal, which asks for all that the certificate has."""
    rules = {"O": {"fixed": "Example"}, "OU": {"template": "{{ service.data.ou }}"}}
    made = ProfileSettings(
        subject=rules, names={"email": {"add": ["{{ service.data.mail }}"]}}
    ).compiled("made")
    binds = {"subject": "CN=device", "names": [HOST]}
    if says == "all of it":
        binds = {"subject": "CN=device,O=Example,OU=a", "names": [HOST, "email:a@b.example"]}
    answer = yes(**binds, data={"ou": "a", "mail": "a@b.example"})
    referee = Referee(answer, answer, yes(subject="CN=other"), yes(subject="CN=device"))
    world.use(
        profile=made,
        parties=ThirdParties(referee=referee),
        renewal=RenewalRules(new_names=new_names),
    )
    first = ask(world, sealed(world, HOST, challenge=world.challenge()))
    holder = keys.Holder(keys.device().key, first.x509)
    subject = Name(first.x509.subject.public_bytes())
    assert {*str(subject).split(",")} == {"CN=device", "O=Example", "OU=a"}

    def renew(transaction_id, *more):
        csr = devices.request(None, subject=str(subject), sans=[HOST, *more])
        message = devices.seal(
            RenewalReq(csr), to=world.ra, signer=holder, transaction_id=transaction_id
        )
        return devices.read(asyncio.run(decide(world, message)).reply, world.ra, holder)

    second = renew("b", "email:a@b.example")
    assert second.x509.subject == first.x509.subject
    assert {*names(second)} == {*names(first)} == {HOST, "email:a@b.example"}
    # What the profile does not make is held to the answer as before.
    assert renew("c").refusal == renew("d").refusal == ("badRequest", REFUSED)
    assert world.issued == 2


def test_a_renewal_with_new_names_has_templates_of_the_new_answer(world):
    made = profile({"OU": "{{ service.data.team }}"})
    referee = Referee(yes(data={"team": "red"}), yes(data={"team": "blue"}))
    parties = ThirdParties(referee=referee)
    world.use(profile=made, parties=parties, renewal=RenewalRules(new_names=True))
    first = ask(world, request(world, world.challenge()))
    holder = keys.Holder(keys.device().key, first.x509)
    message = devices.renewal_req(to=world.ra, signer=holder, transaction_id="b")
    second = devices.read(asyncio.run(decide(world, message)).reply, world.ra, holder)
    units = [
        one.x509.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value
        for one in (first, second)
    ]
    assert units == ["red", "blue"]


def test_a_renewal_keeps_what_was_made_of_an_answer(world):
    made = profile(names={"dns": ["{{ service.data.host }}"]})
    referee = Referee(yes(data={"host": "a.example"}), Yes())
    world.use(profile=made, parties=ThirdParties(referee=referee))
    first = ask(world, request(world, world.challenge()))
    holder = keys.Holder(keys.device().key, first.x509)
    message = devices.renewal_req(to=world.ra, signer=holder, transaction_id="b")
    second = devices.read(asyncio.run(decide(world, message)).reply, world.ra, holder)
    assert names(first) == names(second) == ["dns:a.example"]


# --- before it is asked ---------------------------------------------------------------------------


def lacking(label="CN", **rule):
    kind = attribute_type(label)
    return SubjectRules("strict", {kind: AttributeRule(label=label, type=kind, **rule)})


@pytest.mark.parametrize(
    ("rules", "sans", "said"),
    [
        ({"subject": lacking("O", required=True)}, [], "the subject's O is missing"),
        ({"subject": lacking(forbidden=True)}, [], "the subject's CN is not allowed"),
        (
            {"names": NameRules("strict", SAN_TYPES, {"dns": NameRule(most=1)})},
            [HOST, "dns:b"],
            "the dns name is there 2 times",
        ),
        ({"rsa_bits": None}, [], "an RSA key is not allowed here"),
        ({"default_eku": (), "allowed_eku": frozenset()}, [], "none of the requested extended key"),
    ],
)
@pytest.mark.parametrize("needs", [False, True])
def test_who_breaks_a_rule_costs_no_call(world, rules, sans, said, needs):
    """Also where the profile makes something else of the answer."""
    if needs:
        uri = NameRule(added=(Template.of("urn:{{ service.data.id }}"),))
        known = rules.get("names") or NameRules("strict", SAN_TYPES)
        rules = {**rules, "names": NameRules("strict", SAN_TYPES, {**known.rules, "uri": uri})}
    referee = Referee(yes(data={"id": "1"}))
    world.use(profile=Profile(**rules), parties=ThirdParties(referee=referee))
    eku = [ExtendedKeyUsageOID.CLIENT_AUTH]
    message = sealed(world, *sans, challenge=world.challenge(), eku=eku)
    code, text = ask(world, message).refusal
    assert (code, text[: len(said)]) == ("badRequest", said)
    assert referee.asked == []


def test_what_the_answer_makes_is_no_fault_before(world):
    """A rule on a part that the profile makes of the answer is kept for then."""
    cn = attribute_type("CN")
    rule = AttributeRule(
        label="CN", type=cn, required=True, most=1, template=Template.of("{{ service.data.cn }}")
    )
    added = NameRule(least=1, added=(Template.of("{{ service.data.cn }}.example"),))
    made = Profile(
        subject=SubjectRules("made", {cn: rule}, "refuse"),
        names=NameRules("made", SAN_TYPES, {"dns": added}),
    )
    referee = Referee(yes(data={"cn": "a"}))
    world.use(profile=made, parties=ThirdParties(referee=referee))
    message = request(world, world.challenge(), subject=x509.Name([]))
    reply = ask(world, message)
    assert (str(Name(reply.x509.subject.public_bytes())), names(reply)) == (
        "CN=a",
        ["dns:a.example"],
    )
    (question,) = referee.asked
    assert (question.subject, question.names) == ("", ())


def test_the_rules_hold_for_what_the_answer_makes(world):
    ou = attribute_type("OU")
    rule = AttributeRule(
        label="OU", type=ou, template=Template.of("{{ service.data.ou }}"), forbidden=False, most=1
    )
    names_ = NameRules(
        "made",
        SAN_TYPES,
        {"dns": NameRule(suffixes=("example",), added=(Template.of("{{ service.data.host }}"),))},
    )
    made = Profile(subject=SubjectRules("made", {ou: rule}), names=names_)
    referee = Referee(yes(data={"ou": "x", "host": "evil.test"}))
    world.use(profile=made, parties=ThirdParties(referee=referee))
    code, text = ask(world, request(world, world.challenge())).refusal
    assert (code, "has none of the suffixes" in text) == ("badRequest", True)
    assert world.issued == 0


def test_the_question_has_the_names(world):
    referee = Referee()
    made = profile({"OU": "{{ endpoint }}"}, {"dns": ["{{ subject.CN }}.example"]})
    world.use(profile=made, parties=ThirdParties(referee=referee))
    ask(world, sealed(world, HOST, "ip:10.0.0.1", challenge=world.challenge()))
    (question,) = referee.asked
    assert question.subject == "OU=default,CN=device"
    assert question.names == (HOST, "ip:10.0.0.1", "dns:device.example")


# --- who somebody is ------------------------------------------------------------------------------

LOGIN = {"identity": True, "allowed_eku": Profile().allowed_eku | {SMARTCARD}}
BY_DATA = {"upn": ["{{ service.data.upn }}"]}


@pytest.mark.parametrize(
    ("templates", "answer", "asked", "issued"),
    [
        (None, yes(subject="CN=device", names=[UPN, SID]), [UPN, SID], [UPN, SID]),
        (None, yes(subject="CN=device", names=[UPN]), ["upn:ALICE@Corp.example"], [UPN]),
        (BY_DATA, yes(data={"upn": "alice@corp.example"}), [], [UPN]),
        (BY_DATA, yes(data={"upn": "alice@corp.example"}), [UPN], [UPN]),
        (BY_DATA, yes(data={"upn": "bob@corp.example"}), [UPN], None),
        (None, yes(data={"upn": "alice@corp.example"}), [UPN], None),
        (None, yes(subject="CN=device", names=[HOST]), [UPN], None),
        (None, yes(subject="CN=device"), [UPN], None),
        (None, Yes(), [UPN], None),
        (None, Yes(), [SID], None),
    ],
)
@pytest.mark.parametrize("way", ["at once", "approval", "issuer"])
def test_who_is_named_by_it_is_vouched_for(world, templates, answer, asked, issued, way):
    """By its names, or by its data through the profile; a bare yes says of nobody who it is."""
    issuer = OtherIssuer(Later()) if way == "issuer" else None
    parties = ThirdParties(referee=Referee(answer, No("asked twice")), issuer=issuer)
    made = profile(names=templates, **LOGIN)
    world.use(profile=made, parties=parties, approval=way == "approval")
    # A domain log-in is one purpose that only an identity that somebody vouches for makes good.
    eku = [ExtendedKeyUsageOID.CLIENT_AUTH, SMARTCARD]
    message = sealed(world, *asked, challenge=world.challenge(), eku=eku)
    reply = ask(world, message)
    if way != "at once" and not isinstance(reply.rep, Failure):
        assert isinstance(reply.rep, Pending)
        if way == "approval":
            (row,) = world.store.requests()
            world.approval.approve(row.id, by="al", now=world.now)
        reply = ask(world, message)
    if issued is None:
        assert reply.refusal[0] == "badRequest"
        assert world.issued == 0
    else:
        assert names(reply) == issued
        assert SMARTCARD in purposes(reply.x509)


# --- the same subject again -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "is_replaced"),
    [(yes(subject="CN=device"), True), (Yes(), False), (yes(data={"a": "b"}), False)],
)
@pytest.mark.parametrize("way", ["at once", "approval", "issuer"])
def test_an_answer_that_names_the_subject_replaces(world, answer, is_replaced, way):
    world.enrolled()
    issuer = OtherIssuer(Later()) if way == "issuer" else None
    parties = ThirdParties(referee=Referee(answer, No("asked twice")), issuer=issuer)
    rule = SubjectRule(treatment=SameSubject.REPLACED)
    world.use(subject=rule, parties=parties, approval=way == "approval")
    other = keys.device("other")
    message = request(world, world.challenge(), signer=other, transaction_id="b")

    def enrol():
        return devices.read(asyncio.run(decide(world, message)).reply, world.ra, other)

    reply = enrol()
    if way != "at once" and is_replaced:
        assert isinstance(reply.rep, Pending)
        if way == "approval":
            (row,) = world.store.requests()
            deciding = Approval(NAME, world.issuers, world.profile, world.store, rule)
            deciding.approve(row.id, by="al", now=world.now)
        reply = enrol()
    assert isinstance(reply.rep, Success if is_replaced else Failure)
    assert world.sql("SELECT count(*) FROM replacements") == [(int(is_replaced),)]


# --- what it is bound to, and what survives -------------------------------------------------------


def test_an_answer_is_kept_before_the_signature(world):
    """After a crash the same request gets the certificate that the first answer says."""
    made = profile({"OU": "{{ service.data.ou }}"})
    answer = yes(subject="CN=device", names=[HOST], validity=timedelta(hours=1), data={"ou": "a"})
    referee = Referee(answer, No("spent"))
    world.use(profile=made, parties=ThirdParties(referee=referee))
    message = sealed(world, HOST, challenge=world.challenge())
    world.endpoint.go_on = crash
    with pytest.raises(StoreError):
        ask(world, message)
    assert world.issued == 0
    world.restart()
    reply = ask(world, message)
    assert str(Name(reply.x509.subject.public_bytes())) == "OU=a,CN=device"
    assert names(reply) == [HOST]
    assert reply.x509.not_valid_after_utc == (world.now + timedelta(hours=1)).replace(microsecond=0)
    assert len(referee.asked) == 1


def test_of_two_attempts_at_once_the_first_answer_that_is_stored_counts(world):
    """Both were told something else; both get the one certificate of the first."""
    both = threading.Barrier(2)
    made = profile({"OU": "{{ service.data.ou }}"})
    said = iter([yes(data={"ou": "a"}), yes(data={"ou": "b"})])

    async def judge():
        answer = next(said)
        await asyncio.get_running_loop().run_in_executor(None, both.wait)
        return answer

    world.use(profile=made, parties=ThirdParties(referee=Referee(judge)), rule=NoChallenge())
    message = request(world)
    with ThreadPoolExecutor(2) as threads:
        replies = [*threads.map(lambda _: ask(world, message), range(2))]
    assert replies[0].certificate == replies[1].certificate
    assert world.issued == 1
    ((stored,),) = world.sql("SELECT answer FROM assents")
    (unit,) = replies[0].x509.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert json.loads(stored) == {"data": {"ou": unit.value}}


@pytest.mark.parametrize("other", [{"transaction_id": "b"}, {"signer": keys.device("other")}])
def test_an_answer_is_for_one_request(world, other):
    made = profile({"OU": "{{ service.data.ou }}"})
    referee = Referee(yes(data={"ou": "a"}), yes(data={"ou": "b"}))
    world.use(profile=made, parties=ThirdParties(referee=referee), rule=NoChallenge())
    world.endpoint.go_on = crash
    with pytest.raises(StoreError):
        ask(world, request(world))
    world.restart()
    step = asyncio.run(decide(world, request(world, **other)))
    certificate = x509.load_der_x509_certificate(step.outcome.record.certificate)
    (unit,) = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    assert unit.value == "b"


# --- a service that lies --------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [None, "yes", True, {"allow": True}, Yes({"data": {}}), Yes])
def test_what_is_no_verdict_is_no_word(world, verdict):
    async def judge():
        return verdict

    world.use(parties=ThirdParties(referee=Referee(judge)))
    with pytest.raises(ThirdPartyFailed, match="the word of MDM is neither a yes nor a no"):
        ask(world, request(world, world.challenge()))
    assert (world.issued, world.spent) == (0, 0)
    assert world.sql("SELECT count(*) FROM assents") == [(0,)]


LONG = "x" * (1 << 20)
LIES = [
    None,
    [],
    "yes",
    {"subject": 5},
    {"subject": ""},
    {"subject": "no name"},
    {"subject": f"CN={LONG}"},
    {"subject": "CN=a\nb"},
    {"subject": "CN=#0500"},
    {"subject": ["CN=a"]},
    {"names": ["dns:a"]},
    {"subject": "CN=a", "names": "dns:a"},
    {"subject": "CN=a", "names": {"dns": "a"}},
    {"subject": "CN=a", "names": [None]},
    {"subject": "CN=a", "names": ["ip:no address"]},
    {"subject": "CN=a", "names": ["dns:a\0b"]},
    {"subject": "CN=a", "names": [f"dns:{number}" for number in range(101)]},
    {"data": []},
    {"data": {"a": 1}},
    {"data": {"a": None}},
    {"data": {"a": ""}},
    {"data": {"a": LONG}},
    {"data": {"a": "x\ny"}},
    {"data": {"a": "\ud800"}},
    {"data": {"A": "x"}},
    {"data": {"": "x"}},
    {"data": {"{{": "x"}},
    {"data": {LONG: "x"}},
    {"data": {f"a{number}": "x" for number in range(101)}},
    {"validity_seconds": 0},
    {"validity_seconds": -1},
    {"validity_seconds": True},
    {"validity_seconds": "3600"},
    {"validity_seconds": 1.5},
    {"validity_seconds": 1 << 70},
    {"validity_seconds": 51 * 365 * 86400},
    {"allow": True},
    {LONG: 1},
    {"subject": "CN=a", "sans": []},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: repr(lie)[:40])
def test_a_lie_is_no_word(world, lie):
    """HTTP 503 and no certificate; the log does not repeat the value."""

    async def judge():
        return Yes(ServiceAnswer.read(lie))

    world.use(parties=ThirdParties(referee=Referee(judge)))
    with pytest.raises(ThirdPartyFailed, match="the answer cannot be used") as refused:
        ask(world, request(world, world.challenge()))
    assert len(refused.value.message) < 500
    assert (world.issued, world.spent) == (0, 0)
    assert world.sql("SELECT count(*) FROM assents") == [(0,)]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
_MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "subject": st.sampled_from(["CN=a", "CN=a,O=b", "CN=#0c0161"]) | _JSON,
        "names": st.lists(st.sampled_from(["dns:a", UPN, SID, "ip:::1"]) | _JSON) | _JSON,
        "validity_seconds": st.integers() | _JSON,
        "data": st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text()) | _JSON,
        "more": _JSON,
    },
)


@given(_MEMBERS | _JSON)
def test_whatever_is_said_is_an_answer_or_none(said):
    """What is read is the same when it has been stored, and templates have texts alone."""
    try:
        answer = ServiceAnswer.read(said)
    except ThirdPartyFailed:
        return
    stored = json.loads(json.dumps(answer.members))
    assert ServiceAnswer.read(stored) == answer
    assert answer.is_bare == (answer == NOTHING)
    assert len(json.dumps(stored)) < 1 << 20
    values = answer.values
    assert all(isinstance(one, str) for one in values["subject"].values())
    assert all(isinstance(one, str) for all_ in values["names"].values() for one in all_)


def test_what_is_stored_and_cannot_be_read_is_no_yes(world):
    world.use(parties=ThirdParties(referee=Referee()), rule=NoChallenge())
    world.endpoint.go_on = crash
    with pytest.raises(StoreError):
        ask(world, request(world))
    world.sql("""UPDATE assents SET answer = '{"of": "a later release"}'""")
    world.restart()
    with pytest.raises(ThirdPartyFailed, match="unknown member 'of'"):
        ask(world, request(world))
    assert world.issued == 0
