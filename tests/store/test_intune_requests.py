"""Requests that Intune has validated: kept until it knows what became of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scepkit.store import IntuneName, Notice, SignedDelivery
from store.test_races import at_once
from stored import ENDPOINT, NOW

NAME = IntuneName(ENDPOINT, b"tx", b"d" * 32)
OTHER = IntuneName(ENDPOINT, b"tx", b"e" * 32)
MINUTE = timedelta(minutes=1)
NEVER = NOW - timedelta(days=3650)


def keep(store, name=NAME, csr=b"hidden", now=NOW):
    store.keep_validated(name, "corp", csr, now).result()


def fail(store, name=NAME, now=NOW):
    queued = store.queue_notice(name, Notice.FAILURE, now, code="Unknown", description="d" * 300)
    return queued.result()


def test_a_request_is_kept(store):
    assert store.validated(NAME) is None
    keep(store)
    row = store.validated(NAME)
    assert (row.name, row.registration, row.csr, row.notice) == (NAME, "corp", b"hidden", None)
    keep(store, csr=b"hidden anew", now=NOW + MINUTE)
    row = store.validated(NAME)
    assert (row.csr, row.validated_at) == (b"hidden anew", NOW + MINUTE)
    assert store.validated(OTHER) is None


def test_the_same_request_at_once(store):
    at_once([lambda: keep(store)] * 8)
    assert store.validated(NAME).csr == b"hidden"


def test_a_notification_waits_until_intune_has_had_it(store):
    keep(store)
    assert fail(store) is Notice.FAILURE
    assert store.due_notices("corp", NOW - MINUTE, 10) == []
    (row,) = store.due_notices("corp", NOW, 10)
    assert (row.notice, row.code, len(row.description)) == (Notice.FAILURE, "Unknown", 255)
    store.postpone_notice(row.id, NOW + MINUTE)
    assert store.due_notices("corp", NOW, 10) == []
    (row,) = store.due_notices("corp", NOW + MINUTE, 10)
    assert row.attempts == 1
    assert store.waiting_notices() == (1, NOW)
    store.finish_notice(row.id, NOW + MINUTE)
    assert store.due_notices("corp", NOW + MINUTE, 10) == []
    assert store.waiting_notices() == (0, None)
    assert store.validated(NAME).notice is Notice.FAILURE


def test_the_first_notification_stands(store):
    keep(store)
    queued = store.queue_notice(NAME, Notice.SUCCESS, NOW, certificate=b"der")
    assert queued.result() is Notice.SUCCESS
    assert fail(store) is Notice.SUCCESS
    row = store.validated(NAME)
    assert (row.certificate, row.code) == (b"der", None)
    keep(store, csr=b"again")
    assert store.validated(NAME).notice is Notice.SUCCESS


def test_of_a_request_that_is_not_kept_nothing_is_told(store):
    assert fail(store) is None
    assert store.due_notices("corp", NOW, 10) == []


def test_only_so_many_are_taken_at_once_those_that_wait_longest(store):
    for number in range(3):
        name = NAME._replace(csr_digest=bytes([number]) * 32)
        keep(store, name)
        fail(store, name, NOW - number * MINUTE)
    rows = store.due_notices("corp", NOW, 2)
    assert [one.name.csr_digest[0] for one in rows] == [2, 1]


@pytest.mark.parametrize(
    ("notice", "told", "forgotten"), [(False, False, 1), (True, False, 0), (True, True, 1)]
)
def test_what_intune_has_still_to_be_told_is_not_forgotten(store, notice, told, forgotten):
    keep(store)
    if notice:
        fail(store)
    if told:
        store.finish_notice(store.validated(NAME).id, NOW)
    assert store.forget_validated(NOW, NEVER) == 0
    assert store.forget_validated(NOW + MINUTE, NEVER) == forgotten
    assert store.forget_validated(NOW + MINUTE, NOW + MINUTE) == 1 - forgotten


def test_what_is_signed_and_not_delivered_is_found_by_its_endpoint(store, issuance):
    new = replace(issuance(), delivery="id-1")
    store.record(new).result()
    name = IntuneName(new.endpoint, new.transaction_id, new.csr_digest)
    later = new.now + MINUTE
    assert store.signed_before(later, [new.endpoint], 10) == [SignedDelivery("id-1", name)]
    assert store.signed_before(new.now, [new.endpoint], 10) == []
    assert store.signed_before(later, ["another"], 10) == []
    assert store.signed_before(later, [], 10) == []
    store.deliver("id-1", by="svc", now=later).result()
    assert store.signed_before(later, [new.endpoint], 10) == []
