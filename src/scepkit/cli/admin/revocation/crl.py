"""`scep admin crl`: the list of the certificates that are revoked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import terminal
from scepkit.cli.admin import server_directory
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    CAOption,
    DirectoryOption,
    JsonLinesOption,
    authorities_of,
    records_opened,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.ca.authority import Authority
    from scepkit.server.directory.data_directory import Home
    from scepkit.store import CRLRow, Store

_CRL_MODE = 0o644


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "crl",
        cls=Command,
        short_help="Print the CA's current CRL.",
        epilog=examples("scep admin crl > crl.pem", "scep admin crl --out ca.crl --der"),
    )(crl)


def crl(
    *,
    ca: CAOption = "default",
    every: Annotated[
        bool,
        typer.Option("--all", help="The CRLs of the CA's earlier and next generations, too."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write it to this file instead of stdout.", show_default=False
        ),
    ] = None,
    der: Annotated[bool, typer.Option("--der", help="DER instead of PEM; needs --out.")] = False,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Print the CA's current CRL as PEM. If there is no valid one, sign a new one first."""
    from scepkit.keys.files import write_file

    if der and (out is None or every):
        raise UsageError("--der is for one CRL in a file", hint="give --out, and no --all")
    with records_opened(directory) as (home, store):
        generations = authorities_of(home, store, ca)
        wanted = generations if every else generations[:1]
        rows = [_current(home, store, authority) for authority in wanted]
        names = [_name(authority) for authority in wanted]
    content = rows[0].der if der else "".join(map(_pem, rows)).encode("ascii")
    if out is not None:
        write_file(out, content, mode=_CRL_MODE, hint=_hint())
    if as_json:
        lines = [_for_json(name, row, out) for name, row in zip(names, rows, strict=True)]
        terminal.json_lines(lines)
    elif out is None:
        terminal.data(content.decode("ascii"))
    for row in rows:
        terminal.say(f"CRL number {row.number}, good until {row.next_update:%Y-%m-%d %H:%M} UTC")


def _for_json(name: str, row: CRLRow, out: Path | None) -> dict[str, object]:
    return {
        "issuer": name,
        "number": row.number,
        "this_update": timestamp(row.this_update),
        "next_update": timestamp(row.next_update),
        "file": str(out) if out is not None else "",
        "pem": _pem(row) if out is None else "",
    }


def sign_outdated(
    home: Home, store: Store, issuers: Collection[bytes | None], *, as_json: bool
) -> None:
    """Sign the CRLs that do not know what was done just now, and say so.

    A CA whose keys cannot be used is no reason not to revoke.

    Args:
        home: the server's directory.
        store: where the certificates are.
        issuers: whose certificates were revoked or released.
        as_json: whether errors are told to programs.
    """
    from scepkit.operations import revocation
    from scepkit.server.directory.ca_loading import present
    from scepkit.server.directory.data_directory import utc_now

    found = revocation.sign_all_outdated(
        store,
        [partial(authorities_of, home, store, name) for name in present(home.settings)],
        issuers,
        now=utc_now(),
        lifetime=timedelta(hours=home.settings.crl_hours),
    )
    for authority, row in found.signed:
        terminal.say(f"signed CRL number {row.number} of {_name(authority)}")
    if found.has_unknown:
        terminal.warn(
            "the change is stored, but no CRL will list it",
            "its CA is not in this directory: scep admin ca list; it has ended, was cancelled, or "
            "its files were removed",
        )
    if found.errors:
        terminal.warn("the change is stored, but no new CRL could be signed")
        for one in found.errors:
            terminal.scep_error(one, as_json=as_json)


def _current(home: Home, store: Store, authority: Authority) -> CRLRow:
    from scepkit.operations import revocation
    from scepkit.server.directory.data_directory import utc_now

    lifetime = timedelta(hours=home.settings.crl_hours)
    return revocation.current_crl(store, authority, now=utc_now(), lifetime=lifetime)


def _name(authority: Authority) -> str:
    return str(authority.own.subject_name)


def _hint() -> str:
    user = server_directory.stands_in()
    return (
        f"{user} has to be able to write there; or as root: scep admin crl > FILE" if user else ""
    )


def _pem(row: CRLRow) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_der_x509_crl(row.der).public_bytes(Encoding.PEM).decode("ascii")
