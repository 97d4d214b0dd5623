"""Certificates and requests are looked for a page at a time, while others come and go."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from scepkit.errors import UsageError
from scepkit.store import (
    CertificateFilter,
    CertificateKey,
    CertificateStatus,
    RequestFilter,
    Status,
)
from scepkit.store.certificates import listing
from scepkit.store.requests import listing as request_listing
from stored import ENDPOINT, NOW

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def serials(store):
    """The serial numbers of all pages, and how many pages there were."""

    def look(limit=100, **wanted):
        found, after = [], None
        while True:
            page = store.certificate_page(CertificateFilter(**wanted), after=after, limit=limit)
            assert len(page.rows) <= limit
            found += [row.serial for row in page.rows]
            if (after := page.after) is None:
                return found

    return look


@pytest.fixture
def some(store, issuance):
    """Seven certificates, a day between each and the next; the later, the higher the number."""
    for number in range(1, 8):
        new = issuance(
            serial=number,
            now=NOW + number * DAY,
            not_after=NOW + (100 + number) * DAY,
            endpoint="wifi" if number % 2 else ENDPOINT,
            subject=f"CN=Device{number},O=Example",
            names=f"dns:host{number}.example\nip:192.0.2.{number}",
            public_key=bytes([number % 3]) * 32,
        )
        store.record(new).result()


@pytest.mark.parametrize("scan", [1, 3, 100])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_each_way_to_look(store, some, serials, monkeypatch, scan, limit):
    monkeypatch.setattr(listing, "SCAN", scan)

    def look(**wanted):
        return serials(limit, **wanted)

    assert look() == [7, 6, 5, 4, 3, 2, 1]
    assert look(serial=3) == [3]
    assert look(serial=99) == []
    assert look(key=bytes([1]) * 32) == [7, 4, 1]
    assert look(key=bytes([1]) * 32, subject="device4") == [4]
    assert look(endpoint="wifi") == [7, 5, 3, 1]
    assert look(subject="DEVICE5") == [5]
    assert look(name="dns:HOST6.ex") == [6]
    assert look(name="192.0.2.", endpoint="wifi") == [7, 5, 3, 1]
    assert look(name="%") == look(name="_") == []
    assert look(issued_after=NOW + 3 * DAY, issued_before=NOW + 5 * DAY) == [4, 3]
    assert look(expires_after=NOW + 103 * DAY, expires_before=NOW + 105 * DAY) == [4, 3]
    store.revoke(2, reason=6, by="alice", now=NOW)
    store.revoke(3, reason=1, by="alice", now=NOW)
    later = {"now": NOW + 105 * DAY}
    assert look(status=CertificateStatus.REVOKED) == [3, 2]
    assert look(status=CertificateStatus.HELD) == [2]
    assert look(status=CertificateStatus.EXPIRED, **later) == [4, 1]
    assert look(status=CertificateStatus.VALID, **later) == [7, 6, 5]
    assert look(status=CertificateStatus.VALID, endpoint="wifi", **later) == [7, 5]


def test_what_is_signed_is_valid_too(store, issuance, serials):
    for number in (1, 2, 3):
        store.record(
            issuance(serial=number, delivery=f"d{number}" if number > 1 else None)
        ).result()
    store.revoke(3, reason=1, by="alice", now=NOW)
    assert serials(status=CertificateStatus.SIGNED, now=NOW) == [2]
    assert serials(status=CertificateStatus.VALID, now=NOW) == [2, 1]
    assert {key.serial for key in store.certificate_page(CertificateFilter()).signed} == {2, 3}
    assert serials(status=CertificateStatus.SIGNED, now=NOW + 1000 * DAY) == []
    with pytest.raises(UsageError, match="no time is given"):
        CertificateFilter(status=CertificateStatus.SIGNED)


@pytest.mark.parametrize(
    ("wanted", "is_scan"),
    [
        ({}, False),
        ({"serial": 1}, False),
        ({"key": bytes(32)}, False),
        ({"key": bytes(32), "name": "a"}, False),
        ({"endpoint": "a", "issued_after": NOW, "issued_before": NOW}, False),
        ({"subject": "a"}, True),
        ({"name": "a", "endpoint": "a"}, True),
        ({"status": CertificateStatus.HELD}, True),
        ({"expires_after": NOW}, True),
    ],
)
def test_a_scan_says_that_it_is_one(wanted, is_scan):
    assert CertificateFilter(**wanted).is_scan is is_scan


def test_a_page_of_a_scan_is_bounded(store, some, monkeypatch):
    """It ends after so many certificates, and says where to go on."""
    monkeypatch.setattr(listing, "SCAN", 3)
    wanted = CertificateFilter(subject="Device1")
    first = store.certificate_page(wanted)
    assert (first.rows, first.after.serial) == ([], 5)
    second = store.certificate_page(wanted, after=first.after)
    assert (second.rows, second.after.serial) == ([], 2)
    third = store.certificate_page(wanted, after=second.after)
    assert [row.serial for row in third.rows] == [1]
    assert store.certificate_page(wanted, after=third.after).after is None


@pytest.mark.parametrize("name", ["subject", "name"])
def test_what_has_two_bounds_is_read_between_them(store, some, monkeypatch, database, name):
    """However deep into the list a page is, it reads no more than the first one."""
    if database != "sqlite":
        pytest.skip("the plan of so few rows is no plan of many")
    monkeypatch.setattr(listing, "SCAN", 2)
    statements = []
    event.listen(store._engine, "before_cursor_execute", lambda *what: statements.append(what[2:4]))
    after = store.certificate_page(CertificateFilter(), limit=2).after
    store.certificate_page(
        CertificateFilter(**{name: "x"}, expires_before=NOW + 1000 * DAY), after=after
    )
    with store._reading() as connection:
        plans = [
            str(row[-1])
            for statement, values in tuple(statements)
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    assert not any("not_after" in plan for plan in plans)
    assert any("ix_certificates_issued_at_serial ((issued_at,serial)>" in plan for plan in plans)


# --- others come and go ---------------------------------------------------------------------------

CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "revoke"]), st.integers(0, 40)), max_size=4
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    times=st.lists(st.integers(0, 6), min_size=1, max_size=25),
    changes=st.lists(CHANGES, max_size=12),
    limit=st.integers(1, 6),
    scan=st.integers(1, 8),
    is_scan=st.booleans(),
)
def test_none_twice_and_none_missed(
    store, issuance, sql, monkeypatch, times, changes, limit, scan, is_scan
):
    """Rows of the same time too, which come, go and are revoked between any two pages.

    Each second one has the serial number of the one before it, of another CA.
    """
    monkeypatch.setattr(listing, "SCAN", scan)
    for table in ("revocations", "requests", "transactions", "certificates"):
        sql(f"DELETE FROM {table}")
    count = iter(range(2, 1000))
    quoted = "X'{}'" if "sqlite" in str(store._engine.url) else "'\\x{}'"

    def key(number):
        return CertificateKey(number // 2, bytes([number % 2]) * 32)

    def add(time):
        number = next(count)
        serial, issuer = key(number)
        new = issuance(serial=serial, issuer=issuer, now=NOW + time * SECOND)
        store.record(new).result()
        return new.serial, new.issuer

    def remove(number):
        serial, issuer = key(number)
        removed.add(key(number))
        for table in ("requests", "revocations", "certificates"):
            sql(
                f"DELETE FROM {table} WHERE serial = '{serial:x}'"
                f" AND issuer = {quoted.format(issuer.hex())}"
            )

    def revoke(number):
        store.revoke(key(number), reason=1, by="alice", now=NOW)

    make = {"add": lambda number: add(number % 8), "remove": remove, "revoke": revoke}
    removed = set()
    at_first = {add(time) for time in times}
    wanted = CertificateFilter(subject="device" if is_scan else None)
    seen, after = [], None
    for several in [*changes, *[[]] * 1000]:
        page = store.certificate_page(wanted, after=after, limit=limit)
        seen += [row.key for row in page.rows]
        if (after := page.after) is None:
            break
        for change, number in several:
            make[change](number)
    assert len(seen) == len(set(seen))
    assert at_first - removed <= set(seen)


# --- requests -------------------------------------------------------------------------------------


@pytest.fixture
def waiting(store, queued, issuance):
    """Requests 1 to 6 of which 2 and 5 are rejected, 3 is over; and some that were never asked."""
    for number in range(1, 7):
        new = queued(
            subject=f"CN=Device{number}",
            now=NOW + number * SECOND,
            expires_at=NOW + (1 if number == 3 else 7) * DAY,
            endpoint="wifi" if number > 4 else ENDPOINT,
        )
        store.queue(new).result()
        store.record(issuance()).result()
    ids = {row.subject: row.id for row in store.requests()}
    for number in (2, 5):
        store.reject(ids[f"CN=Device{number}"], fail_info=2, reason="no", by="al", now=NOW)


@pytest.mark.parametrize("scan", [1, 3, 100])
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_each_way_to_look_for_requests(store, waiting, monkeypatch, scan, limit):
    monkeypatch.setattr(request_listing, "SCAN", scan)

    def look(**wanted):
        found, after = [], 0
        while after is not None:
            page = store.request_page(
                RequestFilter(now=NOW + 2 * DAY, **wanted), after=after, limit=limit
            )
            assert len(page.rows) <= limit
            found += [
                int((row.subject or "")[-1]) for row in page.rows if row.subject != "CN=device"
            ]
            after = page.after
        return found

    assert look() == [1, 4, 6]
    assert look(status=Status.REJECTED) == [2, 5]
    assert look(status=Status.EXPIRED) == [3]
    assert look(status=None) == [1, 2, 3, 4, 5, 6]
    assert look(status=Status.REJECTED, endpoint="wifi") == [5]
    assert look(subject="DEVICE4") == [4]
    assert look(made_after=NOW + 4 * SECOND) == [4, 6]
    assert look(made_before=NOW + 4 * SECOND) == [1]
    assert look(status=None, expires_before=NOW + 2 * DAY) == [3]
    assert look(expires_after=NOW + 2 * DAY) == [1, 4, 6]
