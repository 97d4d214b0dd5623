"""The record and its hash: what somebody else can work out again from an export."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scepkit.errors import UsageError
from scepkit.store import AuditAction, AuditEvent, AuditRecord
from scepkit.store.audit.events import ranges
from scepkit.store.audit.format import JCS, digest
from scepkit.store.audit.trail import RECORD, linked, time_text, unlinked
from stored import NOW

PAGE = Path(__file__).parents[2] / "docs/reference/audit.md"
TEXT = st.text(st.characters(codec=None), max_size=40)  # lone surrogates and NUL, too
TIMES = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis puts the zone there
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
# Names of details are ours. Beyond U+FFFF, RFC 8785 has another order than Python.
NAMING = st.characters(codec="utf-8", max_codepoint=0xFFFF)
EVENTS = st.builds(
    AuditEvent,
    action=st.sampled_from(AuditAction),
    actor=TEXT,
    at=TIMES,
    endpoint=st.none() | st.sampled_from(["default", "vpn"]),
    serial=st.none() | st.integers(1, 2**159 - 1),
    transaction_id=st.none() | st.binary(min_size=1, max_size=255),
    subject=st.none() | TEXT,
    challenge=st.none() | st.integers(1, 2**53),
    reason=st.none() | TEXT,
    details=st.none()
    | st.dictionaries(
        st.sampled_from(["count", "label", "sans"]) | st.text(NAMING),
        st.integers(-(2**53), 2**53)
        | st.text(st.characters(codec="utf-8"))
        | st.booleans()
        | st.just(["dns:a", {"b": 1, "a": None}])
        | st.just({"b": {"d": "\x7f", "c": 2}, "a": []}),
    ),
)


def row_of(event, node, number, previous, heads=None):
    """Return the row of `audit` that an event becomes."""
    carried = None if heads is None else JCS.encode(heads)
    row = linked(unlinked(event), node, number, previous, carried)
    return dict(zip(RECORD, row, strict=True))


def jcs(value):
    """RFC 8785 for what records are made of, written without the code under test."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(key)}:{jcs(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(jcs, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    short = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
    short |= {'"': '\\"', "\\": "\\\\"}
    return (
        '"' + "".join(short.get(c, f"\\u{ord(c):04x}" if ord(c) < 0x20 else c) for c in value) + '"'
    )


def hash_of(line):
    members = json.loads(line)
    claimed = members.pop("hash")
    return claimed, hashlib.sha256(jcs(members).encode()).hexdigest()


ODD = "a\0b\ud800\u2028\x1f\\"
ODDEST = AuditEvent(AuditAction.REVOKED, ODD, NOW, subject=ODD, reason=ODD)


@example(ODDEST, 1, bytes(32))
@given(EVENTS, st.integers(1, 2**53), st.binary(min_size=32, max_size=32))
def test_anybody_can_work_the_hash_out_from_an_exported_line(event, number, previous):
    heads = {"host/2": {"number": 7, "hash": "ab" * 32}}
    row = row_of(event, "host/1", number, previous, heads)
    record = AuditRecord.of_row(row)
    claimed, worked_out = hash_of(record.line())
    assert claimed == worked_out == row["hash"].hex()
    assert AuditRecord.of_line(record.line()) == record
    assert record.has_hash_of()
    assert (record.node, record.number, record.previous) == ("host/1", number, previous.hex())
    assert record.heads == {"host/2": (7, "ab" * 32)}
    assert "\0" not in record.line()


@example(ODDEST, bytes(32))
@given(EVENTS, st.binary(min_size=32, max_size=32))
def test_a_record_is_written_as_a_json_library_writes_it(event, previous):
    row = row_of(event, 'host/"1', 7, previous, {"host/2": {"number": 7, "hash": "ab" * 32}})
    members = {name: value for name, value in row.items() if value is not None}
    members |= {"format": 1, "previous": previous.hex(), "heads": json.loads(row["heads"])}
    if event.details:
        members["details"] = event.details
        assert row["details"] == plain(event.details)
    claimed = members.pop("hash")
    assert hashlib.sha256(plain(members).encode()).digest() == claimed


