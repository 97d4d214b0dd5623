"""Values to store, with everything random that must differ."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from scepkit.store import Issuance, NewChallenge, QueuedEntry

NOW = datetime(2026, 11, 5, 12, 0, 0, 123456, tzinfo=UTC)
ENDPOINT = "main"
CA = b"C" * 32


def make_issuance(**changes):
    values = {
        "endpoint": ENDPOINT,
        "transaction_id": os.urandom(20).hex().encode(),
        "signer_key": os.urandom(32),
        "fingerprint": os.urandom(32),
        "message_type": 19,
        "csr": b"the request",
        "csr_digest": os.urandom(32),
        "certificate": os.urandom(40),
        "serial": int.from_bytes(os.urandom(16)) >> 1 | 1,
        "subject": "CN=device",
        "not_before": NOW,
        "not_after": NOW + timedelta(days=365),
        "public_key": os.urandom(32),
        "issuer": CA,
        "challenge_id": None,
        "now": NOW,
    }
    return Issuance(**values | changes)


def make_queued(**changes):
    values = {
        "endpoint": ENDPOINT,
        "transaction_id": os.urandom(20).hex().encode(),
        "signer_key": os.urandom(32),
        "fingerprint": os.urandom(32),
        "message_type": 19,
        "csr": b"the request",
        "csr_digest": os.urandom(32),
        "subject": "CN=device",
        "issuer": CA,
        "challenge_id": None,
        "renews": None,
        "reply_secret": None,
        "expires_at": NOW + timedelta(days=7),
        "now": NOW,
    }
    return QueuedEntry(**values | changes)


def make_grant(row, **changes):
    """What approves a request, from its row."""
    names = "endpoint transaction_id signer_key fingerprint message_type csr csr_digest subject"
    values = {name: getattr(row, name) for name in [*names.split(), "challenge_id", "renews"]}
    return make_issuance(**values | changes)


def make_challenge(**changes):
    values = {
        "endpoint": ENDPOINT,
        "mac": os.urandom(32),
        "created_at": NOW - timedelta(minutes=30),
        "expires_at": NOW + timedelta(minutes=30),
    }
    return NewChallenge(**values | changes)


def put_challenge(store, **changes):
    """Add a challenge and return it as stored."""
    new = make_challenge(**changes)
    store.add_challenges([new])
    return store.find_challenge(new.endpoint, new.mac)
