"""`scep admin ca list`, `show` and `export`: a server's CAs, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin.ca.operator import NameArgument
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    JsonOption,
    records_opened,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.operations.ca_listing import CAGeneration

_COLUMNS = ("name", "state", "subject", "key", "not_after")
_DATE = 10  # characters of a time
_MODE = 0o644


class Form(StrEnum):
    """The forms that certificates are written in."""

    PEM = "pem"
    DER = "der"
    PKCS7 = "pkcs7"


_GenerationOption: TypeAlias = Annotated[
    str,
    typer.Option("--generation", metavar="STATE", help="current, next, or old/N."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "list",
        cls=Command,
        short_help="List the CAs, with all their generations.",
        epilog=examples("scep admin ca list"),
    )(list_)
    app.command(
        "show",
        cls=Command,
        short_help="Show a CA: key, end, fingerprints, chain.",
        epilog=examples("scep admin ca show default", "scep admin ca show default --json"),
    )(show)
    app.command(
        "export",
        cls=Command,
        short_help="Write a CA's certificate: PEM, DER or PKCS#7.",
        epilog=examples(
            "scep admin ca export default > ca.pem",
            "scep admin ca export default --chain --form pkcs7 --out ca.p7b",
        ),
    )(export)


def list_(
    *, as_json: JsonLinesOption = False, directory: DirectoryOption = DEFAULT_DIRECTORY
) -> None:
    """List the CAs of the server: the current generation of each, the next, and earlier ones.

    A request that waits for its certificate is listed, too.
    """
    from scepkit.keys.pem import kind
    from scepkit.operations.ca_listing import fingerprints, generations, requests
    from scepkit.protocol.distinguished_name import Name

    directories = _directories(directory)
    rows = [
        {
            "name": one.name,
            "state": one.state,
            "subject": str(Name.of(one.certificate.subject)),
            "key": _key(one),
            "not_after": timestamp(one.certificate.not_valid_after_utc),
            "sha256": fingerprints(one.certificate)["sha256"],
        }
        for one in generations(directories)
    ]
    rows += [
        {
            "name": name,
            "state": "request",
            "subject": str(Name.of(csr.subject)),
            "key": kind(csr.public_key()),
            "not_after": "",
            "sha256": "",
        }
        for name, csr in requests(directories)
    ]
    if as_json:
        terminal.json_lines(rows)
        return
    shown = [row | {"not_after": row["not_after"][:_DATE]} for row in rows]
    table.write(shown, _COLUMNS, below=("subject",))


def show(
    name: NameArgument = "default",
    *,
    state: _GenerationOption = "current",
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Show a CA: its subject, where its key is, when it ends, and fingerprints as devices do.

    The fingerprints of the certificates above it follow, up to the root.
    """
    from scepkit.operations.ca_listing import generation

    found = generation(_directories(directory), name, state)
    certificates = [_described(one) for one in found.chain]
    place = {
        "key_file": str(found.key_file),
        "key_state": found.key_state.value,
        "key": _key(found),
    }
    if as_json:
        own, *above = certificates
        terminal.json_data(
            {"name": found.name, "state": found.state, **own, **place, "above": above}
        )
        return
    own, *above = certificates
    terminal.data_fields(
        [
            ("CA", f"{found.name}, {found.state}"),
            ("subject", own["subject"]),
            *_lines(own),
            ("key", f"{_key(found)}, {found.key_state}, in {found.key_file}"),
        ]
    )
    for one in above:
        is_root = one["issuer"] == one["subject"]
        terminal.data("")
        label = "root" if is_root else "above"
        terminal.data_fields([(label, one["subject"]), *_lines(one)])


def export(
    name: NameArgument = "default",
    *,
    state: _GenerationOption = "current",
    chain: Annotated[bool, typer.Option("--chain", help="The certificates above it, too.")] = False,
    form: Annotated[
        Form, typer.Option("--form", metavar="FORM", help="pem, der or pkcs7.")
    ] = Form.PEM,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write to this file.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Write the certificate of a CA to stdout as PEM, or to a file in another form."""
    from scepkit.keys.files import write_file
    from scepkit.operations.ca_listing import generation

    if form is not Form.PEM and out is None and not as_json:
        raise UsageError(f"{form} is for a file", hint="name it with --out")
    if form is Form.DER and chain:
        raise UsageError("DER holds one certificate", hint="--form pkcs7 holds a chain")
    found = generation(_directories(directory), name, state)
    chosen = found.chain if chain else found.chain[:1]
    content = _encoded(chosen, form)
    if as_json:
        terminal.json_data(
            {
                "name": found.name,
                "state": found.state,
                "certificates": [_encoded([one], Form.PEM).decode("ascii") for one in chosen],
                "file": out and str(out),
            }
        )
    elif out is None:
        terminal.data(content.decode("ascii").rstrip("\n"))
    if out is not None:
        write_file(out, content, mode=_MODE)
        terminal.say(f"wrote {out}")


def _encoded(certificates: Sequence[x509.Certificate], form: Form) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    match form:
        case Form.DER:
            return certificates[0].public_bytes(Encoding.DER)
        case Form.PKCS7:
            return pkcs7.serialize_certificates([*certificates], Encoding.DER)
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def _directories(directory: Path) -> Mapping[str, Path]:
    with records_opened(directory) as (home, _):
        return {name: home.settings.authority_directory(name) for name in home.settings.authorities}


def _key(one: CAGeneration) -> str:
    from scepkit.keys.pem import kind

    return kind(one.certificate.public_key())


def _described(certificate: x509.Certificate) -> dict[str, str]:
    from scepkit.operations.ca_listing import fingerprints
    from scepkit.protocol.certificate import show_serial
    from scepkit.protocol.distinguished_name import Name

    return {
        "subject": str(Name.of(certificate.subject)),
        "issuer": str(Name.of(certificate.issuer)),
        "serial": show_serial(certificate.serial_number),
        "not_before": timestamp(certificate.not_valid_before_utc),
        "not_after": timestamp(certificate.not_valid_after_utc),
        **fingerprints(certificate),
    }


def _lines(one: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        ("issuer", one["issuer"]),
        ("serial", one["serial"]),
        ("valid", f"{one['not_before'][:_DATE]} to {one['not_after'][:_DATE]}"),
        ("SHA-256", one["sha256"]),
        ("SHA-1", one["sha1"]),
        ("MD5", one["md5"]),
    ]
