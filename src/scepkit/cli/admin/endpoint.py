"""`scep admin endpoint`: where devices enrol, what is asked of them, and what to type on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import table, terminal
from scepkit.cli.admin.server_directory import (
    DEFAULT_DIRECTORY,
    DirectoryOption,
    JsonLinesOption,
    JsonOption,
    records_opened,
)
from scepkit.cli.help import Command, Group, examples

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.server.endpoints.description import EndpointDescription

_COLUMNS = ("name", "ca", "challenge", "approval", "profile", "url")
_CHALLENGES = {
    "one-time": "one-time: scep admin challenge new{endpoint}",
    "static": "static: for all devices, in {file}",
    "webhook": "webhook: a service that is asked judges it",
    "intune": "intune: Microsoft Intune makes and judges it",
}
_APPROVAL = "by an operator: scep admin approve"

NameArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the endpoint.")
]

group = typer.Typer(
    cls=Group,
    help="Where devices enrol: URL, fingerprints, what to type.",
    epilog=examples("scep admin endpoint list", "scep admin endpoint show default"),
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group.command(
        "list",
        cls=Command,
        short_help="List the endpoints.",
        epilog=examples("scep admin endpoint list"),
    )(list_)
    group.command(
        "show",
        cls=Command,
        short_help="Show an endpoint, and what to type on devices.",
        epilog=examples(
            "scep admin endpoint show",
            "scep admin endpoint show vpn --json",
        ),
    )(show)
    app.add_typer(group, name="endpoint")


def list_(
    *, as_json: JsonLinesOption = False, directory: DirectoryOption = DEFAULT_DIRECTORY
) -> None:
    """List the endpoints: URL, CA, and what each asks of a device."""
    with records_opened(directory) as (home, _):
        settings = home.settings
    from scepkit.server.endpoints.description import description

    found = [description(settings, name) for name in settings.endpoint]
    rows = [
        {
            "name": one.name,
            "url": one.url,
            "ca": one.settings.ca,
            "challenge": ", ".join(one.settings.challenge_kinds) or "none",
            "approval": "manual" if one.settings.is_approved else "auto",
            "profile": one.settings.profile,
        }
        for one in found
    ]
    if as_json:
        terminal.json_lines(rows)
        return
    table.write(rows, _COLUMNS, below=("url", "profile"))


def show(
    name: NameArgument = "default",
    *,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Show an endpoint: URL, fingerprints, what it asks of a device, and what to type on devices.

    The URL is that of public_url in scep.toml, or else of the address that the server listens on.
    """
    with records_opened(directory) as (home, _):
        settings = home.settings
    from scepkit.cli.admin.device_commands import device_commands
    from scepkit.keys.pem import sha256_fingerprint
    from scepkit.server.endpoints.description import description

    found = description(settings, name)
    commands = (
        device_commands(found, sha256_fingerprint(found.ca.certificate), directory)
        if found.ca is not None and found.url
        else []
    )
    if as_json:
        typed = {one.program: list(one.lines) for one in commands}
        terminal.json_data(_facts(found) | {"commands": typed})
    else:
        terminal.data_fields(_fields(found))
        for one in commands:
            terminal.data(f"\n# {one.heading}")
            for line in one.lines:
                terminal.data(terminal.escape(line))
    _remark(found)


def _facts(one: EndpointDescription) -> dict[str, object]:
    from scepkit.server.settings.authorization import described

    own = one.settings
    return {
        "name": one.name,
        "url": one.url,
        "ca": own.ca,
        "certificates": [] if one.ca is None else [_certificate(c) for c in one.ca.chain],
        "ra": None if one.ra is None else _certificate(one.ra),
        "layout": one.layout,
        "challenge": ", ".join(own.challenge_kinds) or "none",
        "approval": "manual" if own.is_approved else "auto",
        "authorization": [described(rule) for rule in own.rules],
        "doors": one.doors,
        "profile": own.profile,
        "preset": own.preset,
        "legacy": sorted(own.legacy),
        "renewal": own.renews,
        "capabilities": list(one.capabilities),
    }


def _certificate(certificate: x509.Certificate) -> dict[str, str]:
    from scepkit.keys.pem import kind
    from scepkit.operations.ca_listing import fingerprints
    from scepkit.protocol.distinguished_name import Name

    return {
        "subject": str(Name.of(certificate.subject)),
        "key": kind(certificate.public_key()),
        **fingerprints(certificate),
    }


def _fields(one: EndpointDescription) -> list[tuple[str, str]]:
    own = one.settings
    rows = [("endpoint", one.name), ("URL", one.url or "unknown"), *_authorities(one)]
    rows += [
        *_challenges(one),
        *((f"door {kind}", ", ".join(paths)) for kind, paths in one.doors.items()),
        ("approval", _APPROVAL if own.is_approved else "none"),
        ("profile", own.profile),
        ("preset", own.preset),
        ("legacy", ", ".join(sorted(own.legacy)) or "none"),
        ("renewal", "by the certificate" if own.renews else "none"),
        ("GetCACaps", " ".join(one.capabilities)),
    ]
    return rows


def _challenges(one: EndpointDescription) -> list[tuple[str, str]]:
    """Return what entitles a device, rule by rule where the endpoint has such a list."""
    from scepkit.server.settings.authorization import challenge_rules, described

    own, here = one.settings, "" if one.name == "default" else f" --endpoint {one.name}"
    rows = [
        (
            "challenge",
            _CHALLENGES[rule.kind].format(file=", ".join(map(str, rule.files)), endpoint=here),
        )
        for rule in challenge_rules(own.rules)
    ] or [("challenge", "none")]
    return [*rows, *(("rule", described(rule)) for rule in own.authorization)]


def _authorities(one: EndpointDescription) -> list[tuple[str, str]]:
    if one.ca is None:
        return [("CA", f"{one.settings.ca}, which waits for its certificate")]
    own, *above = one.ca.chain
    rows = [("CA", one.settings.ca), *_shown("", own)]
    for certificate in above:
        is_root = certificate.subject == certificate.issuer
        rows += _shown("root" if is_root else "above", certificate)
    ra = "none: the CA opens requests itself"
    if one.ra is not None:
        facts = _certificate(one.ra)
        ra = f"{facts['subject']}, {facts['key']}"
    return [*rows, ("RA", ra), ("layout", one.layout or "of its own")]


def _shown(label: str, certificate: x509.Certificate) -> Sequence[tuple[str, str]]:
    facts = _certificate(certificate)
    return (
        (label or "subject", f"{facts['subject']}, {facts['key']}"),
        ("SHA-256", facts["sha256"]),
        ("SHA-1", facts["sha1"]),
        ("MD5", facts["md5"]),
    )


def _remark(one: EndpointDescription) -> None:
    """Say what keeps other machines from the URL."""
    if not one.url:
        terminal.warn(
            "the server takes any free port, so its URL is not known",
            hint="set public_url, or port, in scep.toml",
        )
    elif one.is_local:
        terminal.warn(
            "no other machine reaches this URL",
            hint="set public_url in scep.toml to the URL at which devices reach the server",
        )
