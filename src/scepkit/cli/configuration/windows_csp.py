"""`scep windows-csp`: the SyncML by which an MDM gets a Windows computer a certificate."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options
from scepkit.cli.configuration import enrolment_options, writing
from scepkit.cli.help import Command, examples
from scepkit.cli.serve import DEFAULT_DIRECTORY, DirectoryOption
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from cryptography.x509 import ObjectIdentifier

    from scepkit.operations.configuration.enrolment import DeviceEnrolment
    from scepkit.server.endpoints.description import EndpointDescription

_NODES = "Nodes"
_HIDDEN_ROOT = "the root, which Windows compares with CAThumbprint"
_SHOWN_ROOT = 'set preset = "windows" for the endpoint, and put the root into chain.pem'
_MOST_DAYS = 3650
_MOST_RETRIES = 30


class Protection(StrEnum):
    """The places where Windows keeps a private key."""

    TPM = "tpm"
    TPM_OR_SOFTWARE = "tpm-or-software"
    SOFTWARE = "software"
    HELLO = "hello"


_Days: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=_MOST_DAYS,
        metavar="N",
        rich_help_panel=enrolment_options.REQUEST,
        help="Validity to ask for. Default: the profile's.",
    ),
]
_Identifier: TypeAlias = Annotated[
    str,
    options.option(
        _NODES,
        "NAME",
        "Name of the enrolment below ClientCertificateInstall/SCEP. "
        "Default: a UUID, the same for the same subject, names and URL.",
        "--identifier",
    ),
]
_User: TypeAlias = Annotated[
    bool, options.flag(_NODES, "For the user, and not for the computer.", "--user")
]
_KeyProtection: TypeAlias = Annotated[
    Protection,
    options.option(
        _NODES,
        "PLACE",
        "Place of the private key: tpm, tpm-or-software, software or hello.",
        "--key-protection",
        show_default=True,
    ),
]
_Container: TypeAlias = Annotated[
    str,
    options.option(
        _NODES, "NAME", "Windows Hello container, for --key-protection hello.", "--container"
    ),
]
_Template: TypeAlias = Annotated[
    str, options.option(_NODES, "OID", "Certificate template to name.", "--template")
]
_Retries: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=_MOST_RETRIES,
        metavar="N",
        rich_help_panel=_NODES,
        help="How often the computer asks while it waits for approval. Default: 3; with "
        "approval 30.",
    ),
]
_RetryDelay: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="MINUTES",
        rich_help_panel=_NODES,
        help="Time between two of these. Default: 5; with approval 60.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "windows-csp",
        cls=Command,
        short_help="Write the SyncML for Windows computers.",
        epilog=examples(
            "scep windows-csp --subject CN=laptop7,O=Example --out laptop7.xml",
            "scep windows-csp vpn --subject CN=laptop7 --san dns:laptop7.example.com --days 90",
        ),
    )(windows_csp)


def windows_csp(
    endpoint: enrolment_options.EndpointArgument = "default",
    *,
    subject: enrolment_options.SubjectOption,
    san: enrolment_options.NamesOption = None,
    eku: options.Eku = None,
    bits: enrolment_options.BitsOption = None,
    days: _Days = None,
    url: enrolment_options.URLOption = "",
    challenge: enrolment_options.ChallengeOption = None,
    expires: enrolment_options.ExpiresOption = "1d",
    label: enrolment_options.LabelOption = None,
    data: enrolment_options.DataOption = None,
    reason: enrolment_options.WhyOption = "",
    identifier: _Identifier = "",
    user: _User = False,
    key_protection: _KeyProtection = Protection.TPM_OR_SOFTWARE,
    container: _Container = "",
    template: _Template = "",
    retries: _Retries = None,
    retry_delay: _RetryDelay = None,
    out: enrolment_options.OutOption = None,
    as_json: options.Json = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Write the SyncML for Windows: trust in the CA, and a certificate by SCEP.

    An MDM sends it to the computer. It holds a challenge that is good for its subject and names
    only, so each computer has its own.

    Not tried on a computer.
    """
    from scepkit.operations.configuration import windows_csp as windows

    nodes = windows.WindowsNodes(
        identifier=identifier,
        is_user=user,
        protection=windows.KeyProtection(key_protection.value),
        container=container,
        retries=retries,
        retry_minutes=retry_delay,
        days=days,
        template=template,
    )

    def form(described: EndpointDescription, enrolment: DeviceEnrolment) -> bytes:
        asked = replace(nodes, purposes=_purposes(eku, described))
        return windows.windows_csp(enrolment, asked)

    written = writing.write(
        writing.Wanted(endpoint, subject, san, bits, url, challenge, expires, label, data, reason),
        directory,
        form,
    )
    known_by = identifier or windows.identifier(written.enrolment)
    writing.deliver(written, out, identifier=known_by, as_json=as_json)
    writing.warn_of_hidden_root(written, _HIDDEN_ROOT, _SHOWN_ROOT)


def _purposes(
    wanted: list[str] | None, described: EndpointDescription
) -> tuple[ObjectIdentifier, ...]:
    """Return the purposes to ask for: those of the profile, unless some are named.

    Raises:
        UsageError: there are none, and Windows has to name one.
    """
    from scepkit.protocol.extensions import read_purposes

    found = (
        options.read_purposes(wanted) if wanted else read_purposes(described.profile.default_eku)
    )
    if not found:
        raise UsageError(
            "Windows has to ask for a purpose, and the profile has none by default",
            hint="name one with --eku, such as client_auth",
        )
    return found
