"""`scep admin rollover`: one CA follows another, while the server runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, table, terminal
from scepkit.cli.admin.revocation.revoke import Yes
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    CAOption,
    DirectoryOption,
    JsonLinesOption,
    records_opened,
    who,
)
from scepkit.cli.describe import timestamp
from scepkit.cli.help import Command, Group, examples
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from scepkit.ca.directory.rollover import Generation, Generations

group = typer.Typer(
    name="rollover",
    cls=Group,
    help="Replace the CA: prepare, activate, cancel, status.",
    epilog=examples("scep admin rollover prepare", "scep admin rollover activate"),
    no_args_is_help=True,
)

_COLUMNS = ("state", "role", "subject", "not_before", "not_after", "sha256")
_ALWAYS = ("current", "next", "cancelled")  # states that an expired certificate keeps
_DATE = len("2026-11-28")
_LOOK = "look at the CAs with scep admin rollover status"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(group)


@group.command(
    cls=Command,
    epilog=examples(
        "scep admin rollover prepare",
        "scep admin rollover prepare --name 'Example CA 2' --layout ec",
    ),
)
def prepare(
    *,
    ca: CAOption = "default",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help='commonName of the next CA. Default: the current one with " G2" added.',
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="LAYOUT",
            help="Key layout of the next CA: default, ec or single. Default: the current layout.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Make the next CA. Devices can fetch it (GetNextCACert) and already enrol with it.

    A running server offers it within seconds. The current CA goes on as before.
    """
    place = _place(directory, ca)
    from scepkit.ca.directory import rollover
    from scepkit.operations.rollover import prepare as prepare_next
    from scepkit.server.directory.data_directory import utc_now

    with records_opened(directory) as (home, store):
        made = prepare_next(
            *(store, place),
            ca=ca,
            by=who(),
            now=utc_now(),
            layout=layout,
            common_name=name,
            new=home.settings.new_authority(ca),
            passphrase=home.passphrases.find(),
        )
    if made.next is not None:
        _say("the next CA", made.next.ca.certificate, as_json=as_json)
    if as_json:
        terminal.json_lines(_next(rollover.status(place)))
    terminal.say("devices can fetch it now (GetNextCACert); give them time before the next step:")
    terminal.say(f"scep admin rollover activate{_options(directory, ca)}")


