"""The settings on their way from the supervisor to its worker processes.

A worker asks the supervisor for the settings when it starts, and keeps the connection. So a worker
that replaces another one starts with the settings in force, whatever is in the files by then. Where
these are the ones that the server started with, the worker has inherited them, and takes those:
reading them again would be 4 MiB more in each process. A worker that loses its connection ends, and
is replaced: it would not hear of the next settings.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Protocol, Self

import structlog

from scepkit.errors import ReloadRefused, ScepError, SettingsError
from scepkit.keys.passphrase import Passphrase
from scepkit.server.directory import endpoint_files
from scepkit.server.directory.data_directory import Home
from scepkit.server.directory.endpoint_files import EndpointFiles
from scepkit.server.directory.passphrases import PassphraseSource
from scepkit.server.reloading.channel import Channel, connect, listen
from scepkit.server.settings import Settings, restore

# Seconds in which all worker processes have to put together what new settings need.
PREPARE_SECONDS = 60.0
# Seconds for what needs no work.
_SECONDS = 10.0

log = structlog.get_logger()


class Follower(Protocol):
    """The settings in force in one process, which follows its supervisor.

    Attributes:
        home: the data directory as it is served.
    """

    home: Home

    def prepare(self, home: Home) -> None:
        """Put together what other settings need; nothing changes yet.

        Raises:
            ScepError: the settings cannot be used.
        """

    def switch(self) -> None:
        """Put into force what was prepared."""

    def drop(self, fault: ScepError | None) -> None:
        """Keep the settings in force, and remember why others did not come into force."""


class Workers:
    """The worker processes, as their supervisor reaches them. Threads may share it.

    Args:
        home: the data directory, with the settings and files in force.
        path: where the supervisor listens.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(self, home: Home, path: Path) -> None:
        self._home = self._at_start = home
        self._fault: ScepError | None = None
        self._listener = listen(path)
        # Held while settings are replaced: who starts meanwhile waits for the outcome.
        self._lock = Lock()
        self._channels: list[Channel] = []
        self._had_worker = False

    def start(self) -> None:
        """Answer workers that start, in a thread of its own, until the process ends."""
        Thread(target=self._accept, name="scepkit-workers", daemon=True).start()

    def close(self) -> None:
        """Hang up on all workers, which ends them, and on those to come."""
        # Closing alone does not wake up who waits for a connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for channel in list(self._channels):
                self._hang_up(channel)

    def replace(self, home: Home) -> int:
        """Have all workers serve with other settings, or none; return their number.

        Raises:
            ScepError: the settings cannot be used, or a worker does not answer.
        """
        with self._lock:
            ready = self._prepared(home)
            # From here on a worker that ends is replaced by one with the new settings.
            self._home, self._fault = home, None
            return len(self._asked(ready, {"do": "switch"}, _SECONDS))

    def drop(self, fault: ScepError) -> None:
        """Tell all workers why the old settings stay in force."""
        with self._lock:
            self._fault = fault
            self._asked(self._channels, {"do": "drop", "fault": _fault(fault)}, _SECONDS)

    def _prepared(self, home: Home) -> list[Channel]:
        """Return the workers that are ready for other settings; none is left that is not.

        Where all have ended, because they cannot serve with the old settings, none is asked: those
        that replace them try the new ones.

        Raises:
            ScepError: one of them cannot use the settings, or does not answer.
        """
        self._hang_up_on_gone()
        asked = len(self._channels)
        answers = self._asked(
            self._channels, {"do": "prepare", "settings": encode(home)}, PREPARE_SECONDS
        )
        for answer in answers.values():
            if answer.get("error"):
                raise SettingsError(answer["error"], hint=answer.get("hint", ""))
        if not self._had_worker:
            raise ReloadRefused(
                "no worker process has started yet", hint="reload again in a moment"
            )
        if len(answers) < asked:
            raise ReloadRefused(
                f"{asked - len(answers)} of {asked} worker processes did not answer",
                hint="each is being replaced; reload again in a moment",
            )
        return list(answers)

    def _asked(
        self, channels: list[Channel], message: Mapping[str, Any], seconds: float
    ) -> dict[Channel, dict[str, Any]]:
        """Ask workers, all at once; hang up on those that do not answer, which ends them."""
        channels = list(channels)
        answers: dict[Channel, dict[str, Any]] = {}
        for channel in channels:
            try:
                channel.send(message)
            except OSError:
                self._hang_up(channel)
        end = time.monotonic() + seconds
        for channel in channels:
            if channel not in self._channels:
                continue
            try:
                answers[channel] = channel.receive(max(0.0, end - time.monotonic()))
            except OSError:
                self._hang_up(channel)
        return answers

    def _hang_up(self, channel: Channel) -> None:
        channel.close()
        self._channels.remove(channel)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                # Too many files are open.
                time.sleep(1)
                continue
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        """Tell a worker that starts the settings in force."""
        channel = Channel(connection)
        with self._lock:
            self._hang_up_on_gone()
            try:
                channel.send(
                    {
                        "settings": encode(self._home),
                        "are_of_start": self._home is self._at_start,
                        "fault": _fault(self._fault),
                    }
                )
            except OSError:
                channel.close()
                return
            self._channels.append(channel)
            self._had_worker = True

    def _hang_up_on_gone(self) -> None:
        for gone in [one for one in self._channels if one.is_gone()]:
            self._hang_up(gone)


