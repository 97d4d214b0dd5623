"""Tokens of the API: nothing of them that could be used is stored."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from scepkit.errors import UsageError
from scepkit.operations import tokens
from scepkit.operations.tokens import Scope
from scepkit.store import AuditAction, TokenState
from scepkit.store.audit.trail import time_text
from stored import NOW

DAY = timedelta(days=1)


def create(store, **how):
    usual = {
        "name": "mdm",
        "scopes": (Scope.CHALLENGES_WRITE,),
        "endpoints": ("main",),
        "lifetime": DAY,
        "by": "alice",
        "now": NOW,
    }
    return tokens.create(store, **usual | how)


def test_a_token_is_found_by_itself_alone(store):
    made, other = create(store), create(store)
    assert tokens.find(store, made.text) == made.token
    known, secret = made.text.rsplit("_", 1)
    _, other_secret = other.text.rsplit("_", 1)
    for wrong in (
        known,
        secret,
        f"{known}_{other_secret}",
        f"{known}_{secret[:-1]}",
        f"{made.text} ",
        made.text.upper(),
        "scep_aaaaaaaa_" + "a" * 52,
        "",
        "é",
    ):
        assert tokens.find(store, wrong) is None
    assert made.token.prefix == known


def test_nothing_that_could_be_used_is_stored(store, sql):
    made = create(store)
    _, secret = made.text.rsplit("_", 1)
    rows = str(sql("SELECT * FROM tokens")) + str(sql("SELECT * FROM audit"))
    assert made.token.prefix in rows
    assert secret not in rows
    assert secret not in repr(made)
    assert repr(made.token) == f"<token 1, {made.token.prefix}>"


def test_its_states(store):
    made = create(store).token
    assert made.state(NOW) is TokenState.VALID
    assert made.state(NOW + DAY) is TokenState.EXPIRED
    assert tokens.void(store, [made], by="bob", now=NOW, reason="it leaked") == [made]
    assert tokens.void(store, [made], by="carl", now=NOW) == []
    (found,) = store.tokens()
    assert found.state(NOW + DAY) is TokenState.VOID
    assert (found.voided_at, found.voided_by, found.void_reason) == (NOW, "bob", "it leaked")


def test_two_who_void_it_at_once(store):
    made, done = create(store).token, []
    start = threading.Barrier(2)

    def void(name):
        start.wait()
        done.extend(tokens.void(store, [made], by=name, now=NOW))

    threads = [threading.Thread(target=void, args=(name,)) for name in ("bob", "carl")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert done == [made]


def test_the_record_says_who_and_what(store):
    made = create(store, reason="a new MDM").token
    tokens.void(store, [made], by="bob", now=NOW)
    voided, created = store.audit_records(limit=2)
    assert created.members["action"] == AuditAction.TOKEN_CREATED
    assert (created.members["actor"], created.members["reason"]) == ("alice", "a new MDM")
    assert created.members["details"] == {
        "token": "mdm",
        "prefix": made.prefix,
        "scopes": ["challenges:write"],
        "endpoints": ["main"],
        "expires": time_text(NOW + DAY),
    }
    assert (voided.members["action"], voided.members["actor"]) == (AuditAction.TOKEN_VOIDED, "bob")


def test_its_last_use_is_written_once_a_minute(store):
    made = create(store).token
    for seconds, written in ((0, 0), (59, 0), (60, 60), (30, 60), (121, 121)):
        tokens.note_use(store, store.token(made.id), NOW + timedelta(seconds=seconds))
        assert store.token(made.id).last_used_at == NOW + timedelta(seconds=written)


def test_a_use_is_never_noted_earlier_than_another(store):
    """Two processes may be late by turns."""
    made = create(store).token
    store.note_use(made, NOW + DAY)
    store.note_use(made, NOW)
    assert store.token(made.id).last_used_at == NOW + DAY


def test_who_acts_with_it(store):
    named, nameless = create(store).token, create(store, name="").token
    assert named.actor == f"token mdm, {named.prefix}"
    assert nameless.actor == f"token {nameless.prefix}"


def test_they_are_named_by_number_or_prefix(store):
    one, two = create(store).token, create(store).token
    assert tokens.named(store, ["2", one.prefix, "1"]) == [two, one]
    for word in ("3", "0", "9" * 30, "scep_aaaaaaaa", "²"):
        with pytest.raises(UsageError, match="there is no such token"):
            tokens.named(store, ["1", word])


def test_scopes():
    words = ["challenges:read", "challenges:write", "challenges:read"]
    assert tokens.read_scopes(words) == (Scope.CHALLENGES_READ, Scope.CHALLENGES_WRITE)
    with pytest.raises(UsageError, match="without a scope"):
        tokens.read_scopes([])
    with pytest.raises(UsageError, match="no scope 'everything'"):
        tokens.read_scopes(["everything"])
