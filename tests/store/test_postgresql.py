"""PostgreSQL's own ways: its locks, its durability, and how it fails."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Event

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, literal, select
from sqlalchemy.exc import OperationalError

from scepkit.errors import StoreError
from scepkit.store import CertificateKey, Purged, Recorded, SignerRevoked, Store, engine, schema
from scepkit.store.challenges.records import MANY
from scepkit.store.committing import group_commit
from scepkit.store.engine import fault
from scepkit.store.tables.metadata import metadata
from stored import NOW, make_challenge
from waiting import PATIENCE, wait_until


@pytest.fixture
def database():
    return "postgresql"


@pytest.fixture
def waits_for_lock(sql):
    """Return once somebody waits for a lock that somebody else holds."""

    def until_somebody_waits():
        blocked = "SELECT 1 FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
        wait_until(lambda: sql(blocked), "somebody who waits for a lock")

    return until_somebody_waits


def test_the_migrations_make_exactly_the_tables(store):
    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        found = inspect(connection)
        for table in metadata.tables.values():
            keys = {key["name"] for key in found.get_foreign_keys(table.name)}
            assert keys == {key.name for key in table.foreign_key_constraints}
            partial = {
                index["name"]
                for index in found.get_indexes(table.name)
                if index.get("dialect_options", {}).get("postgresql_where")
            }
            assert partial == {
                index.name
                for index in table.indexes
                if index.dialect_options["postgresql"]["where"] is not None
            }


def test_a_revocation_waits_for_the_renewal_that_was_first(
    store, issuance, waits_for_lock, monkeypatch
):
    """Between the look at the old certificate and the commit of the new one nobody revokes."""
    old = issuance()
    store.record(old).result()
    looked, go_on = Event(), Event()
    real = group_commit.one_trip

    @contextmanager
    def travel_and_stay(connection, **how):
        with real(connection, **how) as trip:
            yield trip
        looked.set()
        go_on.wait()

    monkeypatch.setattr(group_commit, "one_trip", travel_and_stay)
    renewal = store.record(issuance(renews=old.serial))
    assert looked.wait(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        revocation = pool.submit(store.revoke, old.serial, reason=1, by="alice", now=NOW)
        try:
            waits_for_lock()
        finally:
            go_on.set()
        assert isinstance(renewal.result(), Recorded)
        assert revocation.result().certificate.revoked_at == NOW


def test_a_renewal_waits_for_the_revocation_that_was_first(store, issuance, beside, waits_for_lock):
    old = issuance()
    store.record(old).result()
    with beside() as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE certificates SET revoked_at = now(), revocation_reason = 1")
        renewal = store.record(issuance(renews=old.serial))
        waits_for_lock()
        connection.execute("COMMIT")
    assert renewal.result() == SignerRevoked()


def test_a_cancellation_and_what_is_due_do_not_wait_for_each_other(
    store, issuance, waits_for_lock, monkeypatch
):
    """One has a plan and is to write its audit record; the other comes to that plan."""
    issued = [issuance() for _ in range(2)]
    for one in issued:
        store.record(one).result()
    first, second = sorted(CertificateKey(one.serial, one.issuer) for one in issued)
    store.plan_revocations([first, second], due_at=NOW, reason=1, by="alice", now=NOW)
    cancelled, go_on = Event(), Event()
    append = store._audit.append

    def stay_and_append(connection, events):
        monkeypatch.setattr(store._audit, "append", append)
        cancelled.set()
        go_on.wait()
        append(connection, events)

    monkeypatch.setattr(store._audit, "append", stay_and_append)
    with ThreadPoolExecutor(2) as pool:
        cancellation = pool.submit(store.cancel_revocations, [second], by="bob", now=NOW)
        try:
            assert cancelled.wait(PATIENCE)
            done = pool.submit(store.revoke_due, NOW)
            waits_for_lock()
        finally:
            go_on.set()
        assert [row.key for row in cancellation.result()] == [second]
        assert done.result() == 1
    assert store.certificate(second).revoked_at is None


def test_a_request_that_is_being_decided_is_decided_once(
    store, queued, grant, beside, waits_for_lock
):
    request_id = store.queue(queued()).result().outcome.request_id
    new = grant(store.request(request_id))
    with beside() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("BEGIN")
        connection.execute("UPDATE requests SET status = 'rejected', fail_info = 2")
        approval = pool.submit(store.approve, request_id, new, by="alice")
        try:
            waits_for_lock()
        finally:
            connection.execute("COMMIT")
        assert approval.result().outcome.status == "rejected"
    assert store.certificate(new.serial) is None


def test_a_purge_waits_for_a_request_that_is_coming_in(store, issuance, beside, waits_for_lock):
    """Else it would take the transaction from under the request."""
    old = issuance()
    store.record(old).result()
    times = dict.fromkeys(
        ("decided_before", "challenges_before", "certificates_before"), NOW + timedelta(days=1)
    )
    with beside() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("BEGIN")
        connection.execute(
            "INSERT INTO requests (transaction_row, fingerprint, message_type, csr, status,"
            " created_at) SELECT id, 'x', 19, 'x', 'pending', now() FROM transactions"
        )
        purge = pool.submit(store.purge, **times, now=NOW)
        try:
            waits_for_lock()
        finally:
            connection.execute("COMMIT")
        assert purge.result() == Purged(1, 0, 0, 0)
    assert store.poll(old.endpoint, old.transaction_id, old.signer_key).status == "pending"


def test_a_request_waits_for_a_purge_and_claims_its_transaction_anew(
    store, issuance, beside, waits_for_lock
):
    old = issuance()
    store.record(old).result()
    new = issuance(transaction_id=old.transaction_id, signer_key=old.signer_key)
    with beside() as connection:
        connection.execute("BEGIN")
        connection.execute("DELETE FROM requests")
        connection.execute("DELETE FROM transactions")
        answer = store.record(new)
        waits_for_lock()
        connection.execute("COMMIT")
    assert isinstance(answer.result(), Recorded)


def test_one_process_migrates_at_a_time(url, beside, waits_for_lock):
    with beside() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("BEGIN")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (schema.LOCK_KEY,))
        opening = pool.submit(Store.open, url)
        try:
            waits_for_lock()
        finally:
            connection.execute("COMMIT")
        opening.result().close()


def test_a_batch_is_tried_again_after_a_standoff(store, issuance, monkeypatch):
    """Of two transactions in each other's way PostgreSQL gives one up; it may be ours."""

    class Standoff(Exception):
        sqlstate = "40P01"

    real, tries = group_commit._write, []

    def give_up(connection, entries, audit):
        tries.append(entries)
        if len(tries) < 3:
            raise OperationalError("", {}, Standoff())
        return real(connection, entries, audit)

    monkeypatch.setattr(group_commit, "_write", give_up)
    assert isinstance(store.record(issuance()).result(), Recorded)
    tries.clear()
    monkeypatch.setattr(group_commit, "TRIES", 2)
    with pytest.raises(StoreError):
        store.record(issuance()).result()
    assert len(tries) == 2


