"""A CA that promises AES and SHA-256 and answers in single DES and SHA-1, as micromdm's does."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import padding

import forge
import httpd
from pair import grant
from scepkit.client.http import HTTPTransport
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms import signed
from scepkit.protocol.scep import http, pkimessage
from scepkit.protocol.scep.http import HTTPResponse, Operation


def answered(request):
    """Return a SUCCESS to a pkiMessage."""
    sent = pkimessage.parse(request)
    device = Certificate.read(sent.signed.certificates[0])
    cek = b"8 octets"
    lock = forge.seq(
        forge.integer(0),
        forge.seq(device.issuer, device.serial_number),
        forge.algorithm(forge.RSA_ENCRYPTION),
        forge.octets(device.public_key.encrypt(cek, padding.PKCS1v15())),
    )
    content = forge.envelope(signed.certs_only([]), cipher="des", cek=cek, recipients=[lock])
    return forge.reply(
        content,
        httpd.ra(),
        digest="sha1",
        pki_status="0",
        transaction_id=str(sent.attributes.transaction_id),
        recipient_nonce=sent.attributes.sender_nonce,
    )


@pytest.mark.rfc("L-02")
@pytest.mark.parametrize(
    "arguments",
    [
        ("enroll", "URL", "--subject", "CN=b", "--out", "b", "--ca", "a/ca.pem"),
        ("renew", "a", "--force"),
        ("get", "cert", "--dir", "a"),
        ("get", "crl", "--dir", "a"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_command_that_reads_replies_gives_one_hint(serve, scep, monkeypatch, arguments):
    """enroll, renew and get name cipher and digest at once, beside what is allowed already."""
    site = serve(grant)
    known = ["--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, "--subject", "CN=a", "--out", "a", *known)[0] == 0
    send = HTTPTransport.send

    def as_micromdm(self, url, request):
        asked = http.read_request(request)
        if asked.operation is Operation.PKI_OPERATION:
            return HTTPResponse(200, answered(asked.message))
        return send(self, url, request)

    monkeypatch.setattr(HTTPTransport, "send", as_micromdm)
    arguments = [site.url if one == "URL" else one for one in arguments]
    status, out, err = scep(*arguments, "--legacy", "md5")
    assert (status, out) == (1, "")
    assert err.splitlines()[-2:] == [
        "error: the CA answered with sha1 and des, which were not allowed",
        "hint: if it can do no better, allow it: --legacy sha1,des,md5",
    ]
