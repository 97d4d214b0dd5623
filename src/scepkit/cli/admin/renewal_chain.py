"""A renewal chain as `scep admin show` draws it: the first certificate above, renewals below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepkit.cli.admin.listing import certificate_status
from scepkit.protocol import serial_number

if TYPE_CHECKING:
    from scepkit.operations.selection import Moment
    from scepkit.store import CertificateRow


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate of a chain.

    Attributes:
        row: the certificate.
        status: as `scep admin list` says it.
        is_current: whether it is valid, and nothing valid was renewed from it.
        depth: branches above it: 0 for the first certificate, one more for each certificate above
            that several were renewed from.
        is_branch: whether it is one of several that were renewed from the same certificate.
    """

    row: CertificateRow
    status: str
    is_current: bool
    depth: int = 0
    is_branch: bool = False


def links(chain: Sequence[CertificateRow], moment: Moment) -> list[Link]:
    """Put a chain in the order in which it is drawn: what was renewed from a certificate, below it.

    Args:
        chain: the oldest first, as the store reads it.
        moment: when it is.
    """
    from scepkit.operations import selection

    serials = {row.serial for row in chain}
    current = selection.current(chain, moment)
    below: dict[int | None, list[CertificateRow]] = {}
    for row in chain:
        below.setdefault(row.renews if row.renews in serials else None, []).append(row)

    def walk() -> Iterator[Link]:
        # With a list and not by recursion: a chain may be longer than Python's stack.
        left = [(row, 0, False) for row in reversed(below.get(None, []))]
        while left:
            row, depth, is_branch = left.pop()
            status = certificate_status(row, moment.now)
            yield Link(row, status, row.serial in current, depth, is_branch)
            renewals = below.get(row.serial, [])
            several = len(renewals) > 1
            left += [(one, depth + several, several) for one in reversed(renewals)]

    return list(walk())


def drawn(chain: Sequence[Link], asked: int) -> list[str]:
    """Return a line for each certificate: serial number, validity, state; branches are indented.

    Args:
        chain: in the order of `links`.
        asked: the serial number of the certificate that is marked.
    """
    numbers = [f"{_indent(one)}{serial_number.show(one.row.serial)}" for one in chain]
    width = max(map(len, numbers), default=0)
    return [
        f"{number:<{width}}  {_validity(one.row)}  {_state(one)}"
        + ("  <- this one" if one.row.serial == asked else "")
        for number, one in zip(numbers, chain, strict=True)
    ]


def as_json(one: Link) -> dict[str, object]:
    """Return one certificate of a chain for programs."""
    row = one.row
    return {
        "serial": serial_number.show(row.serial),
        "renews": serial_number.show(row.renews) if row.renews is not None else "",
        "subject": row.subject,
        "not_before": row.not_before.isoformat(timespec="seconds"),
        "not_after": row.not_after.isoformat(timespec="seconds"),
        "status": one.status,
        "current": one.is_current,
    }


def _indent(one: Link) -> str:
    if not one.depth:
        return ""
    return "  " * (one.depth - 1) + ("+ " if one.is_branch else "  ")


def _validity(row: CertificateRow) -> str:
    return f"{row.not_before:%Y-%m-%d} to {row.not_after:%Y-%m-%d}"


def _state(one: Link) -> str:
    return f"{one.status}, current" if one.is_current else one.status
