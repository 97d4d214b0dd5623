"""Opening: fresh, current, newer, somebody else's, or no database at all."""

from __future__ import annotations

import fcntl
import sqlite3
import stat
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, inspect

from scepkit.errors import NewerDatabase, StoreError
from scepkit.store import Store, engine, schema
from scepkit.store.tables.metadata import metadata


@pytest.fixture
def database():
    """SQLite's own ways; PostgreSQL's are in test_postgresql.py."""
    return "sqlite"


def test_the_migrations_make_exactly_the_tables(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrations_make_the_same_constraints_and_columns(store, tmp_path):
    """Alembic compares no CHECK constraints and no names, so compare what SQLite keeps."""
    other = create_engine(f"sqlite:///{tmp_path}/other.db")
    metadata.create_all(other)
    assert shape(store._engine) == shape(other)
    other.dispose()


def shape(engine):
    """Every table but Alembic's, in words; an added column carries its foreign key unnamed."""
    found = inspect(engine)
    return {
        table: {
            "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in columns],
            "primary key": found.get_pk_constraint(table),
            "foreign keys": sorted(
                (*key["constrained_columns"], key["referred_table"], *key["referred_columns"])
                for key in found.get_foreign_keys(table)
            ),
            "unique": sorted(found.get_unique_constraints(table), key=str),
            "checks": sorted(found.get_check_constraints(table), key=str),
            "indexes": sorted(
                (i["name"], *i["column_names"], *map(str, i["dialect_options"].values()))
                for i in found.get_indexes(table)
            ),
        }
        for (_, table), columns in found.get_multi_columns().items()
        if table != "alembic_version"
    }


def test_head_is_the_newest_migration(store):
    from alembic.script import ScriptDirectory

    with store._engine.connect() as connection:
        config = schema.alembic_config(connection)
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_an_open_of_a_current_database_does_not_import_alembic(store, url):
    code = (
        "import sys; from scepkit.store import Store; Store.open(sys.argv[1]).close();"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == 0


def test_what_was_stored_is_there_after_the_next_open(url, issuance):
    new = issuance()
    with Store.open(url) as store:
        store.record(new).result()
    with Store.open(url) as store:
        assert store.certificate(new.serial).der == new.certificate


def test_the_database_is_durable_and_strict(store):
    with store._engine.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1, 5_000]  # 2 is FULL


def test_nobody_else_may_read_the_database(store, path, issuance):
    store.record(issuance()).result()
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE requests SET status = 'perhaps'",
        "UPDATE requests SET serial = NULL",
        "UPDATE challenges SET spent_at = NULL",
    ],
)
def test_the_tables_refuse_what_makes_no_sense(store, issuance, put, sql, statement):
    store.record(issuance(challenge_id=put().id)).result()
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        sql(statement)


def test_a_newer_database_is_left_alone(url, path, sql):
    Store.open(url).close()
    sql("UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    with pytest.raises(NewerDatabase, match=r"newer scepkit \(revision 9999\)") as caught:
        Store.open(url)
    assert "\n" not in str(caught.value)
    assert "install" in caught.value.hint
    assert path.read_bytes() == before


def test_another_programs_database_is_left_alone(url, path, sql):
    sql("CREATE TABLE photos (id INTEGER)")
    with pytest.raises(StoreError, match="another program"):
        Store.open(url)
    assert sql("SELECT name FROM sqlite_master") == [("photos",)]


def test_a_file_that_is_no_database(url, path):
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StoreError, match="cannot open the database: file is not a database") as e:
        Store.open(url)
    assert e.value.hint
    assert path.read_bytes() == b"Dear diary, " * 1000


@pytest.mark.parametrize("place", ["missing/scep.db", "file/scep.db", "", "/proc/scep.db"])
def test_a_place_where_no_file_can_be(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"^cannot open the database: ") as caught:
        Store.open(f"sqlite:///{tmp_path / place}")
    assert "\n" not in str(caught.value)
    assert "directory" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    ["", "scep.db", "sqlite://", "sqlite:///:memory:", "nosuch://x", "sqlite:///a?mode=memory"],
)
def test_a_url_that_names_no_database_file(url):
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    assert "sqlite:////absolute/path" in caught.value.hint


def test_a_driver_that_is_not_installed():
    with pytest.raises(StoreError, match="driver pg8000 is not installed"):
        Store.open("postgresql+pg8000://user:secret@host/database")


@pytest.mark.parametrize("name", ["mysql", "mariadb+pymysql", "oracle", "mssql+pymssql"])
def test_a_database_that_is_not_supported(name):
    """Nobody is sent to install a driver for it."""
    with pytest.raises(StoreError, match="SQLite or PostgreSQL") as caught:
        Store.open(f"{name}://user:secret@host/database")
    assert "postgresql://" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_database_is_opened_by_one_process_at_a_time(url, path, monkeypatch):
    """Without it the switch to WAL fails now and then when two processes start together."""
    free = []

    def look(*arguments):
        with path.with_name("scep.db.lock").open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free.append(True)
            except BlockingIOError:
                free.append(False)
        return real(*arguments)

    real = engine._prepare_sqlite
    monkeypatch.setattr(engine, "_prepare_sqlite", look)
    with Store.open(url) as store:
        assert free[0] is False  # later ones find the WAL made
        store._engine.dispose()
        store.ping()
    assert free == [False, True, True]


def test_ping_notices_that_nothing_can_be_written(store, sql):
    store.ping()
    sql(
        "CREATE TRIGGER no BEFORE UPDATE ON alembic_version"
        " BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
    )
    with pytest.raises(StoreError, match="disk is full") as caught:
        store.ping()
    assert "space" in caught.value.hint


def test_a_migration_that_fails_leaves_no_trace(url, monkeypatch):
    monkeypatch.setattr(
        "alembic.op.create_index", lambda *_: (_ for _ in ()).throw(OSError("stopped here"))
    )
    with pytest.raises(StoreError, match="stopped here"):
        Store.open(url)
    monkeypatch.undo()
    with Store.open(url) as store:
        store.ping()
