"""The purposes of extendedKeyUsage (RFC 5280 section 4.2.1.12) by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepkit.errors import UsageError

PURPOSES: Mapping[str, ObjectIdentifier] = MappingProxyType(
    {
        "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
        "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
        "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
        "ipsec_ike": ExtendedKeyUsageOID.IPSEC_IKE,
        "ike_intermediate": ObjectIdentifier("1.3.6.1.5.5.8.2.2"),
        "smartcard_logon": ExtendedKeyUsageOID.SMARTCARD_LOGON,
        "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
        "time_stamping": ExtendedKeyUsageOID.TIME_STAMPING,
    }
)
"""Names for purposes; any other can be written as its OID."""

_NAMES = {oid: name for name, oid in PURPOSES.items()}
_DOTTED = re.compile(r"\d+(\.\d+)+")
# `serverAuth`, as OpenSSL spells it, is `server_auth`.
_PLAIN = {name.replace("_", ""): oid for name, oid in PURPOSES.items()}


def name(oid: ObjectIdentifier) -> str:
    """Return the name of a purpose, or its OID in dots where it has none."""
    return _NAMES.get(oid, oid.dotted_string)


def read(wanted: Iterable[str | ObjectIdentifier]) -> tuple[ObjectIdentifier, ...]:
    """Read purposes, each once.

    Args:
        wanted: names of `PURPOSES`, in any case and with or without `_`, or OIDs.

    Raises:
        UsageError: one is none.
    """
    found = (_read(one) if isinstance(one, str) else one for one in wanted)
    return tuple(dict.fromkeys(found))


def _read(text: str) -> ObjectIdentifier:
    plain = re.sub(r"[_\s-]", "", text).lower()
    known = _PLAIN.get(plain)
    if known is not None:
        return known
    if _DOTTED.fullmatch(text):
        try:
            return ObjectIdentifier(text)
        except ValueError:
            # Such as 3.1: there are no OIDs above 2.
            pass
    near = difflib.get_close_matches(plain, _PLAIN, n=1)
    meant = f"did you mean {name(_PLAIN[near[0]])}? " if near else ""
    raise UsageError(
        f"'{text}' is not a purpose", hint=f"{meant}one of {', '.join(PURPOSES)}, or an OID in dots"
    )
