"""Accounts of the NDES page: added, given another password, removed; never changed otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select, update

from scepkit.errors import Hint, UsageError
from scepkit.store.audit.events import AuditAction, AuditEvent
from scepkit.store.database import Database
from scepkit.store.prepared import Prepared
from scepkit.store.tables.challenges import ndes_accounts

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

MOST = 1000
"""Accounts that there may be: one for each MDM, and some more."""

BY_NAME = Prepared(select(ndes_accounts).where(ndes_accounts.c.name == bindparam("its_name")))
ALL = select(ndes_accounts).order_by(ndes_accounts.c.name)
COUNT = select(func.count()).select_from(ndes_accounts)
ADD = insert(ndes_accounts)
REPLACE = update(ndes_accounts).where(ndes_accounts.c.name == bindparam("its_name"))
DROP = delete(ndes_accounts).where(ndes_accounts.c.name == bindparam("its_name"))


class NDESAccount(NamedTuple):
    """An account of the NDES page.

    `endpoints` are those whose challenges it may ask for, `password` is the hash of its password in
    PHC's form, and `created_by` is who made it.
    """

    name: str
    endpoints: tuple[str, ...]
    password: str
    created_at: datetime
    created_by: str

    def __repr__(self) -> str:
        """Name it, and never show the hash."""
        return f"<NDES account {self.name}>"


class NDESAccounts(Database):
    """The part of the store with the accounts of the NDES page."""

    def ndes_account(self, name: str) -> NDESAccount | None:
        """Return the account with a name; None when there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        row = self._look_up(BY_NAME, {"its_name": name})
        return None if row is None else _account(*row)

    def ndes_accounts(self) -> list[NDESAccount]:
        """Return all accounts, by name.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return [_account(*row) for row in connection.execute(ALL)]

    def add_ndes_account(
        self, account: NDESAccount, *, replaces: bool = False, reason: str = ""
    ) -> None:
        """Add an account, or put it in the place of the one with its name.

        Args:
            account: the account.
            replaces: whether there has to be one with this name, or must be none.
            reason: why, for the record.

        Raises:
            UsageError: there is one with this name, or none, or there are too many.
            StoreError: the database cannot be written.
        """
        row = account._asdict() | {"endpoints": [*account.endpoints]}
        action = AuditAction.NDES_ACCOUNT_CHANGED if replaces else AuditAction.NDES_ACCOUNT_ADDED
        details = {"account": account.name, "endpoints": [*account.endpoints]}
        with self._writing("store the NDES account") as connection:
            if replaces:
                found = connection.execute(REPLACE.values(row), {"its_name": account.name})
                if not found.rowcount:
                    raise _unknown(account.name)
            else:
                _check_new(connection, account.name)
                connection.execute(ADD, row)
            event = AuditEvent(action, account.created_by, account.created_at)
            self._audit.append(connection, [event._replace(reason=reason, details=details)])

    def remove_ndes_account(self, name: str, *, by: str, now: datetime, reason: str = "") -> None:
        """Remove an account; its challenges stay as they are.

        Args:
            name: the account's.
            by: who removes it, for the record.
            now: an aware datetime.
            reason: why, for the record.

        Raises:
            UsageError: there is none.
            StoreError: the database cannot be written.
        """
        with self._writing("remove the NDES account") as connection:
            if not connection.execute(DROP, {"its_name": name}).rowcount:
                raise _unknown(name)
            event = AuditEvent(AuditAction.NDES_ACCOUNT_REMOVED, by, now, reason=reason)
            self._audit.append(connection, [event._replace(details={"account": name})])


def _check_new(connection: Connection, name: str) -> None:
    if BY_NAME.first(connection, {"its_name": name}) is not None:
        raise UsageError(f"there is an NDES account {name!r} already", hint=Hint.KNOWN_NDES_ACCOUNT)
    if connection.execute(COUNT).scalar_one() >= MOST:
        raise UsageError(
            f"there are {MOST} NDES accounts, and no more can be",
            hint="remove those that nobody needs",
        )


def _account(
    name: str, endpoints: list[str], password: str, created_at: datetime, created_by: str
) -> NDESAccount:
    return NDESAccount(name, tuple(endpoints), password, created_at, created_by)


def _unknown(name: str) -> UsageError:
    return UsageError(f"there is no NDES account {name!r}", hint=Hint.NDES_ACCOUNT)
