"""Microsoft's NDES, rebuilt from what is known of it: a server for our client."""

from __future__ import annotations

import os

import forge
import httpd
import keys
from der import printable
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.scep.http import HTTPResponse, Operation, read_request
from scepkit.protocol.scep.responder import Responder

# It has no AES.
CAPS = ("POSTPKIOperation", "Renewal", "SHA-512", "SHA-256", "SHA-1", "DES3")

_HRESULT = "1.3.6.1.4.1.311.21.33"
E_INVALIDARG = "-2147024809"


class NDES(httpd.Site):
    """Two RA certificates, one to sign with and one to encrypt to; failures of a shape of its own.

    Args:
        challenge: the one-time password; everybody else fails.
    """

    def __init__(self, challenge):
        super().__init__(caps=CAPS, allowed=frozenset({Legacy.DES3, Legacy.SHA1}))
        self._challenge = challenge
        self._signing = _ra("ra", "digital_signature")
        self._encrypting = _ra("ra2", "key_encipherment")
        self.scep.responder = Responder(
            signer=self._signing.credential,
            credentials=[self._encrypting.credential],
            random=os.urandom,
            allowed=frozenset({Legacy.DES3, Legacy.SHA1}),
        )

    def answer(self, request):
        """Return what NDES answers."""
        asked = read_request(request)
        if asked.operation is Operation.GET_CA_CERT:
            shown = [one.der for one in (self._signing, self._encrypting, httpd.ca())]
            body = forge.signed_data(None, certificates=shown)
            return HTTPResponse(200, body, "application/x-x509-ca-ra-cert")
        answer = super().answer(request)
        if asked.operation is Operation.PKI_OPERATION and not self._knows():
            return HTTPResponse(200, self._failure(asked.message), answer.content_type)
        return answer

    def _knows(self):
        wanted, _ = self.scep.asked[-1]
        return wanted.csr.challenge_password == self._challenge

    def _failure(self, message):
        """Return a FAILURE: SHA-1, one zero octet as content, no certificates, an HRESULT."""
        sent = forge.signed_attributes(message)
        transaction_id, nonce = (
            forge.parse(sent[forge.oid(kind).hex()][0]).content
            for kind in (forge.TRANSACTION_ID, forge.SENDER_NONCE)
        )
        return forge.reply(
            b"\x00",
            self._signing,
            certificates=[],
            digest="sha1",
            more=[forge.attribute(_HRESULT, printable(E_INVALIDARG))],
            transaction_id=transaction_id.decode(),
            recipient_nonce=nonce,
            pki_status="2",
            fail_info="2",
        )


def _ra(key, usage):
    return httpd.certify(usage, keys.rsa_key(key), httpd.ca(), key_usage=keys.usage(usage))
