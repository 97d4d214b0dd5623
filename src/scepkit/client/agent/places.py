"""The directories that an agent looks after: those below a root, or those of a list."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scepkit.client.agent.events import AgentEvent, RootUnreadable
from scepkit.client.folder.files import CERTIFICATE, NEXT, RECORD, REQUEST
from scepkit.errors import DirectoryBusy, SettingsError
from scepkit.keys.files import read_some, refusals

VARIABLE, USUAL_ROOT = "SCEP_AGENT_ROOT", Path("/etc/scep")
LOCK = "agent.lock"

_DEEPEST = 8
_MAX_LIST = 4 * 1024 * 1024


def usual_root() -> Path:
    """Return the root where none is named: that of SCEP_AGENT_ROOT, or /etc/scep."""
    return Path(os.environ.get(VARIABLE) or USUAL_ROOT)


def below(root: Path, tell: Callable[[AgentEvent], None]) -> Iterator[Path]:
    """Yield the directories with a certificate, or with a first request that waits, in order.

    Symbolic links are not followed, and nothing is looked for inside of such a directory.

    Args:
        root: where to begin to look; it may be such a directory itself.
        tell: takes the event of what cannot be read.

    Raises:
        SettingsError: there is no such directory.
    """
    if not root.is_dir():
        raise SettingsError(
            f"there is no directory {root}",
            hint=f"name the one with the directories of certificates; or set {VARIABLE}",
        )

    def unreadable(error: OSError) -> None:
        tell(RootUnreadable(Path(error.filename or root), error))

    for name, inner, files in os.walk(root, onerror=unreadable):
        where = Path(name)
        if not {RECORD, CERTIFICATE, REQUEST}.isdisjoint(files):
            inner.clear()
            yield where
            continue
        deep = len(where.relative_to(root).parts) >= _DEEPEST
        inner[:] = [] if deep else sorted(one for one in inner if one != NEXT)


def of_list(file: Path) -> Iterator[Path]:
    """Yield the directories that a file names, one a line; # begins a comment.

    Args:
        file: what is relative in it counts from its own directory.

    Raises:
        SettingsError: it cannot be read, or has more than 4 MiB.
    """
    with refusals(f"cannot read {file}"):
        text = read_some(file, _MAX_LIST).decode("utf-8", "surrogateescape")
    for line in text.splitlines():
        name = line.split(" #")[0].strip()
        if name and not name.startswith("#"):
            yield file.parent / name


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other agents from the directory, its state and its hooks.

    Where no file can be made there is no lock: nothing can be renewed there either.

    Raises:
        DirectoryBusy: another agent is at work there.
    """
    path = directory / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DirectoryBusy(
                f"another agent is at work in {directory}", hint="wait until it has ended"
            ) from error
        except OSError:
            # Some network file systems have no locks.
            pass
        yield
    finally:
        os.close(descriptor)