def test_commits_are_durable_though_the_server_is_not_set_up_so(url, sql):
    sql("ALTER ROLE postgres SET synchronous_commit = off")
    try:
        with Store.open(url) as store, store._engine.connect() as connection:
            shown = [
                connection.exec_driver_sql(f"SHOW {name}").scalar()
                for name in ("synchronous_commit", "lock_timeout")
            ]
    finally:
        sql("ALTER ROLE postgres RESET synchronous_commit")
    assert shown == ["on", "5s"]


def test_a_lock_that_nobody_gives_back_is_a_store_error(url, issuance, hold):
    Store.open(url).close()
    with Store.open(url, patience=0.001) as store:
        with hold():
            with pytest.raises(StoreError, match="lock timeout") as caught:
                store.record(issuance()).result()
            with pytest.raises(StoreError, match="lock timeout"):
                store.ping()
        assert "another program" in caught.value.hint
        store.ping()


@pytest.mark.parametrize("table", ["certificates", "challenges", "requests", "transactions"])
def test_ping_notices_a_table_that_is_locked(url, beside, table):
    Store.open(url).close()
    with Store.open(url, patience=0.01) as store, beside() as connection:
        store.ping()
        connection.execute(f"BEGIN; LOCK {table} IN SHARE MODE")
        with pytest.raises(StoreError, match="lock timeout"):
            store.ping()
        connection.execute("ROLLBACK")
        store.ping()