def plain(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@given(EVENTS, EVENTS)
def test_events_that_differ_have_hashes_that_differ(one, other):
    rows = [row_of(event, "host/1", 1, bytes(32)) for event in (one, other)]
    assert (rows[0]["hash"] == rows[1]["hash"]) == (rows[0] == rows[1])


@given(EVENTS, st.data())
def test_no_member_can_be_changed(event, data):
    row = row_of(event, "host/1", 5, b"p" * 32)
    column = data.draw(st.sampled_from([name for name in row if name != "hash"]))
    value = data.draw(st.none() | st.text(max_size=3) | st.integers() | st.binary(max_size=3))
    changed = AuditRecord.of_row(row | {column: value})
    same = AuditRecord.of_row(row).members == changed.members
    assert changed.has_hash_of() == same


def test_the_record_of_the_documentation():
    """The page shows this record and this hash."""
    row = row_of(
        AuditEvent(
            AuditAction.REVOKED,
            "alice",
            NOW,
            endpoint="default",
            serial=0x5A1F,
            subject="CN=dev1,O=Example",
            reason="stolen",
            details={"crl_reason": 1},
        ),
        "host/admin",
        1,
        bytes(32),
    )
    assert AuditRecord.of_row(row).line() in PAGE.read_text().splitlines()


def test_the_program_of_the_documentation_checks_an_export():
    program = PAGE.read_text().split("```python\n")[1].split("```")[0]
    rows, previous = [], bytes(32)
    for number in (1, 2, 3):
        event = AuditEvent(AuditAction.JOINED, "ü\u2028\x7f", NOW)
        rows.append(row_of(event, "host/1", number, previous))
        previous = rows[-1]["hash"]

    def check(*several):
        text = "".join(f"{AuditRecord.of_row(row).line()}\n" for row in several)
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=text.encode(),
            capture_output=True,
            check=True,
            env={"PYTHONIOENCODING": "utf-8"},
        )
        return done.stdout.decode().splitlines()

    assert check(*rows) == []
    assert check(rows[0], rows[1] | {"actor": "me"}, rows[2]) == ["host/1 2 was changed"]
    assert check(rows[0], rows[2]) == ["host/1 3 does not follow"]


@pytest.mark.parametrize(
    "line",
    ["", "[]", "{}", '{"node":"a","number":1}', "[" * 100_000, '{"node":1' + "\udc80", "null"],
)
def test_what_is_no_record_is_refused(line):
    with pytest.raises(UsageError, match="no audit record"):
        AuditRecord.of_line(line)


@pytest.mark.parametrize(
    "members",
    ['"number":"x"', '"number":1,"heads":[1]', '"number":1,"heads":{"b":1}', '"number":1e999'],
)
def test_odd_records_are_read_and_do_not_fit(members):
    record = AuditRecord.of_line(f'{{"node":"a",{members},"hash":"00"}}')
    assert not record.has_hash_of()
    assert record.heads == {}
    assert record.number in {0, 1}


def test_times_are_in_utc_and_sort_as_text():
    east = timezone(timedelta(hours=9))
    times = [NOW, NOW + timedelta(microseconds=1), (NOW + timedelta(hours=1)).astimezone(east)]
    texts = [time_text(time) for time in times]
    assert texts == sorted(texts)
    assert {len(text) for text in texts} == {27}
    assert datetime.fromisoformat(texts[2]) == times[2]
    assert time_text(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


@given(st.sets(st.integers(1, 60)))
def test_ranges_name_exactly_these_numbers(numbers):
    found = set()
    for part in filter(None, ranges(numbers).split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == numbers


def test_floats_that_json_has_not_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        digest({"at": float("nan")})
