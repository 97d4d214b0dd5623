"""Whatever bytes come, nothing but a ScepError leaves scepkit.protocol.cmp, and in time."""

from __future__ import annotations

import os
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

import der
import mutation
from cmp import forging, world
from cmp.test_vectors import NOW, SECRET, sent, trusted, vector
from cmp.world import Responder
from scepkit.errors import ScepError
from scepkit.protocol import cmp
from scepkit.protocol.algorithms import Legacy

EVERY = frozenset(Legacy)
# Few rounds: each example does them all.
PBM = forging.pbm_parameters(count=3)
PBMAC1 = forging.pbmac1_parameters(count=3)

REQUESTS = [
    *(vector(f"rr-{name}") for name in ("rsa", "ec", "noski", "csr", "unprotected")),
    *(vector("genm"), vector("ir"), forging.rr(pvno=99)),
    forging.pss(forging.pss_parameters()),
    forging.mac(PBM, dotted=forging.PBM),
    forging.mac(PBMAC1, dotted=forging.PBMAC1),
]
REPLIES = [vector(name) for name in ("rp-rsa", "rp-ec", "rp-no", "error", "rp-mac")]


def receive(body):
    try:
        request = cmp.read_request(body)
    except cmp.CMPError as error:
        seal(error)
        return
    for step in (
        lambda: cmp.verify_signature(request, cmp.find_signer(request), EVERY),
        lambda: cmp.verify_signature(request, world.device().certificate, EVERY),
        lambda: cmp.verify_mac(request, SECRET),
    ):
        error = failure(step)
        if error is not None:
            assert error.header is request.header
            seal(error)
    repr(request)
    if not request.is_signed:
        with suppress(cmp.CMPError):
            cmp.same_secret(request, SECRET, b"\x30\x00", os.urandom)


def failure(step):
    try:
        step()
    except cmp.CMPError as error:
        return error
    return None


def seal(error):
    """What cannot be granted can be answered, always."""
    sealed = cmp.seal_error(
        error, cmp.Signer(world.ra("p256 ra").credential), now=NOW, random=os.urandom
    )
    cmp.message.read(sealed)


@given(st.data())
def test_request(data):
    receive(data.draw(mutation.anything(REQUESTS)))


@given(st.data())
def test_request_that_is_signed_whatever_it_says(data):
    """The forger's signature holds over damaged headers and bodies."""
    whole = forging.full_parts()
    header = data.draw(st.one_of(st.just(whole[0]), mutation.trees([whole[0]])))
    body = data.draw(mutation.trees([whole[1]]))
    receive(
        forging.message(
            header,
            body,
            lambda covered: forging.signature(world.device().key, covered),
            [world.device().der],
        )
    )


@given(st.data())
def test_mac_parameters(data):
    for dotted, parameters in ((forging.PBM, PBM), (forging.PBMAC1, PBMAC1)):
        receive(forging.mac(data.draw(mutation.trees([parameters])), dotted=dotted))


@given(st.data())
def test_pss_parameters(data):
    receive(forging.pss(data.draw(mutation.trees([forging.pss_parameters()]))))


@given(st.data())
def test_signer_certificate(data):
    certificate = data.draw(mutation.trees([world.device().der, world.device("p256").der]))
    receive(forging.rr(certificates=[certificate]))


@given(st.data())
def test_reply(data):
    body = data.draw(mutation.anything(REPLIES))
    for name in ("rr-rsa", "rr-ec"):
        with suppress(ScepError):
            cmp.read_response(body, sent(name), trusted(), now=NOW)
    with suppress(ScepError):
        cmp.read_response(body, sent("rr-mac", SECRET), None, now=NOW)


@given(st.data())
def test_reply_that_is_signed_whatever_it_says(data):
    """An RA that the CA vouches for may still write anything."""
    from cmp.test_pair import ask, believe, forged

    question = ask()
    bodies = [der.parse(vector(name))[1].der() for name in ("rp-rsa", "error")]
    with suppress(ScepError):
        believe(forged(question, body=data.draw(mutation.trees(bodies))), question)


@given(st.binary(max_size=200), st.text(max_size=50))
def test_any_secret_and_reference(reference, secret):
    """A secret may be any text, a reference any octets."""
    secret = secret.encode("utf-8", "replace").decode()
    responder = Responder(secrets={reference: secret})
    protector = cmp.SharedSecret.new(secret, reference, b"\x30\x00", os.urandom)
    request = cmp.make_request(
        cmp.RevocationRequest.of(world.device().certificate),
        protector,
        recipient=b"\x30\x00",
        now=NOW,
        random=os.urandom,
    )
    answer = responder.answer(request.der)
    assert cmp.read_response(answer, request, None, now=NOW).status == cmp.ACCEPTED
