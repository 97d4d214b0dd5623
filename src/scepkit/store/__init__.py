"""What must survive: challenges, transactions, requests and certificates.

The rules of this package:

- It knows SQL and nothing else: no protocol, no certificate is parsed here, and there is no clock.
- Whatever belongs together is written in one transaction or not at all, and nothing is answered
  before it is on the disk (`recording`, `writer`).
- SQLite and PostgreSQL run the same statements; only `engine` knows which one it is.
"""

from scepkit.store.store import Store
from scepkit.store.values import (
    AlreadyAnswered,
    Answer,
    CertificateRow,
    Challenge,
    ChallengeSpent,
    Conflict,
    Issuance,
    NewChallenge,
    OtherOwner,
    Outcome,
    Recorded,
    Status,
)

__all__ = [
    "AlreadyAnswered",
    "Answer",
    "CertificateRow",
    "Challenge",
    "ChallengeSpent",
    "Conflict",
    "Issuance",
    "NewChallenge",
    "OtherOwner",
    "Outcome",
    "Recorded",
    "Status",
    "Store",
]
