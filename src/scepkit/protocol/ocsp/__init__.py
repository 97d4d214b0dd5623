"""OCSP (RFC 6960): `request` and `response` as a responder needs them, `requester` for clients.

The library's own `x509.ocsp` reads and writes one certificate in a message, and OCSP allows
several, so messages are put together here; a request of one certificate and a response to it are
what `x509.ocsp` reads and writes too, which the tests hold against each other.
How the messages travel over HTTP is RFC 6960 appendix A and RFC 5019 section 5.
"""

from scepkit.protocol.crl import Plain, Revoked, Status
from scepkit.protocol.ocsp.request import (
    HASHES,
    MAX_CERTIFICATES,
    MAX_REQUEST,
    REQUEST_TYPE,
    CertID,
    Request,
    issuer_id,
    question,
    read_request,
)
from scepkit.protocol.ocsp.response import (
    RESPONSE_TYPE,
    ErrorStatus,
    Signer,
    SingleResponse,
    error,
    sign,
)

__all__ = [
    "HASHES",
    "MAX_CERTIFICATES",
    "MAX_REQUEST",
    "REQUEST_TYPE",
    "RESPONSE_TYPE",
    "CertID",
    "ErrorStatus",
    "Plain",
    "Request",
    "Revoked",
    "Signer",
    "SingleResponse",
    "Status",
    "error",
    "issuer_id",
    "question",
    "read_request",
    "sign",
]
