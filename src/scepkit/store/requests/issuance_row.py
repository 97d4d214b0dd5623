"""An issuance on its way to whoever commits it: one row of what the database's driver takes.

Each value is converted once, where it was decided, and travels as text, octets or a number. The
statements take theirs out by place. Only what stands in the way of one, and who is told of it, has
it made an issuance again.
"""

from __future__ import annotations

from hashlib import sha256
from json.encoder import encode_basestring as _quoted
from typing import NamedTuple

from scepkit.protocol.scep.attributes import TransactionID
from scepkit.store.audit.events import UNKNOWN, AuditAction
from scepkit.store.audit.trail import Unlinked, clean
from scepkit.store.column_types import TIME_WRITERS, time_of_text
from scepkit.store.values import TELLER, CertificateKey, Issuance

_ISSUED = AuditAction.ISSUED.value


class IssuanceRow(NamedTuple):
    """The values of an issuance as the driver takes them, by the names that statements use.

    They are those of `Issuance`, with what is empty as None, and these.

    Attributes:
        chain_serial: of the certificate whose renewal chain it goes on with, like the next.
        chain_issuer: which CA issued that one.
        decided_at: None while a service has to agree to its delivery.
        waits_for: that service, then.
    """

    serial: str
    endpoint: str
    subject: str
    certificate: bytes
    not_before: str
    not_after: str
    public_key: bytes
    names: str
    issuer: bytes
    renews: str | None
    renews_issuer: bytes | None
    subject_digest: bytes | None
    now: str
    chain_serial: str | None
    chain_issuer: bytes | None
    transaction_id: bytes
    signer_key: bytes
    fingerprint: bytes
    message_type: int
    csr: bytes
    csr_digest: bytes
    reply_secret: bytes | None
    peer: str | None
    decided_at: str | None
    waits_for: str | None
    delivery: str | None
    notice: str | None
    challenge_id: int | None
    is_only_use: bool
    passphrase: bytes | None

    def __repr__(self) -> str:
        """Name it; some of its values are secret."""
        return f"IssuanceRow(serial={self.serial!r})"

    @property
    def renewed(self) -> CertificateKey | None:
        """Return the name of the certificate that is replaced."""
        if self.renews is None or self.renews_issuer is None:
            return None
        return CertificateKey(int(self.renews, 16), self.renews_issuer)

    def issuance(self) -> Issuance:
        """Return the issuance; its subject may have other certificates."""
        renewed = self.renewed
        return Issuance(
            endpoint=self.endpoint,
            transaction_id=self.transaction_id,
            signer_key=self.signer_key,
            fingerprint=self.fingerprint,
            message_type=self.message_type,
            csr=self.csr,
            csr_digest=self.csr_digest,
            subject=self.subject,
            issuer=self.issuer,
            challenge_id=self.challenge_id,
            is_only_use=self.is_only_use,
            renews=None if renewed is None else renewed.serial,
            renews_issuer=self.renews_issuer,
            is_anew=renewed is not None and self.chain_serial is None,
            reply_secret=self.reply_secret,
            passphrase=self.passphrase,
            peer=self.peer or "",
            subject_digest=self.subject_digest,
            now=time_of_text(self.now),
            certificate=self.certificate,
            serial=int(self.serial, 16),
            not_before=time_of_text(self.not_before),
            not_after=time_of_text(self.not_after),
            public_key=self.public_key,
            names=self.names,
            delivery=self.delivery,
            notice=self.notice or "",
        )

    def record(self) -> Unlinked:
        """Return its audit record: the one that its event becomes (`issuances.audit_event`).

        Nearly all records are such ones, and here all of it is text already.
        """
        return Unlinked(
            f"{self.now[:10]}T{self.now[11:26]}Z",
            clean(self.peer or UNKNOWN),
            _ISSUED,
            self.endpoint or None,
            _shown(self.serial),
            str(TransactionID(self.transaction_id)),
            clean(self.subject) if self.subject else None,
            self.challenge_id,
            None,
            self._details(),
        )

    def _details(self) -> str:
        """Return the details of its audit record: members in the order of their names."""
        delivery = renews = ""
        if self.delivery is not None:
            delivery = f',"delivery":{_quoted(self.delivery)}'
        if self.renews is not None and self.renews_issuer is not None:
            issuer = self.renews_issuer.hex()
            renews = f',"renews":"{_shown(self.renews)}","renews_issuer_key":"{issuer}"'
        return (
            f'{{"certificate":"{sha256(self.certificate).hexdigest()}"{delivery}'
            f',"issuer_key":"{self.issuer.hex()}","message_type":{self.message_type}{renews}}}'
        )


def _shown(serial: str) -> str:
    """Return a stored serial number as `show_serial` shows it."""
    return serial.zfill(len(serial) + len(serial) % 2)


def row_of(issuance: Issuance, dialect: str) -> IssuanceRow:
    """Return the row that an issuance becomes.

    Args:
        issuance: what is to be written.
        dialect: the name of the database's.
    """
    stored = TIME_WRITERS[dialect]
    now = stored(issuance.now)
    renews = renews_issuer = None
    if issuance.renews is not None and (renewed := issuance.renewed) is not None:
        renews, renews_issuer = f"{renewed.serial:x}", renewed.issuer
    goes_on, is_signed = not issuance.is_anew, issuance.delivery is not None
    return IssuanceRow(
        f"{issuance.serial:x}",
        issuance.endpoint,
        issuance.subject,
        issuance.certificate,
        stored(issuance.not_before),
        stored(issuance.not_after),
        issuance.public_key,
        issuance.names,
        issuance.issuer,
        renews,
        renews_issuer,
        issuance.subject_digest,
        now,
        renews if goes_on else None,
        renews_issuer if goes_on else None,
        issuance.transaction_id,
        issuance.signer_key,
        issuance.fingerprint,
        int(issuance.message_type),
        issuance.csr,
        issuance.csr_digest,
        issuance.reply_secret,
        issuance.peer or None,
        None if is_signed else now,
        TELLER if is_signed else None,
        issuance.delivery,
        issuance.notice or None,
        issuance.challenge_id,
        issuance.is_only_use,
        issuance.passphrase,
    )
