"""A database file that is replaced or removed under the store: nothing is answered from it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from scepkit.errors import StoreError
from scepkit.store import Recorded, Store


@pytest.fixture
def database():
    """SQLite's files; PostgreSQL has its own."""
    return "sqlite"


def wal_of(path):
    return path.with_name(f"{path.name}-wal")


def index_of(path):
    return path.with_name(f"{path.name}-shm")


def replaced(path):
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda path: path.unlink(), r"scep\.db was removed"),
        (replaced, r"scep\.db was replaced"),
        (lambda path: index_of(path).unlink(), r"scep\.db-shm was removed"),
        (lambda path: replaced(wal_of(path)), r"scep\.db-wal was replaced"),
    ],
)
def test_nothing_is_stored_and_nothing_read(store, path, issuance, how, said):
    first = issuance()
    assert isinstance(store.record(first).result(), Recorded)
    how(path)
    with pytest.raises(StoreError, match=said) as caught:
        store.record(issuance()).result()
    assert "start" in caught.value.hint
    with pytest.raises(StoreError, match=said):
        store.certificate(first.serial)
    with pytest.raises(StoreError, match=said):
        store.ping()


def test_a_second_store_of_the_same_process_drops_no_lock(store, path, url, issuance):
    """The metrics open one; another process would delete the WAL of a database without a lock."""
    with Store.open(url):
        look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1])"
        look += "; c.execute('SELECT * FROM sqlite_master').fetchall(); c.close()"
        subprocess.run([sys.executable, "-c", look, path], check=True)
    assert wal_of(path).exists()
    assert isinstance(store.record(issuance()).result(), Recorded)


def test_a_file_that_is_replaced_before_the_commit(store, path, issuance, monkeypatch):
    """A long wait for the lock, or for the disk, lies between the begin and the commit."""
    from scepkit.store.committing import group_commit

    real = group_commit.issue_all

    def issue_all(trip, entries):
        real(trip, entries)
        path.rename(path.with_suffix(".away"))

    monkeypatch.setattr(group_commit, "issue_all", issue_all)
    entry = issuance()
    with pytest.raises(StoreError, match="was removed under the running server"):
        store.record(entry).result()
    monkeypatch.undo()
    path.with_suffix(".away").rename(path)
    assert store.certificate(entry.serial) is None
    assert isinstance(store.record(entry).result(), Recorded)


def test_a_wal_that_is_removed_is_written_back_and_another_one_opened(store, path, issuance):
    first, second, third = (issuance() for _ in range(3))
    assert isinstance(store.record(first).result(), Recorded)
    wal_of(path).unlink()
    with pytest.raises(StoreError, match="removed under the running server; a new one") as caught:
        store.record(second).result()
    assert "nothing is lost" in caught.value.hint
    assert isinstance(store.record(third).result(), Recorded)
    assert wal_of(path).stat().st_size
    assert store.certificate(first.serial)
    assert store.certificate(second.serial) is None
    store.ping()


def test_what_began_with_the_old_wal_is_not_committed_with_the_new_one(
    store, path, issuance, monkeypatch
):
    """Another thread may have opened the new one in between."""
    from scepkit.store import connections

    real = connections._begin_sqlite

    def begin(connection):
        wal_of(path).unlink()
        with pytest.raises(OSError, match="a new one was opened"):
            store._files.check()
        monkeypatch.setattr(connections, "_begin_sqlite", real)
        real(connection)

    store.record(issuance()).result()
    monkeypatch.setattr(connections, "_begin_sqlite", begin)
    entry = issuance()
    with pytest.raises(StoreError, match="removed under the running server"):
        store.record(entry).result()
    assert store.certificate(entry.serial) is None
    assert isinstance(store.record(entry).result(), Recorded)
    assert store.certificate(entry.serial)


def test_a_wal_and_an_index_that_are_removed_are_not_opened_again(url, path, issuance):
    """Other processes have another index, so that nothing holds them back."""
    first, second = issuance(), issuance()
    with Store.open(url) as store:
        store.record(first).result()
        wal_of(path).unlink()
        index_of(path).unlink()
        for _ in range(2):
            with pytest.raises(StoreError, match=r"scep\.db-shm was removed"):
                store.ping()
        with Store.open(url) as other:
            assert other.certificate(first.serial)
            other.record(second).result()
    with Store.open(url) as again:
        assert again.certificate(first.serial)
        assert again.certificate(second.serial)


@pytest.mark.parametrize("is_killed", [True, False])
def test_what_a_removed_wal_held_is_not_lost(url, path, tmp_path, issuance, is_killed):
    """It is written back as soon as it is noticed, whatever becomes of the process."""
    entry = issuance()
    with Store.open(url) as store:
        assert isinstance(store.record(entry).result(), Recorded)
        wal_of(path).unlink()
        with pytest.raises(StoreError):
            store.record(issuance()).result()
        if is_killed:
            # What a kill would leave.
            left = shutil.copy(path, tmp_path / "left.db")
            url = f"sqlite:///{left}"
    with Store.open(url) as again:
        assert again.certificate(entry.serial)
        assert isinstance(again.record(issuance()).result(), Recorded)


def test_the_wal_stays_though_all_connections_were_closed(store, issuance):
    """After errors, for instance; SQLite deletes it with the last connection."""
    store.record(issuance()).result()
    store._readers._drop_idle()
    store._writers._drop_idle()
    assert isinstance(store.record(issuance()).result(), Recorded)


