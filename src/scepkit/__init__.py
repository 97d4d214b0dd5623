"""SCEP (RFC 8894), both ends.

To get a certificate:

    from scepkit import Client, generate_key

    client = Client("http://ca.example/scep")
    ca = client.get_ca("sha256:5a1f…")
    key = generate_key("rsa:2048")
    issued = client.enrol(ca, key, "CN=dev1,O=Example", challenge="…")

To answer requests in a server of your own:

    from scepkit import Responder, Success

    responder = Responder(signer=ra, credentials=[ra], random=os.urandom)
    reply = responder.respond(body, lambda request, sender: Success([certificate]))

To seal and open messages over a transport of your own: `pkimessage`, `cms`, `csr`, `http`,
`capabilities` and `cacerts`, modules of values and pure functions.
Nothing here imports the server or an HTTP library.
"""

from scepkit.client.client import CA, Client
from scepkit.client.driver import run
from scepkit.client.folder import Folder
from scepkit.client.keys import generate_key
from scepkit.client.orders import Order
from scepkit.client.transport import Transport
from scepkit.errors import (
    BadAlg,
    BadCertId,
    BadMessageCheck,
    BadReply,
    BadRequest,
    BadTime,
    FailInfoError,
    HTTPRefused,
    LegacyRefused,
    Local,
    Malformed,
    NewerDatabase,
    Remote,
    RequestRefused,
    ScepError,
    SettingsError,
    StillPending,
    StoreError,
    TransportError,
    UntrustedCA,
    UsageError,
)
from scepkit.protocol import cacerts, capabilities, cms, csr, http, pkimessage
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.attributes import FailInfo, TransactionID
from scepkit.protocol.cacerts import TrustedCA
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.envelope import Credential
from scepkit.protocol.http import HTTPRequest, HTTPResponse
from scepkit.protocol.messages import (
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
from scepkit.protocol.pkimessage import VerifiedMessage
from scepkit.protocol.responder import Responder
from scepkit.protocol.transaction import CAInformation, Flow, Issued, Limits, Wait

__all__ = [
    "CA",
    "BadAlg",
    "BadCertId",
    "BadMessageCheck",
    "BadReply",
    "BadRequest",
    "BadTime",
    "CAInformation",
    "CertPoll",
    "CertRep",
    "Certificate",
    "CertificationRequest",
    "Client",
    "Credential",
    "FailInfo",
    "FailInfoError",
    "Failure",
    "Flow",
    "Folder",
    "GetCRL",
    "GetCert",
    "HTTPRefused",
    "HTTPRequest",
    "HTTPResponse",
    "Issued",
    "Legacy",
    "LegacyRefused",
    "Limits",
    "Local",
    "Malformed",
    "NewerDatabase",
    "Order",
    "PKCSReq",
    "Pending",
    "Remote",
    "RenewalReq",
    "Request",
    "RequestRefused",
    "Responder",
    "ScepError",
    "SettingsError",
    "StillPending",
    "StoreError",
    "Success",
    "TransactionID",
    "Transport",
    "TransportError",
    "TrustedCA",
    "UntrustedCA",
    "UsageError",
    "VerifiedMessage",
    "Wait",
    "cacerts",
    "capabilities",
    "cms",
    "csr",
    "generate_key",
    "http",
    "pkimessage",
    "run",
]
