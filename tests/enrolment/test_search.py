"""What an operator looks for: certificates and requests by name, key and state, page by page."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import keys
from enrolment import devices
from scepkit.errors import UsageError
from scepkit.keys.pem import armor
from scepkit.operations import search
from scepkit.operations.key_file import read_key
from scepkit.operations.search import Query, State
from scepkit.store.certificates import listing

DAY = timedelta(days=1)
PKCS8 = PrivateFormat.PKCS8
SPKI = PublicFormat.SubjectPublicKeyInfo


@pytest.fixture
def enrolled(world):
    """Three certificates, the second with other names and another key."""
    for name in ("a", "b", "c"):
        world.now += timedelta(seconds=1)
        world.enrolled(name, subject=f"CN={name}", sans=[f"dns:{name}.example"])
    return world


@pytest.fixture
def waiting(world):
    """Four requests that wait, of which one is rejected and one lapses."""
    world.use(approval=True)
    for name in ("a", "b", "c", "d"):
        message = devices.pkcs_req(
            to=world.ra,
            subject=f"CN={name}",
            sans=[f"dns:{name}.example"],
            transaction_id=name,
            signer=keys.device(name),
        )
        world.ask(message, keys.device(name))
    world.approval.reject(2, reason="no", by="alice", now=world.now)
    return world


def subjects(world, query, now=None, limit=100):
    found, after = [], None
    while True:
        page = search.select(world.store, query, now=now or world.now, after=after, limit=limit)
        found += [one.row.subject for one in page.found]
        if (after := page.after) is None:
            return found


def test_certificates(enrolled, monkeypatch):
    monkeypatch.setattr(listing, "SCAN", 2)
    key = keys.device("b").key.public_key().public_bytes(Encoding.DER, SPKI)
    serial = next(enrolled.store.certificates()).serial
    for limit in (1, 2, 100):
        assert subjects(enrolled, Query(), limit=limit) == ["CN=c", "CN=b", "CN=a"]
        assert subjects(enrolled, Query(name="DNS:a."), limit=limit) == ["CN=a"]
        assert subjects(enrolled, Query(key=read_key(key, "")), limit=limit) == ["CN=b"]
        assert subjects(enrolled, Query(serial=serial), limit=limit) == ["CN=c"]
        assert subjects(enrolled, Query(subject="cn=B"), limit=limit) == ["CN=b"]
    enrolled.store.revoke(serial, reason=6, by="alice", now=enrolled.now)
    page = search.select(enrolled.store, Query(), now=enrolled.now)
    assert [one.state for one in page.found] == ["held", "valid", "valid"]
    assert not page.is_scan
    assert search.select(enrolled.store, Query(name="x"), now=enrolled.now).is_scan
    assert subjects(enrolled, Query(state=State.REVOKED)) == ["CN=c"]
    assert subjects(enrolled, Query(state=State.EXPIRED), enrolled.now + 9999 * DAY) == [
        "CN=b",
        "CN=a",
    ]


def test_requests(waiting):
    def look(now=None, **query):
        return [subjects(waiting, Query(**query), now, limit) for limit in (1, 3, 100)]

    key = read_key(keys.device("c").key.public_key().public_bytes(Encoding.DER, SPKI), "")
    assert look(state=State.PENDING) == [["CN=a", "CN=c", "CN=d"]] * 3
    assert look(state=State.REJECTED) == [["CN=b"]] * 3
    assert look(state=State.PENDING, name="dns:C.example") == [["CN=c"]] * 3
    assert look(state=State.PENDING, key=key) == [["CN=c"]] * 3
    assert look(state=State.PENDING, key=key, name="dns:a") == [[]] * 3
    assert look(state=State.PENDING, subject="cn=D") == [["CN=d"]] * 3
    assert look(state=State.PENDING, serial=1) == [[]] * 3
    assert look(state=State.REJECTED, name="dns:a") == [[]] * 3
    later = waiting.now + 365 * DAY
    assert look(later, state=State.LAPSED) == [["CN=a", "CN=c", "CN=d"]] * 3
    (first, *_) = search.select(waiting.store, Query(state=State.LAPSED), now=later).found
    assert first.state == "lapsed"


def test_everything_stops_at_its_limit(enrolled):
    def look(**how):
        found = search.everything(enrolled.store, Query(), now=enrolled.now, **how)
        return [one.row.subject for one in found]

    assert look() == ["CN=c", "CN=b", "CN=a"]
    assert look(limit=2) == ["CN=c", "CN=b"]
    (second,) = search.select(enrolled.store, Query(subject="b"), now=enrolled.now).found
    assert look(after=second.cursor) == ["CN=a"]


@pytest.mark.parametrize("limit", [-1, 0, search.MOST + 1])
def test_a_page_has_bounds(world, limit):
    with pytest.raises(UsageError, match="a page of"):
        search.select(world.store, Query(), now=world.now, limit=limit)


@pytest.mark.parametrize("state", [State.ISSUED, State.PENDING])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
@example("")
@example("2026-11-28T14:30:00.123456Z_")
@example("2026-11-28T14:30:00.123456Z_-1")
@example("9" * 16)
@example("²")
def test_what_is_no_cursor(world, state, text):
    with pytest.raises(UsageError, match="no place in this list"):
        search.select(world.store, Query(state=state), now=world.now, after=f"{text}!")
    with suppress(UsageError):
        search.select(world.store, Query(state=state), now=world.now, after=text)


def test_a_key_from_any_file():
    holder = keys.device("a")
    public = holder.key.public_key()
    certificate = holder.x509.public_bytes
    request = devices.request(key=holder.key).der
    wanted = read_key(public.public_bytes(Encoding.DER, SPKI), "key")
    for content in (
        public.public_bytes(Encoding.PEM, SPKI),
        certificate(Encoding.PEM),
        certificate(Encoding.DER),
        request,
        armor("CERTIFICATE REQUEST", request),
        armor("NEW CERTIFICATE REQUEST", request),
        holder.key.private_bytes(Encoding.PEM, PKCS8, NoEncryption()),
        holder.key.private_bytes(Encoding.DER, PKCS8, NoEncryption()),
    ):
        assert read_key(content, "file") == wanted
    for content in (
        b"",
        b"hello",
        b"\x30\x00",
        holder.key.private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"secret")),
    ):
        with pytest.raises(UsageError, match="file is no key"):
            read_key(content, "file")


@given(st.binary())
def test_octets_that_are_no_key(content):
    with pytest.raises(UsageError):
        read_key(content, "file")
