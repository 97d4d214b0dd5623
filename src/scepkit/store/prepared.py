"""Statements that are compiled once for each database, and run on the driver's own cursor.

SQLAlchemy looks at a statement and at each of its values anew whenever it is executed, which takes
several times as long as the database needs for a look-up. Here the definition is SQLAlchemy's, and
so are the text that comes of it and what its types do to values and to columns; all of that is
worked out with the first use.

An error of the driver becomes the one that SQLAlchemy would raise.
"""

from __future__ import annotations

from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Update
    from sqlalchemy.engine.interfaces import DBAPICursor
    from sqlalchemy.types import TypeEngine

    Statement: TypeAlias = Select[Any] | Insert | Update | Delete
    Values: TypeAlias = Mapping[str, Any]
    Processor: TypeAlias = Callable[[Any], Any]


BEGIN = "BEGIN"  # of a transaction that writes, on a database server


class Prepared:
    """A statement that requests pay for. Threads may share it.

    No list is expanded: each of its parameters is one value.

    Args:
        statement: its definition.
    """

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self._forms: dict[tuple[str, ...], _Form] = {}

    def run(self, connection: Connection, *rows: Values) -> DBAPICursor:
        """Run it for each of one or more rows of values, which have the same keys.

        Returns:
            A cursor whose `rowcount` is that of all together; within `one_trip`, once that is over.

        Raises:
            DBAPIError: the database failed.
        """
        first = rows[0]
        form = self._forms.get((connection.dialect.name, *first)) or self._form(connection, first)
        values = [form.bound(row) for row in rows]
        try:
            return form.execute(connection.connection.dbapi_connection, values)
        except connection.dialect.loaded_dbapi.Error as error:
            raise translated(connection, error, form.text) from error

    def all(self, connection: Connection, values: Values) -> list[list[Any]]:
        """Return the rows that it gives for these values.

        Raises:
            DBAPIError: the database failed.
        """
        form, rows = self._rows(connection, values)
        return [form.read(row) for row in rows]

    def first(self, connection: Connection, values: Values) -> list[Any] | None:
        """Return the first row that it gives for these values; None where there is none.

        Raises:
            DBAPIError: the database failed.
        """
        form, rows = self._rows(connection, values)
        return form.read(rows[0]) if rows else None

    def _rows(self, connection: Connection, values: Values) -> tuple[_Form, Sequence[Any]]:
        form = self._forms.get((connection.dialect.name, *values)) or self._form(connection, values)
        bound = [form.bound(values)]
        try:
            return form, form.execute(connection.connection.dbapi_connection, bound).fetchall()
        except connection.dialect.loaded_dbapi.Error as error:
            raise translated(connection, error, form.text) from error

    def _form(self, connection: Connection, values: Values) -> _Form:
        """Make its form for a database; what an INSERT names are the keys of the values."""
        form = _Form(self.statement, connection.dialect, [*values])
        self._forms[connection.dialect.name, *values] = form
        return form


class _Form:
    """A statement as one driver takes it.

    Attributes:
        text: the SQL.
    """

    def __init__(self, statement: Statement, dialect: Dialect, keys: list[str]) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=keys, for_executemany=True)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self.text = str(compiled)
        self._is_sqlite = dialect.name == "sqlite"
        names = [*(compiled.positiontup or binds)]
        # SQLite takes values by their places, the other driver by their names.
        self._places = [*range(len(names))] if self._is_sqlite else names
        self._take = _taking(names)
        processors = [_bind_processor(binds[name].type, dialect) for name in names]
        self._parameters = [
            (place, process)
            for place, process in zip(self._places, processors, strict=True)
            if process is not None
        ]
        # What the definition itself gives, such as a limit.
        self._constants = {
            name: bind.effective_value for name, bind in binds.items() if not bind.required
        }
        columns = getattr(statement, "exported_columns", ())
        processors = [_result_processor(column.type, dialect) for column in columns]
        self._columns = [
            (number, process) for number, process in enumerate(processors) if process is not None
        ]

    def bound(self, values: Values) -> Any:
        """Return values as the driver takes them."""
        if self._constants:
            values = {**self._constants, **values}
        taken = self._take(values)
        bound: Any = [*taken] if self._is_sqlite else dict(zip(self._places, taken, strict=True))
        for place, process in self._parameters:
            bound[place] = process(bound[place])
        return bound

    def execute(self, driver: Any, bound: Sequence[Any]) -> DBAPICursor:
        """Run it with one or more lots of bound values; return the driver's cursor."""
        cursor: DBAPICursor
        if len(bound) > 1:
            cursor = driver.cursor()
            cursor.executemany(self.text, bound)
        elif self._is_sqlite:
            cursor = driver.execute(self.text, bound[0])
        else:
            cursor = driver.execute(self.text, bound[0], prepare=True)
        return cursor

    def read(self, row: Sequence[Any]) -> list[Any]:
        """Return a row with its values as the types have them."""
        values = [*row]
        for number, process in self._columns:
            if values[number] is not None:
                values[number] = process(values[number])
        return values


