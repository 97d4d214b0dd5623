"""The events that others are told of: what happened, as JSON.

docs/reference/notifications.md has their members. What is not told is not told by leaving it out:
no secret, no challenge's text, and no key comes here.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from scepkit.protocol.certificate import show_serial
from scepkit.protocol.crl import Reason
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.audit.trail import time_text
from scepkit.store.values import Issuance, QueuedEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

MOST_NAMES = 100
"""The subject alternative names that an event has at most; a larger number is told as a number."""


class EventType(StrEnum):
    """The kind of an event."""

    PENDING = "pending"
    ISSUED = "issued"
    REFUSED = "refused"
    REVOKED = "revoked"
    RELEASED = "released"
    EXPIRING = "expiring"
    CA_EXPIRING = "ca-expiring"
    SECRET_EXPIRING = "secret-expiring"  # noqa: S105 - a kind of event
    RULE_FAILING = "rule-failing"
    RULE_RECOVERED = "rule-recovered"
    LOST = "lost"
    """Events before this one were dropped; told to whoever is told of anything."""
    TEST = "test"
    """Nothing happened: an operator looks whether it arrives."""


class Event(NamedTuple):
    """An event.

    Attributes:
        type: its kind.
        at: when it happened, aware.
        endpoint: the endpoint's name; "" where it is of no endpoint.
        facts: its other members, for JSON.
    """

    type: EventType
    at: datetime
    endpoint: str
    facts: Mapping[str, Any]

    def body(self, delivery: str) -> str:
        """Return it as it is sent.

        Args:
            delivery: the id of the delivery.
        """
        members = {
            "id": delivery,
            "event": self.type.value,
            "at": time_text(self.at),
            "endpoint": self.endpoint or None,
            **self.facts,
        }
        return json.dumps(members, separators=(",", ":"), allow_nan=False)


class StoredCertificate(Protocol):
    """A certificate, be it a row of the store or one that is being stored."""

    @property
    def serial(self) -> int:
        """Return its serial number."""

    @property
    def issuer(self) -> bytes:
        """Return the SHA-256 of its CA's SubjectPublicKeyInfo."""

    @property
    def subject(self) -> str:
        """Return its subject, as text."""

    @property
    def names(self) -> str:
        """Return its subject alternative names, one a line."""

    @property
    def not_before(self) -> datetime:
        """Return the start of its validity."""

    @property
    def not_after(self) -> datetime:
        """Return the end of its validity."""

    @property
    def renews(self) -> int | None:
        """Return the serial number of the certificate that it replaced."""


def certificate_facts(certificate: StoredCertificate, der: bytes) -> dict[str, Any]:
    """Return a certificate as events have it."""
    names = certificate.names.splitlines()
    facts: dict[str, Any] = {
        "serial": show_serial(certificate.serial),
        "issuer_key": certificate.issuer.hex(),
        "sha256": hashlib.sha256(der).hexdigest(),
        "subject": certificate.subject,
        "names": names[:MOST_NAMES],
        "not_before": time_text(certificate.not_before),
        "not_after": time_text(certificate.not_after),
        "renews": None if certificate.renews is None else show_serial(certificate.renews),
    }
    if len(names) > MOST_NAMES:
        facts["more_names"] = len(names) - MOST_NAMES
    return facts


def event_of(done: AuditEvent) -> Event | None:
    """Return the event that an action is to those who are told; None where it is none."""
    found = _TOLD.get(done.action)
    if found is None:
        return None
    kind, facts = found
    if kind is EventType.ISSUED and _is_undelivered(done):
        return None
    return Event(kind, done.at, done.endpoint or "", facts(done))


def _is_undelivered(done: AuditEvent) -> bool:
    """Say whether a certificate is signed, and a service has to agree before anybody is given it.

    Its delivery is another action.
    """
    return done.action is not AuditAction.DELIVERED and "delivery" in (done.details or {})


def _of_transaction(done: AuditEvent) -> dict[str, Any]:
    number = done.transaction_id
    return {
        "actor": done.actor,
        "transaction_id": None if number is None else str(TransactionID(number)),
    }


def _issued(done: AuditEvent) -> dict[str, Any]:
    return _of_transaction(done) | {"challenge": done.challenge, "certificate": _certificate(done)}


def _certificate(done: AuditEvent) -> dict[str, Any] | None:
    about: Any = done.about
    if about is None:
        return None
    der = about.certificate if isinstance(about, Issuance) else about.der
    return certificate_facts(about, der)


def _pending(done: AuditEvent) -> dict[str, Any]:
    queued, details = done.about, done.details or {}
    waits_for, expires_at = None, None
    if isinstance(queued, QueuedEntry):
        waits_for, expires_at = queued.waits_for, queued.expires_at
    return _of_transaction(done) | {
        "challenge": done.challenge,
        "request": details.get("request"),
        "subject": done.subject,
        "renews": details.get("renews"),
        "waits_for": waits_for or "operator",
        "expires_at": None if expires_at is None else time_text(expires_at),
    }


def _refused(done: AuditEvent) -> dict[str, Any]:
    lapsed = done.action is AuditAction.LAPSED
    return _of_transaction(done) | {
        "challenge": done.challenge,
        "request": (done.details or {}).get("request"),
        "subject": done.subject,
        "renews": None,
        "fail_info": None,
        "reason": "nobody decided in time" if lapsed else done.reason or "",
        "is_entitled": True,
        "count": 1,
    }


def _revoked(done: AuditEvent) -> dict[str, Any]:
    details = done.details or {}
    return _released(done) | {
        "crl_reason": Reason(details["crl_reason"]).name,
        "invalidity_date": details.get("invalidity_date"),
    }


def _released(done: AuditEvent) -> dict[str, Any]:
    return {
        "actor": done.actor,
        "reason": done.reason or "",
        "certificate": _certificate(done),
    }


_TOLD: Mapping[AuditAction, tuple[EventType, Callable[[AuditEvent], dict[str, Any]]]] = {
    AuditAction.ISSUED: (EventType.ISSUED, _issued),
    AuditAction.APPROVED: (EventType.ISSUED, _issued),
    AuditAction.DELIVERED: (EventType.ISSUED, _issued),
    AuditAction.QUEUED: (EventType.PENDING, _pending),
    AuditAction.REJECTED: (EventType.REFUSED, _refused),
    AuditAction.LAPSED: (EventType.REFUSED, _refused),
    AuditAction.REVOKED: (EventType.REVOKED, _revoked),
    AuditAction.HELD: (EventType.REVOKED, _revoked),
    AuditAction.RELEASED: (EventType.RELEASED, _released),
}
