"""`scep admin devices`: lists go in, are shown, and are taken out again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from scepkit.cli import terminal
from scepkit.server.directory import data_directory
from scepkit.store import Store

KEY = "ab" * 32


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "scep-data"
    home = data_directory.prepare(path, now=datetime.now(UTC), layout="ec")
    Store.open(home.settings.database_url).close()
    return path


@pytest.fixture
def admin(made, scep):
    yield lambda what, *more: scep("admin", "devices", what, "--dir", made, *more)
    scep("admin", "devices", "remove", "--dir", made, "--all", "--yes")


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "devices.csv"
        path.write_text(text)
        return path

    return write


def test_a_list_goes_in_and_is_shown(admin, file):
    path = file(f"key,hostname,label\n{KEY},a.example,one\n,B.example,\n")
    code, out, err = admin("import", path)
    assert (code, out) == (0, "")
    assert err.startswith("2 devices imported, 0 on the list before\nwarning: no rule of the end")
    code, out, _ = admin("import", path, "--json")
    assert (code, json.loads(out)) == (0, {"imported": 0, "known": 2})
    rows = [json.loads(line) for line in admin("list", "--json")[1].splitlines()]
    assert [(one["key"], one["hostname"], one["label"]) for one in rows] == [
        (KEY, "a.example", "one"),
        ("", "b.example", ""),
    ]
    code, out, _ = admin("list", "--limit", "1")
    assert out.split("\n")[0].split() == [
        *("ID", "ENDPOINT", "KEY", "SERIAL_NUMBER", "MAC", "HOSTNAME", "LABEL", "ADDED"),
    ]


def test_what_is_wrong(admin, file):
    code, out, err = admin("import", file("mac\n001122334455\nx\n"))
    assert (code, out) == (2, "")
    assert "devices.csv: line 3: mac: it is no MAC address" in err
    assert admin("list")[1] == ""
    assert admin("import", file("mac\n1\n"), "--endpoint", "nowhere")[0] == 2
    for ids in ((), ("1", "--all"), ("x",), ("9" * 30,), ("4711",)):
        assert admin("remove", *ids)[0] == 2, ids


def test_a_list_is_replaced(admin, file, monkeypatch):
    """It is what the file says afterwards; what would be removed is shown and asked first."""
    admin("import", file("hostname\na\nb\nc\n"))
    path = file("hostname\nc\nd\n")
    code, _, err = admin("import", path, "--replace")
    assert code == 2
    assert "2 devices would be removed, and there is no terminal to ask at" in err
    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "confirm", lambda _text: False)
    code, _, err = admin("import", path, "--replace")
    assert code == 1
    assert ", a\n" in err
    assert hosts(admin) == ["a", "b", "c"]
    code, out, err = admin("import", path, "--replace", "--yes", "--json")
    assert (code, json.loads(out)) == (0, {"imported": 1, "known": 1, "removed": 2})
    assert err.startswith("1 device imported, 1 on the list before, 2 removed\n")
    assert hosts(admin) == ["c", "d"]
    # Nothing would be removed: nobody is asked.
    assert admin("import", path, "--replace")[2].startswith(
        "0 devices imported, 2 on the list before, 0 removed\n"
    )


def hosts(admin):
    return [json.loads(line)["hostname"] for line in admin("list", "--json")[1].splitlines()]


def test_they_are_taken_out(admin, file, monkeypatch):
    admin("import", file("hostname\na\nb\nc\n"))
    first, *others = [json.loads(line)["id"] for line in admin("list", "--json")[1].splitlines()]
    assert admin("remove", first)[2] == "1 device removed\n"
    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "confirm", lambda _text: False)
    assert admin("remove", *others)[0] == 1
    assert admin("list", "--json")[1].count("\n") == 2
    assert admin("remove", "--all", "--yes")[2] == "2 devices removed\n"
    assert admin("list")[1] == ""
