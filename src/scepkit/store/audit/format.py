"""The format of audit records, and their hash, which somebody else can work out again.

A record is a JSON object. Its hash is SHA-256 over the object without its member `hash`, written
as RFC 8785 has it (JCS): members sorted, no blanks, UTF-8, no escape that is not needed. A member
without a value is left out. `previous` is the hash of the record before it in the same chain, so
that nothing can be changed, taken out or put in between without changing all that follows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scepkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1  # of the records that are written; a later one would hash other members
_JSON = ("details", "heads")  # the members that are objects, kept as text
FIRST_PREVIOUS = bytes(32)  # what the first record of a chain follows

JCS = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
"""Writes objects as RFC 8785 has them."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A record of a chain, from the database or from an export; not checked yet.

    Attributes:
        members: the members that are hashed, by their names.
        hash: the hash that it says it has, in hex.
    """

    members: Mapping[str, Any]
    hash: str

    @property
    def node(self) -> str:
        """Return the name of its chain."""
        return str(self.members.get("node", ""))

    @property
    def number(self) -> int:
        """Return its number in the chain, from 1; 0 for what is none."""
        number = self.members.get("number")
        return number if isinstance(number, int) else 0

    @property
    def previous(self) -> str:
        """Return the hash of the record before it, in hex."""
        return str(self.members.get("previous", ""))

    @property
    def issuer(self) -> str:
        """Return the SHA-256 of the public key of the certificate's CA, in hex; "" for none."""
        details = self.members.get("details")
        return str(details.get("issuer_key", "")) if isinstance(details, dict) else ""

    @property
    def heads(self) -> dict[str, tuple[int, str]]:
        """Return the ends of other chains that it carries: number and hash, by node."""
        heads = self.members.get("heads")
        found = heads.items() if isinstance(heads, dict) else ()
        return {
            str(node): (head["number"], str(head.get("hash")))
            for node, head in found
            if isinstance(head, dict) and isinstance(head.get("number"), int)
        }

    def has_hash_of(self, **changes: Any) -> bool:
        """Say whether the hash is that of the record, with some members replaced."""
        try:
            return digest({**self.members, **changes}).hex() == self.hash
        except (TypeError, ValueError, RecursionError):  # what no JSON can have
            return False

    def line(self) -> str:
        """Return it as a line of an export."""
        return JCS.encode({**self.members, "hash": self.hash})

    @classmethod
    def of_line(cls, line: str) -> AuditRecord:
        """Read a line of an export.

        Raises:
            UsageError: it is none.
        """
        try:
            members = json.loads(line)
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict) or not {"node", "number", "hash"} <= members.keys():
            raise UsageError(
                "a line is no audit record", hint="name a file with an export of the record"
            )
        return cls(members, str(members.pop("hash")))

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> AuditRecord:
        """Make it of a row of the table `audit`."""
        claimed, previous = hex_text(row.get("hash", b"")), hex_text(row.get("previous"))
        others = {k: v for k, v in row.items() if v is not None and k != "hash"}
        # In a table of SQLite that somebody changed there may be what no JSON has.
        members = {k: v if isinstance(v, str | int) else repr(v) for k, v in others.items()}
        members |= {"format": FORMAT, "previous": previous}
        for name in _JSON:
            if name in members:
                members[name] = _parsed(members[name])
        return cls(members, claimed)


def digest(members: Mapping[str, Any]) -> bytes:
    """Return the hash of a record.

    Args:
        members: all but `hash`.

    Raises:
        TypeError, ValueError: there is something in it that JSON cannot have.
    """
    return hashlib.sha256(JCS.encode(members).encode()).digest()


def hex_text(value: Any) -> str:
    """Return a digest in hex; in a database that somebody changed it may be anything."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _parsed(text: Any) -> Any:
    """Return the JSON in a column, if it is written as records have it.

    Anything else stays text, and then no hash fits: a member that is there twice would be read here
    in another way than by people.
    """
    try:
        value = json.loads(text)
        return value if JCS.encode(value) == text else text
    except (TypeError, ValueError, RecursionError):
        return text
