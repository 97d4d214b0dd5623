"""Values on their way between a worker process and the committer: the same come out."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.protocol.scep.attributes import MessageType
from scepkit.store import Recorded, SameSubject, Status, StoredOutcome
from stored import make_issuance, make_queued

ZONES = st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)  # noqa: DTZ001
SERIALS = st.integers(1, 2**159 - 1)


def same(value):
    """Pickle a value and return what comes of it."""
    copy = pickle.loads(pickle.dumps(value))
    assert type(copy) is type(value)
    assert copy == value
    for one in fields(value):
        assert getattr(copy, one.name) == getattr(value, one.name)
    return copy


@given(
    now=MOMENTS,
    not_before=MOMENTS,
    not_after=MOMENTS,
    replace_at=st.none() | MOMENTS,
    same_subject=st.sampled_from(SameSubject),
    serial=SERIALS,
    renews=st.none() | SERIALS,
    challenge_id=st.none() | st.integers(1, 2**63 - 1),
    certificate=st.binary(),
    subject=st.text(st.characters(exclude_categories=())),
    reply_secret=st.none() | st.binary(),
    is_anew=st.booleans(),
)
def test_an_issuance(**values):
    same(replace(make_issuance(), **values))


@given(now=MOMENTS, expires_at=st.none() | MOMENTS, most=st.none() | st.integers(0))
def test_a_request_that_waits(now, expires_at, most):
    same(replace(make_queued(), now=now, expires_at=expires_at, most=most))


@given(
    status=st.sampled_from(Status),
    certificate=st.none() | st.binary(),
    serial=st.none() | SERIALS,
    reason=st.none() | st.text(),
    request_id=st.none() | st.integers(1),
)
def test_an_answer(**values):
    copy = same(Recorded(StoredOutcome(**values)))
    assert copy.outcome.status is values["status"]


def test_a_moment_is_in_utc_then():
    zone = timezone(timedelta(hours=2))
    copy = same(make_issuance(now=datetime(2026, 11, 29, 1, 2, 3, 456789, zone)))
    assert copy.now.tzinfo is UTC


def test_a_member_of_an_enumeration_of_numbers_goes_as_its_number():
    copy = same(make_issuance(message_type=MessageType.PKCS_REQ))
    assert type(copy.message_type) is int


@pytest.mark.parametrize("name", ["subject", "certificate", "peer"])
def test_what_travels_names_no_field(name):
    assert name.encode() not in pickle.dumps(make_issuance(subject="x", peer="y"))
