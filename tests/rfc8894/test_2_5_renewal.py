"""RFC 8894 sections 2.3 and 2.5, and the drafts: renewal from the client's end."""

from __future__ import annotations

from dataclasses import replace

import pytest

import forge
import keys
from pair import Pair, grant, lose
from scepkit.errors import BadAlg, BadReply, BadRequest, RequestRefused
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.scep import capabilities, transaction
from scepkit.protocol.scep.attributes import MessageType, TransactionID
from scepkit.protocol.scep.messages import Pending, Success
from scepkit.protocol.scep.transaction import Limits, renewal_types

RENEWAL, PKCS = MessageType.RENEWAL_REQ, MessageType.PKCS_REQ
MODERN = ["SCEPStandard", "Renewal"]
DRAFT = ["AES", "SHA-256", "POSTPKIOperation", "Renewal"]
REFUSED = BadRequest("no")


def choice(caps):
    return capabilities.choose(capabilities.parse("\n".join(caps).encode()), NO_LEGACY)


def renewing(*decisions, caps=MODERN, signer=None, **how):
    return Pair(*decisions, caps=caps, signer=signer or keys.customer(), **how)


def renew(pair, key=None, **how):
    csr = pair.csr(None, key or keys.rsa_key("new"))
    return pair.run(transaction.renew(pair.exchange, csr, **how))


@pytest.mark.rfc("S-2.3-5", "S-2.5-3", "S-2.3-8", "S-2.3-9")
def test_renewalreq_goes_to_a_ca_of_rfc_8894():
    """Renewal and SCEPStandard: RenewalReq, signed with the current certificate."""
    pair = renewing()
    issued = renew(pair)
    assert pair.kinds == ["RenewalReq"]
    ((_, sender),) = pair.server.asked
    assert sender.certificate.der == keys.customer().der
    assert issued.certificate.public_key == keys.rsa_key("new").public_key()


@pytest.mark.rfc("L-12", "S-3.5.2-2")
@pytest.mark.parametrize("caps", [DRAFT, ["AES", "SHA-256"]], ids=["Renewal", "nothing"])
def test_pkcsreq_goes_to_the_others(caps):
    """Without SCEPStandard renewal is a PKCSReq signed with the current certificate."""
    pair = renewing(caps=caps)
    renew(pair)
    assert pair.kinds == ["PKCSReq"]
    assert pair.server.asked[0][1].certificate.der == keys.customer().der


@pytest.mark.rfc("L-12")
def test_renewalreq_that_an_old_server_refuses_is_repeated_once_as_pkcsreq():
    """17 answered badRequest by a server without SCEPStandard: once more as 19, same signer."""
    pair = renewing(REFUSED, REFUSED, caps=DRAFT)
    with pytest.raises(RequestRefused) as caught:
        renew(
            pair,
            transaction_id=TransactionID(b"mine"),
            types=renewal_types(pair.exchange.choice, RENEWAL),
        )
    assert pair.kinds == ["RenewalReq", "PKCSReq"]
    assert {sender.certificate.der for _, sender in pair.server.asked} == {keys.customer().der}
    first, second = (sender.attributes.transaction_id for _, sender in pair.server.asked)
    assert first != second, "the first is answered for good"
    assert "enrol anew" in caught.value.hint


@pytest.mark.rfc("L-12")
@pytest.mark.parametrize(
    ("caps", "refusal"), [(MODERN, REFUSED), (DRAFT, BadAlg("no"))], ids=["RFC 8894", "badAlg"]
)
def test_no_other_refusal_is_repeated(caps, refusal):
    """A server with SCEPStandard knows RenewalReq; another reason is no reason either."""
    pair = renewing(refusal, caps=caps)
    with pytest.raises(RequestRefused):
        renew(pair, types=renewal_types(pair.exchange.choice, RENEWAL))
    assert pair.kinds == ["RenewalReq"]


