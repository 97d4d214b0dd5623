"""The durable records: challenges, transactions, requests, certificates and CRLs.

The rules of this package:

- It knows SQL and nothing else: no protocol, no certificate is parsed here, and there is no clock.
- Whatever belongs together is written in one transaction or not at all, and nothing is answered
  before it is on the disk (`recording`, `writer`).
- SQLite and PostgreSQL run the same statements; only `engine` knows which one it is.
"""

from scepkit.store.rows import (
    Action,
    CertificateRow,
    CertificateStatus,
    Challenge,
    ChallengeState,
    Change,
    CRLRow,
    CRLState,
    Purged,
    RequestRow,
    RevocationRow,
    RevokedRow,
)
from scepkit.store.store import Store
from scepkit.store.values import (
    AlreadyAnswered,
    Answer,
    ChallengeSpent,
    Conflict,
    Entry,
    Issuance,
    NewChallenge,
    OtherOwner,
    Outcome,
    Queued,
    QueueFull,
    Recorded,
    SignerRevoked,
    Status,
)

__all__ = [
    "Action",
    "AlreadyAnswered",
    "Answer",
    "CRLRow",
    "CRLState",
    "CertificateRow",
    "CertificateStatus",
    "Challenge",
    "ChallengeSpent",
    "ChallengeState",
    "Change",
    "Conflict",
    "Entry",
    "Issuance",
    "NewChallenge",
    "OtherOwner",
    "Outcome",
    "Purged",
    "QueueFull",
    "Queued",
    "Recorded",
    "RequestRow",
    "RevocationRow",
    "RevokedRow",
    "SignerRevoked",
    "Status",
    "Store",
]
