"""Refused requests, as `scep admin list` and `scep admin show` print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepkit.cli.describe import timestamp
from scepkit.errors import FailInfo
from scepkit.protocol.certificate import show_serial

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from scepkit.store import RefusalRow


def columns(row: RefusalRow, time: Callable[[datetime | None], str]) -> dict[str, str]:
    """Return the columns of a refusal in a list.

    Args:
        row: the refusal.
        time: writes a time.
    """
    return {
        "last_refused": time(row.last_at),
        "times": str(row.times),
        "endpoint": row.endpoint,
        "sender": _sender(row),
        "subject": row.subject,
        "rule": row.rule or FailInfo(row.fail_info).name,
        "attribute": row.attribute or "",
        "transaction_id": row.transaction_id,
    }


def json_fields(row: RefusalRow) -> dict[str, object]:
    """Return a refusal for programs."""
    return {
        "status": "refused",
        "endpoint": row.endpoint,
        "sender": _sender(row),
        "transaction_id": row.transaction_id,
        "type": row.message_type,
        "subject": row.subject,
        "key_sha256": "" if row.key is None else row.key.hex(),
        "serial": "" if row.serial is None else show_serial(row.serial),
        "challenge_id": "" if row.challenge is None else str(row.challenge),
        "peer": row.peer or "",
        "first_refused": timestamp(row.first_at),
        "last_refused": timestamp(row.last_at),
        "times": row.times,
        "fail_info": FailInfo(row.fail_info).name,
        "rule": row.rule or "",
        "attribute": row.attribute or "",
        "length": row.length,
        "reason": row.reason,
    }


def in_words(row: RefusalRow) -> str:
    """Return a refusal in a line for people."""
    times = "" if row.times == 1 else f", {row.times} times since {timestamp(row.first_at)}"
    code = FailInfo(row.fail_info).name
    return f"{timestamp(row.last_at)} {code} at {row.endpoint}: {row.reason}{times}"


def _sender(row: RefusalRow) -> str:
    return "entitled" if row.is_entitled else "stranger"
