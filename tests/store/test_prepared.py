"""What is run on the driver is what SQLAlchemy would run: the same rows, values and errors."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from scepkit.store import Recorded, Store
from scepkit.store.column_types import TIME_WRITERS
from scepkit.store.connections import transaction
from scepkit.store.prepared import Placed, Prepared, one_trip, say
from scepkit.store.tables.certificates import certificates
from scepkit.store.tables.requests import requests, transactions
from stored import CA, put_challenge

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
TIMES = st.datetimes(
    datetime(1950, 1, 2),  # noqa: DTZ001
    datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=ZONES,
)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
CERTIFICATES = st.fixed_dictionaries(
    {
        "serial": st.integers(11, 2**159 - 1),
        "endpoint": TEXTS,
        "subject": TEXTS,
        "names": TEXTS,
        "der": st.binary(max_size=50),
        "not_before": TIMES,
        "not_after": TIMES,
        "public_key": st.binary(min_size=32, max_size=32),
        "issued_at": TIMES,
        "revoked_at": st.none() | TIMES,
        "revocation_reason": st.none() | st.integers(0, 10),
        "issuer": st.binary(max_size=32),
    }
)
INSERT = insert(certificates)
BY_SERIAL = select(certificates).where(certificates.c.serial == bindparam("of_serial"))
CLAIM = Prepared(insert(transactions).returning(transactions.c.id))
CLAIM_ALL = Prepared(insert(transactions))
OWN = Prepared(
    update(transactions)
    .where(transactions.c.transaction_id == bindparam("of_transaction_id"))
    .values(signer_key=bindparam("key"))
)
LAST = select(transactions).order_by(transactions.c.id.desc()).limit(2)


@pytest.fixture
def connection(store):
    with store._writers.connection() as opened:
        yield opened


def claimed(number):
    return {"endpoint": "main", "transaction_id": b"%d" % number, "signer_key": bytes(32)}


FLUSH = b"H\0\0\0\4"


@contextmanager
def undone(connection):
    """A transaction that is rolled back at the end."""
    with transaction(connection):
        say(connection, "SAVEPOINT before")
        yield
        say(connection, "ROLLBACK TO SAVEPOINT before")


def travel(connection, *steps):
    """Go on a trip in a transaction; a step is a statement and its rows, and an expectation."""
    with transaction(connection), one_trip(connection) as trip:
        for statement, rows, *otherwise in steps:
            if otherwise:
                trip.expect(statement, rows, *otherwise)
            else:
                trip.run(statement, *rows)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CERTIFICATES)
def test_a_row_is_written_and_read_as_sqlalchemy_does(connection, row):
    """Whichever of the two writes or reads it."""
    asked = {"of_serial": row["serial"]}
    with undone(connection):
        Prepared(INSERT).run(connection, row)
        ours = Prepared(BY_SERIAL).all(connection, asked)
        assert [tuple(one) for one in ours] == connection.execute(BY_SERIAL, asked).all()
    with undone(connection):
        connection.execute(INSERT, row)
        assert Prepared(BY_SERIAL).all(connection, asked) == ours
    named = dict(zip(certificates.c.keys(), ours[0], strict=True))
    assert {name: named[name] for name in row} == row
    assert named["not_before"].tzinfo is UTC


def test_a_time_without_a_zone_is_refused(connection):
    naive = {"at": datetime(2026, 1, 1)}  # noqa: DTZ001
    asked = Prepared(select(requests.c.id).where(requests.c.created_at < bindparam("at")))
    with pytest.raises(ValueError, match="zone"):
        asked.all(connection, naive)


def test_several_rows_are_one_statement_and_all_are_counted(connection):
    with transaction(connection):
        CLAIM_ALL.run(connection, *map(claimed, range(5)))
        values = [{"of_transaction_id": b"%d" % n, "key": b"k" * 32} for n in (0, 2, 4, 9)]
        assert OWN.run(connection, *values).rowcount == 3
        assert OWN.run(connection, values[0]).rowcount == 1
    assert len(Prepared(LAST).all(connection, {})) == 2  # what the definition itself gives
    assert CLAIM.first(connection, claimed(7)) == [6]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CERTIFICATES, min_size=1, max_size=3, unique_by=lambda row: row["serial"]))
def test_rows_that_are_shared_are_written_as_those_of_one_statement(connection, rows):
    adding, finding = Prepared(INSERT), Prepared(BY_SERIAL)
    with undone(connection):
        adding.run(connection, *rows)
        wanted = [finding.all(connection, {"of_serial": row["serial"]}) for row in rows]
    names = [*rows[0]]
    placed = [tuple(as_the_driver_takes(row[name], connection) for name in names) for row in rows]
    touching = Placed(
        update(certificates)
        .where(certificates.c.serial == bindparam("serial_"))
        .values(issued_at=bindparam("issued_at_"), revoked_at=bindparam("revoked_at_")),
        [f"{name}_" for name in names],
    )
    inserting = insert(certificates).values({name: bindparam(f"{name}_") for name in names})
    adding = Placed(inserting, [f"{name}_" for name in names])
    with undone(connection):
        with one_trip(connection) as trip:
            trip.run(adding, *placed)
            trip.expect(touching, placed, AssertionError())
        found = [finding.all(connection, {"of_serial": row["serial"]}) for row in rows]
    assert found == wanted


def as_the_driver_takes(value, connection):
    if isinstance(value, datetime):
        return TIME_WRITERS[connection.dialect.name](value)
    # Of whole numbers only serial numbers are stored in another form.
    return f"{value:x}" if isinstance(value, int) and value > 10 else value


def test_a_value_that_is_missing_is_no_null(connection):
    with pytest.raises(KeyError):
        OWN.run(connection, {"key": bytes(32)})


def test_errors_are_those_of_sqlalchemy(connection):
    with transaction(connection):
        CLAIM.first(connection, claimed(1))
    with pytest.raises(IntegrityError) as ours, transaction(connection):
        CLAIM.first(connection, claimed(1))
    with pytest.raises(IntegrityError) as theirs, transaction(connection):
        connection.execute(insert(transactions), claimed(1))
    assert type(ours.value.orig) is type(theirs.value.orig)
    assert str(ours.value.orig) == str(theirs.value.orig)
    assert not ours.value.connection_invalidated
    assert ours.value.params is None
    with pytest.raises((OperationalError, ProgrammingError)):
        say(connection, "SELECT no_such_column")


def test_a_trip_that_does_not_do_what_was_expected(connection):
    values = [{"of_transaction_id": b"%d" % n, "key": b"k" * 32} for n in (1, 2)]
    good, bad = (OWN, values[:1], AssertionError()), (OWN, values, LookupError())
    later = OWN, values, AssertionError()
    with pytest.raises(LookupError):
        travel(connection, (CLAIM_ALL, [claimed(1)]), good, bad, later)
    assert Prepared(LAST).all(connection, {}) == []
    travel(connection, (CLAIM_ALL, [claimed(1)]), good)
    assert len(Prepared(LAST).all(connection, {})) == 1


def test_a_trip_expects_a_row_that_is_found(connection):
    found = Prepared(LAST.where(transactions.c.transaction_id == bindparam("of_transaction_id")))
    travel(connection, (CLAIM_ALL, [claimed(1)]))
    travel(connection, (found, [{"of_transaction_id": b"1"}], AssertionError()))
    with pytest.raises(LookupError):
        travel(connection, (found, [{"of_transaction_id": b"2"}], LookupError()))


def test_the_first_error_of_a_trip_is_raised(connection):
    twice = CLAIM_ALL, [claimed(1), claimed(1)]
    nobody = OWN, [{"of_transaction_id": b"9", "key": bytes(32)}], LookupError()
    with pytest.raises(IntegrityError):
        travel(connection, twice, nobody)
    assert Prepared(LAST).all(connection, {}) == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
class TestOnAServer:
    def test_a_connection_that_is_lost_is_closed(self, store, sql):
        with store._readers.connection():
            pass
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(OperationalError) as caught, store._readers.connection() as connection:
            Prepared(LAST).all(connection, {})
        assert caught.value.connection_invalidated
        assert connection.closed
        assert store._readers._idle == []

    def test_a_batch_takes_two_round_trips(self, url, issuance, tmp_path):
        """One for all that is written, one for the COMMIT; a look-up takes one."""
        with _Counter(url, tmp_path) as counter, Store.open(counter.url, node="n") as store:
            ids = [put_challenge(store).id for _ in range(4)]
            store.find_certificate(CA, 1)
            first = issuance(challenge_id=ids[0])
            for entry in (first, issuance(challenge_id=ids[1])):  # prepares what comes again
                assert isinstance(store.record(entry).result(), Recorded)
            before = counter.trips
            renewal = issuance(challenge_id=ids[2], renews=first.serial)
            for entry in (issuance(challenge_id=ids[3]), renewal):
                assert isinstance(store.record(entry).result(), Recorded)
            assert counter.trips - before == 4
            before = counter.trips
            assert store.find_challenge(first.endpoint, bytes(32)) is None
            assert store.find_certificate(CA, first.serial).der == first.certificate
            assert counter.trips - before == 2


class _Counter:
    """Stands between a client and the server, and counts how often the client waits for it."""

    def __init__(self, url, directory):
        self._server = url.rpartition("host=")[2] + "/.s.PGSQL.5432"
        self.url = url.rpartition("host=")[0] + f"host={directory}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen()
        self.trips = 0

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            turns = [None]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(
                    target=self._pass_on, args=(source, sink, turns, source is client), daemon=True
                ).start()

    def _pass_on(self, source, sink, turns, is_client):
        # The other direction may be over already, and has closed this one's source.
        with closing(sink), suppress(OSError):
            while octets := source.recv(1 << 20):
                # A Flush comes after a Sync: nobody waits for it, and the answer may be under way.
                if octets != FLUSH:
                    self.trips += is_client and turns[0] is not source
                    turns[0] = source
                sink.sendall(octets)
