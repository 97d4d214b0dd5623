"""Many at once, from real threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from scepkit.protocol.scep.messages import Success
from waiting import PATIENCE


def at_once(world, messages):
    """Give every message to the endpoint at the same moment; `messages` are (message, signer)."""
    start = threading.Barrier(len(messages))

    def ask(message, signer):
        start.wait(PATIENCE)
        return world.ask(message, signer)

    with ThreadPoolExecutor(len(messages)) as pool:
        return list(pool.map(lambda one: ask(*one), messages))


@pytest.mark.rfc("P-50", "S-2.4-2")
@pytest.mark.parametrize(
    "transaction_ids", ["ab", "aa"], ids=["two transactions", "one transaction"]
)
@pytest.mark.parametrize("attempt", range(5))
def test_two_keys_and_one_challenge(world, transaction_ids, attempt):
    """Of two keys with one challenge at the same moment exactly one gets a certificate."""
    secret = world.challenge()
    signers = [keys.device(), keys.device("stranger")]
    replies = at_once(
        world,
        [
            (devices.pkcs_req(secret, to=world.ra, signer=signer, transaction_id=one), signer)
            for signer, one in zip(signers, transaction_ids, strict=True)
        ],
    )
    assert sum(isinstance(reply.rep, Success) for reply in replies) == 1
    (refused,) = [reply for reply in replies if not isinstance(reply.rep, Success)]
    if transaction_ids == "ab":
        assert refused.refusal == REFUSAL
    assert refused.refusal[0] == "badRequest"
    assert (world.issued, world.spent) == (1, 1)


@pytest.mark.rfc("P-43", "P-50")
def test_one_request_twenty_times(world):
    """The identical request twenty times at once: one certificate and twenty equal answers."""
    message = devices.pkcs_req(world.challenge(), to=world.ra)
    replies = at_once(world, [(message, None)] * 20)
    assert len({reply.certificate for reply in replies}) == 1
    assert len({reply.sender_nonce for reply in replies}) == 20
    assert (world.issued, world.spent) == (1, 1)


@pytest.mark.rfc("P-50")
def test_twenty_transactions_and_one_challenge(world):
    """One challenge is good for one certificate, also for one and the same key."""
    secret = world.challenge()
    messages = [
        (devices.pkcs_req(secret, to=world.ra, transaction_id=str(number)), None)
        for number in range(20)
    ]
    replies = at_once(world, messages)
    assert sum(isinstance(reply.rep, Success) for reply in replies) == 1
    assert [r.refusal for r in replies if not isinstance(r.rep, Success)] == [REFUSAL] * 19
    assert (world.issued, world.spent) == (1, 1)


def test_everybody_gets_their_own(world):
    """Many devices at once: everybody gets a certificate, and their own."""
    names = [f"CN=device {number}" for number in range(24)]
    messages = [
        (devices.pkcs_req(world.challenge(), to=world.ra, subject=name, transaction_id=name), None)
        for name in names
    ]
    replies = at_once(world, messages)
    assert [reply.x509.subject.rfc4514_string() for reply in replies] == names
    assert [reply.transaction_id for reply in replies] == names
    assert (world.issued, world.spent) == (24, 24)
