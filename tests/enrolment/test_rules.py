"""The rules of an endpoint, one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import forge
import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from scepkit.enrolment.challenges import NoChallenge
from scepkit.enrolment.challenges.static import StaticChallenge
from scepkit.enrolment.rate_limit import Limiter, Limiters
from scepkit.enrolment.rules import RenewalRules, Rules
from scepkit.errors import SettingsError
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import Success

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Rules(pending_lifetime=timedelta()),
        lambda: Rules(crl_lifetime=-MINUTE),
        lambda: Rules(signing_time=timedelta()),
        lambda: RenewalRules(window=timedelta()),
        lambda: RenewalRules(grace=-MINUTE),
    ],
)
def test_rules_that_cannot_be(wrong):
    """A rule that nothing could follow is refused where it is written."""
    with pytest.raises(SettingsError):
        wrong()


@pytest.mark.rfc("S-2.4-1", "P-31", "P-59")
def test_a_static_challenge(world):
    """One secret for all: it is never spent, and everything else is the one refusal."""
    world.use(rule=StaticChallenge("gemeinsames Geheimnis"))
    for transaction_id in "ab":
        assert isinstance(
            world.enrol("gemeinsames Geheimnis", transaction_id=transaction_id).rep, Success
        )
    for wrong in ("Gemeinsames Geheimnis", "gemeinsames Geheimnis ", "x", None):
        assert world.enrol(wrong, transaction_id="c").refusal == REFUSAL
    assert "Geheimnis" not in repr(StaticChallenge("gemeinsames Geheimnis"))


@pytest.mark.rfc("P-26")
def test_passwords_of_requests(world):
    """A request that is encrypted with a password has the endpoint's one secret, or none is known.

    One-time challenges are too many to try.
    """
    transaction_id = TransactionID(b"a")
    assert StaticChallenge("secret").password(transaction_id) == "secret"
    assert NoChallenge().password(transaction_id) is None
    world.challenge()
    assert world.challenges.password(transaction_id) is None


@pytest.mark.rfc("P-55", "L-17")
def test_separate_keys(world):
    """Where the endpoint allows it, a first request may be signed by another key than it is for."""
    message = devices.pkcs_req(world.challenge(), to=world.ra, key=keys.device("stranger").key)
    assert world.ask(message).refusal == (
        "badRequest",
        "the request was signed by another key than it is for",
    )
    assert world.spent == 0
    world.use(separate_keys=True)
    reply = world.ask(message)
    assert reply.x509.public_key() == keys.device("stranger").key.public_key()


@pytest.mark.rfc("S-3.2.1.4-5", "P-74", "P-22", "S-3.3.2.2-1")
@pytest.mark.parametrize("minutes", [-11, -9, 9, 11])
def test_signing_time(world, minutes):
    """badTime only where an endpoint enforces signingTime, and only far from its clock."""
    signed = world.now + minutes * MINUTE
    wanted = devices.request(world.challenge())
    message = forge.request(wanted.der, more=[forge.signing_time(signed)])
    world.use(signing_time=10 * MINUTE)
    reply = world.ask(message)
    if abs(minutes) > 10:
        assert reply.refusal == (
            "badTime",
            f"the message was signed at {signed}, by the device's clock",
        )
        world.use(signing_time=None)
        reply = world.ask(message)
    assert isinstance(reply.rep, Success)


@pytest.mark.rfc("S-3.2.1.4-5")
def test_no_signing_time(world):
    """A message without signingTime is legal, also where it is enforced."""
    world.use(signing_time=MINUTE)
    assert isinstance(world.enrol(world.challenge()).rep, Success)


def test_limiter():
    """So many a minute and no more; a clock that goes back takes nothing away."""
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    limiter = Limiter(3, lambda: now[0])
    assert [limiter.allows() for _ in range(4)] == [True, True, True, False]
    now[0] += timedelta(seconds=20)
    assert [limiter.allows() for _ in range(2)] == [True, False]
    now[0] -= timedelta(hours=1)
    assert not limiter.allows()
    now[0] += timedelta(hours=5)
    assert [limiter.allows() for _ in range(4)] == [True, True, True, False]
    assert not Limiter(0, lambda: now[0]).allows()


def test_a_limiter_for_each_of_many():
    """Each key counts for itself, and looking takes nothing; only the last ones are remembered."""
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    limiters = Limiters(lambda: now[0], most=2)
    assert all(limiters.has_room("a", 2) for _ in range(5))
    assert [limiters.allows("a", 2) for _ in range(3)] == [True, True, False]
    assert not limiters.has_room("a", 2)
    assert limiters.allows("b", 2)
    now[0] += timedelta(seconds=30)
    assert limiters.has_room("a", 2)
    assert [limiters.allows("a", 2) for _ in range(2)] == [True, False]
    # "b" was counted longest ago, so "c" takes its place, and then "b" that of "a".
    assert limiters.allows("c", 2)
    assert not limiters.has_room("a", 2)
    assert limiters.allows("b", 2)
    assert limiters.has_room("a", 2)
