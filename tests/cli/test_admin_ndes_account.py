"""`scep admin ndes-account`: a password is shown once, or not at all."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime

import pytest

from scepkit.operations import ndes_accounts
from scepkit.server.directory import data_directory
from scepkit.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("accounts") / "scep-data"
    home = data_directory.prepare(path, now=datetime.now(UTC), layout="ec")
    Store.open(home.settings.database_url).close()
    (path / "scep.toml").write_text(
        "[endpoint.default]\nndes = true\n[endpoint.phones]\nmscep_admin = true\n[endpoint.vpn]\n"
    )
    return path


@pytest.fixture
def admin(made, scep):
    yield lambda what, *more: scep("admin", "ndes-account", what, "--dir", made, *more)
    with store_of(made) as store:
        for one in store.ndes_accounts():
            store.remove_ndes_account(one.name, by="test", now=datetime.now(UTC))


def store_of(made):
    return Store.open(f"sqlite:///{made / 'scep.db'}")


def test_the_password_alone_is_on_stdout_and_its_hash_is_stored(admin, made):
    status, out, err = admin("add", "mdm")
    assert (status, err) == (0, "added mdm, for default\n")
    password = out.removesuffix("\n")
    assert len(password) == 40
    with store_of(made) as store:
        found = store.ndes_account("mdm")
    assert ndes_accounts.matches(password.encode(), found.password)
    assert password not in str(found._asdict())
    status, out, _ = admin("list")
    assert out.splitlines()[1].split()[:2] == ["mdm", "default"]


def test_a_password_of_ones_own_is_not_shown(admin, made, tmp_path, monkeypatch):
    (tmp_path / "password").write_text("Hebelarm-am-Turm\nmore\n")
    status, out, _ = admin("add", "a", "--password-file", tmp_path / "password")
    assert (status, out) == (0, "")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Hebelarm-am-Turm\r\n")))
    assert admin("add", "b", "--password-file", "-", "--endpoint", "phones")[0] == 0
    with store_of(made) as store:
        for one in store.ndes_accounts():
            assert ndes_accounts.matches(b"Hebelarm-am-Turm", one.password)


def test_a_new_password_takes_the_place_of_the_old_one(admin, made):
    first = admin("add", "mdm")[1]
    status, _, err = admin("add", "mdm")
    assert status == 2
    assert "there is an NDES account 'mdm' already" in err
    assert "--replace" in err
    status, second, err = admin("add", "mdm", "--replace", "--endpoint", "phones")
    assert (status, err) == (0, "changed mdm, for phones\n")
    assert first != second
    with store_of(made) as store:
        assert ndes_accounts.matches(second.strip().encode(), store.ndes_account("mdm").password)


def test_json(admin):
    status, out, _ = admin("add", "mdm", "--json", "--endpoint", "phones", "--endpoint", "default")
    found = json.loads(out)
    assert (status, found["name"], found["endpoints"]) == (0, "mdm", ["phones", "default"])
    assert len(found["password"]) == 40
    (line,) = admin("list", "--json")[1].splitlines()
    listed = json.loads(line)
    assert (listed["name"], listed["endpoints"]) == ("mdm", ["phones", "default"])
    assert set(listed) == {"name", "endpoints", "made", "by"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a:b"], "an NDES account cannot be called 'a:b'"),
        (["mdm", "--endpoint", "vpn"], "set mscep_admin = true in [endpoint.vpn] first"),
        (["mdm", "--endpoint", "nowhere"], "there is no endpoint 'nowhere'"),
        (["mdm", "--password-file", "/nonexistent/file"], "cannot read /nonexistent/file"),
    ],
)
def test_what_cannot_be_added(admin, arguments, said):
    status, out, err = admin("add", *arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_what_is_removed_is_gone(admin):
    admin("add", "mdm")
    assert admin("remove", "mdm")[::2] == (0, "removed mdm\n")
    status, _, err = admin("remove", "mdm")
    assert status == 2
    assert "there is no NDES account 'mdm'" in err
    assert admin("list")[::2] == (0, "nothing found\n")
