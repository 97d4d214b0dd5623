"""Bodies of requests: JSON objects, of no more octets than each route takes.

They are read after the token was looked at: who has none is not listened to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from scepkit.server.api.problems import Kind, ProblemError

JSON = "application/json"
# Octets. What is smaller is parsed where it arrives.
_SMALL = 64 * 1024
# Lists and objects: 100000 orders have three each. Each takes 20 times its octets, and time in
# which no thread does anything else.
_MOST_PARTS = 1_000_000


async def read_object(request: Request, most: int, *, is_needed: bool = True) -> dict[str, Any]:
    """Return the JSON object in the body of a request.

    Args:
        request: the request.
        most: octets that the body may have.
        is_needed: whether there has to be one; where not, nothing is an empty one.

    Raises:
        ProblemError: it is none, or too large.
    """
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said[:20]) > most:
        raise _too_much(f"{most} octets")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise _too_much(f"{most} octets")
    if not body and not is_needed:
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise ProblemError(
            Kind.OTHER_MEDIA_TYPE,
            "the body has to be JSON, and to say so",
            hint=f"send Content-Type: {JSON}",
        )
    if len(body) <= _SMALL:
        return _parsed(bytes(body))
    found: dict[str, Any] = await run_in_threadpool(_parsed, bytes(body))
    return found


def _parsed(body: bytes) -> dict[str, Any]:
    if body.count(b"[") + body.count(b"{") > _MOST_PARTS:
        raise _too_much(f"{_MOST_PARTS} lists and objects")
    try:
        found = json.loads(body, object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        # Not the text of it: there may be anything.
        twice = str(error) if isinstance(error, _TwiceError) else "the body cannot be read as JSON"
        raise ProblemError(Kind.NOT_JSON, twice, hint="write one object, in UTF-8") from None
    if not isinstance(found, dict):
        raise ProblemError(Kind.INVALID, "the body is no object", hint="write {…}")
    return found


class _TwiceError(ValueError):
    """An object has a member twice."""


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError("an object has a member twice")
    return found


def _no_number(_name: str) -> None:
    raise ValueError("no number of JSON")


def _too_much(most: str) -> ProblemError:
    return ProblemError(
        Kind.TOO_LARGE, f"the body has more than {most}", hint="send several requests"
    )
