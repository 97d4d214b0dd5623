"""All private keys of a server change their passphrase, or get one, or lose it: at once.

1. Under the locks of all CAs every key file is read and written anew, into `.new-keys.tmp`.
2. That is renamed to `.new-keys`: from then on the new passphrase is the one.
3. The files are copied to their places, and `.new-keys` is dropped.

Whoever opens the directory and finds `.new-keys` does the third step again. So a kill at any
instant leaves the keys under the old passphrase or under the new one, never under both.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from scepkit.ca.directory import founding, material, paths, replacing
from scepkit.errors import SettingsError
from scepkit.keys import ownership
from scepkit.keys.files import (
    make_directory,
    read_file,
    refusals,
    remove,
    sync_directory,
    write_file,
)
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import KEY_MODE, key_pem, read_key
from scepkit.operations.audit import record_done
from scepkit.server.directory.challenge_secrets import (
    CHALLENGE_KEY,
    is_key_encrypted,
    key_file,
    read_or_make_key,
)
from scepkit.server.directory.passphrases import MOST_OCTETS
from scepkit.server.settings import Settings
from scepkit.store import AuditAction, AuditEvent, Store

LEAST_CHARACTERS = 12
"""Of a new passphrase: below that it is guessed, whatever each guess costs."""

NEW_KEYS = ".new-keys"
_UNFINISHED = ".new-keys.tmp"


def protect(
    settings: Settings,
    store: Store,
    *,
    old: Passphrase | None,
    new: Passphrase | None,
    by: str,
    now: datetime,
) -> tuple[str, ...]:
    """Encrypt all private keys of a server under a passphrase, or leave them in clear.

    Args:
        settings: the server's.
        store: where the audit record is.
        old: what they are encrypted under; None where they are not.
        new: what they are to be encrypted under; None for keys in clear.
        by: who does it.
        now: the time, aware.

    Returns:
        The names of the files, relative to the server's directory.

    Raises:
        WrongPassphrase: `old` does not open one of them; nothing has changed.
        SettingsError: one cannot be read or written.
        StoreError: the audit record cannot be written; the keys are changed.
    """
    with ExitStack() as locks:
        _lock(settings, locks)
        _finish(settings.directory)
        names = tuple(_names(settings))
        _stage(settings.directory, names, old, new)
        _finish(settings.directory)
    details = {"files": len(names), "encrypted": new is not None}
    protected = AuditEvent(AuditAction.KEYS_PROTECTED, by, now, details=details)
    record_done(store, protected, f"the keys are {'in clear' if new is None else 'encrypted'} now")
    return names


def finish(settings: Settings) -> None:
    """Finish what a killed `protect` left; nothing, nearly always.

    Raises:
        SettingsError: the file system refuses.
    """
    with refusals(f"cannot look into {settings.directory}"):
        if not any((settings.directory / name).is_dir() for name in (NEW_KEYS, _UNFINISHED)):
            return
    with ExitStack() as locks:
        _lock(settings, locks)
        _finish(settings.directory)


def check(settings: Settings, passphrase: Passphrase | None) -> None:
    """Refuse a passphrase that does not open the keys of a server that are encrypted.

    Before another key is encrypted under it, beside those.

    Raises:
        WrongPassphrase: it is another one.
        SettingsError: there is none, or a key cannot be read.
    """
    if is_key_encrypted(settings.directory):
        read_or_make_key(settings.directory, settings.directory / CHALLENGE_KEY, lambda: passphrase)
    for name in settings.authorities:
        material.check_passphrase(settings.authority_directory(name), passphrase)


def _lock(settings: Settings, locks: ExitStack) -> None:
    """Keep everybody else from changing a CA; what they left is finished first."""
    for directory in _directories(settings):
        locks.enter_context(replacing.locked(directory))
        replacing.heal(directory)
        # Its keys would stay as they are, and come into force as such.
        founding.heal(directory)


def _directories(settings: Settings) -> list[Path]:
    """List the directories of all CAs, whether an endpoint uses them at the moment or not.

    One may wait for its certificate, or for its endpoint to come back.
    """
    named = {settings.authority_directory(name) for name in settings.authorities}
    with refusals(f"cannot look into {settings.directory}"):
        found = {*named, *settings.directory.glob("ca-*")}
        return sorted(path for path in found if path.is_dir())


def _names(settings: Settings) -> list[str]:
    """Return the key files of a server, relative to its directory."""
    keys = [
        path
        for directory in _directories(settings)
        for place in paths.places(directory)
        for key in paths.KEYS
        if (path := place / key).exists()
    ]
    challenge_key = settings.directory / CHALLENGE_KEY
    found = [*keys, *([challenge_key] if challenge_key.exists() else [])]
    return [str(path.relative_to(settings.directory)) for path in found]


def _stage(
    directory: Path, names: tuple[str, ...], old: Passphrase | None, new: Passphrase | None
) -> None:
    """Write all key files anew, beside those in use, and say that they are the ones.

    Raises:
        SettingsError: one cannot be read, or the file system refuses.
    """
    stage = directory / _UNFINISHED
    with refusals(f"cannot make {stage}"):
        make_directory(stage, to_owner=True)
        for name in names:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_file(stage / name, _rewritten(directory / name, old, new), mode=KEY_MODE)
    with refusals(f"cannot make {directory / NEW_KEYS}"):
        ownership.give_all(stage, directory)
        for path in {(stage / name).parent for name in names}:
            sync_directory(path)
        stage.rename(directory / NEW_KEYS)
        sync_directory(directory)


def _rewritten(path: Path, old: Passphrase | None, new: Passphrase | None) -> bytes:
    if path.name != CHALLENGE_KEY:
        return key_pem(read_key(path, old), new)
    return key_file(read_or_make_key(path.parent, path, lambda: old), new)


def _finish(directory: Path) -> None:
    """Put the files of `.new-keys` into their places, and drop what is left; under the locks."""
    fresh, unfinished = directory / NEW_KEYS, directory / _UNFINISHED
    with refusals(f"cannot change the keys in {directory}"):
        if unfinished.exists():
            remove(unfinished)
        if not fresh.is_dir():
            return
        for path in sorted(fresh.rglob("*")):
            if path.is_file():
                target = directory / path.relative_to(fresh)
                write_file(target, read_file(path), mode=KEY_MODE)
                ownership.give_all(target, target.parent)
        # As one step: what is half deleted would be put into its places once more.
        fresh.rename(unfinished)
        sync_directory(directory)
        remove(unfinished)


def new_passphrase(text: str) -> Passphrase:
    """Return a passphrase for keys to be encrypted under.

    Raises:
        SettingsError: it is shorter than `LEAST_CHARACTERS`, or cannot be given in every way in
            which a server finds it.
    """
    if len(text) < LEAST_CHARACTERS:
        raise SettingsError(
            f"the passphrase has fewer than {LEAST_CHARACTERS} characters",
            hint="make one: openssl rand -base64 24",
        )
    if not text.isprintable():
        raise SettingsError(
            "the passphrase has a control character", hint="nobody can type it; leave it out"
        )
    passphrase = Passphrase(text)
    if len(text.encode()) > MOST_OCTETS:
        raise SettingsError(
            f"the passphrase has more than {MOST_OCTETS} octets", hint="32 are plenty"
        )
    return passphrase
