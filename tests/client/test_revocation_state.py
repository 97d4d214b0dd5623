"""Whether a certificate was revoked, as the places say that it names; both ends in memory."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as library
from hypothesis import given, settings
from hypothesis import strategies as st

import der
import httpd
import keys
import responders
from responders import MINUTE
from scepkit.client import revocation_check
from scepkit.client.http import HTTPTransport
from scepkit.client.revocation_check import CheckResult
from scepkit.errors import BadReply, Malformed, ScepError, TransportError
from scepkit.protocol import crl
from scepkit.protocol.crl import Reason
from scepkit.protocol.ocsp import ErrorStatus, Plain, Revoked, error, requester
from scepkit.protocol.scep.http import HTTPResponse

OCSP, CRL = "http://ca.example/ocsp", "http://ca.example/ca.crl"
DAY, NOW = httpd.DAY, httpd.today()
FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
SEQUENCE, SINCE = 0x30, der.tlv(0x18, b"20260101000000Z")
REVOKED = Revoked(NOW - DAY, Reason.keyCompromise)


@pytest.fixture(scope="module")
def device():
    return responders.certificate(keys.ec_key("d"), ocsp=[OCSP], crls=[CRL])


@pytest.fixture(scope="module")
def ca():
    return httpd.ca().certificate


class Places:
    """A transport: what each place answers, as a function of the request's body."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def send(self, url, request):
        kind = "ocsp" if url == OCSP else "crl"
        self.asked.append((kind, request.method, request.content_type))
        found = self.answers.get(kind)
        if found is None:
            raise TransportError("nothing listens")
        body = found(request.body) if callable(found) else found
        return body if isinstance(body, HTTPResponse) else HTTPResponse(200, body)


def look(device, places, issuers=None):
    issuers = [httpd.ca().certificate] if issuers is None else issuers
    return revocation_check.look(device, issuers, places, lambda: NOW)


def says(status=Plain.GOOD, **how):
    return lambda request: responders.answer(request, status, **how)


# who is asked


def test_the_responder_is_asked_first(device):
    places = Places(ocsp=says(), crl=responders.crl())
    assert look(device, places) == CheckResult(Plain.GOOD)
    assert places.asked == [("ocsp", "POST", "application/ocsp-request")]


def test_the_list_where_the_responder_is_away(device):
    places = Places(crl=responders.crl([(device.serial, x509.ReasonFlags.superseded)]))
    assert look(device, places).status == Revoked(NOW - MINUTE, Reason.superseded)
    assert places.asked[1] == ("crl", "GET", "")


def test_the_list_where_the_responder_does_not_know(device):
    assert look(device, Places(ocsp=says(Plain.UNKNOWN), crl=responders.crl())).status == Plain.GOOD


def test_nobody_answers(device):
    found = look(device, Places())
    assert (found.status, found.is_named) == (None, True)
    assert found.failures == (f"{OCSP}: nothing listens", f"{CRL}: nothing listens")


@pytest.mark.parametrize(
    "body", [HTTPResponse(503, b"busy"), b"", b"<html>", b"\x30\x80"], ids=repr
)
def test_a_place_that_talks_nonsense(device, body):
    found = look(device, Places(ocsp=body, crl=body))
    assert (found.status, len(found.failures)) == (None, 2)


@pytest.mark.parametrize("url", ["https://ca.example/ocsp", "ldap://ca.example/cn=a", "file:///a"])
def test_no_other_scheme_is_followed(url):
    places = Places(ocsp=says())
    device = responders.certificate(keys.ec_key("d"), ocsp=[url], crls=[url])
    assert look(device, places) == CheckResult(None, is_named=False)
    assert places.asked == []


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://127.0.0.1:99999/"])
def test_a_place_that_is_no_url_is_no_failure(url):
    device = responders.certificate(keys.ec_key("d"), ocsp=[url])
    found = look(device, HTTPTransport(proxy=""))
    assert found == CheckResult(None, (f"{url}: this is no URL of a server",))


def test_no_place_is_named():
    assert not look(responders.certificate(keys.ec_key("d")), Places()).is_named


