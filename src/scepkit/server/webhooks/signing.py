"""The signature under what is sent to a service, in the dialect `scepkit`."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime


def signed(keys: Sequence[bytes], delivery: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """Return headers that sign time and body together: nobody can send an old one as new.

    Args:
        keys: one, or several while it is exchanged: the receiver takes the one that it has. Secret.
        delivery: the id of the delivery.
        body: what is sent.
        now: aware.
    """
    seconds = str(int(now.timestamp()))
    octets = seconds.encode() + b"." + body
    signatures = ",".join(f"v1={hmac.digest(key, octets, 'sha256').hex()}" for key in keys)
    return {
        "Scepkit-Delivery": delivery,
        "Scepkit-Signature": f"t={seconds},{signatures}",
    }
