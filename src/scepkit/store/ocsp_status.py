"""The status of single certificates, as OCSP asks for it; for CRLs see `crls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, select

from scepkit.store.database import Database
from scepkit.store.tables import certificates
from scepkit.store.values import MAX_SERIAL_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# By the primary key; the certificate itself, which is most of the row, stays where it is.
_COLUMNS = select(
    certificates.c.serial, certificates.c.revoked_at, certificates.c.revocation_reason
).where(certificates.c.issuer == bindparam("of_issuer"))
ONE = _COLUMNS.where(certificates.c.serial == bindparam("of_serial"))
# Written out anew for each number of serials, which for one would take longer than asking.
SEVERAL = _COLUMNS.where(certificates.c.serial.in_(bindparam("of_serials", expanding=True)))


class Standing(NamedTuple):
    """The standing of a certificate: not revoked is None twice; `reason` is a CRLReason code."""

    revoked_at: datetime | None
    reason: int | None


class Statuses(Database):
    """The part of the store that says how certificates stand."""

    def standings(self, issuer: bytes, serials: Iterable[int]) -> dict[int, Standing]:
        """Return the standing of certificates of a CA at this moment, expired ones included.

        Args:
            issuer: SHA-256 of the CA's SubjectPublicKeyInfo.
            serials: some hundred numbers at most; those that no certificate can have cost nothing.

        Returns:
            Those that the CA issued, as far as the store has them, by their serial numbers.

        Raises:
            StoreError: the database cannot be read.
        """
        possible = [one for one in serials if one > 0 and one.bit_length() <= MAX_SERIAL_BITS]
        if not possible:
            return {}
        values: dict[str, object] = {"of_issuer": issuer}
        if len(possible) == 1:
            statement, values["of_serial"] = ONE, possible[0]
        else:
            statement, values["of_serials"] = SEVERAL, possible
        with self._reading() as connection:
            rows = connection.execute(statement, values).all()
        return {serial: Standing(revoked_at, reason) for serial, revoked_at, reason in rows}
