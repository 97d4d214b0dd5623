"""The database's errors in words an operator can act on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from scepkit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the drivers say (a part of it) -> what to do. SQLite reports by message, not by class.
_DIRECTORY = "name a file in a directory that exists and where this user may write"
_CONNECTIONS = (
    "let the database server take more connections (max_connections, or the role's limit), "
    "or run fewer workers"
)
HINTS = (
    # PostgreSQL's limits: for all, but for its reserve, and for a role or a database.
    ("too many clients", _CONNECTIONS),
    ("remaining connection slots", _CONNECTIONS),
    ("too many connections", _CONNECTIONS),
    ("connection refused", "start the database server, or correct its address in the database URL"),
    ("resolve host", "correct the name of the database server in the database URL"),
    ("no such host", "correct the name of the database server in the database URL"),
    ("authentication failed", "correct the user or the password in the database URL"),
    ("no password supplied", "put the password into ~/.pgpass or the database URL"),
    ("no pg_hba.conf entry", "let this host and user in: pg_hba.conf of the database server"),
    ('fatal:  database "', "create the database and its user on the server: createuser, createdb"),
    ('fatal:  role "', "create the database and its user on the server: createuser, createdb"),
    ("terminating connection", "the database server was stopped; start it, then try again"),
    ("connection is lost", "see whether the database server runs, then try again"),
    ("must be owner of", "let this user own the database's tables"),
    ("lock timeout", "another program holds a lock in the database; end it, then try again"),
    ("server closed the connection", "see whether the database server runs, then try again"),
    (
        "connection to server",
        "start the database server, or correct its address in the database URL",
    ),
    (
        "a new one was opened",
        "try again, nothing is lost; let nothing remove that file",
    ),
    ("wal was removed under", "try again; if that does not help, start the server again"),
    ("under the running server", "put the file back, or start the server again to use the new one"),
    ("not a database", "name a scepkit database, or restore it from a backup; it was not changed"),
    ("malformed", "restore the database from a backup"),
    ("unable to open", _DIRECTORY),
    ("no such file", _DIRECTORY),
    ("not a directory", _DIRECTORY),
    ("is a directory", _DIRECTORY),
    ("read-only", "let this user write to the database file and its directory"),
    ("readonly", "let this user write to the database file and its directory"),
    ("permission denied", "let this user write to the database file and its directory"),
    ("full", "free some space where the database is, then try again"),
    ("locked", "another program holds the database open for writing; end it, then try again"),
)
OTHERWISE = "check the disk or the database server, then try again"


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn an error of the database into a StoreError.

    Args:
        action: what was being done, to follow "cannot".

    Raises:
        StoreError: from any error of SQLAlchemy, the driver or the operating system.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise fault(action, error) from error


def fault(action: str, error: Exception) -> StoreError:
    """Return the failure in one line, without statement and parameters, and a hint."""
    reason = error.orig if isinstance(error, DBAPIError) else error
    text = (str(reason).splitlines() or [type(error).__name__])[0]
    lowered = text.lower()
    hint = next((hint for part, hint in HINTS if part in lowered), OTHERWISE)
    return StoreError(f"cannot {action}: {text}", hint=hint)
