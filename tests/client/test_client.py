"""The client against a server on a socket."""

from __future__ import annotations

import gzip
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

import httpd
import keys
from httpd import DROP
from pair import grant
from scepkit.client.keys import generate_key
from scepkit.errors import (
    BadReply,
    BadRequest,
    LegacyRefused,
    Malformed,
    RequestRefused,
    StillPending,
    TransportError,
    UntrustedCA,
    UsageError,
)
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.cms import signed
from scepkit.protocol.scep.http import CA_RA_CERT, HTTPResponse, Operation
from scepkit.protocol.scep.messages import CertPoll, Failure, Pending, PKCSReq, Success
from scepkit.protocol.scep.responder import Responder
from scepkit.protocol.scep.transaction import Limits

HTML = HTTPResponse(200, b"<html><body>Welcome to nginx!</body></html>", "text/html")


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture
def key():
    return keys.rsa_key("client")


def enrol(client, site, key, **how):
    return client.enrol(client.get_ca(site.fingerprint), key, "CN=dev1,O=Example", **how)


def test_a_certificate(serve, connect, key):
    site = serve()
    issued = enrol(connect(site), site, key, challenge="secret", names=["dev1.example"])
    assert issued.certificate.public_key == key.public_key()
    assert issued.chain == (httpd.ca().certificate,)
    ((request, sender),) = site.scep.asked
    assert request.csr.challenge_password == "secret"
    assert [*map(str, request.csr.extensions.subject_alternative_names)] == ["dns:dev1.example"]
    assert sender.certificate.public_key == key.public_key()


@pytest.mark.rfc("S-4.1-3")
def test_post_is_used_where_it_is_offered(serve, connect, key):
    """If the CA supports POST, every CMS message goes by POST."""
    site = serve()
    enrol(connect(site), site, key)
    assert [r.method for r in site.asked(Operation.PKI_OPERATION)] == ["POST"]


def test_get_is_used_where_post_is_not_offered(serve, connect, key):
    site = serve(caps=["AES", "SHA-256"])
    enrol(connect(site), site, key)
    assert [r.method for r in site.asked(Operation.PKI_OPERATION)] == ["GET"]


def test_a_ca_without_an_ra(serve, connect, key):
    site = serve(ra=None)
    assert enrol(connect(site), site, key).chain == (httpd.ca().certificate,)


def test_pending_is_polled(serve, connect, key, waits):
    site = serve(Pending(), Pending(), grant)
    enrol(connect(site, limits=Limits(poll_interval=7)), site, key)
    assert [(w.seconds, w.pending) for w in waits] == [(7, True), (10.5, True)]
    assert [type(request) for request, _ in site.scep.asked] == [PKCSReq, CertPoll, CertPoll]


def test_pending_for_too_long(serve, connect, key):
    site = serve(Pending())
    with pytest.raises(StillPending, match="after 3 polls"):
        enrol(connect(site, limits=Limits(max_polls=3)), site, key)


def test_the_same_call_continues_the_transaction(serve, connect, key):
    site = serve(Pending(), grant)
    client = connect(site, limits=Limits(max_wait=0))
    with pytest.raises(StillPending):
        enrol(client, site, key, challenge="secret")
    issued = enrol(client, site, key, challenge="secret")
    first, second = (sender.attributes.transaction_id for _, sender in site.scep.asked)
    assert first == second == issued.transaction_id


@pytest.mark.rfc("P-79")
def test_a_server_that_is_busy_is_asked_again(serve, connect, key, waits):
    """Any HTTP status other than 200 is a transport error: retry with back-off."""
    site = serve()
    site.next(Operation.PKI_OPERATION, *[HTTPResponse(503, b"busy")] * 2)
    enrol(connect(site), site, key)
    assert [(w.seconds, w.pending) for w in waits] == [(1, False), (2, False)]
    assert "HTTP 503: busy" in waits[0].reason


@pytest.mark.rfc("P-52")
def test_a_lost_answer_is_asked_for_again(serve, connect, key):
    """An identical resend (same id, same CSR) is safe everywhere."""
    site = serve()
    site.next(Operation.PKI_OPERATION, DROP)
    enrol(connect(site), site, key)
    first, second = site.asked(Operation.PKI_OPERATION)
    assert first.body == second.body


def test_a_server_that_stays_away(serve, connect, key, waits):
    site = serve()
    site.next(Operation.PKI_OPERATION, *[DROP] * 4)
    with pytest.raises(TransportError, match="broke off"):
        enrol(connect(site), site, key)
    assert len(waits) == 3


