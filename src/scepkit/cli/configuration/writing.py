"""The file of `scep mobileconfig` or `scep windows-csp`: its challenge, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from scepkit.cli import terminal
from scepkit.cli.configuration.enrolment_options import ChallengeKind
from scepkit.errors import SettingsError, UsageError
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from scepkit.enrolment.challenges.orders import MintedChallenge
    from scepkit.operations.configuration.enrolment import DeviceEnrolment
    from scepkit.server.directory.data_directory import Home
    from scepkit.server.endpoints.description import EndpointDescription
    from scepkit.store import Store

_MODE = 0o600
# As long as one that is made, so that all is checked before one is.
_STAND_IN = "A" * 32


@dataclass(frozen=True, slots=True)
class Wanted:
    """An operator's wishes for a file.

    Attributes:
        endpoint: the name of the endpoint.
        subject: the subject, as typed.
        names: the subject alternative names, as typed.
        bits: the size of the key; None for one that suits the profile.
        url: of the endpoint; "" for that in the settings.
        challenge: the kind of challenge; None for what the endpoint asks for.
        expires: the lifetime of a one-time one, as typed.
        label: its label.
        data: its data, as typed.
        reason: why it is made, for the record.
    """

    endpoint: str
    subject: str
    names: list[str] | None = None
    bits: int | None = None
    url: str = ""
    challenge: ChallengeKind | None = None
    expires: str = ""
    label: str | None = None
    data: list[str] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A file's content, and its challenge.

    Attributes:
        content: all of it. Secret, where there is a challenge.
        enrolment: what the device is told.
        kind: of the challenge.
        minted: the one-time challenge that was made; None for none.
    """

    content: bytes = field(repr=False)
    enrolment: DeviceEnrolment
    kind: ChallengeKind
    minted: MintedChallenge | None = None


def write(
    wanted: Wanted,
    directory: Path,
    form: Callable[[EndpointDescription, DeviceEnrolment], bytes],
) -> Written:
    """Write a configuration; a challenge is made when all else is known to be right.

    Args:
        wanted: the operator's wishes.
        directory: the server's.
        form: writes the file for an enrolment, with a challenge or without.

    Raises:
        UsageError: something cannot be configured so.
        SettingsError: a file of the server cannot be used.
    """
    from scepkit.cli.admin.server_directory import records_opened

    lifetime = read_duration(wanted.expires)
    with records_opened(directory) as (home, store):
        from scepkit.operations.configuration.enrolment import read_names, read_subject
        from scepkit.server.endpoints.description import description, device_enrolment

        endpoint = description(home.settings, wanted.endpoint)
        kind = wanted.challenge or _usual_kind(endpoint.settings.challenge_kinds)
        plain = device_enrolment(
            endpoint,
            read_subject(wanted.subject),
            read_names(wanted.names or ()),
            url=_checked(wanted.url),
            bits=wanted.bits,
        )
        secret = _static(home, endpoint) if kind is ChallengeKind.STATIC else ""
        if kind is not ChallengeKind.ONE_TIME:
            enrolment = replace(plain, challenge=secret)
            return Written(form(endpoint, enrolment), enrolment, kind)
        form(endpoint, replace(plain, challenge=_STAND_IN))
        minted = _minted(home, store, wanted, lifetime)
        enrolment = replace(plain, challenge=minted.secret)
        return Written(form(endpoint, enrolment), enrolment, kind, minted)


def deliver(written: Written, out: Path | None, *, identifier: str, as_json: bool) -> None:
    """Hand a configuration over: to a file that nobody else can read, or on stdout.

    Args:
        written: the configuration.
        out: the file; None for stdout.
        identifier: by which a device knows it.
        as_json: for programs: what it is, and without a file its content.
    """
    from scepkit.keys.files import write_file

    with _kept_from_loss(written.minted):
        if out is not None:
            write_file(out, written.content, mode=_MODE)
        if as_json:
            terminal.json_data(_facts(written, out, identifier))
        elif out is None:
            terminal.data(written.content.decode("utf-8"))
    _tell(written, out)


def warn_of_hidden_root(written: Written, effect: str, hint: str) -> None:
    """Warn where GetCACert does not show the root.

    Args:
        written: the configuration.
        effect: what a device does about it, after "GetCACert of the endpoint does not show ".
        hint: what to set.
    """
    if not written.enrolment.shows_root:
        terminal.warn(f"GetCACert of the endpoint does not show {effect}", hint=hint)


def _checked(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url}: no http or https URL")
    return url


