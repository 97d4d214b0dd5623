"""Accounts of the NDES page: in the database, each change with its record."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scepkit.errors import UsageError
from scepkit.operations import ndes_accounts
from scepkit.store import AuditAction, NDESAccount, Store
from scepkit.store.challenges import ndes_accounts as stored

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def account(name="mdm", password="$argon2id$x", endpoints=("default",)):
    return NDESAccount(name, endpoints, password, NOW, "alice")


def test_an_account_is_found_by_its_exact_name(store):
    store.add_ndes_account(account(endpoints=("a", "b")))
    assert store.ndes_account("mdm") == account(endpoints=("a", "b"))
    assert store.ndes_account("MDM") is None
    assert store.ndes_account("") is None


def test_a_name_is_taken_once(store):
    store.add_ndes_account(account())
    with pytest.raises(UsageError, match="there is an NDES account 'mdm' already"):
        store.add_ndes_account(account(password="other"))
    assert store.ndes_account("mdm").password == "$argon2id$x"


def test_another_password_takes_the_place_of_the_first(store):
    with pytest.raises(UsageError, match="there is no NDES account 'mdm'"):
        store.add_ndes_account(account(), replaces=True)
    store.add_ndes_account(account())
    store.add_ndes_account(account(password="other", endpoints=("b",)), replaces=True)
    assert store.ndes_accounts() == [account(password="other", endpoints=("b",))]


def test_what_is_removed_is_gone(store):
    store.add_ndes_account(account())
    store.add_ndes_account(account("other"))
    store.remove_ndes_account("mdm", by="bob", now=NOW)
    assert [one.name for one in store.ndes_accounts()] == ["other"]
    with pytest.raises(UsageError, match="there is no NDES account 'mdm'"):
        store.remove_ndes_account("mdm", by="bob", now=NOW)


def test_there_are_only_so_many(store, monkeypatch):
    monkeypatch.setattr(stored, "MOST", 2)
    store.add_ndes_account(account("a"))
    store.add_ndes_account(account("b"))
    with pytest.raises(UsageError, match="there are 2 NDES accounts, and no more can be"):
        store.add_ndes_account(account("c"))


def test_each_change_is_recorded_without_the_password(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/scep.db", node="test/1") as store:
        store.add_ndes_account(account(), reason="a new MDM")
        store.add_ndes_account(account(password="other"), replaces=True)
        store.remove_ndes_account("mdm", by="bob", now=NOW)
        found = [one.members for one in store.audit_records()][::-1]
    assert [one["action"] for one in found] == [
        AuditAction.NDES_ACCOUNT_ADDED,
        AuditAction.NDES_ACCOUNT_CHANGED,
        AuditAction.NDES_ACCOUNT_REMOVED,
    ]
    assert [one["actor"] for one in found] == ["alice", "alice", "bob"]
    assert found[0]["details"] == {"account": "mdm", "endpoints": ["default"]}
    assert found[0]["reason"] == "a new MDM"
    assert "argon2id" not in str(found)


@pytest.mark.parametrize("name", ["mdm", "EXAMPLE\\svc-ndes", "svc@example.com", "a" * 64])
def test_names_as_windows_has_them(store, name):
    add(store, name=name)
    assert store.ndes_account(name).name == name


@pytest.mark.parametrize("name", ["", "a:b", " a", "a b", "ä", "a" * 65, "a\n", "-a"])
def test_a_name_that_basic_cannot_carry_is_refused(store, name):
    with pytest.raises(UsageError, match="an NDES account cannot be called"):
        add(store, name=name)


@pytest.mark.parametrize(
    ("password", "said"),
    [("short", "5 characters"), ("x" * 257, "257 characters"), ("x" * 12 + "\n", "be typed")],
)
def test_a_password_that_is_no_good_is_refused_and_not_repeated(store, password, said):
    with pytest.raises(UsageError, match=said) as refused:
        add(store, password=password)
    assert password not in refused.value.message


def test_an_endpoint_without_a_page_is_refused(store):
    with pytest.raises(UsageError, match="the endpoint 'other' has no NDES page") as refused:
        add(store, endpoints=["default", "other"])
    assert refused.value.hint == "set mscep_admin = true in [endpoint.other] first"


def test_only_a_hash_is_stored_and_it_is_another_one_each_time(store):
    add(store, name="a")
    add(store, name="b")
    first, second = (one.password for one in store.ndes_accounts())
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert ndes_accounts.matches(b"Wuchtgeschoss-17", first)
    assert not ndes_accounts.matches(b"Wuchtgeschoss-18", first)


def add(store, *, name="mdm", password="Wuchtgeschoss-17", endpoints=("default",)):
    ndes_accounts.add(
        *(store, name, password, endpoints),
        known=["default"],
        replaces=False,
        by="alice",
        now=NOW,
    )
