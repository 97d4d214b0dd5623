"""RFC 8894 sections 2.5 and 2.5.1, Figure 1: the client's states."""

from __future__ import annotations

import pytest

import forge
from pair import Pair, answer, grant, lose
from scepkit.errors import BadRequest, RequestRefused, StillPending, TransportError
from scepkit.protocol.messages import Pending
from scepkit.protocol.transaction import TRANSITIONS, Event, Limits, State, Wait


@pytest.mark.rfc("S-2.5.1-1", "S-2.5.1-2", "S-2.5.1-3", "S-2.5.1-4")
def test_the_table_is_figure_1():
    """CERT-NONEXISTENT, CERT-REQ-PENDING, CERT-ISSUED, and the five arrows between them."""
    nonexistent, pending, issued = State.NONEXISTENT, State.PENDING, State.ISSUED
    assert {
        (nonexistent, Event.REQUEST): pending,
        (pending, Event.SUCCESS): issued,
        (pending, Event.PENDING): pending,
        (pending, Event.FAILURE): nonexistent,
        (pending, Event.GIVE_UP): nonexistent,
    } == TRANSITIONS


@pytest.mark.rfc("S-2.5.1-2", "S-2.5-1")
def test_success_ends_in_cert_issued(pair):
    """CERT-REQ-PENDING and SUCCESS give CERT-ISSUED: one request, one certificate."""
    assert pair.enrol().certificate
    assert pair.kinds == ["PKCSReq"]


@pytest.mark.rfc("S-2.5.1-3")
def test_failure_ends_the_transaction():
    """FAILURE leads back to CERT-NONEXISTENT: nothing more is sent."""
    pair = Pair(BadRequest("no"))
    with pytest.raises(RequestRefused):
        pair.enrol()
    assert len(pair.trips) == 1


@pytest.mark.rfc("S-2.5.1-3")
def test_no_response_ends_the_transaction(pair):
    """No response, after the repetitions, leads back to CERT-NONEXISTENT."""
    for number in range(1, 6):
        pair.on_request(number, lose)
    with pytest.raises(TransportError):
        pair.enrol()
    assert len(pair.trips) == pair.limits.retries + 1


@pytest.mark.rfc("S-2.5.1-4", "S-2.5-5", "S-2.5-6")
@pytest.mark.parametrize("polls", [1, 5])
def test_pending_is_polled_until_the_terminal_answer(polls):
    """PENDING stays in CERT-REQ-PENDING: CertPoll again, until exactly one terminal answer."""
    pair = Pair(*[Pending()] * polls, grant)
    pair.enrol()
    assert pair.kinds == ["PKCSReq"] + ["CertPoll"] * polls


@pytest.mark.rfc("S-2.5-6")
def test_a_refusal_may_come_after_polling():
    """Zero or more PENDING, then one FAILURE."""
    pair = Pair(Pending(), BadRequest("rejected by the operator"))
    with pytest.raises(RequestRefused, match="rejected by the operator"):
        pair.enrol()
    assert len(pair.trips) == 2


@pytest.mark.rfc("S-2.5-5")
def test_the_polling_interval_is_configuration():
    """The interval between CertPolls is the user's choice, and is said to be for the CA."""
    pair = Pair(Pending(), grant, limits=Limits(poll_interval=7))
    pair.enrol()
    assert pair.waits == [Wait(7, "the request waits for approval", pending=True)]


@pytest.mark.rfc("S-2.5.1-3", "S-2.5.1-4")
@pytest.mark.parametrize(
    ("limits", "polls"),
    [
        (Limits(max_polls=2), 2),
        (Limits(max_polls=0), 0),
        (Limits(poll_interval=60, max_wait=200), 3),
        (Limits(poll_interval=60, max_wait=59), 0),
    ],
)
def test_polling_has_a_limit_of_time_and_one_of_polls(limits, polls):
    """Both a time limit and a poll-count limit exist; either leads to CERT-NONEXISTENT."""
    pair = Pair(Pending(), limits=limits)
    with pytest.raises(StillPending):
        pair.enrol()
    assert pair.kinds == ["PKCSReq"] + ["CertPoll"] * polls


@pytest.mark.rfc("P-52", "P-79")
def test_a_lost_poll_is_repeated_within_the_budget():
    """A lost reply to a CertPoll is no end: the same poll is sent again."""
    pair = Pair(Pending(), grant)
    pair.on_reply(2, lose)
    pair.enrol()
    assert pair.trips[1].sent == pair.trips[2].sent


@pytest.mark.rfc("P-52")
def test_a_lost_reply_to_the_first_request_is_asked_for_with_the_same_bytes(pair):
    """An identical resend (same transactionID, same PKCS#10) is safe everywhere."""
    pair.on_reply(1, lose)
    pair.enrol()
    assert pair.trips[0].request == pair.trips[1].request


@pytest.mark.rfc("P-79")
@pytest.mark.parametrize("status", [201, 204, 302, 404, 500])
def test_only_200_is_an_answer(pair, status):
    """Any HTTP status but 200 is a transport error; its body is never parsed as a CertRep."""
    pair.enrol()
    body = pair.replies[0]
    again = Pair(limits=Limits(retries=0))
    again.on_reply(1, answer(status, body, "application/x-pki-message"))
    with pytest.raises(TransportError) as caught:
        again.enrol()
    assert caught.value.status == status


@pytest.mark.rfc("S-5.2-1", "S-3.2.1.1-1")
def test_a_new_attempt_is_a_new_transaction(pair):
    """An interrupted transaction is recovered by a new request with a new transactionID."""
    first, second = pair.enrol().transaction_id, pair.enrol().transaction_id
    assert first != second
    ids = [forge.signed_attribute(t.request, forge.TRANSACTION_ID) for t in pair.trips]
    assert len(set(ids)) == 2
