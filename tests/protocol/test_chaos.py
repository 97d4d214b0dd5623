"""A client on a network that loses, repeats, damages and forges, and that is restarted at will."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

import forge
import keys
from pair import Pair, answer, flip, grant, lose, substitute
from scepkit.errors import BadRequest, RequestRefused, ScepError
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import CertPoll, Pending, PKCSReq
from scepkit.protocol.scep.transaction import Limits


def old(pair, carried):
    """Give the first reply that was ever given."""
    return next((trip.said for trip in pair.trips if trip.said), carried)


MISHAPS = {
    "lost": lose,
    "busy": answer(503),
    "page": answer(200, b"<html>"),
    "damaged": flip(-1),
    "forged": substitute(forge.reply(signer=keys.device("nobody"))),
    "old": old,
}


class Policy:
    """A CA with a memory: what it has decided about a transaction it says again and again.

    Args:
        approval: how many times it says PENDING before it decides.
        refuses: whether it refuses in the end.
    """

    def __init__(self, approval, *, refuses):
        self.approval, self.refuses = approval, refuses
        self.issued = {}
        self.asked = defaultdict(int)

    def __call__(self, server, request, sender):
        one = sender.attributes.transaction_id
        self.asked[one] += 1
        if self.asked[one] <= self.approval:
            return Pending()
        if self.refuses:
            raise BadRequest("refused")
        if one not in self.issued:
            self.issued[one] = grant(server, request, sender)
        return self.issued[one]


@given(
    st.lists(st.sampled_from([False, False, True]), min_size=25, max_size=25),
    st.lists(st.sampled_from([None, None, *MISHAPS]), min_size=25, max_size=25),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 2),
)
def test_whatever_the_network_does(there, back, approval, refuses, retries):
    """In the end the device has the one certificate of its one transaction, or a refusal.

    Whatever happened on the way, it never believed what the CA did not say, never asked for the
    same thing under two names, and asked again with the same bytes only.
    """
    policy = Policy(approval, refuses=refuses)
    pair = Pair(policy, limits=Limits(retries=retries, max_polls=2, poll_interval=1))
    for number, (lost, mishap) in enumerate(zip(there, back, strict=True), 1):
        if lost:
            pair.on_request(number, lose)
        if mishap:
            pair.on_reply(number, MISHAPS[mishap])
    request, mine = PKCSReq(pair.csr()), TransactionID(b"mine")
    issued = None
    for _ in range(60):
        try:
            issued = pair.enrol(request, mine)
            break
        except RequestRefused:
            assert refuses
            break
        except ScepError:
            # The device is started again, and asks again.
            continue
    else:
        raise AssertionError("the device never came to an end")
    assert (issued is None) == refuses
    if issued:
        ((_, said),) = policy.issued.items()
        assert said.certificates == (issued.certificate.der,)
    assert {sender.attributes.transaction_id for _, sender in pair.server.asked} == {mine}
    asked = [message for message, _ in pair.server.asked]
    assert all(isinstance(message, PKCSReq | CertPoll) for message in asked)
    assert {message.csr.der for message in asked if isinstance(message, PKCSReq)} <= {
        request.csr.der
    }
