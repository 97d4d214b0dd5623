"""Revocation passphrases, which come to the store encrypted."""

from __future__ import annotations

import pytest

from scepkit.errors import StoreError
from stored import NOW


def test_some_certificates_of_a_batch_have_one(store, issuance):
    made = [issuance(passphrase=b"%d" % n if n % 2 else None) for n in range(6)]
    for future in [store.record(new) for new in made]:
        future.result()
    found = [store.passphrase(new.serial) for new in made]
    assert found == [None, b"1", None, b"3", None, b"5"]
    assert store.passphrase(4711) is None


def test_it_is_stored_with_the_certificate_or_not_at_all(store, issuance, sql):
    sql("ALTER TABLE passphrases RENAME TO away")
    new = issuance(passphrase=b"hidden")
    with pytest.raises(StoreError):
        store.record(new).result()
    sql("ALTER TABLE away RENAME TO passphrases")
    assert store.certificate(new.serial) is None
    store.record(new).result()
    assert store.passphrase(new.serial) == b"hidden"


def test_an_approval_moves_it(store, queued, grant, sql):
    number = store.queue(queued(passphrase=b"hidden")).result().outcome.request_id
    new = grant(store.request(number))
    store.approve(number, new, by="alice")
    assert store.passphrase(new.serial) == b"hidden"
    assert sql("SELECT passphrase FROM requests") == [(None,)]


def test_a_rejection_forgets_it(store, queued, sql):
    number = store.queue(queued(passphrase=b"hidden")).result().outcome.request_id
    store.reject(number, fail_info=2, reason="no", by="alice", now=NOW)
    assert sql("SELECT passphrase FROM requests") == [(None,)]
