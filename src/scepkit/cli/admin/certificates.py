"""`scep admin certificates import`: what a CA of this server issued before it came here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options, terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonOption,
    ReasonOption,
    records_opened,
    who,
)
from scepkit.cli.failure import FAILED
from scepkit.cli.help import Command, Group, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.operations.certificate_files import Fault
    from scepkit.operations.certificate_import import ForeignIssuer, Imported
    from scepkit.server.settings import Settings

_STDIN = Path("-")

_FilesArgument: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        help="PEM or DER, a directory, an index.txt of openssl, or - for stdin.",
        show_default=False,
    ),
]
_CRLOption: TypeAlias = Annotated[
    list[Path],
    options.option(
        None, "FILE", "A CRL of the CA, PEM or DER; may be given several times.", "--crl"
    ),
]
_CAOption: TypeAlias = Annotated[
    str | None,
    options.option(None, "NAME", "Only this CA's certificates.", "--ca"),
]
_GenerationOption: TypeAlias = Annotated[
    str | None,
    options.option(
        None, "NAME", "Only of this generation of it: current, next or old/N.", "--generation"
    ),
]
_EndpointOption: TypeAlias = Annotated[
    str | None,
    options.option(
        None,
        "NAME",
        "Endpoint that will renew them; needed where the CA has several.",
        "--endpoint",
    ),
]

group = typer.Typer(
    cls=Group,
    help="Certificates that were issued elsewhere.",
    epilog=examples("scep admin certificates import demoCA --crl crl.pem"),
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group.command(
        "import",
        cls=Command,
        short_help="Take over what a CA issued elsewhere.",
        epilog=examples(
            "scep admin certificates import demoCA --crl crl.pem",
            "scep admin certificates import index.txt",
            "scep admin certificates import issued.pem --ca default --reason 'moved from NDES'",
        ),
    )(import_)
    app.add_typer(group, name="certificates")


def import_(
    files: _FilesArgument,
    *,
    crl: _CRLOption = [],  # noqa: B006 - typer's way to say: none
    ca: _CAOption = None,
    generation: _GenerationOption = None,
    endpoint: _EndpointOption = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Take over certificates that a CA of this server issued before it came here.

    They renew here then, are listed, and have CRL and OCSP. Each is checked: a CA of this server
    has signed it, in any generation. What cannot be taken over is named, the rest is done, and the
    exit status is 1. What is here already stays as it is, but a revocation is taken over; so the
    same command again does what an interrupted one has left.

    Of a directory the files with names in .pem, .crt, .cer, .cert and .der are read, and index.txt.
    An index.txt tells what is revoked; the certificates are in newcerts or certs_by_serial beside
    it, or are named, too. A CRL of the old server tells the same. What is revoked, and of which
    there is no certificate, is kept by its serial number for CRL and OCSP.
    """
    with records_opened(directory) as (home, store):
        from scepkit.operations.certificate_import import CertificateImport
        from scepkit.server.directory.data_directory import utc_now

        given = [one for one in files if one != _STDIN]
        _check_readable([*given, *crl])
        issuers = [*_issuers(home.settings, ca, generation, endpoint)]
        with terminal.tally("certificates and revocations") as advance:
            done = CertificateImport(
                store,
                issuers,
                by=who(),
                note=reason,
                clock=utc_now,
                tell=_tell,
                advance=advance,
            ).run(given, crl, sys.stdin.buffer if _STDIN in files else None)
    _report(done, as_json=as_json)
    if done.skipped:
        raise typer.Exit(FAILED)


def _issuers(
    settings: Settings, ca: str | None, generation: str | None, endpoint: str | None
) -> Iterator[ForeignIssuer]:
    """Yield the generations of CAs that were asked for, each with the endpoint that renews.

    Raises:
        UsageError: there is no such CA, generation or endpoint, or it has to be said which.
    """
    from scepkit.ca.directory import paths
    from scepkit.operations import ca_listing
    from scepkit.operations.certificate_import import ForeignIssuer
    from scepkit.protocol.certificate import Certificate
    from scepkit.server.directory.data_directory import endpoint_settings

    if endpoint is not None:
        of_endpoint = endpoint_settings(settings, endpoint).ca
        if ca not in (None, of_endpoint):
            raise UsageError(
                f"the endpoint {endpoint!r} is not of the CA {ca!r}", hint=f"--ca {of_endpoint}"
            )
        ca = of_endpoint
    names = settings.authorities if ca is None else (ca,)
    if ca is not None:
        ca_listing.check_name(ca, settings.authorities)
    directories = {name: settings.authority_directory(name) for name in names}
    known: set[bytes] = set()
    for one in ca_listing.generations(directories):
        certificate = Certificate.of(one.certificate)
        # One key is one CA, whatever certificates it had.
        if generation in (None, one.state) and certificate.key_hash not in known:
            known.add(certificate.key_hash)
            yield ForeignIssuer(certificate, endpoint or _endpoint_of(settings, one.name))
    if not known:
        for directory in directories.values():
            paths.require(directory)
        raise UsageError(
            f"there is no generation {generation!r}", hint="scep admin ca list shows them"
        )


def _endpoint_of(settings: Settings, ca: str) -> str:
    names = [name for name, one in settings.endpoint.items() if one.ca == ca]
    if len(names) > 1:
        raise UsageError(
            f"the CA {ca!r} has several endpoints: {', '.join(names)}",
            hint="say with --endpoint which one is to renew the certificates",
        )
    return names[0]


def _check_readable(paths: Sequence[Path]) -> None:
    """Refuse a name that is wrong before anything is done."""
    for path in paths:
        if not path.is_dir():
            input_file.check(path)


def _tell(fault: Fault) -> None:
    terminal.warn(f"{fault.place}: {fault.why}")


def _report(done: Imported, *, as_json: bool) -> None:
    counts: Mapping[str, object] = asdict(done)
    if as_json:
        terminal.json_data(counts)
        return
    terminal.data_fields([(name, str(value)) for name, value in counts.items()])
    if done.skipped:
        terminal.say(f"{done.skipped} were skipped, and are named above")