@group.command(
    cls=Command,
    short_help="Make the next CA the current one.",
    epilog=examples("scep admin rollover activate", "scep admin rollover activate --yes"),
)
def activate(
    *,
    ca: CAOption = "default",
    renew_within: Annotated[
        str,
        typer.Option(
            "--renew-within",
            metavar="TIME",
            help="Time over which devices that ask for renewal information renew the old CA's "
            "certificates; never for none of that.",
        ),
    ] = "30d",
    yes: Yes = False,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Make the next CA the current one. The command shows the consequences and asks first.

    Certificates of the old CA stay valid, and can be renewed and revoked. A running server changes
    over within seconds. Devices that pin the CA's fingerprint need the new one.
    """
    within = None if renew_within == "never" else read_duration(renew_within)
    place = _place(directory, ca)
    from scepkit.ca.directory import rollover
    from scepkit.operations.rollover import activate as activate_next
    from scepkit.server.directory.data_directory import utc_now

    found = rollover.status(place)
    if found.next is not None:
        terminal.ask_before(
            "the next CA would be in force for every device",
            partial(explain_activation, found.current, found.next),
            "Make it the CA now?",
            look=_LOOK,
            yes=yes,
        )
    with records_opened(directory) as (home, store):
        passphrase = home.passphrases.find()
        material = activate_next(
            *(store, place),
            ca=ca,
            by=who(),
            now=utc_now(),
            renew_within=within,
            passphrase=passphrase,
        )
    _say("the CA is now", material.ca.certificate, as_json=as_json)
    if as_json:
        terminal.json_lines(_generation("current", rollover.status(place).current))


@group.command(
    cls=Command,
    epilog=examples("scep admin rollover cancel", "scep admin rollover cancel --yes"),
)
def cancel(
    *,
    ca: CAOption = "default",
    yes: Yes = False,
    as_json: JsonLinesOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Drop the next CA and its keys for good. The command asks first.

    Certificates that the next CA has already issued can no longer be revoked.
    """
    place = _place(directory, ca)
    from scepkit.ca.directory import rollover
    from scepkit.operations.rollover import cancel as drop_next
    from scepkit.protocol.distinguished_name import Name
    from scepkit.server.directory.data_directory import utc_now

    found = rollover.status(place)
    if found.next is not None:
        terminal.ask_before(
            "the next CA and its keys would be dropped for good",
            partial(explain_cancellation, found.next),
            "Drop it?",
            look=_LOOK,
            yes=yes,
        )
    with records_opened(directory) as (_, store):
        dropped = drop_next(store, place, ca=ca, by=who(), now=utc_now())
    terminal.say(f"dropped {Name.of(dropped.subject)}")
    if as_json:
        terminal.json_lines([_row("cancelled", "ca", dropped)])


@group.command(
    cls=Command,
    short_help="List the CA's generations.",
    epilog=examples("scep admin rollover status"),
)
def status(
    *,
    ca: CAOption = "default",
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    as_json: JsonLinesOption = False,
) -> None:
    """List the generations of the CA, each with its RA: current, next and earlier ones."""
    from scepkit.ca.directory import rollover

    found = rollover.status(_place(directory, ca))
    rows = [
        *_next(found),
        *_generation("current", found.current),
        *(row for one in found.old for row in _generation(f"old/{one.number}", one)),
        *(_row("retired", "ra", one) for one in found.retired),
    ]
    if as_json:
        terminal.json_lines(rows)
        return
    shown = [
        row
        | {name: row[name][:_DATE] for name in ("not_before", "not_after")}
        | {"role": row["role"].upper()}
        for row in rows
    ]
    table.write(shown, _COLUMNS, below=("sha256", "subject"))


def _next(found: Generations) -> list[dict[str, str]]:
    return [] if found.next is None else _generation("next", found.next)


def _generation(state: str, one: Generation) -> list[dict[str, str]]:
    ca = _row(state, "ca", one.ca)
    return [ca] if one.ra is None else [ca, _row(state, "ra", one.ra)]


def _row(state: str, role: str, certificate: x509.Certificate) -> dict[str, str]:
    from scepkit.keys.pem import sha256_fingerprint
    from scepkit.protocol.distinguished_name import Name
    from scepkit.server.directory.data_directory import utc_now

    is_over = certificate.not_valid_after_utc <= utc_now()
    return {
        "state": state if not is_over or state in _ALWAYS else "expired",
        "role": role,
        "subject": str(Name.of(certificate.subject)),
        "not_before": timestamp(certificate.not_valid_before_utc),
        "not_after": timestamp(certificate.not_valid_after_utc),
        "sha256": sha256_fingerprint(certificate).removeprefix("sha256:"),
    }


def _place(directory: Path, ca: str) -> Path:
    """Return the directory of a CA.

    Raises:
        UsageError: there is none of that name.
    """
    from scepkit.operations.ca_listing import check_name

    with records_opened(directory) as (home, _):
        check_name(ca, home.settings.authorities)
        return home.settings.authority_directory(ca)


def _options(directory: Path, ca: str) -> str:
    return f" --dir {directory}" + ("" if ca == "default" else f" --ca {ca}")


def _say(what: str, certificate: x509.Certificate, *, as_json: bool) -> None:
    from scepkit.keys.pem import sha256_fingerprint
    from scepkit.protocol.distinguished_name import Name

    terminal.say(f"{what}: {Name.of(certificate.subject)}")
    if not as_json:
        terminal.data(f"fingerprint  {sha256_fingerprint(certificate)}")


def explain_activation(current: Generation, following: Generation) -> None:
    """Report the change of CAs, and its consequences for devices, the RA and OCSP.

    Args:
        current: the CA in force.
        following: the one that would be.
    """
    from scepkit.keys.pem import sha256_fingerprint

    terminal.say("This puts the next CA into force, and cannot be taken back:")
    terminal.fields(
        [
            ("old CA", _certificate(current.ca)),
            ("next CA", _certificate(following.ca)),
            ("prepared", _prepared(following)),
            ("fingerprint", sha256_fingerprint(following.ca)),
            ("RA", _ra(current, following)),
        ]
    )
    for line in (
        "Devices that have fetched the next CA since then (GetNextCACert) renew by themselves.",
        "All other devices refuse the next CA until they are given its fingerprint or certificate.",
        "Until then they can neither renew nor enrol, though their certificates stay valid.",
        "The old CA's certificates can be renewed and revoked, and its CRL goes on being signed.",
        "GetCACert shows the next CA and its RA; requests to the old RA are still answered.",
        "OCSP answers for the certificates of each CA, with a responder of that CA.",
        "Programs that check certificates (web servers) need the next CA and its CRL beforehand.",
    ):
        terminal.say(line)


def explain_cancellation(following: Generation) -> None:
    """Report the CA that is dropped, and the consequences.

    Args:
        following: the next CA.
    """
    terminal.say("This drops the next CA with its keys, and cannot be taken back:")
    terminal.fields([("next CA", _certificate(following.ca)), ("prepared", _prepared(following))])
    terminal.say("Certificates that it has issued can no longer be revoked, and no CRL is signed.")


def _certificate(one: x509.Certificate) -> str:
    return f"{Name.of(one.subject)}, until {one.not_valid_after_utc:%Y-%m-%d}"


def _prepared(following: Generation) -> str:
    from scepkit.ca.profiles.profile import BACKDATE
    from scepkit.server.directory.data_directory import utc_now

    # The CA's validity begins that much before it was made.
    since = following.ca.not_valid_before_utc + BACKDATE
    return f"{since:%Y-%m-%d %H:%M} UTC, {options.show_duration(utc_now() - since)} ago"


def _ra(current: Generation, following: Generation) -> str:
    before, after = (
        str(Name.of(one.ra.subject)) if one.ra is not None else "the CA itself"
        for one in (current, following)
    )
    return f"{before}; then {after}"
