"""Certificates and revocations of before a CA came here."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import event

from scepkit.store import (
    Action,
    CertificateKey,
    ForeignCertificate,
    ForeignRevocation,
    Import,
    Purged,
    Revocation,
    Store,
)
from stored import CA, NOW

HOUR = timedelta(hours=1)
THEN = NOW - 100 * HOUR
COMPROMISE, SUPERSEDED, HOLD = 1, 4, 6
IMPORT = {"by": "alice", "note": "imported", "now": NOW}


def certificate(serial, **changes):
    values = {
        "key": CertificateKey(serial, CA),
        "endpoint": "main",
        "subject": f"CN=dev{serial}",
        "der": b"certificate %d" % serial,
        "not_before": THEN,
        "not_after": NOW + 1000 * HOUR,
        "public_key": b"K" * 32,
        "names": f"dns:dev{serial}.example",
    }
    return ForeignCertificate(**values | changes)


def revocation(serial, reason=SUPERSEDED, at=THEN, not_after=None):
    return ForeignRevocation(CertificateKey(serial, CA), Revocation(at, reason), not_after)


def number(store):
    """Reserve a CRL number and keep a CRL under it, which is current then."""
    reserved = store.reserve_crl_number(CA)
    store.put_crl(CA, reserved, b"crl", NOW, NOW + HOUR)
    return reserved


def revoked(store, now=NOW):
    return {row.serial: (row.revoked_at, row.reason) for row in store.revoked(CA, not_after=now)}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_nothing_is_looked_through_from_end_to_end(store):
    """Else each hundred of an import would cost as much as all that is stored already."""
    asked = []
    event.listen(
        store._engine, "before_cursor_execute", lambda *a: asked.append((a[2], a[3], a[5]))
    )
    store.import_revocations([revocation(7), revocation(8)], **IMPORT)
    store.import_certificates([certificate(7), certificate(9)], **IMPORT)
    store.import_revocations([revocation(9)], **IMPORT)
    assert store.stored_among([certificate(9).key]) == {certificate(9).key}
    with store._engine.connect() as connection:
        for statement, values, is_many in [*asked]:
            if not is_many and statement.split()[0] in ("SELECT", "UPDATE", "DELETE"):
                query = f"EXPLAIN QUERY PLAN {statement}"
                plan = [row[3] for row in connection.exec_driver_sql(query, values)]
                tables = ("SCAN certificates", "SCAN revoked_serials")
                assert not [line for line in plan if line.startswith(tables)], statement


def test_a_certificate_is_stored_once_and_never_changed(store):
    new, changed = certificate(7), certificate(7, der=b"another")
    assert store.import_certificates([new, new, changed], **IMPORT) == [
        Import.NEW,
        Import.KNOWN,
        Import.OTHER,
    ]
    assert store.import_certificates([new, changed], **IMPORT) == [Import.KNOWN, Import.OTHER]
    row = store.certificate(new.key)
    assert (row.der, row.subject, row.endpoint) == (new.der, "CN=dev7", "main")
    assert (row.names, row.issued_at, row.revoked_at) == ("dns:dev7.example", THEN, None)
    assert store.stored_among([new.key, CertificateKey(8, CA)]) == {new.key}


def test_a_revocation_waits_for_its_certificate(store):
    """Before the certificate is there, OCSP and CRL know its number; then it has it itself."""
    first = number(store)
    assert store.import_revocations([revocation(7)], **IMPORT) == [Import.NEW]
    assert store.crl_state(CA).outdated
    assert store.ocsp_statuses(CA, [7, 8]) == {7: (THEN, SUPERSEDED)}
    assert store.ocsp_statuses(CA, [7]) == {7: (THEN, SUPERSEDED)}
    assert store.ocsp_statuses(b"O" * 32, [7]) == {}
    assert revoked(store) == {7: (THEN, SUPERSEDED)}
    assert store.certificate(CertificateKey(7, CA)) is None
    assert store.has_issued(CA)
    assert not store.has_issued(b"O" * 32)
    assert number(store) > first
    store.import_certificates([certificate(7), certificate(8)], **IMPORT)
    assert store.crl_state(CA).outdated
    row = store.certificate(CertificateKey(7, CA))
    assert (row.revoked_at, row.revocation_reason, row.revoked_by) == (THEN, SUPERSEDED, "alice")
    assert store.ocsp_statuses(CA, [7, 8]) == {7: (THEN, SUPERSEDED), 8: (None, None)}
    assert revoked(store) == {7: (THEN, SUPERSEDED)}
    (line,) = store.revocation_history(row.key)
    assert (line.action, line.by, line.note, line.at) == (Action.REVOKE, "alice", "imported", NOW)


def test_a_revocation_of_what_is_here(store):
    store.import_certificates([certificate(7), certificate(8)], **IMPORT)
    number(store)
    assert store.import_revocations([revocation(7, COMPROMISE)], **IMPORT) == [Import.NEW]
    assert store.crl_state(CA).outdated
    assert revoked(store) == {7: (THEN, COMPROMISE)}
    number(store)
    assert store.import_revocations([revocation(7)], **IMPORT) == [Import.KNOWN]
    assert not store.crl_state(CA).outdated
    assert revoked(store) == {7: (THEN, COMPROMISE)}
    assert len(store.revocation_history(CertificateKey(7, CA))) == 1


@pytest.mark.parametrize("is_here", [True, False])
def test_only_a_hold_gives_way(store, is_here):
    """And what follows it counts from the hold."""
    if is_here:
        store.import_certificates([certificate(7)], **IMPORT)
    steps = [
        (revocation(7, HOLD), Import.NEW),
        (revocation(7, HOLD, NOW), Import.KNOWN),
        (revocation(7, COMPROMISE, NOW), Import.NEW),
        (revocation(7, HOLD), Import.KNOWN),
        (revocation(7, SUPERSEDED), Import.KNOWN),
    ]
    for one, expected in steps:
        assert store.import_revocations([one], **IMPORT) == [expected]
    assert revoked(store) == {7: (THEN, COMPROMISE)}


def test_a_number_twice_in_one_step(store):
    store.import_certificates([certificate(8)], **IMPORT)
    twice = [revocation(serial, reason) for reason in (HOLD, COMPROMISE) for serial in (7, 8)]
    assert store.import_revocations(twice, **IMPORT) == [Import.NEW] * 4
    assert revoked(store) == {7: (THEN, COMPROMISE), 8: (THEN, COMPROMISE)}


def test_pages_of_a_crl(store, monkeypatch):
    monkeypatch.setattr("scepkit.store.revocations.crls.PAGE", 3)
    store.import_certificates([certificate(serial) for serial in range(1, 8)], **IMPORT)
    store.import_revocations([revocation(serial) for serial in range(1, 14)], **IMPORT)
    assert [*revoked(store)] == sorted(range(1, 14), key=lambda n: (n > 7, f"{n:x}"))


def test_an_end_that_is_known_ends_it(store):
    end = NOW + HOUR
    store.import_revocations([revocation(7, not_after=end), revocation(8)], **IMPORT)
    assert [*revoked(store, NOW)] == [7, 8]
    assert [*revoked(store, end)] == [8]
    times = dict.fromkeys(
        ("decided_before", "challenges_before", "certificates_before"), end + HOUR
    )
    assert store.would_purge(**times) == Purged(0, 0, 0, 1)
    assert store.purge(**times, now=NOW) == Purged(0, 0, 0, 1)
    assert [*store.ocsp_statuses(CA, [7, 8])] == [8]


def test_two_imports_at_once(store, url):
    """Both are told the truth: each certificate is new for one of them."""
    all_of_them = [certificate(serial) for serial in range(1, 300)]
    numbers = [revocation(serial) for serial in range(200, 400)]
    results = [[], []]

    def bring(into, order):
        with Store.open(url) as own:
            for start in range(0, 299, 20):
                chunk = all_of_them[::order][start : start + 20]
                into += (
                    own.import_revocations(numbers[::order][start : start + 20], **IMPORT)
                    if (numbers[::order][start : start + 20])
                    else []
                )
                into += own.import_certificates(chunk, **IMPORT)

    threads = [
        threading.Thread(target=bring, args=(results[n], order)) for n, order in enumerate((1, -1))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [*results[0], *results[1]]
    assert everything.count(Import.NEW) == everything.count(Import.KNOWN) == 299 + 200
    assert set(revoked(store)) == set(range(200, 400))
