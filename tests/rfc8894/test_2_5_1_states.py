"""RFC 8894 sections 2.5 and 2.5.1, Figure 1: the client's states."""

from __future__ import annotations

import pytest

import forge
import keys
from pair import Pair, answer, flip, grant, lose, substitute
from scepkit.errors import BadReply, BadRequest, RequestRefused, StillPending, TransportError
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.protocol.scep.messages import Pending
from scepkit.protocol.scep.transaction import TRANSITIONS, Event, Limits, State, Wait


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
    issued = pair.enrol()
    assert pair.waits == [Wait(7, f"request {issued.transaction_id} waits for approval", True)]


@pytest.mark.rfc("S-2.5.1-3", "S-2.5.1-4")
@pytest.mark.parametrize(
    ("limits", "polls"),
    [
        (Limits(max_polls=2), 2),
        (Limits(max_polls=0), 0),
        (Limits(poll_interval=60, max_wait=200), 3),
        (Limits(poll_interval=60, max_wait=59), 1),
        (Limits(poll_interval=60, max_wait=0), 0),
    ],
)
def test_polling_has_a_limit_of_time_and_one_of_polls(limits, polls):
    """Both a time limit and a poll-count limit exist; either leads to CERT-NONEXISTENT."""
    pair = Pair(Pending(), limits=limits)
    with pytest.raises(StillPending):
        pair.enrol()
    assert pair.kinds == ["PKCSReq"] + ["CertPoll"] * polls


@pytest.mark.rfc("P-52", "P-79", "A-10")
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


# --- no response ----------------------------------------------------------------------------------


UNBELIEVABLE = {
    "rubbish": substitute(b"rubbish"),
    "a page": substitute(b"<html>Log in</html>"),
    "nothing": substitute(b""),
    "a changed signature": flip(-1),
    "a CertRep of nobody": substitute(forge.reply(signer=keys.device("nobody"))),
}


@pytest.mark.rfc("S-2.5.1-3", "P-52")
@pytest.mark.parametrize("mishap", UNBELIEVABLE.values(), ids=UNBELIEVABLE)
def test_an_invalid_reply_is_discarded_and_counts_as_no_response(pair, mishap):
    """Anybody on the way can send one; the same bytes go out again, and the true reply counts."""
    pair.on_reply(1, mishap)
    pair.on_reply(2, mishap)
    assert pair.enrol().certificate
    assert len({trip.request for trip in pair.trips}) == 1
    assert [wait.seconds for wait in pair.waits] == [1, 2]


@pytest.mark.rfc("S-2.5.1-3")
def test_the_last_reason_is_reported(pair):
    """When no reply could be believed the transaction ends, and says why the last one was not."""
    for number in (1, 2, 3):
        pair.on_reply(number, lose)
    pair.on_reply(4, substitute(b"<html>"))
    with pytest.raises(BadReply, match="a web page instead of a SCEP message") as caught:
        pair.enrol()
    assert "log-in page" in caught.value.hint
    assert len(pair.trips) == pair.limits.retries + 1


@pytest.mark.rfc("P-52", "S-2.5.1-4")
@pytest.mark.parametrize("mishap", [lose, answer(503), substitute(b"rubbish")])
def test_polls_without_an_answer_do_not_end_the_transaction(mishap):
    """While the limits allow it the CA is polled on, even if it is away for hours."""
    pair = Pair(Pending(), grant, limits=Limits(retries=1))
    for number in range(2, 10):
        pair.on_reply(number, mishap)
    issued = pair.enrol()
    assert issued.certificate
    assert sum(wait.pending for wait in pair.waits) == 5
    ids = {forge.signed_attribute(t.request, forge.TRANSACTION_ID) for t in pair.trips}
    assert len(ids) == 1


@pytest.mark.rfc("P-52")
def test_a_ca_that_stays_away_is_given_up_with_the_reason():
    """At the limit the last poll's fate is said, and that the request still waits."""
    pair = Pair(Pending(), limits=Limits(retries=0, max_polls=2))
    pair.on_reply(3, answer(502))
    with pytest.raises(StillPending, match=r"the last poll had no answer: .*HTTP 502"):
        pair.enrol()


@pytest.mark.rfc("P-79")
def test_a_poll_that_the_server_faults_ends_it():
    """HTTP 404 and its like will not be better later."""
    pair = Pair(Pending())
    pair.on_reply(2, answer(404))
    with pytest.raises(TransportError):
        pair.enrol()


@pytest.mark.rfc("S-4.4-2", "S-4.4-4")
def test_one_request_is_outstanding_and_polls_are_about_it():
    """A CertPoll has the transactionID of its request; nothing else is asked meanwhile."""
    pair = Pair(Pending(), Pending(), grant)
    pair.enrol()
    ids = {sender.attributes.transaction_id for _, sender in pair.server.asked}
    assert len(ids) == 1
    assert pair.kinds == ["PKCSReq", "CertPoll", "CertPoll"]


@pytest.mark.rfc("S-2.5-5")
def test_polling_becomes_slower_and_never_too_slow():
    """Each interval is half as long again as the one before, up to a limit."""
    pair = Pair(Pending(), limits=Limits(poll_interval=60, max_poll_interval=200, max_polls=6))
    with pytest.raises(StillPending):
        pair.enrol()
    assert [wait.seconds for wait in pair.waits] == [60, 90, 135, 200, 200, 200]
    assert Limits(poll_interval=3600).before_poll(10_000) == 3600


def busy(text, **headers):
    return lambda pair, carried: HTTPResponse(503, b"", headers={"retry-after": text} | headers)


@pytest.mark.rfc("P-79")
@pytest.mark.parametrize(
    ("mishap", "seconds"),
    [
        (busy("20"), 20),
        (busy("0"), 1),
        (busy("86400"), 300),
        (busy("9" * 400), 300),
        (busy("-5"), 1),
        (busy("soon"), 1),
        (busy("Sun, 06 Nov 1994 08:50:07 GMT", date="Sun, 06 Nov 1994 08:49:37 GMT"), 30),
        (busy(f"Sun, 06 Nov 1994 08:50:07 +{'9' * 20}", date="Sun, 06 Nov 1994 08:49:37 GMT"), 1),
        (busy("Sun, 06 Nov 1994 08:49:37 GMT", date="Sun, 06 Nov 1994 08:50:07 GMT"), 1),
        (busy("Sun, 06 Nov 1994 08:50:07 GMT"), 1),
        (busy("Sun, 06 Nov 1994 08:50:07 GMT", date="Sun, 06 Nov 1994 08:50:07"), 1),
    ],
)
def test_a_busy_server_is_given_the_time_that_it_asks_for(pair, mishap, seconds):
    """Retry-After is honoured, in seconds or as a date, within a limit."""
    pair.on_reply(1, mishap)
    pair.enrol()
    assert [wait.seconds for wait in pair.waits] == [seconds]


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
