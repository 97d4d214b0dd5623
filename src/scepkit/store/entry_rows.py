"""The rows that entries become, and the parameters that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepkit.store.values import TELLER, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepkit.store.values import Issuance, NewEntry, QueuedEntry


def certificate_row(issuance: Issuance) -> dict[str, Any]:
    """Return a row of `certificates`."""
    return {
        "serial": issuance.serial,
        "endpoint": issuance.endpoint,
        "subject": issuance.subject,
        "der": issuance.certificate,
        "not_before": issuance.not_before,
        "not_after": issuance.not_after,
        "public_key": issuance.public_key,
        "names": issuance.names,
        "issuer": issuance.issuer,
        "issued_at": issuance.now,
        **_renewed(issuance),
    }


def _renewed(entry: NewEntry) -> dict[str, Any]:
    """Return the columns that name the certificate which is replaced."""
    renewed = None if entry.renews is None else entry.renewed
    serial, issuer = renewed or (None, None)
    return {"renews": serial, "renews_issuer": issuer}


def claim_row(entry: NewEntry) -> dict[str, Any]:
    """Return a row of `transactions`."""
    return {
        "endpoint": entry.endpoint,
        "transaction_id": entry.transaction_id,
        "signer_key": entry.signer_key,
    }


def claimed(issuance: Issuance) -> dict[str, Any]:
    """Return the parameters that find the transaction just claimed."""
    return {"of_endpoint": issuance.endpoint, "of_transaction_id": issuance.transaction_id}


def _request_row(entry: NewEntry) -> dict[str, Any]:
    return {
        "fingerprint": entry.fingerprint,
        "message_type": entry.message_type,
        "csr": entry.csr,
        "csr_digest": entry.csr_digest,
        "subject": entry.subject,
        "issuer": entry.issuer,
        "reply_secret": entry.reply_secret,
        "peer": entry.peer or None,
        "created_at": entry.now,
        **_renewed(entry),
    }


def issued_row(issuance: Issuance) -> dict[str, Any]:
    """Return a row of `requests` that has its certificate, but for its transaction."""
    return _request_row(issuance) | {
        "status": Status.ISSUED.value,
        "serial": issuance.serial,
        **signed_columns(issuance),
    }


def signed_columns(issuance: Issuance) -> dict[str, Any]:
    """Return the columns that say whether the certificate of a request is delivered."""
    if issuance.delivery is None:
        return {"decided_at": issuance.now, "waits_for": None, "delivery": None}
    return {"decided_at": None, "waits_for": TELLER, "delivery": issuance.delivery}


def waiting_row(queued: QueuedEntry) -> dict[str, Any]:
    """Return a row of `requests` that waits, but for its transaction."""
    return _request_row(queued) | {
        "status": Status.PENDING.value,
        "challenge_id": queued.challenge_id,
        "expires_at": queued.expires_at,
        "passphrase": queued.passphrase,
        "queue": queued.endpoint,
        "waits_for": queued.waits_for,
    }


def spending(issuance: Issuance) -> dict[str, Any]:
    """Return the parameters that spend a challenge."""
    return {
        "challenge_id": issuance.challenge_id,
        "of_endpoint": issuance.endpoint,
        "by_serial": issuance.serial,
        "by_issuer": issuance.issuer,
        "now": issuance.now,
    }


def passphrase_rows(issuances: Sequence[Issuance]) -> list[dict[str, Any]]:
    """Return rows of `passphrases`, for those that have one."""
    return [
        {"serial": issuance.serial, "issuer": issuance.issuer, "hidden": issuance.passphrase}
        for issuance in issuances
        if issuance.passphrase is not None
    ]
