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

        Args:
            connection: where.
            rows: the values.

        Returns:
            A cursor whose `rowcount` is that of all together; within `one_trip`, once that is over.

        Raises:
            DBAPIError: the database failed.
        """
        form = self.form(connection, rows[0])
        return form.run(connection, form.bound(rows))

    def all(self, connection: Connection, values: Values) -> list[list[Any]]:
        """Return the rows that it gives for these values.

        Raises:
            DBAPIError: the database failed.
        """
        form = self.form(connection, values)
        return [form.read(row) for row in form.rows(connection, values)]

    def first(self, connection: Connection, values: Values) -> list[Any] | None:
        """Return the first row that it gives for these values; None where there is none.

        Raises:
            DBAPIError: the database failed.
        """
        form = self.form(connection, values)
        rows = form.rows(connection, values)
        return form.read(rows[0]) if rows else None

    def form(self, connection: Connection, values: Values) -> _Form:
        """Return its form for a database; what an INSERT names are the keys of the values."""
        key = (connection.dialect.name, *values)
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = _Form(self.statement, connection.dialect, [*values])
        return form


class Placed:
    """A statement whose values come by place, and as the driver takes them. Threads may share it.

    Several statements can take theirs out of the same rows, which were converted once.

    Args:
        statement: its definition; each of its parameters is named as one of the values of a row.
        names: those of the values of a row, by place.
    """

    def __init__(self, statement: Statement, names: Sequence[str]) -> None:
        self.statement = statement
        self._names = names
        self._forms: dict[str, tuple[_Form, Callable[[Sequence[Any]], Any]]] = {}

    def run(self, connection: Connection, *rows: Sequence[Any]) -> DBAPICursor:
        """Run it for each of one or more rows; as `Prepared.run`.

        Raises:
            DBAPIError: the database failed.
        """
        form, take = self._forms.get(connection.dialect.name) or self._form(connection.dialect)
        return form.run(connection, [*map(take, rows)])

    def _form(self, dialect: Dialect) -> tuple[_Form, Callable[[Sequence[Any]], Any]]:
        form = _Form(self.statement, dialect)
        take = _taking([self._names.index(name) for name in form.names])
        made = self._forms[dialect.name] = form, take
        return made


class _Form:
    """A statement as one driver takes it.

    Attributes:
        text: the SQL.
        names: of its parameters, by place.
    """

    def __init__(
        self, statement: Statement, dialect: Dialect, keys: list[str] | None = None
    ) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=keys, for_executemany=True)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self.text = str(compiled)
        self._is_sqlite = dialect.name == "sqlite"
        self.names: list[str] = compiled.positiontup
        self._take = _taking(self.names)
        self._converters = {
            name: process
            for name, bind in binds.items()
            if (process := _bind_processor(bind.type, dialect)) is not None
        }
        # What the definition itself gives, such as a limit.
        self._constants = {
            name: bind.effective_value for name, bind in binds.items() if not bind.required
        }
        self._takes_as_it_is = self._is_sqlite and not (self._converters or self._constants)
        columns = getattr(statement, "exported_columns", ())
        processors = [_result_processor(column.type, dialect) for column in columns]
        self._columns = [
            (number, process) for number, process in enumerate(processors) if process is not None
        ]

    def bound(self, rows: Sequence[Values]) -> list[Any]:
        """Return rows of values as the driver takes them, by place."""
        if self._converters or self._constants:
            rows = converted = [{**self._constants, **row} for row in rows]
            for values in converted:
                for name, convert in self._converters.items():
                    values[name] = convert(values[name])
        return [*map(self._take, rows)]

    def run(self, connection: Connection, bound: Sequence[Any]) -> DBAPICursor:
        """Run it with one or more lots of bound values; return the driver's cursor.

        Raises:
            DBAPIError: the database failed.
        """
        try:
            return self.execute(connection.connection.dbapi_connection, bound)
        except connection.dialect.loaded_dbapi.Error as error:
            raise translated(connection, error, self.text) from error

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

    def rows(self, connection: Connection, values: Values) -> list[Any]:
        """Run it with one lot of values; return the rows that it gives, as the driver has them.

        Raises:
            DBAPIError: the database failed.
        """
        driver = driver_of(connection)
        rows: list[Any]
        try:
            if self._takes_as_it_is:
                rows = driver.execute(self.text, self._take(values)).fetchall()
            else:
                rows = [*self.execute(driver, self.bound((values,))).fetchall()]
        except connection.dialect.loaded_dbapi.Error as error:
            raise translated(connection, error, self.text) from error
        return rows

    def read(self, row: Sequence[Any]) -> list[Any]:
        """Return a row with its values as the types have them."""
        values = [*row]
        for number, process in self._columns:
            if values[number] is not None:
                values[number] = process(values[number])
        return values


def _taking(keys: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    """Return what takes values out by their names or places, in this order."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda values: [values[key] for key in keys]


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

    def run(self, statement: Prepared | Placed, *rows: Any) -> None:
        """Run a statement for each of one or more rows of values."""
        statement.run(self._connection, *rows)

    def expect(
        self, statement: Prepared | Placed, rows: Sequence[Any], otherwise: Exception
    ) -> None:
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