def test_the_issuer_is_not_known(device):
    places = Places(ocsp=says())
    assert look(device, places, [httpd.ca("other").certificate]).status is None
    assert places.asked == []


# OCSP


def test_the_request_is_one_that_the_library_reads(device, ca):
    asked = library.load_der_ocsp_request(requester.ask(device, ca))
    wanted = (
        library.OCSPRequestBuilder()
        .add_certificate(device.x509(), ca.x509(), hashes.SHA1())
        .build()
        .public_bytes(Encoding.DER)
    )
    assert asked.serial_number == device.serial
    assert requester.ask(device, ca) == wanted


@pytest.mark.parametrize(
    "status",
    [Plain.GOOD, Plain.UNKNOWN, REVOKED, Revoked(NOW, 0)],
    ids=["good", "unknown", "why", "revoked"],
)
@pytest.mark.parametrize("delegated", [True, False])
def test_what_a_responder_says(device, ca, status, delegated):
    signer = responders.delegate() if delegated else None
    response = responders.answer(requester.ask(device, ca), status, signer=signer)
    assert requester.read(response, device, ca, NOW) == status


@pytest.mark.parametrize("reason", [None, x509.ReasonFlags.key_compromise])
def test_what_the_library_says(device, ca, reason):
    resp = responders.delegate()
    response = (
        library.OCSPResponseBuilder()
        .add_response(
            cert=device.x509(),
            issuer=ca.x509(),
            algorithm=hashes.SHA256(),
            cert_status=library.OCSPCertStatus.REVOKED,
            this_update=NOW,
            next_update=None,
            revocation_time=NOW,
            revocation_reason=reason,
        )
        .responder_id(library.OCSPResponderEncoding.NAME, resp.x509)
        .certificates([resp.x509])
        .sign(resp.key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    code = Reason.unspecified if reason is None else Reason.keyCompromise
    assert requester.read(response, device, ca, NOW) == Revoked(NOW, code)
    with pytest.raises(BadReply, match="not current"):
        requester.read(response, device, ca, NOW + 2 * DAY)


def refused(response, device, ca, match, now=NOW):
    with pytest.raises(BadReply, match=match):
        requester.read(response, device, ca, now)


def test_nobody_else_signs(device, ca):
    asked = requester.ask(device, ca)
    who = "not signed by the CA or a responder of the CA"
    client = (x509.ExtendedKeyUsageOID.CLIENT_AUTH,)
    over = {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}
    for stranger in (
        httpd.ca("other"),
        responders.delegate(httpd.ca("other")),
        responders.delegate(purposes=client),
        responders.delegate(purposes=()),
        responders.delegate(key_usage=keys.usage("key_encipherment")),
        responders.delegate(**over),
    ):
        refused(responders.answer(asked, signer=stranger), device, ca, who)
    # A signature that is not the responder's.
    good = bytearray(responders.answer(asked))
    good[-1] ^= 1
    refused(bytes(good), device, ca, who)


def test_about_another_certificate(device, ca):
    other = responders.certificate(keys.ec_key("d"), ocsp=[OCSP])
    refused(responders.answer(requester.ask(other, ca)), device, ca, "about another certificate")
    elsewhere = requester.ask(device, httpd.ca("other").certificate)
    refused(responders.answer(elsewhere), device, ca, "about another certificate")


@pytest.mark.parametrize(
    ("later", "is_current"),
    [
        (timedelta(0), True),
        (-5 * MINUTE, True),
        (-7 * MINUTE, False),
        (DAY, True),
        (DAY + 3 * MINUTE, True),
        (DAY + 5 * MINUTE, False),
    ],
    ids=str,
)
def test_for_how_long_it_holds(device, ca, later, is_current):
    response = responders.answer(requester.ask(device, ca))
    if is_current:
        assert requester.read(response, device, ca, NOW + later) == Plain.GOOD
    else:
        refused(response, device, ca, "not current", NOW + later)


def test_until_the_end_of_time(device, ca):
    """A responder, its certificate and a CRL may say the first and the last time that there is."""
    asked = requester.ask(device, ca)
    for by in (None, responders.delegate(not_after=LAST)):
        endless = responders.answer(asked, signer=by, holds=LAST - NOW + MINUTE)
        assert requester.read(endless, device, ca, NOW) == Plain.GOOD
    ever = responders.answer(asked, age=NOW - FIRST, holds=LAST - FIRST)
    assert requester.read(ever, device, ca, NOW) == Plain.GOOD
    over = responders.answer(asked, age=NOW - FIRST, holds=DAY)
    early = responders.answer(asked, age=NOW - LAST, holds=0 * DAY)
    for response in (over, early, re_signed(early, undated)):
        refused(response, device, ca, "not current")
    endless = responders.crl(holds=LAST - NOW + MINUTE)
    assert crl.read(endless, device, ca, NOW) == Plain.GOOD


def re_signed(response, change):
    """Return a response whose only SingleResponse was changed, as a tree, by the CA itself."""
    whole = der.parse(response)
    octets = whole[1][0][1]
    data, algorithm, _ = der.parse(octets.content).children
    single = next(one for one in data.children if one.tag == SEQUENCE)[0]
    change(single)
    signature = httpd.ca().key.sign(data.der(), padding.PKCS1v15(), hashes.SHA256())
    octets.content = der.seq(data.der(), algorithm.der(), der.bits(signature))
    return whole.der()


def undated(single):
    del single.children[3:]


@pytest.mark.parametrize(
    "status",
    [
        der.tlv(0xA1),
        der.tlv(0xA1, SINCE, der.tlv(0xA0)),
        der.tlv(0xA1, SINCE, der.tlv(0xA0, 2 * der.tlv(0x0A, b"\1"))),
        der.tlv(0xA1, SINCE, der.tlv(0xA2)),
        der.tlv(0xA1, der.NULL),
        der.tlv(0xA3, SINCE),
    ],
)
def test_a_status_that_is_none(device, ca, status):
    """Signed by the CA, and not made like a RevokedInfo (RFC 6960 section 4.2.1)."""
    good = responders.answer(requester.ask(device, ca))

    def change(single):
        single.children[1] = der.parse(status)

    with pytest.raises(Malformed):
        requester.read(re_signed(good, change), device, ca, NOW)


@pytest.mark.parametrize("status", ErrorStatus)
def test_an_error_of_the_responder(device, ca, status):
    refused(error(status), device, ca, status.name.lower().replace("_", " "))


def test_a_critical_extension(device, ca):
    """One that changes what the answer means must not be passed over."""
    builder = (
        library.OCSPResponseBuilder()
        .add_response(
            cert=device.x509(),
            issuer=ca.x509(),
            algorithm=hashes.SHA256(),
            cert_status=library.OCSPCertStatus.GOOD,
            this_update=NOW,
            next_update=NOW + DAY,
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(library.OCSPResponderEncoding.HASH, httpd.ca().x509)
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b""), True)
    )
    response = builder.sign(httpd.ca().key, hashes.SHA256()).public_bytes(Encoding.DER)
    refused(response, device, ca, "critical extension")


def test_an_answer_that_is_too_long(device, ca):
    with pytest.raises(Malformed):
        requester.read(b"\x30" * (requester.MAX_RESPONSE + 1), device, ca, NOW)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_bytes_make_anything_but_an_error_of_ours(data):
    """Nor is one that was changed believed: signed is all but the certificates."""
    device, good = _DEVICE, _GOOD
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 8)))
    changed = good[:start] + data.draw(st.binary(max_size=8)) + good[end:]
    try:
        found = requester.read(changed, device, _CA, NOW)
    except ScepError:
        return
    assert found == Plain.GOOD


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_nonsense_is_refused(octets):
    device = _DEVICE
    with pytest.raises(ScepError):
        requester.read(octets, device, _CA, NOW)
    with pytest.raises(ScepError):
        crl.read(octets, device, _CA, NOW)