def test_nobody_is_there(serve, connect, key, waits):
    site = serve()
    site.next(Operation.GET_CA_CAPS, DROP)
    site.next(Operation.GET_CA_CERT, DROP)
    with pytest.raises(TransportError):
        enrol(connect(site), site, key)
    assert not waits, "to be told at once is kinder"


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_without_capabilities_needs_leave(serve, connect, key, status):
    site = serve()
    site.next(Operation.GET_CA_CAPS, HTTPResponse(status, b""))
    with pytest.raises(LegacyRefused, match="SHA-256") as caught:
        enrol(connect(site), site, key)
    assert "sha1" in caught.value.names


def test_a_page_instead_of_capabilities_is_none(serve, connect):
    site = serve()
    site.next(Operation.GET_CA_CAPS, HTML)
    assert connect(site).get_capabilities() == frozenset()


def test_a_page_instead_of_certificates(serve, connect):
    site = serve()
    site.next(Operation.GET_CA_CERT, HTML)
    with pytest.raises(Malformed, match="does not answer like a SCEP server") as caught:
        connect(site).ask()
    assert "a web page (text/html) instead of certificates" in caught.value.message


def test_nothing_instead_of_certificates(serve, connect):
    site = serve()
    site.next(Operation.GET_CA_CERT, HTTPResponse(200, b""))
    with pytest.raises(Malformed, match=r"nothing \(text/plain\) instead of certificates"):
        connect(site).ask()


BUSY = [408, 425, 429, 502, 503, 504]


@pytest.mark.rfc("S-3.5.2-12", "P-79")
@pytest.mark.parametrize("status", BUSY)
def test_a_server_that_is_busy_is_asked_again_for_its_capabilities(
    serve, connect, key, waits, status
):
    """Busy is not the same as without GetCACaps."""
    site = serve()
    site.next(Operation.GET_CA_CAPS, HTTPResponse(status, b"busy", headers={"retry-after": "7"}))
    site.next(Operation.GET_CA_CAPS, HTTPResponse(status, b"busy"))
    enrol(connect(site), site, key)
    assert [w.seconds for w in waits] == [7, 2]


@pytest.mark.parametrize("allowed", [set(), {Legacy.SHA1}])
def test_a_server_that_stays_busy_when_asked_for_its_capabilities(
    serve, connect, key, waits, allowed
):
    """The advice is not to allow what is weak."""
    site = serve()
    site.next(Operation.GET_CA_CAPS, *[HTTPResponse(503, b"busy")] * 2)
    client = connect(site, limits=Limits(retries=1), allowed=frozenset(allowed))
    with pytest.raises(LegacyRefused, match=r"GetCACaps was not answered \(HTTP 503\)") as caught:
        enrol(client, site, key)
    assert not caught.value.names
    assert len(waits) == 1


def test_a_server_that_stays_busy_says_no_capabilities(serve, connect, waits):
    site = serve()
    site.next(Operation.GET_CA_CAPS, *[HTTPResponse(503, b"busy")] * 4)
    with pytest.raises(TransportError, match=r"GetCACaps was not answered \(HTTP 503\)"):
        connect(site).get_capabilities()
    assert [w.seconds for w in waits] == [1, 2, 4]


def test_what_a_busy_server_said_earlier_stands(serve, connect):
    site = serve()
    client = connect(site, limits=Limits(retries=0))
    before = client.get_ca(site.fingerprint)
    site.next(Operation.GET_CA_CAPS, HTTPResponse(503, b"busy"))
    again = client.trust(client.ask(), httpd.ca().certificate, before.capabilities)
    assert again == before


@pytest.mark.parametrize("operation", [Operation.GET_CA_CERT, Operation.PKI_OPERATION])
@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "only some"), (403, "only some"), (413, "operator"), (429, "later"), (503, "later")],
)
def test_a_status_says_what_to_do(serve, connect, key, status, hint, operation):
    """The URL is right where somebody is busy, or keeps others out."""
    site = serve()
    site.next(operation, HTTPResponse(status, b"", headers={"retry-after": "7"}))
    with pytest.raises(TransportError, match=f"HTTP {status}") as caught:
        enrol(connect(site, limits=Limits(retries=0)), site, key)
    assert hint in caught.value.hint
    assert "URL" not in caught.value.hint
    assert (caught.value.status, caught.value.retry_after) == (status, 7)


@pytest.mark.parametrize("status", [204, 400, 404, 500])
def test_a_message_that_is_not_taken_says_who_knows_more(serve, connect, key, status):
    """The URL is right: GetCACert was answered there."""
    site = serve()
    site.next(Operation.PKI_OPERATION, HTTPResponse(status, b""))
    with pytest.raises(TransportError, match=f"HTTP {status}") as caught:
        enrol(connect(site, limits=Limits(retries=0)), site, key)
    assert "the server's own log" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xef\xbb\xbf<!DOCTYPE html><html></html>", "a web page"),
        (b' {"error": "no"}', "JSON"),
        (gzip.compress(b"\x30\x00", mtime=0), "compressed data"),
    ],
)
@pytest.mark.parametrize("operation", [Operation.GET_CA_CERT, Operation.PKI_OPERATION])
def test_what_no_scep_server_answers_is_named(serve, connect, key, operation, body, kind):
    site = serve()
    site.next(operation, HTTPResponse(200, body))
    with pytest.raises((BadReply, Malformed), match=f"{kind}.* instead of") as caught:
        enrol(connect(site, limits=Limits(retries=0)), site, key)
    assert "check the URL" in caught.value.hint


