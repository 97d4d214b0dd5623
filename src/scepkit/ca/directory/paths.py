"""The place of each file of a CA.

    ca-key.pem 0600 · ca.pem 0644 · ra-key.pem 0600 · ra.pem 0644     (`single` has no RA files)
    ocsp-key.pem 0600 · ocsp.pem 0644    who answers OCSP for the CA; see `rotation`
    chain.pem    the certificates above ca.pem, where that came from elsewhere
    request/     ca-key.pem · request.pem: a CA that waits to be certified elsewhere
    next/        the same files: the CA to come
    old/N/       the same files: a CA of before; the highest N is the newest
    old-ra/N/    ra-key.pem · ra.pem: an RA of before
    cancelled/N/ ca.pem: a CA to come that was given up; its name is never used again

The first seven and those in next/ are a generation that is in use: see `replacing` for `.current`,
which stands in for them while they change.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from scepkit.errors import Hint, SettingsError
from scepkit.keys.files import refusals
from scepkit.keys.pem import is_encrypted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CA_KEY, CA_CERTIFICATE = "ca-key.pem", "ca.pem"
RA_KEY, RA_CERTIFICATE = "ra-key.pem", "ra.pem"
OCSP_KEY, OCSP_CERTIFICATE = "ocsp-key.pem", "ocsp.pem"
CHAIN = "chain.pem"
REQUEST, REQUEST_FILE = "request", "request.pem"

FILES = (CA_KEY, RA_KEY, RA_CERTIFICATE, OCSP_KEY, OCSP_CERTIFICATE, CHAIN, CA_CERTIFICATE)
"""In the order of moving up: what makes a directory a CA comes last."""

KEYS = (CA_KEY, RA_KEY, OCSP_KEY)

NEXT, OLD, OLD_RA, CANCELLED = "next", "old", "old-ra", "cancelled"
CURRENT = ".current"

Stamp: TypeAlias = tuple[tuple[str, int, int, int, int, int], ...]

_T = TypeVar("_T")

# A change of many files takes milliseconds, a read takes longer: two in a row are rare.
_TRIES = 20


def exists(directory: Path) -> bool:
    """Say whether the directory holds a CA, complete by construction.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    with refusals(f"cannot look into {directory}"):
        return (directory / CA_CERTIFICATE).exists()


def require(directory: Path) -> None:
    """Refuse a directory that holds no CA.

    Raises:
        SettingsError: ca.pem is not there, or cannot be looked for.
    """
    if not exists(directory):
        if has_request(directory):
            raise SettingsError(
                f"the CA in {directory} waits for its certificate from the CA above",
                hint=Hint.CA_REQUEST_WAITS,
            )
        raise SettingsError(
            f"there is no CA in {directory}: no {CA_CERTIFICATE}",
            hint=Hint.MAKE_CA,
        )


def is_awaited(directory: Path) -> bool:
    """Say whether a CA is yet to come: its certificate is waited for, or nothing of it is there.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    with refusals(f"cannot look into {directory}"):
        if (directory / REQUEST).is_dir():
            return not (directory / CA_CERTIFICATE).exists()
        return not any((directory / name).exists() for name in FILES)


def in_force(place: Path) -> Path:
    """Return the directory with a generation's files: its own, or the one that replaces it.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    with refusals(f"cannot look into {place}"):
        return _in_force(place)


def has_next(directory: Path) -> bool:
    """Say whether a next CA is prepared.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    with refusals(f"cannot look into {directory}"):
        return (directory / NEXT).is_dir()


def has_request(directory: Path) -> bool:
    """Say whether a request for a CA certificate waits.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    with refusals(f"cannot look into {directory}"):
        return (directory / REQUEST).is_dir()


def has_ra(place: Path) -> bool:
    """Say whether a generation has an RA of its own.

    Either file counts: a lost one must be reported, not taken for `single`.
    """
    with refusals(f"cannot look into {place}"):
        return (place / RA_CERTIFICATE).exists() or (place / RA_KEY).exists()


def is_protected(directory: Path) -> bool:
    """Say whether the key of a CA is encrypted, or that of an RA of its own.

    Raises:
        SettingsError: it cannot be read.
    """
    return any(is_encrypted(in_force(directory) / name) for name in (CA_KEY, RA_KEY))


def numbered(directory: Path) -> list[tuple[int, Path]]:
    """List the subdirectories that are named by a number, the highest first.

    Raises:
        SettingsError: the directory is there and cannot be searched.
    """
    with refusals(f"cannot look into {directory}"):
        return _numbered(directory)


def generations(directory: Path) -> list[Path]:
    """List where the files of all generations are that issue or have issued, the current one first.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    following = directory / NEXT
    with refusals(f"cannot look into {directory}"):
        in_use = [directory, *([following] if following.is_dir() else [])]
        old = [place for _, place in _numbered(directory / OLD)]
        return [*map(_in_force, in_use), *old]


def stamp(directory: Path) -> Stamp:
    """Return a value that changes whenever a file of the CA does; it reads no file.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    with refusals(f"cannot look into {directory}"):
        return tuple(_facts(directory))


def steadily(directory: Path, read: Callable[[], _T]) -> _T:
    """Call `read` until no file of the CA changed meanwhile: what it saw belongs together.

    Without a lock, as the directory may be read-only, and as a process that holds the lock and
    is stopped must not stop the others.

    Raises:
        SettingsError: `read` raises it for files that do not change.
    """
    for _ in range(_TRIES):
        before = stamp(directory)
        try:
            result = read()
        except SettingsError:
            if stamp(directory) == before:
                raise
        else:
            if stamp(directory) == before:
                return result
    raise SettingsError(
        f"the files of the CA in {directory} change all the time",
        hint="is something else than scepkit writing there?",
    )


def _facts(directory: Path) -> Iterator[tuple[str, int, int, int, int, int]]:
    for place in places(directory):
        for name in FILES:
            path = os.path.join(place, name)  # noqa: PTH118 - twice as fast, every few seconds
            try:
                at = os.stat(path)  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                continue
            yield path, at.st_dev, at.st_ino, at.st_mtime_ns, at.st_ctime_ns, at.st_size


def places(directory: Path) -> Iterator[Path]:
    """Yield where files of a CA may be, all generations and what replaces them.

    Raises:
        OSError: the directory cannot be searched.
    """
    for place in (directory, directory / NEXT):
        yield place
        yield place / CURRENT
    yield directory / REQUEST
    for kind in (OLD, OLD_RA, CANCELLED):
        for _, place in _numbered(directory / kind):
            yield place


def _numbered(directory: Path) -> list[tuple[int, Path]]:
    if not directory.is_dir():
        return []
    found = [one for one in directory.iterdir() if one.name.isascii() and one.name.isdecimal()]
    return sorted(((int(one.name), one) for one in found), reverse=True)


def _in_force(place: Path) -> Path:
    current = place / CURRENT
    return current if current.is_dir() else place
