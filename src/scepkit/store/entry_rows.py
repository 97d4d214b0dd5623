"""The rows that entries become, and the parameters that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepkit.store.values import TELLER, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepkit.store.values import Issuance, NewEntry, QueuedEntry


def issued(issuance: Issuance) -> dict[str, Any]:
    """Return the parameters of all that writes a certificate and its request.

    One lot for all of these statements: each takes those out that it names.
    """
    renewed = None if issuance.renews is None else issuance.renewed
    chain = None if issuance.is_anew else renewed
    is_signed = issuance.delivery is not None
    return {
        "new_serial": issuance.serial,
        "new_endpoint": issuance.endpoint,
        "new_subject": issuance.subject,
        "new_der": issuance.certificate,
        "new_not_before": issuance.not_before,
        "new_not_after": issuance.not_after,
        "new_public_key": issuance.public_key,
        "new_names": issuance.names,
        "new_subject_digest": issuance.subject_digest,
        "new_issuer": issuance.issuer,
        "new_now": issuance.now,
        "new_renews": None if renewed is None else renewed.serial,
        "new_renews_issuer": None if renewed is None else renewed.issuer,
        "new_chain_serial": None if chain is None else chain.serial,
        "new_chain_issuer": None if chain is None else chain.issuer,
        "new_transaction_id": issuance.transaction_id,
        "new_signer_key": issuance.signer_key,
        "new_fingerprint": issuance.fingerprint,
        "new_message_type": issuance.message_type,
        "new_csr": issuance.csr,
        "new_csr_digest": issuance.csr_digest,
        "new_reply_secret": issuance.reply_secret,
        "new_peer": issuance.peer or None,
        "new_decided_at": None if is_signed else issuance.now,
        "new_waits_for": TELLER if is_signed else None,
        "new_delivery": issuance.delivery,
        "new_notice": issuance.notice or None,
    }


def claim_row(entry: NewEntry) -> dict[str, Any]:
    """Return a row of `transactions`."""
    return {
        "endpoint": entry.endpoint,
        "transaction_id": entry.transaction_id,
        "signer_key": entry.signer_key,
    }


def signed_columns(issuance: Issuance) -> dict[str, Any]:
    """Return the columns that say how the certificate of a request is delivered."""
    told = {"notice": issuance.notice or None}
    if issuance.delivery is None:
        return told | {"decided_at": issuance.now, "waits_for": None, "delivery": None}
    return told | {"decided_at": None, "waits_for": TELLER, "delivery": issuance.delivery}


def waiting_row(queued: QueuedEntry) -> dict[str, Any]:
    """Return a row of `requests` that waits, but for its transaction."""
    renewed = queued.renewed
    return {
        "fingerprint": queued.fingerprint,
        "message_type": queued.message_type,
        "csr": queued.csr,
        "csr_digest": queued.csr_digest,
        "subject": queued.subject,
        "issuer": queued.issuer,
        "reply_secret": queued.reply_secret,
        "peer": queued.peer or None,
        "created_at": queued.now,
        "renews": None if renewed is None else renewed.serial,
        "renews_issuer": None if renewed is None else renewed.issuer,
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
