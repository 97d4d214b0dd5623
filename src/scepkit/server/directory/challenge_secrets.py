"""The files of a server's challenges: the key of the one-time ones, and the static ones.

A static one is warned of where it is of little use.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_bytes

import structlog

from scepkit.enrolment.challenges import MAX_LENGTH, static
from scepkit.enrolment.challenges.one_time import KEY_SIZE
from scepkit.errors import Hint, SettingsError
from scepkit.keys.files import create_file, read_file, refusals
from scepkit.keys.passphrase import OtherEncryptionError, Passphrase, WrongPassphrase
from scepkit.keys.pem import armor, dearmored
from scepkit.protocol.asn1.strings import PRINTABLE
from scepkit.server.directory.sealed_challenges import is_sealed, unseal
from scepkit.server.settings import Settings

CHALLENGE_KEY = "challenge.key"

ENCRYPTED_LABEL = "ENCRYPTED SCEP CHALLENGE KEY"
"""Of the PEM block that holds the key as EncryptedPrivateKeyInfo, if it is encrypted."""

_SMALLEST = 8
"""Characters; below that it is guessed over the network."""

log = structlog.get_logger()


def read_or_make_key(
    directory: Path, mark: Path, passphrase: Callable[[], Passphrase | None]
) -> bytes:
    """Return the key that the digests of one-time challenges are keyed with.

    A new one is made at the first start: of several processes at once, one makes it.

    Args:
        directory: the server's.
        mark: the file that is there once there has been a database.
        passphrase: finds what it is encrypted under; asked if it is, and for a new one.

    Raises:
        SettingsError: it is lost, or cannot be used.
    """
    path = directory / CHALLENGE_KEY
    with refusals(f"cannot look for {path}"):
        is_new = not path.exists()
        is_lost = is_new and mark.exists()
    if is_lost:
        raise SettingsError(
            f"{path} is lost: no challenge can be told from any other without it",
            hint=f"restore it from a backup; if there is none, make a new one, which makes unspent "
            f"challenges void: (umask 077; openssl rand -hex {KEY_SIZE} > {path})",
        )
    if is_new:
        create_file(path, key_file(token_bytes(KEY_SIZE), passphrase()), mode=0o600)
    with refusals(f"cannot read {path}"):
        mode = stat.S_IMODE(path.stat().st_mode)
        content = read_file(path)
    if mode & 0o077:
        raise SettingsError(
            f"the key file {path} is open to others than its owner (mode {mode:04o})",
            hint=f"chmod 600 {path}",
        )
    encrypted = dearmored(ENCRYPTED_LABEL, content)
    key = _of_hex(content) if encrypted is None else _decrypted(path, encrypted, passphrase())
    if len(key) != KEY_SIZE:
        raise SettingsError(
            f"{path} does not hold {KEY_SIZE} octets in hex",
            hint="restore it from a backup; with a new one, unspent challenges are void",
        )
    return key


def key_file(key: bytes, passphrase: Passphrase | None) -> bytes:
    """Return the content of the key's file: hex, or PEM where there is a passphrase."""
    if passphrase is None:
        return key.hex().encode("ascii") + b"\n"
    return armor(ENCRYPTED_LABEL, passphrase.encrypt(key))


def is_key_encrypted(directory: Path) -> bool:
    """Say whether the key of a server's challenges is encrypted; not, if it is missing.

    Raises:
        SettingsError: it cannot be read.
    """
    path = directory / CHALLENGE_KEY
    with refusals(f"cannot read {path}"):
        return path.exists() and dearmored(ENCRYPTED_LABEL, read_file(path)) is not None


def _of_hex(content: bytes) -> bytes:
    try:
        return bytes.fromhex(content.decode("ascii", "replace").strip())
    except ValueError:
        return b""


