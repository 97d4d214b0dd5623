"""What /metrics says of revocations and CRLs, whoever made them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from scepkit.ca.extensions import ca_id
from scepkit.errors import StoreError
from scepkit.operations import revocation
from scepkit.protocol.crl import Reason
from scepkit.server.web import metrics
from scepkit.server.web.metrics import RecordMetrics
from scepkit.store import Door, Store
from stored import CA, make_challenge, make_issuance

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/scep.db"


@pytest.fixture
def store(url):
    with Store.open(url) as store:
        yield store


@pytest.fixture
def issued(store):
    made = [make_issuance() for _ in range(3)]
    for future in [store.record(one) for one in made]:
        future.result()
    return [one.serial for one in made]


def told(*collectors):
    """Return our metrics by name and labels."""
    body, _ = metrics.render(*collectors)
    return {
        name: float(value)
        for name, value in re.findall(r"^(scep_[^ ]+) (\S+)$", body.decode(), re.MULTILINE)
        if name.startswith(("scep_recorded", "scep_crl"))
    }


def test_challenges_by_endpoint_and_door(store):
    times = {"created_at": NOW, "expires_at": datetime.now(UTC) + timedelta(hours=1)}
    for door in (Door.REST, Door.REST, Door.NDES):
        store.add_challenges([make_challenge(door=door, **times)])
    store.add_challenges([make_challenge()])  # expired
    body, _ = metrics.render(RecordMetrics(lambda: store))
    assert re.findall(r"^scep_pending_challenges(\S+) (\S+)$", body.decode(), re.MULTILINE) == [
        ('{door="ndes",endpoint="main"}', "1.0"),
        ('{door="rest",endpoint="main"}', "2.0"),
    ]


def test_by_action_and_reason(store, issued):
    how = {"by": "alice", "now": NOW}
    one, two, three = issued
    for serial in (one, two):
        revocation.revoke(store, serial, reason=Reason.keyCompromise, **how)
    revocation.hold(store, three, **how)
    revocation.release(store, three, **how)
    assert told(RecordMetrics(lambda: store)) == {
        'scep_recorded_revocations{action="revoke",reason="keyCompromise"}': 2,
        'scep_recorded_revocations{action="hold",reason="certificateHold"}': 1,
        'scep_recorded_revocations{action="release",reason="removeFromCRL"}': 1,
    }


def test_the_age_and_the_number_of_a_crl(store, url):
    """Also where the database is opened for it: in the process that serves metrics alone."""
    store.reserve_crl_number(CA)
    number = store.reserve_crl_number(CA)
    store.put_crl(CA, number, b"crl", NOW, NOW + timedelta(days=1))
    ca = f'{{ca="{ca_id(CA)}"}}'
    expected = {
        f"scep_crl_number{ca}": 2,
        f"scep_crl_this_update_timestamp_seconds{ca}": NOW.timestamp(),
        f"scep_crl_next_update_timestamp_seconds{ca}": NOW.timestamp() + 86400,
    }
    assert told(RecordMetrics(lambda: store)) == expected
    assert told(RecordMetrics.of(url)) == expected


def test_the_database_is_not_asked_every_time(store, issued, monkeypatch):
    """Whoever asks often does not make the record be counted often."""
    clock = [0.0]
    asked = RecordMetrics(lambda: store, monotonic=lambda: clock[0])
    assert told(asked) == {}
    revocation.hold(store, issued[0], by="alice", now=NOW)
    assert told(asked) == {}
    clock[0] = 10.0
    assert len(told(asked)) == 1


def test_without_the_database_the_rest_is_told(store, monkeypatch):
    def fails(_store):
        raise StoreError("the database does not answer")

    monkeypatch.setattr(Store, "revocation_counts", fails)
    body, _ = metrics.render(RecordMetrics(lambda: store))
    assert b"scep_requests" in body
    assert b"scep_recorded" not in body