def test_a_page_instead_of_a_reply(serve, connect, key):
    site = serve()
    site.next(Operation.PKI_OPERATION, *[HTML] * 4)
    with pytest.raises(BadReply, match="a web page instead of a SCEP message"):
        enrol(connect(site), site, key)


@pytest.mark.rfc("S-2.2-5")
def test_another_fingerprint(serve, connect, key):
    """A mismatch of the fingerprint aborts before any PKIOperation."""
    site = serve()
    with pytest.raises(UntrustedCA, match="it has sha256:"):
        connect(site).get_ca("ab" * 32)
    assert not site.asked(Operation.PKI_OPERATION)


def test_a_fingerprint_that_is_none_asks_nobody(serve, connect):
    site = serve()
    with pytest.raises(UntrustedCA, match="not a SHA-256 fingerprint"):
        connect(site).get_ca("sha1:" + "ab" * 20)
    assert not site.requests


def test_a_reply_of_a_stranger(serve, connect, key):
    site = serve()
    stranger = httpd.certify(
        "Test RA", keys.rsa_key("stranger"), serial=httpd.ra().x509.serial_number
    )
    client = connect(site)
    ca = client.get_ca(site.fingerprint)
    site.scep.responder = Responder(
        signer=stranger.credential, credentials=[httpd.ra().credential], random=os.urandom
    )
    with pytest.raises(BadReply, match="cannot be believed"):
        client.enrol(ca, key, "CN=dev1")


def test_an_ra_of_another_ca(serve, connect, key):
    """Somebody adds an RA of their own to the true CA certificate, to read the challenge."""
    site = serve()
    evil = httpd.certify(
        "Test RA",
        keys.rsa_key("stranger"),
        httpd.ca("stranger-ca"),
        key_usage=keys.usage("digital_signature", "key_encipherment"),
    )
    both = signed.certs_only([evil.der, httpd.ca().der])
    site.next(Operation.GET_CA_CERT, HTTPResponse(200, both, CA_RA_CERT))
    ca = connect(site).get_ca(site.fingerprint)
    assert ca.certificates.recipient.der == httpd.ca().der
    assert evil.der not in [signer.der for signer in ca.certificates.signers]


def test_a_certificate_of_another_ca(serve, connect, key):
    site = serve()
    client = connect(site)
    ca = client.get_ca(site.fingerprint)
    site.scep.ca = httpd.ca("stranger-ca")
    with pytest.raises(BadReply, match="was not issued by the CA that is trusted"):
        client.enrol(ca, key, "CN=dev1")


def test_refused(serve, connect, key):
    site = serve(BadRequest("the challenge is wrong", text="denied"))
    with pytest.raises(RequestRefused, match="badRequest: denied") as caught:
        enrol(connect(site), site, key)
    assert isinstance(caught.value.failure, Failure)


def test_legacy_only_with_leave(serve, connect, key):
    old = {"caps": ["DES3", "SHA-1"], "allowed": frozenset({Legacy.SHA1, Legacy.DES3})}
    site = serve(**old)
    with pytest.raises(LegacyRefused):
        enrol(connect(site), site, key)
    assert not site.asked(Operation.PKI_OPERATION)
    client = connect(site, allowed=old["allowed"])
    ca = client.get_ca(site.fingerprint)
    assert (ca.choice.digest.name, ca.choice.cipher.name) == ("sha1", "des3-cbc")
    assert client.enrol(ca, key, "CN=dev1").certificate


def test_several_cas(serve, connect):
    site = serve()
    connect(site, identifier="my ca").ask()
    assert [r.query for r in site.requests] == [
        b"operation=GetCACaps&message=my%20ca",
        b"operation=GetCACert&message=my%20ca",
    ]


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"challenge": "x" * 16385}, "16384"),
        ({"names": ["ip:10.0.0.0/8"]}, "subject alternative name"),
    ],
)
def test_what_cannot_be_written_is_not_sent(serve, connect, key, how, what):
    site = serve()
    with pytest.raises(UsageError, match=what):
        enrol(connect(site), site, key, **how)
    assert not site.asked(Operation.PKI_OPERATION)


