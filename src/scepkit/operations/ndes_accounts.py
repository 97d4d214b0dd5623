"""Accounts of the NDES page, and their passwords, of which only a hash is kept.

The hash takes 19 MiB of memory and some hundredths of a second, so that a copy of the database is
of little use to whoever guesses. Whoever checks passwords bounds how many at once.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime

from cryptography.exceptions import InvalidKey, UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from scepkit.errors import SettingsError, UsageError
from scepkit.store import NDESAccount, Store

_BYTES = 20  # of a password that is made here
LEAST_LENGTH = 12
"""The characters that a password has at least."""

MOST_LENGTH = 256
"""The characters that a password may have."""

# Basic separates name and password by a colon (RFC 7617 section 2). Windows writes DOMAIN\name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@\\-]{0,63}")

# As OWASP's Password Storage Cheat Sheet has it: passes, lanes, KiB.
_PASSES, _LANES, _MEMORY = 2, 1, 19 * 1024


def new_password() -> str:
    """Return a random password of 160 bits, in characters that no form and no shell changes."""
    return secrets.token_hex(_BYTES)


def hashed(password: str) -> str:
    """Return a password's hash, with a salt of its own, in PHC's form.

    Raises:
        SettingsError: the OpenSSL of this machine has no Argon2id.
    """
    try:
        kdf = Argon2id(
            salt=os.urandom(16), length=32, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY
        )
        return kdf.derive_phc_encoded(password.encode("utf-8"))
    except UnsupportedAlgorithm as error:
        raise SettingsError(
            "passwords cannot be hashed: the OpenSSL of the package cryptography has no Argon2id",
            hint="install cryptography from its wheel, or build it with OpenSSL 3.2 or later",
        ) from error


def matches(password: bytes, stored: str) -> bool:
    """Say whether a password is the one of a hash; it takes as long as hashing does.

    Args:
        password: octets as they were sent.
        stored: its hash, in PHC's form.
    """
    try:
        Argon2id.verify_phc_encoded(password, stored)
    except InvalidKey:
        return False
    return True


def add(
    store: Store,
    name: str,
    password: str,
    endpoints: Sequence[str],
    *,
    known: Collection[str],
    replaces: bool,
    by: str,
    now: datetime,
    reason: str = "",
) -> None:
    """Add an account, or give one another password and other endpoints.

    Args:
        store: where it is kept.
        name: the account's: letters, digits, and `.`, `_`, `@`, `-` and a backslash in between.
        password: of `LEAST_LENGTH` to `MOST_LENGTH` characters.
        endpoints: those whose challenges it may ask for.
        known: the endpoints that have an NDES page.
        replaces: whether there has to be one with this name, or must be none.
        by: who adds it, for the record.
        now: an aware datetime.
        reason: why, for the record.

    Raises:
        UsageError: name, password or an endpoint cannot be used, or the name is taken.
        SettingsError: the password cannot be hashed on this machine.
        StoreError: the database cannot be written.
    """
    if not is_name(name):
        raise UsageError(
            f"an NDES account cannot be called {name[:64]!r}",
            hint="up to 64 letters, digits, and . _ @ - \\; a letter or digit comes first",
        )
    check_password(password)
    for endpoint in endpoints:
        if endpoint not in known:
            raise UsageError(
                f"the endpoint {endpoint!r} has no NDES page",
                hint=f"set mscep_admin = true in [endpoint.{endpoint}] first",
            )
    account = NDESAccount(name, tuple(dict.fromkeys(endpoints)), hashed(password), now, by)
    store.add_ndes_account(account, replaces=replaces, reason=reason)


def is_name(text: str) -> bool:
    """Say whether an account can have a name."""
    return _NAME.fullmatch(text) is not None


def check_password(password: str) -> None:
    """Refuse a password that is too short, too long, or cannot be sent.

    Raises:
        UsageError: it is.
    """
    if not LEAST_LENGTH <= len(password) <= MOST_LENGTH:
        raise UsageError(
            f"the password has {len(password)} characters; {LEAST_LENGTH} to {MOST_LENGTH} are "
            "taken",
            hint="leave it out, and one is made",
        )
    if not password.isprintable():
        raise UsageError(
            "the password has characters that cannot be typed", hint="take printable ones"
        )
