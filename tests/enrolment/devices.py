"""What devices send to an endpoint, and how they read its answers.

message = devices.pkcs_req(to=ra, challenge=secret, transaction_id="a")
reply = devices.read(endpoint.respond(message), ra)
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography import x509

import keys
from scepkit.protocol import csr
from scepkit.protocol.algorithms import AES128, NO_LEGACY, SHA256
from scepkit.protocol.general_name import parse_san
from scepkit.protocol.rfc4514 import parse_subject
from scepkit.protocol.scep import pkimessage
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.messages import (
    CertPoll,
    CertRep,
    Failure,
    GetCert,
    GetCRL,
    PKCSReq,
    RenewalReq,
    Success,
)

NAMES = keys.name("Test CA").public_bytes(), keys.name("device").public_bytes()


@dataclass(frozen=True)
class Reply:
    """A CertRep whose signature held."""

    rep: CertRep
    transaction_id: str
    sender_nonce: bytes
    recipient_nonce: bytes

    @property
    def certificate(self) -> bytes:
        """The one certificate of a SUCCESS, DER."""
        assert isinstance(self.rep, Success), self.rep
        (certificate,) = self.rep.certificates
        return certificate

    @property
    def x509(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate)

    @property
    def refusal(self) -> tuple[str, str]:
        """The failInfo's name and the failInfoText."""
        assert isinstance(self.rep, Failure), self.rep
        return self.rep.fail_info.name, self.rep.text


def seal(
    message,
    *,
    to,
    transaction_id="a",
    nonce=None,
    signer=None,
    digest=SHA256,
    cipher=AES128,
    issuers=(),
):
    """Write a request to an RA with this `Certificate`; `issuers` are the signer's CAs."""
    return pkimessage.seal_request(
        message,
        transaction_id=TransactionID(transaction_id.encode("latin-1")),
        sender_nonce=nonce or os.urandom(16),
        signer=(signer or keys.device()).credential,
        recipient=to,
        digest=digest,
        cipher=cipher,
        random=os.urandom,
        extra_certificates=[one.der for one in issuers],
    )


def request(
    challenge=None, *, subject="CN=device", sans=(), key=None, sign=None, extensions=()
) -> csr.CertificationRequest:
    """Return a PKCS#10; `subject` is RFC 4514 text or a Name, `sign` another signing key."""
    names = [parse_san(one) if isinstance(one, str) else one for one in sans]
    extensions = [
        *extensions,
        *(
            x509.Extension(value.oid, False, value)
            for value in ([x509.SubjectAlternativeName(names)] if names else [])
        ),
    ]
    der = csr.build(
        parse_subject(subject) if isinstance(subject, str) else subject,
        key or keys.device().key,
        challenge_password=challenge,
        extensions=extensions,
    )
    return csr.read(der, NO_LEGACY)


def pkcs_req(challenge=None, *, to, signer=None, subject="CN=device", sans=(), key=None, **how):
    """Write a PKCSReq for the signer's key, or for another one."""
    signer = signer or keys.device()
    wanted = request(challenge, subject=subject, sans=sans, key=key or signer.key)
    return seal(PKCSReq(wanted), to=to, signer=signer, **how)


def renewal_req(
    challenge=None, *, to, signer=None, subject="CN=device", sans=(), key=None, kind=17, **how
):
    """Write a renewal for the signer's key or another one; kind 19 is the drafts' way."""
    signer = signer or keys.device()
    wanted = request(challenge, subject=subject, sans=sans, key=key or signer.key)
    message = RenewalReq(wanted) if kind == RenewalReq.message_type else PKCSReq(wanted)
    return seal(message, to=to, signer=signer, **how)


def cert_poll(*, to, **how):
    return seal(CertPoll(*NAMES), to=to, **how)


def get_cert(*, to, serial=1, issuer=NAMES[0], **how):
    return seal(GetCert(issuer, serial), to=to, **how)


def get_crl(*, to, serial=1, issuer=NAMES[0], **how):
    return seal(GetCRL(issuer, serial), to=to, **how)


def read(reply: bytes, ra, signer=None) -> Reply:
    """Verify a CertRep with the RA's certificate and open it with the device's key."""
    verified = pkimessage.verify(pkimessage.parse(reply), NO_LEGACY, signers=[ra])
    rep = pkimessage.open_reply(
        verified, [(signer or keys.device()).credential], NO_LEGACY, os.urandom
    )
    attributes = verified.attributes
    return Reply(
        rep,
        attributes.transaction_id.value.decode("latin-1"),
        attributes.sender_nonce,
        attributes.recipient_nonce,
    )