@pytest.mark.rfc("P-61")
def test_a_weaker_answer_later_does_not_lower_the_algorithms(serve, connect, key):
    """What the CA has said once counts, though somebody shortens GetCACaps."""
    site = serve()
    client = connect(site, allowed=frozenset(Legacy))
    before = client.get_ca(site.fingerprint)
    site.next(Operation.GET_CA_CAPS, HTTPResponse(200, b"DES3\nSHA-1\nPOSTPKIOperation\n"))
    information = client.ask()
    ca = client.trust(information, httpd.ca().certificate, before.capabilities)
    assert (ca.choice.digest.name, ca.choice.cipher.name) == ("sha256", "aes128-cbc")
    assert ca.withdrawn >= {"aes", "sha-256"}
    assert ca.capabilities >= before.capabilities & {"aes", "sha-256", "scepstandard"}
    assert client.enrol(ca, key, "CN=dev1").certificate
    weak = client.trust(information, httpd.ca().certificate)
    assert (weak.choice.digest.name, weak.withdrawn) == ("sha1", frozenset())


def test_a_root_that_the_server_leaves_out(serve, connect):
    """The CA certificate that is trusted need not be in GetCACert, if the others come from it."""
    site = serve()
    site.next(Operation.GET_CA_CERT, HTTPResponse(200, signed.certs_only([httpd.ra().der])))
    client = connect(site)
    ca = client.trust(client.ask(), httpd.ca().certificate)
    assert ca.certificates.authorities == (httpd.ca().certificate,)
    assert ca.certificates.recipient.der == httpd.ra().der


def test_a_server_of_another_ca_altogether(serve, connect):
    site = serve()
    client = connect(site)
    with pytest.raises(UntrustedCA, match="none of the CA's certificates"):
        client.trust(client.ask(), httpd.ca("stranger-ca").certificate)


@pytest.mark.parametrize("kind", ["ec:p256", "ec:p384", "ec:p521", "ed25519"])
def test_a_key_that_cannot_decrypt_needs_a_challenge(serve, connect, kind):
    site = serve()
    client = connect(site)
    key = generate_key(kind)
    ca = client.get_ca(site.fingerprint)
    issued = client.enrol(ca, key, "CN=dev1", challenge="s3cret", names=["dev1.example"])
    assert issued.certificate.public_key == key.public_key()
    with pytest.raises(RequestRefused, match="badAlg"):
        client.enrol(ca, key, "CN=dev1")


@pytest.mark.parametrize("kind", ["ec:p256", "rsa:2048"])
def test_a_renewal_to_another_kind_of_key(serve, connect, key, kind):
    """The current key reads the reply, so the new one may be of any kind."""
    site = serve()
    client = connect(site)
    ca = client.get_ca(site.fingerprint)
    first = client.enrol(ca, key, "CN=dev1", names=["dev1.example"])
    new = generate_key(kind)
    second = client.renew(ca, key, first.certificate, new)
    assert second.certificate.public_key == new.public_key()
    assert second.certificate.subject == first.certificate.subject
    assert [type(request).__name__ for request, _ in site.scep.asked] == ["PKCSReq", "RenewalReq"]


def test_the_next_ca(serve, connect, key):
    site = serve(following=httpd.ca("next-ca"))
    client = connect(site)
    ca = client.get_ca(site.fingerprint)
    first = client.enrol(ca, key, "CN=dev1")
    following = client.get_next_ca(ca)
    assert following.certificates.anchor == httpd.ca("next-ca").certificate
    issued = client.renew(ca, key, first.certificate, key, following=following)
    assert issued.chain == (httpd.ca("next-ca").certificate,)


def test_a_certificate_and_a_crl(serve, connect, key):
    der = httpd.crl([7]).public_bytes(Encoding.DER)

    def decide(server, request, sender):
        return grant(server, request, sender) if isinstance(request, PKCSReq) else answer

    site = serve(decide)
    client = connect(site)
    ca = client.get_ca(site.fingerprint)
    mine = client.enrol(ca, key, "CN=dev1").certificate
    answer = Success((mine.der,))
    assert client.get_cert(ca, key, mine) == mine
    answer = Success(crls=(der,))
    assert [one.serial_number for one in client.get_crl(ca, key, mine)] == [7]


def test_the_readme_example(serve, transport):
    """The lines of `scepkit.__doc__`, but for the URL and the fingerprint."""
    from scepkit import Client, generate_key

    site = serve()
    client = Client(site.url)
    ca = client.get_ca(site.fingerprint)
    key = generate_key("rsa:2048")
    issued = client.enrol(ca, key, "CN=dev1,O=Example", challenge="secret")
    assert isinstance(key, rsa.RSAPrivateKey)
    assert issued.certificate.public_key == key.public_key()
    issued = client.renew(ca, key, issued.certificate, generate_key("rsa:2048"))
    assert issued.certificate.public_key != key.public_key()
    client._transport.close()
