"""The pkiMessage (RFC 8894 sections 3.1 and 3.2), believed step by step; `sealing` writes it.

Reading one is, in order (checklist P-60):

1. it is SignedData with exactly one SignerInfo;
2. it has one usable transactionID: from here on there is something to answer to;
3. the signer's certificate is found;
4. its signature covers the attributes and they cover the content;
5. the attributes are whole and the messageType is one that RFC 8894 defines;
6. the envelope is opened with a key of ours;
7. what is inside fits the messageType.

`parse` does 1 and 2, `verify` 3 to 5, `open_request` and `open_reply` 6 and 7; each takes only what
the one before it returns, so no step can be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scepkit.errors import (
    BadAlg,
    BadMessageCheck,
    BadReply,
    BadRequest,
    FailInfo,
    FailInfoError,
    Malformed,
)
from scepkit.protocol import csr, refusals
from scepkit.protocol.algorithms import Digest, Legacy
from scepkit.protocol.asn1 import ber, der
from scepkit.protocol.asn1.grammar import ANY, CONTENT, END, ENTER, Grammar
from scepkit.protocol.certificate import Certificate, readable
from scepkit.protocol.cms import signed as cms
from scepkit.protocol.cms.enveloped import Credential, Envelope, Random, undecryptable
from scepkit.protocol.cms.pbkdf2 import MAX_FOR_STRANGERS
from scepkit.protocol.scep.attributes import Attributes, MessageType, PKIStatus, read
from scepkit.protocol.scep.messages import (
    CertPoll,
    CertRep,
    Failure,
    GetCert,
    GetCRL,
    Pending,
    PKCSReq,
    RenewalReq,
    Request,
    Success,
)
from scepkit.protocol.scep.sealing import seal_reply, seal_request
from scepkit.protocol.value import value

__all__ = [
    "OpenedRequest",
    "PKIMessage",
    "Random",
    "VerifiedMessage",
    "failure",
    "open_reply",
    "open_request",
    "parse",
    "seal_reply",
    "seal_request",
    "verify",
]

_ISSUER_AND_SUBJECT = Grammar("IssuerAndSubject", der.SEQUENCE | ENTER, ANY, ANY, END)
_ISSUER_AND_SERIAL_NUMBER = Grammar(
    "IssuerAndSerialNumber", der.SEQUENCE | ENTER, ANY, der.INTEGER | CONTENT, END
)

_DEFINED = {int(one): one for one in FailInfo}
_TYPES = {int(one): one for one in MessageType}


@value()
class PKIMessage:
    """A pkiMessage of which nothing is believed yet (steps 1 and 2).

    Attributes:
        signed: the SignedData.
        signer: its SignerInfo.
        attributes: the SCEP attributes that it claims.
        envelope: its content as a pkcsPKIEnvelope, which it may not be.
    """

    signed: cms.SignedData
    signer: cms.SignerInfo
    attributes: Attributes
    envelope: Envelope


@value()
class VerifiedMessage:
    """A pkiMessage whose signature and attributes hold (steps 3 to 5).

    Attributes:
        attributes: the SCEP attributes.
        message_type: what it is.
        envelope: the pkcsPKIEnvelope, still closed, and not read as long as nobody asks about it.
        certificate: the certificate whose key signed.
        digest: the digest that was used.
    """

    attributes: Attributes
    message_type: MessageType
    envelope: Envelope
    certificate: Certificate
    digest: Digest

    @property
    def content(self) -> bytes:
        """Return the envelope as it came; empty when there is none."""
        return self.envelope.message


@value()
class OpenedRequest:
    """A request out of its envelope (steps 6 and 7).

    Attributes:
        request: what is asked for.
        recipient: whose key opened it, which tells a CA from the next one; None for a password.
        legacy: what its envelope uses inside that had to be allowed, for the log; what a PKCS#10
            uses is told by `csr.CertificationRequest.check`.
    """

    request: Request
    recipient: Credential | None
    legacy: tuple[Legacy, ...] = ()


def parse(message: bytes) -> PKIMessage:
    """Read a pkiMessage without believing it.

    Args:
        message: DER or BER.

    Raises:
        Malformed: it cannot even be answered.
    """
    # (1)
    signed = cms.read_signed_data(message)
    if len(signed.signers) != 1:
        raise Malformed(f"{len(signed.signers)} SignerInfos where SCEP has one")
    signer = signed.signers[0]
    # (2)
    attributes = read(signer.attributes)
    return PKIMessage(signed, signer, attributes, Envelope(signed.content or b""))


def verify(
    message: PKIMessage,
    allowed: frozenset[Legacy],
    *,
    signers: Iterable[Certificate] | None = None,
) -> VerifiedMessage:
    """Find the signer, check the signature, check the attributes.

    Args:
        message: what `parse` returned.
        allowed: the legacy algorithms that are allowed.
        signers: the only certificates that may have signed; None for whichever certificate the
            message itself brings, as a server does with a request.

    Raises:
        BadAlg: an algorithm is unknown or not allowed; it names every one that is not allowed, the
            envelope's as well.
        BadMessageCheck: the signer's certificate is missing or the signature does not hold.
        BadRequest: an attribute is missing, repeated or undefined, or the key is not acceptable.
    """
    # (3)
    certificate = _signer(message, signers)
    # (4)
    try:
        digest = cms.verify(message.signed, message.signer, certificate, allowed)
    except BadAlg as error:
        refused = _several_refused(message, certificate, allowed) if error.legacy else None
        if refused is not None:
            raise refused from error
        raise
    except Malformed as error:
        raise BadMessageCheck(error.message) from error
    # (5)
    attributes = message.attributes
    if attributes.defects:
        raise BadRequest("; ".join(attributes.defects))
    number = attributes.message_type
    if number is None:
        raise BadRequest("the messageType is missing")
    kind = _TYPES.get(number)
    if kind is None:
        raise BadRequest(f"messageType {number} is not defined by RFC 8894")
    return VerifiedMessage(attributes, kind, message.envelope, certificate, digest)


def _signer(message: PKIMessage, signers: Iterable[Certificate] | None) -> Certificate:
    if signers is None:
        signers = readable(message.signed.certificates)
    certificate = message.signer.find(signers)
    if certificate is None:
        raise BadMessageCheck("the certificate that signed the message is not known")
    return certificate


def _several_refused(
    message: PKIMessage, certificate: Certificate, allowed: frozenset[Legacy]
) -> FailInfoError | None:
    """Return the refusal that names all that has to be allowed, if that is more than one name.

    Only what can be seen from outside is named, the envelope's cipher among it.
    """
    cipher = message.envelope.cipher(frozenset(Legacy))
    try:
        uses = cms.legacy_uses(message.signer, certificate)
    except Malformed as error:
        return BadMessageCheck(error.message)
    if cipher is not None and cipher.legacy is not None:
        uses |= {cipher.legacy}
    needed = uses - allowed
    return refusals.several_not_allowed(needed) if len(needed) > 1 else None


# --- requests -------------------------------------------------------------------------------------


def open_request(
    message: VerifiedMessage,
    credentials: Sequence[Credential],
    allowed: frozenset[Legacy],
    random: Random,
    *,
    password: str | None = None,
    max_iterations: int = MAX_FOR_STRANGERS,
) -> OpenedRequest:
    """Open the envelope of a request and read its content.

    Of a PKCS#10 that is as far as its own signature; `csr.CertificationRequest.check` says what is
    wrong with the rest, which not everybody may be told.

    Args:
        message: what `verify` returned.
        credentials: the keys that may open it.
        allowed: the legacy algorithms that are allowed.
        random: returns that many unpredictable octets.
        password: the one that may open it: the challengePassword that this transaction is known
            to have, as a password-enveloped request does not say whose it is (P-26).
        max_iterations: how much work a password may take (P-25).

    Raises:
        BadAlg: an algorithm is unknown or not allowed, or asks for too much work.
        BadRequest: it cannot be opened.
        Undecryptable: what is inside is not what the messageType says, or nothing at all.
    """
    if message.message_type is MessageType.CERT_REP:
        raise BadRequest("a CertRep is not a request")
    # (6)
    try:
        opened = message.envelope.open(
            credentials, allowed, random, password=password, max_iterations=max_iterations
        )
    except Malformed as error:
        raise BadRequest(f"the content is not a pkcsPKIEnvelope: {error}") from error
    # (7)
    kind, content, is_padded = message.message_type, opened.content, opened.is_padded
    try:
        request = _message_data(kind, content, is_padded=is_padded)
    except refusals.Unverifiable as error:
        # Whoever signed with the very key that is inside wrote it, and may know what is wrong.
        if error.key_hash == message.certificate.key_hash:
            raise error.error from error
        raise undecryptable(error.message) from error
    except Malformed as error:
        # The same answer as for a wrong key: what is inside is nobody's business.
        raise undecryptable(error.message) from error
    return OpenedRequest(request, opened.credential, () if opened.wrap is None else (opened.wrap,))


def _message_data(kind: MessageType, content: bytes, *, is_padded: bool = True) -> Request:
    """Read the messageData of a request by its messageType (RFC 8894 section 3.2.2).

    Args:
        kind: any messageType but CertRep's.
        content: the decrypted messageData.
        is_padded: whether the padding was right; asked last, see `enveloped.Opened`.

    Raises:
        Malformed: it is something else.
    """
    match kind:
        case MessageType.PKCS_REQ:
            return PKCSReq(csr.verify(content, is_whole=is_padded))
        case MessageType.RENEWAL_REQ:
            return RenewalReq(csr.verify(content, is_whole=is_padded))
        case MessageType.CERT_POLL:
            issuer, subject = _ISSUER_AND_SUBJECT.fields(content)
            _check_padding(is_padded)
            return CertPoll(issuer, subject)
    issuer, number = _ISSUER_AND_SERIAL_NUMBER.fields(content)
    serial = ber.integer(number, "IssuerAndSerialNumber")
    _check_padding(is_padded)
    if kind is MessageType.GET_CERT:
        return GetCert(issuer, serial)
    return GetCRL(issuer, serial)


def _check_padding(is_padded: bool) -> None:  # noqa: FBT001
    if not is_padded:
        raise Malformed("wrong padding")


# --- replies --------------------------------------------------------------------------------------


def open_reply(
    message: VerifiedMessage,
    credentials: Sequence[Credential],
    allowed: frozenset[Legacy],
    random: Random,
    *,
    password: str | None = None,
) -> CertRep:
    """Read a verified CertRep (RFC 8894 section 3.3.2).

    Matching it with its request is the transaction's business.

    Args:
        message: what `verify` returned.
        credentials: the keys that may open it: the request's signer.
        allowed: the legacy algorithms that are allowed.
        random: returns that many unpredictable octets.
        password: the request's challengePassword, which opens what a key cannot.

    Raises:
        BadReply: it is no CertRep, its pkiStatus is undefined, or its content cannot be read.
        BadAlg: an algorithm is unknown or not allowed.
    """
    if message.message_type is not MessageType.CERT_REP:
        raise BadReply(f"the reply is a {message.message_type.name}, not a CertRep")
    attributes = message.attributes
    match attributes.pki_status:
        case PKIStatus.PENDING:
            return Pending()
        case PKIStatus.FAILURE:
            return _failure(attributes)
        case PKIStatus.SUCCESS:
            return _success(message.envelope, credentials, allowed, random, password)
    raise BadReply(f"pkiStatus {attributes.pki_status} is not defined by RFC 8894")


def _failure(attributes: Attributes) -> Failure:
    number = attributes.fail_info
    fail_info = None if number is None else _DEFINED.get(number)
    return Failure(
        fail_info,
        attributes.fail_info_text or "",
        attributes.hresult or "",
        undefined=number if fail_info is None else None,
    )


def _success(
    envelope: Envelope,
    credentials: Sequence[Credential],
    allowed: frozenset[Legacy],
    random: Random,
    password: str | None,
) -> Success:
    try:
        opened = envelope.open(credentials, allowed, random, password=password)
        inner = cms.read_signed_data(opened.content)
    except (Malformed, BadRequest) as error:
        raise BadReply(f"the reply's content cannot be read: {error}") from error
    if not opened.is_padded:
        raise BadReply("the reply's content cannot be read: the padding is wrong")
    return Success(inner.certificates, inner.crls)


def failure(error: FailInfoError) -> Failure:
    """Return the FAILURE that answers a refused request."""
    return Failure(error.fail_info, error.text)