def _static(home: Home, endpoint: EndpointDescription) -> str:
    """Return the static challenge of an endpoint. Secret."""
    from scepkit.operations.configuration.enrolment import check_text
    from scepkit.server.directory.challenge_secrets import read_static

    file = _static_file(endpoint)
    if file is None:
        kinds = ", ".join(endpoint.settings.challenge_kinds) or "none"
        raise UsageError(
            f'the endpoint {endpoint.name!r} has no static challenge: challenge = "{kinds}"',
            hint="leave --challenge out, for what the endpoint asks for",
        )
    secret = read_static(home.settings.directory / file, home.read_challenge_key)
    try:
        check_text("the challenge", secret)
    except UsageError:
        # Not `from`: the exception holds a character of it.
        raise SettingsError(
            f"the challenge in {home.settings.directory / file} has characters that no "
            "configuration can hold",
            hint="make another one: scep admin challenge secret",
        ) from None
    return secret


def _static_file(endpoint: EndpointDescription) -> Path | None:
    """Return the file with the static challenge that is good now, and longest."""
    from scepkit.server.directory.data_directory import utc_now
    from scepkit.server.settings.authorization import StaticRule

    now = utc_now()
    good = [
        one
        for rule in endpoint.settings.rules
        if isinstance(rule, StaticRule)
        for one in rule.secrets
        if (one.start is None or one.start <= now) and (one.end is None or now < one.end)
    ]
    ends = [(one.end is None, one.end or now, one.file) for one in good]
    return max(ends)[-1] if ends else None


def _usual_kind(kinds: Sequence[str]) -> ChallengeKind:
    """Return the challenge that a file has where nobody chose: the safest of the endpoint's."""
    found = [kind for kind in ChallengeKind if kind in kinds]
    return found[0] if found else ChallengeKind.NONE


def _minted(home: Home, store: Store, wanted: Wanted, lifetime: timedelta) -> MintedChallenge:
    """Make a challenge that is good for the subject and the names of the file only."""
    from scepkit.cli.admin.server_directory import who
    from scepkit.enrolment.challenges.orders import ChallengeOrder
    from scepkit.operations.challenges import mint
    from scepkit.server.directory.data_directory import challenges_of, utc_now
    from scepkit.store import Door

    challenges = challenges_of(home, store, wanted.endpoint)
    order = ChallengeOrder.of(
        lifetime,
        subject=wanted.subject,
        sans=wanted.names or (),
        label=wanted.label,
        data=wanted.data or (),
    )
    (minted,) = mint(
        challenges,
        [order],
        door=Door.COMMAND_LINE,
        by=who(),
        now=utc_now(),
        reason=wanted.reason,
    )
    return minted


@contextmanager
def _kept_from_loss(minted: MintedChallenge | None) -> Iterator[None]:
    """Say which challenge is of no use, where a file could not be written.

    Raises:
        SettingsError: it could not.
    """
    try:
        yield
    except (OSError, SettingsError) as error:
        if minted is None:
            raise
        said = error.message if isinstance(error, SettingsError) else f"cannot write: {error}"
        raise SettingsError(
            said,
            hint=f"the challenge {minted.id} is stored; take it back with "
            f"scep admin challenge void {minted.id}, and try again",
        ) from error


def _facts(written: Written, out: Path | None, identifier: str) -> dict[str, object]:
    from scepkit.cli.describe import timestamp

    enrolment, minted = written.enrolment, written.minted
    content = {} if out is not None else {"content": written.content.decode("utf-8")}
    return {
        "endpoint": enrolment.endpoint,
        "url": enrolment.url,
        "subject": str(enrolment.subject),
        "sans": [*map(str, enrolment.names)],
        "identifier": identifier,
        "challenge": written.kind.value,
        "challenge_id": "" if minted is None else str(minted.id),
        "expires": "" if minted is None else timestamp(minted.expires_at),
        "file": "" if out is None else str(out),
        **content,
    }


def _tell(written: Written, out: Path | None) -> None:
    """Say what the file holds, and who must not see it."""
    if out is not None:
        terminal.say(f"wrote {out}")
    if written.minted is not None:
        terminal.say(
            f"it holds the challenge {written.minted.id}, until "
            f"{written.minted.expires_at:%Y-%m-%d %H:%M} UTC, for {written.enrolment.subject} only"
        )
    elif written.kind is ChallengeKind.STATIC:
        terminal.warn(
            "it holds the challenge of all devices of the endpoint",
            hint="whoever reads it can enrol as any of them",
        )
    if out is None and written.enrolment.challenge and terminal.shows_data():
        terminal.warn(
            "the challenge is on the terminal", hint="--out writes a file that nobody else can read"
        )
