"""What an error carries: typed, neutral, about which transaction, and the same after a journey."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

import keys
import scepkit
from pair import grant
from scepkit import FailInfo, Hint, Limits, RequestRefused, ScepError, StillPending
from scepkit.protocol.scep.http import HTTPResponse, Operation
from scepkit.protocol.scep.messages import Failure, Pending

FAILURE = Failure(FailInfo.badRequest, "not with that subject")
HOW = {
    "BoundReached": ((503, "too many"), {"bound": "requests", "retry_after": 7, "hint": "wait"}),
    "HTTPRefused": ((405, "no"), {"allow": "GET"}),
    "RequestRefused": ((FAILURE,), {"hint": "ask"}),
    "UnverifiedCertificate": (("no chain",), {"certificates": (b"0",), "hint": "look"}),
    "LegacyRefused": (("needs sha1",), {"names": ("sha1",)}),
    "TransportError": (("busy",), {"status": 503, "retry_after": 2.0}),
    "BadReply": (("no",), {"final": True}),
    "BadAlg": (("no",), {"text": "for the peer", "legacy": ("des",)}),
}


def public():
    found = [getattr(scepkit, name) for name in scepkit.__all__]
    return [one for one in found if isinstance(one, type) and issubclass(one, ScepError)]


def made(kind):
    if kind is scepkit.RevocationRefused:
        from scepkit.protocol.cmp.status import Status, StatusInfo

        return kind(StatusInfo(Status.rejection, "no", frozenset()))
    arguments, how = HOW.get(kind.__name__, (("what went wrong",), {"hint": Hint.PROXY}))
    return kind(*arguments, **how)


@pytest.mark.parametrize("which", public(), ids=lambda which: which.__name__)
@pytest.mark.parametrize("travel", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_an_error_is_the_same_after_a_journey(which, travel):
    """From a worker process, say."""
    error = made(which)
    error.transaction_id = "abc"
    again = travel(error)
    assert type(again) is which
    assert (str(again), again.args) == (str(error), error.args)
    assert vars(again) == vars(error)
    assert again.hint == error.hint


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture
def key():
    return keys.rsa_key("client")


def test_a_refusal_says_all_that_the_ca_said(serve, connect, key):
    site = serve(FAILURE)
    client = connect(site)
    ca = client.get_ca(site.fingerprint)
    with pytest.raises(RequestRefused) as caught:
        client.enrol(ca, key, "CN=dev1")
    error = caught.value
    assert (error.fail_info, error.fail_info_text) == (FailInfo.badRequest, FAILURE.text)
    assert error.failure == FAILURE
    assert error.hint is Hint.OPERATOR_KNOWS
    (sent,) = site.asked(Operation.PKI_OPERATION)
    message = scepkit.pkimessage.parse(scepkit.http.read_request(sent).message)
    verified = scepkit.pkimessage.verify(message, frozenset())
    assert error.transaction_id == str(verified.attributes.transaction_id)


@pytest.mark.parametrize("number", [0, 1])
def test_every_failure_of_a_transaction_names_it(serve, connect, key, number):
    """One in the middle of polling, too."""
    site = serve(*[Pending()] * number, grant)
    client = connect(site, limits=Limits(max_polls=0, retries=0))
    ca = client.get_ca(site.fingerprint)
    prepared = scepkit.prepared_request.prepare(key, "CN=dev1")
    if not number:
        site.next(Operation.PKI_OPERATION, HTTPResponse(500, b""))
    with pytest.raises(StillPending if number else scepkit.TransportError) as caught:
        client.submit(ca, prepared)
    assert caught.value.transaction_id == str(prepared.transaction_id)


def test_what_is_about_no_transaction_says_so(connect, serve):
    site = serve()
    site.next(Operation.GET_CA_CAPS, *[HTTPResponse(503, b"")] * 9)
    with pytest.raises(scepkit.TransportError) as caught:
        connect(site, limits=Limits(retries=0)).get_capabilities()
    assert caught.value.transaction_id == ""


@pytest.mark.parametrize("hint", Hint)
def test_a_hint_names_no_command(hint):
    assert not re.search(r"--\w|`|\bscep \w", hint)