def test_who_waits_behind_a_wait_in_vain_waits_no_more(url, beside):
    """A reader that waits behind others would else wait as long as all of them together."""
    Store.open(url).close()
    with Store.open(url, patience=0.5) as store, beside() as connection:
        before = time.monotonic()
        store.check_patience(before)
        connection.execute("BEGIN; LOCK certificates IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match="lock timeout"):
            store.certificate(1)
        with pytest.raises(StoreError, match="locked"):
            store.check_patience(before)
        # Whoever comes after that may have better luck.
        store.check_patience(time.monotonic())
        connection.execute("ROLLBACK")
        assert store.certificate(1) is None


def test_a_server_that_was_restarted_costs_one_failure(store, issuance, sql):
    """All open connections are gone; they are not tried one by one."""
    store.record(issuance()).result()
    with store._readers.connection(), store._readers.connection(), store._readers.connection():
        pass
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(StoreError, match="cannot read the database") as caught:
        store.certificate(1)
    assert "database server" in caught.value.hint
    assert store.certificate(1) is None
    with pytest.raises(StoreError, match="cannot store the certificate"):
        store.record(issuance()).result()
    assert isinstance(store.record(issuance()).result(), Recorded)


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("@/test", "@/nosuch", "does not exist", "create the database"),
        ("postgres@", "nobody-here@", "does not exist", "create the database and its user"),
        ("host=", "host=/nowhere", "cannot open the database", "database server"),
    ],
)
def test_a_server_or_database_that_is_not_there(url, old, new, message, hint):
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(url.replace(old, new))
    assert "\n" not in str(caught.value)
    assert hint in caught.value.hint


def test_more_connections_than_the_server_takes(url, sql):
    sql("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    try:
        with pytest.raises(StoreError, match="too many connections") as caught:
            Store.open(url.replace("postgres@", "crowded@"))
    finally:
        sql("DROP ROLE crowded")
    assert "max_connections" in caught.value.hint


@pytest.mark.parametrize(
    "said",
    [
        "FATAL:  sorry, too many clients already",
        "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        'FATAL:  too many connections for database "scep"',
    ],
)
def test_other_ways_to_be_too_many(said):
    error = fault("open the database", OSError(f'connection to server at "db" failed: {said}'))
    assert "max_connections" in error.hint


def test_another_programs_database_is_left_alone(url, sql):
    sql("CREATE TABLE photos (id INTEGER)")
    with pytest.raises(StoreError, match="another program"):
        Store.open(url)
    assert sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("photos",)]


def test_a_database_of_the_locale_c(cluster):
    """Debian makes such ones, encoded as SQL_ASCII, where no locale is set."""
    options = "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
    with cluster.fresh_database(options) as url:
        made = engine.connect(url)
        with made.connect() as connection:
            assert connection.scalar(select(literal("Zürich"))) == "Zürich"
        made.dispose()
        Store.open(url).close()


def test_challenges_that_were_just_made_are_found_by_their_mac(store, url):
    """What the database has not counted yet it would look through, one after the other."""
    new = [make_challenge() for _ in range(MANY)]
    store.add_challenges(new)
    asked = {"endpoint": new[0].endpoint, "mac": new[0].mac}
    with psycopg.connect(url) as connection:
        text = "EXPLAIN SELECT * FROM challenges WHERE endpoint = %(endpoint)s AND mac = %(mac)s"
        plan = [line for (line,) in connection.execute(text, asked)]
    assert any("Index Cond" in line and "mac" in line for line in plan), plan
