"""Reading the keys that new settings need, before the settings come into force.

CAs that are new are made then. Where several processes serve, those that sign read their keys
themselves; that the others never have one in memory, a process does it here that ends then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from scepkit.errors import ReloadRefused, ScepError, SettingsError
from scepkit.server import log
from scepkit.server.background.audit import new_cas_of, record
from scepkit.server.directory.data_directory import Home, utc_now, with_new_cas
from scepkit.server.reloading.channel import Channel, connect, listen
from scepkit.server.reloading.workers import PREPARE_SECONDS, decode, encode

# Seconds for the process to start, and to be told what to do.
_SECONDS = 10.0


def read_keys(home: Home) -> str:
    """Make the CAs that are new, and read all, in this process.

    Args:
        home: the data directory as it is to be served.

    Returns:
        Why the audit record has nothing of CAs that were made; "" where it has.

    Raises:
        ScepError: a CA cannot be made or read.
    """
    home = with_new_cas(home, now=utc_now())
    return record(home.settings, *new_cas_of(home)) if home.made else ""


def have_keys_read(home: Home, path: Path, start: Callable[[], None]) -> str:
    """Have another process do `read_keys`.

    Args:
        home: the data directory as it is to be served.
        path: where that process finds this one.
        start: starts it; it calls `work`.

    Raises:
        ScepError: a CA cannot be made or read, or the process does not answer.
    """
    try:
        with listen(path) as listener:
            start()
            listener.settimeout(_SECONDS)
            connection, _ = listener.accept()
        with connection:
            channel = Channel(connection)
            channel.send(encode(home))
            answer = channel.receive(PREPARE_SECONDS)
    except OSError as error:
        raise ReloadRefused(
            f"the process that reads the keys does not answer: {error}",
            hint="reload again in a moment",
        ) from error
    if answer["error"]:
        raise SettingsError(answer["error"], hint=answer["hint"])
    return str(answer["warning"])


def work(path: Path) -> int:
    """Do `read_keys` in this process, for the one that listens at a path.

    Returns:
        The exit status.
    """
    try:
        with closing(connect(path)) as channel:
            home = decode(channel.receive(_SECONDS)).home
            log.configure(home.settings.log)
            channel.send(_answer(home))
    except OSError:
        return 1  # nobody waits for it any more
    return 0


def _answer(home: Home) -> dict[str, str]:
    try:
        return {"warning": read_keys(home), "error": ""}
    except ScepError as error:
        return {"error": error.message, "hint": error.hint}
