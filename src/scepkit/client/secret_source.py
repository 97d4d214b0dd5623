"""The places that a secret comes from: a file, an environment variable, a command, a person.

A record keeps the place and never the secret, so that a renewal years later finds it again:

    file:/etc/scep/passphrase    the first line of a file
    env:SCEP_PASSPHRASE          a variable of the environment
    command:pass show scep/dev1  the first line that a command prints; no shell reads it
    prompt                       whoever sits at the terminal
    none                         nowhere: there is no secret
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, cast

from scepkit.errors import SettingsError, UsageError
from scepkit.keys.files import error_hint, read_some
from scepkit.keys.passphrase import Passphrase

MOST_SECONDS = 60.0
"""The time that a command has to print a secret."""

KEY_PASSPHRASE = "passphrase of the key"  # noqa: S105 - its name
"""The name of the secret that opens a device's key, the old one and the new one alike."""

_MOST_OCTETS = 64 * 1024
_KINDS = ("file", "env", "command", "prompt", "none")
_HINT = (
    "write file:PATH, env:NAME, command:PROGRAM ARGUMENTS or prompt; a secret itself would be "
    "seen by everybody who may run ps"
)

Ask: TypeAlias = Callable[[str], str]
"""Asks somebody for a secret, by its name, and returns it."""


def nobody(what: str) -> str:
    """Refuse to ask for a secret: there is nobody who could answer.

    Raises:
        SettingsError: always.
    """
    raise SettingsError(
        f"the {what} has to be typed, and nobody is there to ask",
        hint="run the command at a terminal, or name another place: file:PATH, env:NAME or "
        "command:PROGRAM",
    )


@dataclass(frozen=True, slots=True)
class SecretSource:
    """A place that a secret comes from.

    Attributes:
        kind: `file`, `env`, `command`, `prompt` or `none`.
        place: the path, the name of the variable, or the command as a shell would quote it.
    """

    kind: str
    place: str = ""

    @classmethod
    def parse(cls, text: str) -> SecretSource:
        """Read a source as people write it; a relative path is made whole.

        Raises:
            UsageError: it is none.
        """
        kind, _, place = text.partition(":")
        is_bare = kind in ("prompt", "none")
        if kind not in _KINDS or bool(place) == is_bare or text.endswith(":"):
            # The text is not repeated: it may be the secret.
            raise UsageError("that is not a place that a secret comes from", hint=_HINT)
        if kind == "file":
            place = str(Path(place).absolute())
        if kind == "command":
            _argv(place)
        return cls(kind, place)

    def __str__(self) -> str:
        """Return the source as `parse` reads it."""
        return f"{self.kind}:{self.place}" if self.place else self.kind

    def read(self, what: str, ask: Ask = nobody) -> str:
        """Return the secret.

        Args:
            what: its name, as errors and questions have it, such as `passphrase of the key`.
            ask: asks somebody, where it is to be typed.

        Raises:
            SettingsError: the place cannot be read, or there is nobody to ask.
            UsageError: there is no secret in that place.
        """
        match self.kind:
            case "file":
                return first_line(read_text(Path(self.place)), self.place, what)
            case "env":
                return first_line(os.environ.get(self.place, ""), f"${self.place}", what)
            case "command":
                return by_command(self.place, what)
            case "prompt":
                return first_line(ask(what), "the answer", what)
        raise UsageError(f"no place is named for the {what}", hint=_HINT)


ASKED, NOWHERE = SecretSource("prompt"), SecretSource("none")


class Secrets:
    """The secrets of one run: each is read once, however often it is needed.

    Args:
        ask: asks somebody, where one is to be typed.
    """

    def __init__(self, ask: Ask = nobody) -> None:
        self._ask = ask
        self._read: dict[tuple[SecretSource, str], str] = {}
        self._passphrases: dict[tuple[SecretSource, str], Passphrase] = {}

    def __repr__(self) -> str:
        """Leave the secrets out."""
        return "<Secrets>"

    def read(self, source: SecretSource, what: str) -> str:
        """Return the secret of a source; see `SecretSource.read`."""
        of = source, what
        if of not in self._read:
            self._read[of] = source.read(what, self._ask)
        return self._read[of]

    def passphrase(self, source: SecretSource, what: str) -> Passphrase:
        """Return the secret of a source as what encrypts keys, whose own key is derived once."""
        of = source, what
        if of not in self._passphrases:
            self._passphrases[of] = Passphrase(self.read(source, what))
        return self._passphrases[of]


