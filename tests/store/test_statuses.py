"""How certificates stand: what OCSP asks at every request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event, update

from scepkit.store.tables.certificates import certificates
from stored import CA, NOW

LATER = NOW + timedelta(days=1)
OTHER = b"O" * 32


def issue(store, issuance, **changes):
    new = issuance(**changes)
    store.record(new).result()
    return new.serial


def test_ocsp_statuses(store, issuance):
    """Those of this CA, revoked or not, expired or not; nothing of what it did not issue."""
    good, taken = issue(store, issuance), issue(store, issuance)
    expired = issue(store, issuance, not_after=NOW + timedelta(seconds=1))
    foreign = issue(store, issuance, issuer=OTHER)
    store.revoke(taken, reason=4, by="alice", now=LATER)
    found = store.ocsp_statuses(CA, [taken, good, expired, foreign, 4711])
    assert found == {taken: (LATER, 4), good: (None, None), expired: (None, None)}
    assert store.ocsp_statuses(OTHER, [foreign, good]) == {foreign: (None, None)}


def test_a_certificate_of_before_there_were_several_cas(store, issuance):
    serial = issue(store, issuance)
    with store._writing("make it old") as connection:
        connection.execute(update(certificates).values(issuer=b""))
    assert store.ocsp_statuses(CA, [serial]) == {}
    store.assign_issuer(CA)
    assert serial in store.ocsp_statuses(CA, [serial])


@pytest.mark.parametrize("serial", [0, -1, -(2**64), 2**159, 2**80_000], ids=range(5))
def test_numbers_that_no_certificate_can_have(store, serial, monkeypatch):
    """Nor do they cost anything: the database is not asked."""
    monkeypatch.setattr(store, "_reading", None)
    assert store.ocsp_statuses(CA, [serial]) == {}
    with pytest.raises(TypeError):
        store.ocsp_statuses(CA, [serial, 1])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_by_the_primary_key(store, issuance):
    with store._reading() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT revoked_at, revocation_reason FROM certificates "
            "WHERE serial = '1' AND issuer = x'00'"
        ).all()
    assert "USING INDEX sqlite_autoindex_certificates_1 (serial=? AND issuer=?)" in plan[0][-1]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_whether_a_ca_has_issued_is_read_from_an_index_alone(store):
    """The certificates themselves, a hundred times as much, stay where they are."""
    asked = []
    event.listen(
        store._engine, "before_cursor_execute", lambda *a: asked.append((a[2], tuple(a[3])))
    )
    assert not store.has_issued(b"O" * 32)
    with store._engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0][0]}", asked[0][1]).all()
    assert [row[3] for row in plan] == [
        "SCAN certificates USING COVERING INDEX sqlite_autoindex_certificates_1"
    ]
