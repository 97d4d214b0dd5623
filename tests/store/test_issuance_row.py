"""The row of an issuance on its way to a commit: plain values, out of which it comes again."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.protocol.scep.attributes import MessageType
from scepkit.store.audit.trail import unlinked
from scepkit.store.column_types import TIME_WRITERS
from scepkit.store.committing.entry_channel import packed, unpacked
from scepkit.store.requests.issuance_row import row_of
from scepkit.store.requests.issuances import audit_event
from stored import make_issuance

ZONES = st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)  # noqa: DTZ001
SERIALS = st.integers(1, 2**159 - 1)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
DIGESTS = st.binary(min_size=32, max_size=32)
RENEWED = st.fixed_dictionaries({"renews": SERIALS, "renews_issuer": DIGESTS})
ISSUANCES = st.builds(
    lambda renewed, **values: replace(make_issuance(), **values, **renewed),
    st.just({}) | RENEWED | st.fixed_dictionaries({"is_anew": st.booleans()}, optional={}),
    endpoint=TEXTS,
    transaction_id=st.binary(min_size=1, max_size=255),
    now=MOMENTS,
    not_before=MOMENTS,
    not_after=MOMENTS,
    message_type=st.sampled_from([MessageType.PKCS_REQ, 17, 2**70]),
    challenge_id=st.none() | st.integers(1, 2**63 - 1),
    is_only_use=st.booleans(),
    certificate=st.binary(max_size=50),
    serial=SERIALS,
    subject=TEXTS,
    names=TEXTS,
    peer=TEXTS,
    delivery=st.none() | TEXTS,
    notice=TEXTS,
    reply_secret=st.none() | st.binary(),
    passphrase=st.none() | st.binary(),
    subject_digest=st.none() | DIGESTS,
)
DIALECTS = st.sampled_from([*TIME_WRITERS])


@given(ISSUANCES, DIALECTS)
def test_it_is_made_an_issuance_again(issuance, dialect):
    row = row_of(issuance, dialect)
    again = row.issuance()
    assert row_of(again, dialect) == row
    assert again.now.tzinfo is again.not_after.tzinfo is UTC
    # Whether a chain is begun anew says nothing of what renews nothing.
    is_anew = issuance.renews is not None and issuance.is_anew
    wanted = replace(issuance, is_anew=is_anew)
    for one in fields(issuance):
        assert getattr(again, one.name) == getattr(wanted, one.name)


def test_what_it_renews_is_named_by_its_own_issuer_where_none_is_named():
    renewal = make_issuance(renews=7)
    row = row_of(renewal, "sqlite")
    assert row.issuance().renewed == row.renewed == renewal.renewed
    assert (row.chain_serial, row.chain_issuer) == ("7", renewal.issuer)
    anew = row_of(replace(renewal, is_anew=True), "sqlite")
    assert (anew.chain_serial, anew.chain_issuer) == (None, None)
    assert anew.issuance().is_anew
    assert not row.issuance().is_anew


@given(ISSUANCES, DIALECTS)
def test_its_audit_record_is_that_of_its_event(issuance, dialect):
    assert row_of(issuance, dialect).record() == unlinked(audit_event(issuance))


@given(ISSUANCES, DIALECTS)
def test_what_travels_is_plain(issuance, dialect):
    row = row_of(issuance, dialect)
    octets = packed(row)
    travelled = unpacked(octets)
    assert travelled == row
    assert type(travelled) is type(row)
    values = pickle.loads(octets)
    assert type(values) is tuple
    assert {type(one) for one in values} <= {str, bytes, int, bool, type(None)}


@pytest.mark.parametrize("dialect", [*TIME_WRITERS])
@given(time=MOMENTS)
def test_a_time_is_written_as_python_writes_it(dialect, time):
    zone = "" if dialect == "sqlite" else "+00"
    text = time.astimezone(UTC).isoformat(" ", "microseconds")
    assert TIME_WRITERS[dialect](time) == text.removesuffix("+00:00") + zone


@pytest.mark.parametrize("dialect", [*TIME_WRITERS])
def test_no_secret_shows_when_it_is_printed(dialect):
    issuance = replace(make_issuance(), reply_secret=b"hunter2", passphrase=b"hunter3")
    assert "hunter" not in f"{issuance!r} {row_of(issuance, dialect)!r}"
