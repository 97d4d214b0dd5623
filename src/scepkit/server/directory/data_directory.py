"""The server's data directory: made by the first start, opened by every later one.

scep.toml 0644 · challenge.key 0600 · scep.db · .database: that there is one, wherever it is · the
files of the CA `default` (see scepkit.ca.directory.paths) · ca-NAME/ with those of another CA
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from scepkit.ca.directory import layouts, paths
from scepkit.ca.directory.material import Material
from scepkit.enrolment.challenges.one_time import OneTimeChallenges
from scepkit.errors import SettingsError, UsageError
from scepkit.keys.passphrase import Passphrase
from scepkit.server import settings as server_settings
from scepkit.server.directory import (
    ca_loading,
    endpoint_files,
    first_start,
    key_protection,
    new_cas,
    notification_files,
    permissions,
)
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.directory.challenge_secrets import is_key_encrypted, read_or_make_key
from scepkit.server.directory.database import HAS_DATABASE
from scepkit.server.directory.endpoint_files import EndpointFiles
from scepkit.server.directory.passphrases import PassphraseSource
from scepkit.server.processes.child_process import in_child
from scepkit.server.settings import DEFAULT, FIXED, Settings
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.store import Store

utc_now = partial(datetime.now, UTC)
"""Returns the time, aware: the clock of the server and of the commands beside it."""


@dataclass(frozen=True, slots=True)
class Home:
    """A data directory that is ready to serve.

    Attributes:
        settings: as they apply.
        passphrases: finds what the keys are encrypted under.
        authorities: the CAs by name, but for those that wait for their certificates; empty before
            `with_keys`. Secret.
        unread: why CAs that no endpoint has any more are not served, by name.
        made: the names of the CAs that this start made.
        is_first: whether nothing had been served from the directory before this start.
        files: the contents of the files that endpoints name; None where they are not read yet.
        secrets: what is shared with who is told of events, by the names of the files in the
            settings; None where they are not read yet. Secret.
        options: the settings that were given as options, which win over scep.toml.
        known_key: the key of the challenges; None where it was not read yet. Secret.
    """

    settings: Settings
    passphrases: PassphraseSource
    authorities: Mapping[str, LoadedCA] = field(default_factory=dict, repr=False)
    unread: Mapping[str, str] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    is_first: bool = False
    files: Mapping[str, EndpointFiles] | None = field(default=None, repr=False)
    secrets: Mapping[Path, str] | None = field(default=None, repr=False)
    options: Mapping[str, object] = field(default_factory=dict)
    known_key: bytes | None = field(default=None, repr=False)

    def with_cas(self, now: datetime) -> Home:
        """Return it with its CAs as their files are now.

        Args:
            now: the time, aware.

        Raises:
            SettingsError: one cannot be used.
        """
        unread: dict[str, str] = {}
        found = ca_loading.load_all(
            self.settings, now=now, passphrase=self.passphrases.find(), unread=unread
        )
        return replace(self, authorities=found, unread=unread)

    @property
    def challenge_key(self) -> bytes:
        """Return the 32 octets that key the digests of challenges. Secret."""
        if self.known_key is not None:
            return self.known_key
        return _challenge_key(self.settings.directory, self.passphrases)

    def read_challenge_key(self) -> bytes:
        """Return `challenge_key`, for whoever may need it later."""
        return self.challenge_key

    @property
    def material(self) -> Material:
        """Return the CA `default`, which is always there."""
        return self.authorities[DEFAULT].material

    def authority_of(self, endpoint: str) -> LoadedCA:
        """Return the CA of an endpoint.

        Raises:
            SettingsError: it is yet to come.
        """
        name = self.settings.endpoint[endpoint].ca
        if name not in self.authorities:
            paths.require(self.settings.authority_directory(name))
        return self.authorities[name]


def prepare(
    directory: Path,
    *,
    now: datetime,
    layout: str | None = None,
    ask: Callable[[], str] | None = None,
    try_out: Callable[[Settings], None] = lambda _: None,
    **options: object,
) -> Home:
    """Make the data directory if it is not there, and the CAs that are new in it, and read it.

    Arguments as for `begin` and `with_new_cas`, and errors, too.
    """
    home = begin(directory, layout=layout, ask=ask, try_out=try_out, **options)
    return with_new_cas(home, now=now, layout=layout)


def begin(
    directory: Path,
    *,
    layout: str | None = None,
    ask: Callable[[], str] | None = None,
    try_out: Callable[[Settings], None] = lambda _: None,
    **options: object,
) -> Home:
    """Make the data directory if it is not there, and read its settings; but no key.

    Args:
        directory: where.
        layout: the key layout for the default CA, if it is new.
        ask: asks a person for the passphrase of the keys, where it is needed and nothing names it.
        try_out: raises what is wrong with the settings of a first start, before any is kept.
        options: settings that win over the file; host, port, workers, public_url and the CA's
            name are written to the file at the first start, unless there is one.

    Raises:
        SettingsError: the directory, a file in it or a setting cannot be used.
        UsageError: an unknown layout, or one that does not go with the key of its CA.
    """
    if layout is not None:
        # Before anything is written: the next start would find the other options of this one.
        layouts.kinds(layout)
    is_first = first_start.make(directory)
    # The settings are checked before a CA is made that would outlive a typing error.
    settings = server_settings.load(directory, **options)
    permissions.check_settings(settings)
    new_cas.check(settings, layout)
    if is_first:
        try_out(settings)
        first_start.write_settings(directory, settings)
    passphrases = passphrases_of(settings, ask)
    passphrases.find()
    return Home(settings, passphrases, is_first=is_first, options=options)


def with_new_cas(home: Home, *, now: datetime, layout: str | None = None) -> Home:
    """Make the CAs that are new, and of the others what has expired; return them, with all keys.

    Args:
        home: the data directory.
        now: the time, aware.
        layout: the key layout for the default CA, if it is new.

    Raises:
        SettingsError: a CA cannot be made or read, or is another one than the settings say.
    """
    settings, passphrase = home.settings, home.passphrases.find()
    key_protection.finish(settings)
    made = new_cas.make(settings, layout, now, passphrase, is_first=home.is_first)
    return with_keys(replace(home, made=made), now=now)


def with_keys(home: Home, *, now: datetime) -> Home:
    """Read the keys: those of the CAs and that of the challenges, which is made at the first start.

    Args:
        home: the data directory.
        now: the time, aware.

    Raises:
        SettingsError: one of them cannot be used.
    """
    return replace(home, known_key=home.challenge_key).with_cas(now)


def passphrases_of(
    settings: Settings, ask: Callable[[], str] | None = None, known: Passphrase | None = None
) -> PassphraseSource:
    """Return what finds the passphrase of a server's keys.

    Args:
        settings: the server's.
        ask: asks a person, where there is one.
        known: what has been found before; a file that the settings name is read all the same.
    """
    named = settings.key_passphrase_file
    file = None if named is None else settings.directory / named
    return PassphraseSource(
        file,
        ask=ask,
        is_needed=partial(in_child, partial(is_protected, settings)),
        known=known if file is None else None,
    )


def is_protected(settings: Settings) -> bool:
    """Say whether a key of a server is encrypted: a CA's, or that of its challenges.

    Raises:
        SettingsError: one cannot be read.
    """
    key_protection.finish(settings)
    places = map(settings.authority_directory, settings.authorities)
    return is_key_encrypted(settings.directory) or any(map(paths.is_protected, places))


def _challenge_key(directory: Path, passphrases: PassphraseSource) -> bytes:
    return read_or_make_key(directory, directory / HAS_DATABASE, passphrases.find)


def read_again(home: Home) -> tuple[Home, tuple[str, ...]]:
    """Read the settings of a running server again, with all that they name; but no key of a CA.

    Args:
        home: the data directory as it is served.

    Returns:
        The data directory as it is to be served, and the settings that differ in scep.toml but
        stay until the server is started again.

    Raises:
        SettingsError: something in the directory cannot be used.
    """
    current = home.settings
    permissions.check_directory(current.directory)
    path = current.directory / server_settings.FILE
    if not path.exists():
        # At a start that is none; of a running server all endpoints would be gone.
        raise SettingsError(f"{path} is missing", hint="put it back, or start the server again")
    found = server_settings.load(current.directory, **home.options)
    kept = {name: getattr(current, name) for name in FIXED}
    settings = found.model_copy(update=kept)
    permissions.check_settings(settings)
    files = endpoint_files.read_all(settings, home.read_challenge_key)
    secrets = notification_files.read_all(settings)
    passphrases = passphrases_of(settings, known=home.passphrases.find())
    passphrases.find()
    again = replace(
        home,
        settings=settings,
        passphrases=passphrases,
        files=files,
        secrets=secrets,
        authorities={},
        made=(),
        is_first=False,
    )
    return again, tuple(name for name in FIXED if getattr(found, name) != kept[name])


def open_existing(
    directory: Path,
    *,
    now: datetime,
    settings: Settings | None = None,
    passphrases: PassphraseSource | None = None,
    ask: Callable[[], str] | None = None,
) -> Home:
    """Read a data directory that has been served before, for `scep admin` and worker processes.

    Args:
        directory: where.
        now: the time, aware.
        settings: as they apply; read from the directory when None.
        passphrases: as for `open_records`.
        ask: as for `open_records`.

    Raises:
        SettingsError: there is none, something in it cannot be used, or others may write to it.
    """
    home = open_records(directory, settings=settings, passphrases=passphrases, ask=ask)
    return with_keys(home, now=now)


def open_records(
    directory: Path,
    *,
    settings: Settings | None = None,
    passphrases: PassphraseSource | None = None,
    ask: Callable[[], str] | None = None,
) -> Home:
    """Read a data directory without its keys: for lists, also when the CAs have expired.

    Args:
        directory: where.
        settings: as they apply; read from the directory when None.
        passphrases: finds what the keys are encrypted under; made from the settings when None.
        ask: asks a person for the passphrase, where it is needed and nothing names it.

    Raises:
        SettingsError: there is none, or something in it cannot be used.
    """
    if not paths.exists(directory) or first_start.is_of_device(directory):
        first_start.check_path(directory)
        if paths.has_request(directory):
            paths.require(directory)
        raise SettingsError(
            f"{directory} holds no SCEP server",
            hint=f"name its directory with --dir, or make one: scep serve --dir {directory}",
        )
    permissions.check_directory(directory)
    settings = settings or server_settings.load(directory)
    permissions.check_settings(settings)
    key_protection.finish(settings)
    passphrases = passphrases or passphrases_of(settings, ask)
    return Home(settings, passphrases)


def challenges_of(home: Home, store: Store, name: str = DEFAULT) -> OneTimeChallenges:
    """Return the one-time challenges of an endpoint.

    Raises:
        UsageError: there is no such endpoint, or it has none.
    """
    settings = endpoint_settings(home.settings, name)
    kinds = settings.challenge_kinds
    if "one-time" not in kinds:
        raise UsageError(
            f"the endpoint {name!r} has no one-time challenges: "
            f'challenge = "{", ".join(kinds) or "none"}"',
            hint="all devices use the one in its challenge_file"
            if "static" in kinds
            else "devices enrol there without one",
        )
    return OneTimeChallenges(
        store=store,
        endpoint=name,
        key=home.challenge_key,
        max_pending=settings.pending_bounds,
    )


def replacing(settings: Settings, name: str) -> str:
    """Return why the challenges of an endpoint have to be bound to a subject; "" where not.

    Raises:
        UsageError: there is no such endpoint.
    """
    own = endpoint_settings(settings, name)
    if settings.profile_of(name).same_subject != "replace":
        return ""
    return (
        f"certificates of the endpoint {name!r} take the place of others, which needs a challenge "
        f'that is bound to the subject (same_subject = "replace" of the profile {own.profile!r})'
    )


def endpoint_settings(settings: Settings, name: str) -> EndpointSettings:
    """Return the settings of an endpoint.

    Raises:
        UsageError: there is no such endpoint.
    """
    found = settings.endpoint.get(name)
    if found is None:
        raise UsageError(
            f"there is no endpoint {name!r}", hint=f"one of {', '.join(settings.endpoint)}"
        )
    return found