def _taking(names: Sequence[str]) -> Callable[[Values], Sequence[Any]]:
    """Return what takes values out by their names, in this order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: [values[name] for name in names]


def _bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what a type does to a value; octets go to both drivers as they are."""
    if isinstance(kind, LargeBinary):
        return None
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what a type does to a column; octets come from both drivers as they are."""
    if isinstance(kind, LargeBinary):
        return None
    return kind.dialect_impl(dialect).result_processor(dialect, None)


class Trip:
    """Statements that travel to a database server together.

    What they have done, or why they failed, is known at the end of the trip. Until then nothing
    else may use the connection.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._expected: list[tuple[Any, int, Exception]] = []

    def run(self, statement: Prepared, *rows: Values) -> None:
        """Run a statement for each of one or more rows of values."""
        statement.run(self._connection, *rows)

    def expect(self, statement: Prepared, rows: Sequence[Values], otherwise: Exception) -> None:
        """Run a statement that changes, or finds, one row for each of these.

        Args:
            statement: an INSERT, UPDATE or DELETE; or a SELECT, for one row of values.
            rows: the values.
            otherwise: is raised at the end of the trip if it is not so.
        """
        cursor = statement.run(self._connection, *rows)
        self._expected.append((cursor, len(rows), otherwise))

    def judge(self) -> None:
        """Raise the first of what was not to be."""
        for cursor, count, otherwise in self._expected:
            found = cursor.rowcount if cursor.description is None else len(cursor.fetchall())
            if found != count:
                raise otherwise


@contextmanager
def one_trip(connection: Connection, *, begins: bool = False) -> Iterator[Trip]:
    """Let the statements inside travel together; SQLite runs each at once.

    Args:
        connection: which way they go.
        begins: whether they are the first ones of a transaction, whose BEGIN travels with them.

    Raises:
        DBAPIError: the database failed.
    """
    trip = Trip(connection)
    if connection.dialect.name == "sqlite":
        yield trip
    else:
        try:
            with (driver := driver_of(connection)).pipeline():
                if begins:
                    driver.execute(BEGIN)
                yield trip
        except connection.dialect.loaded_dbapi.Error as error:
            raise translated(connection, error) from error
    trip.judge()


def say(connection: Connection, text: str) -> None:
    """Run a statement without values or rows.

    Raises:
        DBAPIError: the database failed.
    """
    try:
        driver_of(connection).execute(text).close()
    except connection.dialect.loaded_dbapi.Error as error:
        raise translated(connection, error, text) from error


def driver_of(connection: Connection) -> Any:
    """Return the driver's connection."""
    return connection.connection.dbapi_connection


def translated(connection: Connection, error: Exception, text: str | None = None) -> DBAPIError:
    """Return an error of the driver as SQLAlchemy has it, without values.

    A connection that is lost is closed.
    """
    dialect: Any = connection.dialect
    is_lost = dialect.is_disconnect(error, driver_of(connection), None)
    if is_lost:
        connection.invalidate(error)
    return DBAPIError.instance(  # type: ignore[return-value]
        text,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
