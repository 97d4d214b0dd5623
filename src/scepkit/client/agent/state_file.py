"""The file with the state of an agent's work on a directory: `agent.json` in it.

Where it cannot be written, such as on a full disk, the state is remembered as long as the process
lives, so that nothing is tried without a pause.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path

from scepkit.client.agent import events, state
from scepkit.client.agent.events import AgentEvent
from scepkit.client.agent.state import State
from scepkit.errors import SettingsError
from scepkit.keys.files import plain_file, refusals, write_file

NAME, DAMAGED = "agent.json", "agent.json.damaged"

# The output of a hook may say anything.
_MODE = 0o600


def seen(directory: Path) -> State:
    """Return the state of a directory as far as it can be read; nothing is changed."""
    try:
        return _read(directory)
    except (SettingsError, ValueError):
        return State()


class StateFile:
    """The state of one directory.

    Args:
        directory: which.
        unsaved: the states of directories in which they could not be written.
        tell: takes the events.
    """

    def __init__(
        self,
        directory: Path,
        unsaved: MutableMapping[Path, State],
        tell: Callable[[AgentEvent], None],
    ) -> None:
        self._directory = directory
        self._unsaved = unsaved
        self._tell = tell

    def read(self) -> State:
        """Return the state; a damaged one is set aside, and a new one begun.

        What another agent that was killed had half written goes: nobody else writes it now.
        """
        with suppress(OSError):
            for half in self._directory.glob(f".{NAME}.*.tmp"):
                half.unlink()
        unsaved = self._unsaved.get(self._directory)
        if unsaved is not None:
            return unsaved
        try:
            return _read(self._directory)
        except SettingsError as error:
            self._tell(events.StateNotKept(self._directory, error))
        except ValueError:
            self._set_aside()
        return State()

    def write(self, new: State) -> None:
        """Keep the state, on the disk if that can be, else in memory."""
        try:
            self._write(state.text(new).encode("utf-8"))
            self._unsaved.pop(self._directory, None)
        except SettingsError as error:
            if self._directory not in self._unsaved:
                self._tell(events.StateNotKept(self._directory, error))
            self._unsaved[self._directory] = new

    def _write(self, content: bytes) -> None:
        """Write the file.

        Raises:
            SettingsError: the file system refuses.
        """
        path = self._directory / NAME
        try:
            write_file(path, content, mode=_MODE)
        except SettingsError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            # Whoever locks the directory removes what seems to be half written there.
            write_file(path, content, mode=_MODE)

    def _set_aside(self) -> None:
        """Keep a damaged file for a person to look at."""
        path, kept = self._directory / NAME, self._directory / DAMAGED
        where = None
        with suppress(SettingsError), refusals(f"cannot rename {path}"):
            path.replace(kept)
            where = kept
        self._tell(events.StateDamaged(self._directory, where))


def _read(directory: Path) -> State:
    """Read the state of a directory; a new one where there is none.

    Raises:
        SettingsError: the file cannot be read.
        ValueError: it is damaged.
    """
    path = directory / NAME
    try:
        with plain_file(path) as file:
            content = file.read(state.MAX_SIZE)
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    return state.parse(content)