_KEY, _CA, _DELEGATE = keys.ec_key("d"), httpd.ca().certificate, responders.delegate()
_DEVICE = responders.certificate(_KEY, ocsp=[OCSP], crls=[CRL])
_GOOD = responders.answer(requester.ask(_DEVICE, _CA), signer=_DELEGATE)


# CRLs


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (None, 0),
        *(
            (flag, code)
            for flag, code in zip(
                (
                    x509.ReasonFlags.key_compromise,
                    x509.ReasonFlags.ca_compromise,
                    x509.ReasonFlags.affiliation_changed,
                    x509.ReasonFlags.superseded,
                    x509.ReasonFlags.cessation_of_operation,
                    x509.ReasonFlags.certificate_hold,
                    x509.ReasonFlags.remove_from_crl,
                    x509.ReasonFlags.privilege_withdrawn,
                    x509.ReasonFlags.aa_compromise,
                ),
                (1, 2, 3, 4, 5, 6, 8, 9, 10),
                strict=True,
            )
        ),
    ],
    ids=str,
)
def test_why_a_list_says_it_was_revoked(device, ca, reason, code):
    der = responders.crl([(7, None), (device.serial, reason)])
    assert crl.read(der, device, ca, NOW) == Revoked(NOW - MINUTE, code)


