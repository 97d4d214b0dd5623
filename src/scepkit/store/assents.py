"""The yes of a service outside: stored before the signature, so that it is not asked twice.

A service may spend a secret with its yes. A retransmission after a crash finds the yes here.
It is good for one transactionID, one key that signed, and one PKCS#10. `verdicts` stores it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, insert, select, update

from scepkit.store.database import Database
from scepkit.store.tables import assents

if TYPE_CHECKING:
    from datetime import datetime

_THIS_ONE = and_(
    assents.c.endpoint == bindparam("of_endpoint"),
    assents.c.transaction_id == bindparam("of_transaction_id"),
    assents.c.signer_key == bindparam("of_signer_key"),
    assents.c.csr_digest == bindparam("of_csr_digest"),
)
SAID = select(assents.c.said_at).where(_THIS_ONE)
SAY_AGAIN = update(assents).where(_THIS_ONE).values(said_at=bindparam("now"))
SAY = insert(assents)
FORGET = delete(assents).where(assents.c.said_at < bindparam("before"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assent:
    """The request that a service said yes to.

    Attributes:
        endpoint: the name of the SCEP endpoint.
        transaction_id: the transactionID as received.
        signer_key: SHA-256 of the request signer's SubjectPublicKeyInfo.
        csr_digest: SHA-256 of the PKCS#10 as received.
    """

    endpoint: str
    transaction_id: bytes
    signer_key: bytes
    csr_digest: bytes

    @property
    def columns(self) -> dict[str, Any]:
        """Return the row's key."""
        return {
            "endpoint": self.endpoint,
            "transaction_id": self.transaction_id,
            "signer_key": self.signer_key,
            "csr_digest": self.csr_digest,
        }

    @property
    def condition(self) -> dict[str, Any]:
        """Return the parameters that find the row."""
        return {f"of_{name}": value for name, value in self.columns.items()}


class AssentRecords(Database):
    """The part of the store with what services outside have said yes to."""

    def has_assent(self, assent: Assent, *, since: datetime) -> bool:
        """Say whether a yes is stored that is no older than that.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            said_at = connection.scalar(SAID, assent.condition)
            return said_at is not None and said_at >= since

    def forget_assents(self, before: datetime) -> int:
        """Delete what was said before that; return how many.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._writing("delete what is old") as connection:
            return connection.execute(FORGET, {"before": before}).rowcount
