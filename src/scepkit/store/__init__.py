"""The durable records: challenges, transactions, requests, certificates and CRLs.

The rules of this package:

- It knows SQL and nothing else: no protocol, no certificate is parsed here, and there is no clock.
- Whatever belongs together is written in one transaction or not at all, and nothing is answered
  before it is on the disk (`requests.issuances`, `committing.group_commit`).
- SQLite and PostgreSQL run the same statements; only `engine`, `connections` and `prepared` know
  which one it is.

tables          the tables, in files of the same names as these folders; `migrations` makes them
requests        how they stand, and the one step that records a certificate with all that it takes
certificates    found, listed, followed along their renewals
revocations     done, planned, by replacement; and the CRLs
challenges      added, found, voided; who may ask for some
third_parties   what services outside have said, and have still to be told
committing      many entries in one transaction, of one process or of several
notifications   the outbox of what others are told
audit           the record of what was done

What is beside the folders is used by all of them, or needs one file (`devices`, `tokens`).
`store` puts everything together.
"""

from scepkit.store.audit.events import SERVER, UNKNOWN, AuditAction, AuditEvent
from scepkit.store.audit.format import AuditRecord
from scepkit.store.certificates.early_renewals import Called, EarlyRenewal, Pull
from scepkit.store.certificates.listing import (
    CertificateFilter,
    CertificatePage,
    CertificateStatus,
    Place,
)
from scepkit.store.certificates.records import CertificateRow, Named
from scepkit.store.challenges.challenge import Challenge, ChallengeState
from scepkit.store.challenges.mintings import KeyTaken, Minting, NewMinting
from scepkit.store.challenges.ndes_accounts import NDESAccount
from scepkit.store.challenges.pending import PendingChallenges
from scepkit.store.committing.promises import Promise
from scepkit.store.devices import Device, DeviceColumn, NewDevice
from scepkit.store.imports import ForeignCertificate, ForeignRevocation, Import, Revocation
from scepkit.store.notifications.deliveries import Delivery, FailedTry, Queue
from scepkit.store.notifications.events import Event, EventType
from scepkit.store.notifications.outbox import Subscription
from scepkit.store.purge import Purged
from scepkit.store.refusals import LastSeen, Refusal, RefusalFilter, RefusalRow
from scepkit.store.requests.listing import RequestFilter, RequestPage
from scepkit.store.requests.records import RequestRow
from scepkit.store.revocations.changes import Action, Change
from scepkit.store.revocations.crls import CRLRow, CRLState, RevokedRow
from scepkit.store.revocations.planned import PlannedRevocation
from scepkit.store.revocations.records import RevocationRow
from scepkit.store.store import Store
from scepkit.store.third_parties.assents import Assent, StoredAnswer
from scepkit.store.third_parties.intune_requests import (
    IntuneName,
    IntuneRow,
    Notice,
    SignedDelivery,
)
from scepkit.store.tokens import NewToken, Token, TokenState
from scepkit.store.values import (
    ISSUER,
    TELLER,
    AlreadyAnswered,
    Answer,
    CertificateKey,
    ChallengeSpent,
    Conflict,
    Door,
    Entry,
    Issuance,
    NewChallenge,
    OtherOwner,
    QueuedEntry,
    QueueFull,
    Recorded,
    SameSubject,
    SignerRevoked,
    Status,
    StoredOutcome,
    SubjectTaken,
)

__all__ = [
    "ISSUER",
    "SERVER",
    "TELLER",
    "UNKNOWN",
    "Action",
    "AlreadyAnswered",
    "Answer",
    "Assent",
    "AuditAction",
    "AuditEvent",
    "AuditRecord",
    "CRLRow",
    "CRLState",
    "Called",
    "CertificateFilter",
    "CertificateKey",
    "CertificatePage",
    "CertificateRow",
    "CertificateStatus",
    "Challenge",
    "ChallengeSpent",
    "ChallengeState",
    "Change",
    "Conflict",
    "Delivery",
    "Device",
    "DeviceColumn",
    "Door",
    "EarlyRenewal",
    "Entry",
    "Event",
    "EventType",
    "FailedTry",
    "ForeignCertificate",
    "ForeignRevocation",
    "Import",
    "IntuneName",
    "IntuneRow",
    "Issuance",
    "KeyTaken",
    "LastSeen",
    "Minting",
    "NDESAccount",
    "Named",
    "NewChallenge",
    "NewDevice",
    "NewMinting",
    "NewToken",
    "Notice",
    "OtherOwner",
    "PendingChallenges",
    "Place",
    "PlannedRevocation",
    "Promise",
    "Pull",
    "Purged",
    "Queue",
    "QueueFull",
    "QueuedEntry",
    "Recorded",
    "Refusal",
    "RefusalFilter",
    "RefusalRow",
    "RequestFilter",
    "RequestPage",
    "RequestRow",
    "Revocation",
    "RevocationRow",
    "RevokedRow",
    "SameSubject",
    "SignedDelivery",
    "SignerRevoked",
    "Status",
    "Store",
    "StoredAnswer",
    "StoredOutcome",
    "SubjectTaken",
    "Subscription",
    "Token",
    "TokenState",
]
