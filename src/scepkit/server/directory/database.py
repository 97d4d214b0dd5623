"""The server's database as the server and its commands open it, with what SQLite would not say."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path

from sqlalchemy import URL

from scepkit.errors import EmptyDatabase, SettingsError
from scepkit.keys import ownership
from scepkit.keys.files import check_writable, create_file, refusals
from scepkit.server.directory.challenge_secrets import CHALLENGE_KEY
from scepkit.server.settings import Settings
from scepkit.store import Store
from scepkit.store.committing.remote_writer import Connect
from scepkit.store.engine import sqlite_file

HAS_DATABASE = ".database"
"""The file in a server's directory that is there once there has been a database, wherever it is."""

ADMIN = "admin"  # the slot of all commands beside the server


def open_store(settings: Settings, slot: str = ADMIN, *, committer: Connect | None = None) -> Store:
    """Open the server's database; one that is empty only if it is the first.

    On another one nothing would be revoked any more, and nothing could be renewed.

    Args:
        settings: where it is.
        slot: the process's place on this host, for its chain of audit records.
        committer: connects to the process that commits for this one, as in `Store.open`.

    Raises:
        StoreError: it cannot be used.
        EmptyDatabase: it is empty, and there was one before.
    """
    mark, url = settings.directory / HAS_DATABASE, settings.database_url
    with refusals("cannot use the database"):
        is_new = not mark.exists()
        _check_database(url, is_new=is_new)
    try:
        store = Store.open(
            url,
            create=is_new,
            patience=settings.database_seconds,
            node=_node(slot) if settings.audit else None,
            committer=committer,
        )
    except EmptyDatabase as error:
        raise EmptyDatabase(
            f"{error.message}, but {settings.directory} was served with one before",
            hint="is the `database` setting right? restore it from a backup; or, if nothing that "
            f"was issued or revoked matters any more, delete {mark}",
        ) from error
    store.subscribe(settings.subscriptions)
    # Before the first start there is no key of challenges: with the mark it would count as lost.
    if is_new and (settings.directory / CHALLENGE_KEY).exists():
        with suppress(SettingsError):  # the directory may be read-only
            create_file(mark, b"", mode=0o644)
    return store


def _node(slot: str) -> str:
    """Return the name of a process's chain of audit records: the same at every start."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:48]
    return f"{host}/{slot}"


def _check_database(url: str | URL, *, is_new: bool) -> None:
    """Find what is wrong with the files of an SQLite database, which SQLite does not name.

    A new one is made here, so that it belongs to the directory's owner whoever makes it.

    Args:
        url: of the database.
        is_new: whether it may be made.

    Raises:
        OSError: one of them cannot be read and written, or is no plain file.
    """
    path = sqlite_file(url)
    if path is None:
        return
    if is_new and not path.exists():
        for name in (path, Path(f"{path}.lock")):
            os.close(ownership.open_file(name))
    for end in ("", ".lock", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            check_writable(Path(f"{path}{end}"))