class Supervisor:
    """The supervisor, as a worker process reaches it.

    Args:
        path: where it listens.
        at_start: the settings that the server started with, if this process inherited them.

    Attributes:
        received: the settings in force, and what belongs to them.

    Raises:
        SettingsError: it does not answer.
    """

    def __init__(self, path: Path, at_start: Received | None) -> None:
        try:
            self._channel = connect(path)
            # Other workers may be taking over new settings; then this one gets those.
            message = self._channel.receive(2 * PREPARE_SECONDS)
        except OSError as error:
            raise SettingsError(
                f"the supervisor of this worker does not answer: {error}"
            ) from error
        inherited = at_start if message["are_of_start"] else None
        self.received = inherited or decode(message["settings"])
        self._fault = message["fault"]

    def close(self) -> None:
        """Hang up, so that the supervisor does not wait for this worker's answers."""
        self._channel.close()

    def follow(self, in_force: Follower) -> None:
        """Do what the supervisor says, in a thread of its own.

        Args:
            in_force: the settings of this process.
        """
        in_force.drop(_error(self._fault))
        Thread(target=self._follow, args=(in_force,), name="scepkit-settings", daemon=True).start()

    def _follow(self, in_force: Follower) -> None:
        try:
            while True:
                message = self._channel.receive(None)
                self._channel.send(_obeyed(in_force, message))
        except OSError:
            # The supervisor is gone, or took this process to be so.
            os.kill(os.getpid(), signal.SIGTERM)


def _obeyed(in_force: Follower, message: Mapping[str, Any]) -> dict[str, str]:
    """Do what a message of the supervisor says, and return the answer."""
    try:
        match message["do"]:
            case "prepare":
                received = decode(message["settings"])
                home = replace(
                    in_force.home,
                    settings=received.settings,
                    files=received.files,
                    secrets=received.secrets,
                    passphrases=received.passphrases,
                )
                in_force.prepare(home)
            case "switch":
                in_force.switch()
            case "drop":
                in_force.drop(_error(message["fault"]))
    except ScepError as error:
        return {"error": error.message, "hint": error.hint}
    except Exception as error:
        log.exception("bug in scepkit; please report it")
        return {"error": f"{type(error).__name__}, a bug in scepkit"}
    return {}


def encode(home: Home) -> dict[str, Any]:
    """Return the settings of a data directory, and what belongs to them, as JSON has it."""
    passphrase = home.passphrases.find()
    return {
        "passphrase": None if passphrase is None else passphrase.text,
        "settings": home.settings.model_dump(mode="json", exclude_none=True),
        "files": endpoint_files.to_json(home.files or {}),
        "secrets": {str(path): text for path, text in (home.secrets or {}).items()},
    }


@dataclass(frozen=True, slots=True)
class Received:
    """The settings that a worker process gets from its supervisor, with what belongs to them.

    Attributes:
        settings: the settings in force.
        files: the contents of the files that they name.
        passphrases: what the keys are encrypted under.
        secrets: as in `Home`.
    """

    settings: Settings
    files: Mapping[str, EndpointFiles]
    passphrases: PassphraseSource
    secrets: Mapping[Path, str] = field(default_factory=dict, repr=False)

    @property
    def home(self) -> Home:
        """Return the data directory, without its keys."""
        return Home(self.settings, self.passphrases, files=self.files, secrets=self.secrets)

    @classmethod
    def of(cls, home: Home) -> Self:
        """Return those of a data directory, whose passphrase is looked for now.

        Raises:
            SettingsError: as of `PassphraseSource.find`.
        """
        known = PassphraseSource(known=home.passphrases.find())
        return cls(home.settings, home.files or {}, known, home.secrets or {})


def decode(message: Mapping[str, Any]) -> Received:
    """Return the settings and what belongs to them from what `encode` gave."""
    files = endpoint_files.of_json(message["files"])
    text = message["passphrase"]
    known = None if text is None else Passphrase(text)
    secrets = {Path(path): text for path, text in message["secrets"].items()}
    return Received(restore(message["settings"]), files, PassphraseSource(known=known), secrets)


def _fault(error: ScepError | None) -> dict[str, str] | None:
    return None if error is None else {"message": error.message, "hint": error.hint}


def _error(fault: Mapping[str, str] | None) -> ScepError | None:
    return None if fault is None else ScepError(fault["message"], hint=fault["hint"])