def test_a_list_without_it(device, ca):
    assert crl.read(responders.crl([(7, None)]), device, ca, NOW) == Plain.GOOD


def test_a_list_as_text(device, ca):
    """Some servers publish it in PEM, where RFC 5280 section 4.2.1.13 asks for DER."""
    der = responders.crl([(device.serial, None)])
    text = base64.encodebytes(der)
    pem = b"-----BEGIN X509 CRL-----\n%b-----END X509 CRL-----\n" % text
    for content in (pem, b"a comment\r\n" + pem.replace(b"\n", b"\r\n"), text):
        assert crl.read(content, device, ca, NOW) == crl.read(der, device, ca, NOW)
    with pytest.raises(Malformed, match="more than 1"):
        crl.read(pem + pem, device, ca, NOW)
    with pytest.raises(Malformed):
        crl.read(pem.replace(b"X509 CRL", b"CERTIFICATE"), device, ca, NOW)


def point(**how):
    unsaid = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(unsaid | how)), True


HERE, ELSEWHERE = ([x509.UniformResourceIdentifier(url)] for url in (CRL, "http://b.example"))


@pytest.mark.parametrize(
    "covers",
    [point(full_name=HERE), point(only_contains_user_certs=True), (x509.CRLNumber(7), False)],
    ids=["here", "devices", "number"],
)
def test_a_list_that_covers_it(device, ca, covers):
    assert crl.read(responders.crl(extensions=[covers]), device, ca, NOW) == Plain.GOOD


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"issuer": httpd.ca("other")}, "not signed"),
        ({"age": 2 * DAY}, "not current"),
        ({"age": -7 * MINUTE}, "not current"),
        ({"extensions": [point(full_name=ELSEWHERE)]}, "does not cover"),
        ({"extensions": [point(only_contains_ca_certs=True)]}, "does not cover"),
        ({"extensions": [point(indirect_crl=True)]}, "does not cover"),
        (
            {"extensions": [point(only_some_reasons=frozenset([x509.ReasonFlags.superseded]))]},
            "does not cover",
        ),
        ({"extensions": [(x509.DeltaCRLIndicator(6), True)]}, "only what has changed"),
        ({"extensions": [(x509.DeltaCRLIndicator(6), False)]}, "only what has changed"),
    ],
    ids=[
        "foreign",
        "stale",
        "early",
        "elsewhere",
        "CAs",
        "indirect",
        "reasons",
        "delta",
        "delta-by-mistake",
    ],
)
def test_a_list_that_says_nothing(device, ca, how, match):
    with pytest.raises(BadReply, match=match):
        crl.read(responders.crl([(7, None)], **how), device, ca, NOW)


def test_a_list_with_the_name_of_the_ca_and_another_key(device, ca):
    forged = httpd.certify("Test CA", keys.rsa_key("stranger"), ca=True)
    with pytest.raises(BadReply, match="not signed"):
        crl.read(responders.crl(issuer=forged), device, ca, NOW)
