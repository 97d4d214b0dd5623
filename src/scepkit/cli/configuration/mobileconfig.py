"""`scep mobileconfig`: an Apple configuration profile that gets a device a certificate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.configuration import writing
from scepkit.cli.help import Command, examples
from scepkit.cli.serve import DEFAULT_DIRECTORY, DirectoryOption
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.operations.configuration.enrolment import DeviceEnrolment
    from scepkit.server.endpoint_description import EndpointDescription

_PROFILE = "Profile"


class Scope(StrEnum):
    """The keychains of a Mac."""

    SYSTEM = "system"
    USER = "user"


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "mobileconfig",
        cls=Command,
        short_help="Write a profile for iPhones, iPads and Macs.",
        epilog=examples(
            "scep mobileconfig --subject CN=phone7,O=Example --out phone7.mobileconfig",
            "scep mobileconfig vpn --subject CN=mac3 --san dns:mac3.example.com --expires 7d",
        ),
    )(mobileconfig)


def mobileconfig(
    endpoint: writing.EndpointArgument = "default",
    *,
    subject: writing.SubjectOption,
    san: writing.NamesOption = None,
    bits: writing.BitsOption = None,
    url: writing.URLOption = "",
    challenge: writing.ChallengeOption = None,
    expires: writing.ExpiresOption = "1d",
    label: writing.LabelOption = None,
    data: writing.DataOption = None,
    reason: writing.WhyOption = "",
    identifier: Annotated[
        str,
        options.option(
            _PROFILE,
            "NAME",
            "Identifier: a device replaces its profile of the same one. "
            "Default: the host of the URL in reverse order, scep, the endpoint.",
            "--identifier",
        ),
    ] = "",
    display_name: Annotated[
        str, options.option(_PROFILE, "TEXT", "Name that the device shows.", "--display-name")
    ] = "",
    organization: Annotated[
        str, options.option(_PROFILE, "TEXT", "Who gives the profile out.", "--organization")
    ] = "",
    scope: Annotated[
        Scope,
        options.option(
            _PROFILE, "SCOPE", "Keychain of a Mac: system or user.", "--scope", show_default=True
        ),
    ] = Scope.SYSTEM,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            rich_help_panel=_PROFILE,
            help="How often the device asks while it waits for approval. Default: the device's, "
            "3; with approval 720.",
        ),
    ] = None,
    retry_delay: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="SECONDS",
            rich_help_panel=_PROFILE,
            help="Time between two of these. Default: the device's, 10; with approval 60.",
        ),
    ] = None,
    extractable: Annotated[
        bool,
        options.flag(_PROFILE, "Let the private key out of a Mac's keychain.", "--extractable"),
    ] = False,
    all_apps: Annotated[
        bool,
        options.flag(_PROFILE, "Let all programs of a Mac use the private key.", "--all-apps"),
    ] = False,
    permanent: Annotated[
        bool,
        options.flag(_PROFILE, "Keep users of supervised devices from removing it.", "--permanent"),
    ] = False,
    sign_with: Annotated[
        tuple[Path, Path] | None,
        options.option(
            options.OUTPUT,
            "CERT KEY",
            "Sign it with this certificate, PEM with those above it, and its key. Needs --out.",
            "--sign-with",
        ),
    ] = None,
    out: writing.OutOption = None,
    as_json: options.Json = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Write an Apple configuration profile: trust in the CA, and a certificate by SCEP.

    Whoever opens it on an iPhone, an iPad or a Mac gets the certificate; an MDM can send it, too.
    It holds a challenge that is good for its subject and names only, so each device has its own.

    Not tried on a device.
    """
    if sign_with is not None and out is None:
        raise UsageError("a signed profile is no text", hint="name a file with --out")
    from scepkit.operations.configuration import mobileconfig as apple

    profile = apple.AppleProfile(
        identifier=identifier,
        display_name=display_name,
        organization=organization,
        scope=scope.value.capitalize(),
        retries=retries,
        retry_seconds=retry_delay,
        is_extractable=extractable,
        allows_all_apps=all_apps,
        is_permanent=permanent,
    )

    def form(_: EndpointDescription, enrolment: DeviceEnrolment) -> bytes:
        content = apple.mobileconfig(enrolment, profile)
        return content if sign_with is None else _signed(content, *sign_with)

    written = writing.write(
        writing.Wanted(endpoint, subject, san, bits, url, challenge, expires, label, data, reason),
        directory,
        form,
    )
    enrolment = written.enrolment
    writing.deliver(
        written, out, identifier=identifier or apple.identifier(enrolment), as_json=as_json
    )
    if not enrolment.shows_root:
        terminal.warn(
            "GetCACert of the endpoint does not show the root, and the device may compare "
            "CAFingerprint with that",
            hint='set ca_certificates = "ra+chain" and include_root = true for the endpoint',
        )


def _signed(content: bytes, certificate: Path, key: Path) -> bytes:
    from scepkit.keys.pem import read_certificates, read_key
    from scepkit.operations.configuration.mobileconfig import signed

    return signed(content, read_certificates(certificate), read_key(key))