def test_a_command_that_opens_a_new_wal_before_the_server_notices(url, path, issuance):
    """It fails at once: the index tells of pages that the new WAL does not have."""
    first, second = issuance(), issuance()
    with Store.open(url) as store:
        store.record(first).result()
        wal_of(path).unlink()
        wal_of(path).touch()
        with pytest.raises(StoreError, match="removed under the running server; a new one"):
            store.ping()
        assert isinstance(store.record(second).result(), Recorded)
    with Store.open(url) as again:
        assert again.certificate(first.serial)
        assert again.certificate(second.serial)


OTHER_PROGRAM = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
database.execute("CREATE TABLE other (text)")
database.execute("INSERT INTO other VALUES ('x')")
"""


def test_the_end_of_a_store_whose_wal_was_replaced_leaves_the_new_one_alone(url, path, issuance):
    """The index that both share tells of the new WAL then; the store has the old one."""
    entries = [issuance() for _ in range(20)]
    with Store.open(url) as store:
        for entry in entries:
            store.record(entry).result()
        replaced(wal_of(path))
        subprocess.run([sys.executable, "-c", OTHER_PROGRAM, path], check=True)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT text FROM other").fetchall() == [("x",)]
    with Store.open(url) as again:
        assert all(again.certificate(entry.serial) for entry in entries)


@pytest.fixture
def settled(monkeypatch):
    """A directory is as it was in the next moment, and not seconds later."""
    monkeypatch.setattr("scepkit.store.connections.SETTLED_NANOSECONDS", 0)
    return lambda: time.sleep(0.05)  # longer than a tick of the file system's clock


def looked_at(monkeypatch, path):
    """Return the names at which a store looks from now on."""
    names, real = [], os.stat

    def stat(file, **named):
        names.append(str(file).removeprefix(str(path.parent)))
        return real(file, **named)

    monkeypatch.setattr("scepkit.store.connections.os.stat", stat)
    return names


@pytest.mark.parametrize("file", [str, wal_of, index_of], ids=["database", "WAL", "index"])
@pytest.mark.parametrize("change", [replaced, Path.unlink], ids=["replaced", "removed"])
def test_whatever_changes_in_a_settled_directory(store, path, issuance, settled, file, change):
    """Each look-up asks for the directory alone, and then for the files again."""
    first = issuance()
    store.record(first).result()
    settled()
    for _ in range(2):
        assert store.find_certificate(first.issuer, first.serial)
    change(Path(file(path)))
    with pytest.raises(StoreError, match="under the running server"):
        store.find_certificate(first.issuer, first.serial)


def test_a_database_that_was_moved_and_is_a_link_is_looked_at_where_it_is(
    store, path, issuance, settled, tmp_path
):
    """It is the same file, in a directory of which nothing is known."""
    first = issuance()
    store.record(first).result()
    assert store.find_certificate(first.issuer, first.serial)
    moved = tmp_path / "elsewhere" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    path.symlink_to(moved)
    settled()
    for _ in range(2):
        assert store.find_certificate(first.issuer, first.serial)
    replaced(moved)
    with pytest.raises(StoreError, match=r"scep\.db was replaced under the running server"):
        store.find_certificate(first.issuer, first.serial)


def test_the_directory_of_files_that_were_compared_is_all_that_is_looked_at(
    store, path, issuance, settled, monkeypatch
):
    first = issuance()
    store.record(first).result()
    (path.parent / "one").touch()
    settled()
    names = looked_at(monkeypatch, path)
    assert store.find_certificate(first.issuer, first.serial)
    assert names == ["", "/scep.db", "/scep.db-shm", "/scep.db-wal"]
    names.clear()
    assert store.find_certificate(first.issuer, first.serial)
    assert names == [""]
    (path.parent / "another").touch()
    assert store.find_certificate(first.issuer, first.serial)
    assert len(names) == 1 + 4


def test_a_directory_that_has_just_changed_vouches_for_nothing(store, path, issuance, monkeypatch):
    """Within one tick of the file system's clock another change would not show."""
    first = issuance()
    store.record(first).result()
    names = looked_at(monkeypatch, path)
    for _ in range(2):
        assert store.find_certificate(first.issuer, first.serial)
    assert len(names) == 2 * 4


def test_a_commit_compares_the_files_themselves(store, path, issuance, settled, monkeypatch):
    store.record(issuance()).result()
    settled()
    store.ping()
    names = looked_at(monkeypatch, path)
    store.record(issuance()).result()
    assert names == ["", "/scep.db", "/scep.db-shm", "/scep.db-wal"]


def test_a_directory_that_is_put_in_the_place_of_another_one(tmp_path, issuance, settled):
    home = tmp_path / "home"
    home.mkdir()
    first = issuance()
    with Store.open(f"sqlite:///{home}/scep.db") as store:
        store.record(first).result()
        shutil.copytree(home, tmp_path / "copy")
        settled()
        for _ in range(2):
            assert store.find_certificate(first.issuer, first.serial)
        home.rename(tmp_path / "away")
        (tmp_path / "copy").rename(home)
        with pytest.raises(StoreError, match="replaced under the running server"):
            store.find_certificate(first.issuer, first.serial)


def test_a_database_that_is_a_link_is_looked_at_itself(tmp_path, issuance, settled):
    """What it links to lies in another directory."""
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "scep.db"
    elsewhere.mkdir()
    Store.open(f"sqlite:///{elsewhere}/scep.db").close()
    link.symlink_to(elsewhere / "scep.db")
    first = issuance()
    with Store.open(f"sqlite:///{link}") as store:
        store.record(first).result()
        settled()
        for _ in range(2):
            assert store.find_certificate(first.issuer, first.serial)
        replaced(elsewhere / "scep.db")
        with pytest.raises(StoreError, match="replaced under the running server"):
            store.find_certificate(first.issuer, first.serial)