@pytest.mark.rfc("L-12")
def test_a_refusal_after_pending_is_not_repeated():
    """It is an operator's: the server has taken the RenewalReq."""
    pair = renewing(Pending(), REFUSED, caps=DRAFT)
    with pytest.raises(RequestRefused):
        renew(pair, types=renewal_types(pair.exchange.choice, RENEWAL))
    assert pair.kinds == ["RenewalReq", "CertPoll"]


@pytest.mark.rfc("L-12", "S-2.3-5")
@pytest.mark.parametrize(
    ("caps", "wanted", "types"),
    [
        (MODERN, None, [RENEWAL]),
        (MODERN, PKCS, [PKCS]),
        (MODERN, RENEWAL, [RENEWAL]),
        (DRAFT, None, [PKCS]),
        (DRAFT, RENEWAL, [RENEWAL, PKCS]),
        (["SCEPStandard"], None, [PKCS]),
    ],
)
def test_which_messages(caps, wanted, types):
    """RenewalReq where Renewal and SCEPStandard are, else PKCSReq; the user may choose."""
    assert list(renewal_types(choice(caps), wanted)) == types


@pytest.mark.rfc("S-2.3-6")
def test_a_certificate_of_another_ca_may_sign_a_renewal():
    """Holding only another CA's certificate: it signs a RenewalReq, and the server decides."""
    other = keys.certify("Other CA", keys.rsa_key("other-ca"), ca=True)
    foreign = keys.certify("device", keys.rsa_key("foreign"), other)
    pair = renewing(signer=foreign)
    renew(pair)
    assert pair.server.asked[0][1].certificate.der == foreign.der


@pytest.mark.rfc("S-2.5-4", "S-2.3-11", "S-2.3-10")
def test_the_old_key_opens_the_answer_about_the_new_one():
    """A new key is the rule: until the renewal is over the old one is needed to read the reply."""
    pair = renewing()
    pair.on_reply(1, lose)
    renew(pair)
    assert isinstance(pair.read_reply(pair.replies[-1], keys.customer()), Success)
    with pytest.raises(BadReply):
        pair.read_reply(pair.replies[-1], keys.certify("x", keys.rsa_key("new")))


@pytest.mark.rfc("P-62")
def test_the_old_certificate_is_not_taken_for_the_new_one():
    """Some CAs answer with what they issued for the key before; that is no renewal."""
    pair = renewing(Success((keys.customer().der,)))
    with pytest.raises(BadReply, match="gave the current certificate back") as caught:
        renew(pair, keys.customer().key)
    assert "new key" in caught.value.hint
    both = Success((keys.customer().der, keys.certify("x", keys.customer().key, keys.ca()).der))
    issued = renew(renewing(both), keys.customer().key)
    assert issued.certificate.serial != keys.customer().certificate.serial


@pytest.mark.rfc("S-2.4-4")
def test_a_renewal_needs_no_challenge():
    """The challengePassword is left out of a renewal."""
    pair = renewing()
    renew(pair)
    ((request, _),) = pair.server.asked
    assert request.csr.challenge_password is None
    assert forge.oid(forge.CHALLENGE_PASSWORD) not in request.csr.der


@pytest.mark.rfc("L-16")
def test_the_ra_may_change_between_two_operations():
    """RA certificates are asked for again before each operation: a new RA is no obstacle."""
    usage = keys.usage("digital_signature", "key_encipherment")
    new = keys.certify("New RA", keys.rsa_key("new-ra"), keys.ca(), key_usage=usage)
    pair = renewing()
    renew(pair)
    before = pair.exchange
    pair.server.ra = new
    pair.server.responder = pair.server._responder()
    pair._exchange = None
    renew(pair)
    assert pair.exchange.ca.recipient != before.ca.recipient
    stale = replace(before, ca=replace(before.ca, signers=(new.certificate,)))
    with pytest.raises(RequestRefused):
        pair.run(transaction.renew(stale, pair.csr(None)))


def test_a_renewal_may_be_pending_like_any_request():
    pair = renewing(Pending(), grant, limits=Limits(poll_interval=1))
    renew(pair)
    assert pair.kinds == ["RenewalReq", "CertPoll"]
