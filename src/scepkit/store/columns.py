"""The mapping of entries to columns of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepkit.store.values import Status

if TYPE_CHECKING:
    from scepkit.store.values import Granted, Issuance, Queued


def certificate(issuance: Issuance) -> dict[str, Any]:
    """Return a row of `certificates`."""
    return {
        "serial": issuance.serial,
        "endpoint": issuance.endpoint,
        "subject": issuance.subject,
        "der": issuance.certificate,
        "not_before": issuance.not_before,
        "not_after": issuance.not_after,
        "public_key": issuance.public_key,
        "issuer": issuance.issuer,
        "renews": issuance.renews,
        "issued_at": issuance.now,
    }


def transaction(entry: Granted) -> dict[str, Any]:
    """Return a row of `transactions`."""
    return {
        "endpoint": entry.endpoint,
        "transaction_id": entry.transaction_id,
        "signer_key": entry.signer_key,
    }


def claimed(issuance: Issuance) -> dict[str, Any]:
    """Return the parameters that find the transaction just claimed."""
    return {"of_endpoint": issuance.endpoint, "of_transaction_id": issuance.transaction_id}


def _request(entry: Granted) -> dict[str, Any]:
    return {
        "fingerprint": entry.fingerprint,
        "message_type": entry.message_type,
        "csr": entry.csr,
        "csr_digest": entry.csr_digest,
        "subject": entry.subject,
        "issuer": entry.issuer,
        "renews": entry.renews,
        "reply_secret": entry.reply_secret,
        "peer": entry.peer or None,
        "created_at": entry.now,
    }


def issued(issuance: Issuance) -> dict[str, Any]:
    """Return a row of `requests` that has its certificate, but for its transaction."""
    return _request(issuance) | {
        "status": Status.ISSUED.value,
        "serial": issuance.serial,
        "decided_at": issuance.now,
    }


def waiting(queued: Queued) -> dict[str, Any]:
    """Return a row of `requests` that waits, but for its transaction."""
    return _request(queued) | {
        "status": Status.PENDING.value,
        "challenge_id": queued.challenge_id,
        "expires_at": queued.expires_at,
        "passphrase": queued.passphrase,
        "queue": queued.endpoint,
    }


def spent(issuance: Issuance) -> dict[str, Any]:
    """Return the parameters that spend a challenge."""
    return {
        "challenge_id": issuance.challenge_id,
        "of_endpoint": issuance.endpoint,
        "by_serial": issuance.serial,
        "now": issuance.now,
    }
