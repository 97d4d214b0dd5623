"""Which rule judges a challenge: its shape decides, and no challenge has the shape of two rules."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from scepkit.enrolment.challenges import REFUSED
from scepkit.enrolment.challenges.one_time import FORM, SECRET_LENGTH, OneTimeChallenges
from scepkit.enrolment.challenges.orders import ChallengeOrder, SecretForm
from scepkit.enrolment.challenges.selection import FORMS, Pattern, Selected, Selection
from scepkit.enrolment.challenges.static import (
    StaticChallenge,
    StaticChallenges,
    too_many_wrong,
)
from scepkit.enrolment.rate_limit import WrongGuesses
from scepkit.errors import BadRequest, BoundReached
from scepkit.protocol.scep.messages import Pending, Success

LETTERS = "A2z-+"
PATTERNS = st.builds(
    lambda prefix, ends, form: Pattern(prefix, *sorted(ends), form),
    st.text(LETTERS, max_size=2),
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.sampled_from(["", *FORMS]),
)
BASE32 = Pattern(least=SECRET_LENGTH, most=SECRET_LENGTH, form="base32")
DAY = timedelta(days=1)


@given(PATTERNS, PATTERNS, st.text(LETTERS, max_size=4))
def test_what_two_patterns_take_is_an_overlap(one, other, challenge):
    assert one.overlaps(other) == other.overlaps(one)
    if one.takes(challenge) and other.takes(challenge):
        assert one.overlaps(other)


@given(PATTERNS, PATTERNS)
def test_an_overlap_has_a_challenge(one, other):
    """A pattern that is called overlapping for nothing would keep an operator from a good list."""
    if not one.overlaps(other):
        return
    start = max(one.prefix, other.prefix, key=len)
    both = [FORMS[form] for form in (one.form, other.form) if form]
    allowed = frozenset.intersection(*both) if both else frozenset("-")
    length = max(one.least, other.least, len(start))
    challenge = start + min(allowed, default="") * (length - len(start))
    assert one.takes(challenge)
    assert other.takes(challenge)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (Pattern(), BASE32, True),
        (Pattern(prefix="mdm-"), BASE32, False),
        (Pattern(prefix="MDM"), BASE32, True),
        (Pattern(most=31), BASE32, False),
        (Pattern(form="digits", least=1), Pattern(form="base32", least=1), True),
        (Pattern(prefix="ab", form="hex"), Pattern(prefix="a", form="digits"), False),
        (Pattern(prefix="a2", form="digits"), Pattern(prefix="a", form="digits"), True),
        (Pattern(prefix="a", form="digits"), Pattern(prefix="a", form="digits"), True),
    ],
)
def test_overlaps(one, other, overlap):
    assert one.overlaps(other) == overlap


def several(world, **one_time):
    """One-time challenges, and static ones with the prefix `site-`."""
    static = StaticChallenges((StaticChallenge("site-secret", "one"),))

    def selection(challenges):
        one = Selected(challenges, **one_time)
        return Selection(((BASE32, one), (Pattern(prefix="site-"), Selected(static))))

    world.use(selection=selection)


def test_each_challenge_is_judged_by_its_own_rule(world):
    several(world)
    for name, challenge in (("a", world.challenge()), ("b", "site-secret")):
        reply = world.enrol(challenge, signer=keys.device(name), transaction_id=name)
        assert isinstance(reply.rep, Success)
    assert world.spent == 1


@pytest.mark.parametrize("challenge", ["site-other", "A" * 32, "A" * 31, "neither", "x" * 255])
@pytest.mark.parametrize("kind", [19, 17])
def test_no_rule_falls_through_to_another_one(world, challenge, kind):
    """All of them are refused in the same words: which rule it was, nobody is told."""
    device = world.enrolled()
    several(world)
    reply = world.enrol(challenge) if kind == 19 else world.renew(device, challenge=challenge)
    assert reply.refusal == REFUSAL
    assert world.issued == 1


def test_a_request_without_a_challenge_has_no_rule(world):
    several(world)
    assert world.enrol().refusal == REFUSAL


def test_wrong_shapes_count_as_wrong_challenges(world):
    """Else an address that guesses could tell the shapes by which of them it may go on with."""
    several(world)
    tries = WrongGuesses(2, lambda: world.now, too_many_wrong)
    world.use(tries=tries)
    for _ in range(2):
        assert world.enrol("neither").refusal == REFUSAL
        tries.check("a")
        tries.count("a")
    with pytest.raises(BoundReached):
        world.endpoint.respond(devices.pkcs_req("neither", to=world.ra), "a")


def test_an_operator_decides_on_what_has_no_challenge_and_on_nothing_else(world):
    """Approval is one rule among others: a right challenge does not wait, a wrong one neither."""
    several(world)
    world.use(approval=True)
    first, second, third = map(keys.device, "abc")
    assert isinstance(world.enrol(signer=first, transaction_id="a").rep, Pending)
    got = world.enrol(world.challenge(), signer=second, transaction_id="b")
    assert isinstance(got.rep, Success)
    assert world.enrol("neither", signer=third, transaction_id="c").refusal == REFUSAL


def test_an_operator_decides_as_well_where_a_rule_says_so(world):
    several(world, waits=True)
    first, second = map(keys.device, "ab")
    waits = world.enrol(world.challenge(), signer=first, transaction_id="a")
    assert isinstance(waits.rep, Pending)
    got = world.enrol("site-secret", signer=second, transaction_id="b")
    assert isinstance(got.rep, Success)


@pytest.mark.parametrize(
    ("days", "good"), [(-1, False), (0, True), (4, True), (5, True), (9, True), (10, False)]
)
def test_static_challenges_change_without_a_gap(world, days, good):
    now = world.now
    old = StaticChallenge("challenge-of-May", "old", now, now + 6 * DAY)
    new = StaticChallenge("challenge-of-June", "new", now + 4 * DAY, now + 10 * DAY)
    rule = StaticChallenges((old, new))
    secret = "challenge-of-May" if days < 5 else "challenge-of-June"
    request = devices.request(secret)
    if good:
        assert rule.judge(request, now + days * DAY) is None
        return
    with pytest.raises(BadRequest, match="not yet good, or no more") as refused:
        rule.judge(request, now + days * DAY)
    assert refused.value.text == REFUSED
    assert secret not in refused.value.message


def test_the_password_that_opens_a_request_is_known_where_there_is_one():
    one, other = StaticChallenge("a" * 20), StaticChallenge("b" * 20)
    assert StaticChallenges((one,)).password(b"") == "a" * 20
    assert StaticChallenges((one, other)).password(b"") is None
    assert set(FORM) == FORMS["base32"]


@pytest.mark.parametrize(
    ("pattern", "takes"),
    [
        (Pattern(), True),
        (Pattern(least=16, most=32, form="alphanumeric"), True),
        (Pattern(form="hex"), True),
        (Pattern(form="base32"), False),
        (Pattern(form="digits"), False),
        (Pattern(least=17), False),
        (Pattern(most=15), False),
        (Pattern(prefix="A"), False),
    ],
)
def test_a_shape_takes_all_challenges_of_a_form_or_leaves_some(pattern, takes):
    assert pattern.takes_all("upper-hex", 16) == takes
    if takes:
        assert pattern.takes("0123456789ABCDEF")


@pytest.mark.parametrize("form", SecretForm)
def test_a_secret_has_the_form_that_was_ordered(world, form):
    challenges = OneTimeChallenges(world.store, "default", bytes(32))
    order = ChallengeOrder(timedelta(hours=1), form=form)
    secret, _ = challenges.draw(order, world.now)
    assert len(secret) == form.length
    assert FORMS["base32" if form is SecretForm.BASE32 else "upper-hex"].issuperset(secret)
