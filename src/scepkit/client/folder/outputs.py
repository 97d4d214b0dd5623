"""The further files of a device's directory, for programs that want their own, and whose they are.

    fullchain   the certificate and its chain, PEM
    bundle      the key, the certificate and its chain, PEM, as HAProxy reads them
    pkcs12      the same under a password (RFC 7292)

They may be anywhere. What they are is in the record, so that each renewal writes them again. First
all of them are written beside their places, as `.NAME.new`; then they are renamed, with the files
of the directory and before `cert.pem`. So where one cannot be written, everything stays as it was.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from scepkit.client.secret_source import SecretSource
from scepkit.errors import SettingsError, UsageError
from scepkit.keys import pkcs12
from scepkit.keys.files import NOBODY_ELSE, refusals, remove_unfinished, write_file
from scepkit.keys.pem import CERTIFICATE_MODE, KEY_MODE, key_pem
from scepkit.protocol.algorithms import PrivateKey
from scepkit.protocol.certificate import Certificate, pem

PKCS12_PASSWORD = "password of the PKCS#12"  # noqa: S105 - its name

_OCTAL = 8
_MODES, _KEY_MODES = 0o644, 0o640


@dataclass(frozen=True, slots=True)
class Access:
    """The owner and the permissions of files.

    Attributes:
        owner: user and group by their numbers; -1 for those of the process.
        mode: permission bits of files without a key.
        key_mode: those of files with one.
    """

    owner: tuple[int, int] = NOBODY_ELSE
    mode: int = CERTIFICATE_MODE
    key_mode: int = KEY_MODE

    @property
    def directory_mode(self) -> int:
        """Return the mode of a directory that stays its maker's, and whose files have this access.

        Another owner gets at the files by their names, and replaces none: the next renewal obeys
        what is in there.
        """
        user, group = self.owner
        elsewhere = user not in (-1, os.geteuid())
        return 0o700 | (0o050 if group >= 0 else 0) | (0o011 if elsewhere else 0)


@dataclass(frozen=True, slots=True)
class Outputs:
    """The further files, and the access to all. What is "" is not wanted.

    Attributes:
        fullchain: path of the certificate with its chain.
        bundle: path of key, certificate and chain.
        pkcs12: path of the PKCS#12.
        pkcs12_password: the source of its password, as `SecretSource` has it.
        pkcs12_legacy: whether it is encrypted for old importers.
        owner: name or number of the user that the files belong to.
        group: name or number of their group.
        mode: permission bits of files without a key, in octal; 0644 unless given.
        key_mode: those of files with one; 0600 unless given.
    """

    fullchain: str = ""
    bundle: str = ""
    pkcs12: str = ""
    pkcs12_password: str = ""
    pkcs12_legacy: bool = False
    owner: str = ""
    group: str = ""
    mode: str = ""
    key_mode: str = ""

    @property
    def access(self) -> Access:
        """Return whose the files are, and who may read them.

        Raises:
            UsageError: there is no such user or group, or a mode is none, or too much.
        """
        owner = (
            _number(self.owner, "user", lambda name: pwd.getpwnam(name).pw_uid),
            _number(self.group, "group", lambda name: grp.getgrnam(name).gr_gid),
        )
        mode = _bits(self.mode, "mode", CERTIFICATE_MODE, _MODES)
        return Access(owner, mode, _bits(self.key_mode, "key mode", KEY_MODE, _KEY_MODES))

    @property
    def paths(self) -> dict[str, Path]:
        """Return the paths of the further files by what they are."""
        given = {"fullchain": self.fullchain, "bundle": self.bundle, "pkcs12": self.pkcs12}
        return {name: Path(path) for name, path in given.items() if path}

    def check(self, directory: Path, taken: Container[str]) -> None:
        """Refuse files that could not be written, and owners that they cannot be given to.

        Args:
            directory: the device's, which need not exist yet.
            taken: the names that its own files have.

        Raises:
            SettingsError: a directory is not there, or this user may not write to it, or may not
                give files away.
            UsageError: there is no such user or group, or a mode is none.
        """
        user, group = self.access.owner
        if os.geteuid() and user not in (-1, os.geteuid()):
            raise SettingsError(
                f"files cannot be given to {self.owner}: only root gives files to other users",
                hint="run the command as root, or as that user",
            )
        if os.geteuid() and group not in (-1, os.getegid(), *os.getgroups()):
            raise SettingsError(
                f"files cannot be given to the group {self.group}, in which this user is not",
                hint="run the command as root, or as somebody in the group",
            )
        for path in self.paths.values():
            if path.parent == directory.absolute():
                if path.name in taken:
                    raise UsageError(f"{path} is one of the files of that directory itself")
                continue
            with refusals(f"cannot write {path}"):
                _check_place(path)

    def remove_unfinished(self) -> None:
        """Delete what a process was killed over while it wrote one of the files."""
        for path in self.paths.values():
            remove_unfinished(path.parent, path.name)
            remove_unfinished(path.parent, coming(path).name)

    def remove_staged(self) -> None:
        """Delete the files that wait beside their places; what cannot be deleted stays."""
        for path in self.paths.values():
            with suppress(OSError):
                coming(path).unlink(missing_ok=True)

    def stage(
        self,
        key: Callable[[], PrivateKey],
        chain: Sequence[Certificate],
        password: Callable[[SecretSource], str],
    ) -> None:
        """Write the further files beside their places.

        Args:
            key: returns the key; called if a file holds it.
            chain: the certificate and those above it.
            password: reads a password from its source.

        Raises:
            SettingsError: the file system refuses, or a certificate is none for PKCS#12.
        """
        access = self.access
        # A root proves nothing to whoever does not have it: TLS leaves it out.
        shown = [one for one in chain if one is chain[0] or one.issuer != one.subject]
        texts = "".join(pem(one.der) for one in shown).encode("ascii")
        for name, path in self.paths.items():
            match name:
                case "fullchain":
                    data, mode = texts, access.mode
                case "bundle":
                    data, mode = key_pem(key()) + texts, access.key_mode
                case _:
                    source = SecretSource.parse(self.pkcs12_password)
                    data, mode = self._pkcs12(key(), chain, password(source)), access.key_mode
            write_file(coming(path), data, mode=mode, owner=access.owner)

    def _pkcs12(self, key: PrivateKey, chain: Sequence[Certificate], password: str) -> bytes:
        own, *above = chain
        name = str(own.subject_name) or "key"
        ders = (one.der for one in above)
        return pkcs12.build(name, key, own.der, ders, password, legacy=self.pkcs12_legacy)

    def renamings(self) -> Iterator[tuple[Path, Path]]:
        """Yield the path of each file that waits, and where it goes."""
        for path in self.paths.values():
            if coming(path).exists():
                yield coming(path), path


@dataclass(frozen=True, slots=True)
class OutputChanges:
    """Changes to the further files. What is None stays, and what is "" is not written any more.

    Attributes:
        fullchain: path of the certificate with its chain.
        bundle: path of key, certificate and chain.
        pkcs12: path of the PKCS#12.
        pkcs12_password: the source of its password, as `SecretSource` has it.
        pkcs12_legacy: whether it is encrypted for old importers.
    """

    fullchain: str | None = None
    bundle: str | None = None
    pkcs12: str | None = None
    pkcs12_password: str | None = None
    pkcs12_legacy: bool | None = None

    def of(self, kept: Outputs) -> Outputs:
        """Return further files with the changes.

        Raises:
            UsageError: they cannot be meant.
        """
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        found = replace(kept, **{name: one for name, one in given.items() if one is not None})
        if not found.pkcs12:
            if self.pkcs12_password or self.pkcs12_legacy:
                raise UsageError("there is no PKCS#12 for a password", hint="name its file, too")
            found = replace(found, pkcs12_password="", pkcs12_legacy=False)
        elif not found.pkcs12_password:
            raise UsageError("there is no password for the PKCS#12", hint="name its place, too")
        if len({*found.paths.values()}) < len(found.paths):
            raise UsageError("two of the further files would be the same file")
        return found


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    above = path.parent
    if not stat.S_ISDIR(above.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
    if not os.access(above, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))


def coming(path: Path) -> Path:
    """Return the place of a further file that waits: HAProxy passes over names with a dot."""
    return path.with_name(f".{path.name}.new")


def read(found: Any) -> Outputs:
    """Read what a record has; what a later version has added is left out.

    Raises:
        TypeError: it is of another form.
    """
    if not isinstance(found, dict):
        raise TypeError("outputs")
    known = {field.name: found[field.name] for field in fields(Outputs) if field.name in found}
    for name, value in known.items():
        if not isinstance(value, bool if name == "pkcs12_legacy" else str):
            raise TypeError(name)
    return Outputs(**known)


def _number(text: str, what: str, find: Callable[[str], int]) -> int:
    """Return the number of a user or a group; -1 for "".

    Raises:
        UsageError: there is none of that name.
    """
    if not text:
        return -1
    try:
        return find(text)
    except KeyError:
        if text.isascii() and text.isdigit() and int(text) < 2**32 - 1:
            return int(text)
    raise UsageError(f"there is no {what} {text!r}", hint=f"name a {what} of this machine")


def _bits(text: str, what: str, usual: int, most: int) -> int:
    """Return a mode of files.

    Raises:
        UsageError: it is none, or lets others do what nobody should let them.
    """
    if not text:
        return usual
    try:
        bits = int(text, _OCTAL)
    except ValueError:
        bits = -1
    if bits < 0 or bits & ~most or not bits & 0o400:
        raise UsageError(
            f"{text!r} is not a {what} of these files",
            hint=f"it is octal, lets the owner read, and allows at most {most:04o}",
        )
    return bits
