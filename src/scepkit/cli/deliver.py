"""What was asked for goes to a file or to stdout, and what there is to say of it to stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from scepkit.ca.certificates import CERTIFICATE_MODE
from scepkit.ca.files import write_file
from scepkit.cli import terminal

# A line, and names and values that belong to it.
About: TypeAlias = tuple[str, Sequence[tuple[str, str]]]


def deliver(
    pem: str,
    out: Path | None,
    about: Sequence[About],
    details: Mapping[str, object],
    *,
    as_json: bool,
) -> None:
    """Deliver certificates, or a revocation list.

    Args:
        pem: what was asked for.
        out: the file to write it to; None for stdout.
        about: what to say of it.
        details: all of that for programs, with the PEM.
        as_json: print those, in place of the PEM and of what there is to say.

    Raises:
        SettingsError: the file system refuses.
    """
    if out is not None:
        write_file(out, pem.encode("ascii"), mode=CERTIFICATE_MODE)
    if as_json:
        terminal.json_data(details)
        return
    for line, rows in about:
        terminal.say(line)
        terminal.fields(rows)
    if out is None:
        terminal.data(pem)
