"""Challenges of certificates that are deleted: a renewal of the certificate stands for it.

A renewal may repeat the challenge of the first certificate (RFC 8894 section 2.4), and a spent
challenge is known by a certificate that it was spent for.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import bindparam, exists, select, update

from scepkit.store.certificates.records import among, these
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.challenges import challenge_uses, challenges
from scepkit.store.values import CertificateKey

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

_Renewal: TypeAlias = tuple[datetime, CertificateKey]

RENEWALS = select(
    *(certificates.c.renews, certificates.c.renews_issuer),
    *(certificates.c.not_after, certificates.c.serial, certificates.c.issuer),
).where(among(certificates.c.renews, certificates.c.renews_issuer))
SPENT = select(challenges.c.spent_serial, challenges.c.spent_issuer).where(
    among(challenges.c.spent_serial, challenges.c.spent_issuer)
)
USED = select(challenge_uses.c.serial, challenge_uses.c.issuer).where(
    among(challenge_uses.c.serial, challenge_uses.c.issuer)
)
_HEIR = bindparam("heir", type_=certificates.c.serial.type)
_HEIR_ISSUER = bindparam("heir_issuer", type_=certificates.c.issuer.type)
SPENT_FOR_HEIR = (
    update(challenges)
    .where(
        challenges.c.spent_serial == bindparam("gone"),
        challenges.c.spent_issuer == bindparam("gone_issuer"),
    )
    .values(spent_serial=_HEIR, spent_issuer=_HEIR_ISSUER)
)
_own_use = challenge_uses.alias()
USED_FOR_HEIR = (
    update(challenge_uses)
    .where(
        challenge_uses.c.serial == bindparam("gone"),
        challenge_uses.c.issuer == bindparam("gone_issuer"),
        ~exists().where(
            _own_use.c.challenge_id == challenge_uses.c.challenge_id,
            _own_use.c.serial == _HEIR,
            _own_use.c.issuer == _HEIR_ISSUER,
        ),
    )
    .values(serial=_HEIR, issuer=_HEIR_ISSUER)
)


def hand_over(connection: Connection, keys: Sequence[CertificateKey]) -> None:
    """Let renewals stand for certificates that are deleted, where challenges refer to these.

    Args:
        connection: of the transaction that deletes them.
        keys: those that are deleted, some hundred.
    """
    of = these(keys)
    spent = {CertificateKey(*row) for row in connection.execute(SPENT, of)}
    used = {CertificateKey(*row) for row in connection.execute(USED, of)}
    if not spent and not used:
        return
    renewals: dict[CertificateKey, list[_Renewal]] = {}
    for serial, issuer, end, *renewal in connection.execute(RENEWALS, of):
        key = CertificateKey(serial, issuer)
        renewals.setdefault(key, []).append((end, CertificateKey(*renewal)))
    gone = set(keys)
    for statement, known in ((SPENT_FOR_HEIR, spent), (USED_FOR_HEIR, used)):
        heirs = ((key, _heir(key, renewals, gone)) for key in known)
        moves = [_move(key, heir) for key, heir in heirs if heir is not None]
        if moves:
            connection.execute(statement, moves)


def _move(key: CertificateKey, heir: CertificateKey) -> dict[str, Any]:
    return {
        "gone": key.serial,
        "gone_issuer": key.issuer,
        "heir": heir.serial,
        "heir_issuer": heir.issuer,
    }


def _heir(
    key: CertificateKey,
    renewals: Mapping[CertificateKey, Sequence[_Renewal]],
    gone: Collection[CertificateKey],
) -> CertificateKey | None:
    """Return the certificate that comes from one by renewal, stays, and ends last; None for none.

    Args:
        key: of a certificate that is deleted.
        renewals: of all that are deleted.
        gone: the keys of these.
    """
    found: list[_Renewal] = []
    waiting = [key]
    while waiting:
        for end, renewal in renewals.get(waiting.pop(), ()):
            if renewal in gone:
                waiting.append(renewal)
            else:
                found.append((end, renewal))
    return max(found)[1] if found else None
