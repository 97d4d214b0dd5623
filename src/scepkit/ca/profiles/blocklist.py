"""A list of keys that get no certificate: stolen ones, printed ones, those of a recall."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import BinaryIO

from scepkit.errors import SettingsError

MOST = 2_000_000
"""Keys on all lists of a server: 32 MB in each of its processes."""

# Half a SHA-256: nobody finds a key with the half of another one's, and it is half the memory.
_KEPT = 16
_DIGEST = 32
_LONGEST = 4096  # octets of a line
_COMMENT = b"#"


@dataclass(frozen=True, slots=True)
class Blocklist:
    """Keys that get no certificate.

    Attributes:
        name: the path of its file.
        octets: the first half of the SHA-256 of each SubjectPublicKeyInfo, in their order.
    """

    name: str
    octets: bytes = field(repr=False)

    @classmethod
    def read(cls, name: str, lines: Iterable[bytes]) -> Blocklist:
        """Read a list: on each line a SHA-256 in hex, with or without colons; `#` begins a comment.

        Args:
            name: the path of its file.
            lines: its lines.

        Raises:
            SettingsError: a line is none, or there are too many; it names the line.
        """
        found = []
        for number, line in enumerate(lines, 1):
            text = line.partition(_COMMENT)[0].replace(b":", b"").strip()
            if not text:
                continue
            digest = _digest(text)
            if digest is None:
                raise SettingsError(
                    f"{name}, line {number}: no SHA-256 of a SubjectPublicKeyInfo",
                    hint="64 hex digits a line: openssl pkey -pubin -outform DER | sha256sum",
                )
            found.append(digest[:_KEPT])
            if len(found) > MOST:
                raise SettingsError(f"{name} has more than {MOST} keys", hint="shorten it")
        found.sort()
        return cls(name, b"".join(one for one, _ in groupby(found)))

    def __len__(self) -> int:
        return len(self.octets) // _KEPT

    def __contains__(self, digest: bytes) -> bool:
        wanted, octets = digest[:_KEPT], self.octets

        def at(place: int) -> bytes:
            return octets[place * _KEPT : (place + 1) * _KEPT]

        return at(bisect_left(range(len(self)), wanted, key=at)) == wanted


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file; one without an end is cut, so that it cannot fill the memory."""
    while line := file.readline(_LONGEST):
        yield line


def _digest(text: bytes) -> bytes | None:
    try:
        digest = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return None
    return digest if len(digest) == _DIGEST else None
