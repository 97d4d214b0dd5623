"""What OpenSSL 3.0.22 sent and answered, byte for byte; see vectors/PROVENANCE.md."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from der import parse
from scepkit.errors import BadReply
from scepkit.protocol import cmp
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates

VECTORS = Path(__file__).parent / "vectors"
NOW = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
SECRET = "geheim"


def vector(name):
    return (VECTORS / f"openssl-3.0.22-{name}.der").read_bytes()


def certificate(name):
    return Certificate.read((VECTORS / f"{name}.cert.der").read_bytes())


def trusted():
    anchor = certificate("ca")
    return ca_certificates.trust([anchor], anchor, NOW)


def sent(name, secret=None):
    """Return a captured request as the one that a client of ours had sent."""
    body = vector(name)
    request = cmp.read_request(body)
    return cmp.SentRequest(body, request.header, request.revocation, secret)


SIGNED = [
    ("rsa", "rsa", cmp.Reason.keyCompromise),
    ("ec", "ec", cmp.Reason.keyCompromise),
    ("no", "rsa", None),
    ("error", "rsa", None),
    ("chain", "rsa", None),
    ("noski", "plain", None),
]


@pytest.mark.parametrize(("name", "signer", "reason"), SIGNED)
def test_a_signed_rr(name, signer, reason):
    """The signature holds over header and body as they came, and the sender is the signer."""
    request = cmp.read_request(vector(f"rr-{name}"))
    assert request.is_signed
    found = cmp.find_signer(request)
    assert found.der == certificate(signer).der == request.extra_certificates[0]
    cmp.verify_signature(request, found)
    assert request.revocation == cmp.RevocationRequest.of(found, reason)
    assert request.header.recipient_name == certificate("ca").subject
    assert request.header.version == 2
    assert len(request.header.transaction_id) == len(request.header.sender_nonce) == 16


def test_an_rr_brings_its_chain():
    """-untrusted and -extracerts follow the signer's certificate."""
    request = cmp.read_request(vector("rr-chain"))
    assert request.extra_certificates[1:] == (certificate("ra").der,)


@pytest.mark.parametrize("name", ["mac", "mac-sha256"])
def test_an_rr_with_a_secret(name):
    """senderKID is -ref, sender the subject of -oldcert, and no certificate goes along."""
    request = cmp.read_request(vector(f"rr-{name}"))
    assert not request.is_signed
    assert request.header.sender_kid == b"dev-1"
    assert request.header.sender_name == certificate("rsa").subject
    assert request.extra_certificates == ()
    cmp.verify_mac(request, SECRET)
    with pytest.raises(cmp.BadMessageCheck):
        cmp.verify_mac(request, SECRET + "x")


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("rr-unprotected", cmp.FailureInfo.badMessageCheck),
        ("rr-csr", cmp.FailureInfo.badCertTemplate),
        ("genm", cmp.FailureInfo.badRequest),
        ("ir", cmp.FailureInfo.badRequest),
    ],
)
def test_what_is_refused(name, failure):
    """The errors name the transaction, so that openssl can tell what the answer answers."""
    with pytest.raises(cmp.CMPError) as caught:
        cmp.read_request(vector(name))
    assert caught.value.fail_info is failure
    assert len(caught.value.header.transaction_id) == 16


@pytest.mark.parametrize("name", ["rsa", "ec"])
def test_an_rp_is_believed(name):
    """Our client takes what OpenSSL's server answers to OpenSSL's request."""
    response = cmp.read_response(vector(f"rp-{name}"), sent(f"rr-{name}"), trusted(), now=NOW)
    assert response.status == cmp.ACCEPTED
    assert response.signer.der == certificate("ra").der


def test_an_rp_with_a_secret_is_believed():
    """OpenSSL's server signs with no name, as it has none, and with the same reference."""
    response = cmp.read_response(vector("rp-mac"), sent("rr-mac", SECRET), None, now=NOW)
    assert (response.status, response.signer) == (cmp.ACCEPTED, None)
    for secret in (None, "other"):
        with pytest.raises(BadReply):
            cmp.read_response(vector("rp-mac"), sent("rr-mac", secret), trusted(), now=NOW)


def test_a_rejection_is_one():
    """Status, failInfo and text come out as they went in."""
    with pytest.raises(cmp.RevocationRefused) as caught:
        cmp.read_response(vector("rp-no"), sent("rr-no"), trusted(), now=NOW)
    assert caught.value.status == cmp.StatusInfo(
        cmp.Status.rejection, "no such certificate", frozenset({cmp.FailureInfo.badCertId})
    )
    assert str(caught.value) == "badCertId: no such certificate"


def test_a_rejection_is_written_as_openssl_writes_it():
    """PKIStatusInfo byte for byte, the failInfo as a named BIT STRING without zero bits."""
    rejection = cmp.StatusInfo.of(cmp.BadCertId("no such certificate"))
    assert cmp.status.write_status(rejection) in vector("rp-no")
    for failure in cmp.FailureInfo:
        written = parse(
            cmp.status.write_status(cmp.StatusInfo(cmp.Status.rejection, "", {failure}))
        )
        unused, *octets = written[1].content
        assert int.from_bytes(bytes(octets), "big") == 1 << unused
        assert 8 * len(octets) - unused - 1 == failure


def test_an_error_message_is_one():
    """The error message of OpenSSL's server is read, errorCode and errorDetails skipped."""
    with pytest.raises(cmp.RevocationRefused) as caught:
        cmp.read_response(vector("error"), sent("rr-error"), trusted(), now=NOW)
    assert caught.value.status.failures == {cmp.FailureInfo.badRequest}


def test_the_answer_to_another_request_is_not_believed():
    """Another transaction, even of the same certificate."""
    with pytest.raises(BadReply, match="another transaction"):
        cmp.read_response(vector("rp-rsa"), sent("rr-no"), trusted(), now=NOW)
