"""The option in the hint of a refusal: where it may help, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

import keys
from scepkit.cli.device import hints
from scepkit.client import prepared_request
from scepkit.errors import FailInfo, RequestRefused, TransportError
from scepkit.protocol.scep.messages import Failure, RenewalReq

RSA, EC = keys.rsa_key("client"), keys.ec_key("client")
ABOUT_CHALLENGE, ABOUT_KEY = "give a challenge", "many CAs take RSA keys alone"
BROKEN = partial(TransportError, "HTTP 500", status=500)
BAD_ALG = partial(RequestRefused, Failure(FailInfo.badAlg))
BAD_MAC = partial(RequestRefused, Failure(FailInfo.badMessageCheck))
REFUSED = partial(RequestRefused, Failure(FailInfo.badRequest))


def added(key, error, hint, challenge="a", *, renews=False):
    """Return what is added to a hint."""
    order = prepared_request.prepare(key, "CN=dev1", challenge=challenge, now=keys.NOW)
    if renews:
        order = replace(order, request=RenewalReq(order.request.csr))
    error = error(hint=hint)
    hints.add_options(error, order)
    return error.hint.removeprefix(hint)


@pytest.mark.parametrize("error", [BROKEN, BAD_ALG, REFUSED])
def test_another_kind_of_key_is_for_one_that_is_not_rsa(error):
    assert added(EC, error, ABOUT_KEY) == " (--key rsa:2048)"
    assert added(RSA, error, ABOUT_KEY) == ""


def test_a_key_that_needs_a_challenge_may_get_one():
    both = f"{ABOUT_KEY}, {ABOUT_CHALLENGE}"
    assert added(EC, BAD_ALG, both, None) == (
        " (--challenge-file FILE, SCEP_CHALLENGE, or --key rsa:2048)"
    )


def test_a_challenge_is_for_bad_message_check_and_where_there_was_none():
    assert added(RSA, BAD_MAC, ABOUT_CHALLENGE) == " (--challenge-file FILE)"
    assert added(RSA, REFUSED, ABOUT_CHALLENGE) == ""
    assert added(RSA, REFUSED, ABOUT_CHALLENGE, None) == (
        " (--challenge-file FILE, or SCEP_CHALLENGE)"
    )


def test_the_variable_is_not_looked_at_in_a_renewal():
    assert added(RSA, REFUSED, ABOUT_CHALLENGE, None, renews=True) == " (--challenge-file FILE)"


@pytest.mark.parametrize("error", [BROKEN, REFUSED, BAD_MAC])
def test_nothing_is_added_to_other_hints(error):
    assert added(EC, error, "check the URL", None) == ""
    assert added(EC, error, "", None) == ""