def _decrypted(path: Path, encrypted: bytes, passphrase: Passphrase | None) -> bytes:
    if passphrase is None:
        raise SettingsError(f"the key file {path} is encrypted", hint=Hint.KEY_PROTECTION)
    try:
        return passphrase.decrypt(encrypted)
    except (WrongPassphrase, OtherEncryptionError) as error:
        raise WrongPassphrase(
            f"the passphrase does not open the key file {path}",
            hint="it is another one, or the file is damaged",
        ) from error


def read_static(path: Path, key: Callable[[], bytes] | None = None) -> str:
    """Read a static challenge: the first line of a file that nobody else can read.

    Args:
        path: the file.
        key: returns the key of the challenges, for one that is sealed; None where there is none.

    Raises:
        SettingsError: it cannot be read, others can read it, or it is too short or too long.
    """
    make = _making_hint(path)
    secret = unseal(read_secret(path, "challenge_file", make), key, path)
    if len(secret) < _SMALLEST:
        raise SettingsError(
            f"the challenge in {path} has fewer than {_SMALLEST} characters", hint=make
        )
    if len(secret) > MAX_LENGTH:
        raise SettingsError(
            f"the challenge in {path} has more than the {MAX_LENGTH} characters that a "
            "challengePassword may have",
            hint=make,
        )
    return secret


def read_secret(path: Path, what: str, make: str) -> str:
    """Read a secret: the first line of a file that nobody else can read.

    Args:
        path: the file.
        what: the setting that names it.
        make: how to make one, for the hint.

    Raises:
        SettingsError: it cannot be read, or others can read it.
    """
    with refusals(f"cannot look for the {what} {path}"):
        is_there = path.exists()
    if not is_there:
        raise SettingsError(f"the {what} {path} is missing", hint=make)
    with refusals(f"cannot read {path}"):
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SettingsError(f"{path} can be read by others", hint=f"chmod 600 {path}")
        text = read_file(path)
    try:
        return text.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError:
        # Not `from`: the exception holds what is in the file.
        raise SettingsError(f"{path} is not text in UTF-8", hint=make) from None


def warn_of_static(settings: Settings, secrets: Mapping[str, Mapping[Path, str]]) -> None:
    """Log static challenges that can be guessed or not be sent; never their length or text.

    Args:
        settings: the server's.
        secrets: the static challenges by endpoint and file, as they were read with the settings.
    """
    weak: set[Path] = set()
    found = ((name, *one) for name, files in secrets.items() for one in files.items())
    for name, file, secret in found:
        path = settings.directory / file
        if path not in weak and static.estimate_bits(secret) < static.LEAST_BITS:
            weak.add(path)
            log.warning(
                "a static challenge is short enough to be guessed",
                file=str(path),
                least_bits=static.LEAST_BITS,
                hint=f"{_making_hint(path)}; then give it to the devices",
            )
        # No request of it would show that.
        if settings.endpoint[name].preset == "windows" and not PRINTABLE.issuperset(secret):
            log.warning(
                "a static challenge has characters that Windows cannot send",
                endpoint=name,
                file=str(path),
                allowed="letters and digits of ASCII, space, and ' ( ) + , - . / : = ?",
                hint=f"{_making_hint(path)}; then give it to the devices",
            )


def warn_of_plain(settings: Settings, secrets: Mapping[str, Mapping[Path, str]]) -> None:
    """Log the static challenges that anybody reads who has their files, as a backup has.

    Args:
        settings: the server's.
        secrets: as for `warn_of_static`.
    """
    for file in dict.fromkeys(one for files in secrets.values() for one in files):
        path = settings.directory / file
        try:
            is_plain = not is_sealed(read_secret(path, "challenge_file", ""))
        except SettingsError:  # it was changed since it was read
            continue
        if is_plain:
            log.warning(
                "a static challenge is kept in the clear",
                file=str(path),
                hint=f"scep admin challenge seal {path}",
            )


def _making_hint(path: Path) -> str:
    return f"make one: (umask 077; scep admin challenge secret > {path})"
