"""The delivery of retrieved objects to a file or stdout, with a summary on stderr."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from scepkit.cli import terminal
from scepkit.keys.files import refusals, write_file
from scepkit.keys.pem import CERTIFICATE_MODE

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
        _write(out, pem.encode("ascii"))
    if as_json:
        terminal.json_data(details)
        return
    for line, rows in about:
        terminal.say(line)
        terminal.fields(rows)
    if out is None:
        terminal.data(pem)


def _write(out: Path, content: bytes) -> None:
    """Write a file, or into a device or a pipe, which must not be replaced by a file.

    Raises:
        SettingsError: the file system refuses.
    """
    with refusals(f"cannot write {out}"):
        if not out.exists() or out.is_file():
            write_file(out, content, mode=CERTIFICATE_MODE)
            return
        # A pipe that nobody reads would keep the command for ever.
        descriptor = os.open(out, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(content)
