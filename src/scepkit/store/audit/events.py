"""The actions that are told to the audit record, before they have their places in a chain."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

SERVER = "server"  # the actor where nobody asked
UNKNOWN = "unknown"  # the actor where the address of who asked is not known


class AuditAction(StrEnum):
    """The action that a record tells of."""

    STARTED = "started"
    SETTINGS_RELOADED = "settings-reloaded"
    ISSUED = "issued"
    ANSWERED = "answered"
    QUEUED = "queued"
    DELIVERED = "delivered"
    APPROVED = "approved"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    REVOKED = "revoked"
    HELD = "held"
    RELEASED = "released"
    REVOCATION_PLANNED = "revocation-planned"
    REVOCATION_CANCELLED = "revocation-cancelled"
    EARLY_RENEWAL_CALLED = "early-renewal-called"
    EARLY_RENEWAL_CANCELLED = "early-renewal-cancelled"
    CHALLENGE_MINTED = "challenge-minted"
    CHALLENGES_MINTED = "challenges-minted"
    CHALLENGE_VOIDED = "challenge-voided"
    CHALLENGES_VOIDED = "challenges-voided"
    DEVICES_IMPORTED = "devices-imported"
    DEVICES_REMOVED = "devices-removed"
    TOKEN_CREATED = "token-created"  # noqa: S105 - an action
    TOKEN_VOIDED = "token-voided"  # noqa: S105
    NDES_ACCOUNT_ADDED = "ndes-account-added"
    NDES_ACCOUNT_CHANGED = "ndes-account-changed"
    NDES_ACCOUNT_REMOVED = "ndes-account-removed"
    PURGED = "purged"
    OUTBOX_RETRIED = "outbox-retried"
    OUTBOX_DROPPED = "outbox-dropped"
    CA_MADE = "ca-made"
    CA_REQUESTED = "ca-requested"
    CA_INSTALLED = "ca-installed"
    CA_IMPORTED = "ca-imported"
    CERTIFICATES_IMPORTED = "certificates-imported"
    RA_REPLACED = "ra-replaced"
    OCSP_REPLACED = "ocsp-replaced"
    ROLLOVER_PREPARED = "rollover-prepared"
    ROLLOVER_ACTIVATED = "rollover-activated"
    ROLLOVER_CANCELLED = "rollover-cancelled"
    KEYS_PROTECTED = "keys-protected"
    JOINED = "joined"


class AuditEvent(NamedTuple):
    """An action, before it has its place in a chain.

    Attributes:
        action: what was done.
        actor: who did it: an operator, the address of a device, or `SERVER`.
        at: when, aware.
        endpoint: the endpoint's name.
        serial: the certificate's serial number.
        transaction_id: the transactionID as received.
        subject: the subject as text.
        challenge: the challenge's number.
        reason: why, as the actor said it.
        details: what else is to be known, for JSON: text, whole numbers, lists and objects. Never
            a secret.
        about: the certificate or the entry that it is about, for who is told more than the record
            has (`notifications.events`).
    """

    action: AuditAction
    actor: str
    at: datetime
    endpoint: str | None = None
    serial: int | None = None
    transaction_id: bytes | None = None
    subject: str | None = None
    challenge: int | None = None
    reason: str | None = None
    details: Mapping[str, Any] | None = None
    about: object = None


def ranges(numbers: Iterable[int]) -> str:
    """Return whole numbers in short: `1-50,52`."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)
