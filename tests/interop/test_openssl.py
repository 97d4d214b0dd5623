"""openssl reads what `scep enroll` and `scep serve` write to each other, and finds it sound."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from interop.judge import fingerprint
from interop.serving import fetch

pytestmark = pytest.mark.interop

# RFC 8894 section 3.2.1
SCEP = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO = f"{SCEP}2", f"{SCEP}3", f"{SCEP}4"
SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = f"{SCEP}5", f"{SCEP}6", f"{SCEP}7"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"

RFC_8894 = {"AES", "POSTPKIOperation", "SHA-256", "SHA-512", "SCEPStandard"}


@pytest.fixture(params=["default", "single", "ec"])
def serving(request, server):
    return server(request.param)


def check_reply(openssl, serving, exchange):
    """Check what is the same for every CertRep, and return its attributes and its content."""
    assert exchange.content_type == "application/x-pki-message"
    sent, got = openssl.attributes(exchange.message), openssl.attributes(exchange.reply)
    assert got[MESSAGE_TYPE] == "PRINTABLESTRING 3"
    assert got[TRANSACTION_ID] == sent[TRANSACTION_ID]
    assert got[RECIPIENT_NONCE] == sent[SENDER_NONCE]
    assert got[SENDER_NONCE] not in (None, sent[SENDER_NONCE])
    # Of certificates there is the signer's, and no other (checklist P-17).
    assert openssl.cms(exchange.reply).count("d.certificate:") == 1
    openssl.trusted(exchange.reply, serving.ca)
    return got, openssl.signed(exchange.reply, signer=serving.recipient)


def test_request(serving, tap, enroll, openssl):
    wire = tap(serving.url)
    challenge = serving.challenge()
    done = enroll(wire.url, serving.fingerprint, challenge)
    assert done.status == 0, done.err
    (exchange,) = wire.pki_operations
    assert exchange.method == "POST"
    attributes = openssl.attributes(exchange.message)
    assert attributes[MESSAGE_TYPE] == "PRINTABLESTRING 19"
    assert attributes[TRANSACTION_ID].startswith("PRINTABLESTRING ")
    kind, _, nonce = attributes[SENDER_NONCE].rpartition(" ")
    assert (kind, len(nonce)) == ("OCTET STRING", 32)
    envelope = openssl.signed(exchange.message)
    csr = openssl.enveloped(envelope, serving.recipient_key, serving.recipient)
    said = openssl.request(csr)
    assert "Subject: O = Interop, CN = device\n" in said
    assert f":{challenge}\n" in said
    assert "DNS:device.example\n" in said


def test_success(serving, tap, enroll, openssl, tmp_path):
    wire = tap(serving.url)
    done = enroll(wire.url, serving.fingerprint, serving.challenge())
    assert done.status == 0, done.err
    (exchange,) = wire.pki_operations
    attributes, envelope = check_reply(openssl, serving, exchange)
    assert attributes[PKI_STATUS] == "PRINTABLESTRING 0"
    assert FAIL_INFO not in attributes
    files = tmp_path / "device"
    issued = openssl.certificates(openssl.enveloped(envelope, files / "key.pem"))
    certificate = files / "cert.pem"
    assert openssl.fingerprints(issued) == openssl.fingerprints(certificate.read_text())
    openssl.check_chain(certificate, files / "ca.pem")
    assert openssl.fingerprints((files / "ca.pem").read_text()) == [
        serving.fingerprint.removeprefix("sha256:")
    ]
    public = openssl("pkey", "-in", files / "key.pem", "-pubout")
    assert openssl("x509", "-in", certificate, "-noout", "-pubkey") == public


@pytest.mark.parametrize("kind", ["ec:p256", "ec:p384", "ec:p521", "ed25519"])
def test_a_key_that_cannot_decrypt(server, tap, enroll, openssl, tmp_path, kind):
    """The challengePassword opens the reply, and nothing else would."""
    serving = server("default")
    wire = tap(serving.url)
    challenge = serving.challenge()
    done = enroll(wire.url, serving.fingerprint, challenge, "--key", kind)
    assert done.status == 0, done.err
    (exchange,) = wire.pki_operations
    _, envelope = check_reply(openssl, serving, exchange)
    assert "d.pwri:" in openssl.cms(envelope)
    issued = openssl.certificates(openssl.enveloped_by_password(envelope, challenge))
    certificate = tmp_path / "device" / "cert.pem"
    assert openssl.fingerprints(issued) == openssl.fingerprints(certificate.read_text())
    openssl.check_chain(certificate, serving.ca)


def test_failure(serving, tap, enroll, openssl, tmp_path):
    wire = tap(serving.url)
    done = enroll(wire.url, serving.fingerprint, "wrong")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: badRequest: the challengePassword is missing or not valid")
    assert not (tmp_path / "device").exists()
    attributes, content = check_reply(openssl, serving, wire.pki_operations[0])
    assert attributes[PKI_STATUS] == "PRINTABLESTRING 2"
    assert attributes[FAIL_INFO] == "PRINTABLESTRING 2"
    assert attributes[FAIL_INFO_TEXT].startswith("UTF8STRING the challengePassword is missing")
    assert content == b""


def test_ca(serving, tap, enroll, openssl, tmp_path):
    """GetCACaps and GetCACert; the CA's certificates are held to RFC 5280 as well."""
    wire = tap(serving.url)
    enroll(wire.url, serving.fingerprint, "wrong")
    found = {exchange.operation: exchange for exchange in wire.exchanges}
    caps, ca = found["GetCACaps"], found["GetCACert"]
    assert caps.content_type.startswith("text/plain")
    assert set(caps.reply.decode().split()) >= RFC_8894
    if serving.has_ra:
        assert ca.content_type == "application/x-x509-ca-ra-cert"
        shown = openssl.certificates(ca.reply)
        own = serving.recipient.read_text() + serving.ca.read_text()
    else:
        assert ca.content_type == "application/x-x509-ca-cert"
        shown = openssl("x509", "-inform", "DER", stdin=ca.reply).decode()
        own = serving.ca.read_text()
    assert openssl.fingerprints(shown) == openssl.fingerprints(own)
    for certificate in {serving.recipient, serving.ca}:
        openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", serving.ca, certificate)


def test_next_ca(serving, openssl):
    """The current CA signs the answer; what is in it are the next CA's certificates."""
    with serving.rollover() as certificate:
        status, answer = fetch(f"{serving.url}?operation=GetNextCACert")
        assert status == HTTPStatus.OK
        inside = openssl.signed(answer, signer=serving.ca)
        assert fingerprint(certificate) in openssl.fingerprints(openssl.certificates(inside))
        assert fingerprint(serving.ca) not in openssl.fingerprints(openssl.certificates(inside))
    status, _ = fetch(f"{serving.url}?operation=GetNextCACert")
    assert status != HTTPStatus.OK
