"""One exchange with a service of Microsoft's: bounded in time and octets, no redirects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scepkit.ca.profiles.extras import needed
from scepkit.errors import ThirdPartyFailed
from scepkit.server.webhooks.circuit import RequestNotTaken
from scepkit.server.webhooks.posting import asked, fault_of

if TYPE_CHECKING:
    from scepkit.server.intune.registration import Registration

MAX_ANSWER = 1 << 20
"""The octets that an answer may have: 500 revocation requests are a tenth of that."""

_CHUNK = 16 * 1024
_SHOWN = 200  # characters of what a service says, for the log
_SUCCESS = range(200, 300)


class Unreachable(ThirdPartyFailed):
    """A service gave no answer: no connection, none in time, or one that broke off."""


class Rejected(ThirdPartyFailed):
    """A service answered, and its answer is no word.

    Attributes:
        status: the HTTP status.
        body: the octets of the answer.
    """

    def __init__(self, message: str, status: int, body: bytes = b"", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.body = body


class NotTaken(Rejected, RequestNotTaken):
    """A service answered that it makes nothing of this request, which may be a stranger's."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a service.

    Attributes:
        host: who gave it.
        status: the HTTP status.
        body: its octets.
    """

    host: str
    status: int
    body: bytes

    def members(self) -> dict[str, Any]:
        """Return the JSON object that it is.

        Raises:
            Rejected: it has another status than success, or is no JSON object.
        """
        if self.status not in _SUCCESS:
            raise Rejected(f"{self.host} answers HTTP {self.status}", self.status, self.body)
        found = self.json()
        if found is None:
            said = f"the answer of {self.host} is no JSON object"
            raise Rejected(said, self.status, self.body)
        return found

    def json(self) -> dict[str, Any] | None:
        """Return the JSON object that it is, whatever its status; None where it is none."""
        try:
            found = json.loads(self.body.decode("utf-8-sig"), object_pairs_hook=_once_each)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def _once_each(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a member that is there twice: readers differ about which counts."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError("a member is there twice")
        found[name] = value
    return found


def line(value: object, most: int = _SHOWN) -> str:
    """Return what a service says as one line for the log, cut; "" where it is no text."""
    if not isinstance(value, str):
        return ""
    text = " ".join(value[: 4 * most].split())
    return "".join(one if one.isprintable() else "?" for one in text[:most])


async def exchange(
    registration: Registration,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | Mapping[str, str] | None = None,
) -> Reply:
    """Send a request and return the answer, each time on a connection of its own.

    Args:
        registration: how, and for how long.
        method: GET or POST.
        url: the URL.
        headers: more headers.
        body: JSON, or the fields of a form; None for none.

    Raises:
        Unreachable: there is no answer.
        Rejected: it is too long.
        SettingsError: the package for HTTP is not installed.
    """
    aiohttp = needed("aiohttp", "a rule of kind intune")
    host = urlsplit(url).netloc
    try:
        async with asyncio.timeout(registration.seconds):
            return await _exchange(aiohttp, registration, method, url, headers, body)
    except TimeoutError as error:
        said = f"no answer from {host} in {registration.seconds:g} s"
        raise Unreachable(said) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(fault_of(error, host)) from error


async def _exchange(
    aiohttp: Any,
    registration: Registration,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | Mapping[str, str] | None,
) -> Reply:
    context, proxy = registration.context, registration.proxy
    async with asked(aiohttp, method, url, body, headers, context, proxy) as answer:
        host, octets = urlsplit(url).netloc, bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK):
            octets += chunk
            if len(octets) > MAX_ANSWER:
                raise Rejected(f"{host} answers more than {MAX_ANSWER} octets", answer.status)
        return Reply(host, answer.status, bytes(octets))
