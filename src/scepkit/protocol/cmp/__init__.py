"""CMP (RFC 9810) as far as revocation needs it: rr, rp and error messages; no I/O.

A certificate's owner asks the CA to revoke it, protected by the certificate's own key or by a
secret shared with the CA; RFC 8894 section 2.8 has no message for that.
How the messages travel over HTTP is RFC 9811: POST of `MEDIA_TYPE` both ways.

The client's half is `make_request` and `read_response`, the server's `read_request`,
`verify_signature` or `verify_mac`, `seal_response` and `seal_error`.
"""

from scepkit.protocol.cmp.message import (
    MAX_MESSAGE,
    MEDIA_TYPE,
    BodyType,
    Header,
    Protection,
    answerable,
)
from scepkit.protocol.cmp.protection import Protector, SharedSecret, Signer
from scepkit.protocol.cmp.requester import (
    RevocationResponse,
    SentRequest,
    make_request,
    read_response,
)
from scepkit.protocol.cmp.responder import (
    Request,
    find_signer,
    read_request,
    same_secret,
    seal_error,
    seal_response,
    verify_mac,
    verify_signature,
)
from scepkit.protocol.cmp.revocation import RevocationRequest
from scepkit.protocol.cmp.status import (
    ACCEPTED,
    BadAlg,
    BadCertId,
    BadCertTemplate,
    BadDataFormat,
    BadMessageCheck,
    BadRecipientNonce,
    BadRequest,
    BadSenderNonce,
    BadTime,
    CertRevoked,
    CMPError,
    FailureInfo,
    NotAuthorized,
    RevocationRefused,
    SignerNotTrusted,
    Status,
    StatusInfo,
    SystemFailure,
    SystemUnavailable,
    TransactionIDInUse,
    UnacceptedExtension,
    UnsupportedVersion,
    WrongAuthority,
    WrongIntegrity,
)
from scepkit.protocol.crl import Reason

__all__ = [
    "ACCEPTED",
    "MAX_MESSAGE",
    "MEDIA_TYPE",
    "BadAlg",
    "BadCertId",
    "BadCertTemplate",
    "BadDataFormat",
    "BadMessageCheck",
    "BadRecipientNonce",
    "BadRequest",
    "BadSenderNonce",
    "BadTime",
    "BodyType",
    "CMPError",
    "CertRevoked",
    "FailureInfo",
    "Header",
    "NotAuthorized",
    "Protection",
    "Protector",
    "Reason",
    "Request",
    "RevocationRefused",
    "RevocationRequest",
    "RevocationResponse",
    "SentRequest",
    "SharedSecret",
    "Signer",
    "SignerNotTrusted",
    "Status",
    "StatusInfo",
    "SystemFailure",
    "SystemUnavailable",
    "TransactionIDInUse",
    "UnacceptedExtension",
    "UnsupportedVersion",
    "WrongAuthority",
    "WrongIntegrity",
    "answerable",
    "find_signer",
    "make_request",
    "read_request",
    "read_response",
    "same_secret",
    "seal_error",
    "seal_response",
    "verify_mac",
    "verify_signature",
]
