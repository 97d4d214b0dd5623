"""The option in the hint of a refusal: where it may help, and nowhere else."""

from __future__ import annotations

import pytest

import keys
from scepkit.cli import hints
from scepkit.client import orders
from scepkit.errors import FailInfo, RequestRefused, TransportError
from scepkit.protocol.messages import Failure

RSA, EC = keys.rsa_key("client"), keys.ec_key("client")
BROKEN = TransportError("HTTP 500", status=500, hint="h")
BAD_ALG = RequestRefused(Failure(FailInfo.badAlg), hint="h")
BAD_MAC = RequestRefused(Failure(FailInfo.badMessageCheck), hint="h")
OTHERS = [TransportError("503", status=503, hint="h"), TransportError("500", status=500)]


def hint(key, error, challenge="a"):
    order = orders.make(key, "CN=dev1", challenge=challenge, now=keys.NOW)
    error.hint = error.hint[:1]
    with pytest.raises(type(error)), hints.fitting(order):
        raise error
    return error.hint


@pytest.mark.parametrize("error", [BROKEN, BAD_ALG])
def test_another_kind_of_key_is_for_one_that_is_not_rsa(error):
    assert hint(EC, error) == "h (--key rsa:2048)"
    assert hint(RSA, error) == "h"


def test_a_key_that_needs_a_challenge_may_get_one():
    assert hint(EC, BAD_ALG, None) == "h (--challenge-file FILE, or --key rsa:2048)"


def test_a_challenge_is_for_bad_message_check():
    assert hint(EC, BAD_MAC) == hint(RSA, BAD_MAC) == "h (--challenge-file FILE)"


@pytest.mark.parametrize("error", OTHERS)
def test_nothing_is_added_to_other_failures(error):
    before = error.hint
    assert hint(EC, error) == before