def by_command(command: str, what: str, variables: Mapping[str, str] | None = None) -> str:
    """Return the secret that a command prints, whose words are quoted as for a shell.

    Args:
        command: the command.
        what: the name of the secret.
        variables: of the command's environment, beside those of this process.

    Raises:
        SettingsError: it cannot be run, fails, takes too long, or prints what is no text.
        UsageError: it is none, or prints nothing.
    """
    argv = _argv(command)
    return first_line(run(argv, what, variables=variables), f"what {argv[0]} prints", what)


def first_line(text: str, where: str, what: str) -> str:
    """Return the first line of a text, which holds a secret.

    Raises:
        UsageError: it is empty, or not in UTF-8.
    """
    line = text.split("\n", 1)[0].rstrip("\r")
    check_text(line, where, what)
    if not line:
        raise UsageError(
            f"there is no {what} in {where}", hint=f"the {what} is the first line, and not empty"
        )
    return line


def check_text(text: str, where: str, what: str) -> None:
    """Refuse a secret whose octets are no text, which Python hides in halves of surrogate pairs.

    Raises:
        UsageError: it is none.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        # Not `from`: the exception holds the secret.
        raise UsageError(
            f"the {what} in {where} is not text in UTF-8",
            hint=f"write the {what} in UTF-8 there",
        ) from None


def read_text(path: Path) -> str:
    """Return the text of a file with a secret; it may be a pipe, such as a shell's `<(…)`.

    Raises:
        SettingsError: it cannot be read, is too long, or is no text in UTF-8.
    """
    try:
        return read_some(path, _MOST_OCTETS).decode("utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}",
            hint="name a file whose first line is the secret, and that this user may read",
        ) from error
    except UnicodeDecodeError:
        # Not `from`: the exception holds what is in the file.
        raise SettingsError(
            f"{path} is not text in UTF-8",
            hint="name a file whose first line is the secret, as text",
        ) from None


def run(
    argv: Sequence[str],
    what: str,
    *,
    seconds: float = MOST_SECONDS,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Return the text that a command prints. No shell reads its arguments; stdin is empty.

    What it says on stderr is seen. When its time is over, or it prints more than a secret may be
    long, all that it has started is killed.

    Raises:
        SettingsError: it cannot be run, fails, takes too long, or prints what is no secret.
    """
    name = f"the command for the {what} ({argv[0]})"
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            argv,
            env=os.environ | (variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "a NUL character"
        hint = error_hint(error) if isinstance(error, OSError) else "correct the command"
        raise SettingsError(f"{name} cannot be run: {said}", hint=hint) from error
    with process:
        try:
            printed = _output(process, cast("IO[bytes]", process.stdout), seconds, name)
        except BaseException as error:
            # All that it has started: what holds its stdout may be a child of it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise SettingsError(
                    f"{name} has not ended after {seconds:g} seconds",
                    hint="run it by hand: it must not ask for anything",
                ) from None
            raise
    if process.returncode:
        raise SettingsError(
            f"{name} ended with {_status(process.returncode)}", hint="run it by hand"
        )
    try:
        return printed.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(
            f"{name} prints what is not text in UTF-8", hint="run it by hand"
        ) from None


def _output(
    process: subprocess.Popen[bytes], stdout: IO[bytes], seconds: float, name: str
) -> bytes:
    """Return what a command has printed when it has ended.

    Raises:
        subprocess.TimeoutExpired: it takes longer.
        SettingsError: it prints more than a secret may be long.
    """
    end, printed = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as ready:
        ready.register(stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(max(0, end - time.monotonic())):
                raise subprocess.TimeoutExpired(process.args, seconds)
            more = os.read(stdout.fileno(), _MOST_OCTETS)
            if not more:
                process.wait(max(0, end - time.monotonic()))
                return printed
            printed += more
            if len(printed) > _MOST_OCTETS:
                raise SettingsError(
                    f"{name} prints more than {_MOST_OCTETS} octets", hint="run it by hand"
                )


def _status(code: int) -> str:
    return f"status {code}" if code > 0 else f"signal {-code}"


def _argv(command: str) -> list[str]:
    """Return the words of a command.

    Raises:
        UsageError: there are none, or a quotation mark has no partner.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the command {command!r} cannot be read: {error}") from error
    if not words:
        raise UsageError("the command is empty", hint="name a program and its arguments")
    return words
