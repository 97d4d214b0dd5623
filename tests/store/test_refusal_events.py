"""Refused requests as events: one by one where the sender had a right, counted for strangers."""

from __future__ import annotations

import json
from concurrent.futures import Future
from datetime import timedelta

import pytest

from scepkit.store import EventType, Refusal, Subscription
from scepkit.store.notifications.refusal_events import EVERY, MOST_AT_ONCE
from stored import ENDPOINT, NOW


@pytest.fixture
def told(store):
    store.subscribe([Subscription("siem", frozenset({EventType.REFUSED}))])
    return store


def refused(name="1", **changes):
    values = {
        "endpoint": ENDPOINT,
        "is_entitled": False,
        "transaction_id": name,
        "message_type": "PKCS_REQ",
        "at": NOW,
        "fail_info": 2,
        "reason": "the challenge is wrong",
        "subject": "CN=device",
        "peer": "192.0.2.7",
    }
    return Refusal(**values | changes)


def keep(store, *refusals):
    promise = Future()
    store.keep_refusals(refusals, promise, most=1000)
    promise.result()


def bodies(store):
    return [json.loads(one.body) for one in store.deliveries()]


def test_who_had_a_right_is_told_of_once(told):
    one = refused(is_entitled=True, challenge=7, serial=0xABC)
    keep(told, one)
    keep(told, one)  # it comes again
    (body,) = bodies(told)
    assert body | {"id": ""} == {
        "id": "",
        "event": "refused",
        "at": "2026-11-05T12:00:00.123456Z",
        "endpoint": ENDPOINT,
        "actor": "192.0.2.7",
        "transaction_id": "1",
        "challenge": 7,
        "request": None,
        "subject": "CN=device",
        "renews": "0abc",
        "fail_info": "badRequest",
        "reason": "the challenge is wrong",
        "is_entitled": True,
        "count": 1,
    }


def test_strangers_are_counted_and_told_of_once_a_minute(told):
    """However many there are, the outbox gets one event of them a minute and endpoint."""
    keep(told, refused("0"))
    for n in range(1, 50):
        keep(told, refused(str(n), at=NOW + timedelta(seconds=1), times=2))
    keep(told, refused("x", endpoint="other", at=NOW + timedelta(seconds=1)))
    assert [(one["endpoint"], one["count"]) for one in bodies(told)] == [
        *((ENDPOINT, 1), ("other", 1)),
    ]
    keep(told, refused("last", at=NOW + EVERY))
    body = bodies(told)[-1]
    assert (body["count"], body["transaction_id"], body["is_entitled"]) == (99, "last", False)


def test_what_was_counted_last_is_told_when_nothing_more_comes(told):
    keep(told, refused("0"))
    keep(told, refused("1"), refused("2"))
    told.announce_refused(NOW + timedelta(seconds=30))
    assert len(bodies(told)) == 1
    for _ in range(2):
        told.announce_refused(NOW + EVERY)
    _, body = bodies(told)
    assert (body["count"], body["subject"], body["reason"]) == (2, None, "")


def test_a_clock_that_was_ahead_keeps_no_later_stranger_from_being_told_of(told):
    keep(told, refused("then", at=NOW + timedelta(days=365)))
    keep(told, refused("now", at=NOW))
    assert [one["count"] for one in bodies(told)] == [1, 1]


def test_many_with_a_right_at_once_are_told_in_part_and_counted(told):
    keep(told, *(refused(str(n), is_entitled=True) for n in range(MOST_AT_ONCE + 5)))
    assert [one["count"] for one in bodies(told)] == [*[1] * MOST_AT_ONCE, 5]


def test_what_asks_for_no_certificate_is_not_told(told):
    for kind in ("CERT_POLL", "GET_CERT", "GET_CRL"):
        for entitled in (True, False):
            keep(told, refused(kind, message_type=kind, is_entitled=entitled))
    assert bodies(told) == []


def test_where_nobody_is_told_nothing_is_counted(store, sql):
    store.subscribe([Subscription("siem", frozenset({EventType.ISSUED}))])
    keep(store, refused(), refused("2", is_entitled=True))
    assert sql("SELECT count(*) FROM outbox_marks") == [(0,)]
    assert bodies(store) == []
