"""The event SCEPChallenge as Jamf Pro and Fleet post it, in JSON or XML.

Which members a device has is not written down anywhere that we know. So all of them are read: those
of `targetDevice` (Jamf) and `device` (Fleet), and what is deeper in there, by names such as
`serial_number`. A name that is there twice with different values says nothing, and is left out.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from typing import Any
from xml.parsers import expat

from scepkit.enrolment.challenges.orders import DATA_NAME
from scepkit.errors import HTTPRefused

EVENT = "SCEPChallenge"
MAX_BODY = 64 * 1024
"""The octets that an event may have."""

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# What may stand before the first octet that tells XML from JSON.
_BEFORE = b"".join(_MARKS) + b" \t\r\n\0"

_DEVICES = ("targetDevice", "device")
# Tables in tables; an event has four.
_DEEPEST = 20
_MOST_CHARACTERS = 1000
# 13 digits are milliseconds (Jamf), 10 are seconds (Fleet).
_MILLISECONDS = 100_000_000_000
_NUMBER = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,9})?")
_LATEST = 253_402_300_799  # seconds: the year 9999
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[A-Z]")


@dataclass(frozen=True, slots=True)
class ChallengeEvent:
    """A wish for a challenge.

    Attributes:
        at: when it was sent; None where that is not said.
        device: what is said of the device that the challenge is for, by name; without device empty.
    """

    at: datetime | None
    device: Mapping[str, str]


def read(body: bytes, content_type: str) -> ChallengeEvent:
    """Read an event.

    Args:
        body: of the POST.
        content_type: its media type with parameters; where there is none the body tells.

    Raises:
        HTTPRefused: it is none; HTTP 400, or 415 for a media type that is neither.
    """
    said = Message()
    said["Content-Type"] = content_type
    kind = content_type.partition(";")[0].strip().lower()
    if not kind:
        kind = "text/xml" if body.lstrip(_BEFORE).startswith(b"<") else "application/json"
    if kind.endswith(("/json", "+json")):
        tables = _of_json(body)
    elif kind.endswith(("/xml", "+xml")):
        tables = _of_xml(body, said.get_content_charset())
    else:
        raise HTTPRefused(415, "send application/json or text/xml")
    webhook, event = _table(tables, "webhook"), _table(tables, "event")
    name = webhook.get("webhookEvent")
    if name != EVENT:
        raise HTTPRefused(400, f"this webhook is for the event {EVENT} alone")
    return ChallengeEvent(_time_of(webhook.get("eventTimestamp")), _device(event))


def _of_json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_gathered)
    except (ValueError, RecursionError):
        raise HTTPRefused(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise HTTPRefused(400, "the body is not a JSON object")
    return found


def _gathered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object in which a name that is there twice has a list of its values."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], _Several):
            found[name].append(value)
        else:
            found[name] = _Several([found[name], value])
    return found


class _Several(list[Any]):
    """The values of a name that is there several times."""


class _Elements:
    """Puts the elements of an XML document into tables, as JSON has them; without attributes."""

    def __init__(self) -> None:
        self._open: list[tuple[str, list[tuple[str, Any]], list[str]]] = [("", [], [])]

    def start(self, name: str, _attributes: Mapping[str, str]) -> None:
        """Begin an element."""
        if len(self._open) > _DEEPEST:
            raise HTTPRefused(400, "the elements lie too deep in each other")
        self._open.append((name.rpartition(":")[2], [], []))

    def text(self, text: str) -> None:
        """Take some of its text."""
        self._open[-1][2].append(text)

    def end(self, _name: str) -> None:
        """End it: it has elements, or else a text."""
        name, inside, texts = self._open.pop()
        self._open[-1][1].append((name, _gathered(inside) if inside else "".join(texts).strip()))

    def found(self) -> Mapping[str, Any]:
        """Return what is in the outermost element."""
        ((_, found),) = self._open[0][1]
        return found if isinstance(found, dict) else {}


def _refuse_doctype(*_declared: object) -> None:
    """Refuse declarations: they are what makes a small document large (a billion laughs)."""
    raise HTTPRefused(400, "the XML has a document type declaration, which is not taken")


def _of_xml(body: bytes, charset: str | None) -> Mapping[str, Any]:
    """Read XML: a byte order mark says more than the charset, and that more than the XML itself.

    So has it RFC 7303 section 3.
    """
    try:
        parser = expat.ParserCreate(None if body.startswith(_MARKS) else charset)
    except ValueError:
        raise HTTPRefused(400, "the charset of the media type is none") from None
    elements = _Elements()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    parser.StartElementHandler = elements.start
    parser.CharacterDataHandler = elements.text
    parser.EndElementHandler = elements.end
    parser.buffer_text = True
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise HTTPRefused(400, "the body is not XML") from None
    return elements.found()


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tables.get(name)
    if not isinstance(found, dict):
        raise HTTPRefused(400, f"the body has no {name}, or several")
    return found


def _time_of(value: Any) -> datetime | None:
    """Return the time of an event; None where it does not say one.

    Args:
        value: seconds or milliseconds, as a number or as text; or RFC 3339.

    Raises:
        HTTPRefused: it says one that cannot be read, and so may be one of another time; HTTP 400.
    """
    # XML's empty element is as JSON's null.
    if value is None or value == "":
        return None
    found = _of_number(value) if not isinstance(value, str) else _of_text(value.strip())
    if found is None:
        raise HTTPRefused(
            400,
            "eventTimestamp cannot be read: it has to be a number of seconds or milliseconds, or a "
            "time with its zone as RFC 3339 has it",
        )
    return found


def _of_number(value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A number that is none, NaN, is in no order.
    if not 0 <= value <= _LATEST * 1000:
        return None
    return datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS else value, UTC)


def _of_text(text: str) -> datetime | None:
    if _NUMBER.fullmatch(text):
        return _of_number(float(text))
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return None if found.tzinfo is None else found


def _device(event: Mapping[str, Any]) -> dict[str, str]:
    """Return what is said of the device, by names such as `serial_number`."""
    said: dict[str, set[str]] = {}
    for key in _DEVICES:
        for name, text in _texts(event.get(key), _DEEPEST):
            said.setdefault(name, set()).add(text)
    return {name: texts.pop() for name, texts in said.items() if len(texts) == 1}


def _texts(value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of a table, and of those in it."""
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict) or not depth:
            continue
        for key, held in one.items():
            name = "_".join(_WORD.findall(key)).lower() if _KEY.fullmatch(key) else ""
            for each in held if isinstance(held, list) else [held]:
                if isinstance(each, dict):
                    yield from _texts(each, depth - 1)
                elif DATA_NAME.fullmatch(name) and (text := _text(each)):
                    yield name, text


def _text(value: Any) -> str:
    """Return a value as data of a challenge can have it; "" where it cannot."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value).strip()
    return text if text.isprintable() and len(text) <= _MOST_CHARACTERS else ""
