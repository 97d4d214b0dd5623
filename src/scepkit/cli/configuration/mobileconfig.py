"""`scep mobileconfig`: an Apple configuration profile that gets a device a certificate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options
from scepkit.cli.configuration import enrolment_options, writing
from scepkit.cli.help import Command, examples
from scepkit.cli.serve import DEFAULT_DIRECTORY, DirectoryOption
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from scepkit.operations.configuration.enrolment import DeviceEnrolment
    from scepkit.server.endpoints.description import EndpointDescription

_PROFILE = "Profile"
_HIDDEN_ROOT = "the root, and the device may compare CAFingerprint with that"
_SHOWN_ROOT = 'set ca_certificates = "ra+chain" and include_root = true for the endpoint'


class Scope(StrEnum):
    """The keychains of a Mac."""

    SYSTEM = "system"
    USER = "user"


_Identifier: TypeAlias = Annotated[
    str,
    options.option(
        _PROFILE,
        "NAME",
        "Identifier: a device replaces its profile of the same one. "
        "Default: the host of the URL in reverse order, scep, the endpoint.",
        "--identifier",
    ),
]
_DisplayName: TypeAlias = Annotated[
    str, options.option(_PROFILE, "TEXT", "Name that the device shows.", "--display-name")
]
_Organization: TypeAlias = Annotated[
    str, options.option(_PROFILE, "TEXT", "Who gives the profile out.", "--organization")
]
_Scope: TypeAlias = Annotated[
    Scope,
    options.option(
        _PROFILE, "SCOPE", "Keychain of a Mac: system or user.", "--scope", show_default=True
    ),
]
_Retries: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        rich_help_panel=_PROFILE,
        help="How often the device asks while it waits for approval. Default: the device's, "
        "3; with approval 720.",
    ),
]
_RetryDelay: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="SECONDS",
        rich_help_panel=_PROFILE,
        help="Time between two of these. Default: the device's, 10; with approval 60.",
    ),
]
_Extractable: TypeAlias = Annotated[
    bool,
    options.flag(_PROFILE, "Let the private key out of a Mac's keychain.", "--extractable"),
]
_AllApps: TypeAlias = Annotated[
    bool,
    options.flag(_PROFILE, "Let all programs of a Mac use the private key.", "--all-apps"),
]
_Permanent: TypeAlias = Annotated[
    bool,
    options.flag(_PROFILE, "Keep users of supervised devices from removing it.", "--permanent"),
]
_SignWith: TypeAlias = Annotated[
    tuple[Path, Path] | None,
    options.option(
        options.OUTPUT,
        "CERT KEY",
        "Sign it with this certificate, PEM with those above it, and its key. Needs --out.",
        "--sign-with",
    ),
]


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
    endpoint: enrolment_options.EndpointArgument = "default",
    *,
    subject: enrolment_options.SubjectOption,
    san: enrolment_options.NamesOption = None,
    bits: enrolment_options.BitsOption = None,
    url: enrolment_options.URLOption = "",
    challenge: enrolment_options.ChallengeOption = None,
    expires: enrolment_options.ExpiresOption = "1d",
    label: enrolment_options.LabelOption = None,
    data: enrolment_options.DataOption = None,
    reason: enrolment_options.WhyOption = "",
    identifier: _Identifier = "",
    display_name: _DisplayName = "",
    organization: _Organization = "",
    scope: _Scope = Scope.SYSTEM,
    retries: _Retries = None,
    retry_delay: _RetryDelay = None,
    extractable: _Extractable = False,
    all_apps: _AllApps = False,
    permanent: _Permanent = False,
    sign_with: _SignWith = None,
    out: enrolment_options.OutOption = None,
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
    known_by = identifier or apple.identifier(written.enrolment)
    writing.deliver(written, out, identifier=known_by, as_json=as_json)
    writing.warn_of_hidden_root(written, _HIDDEN_ROOT, _SHOWN_ROOT)


def _signed(content: bytes, certificate: Path, key: Path) -> bytes:
    from scepkit.keys.pem import read_certificates, read_key
    from scepkit.operations.configuration.mobileconfig import signed

    return signed(content, read_certificates(certificate), read_key(key))
