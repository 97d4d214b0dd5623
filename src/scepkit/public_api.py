"""The names of `import scepkit`: all that is public, and nothing else.

They stand here, since `scepkit` itself loads them when the first of them is asked for.
"""

from scepkit.client import events, flows, prepared_request
from scepkit.client.agent import events as agent_events
from scepkit.client.agent.agent import Agent
from scepkit.client.agent.result import Visit
from scepkit.client.agent.settings import AgentSettings
from scepkit.client.aio import AsyncClient, AsyncTransport, run_flow_async
from scepkit.client.client import CA, Client, Connection
from scepkit.client.enroller import Enroller, Plan
from scepkit.client.fleet import events as fleet_events
from scepkit.client.fleet.devices import Device, DeviceList
from scepkit.client.fleet.enroller import FleetEnroller, FleetReport
from scepkit.client.fleet.enrolment import FleetOptions
from scepkit.client.fleet.server import FleetServer
from scepkit.client.folder import Folder
from scepkit.client.folder.outputs import OutputChanges, Outputs
from scepkit.client.folder.record import ServerChanges
from scepkit.client.keys import generate_key
from scepkit.client.prepared_request import PreparedRequest
from scepkit.client.prepared_request import PreparedRequest as Order
from scepkit.client.renewal_info import RenewalAdvice
from scepkit.client.renewer import NotDue, RenewalOptions, Renewed, Renewer, WaitsAhead
from scepkit.client.revocation import Revoked
from scepkit.client.secret_source import Secrets, SecretSource
from scepkit.client.tls import ClientCertificate
from scepkit.client.transport import Transport, run_flow
from scepkit.client.transport import run_flow as run
from scepkit.client.trust import ChooseAnchor, SCEPServer, by_fingerprint
from scepkit.errors import (
    BadAlg,
    BadCertId,
    BadMessageCheck,
    BadReply,
    BadRequest,
    BadTime,
    BoundReached,
    CertificateRevoked,
    DirectoryBusy,
    EmptyDatabase,
    FailInfo,
    FailInfoError,
    FailureReply,
    Hint,
    HTTPRefused,
    LegacyRefused,
    Local,
    Malformed,
    NewerDatabase,
    NoSuccessor,
    ReloadRefused,
    Remote,
    RequestRefused,
    ScepError,
    SettingsError,
    StillPending,
    StoreError,
    ThirdPartyFailed,
    TooManyPending,
    TransportError,
    UntrustedCA,
    UnverifiedCertificate,
    UsageError,
)
from scepkit.protocol import cmp, csr
from scepkit.protocol.algorithms import Legacy, PSSPublicKey
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.certificate_template import certificate_template
from scepkit.protocol.cmp import RevocationRefused
from scepkit.protocol.cms import signed as cms
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.crl import Reason
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.scep import ca_certificates as cacerts
from scepkit.protocol.scep import capabilities, flow, http, next_ca, pkimessage, transaction
from scepkit.protocol.scep.attributes import MessageType, TransactionID
from scepkit.protocol.scep.ca_certificates import TrustedCA
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse
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
from scepkit.protocol.scep.pkimessage import OpenedRequest, VerifiedMessage
from scepkit.protocol.scep.responder import Responder
from scepkit.protocol.scep.transaction import CAInformation, Flow, Issued, Limits, Wait

__all__ = [
    "CA",
    "Agent",
    "AgentSettings",
    "AsyncClient",
    "AsyncTransport",
    "BadAlg",
    "BadCertId",
    "BadMessageCheck",
    "BadReply",
    "BadRequest",
    "BadTime",
    "BoundReached",
    "CAInformation",
    "CertPoll",
    "CertRep",
    "Certificate",
    "CertificateRevoked",
    "CertificationRequest",
    "ChooseAnchor",
    "Client",
    "ClientCertificate",
    "Connection",
    "Credential",
    "Device",
    "DeviceList",
    "DirectoryBusy",
    "EmptyDatabase",
    "Enroller",
    "FailInfo",
    "FailInfoError",
    "Failure",
    "FailureReply",
    "FleetEnroller",
    "FleetOptions",
    "FleetReport",
    "FleetServer",
    "Flow",
    "Folder",
    "GetCRL",
    "GetCert",
    "HTTPRefused",
    "HTTPRequest",
    "HTTPResponse",
    "Hint",
    "Issued",
    "Legacy",
    "LegacyRefused",
    "Limits",
    "Local",
    "Malformed",
    "MessageType",
    "NewerDatabase",
    "NoSuccessor",
    "NotDue",
    "OpenedRequest",
    "Order",
    "OutputChanges",
    "Outputs",
    "PKCSReq",
    "PSSPublicKey",
    "Pending",
    "Plan",
    "PreparedRequest",
    "Reason",
    "ReloadRefused",
    "Remote",
    "RenewalAdvice",
    "RenewalOptions",
    "RenewalReq",
    "Renewed",
    "Renewer",
    "Request",
    "RequestRefused",
    "Responder",
    "RevocationRefused",
    "Revoked",
    "SCEPServer",
    "ScepError",
    "SecretSource",
    "Secrets",
    "ServerChanges",
    "SettingsError",
    "StillPending",
    "StoreError",
    "Success",
    "ThirdPartyFailed",
    "TooManyPending",
    "TransactionID",
    "Transport",
    "TransportError",
    "TrustedCA",
    "UntrustedCA",
    "UnverifiedCertificate",
    "UsageError",
    "VerifiedMessage",
    "Visit",
    "Wait",
    "WaitsAhead",
    "agent_events",
    "by_fingerprint",
    "cacerts",
    "capabilities",
    "certificate_template",
    "cmp",
    "cms",
    "csr",
    "events",
    "fleet_events",
    "flow",
    "flows",
    "generate_key",
    "http",
    "next_ca",
    "pkimessage",
    "prepared_request",
    "run",
    "run_flow",
    "run_flow_async",
    "transaction",
]
