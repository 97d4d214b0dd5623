"""`scep admin challenge` beside its transcript: pipes, terminals, and disks that are full."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from scepkit.cli import table, terminal
from scepkit.server.directory import data_directory
from scepkit.store import Store
from waiting import PATIENCE


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("challenges") / "scep-data"
    home = data_directory.prepare(path, now=datetime.now(UTC), layout="ec")
    Store.open(home.settings.database_url).close()
    return path


@pytest.fixture
def admin(made, scep):
    """Run `scep admin challenge …` on a server whose challenges are gone after the test."""
    database = made / "scep.db"
    kept = database.read_bytes()
    yield lambda what, *more: scep("admin", "challenge", what, "--dir", made, *more)
    for file in made.glob("scep.db-*"):
        file.unlink()
    database.write_bytes(kept)


@pytest.fixture
def pipe(monkeypatch):
    def piped(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return piped


@pytest.fixture
def answer(monkeypatch):
    """Sit at a terminal and give an answer; what is asked is in the list."""
    asked = []

    def answering(yes):
        monkeypatch.setattr(terminal, "can_ask", lambda: True)
        monkeypatch.setattr(terminal, "confirm", lambda text: asked.append(text) or yes)
        return asked

    return answering


def test_a_batch_from_stdin(admin, pipe):
    pipe(b'{"subject": "CN=a"}\n')
    status, out, err = admin("new", "--batch", "-")
    assert (status, err) == (0, "challenge\n")
    assert set(json.loads(out)) == {"subject", "challenge", "id"}
    pipe(b"subject\nnonsense\n")
    status, out, err = admin("new", "--batch", "-")
    assert (status, out) == (2, "")
    assert err.startswith("error: stdin: line 2: subject: ")
    assert admin("list", "--json")[1].count("\n") == 1


def test_csv_as_json(admin, pipe):
    pipe(b"subject\nCN=a\nCN=b\n")
    _, out, _ = admin("new", "--batch", "-", "--json")
    assert [json.loads(line)["subject"] for line in out.splitlines()] == ["CN=a", "CN=b"]


def test_a_start_does_not_load_what_answers_devices(made):
    """That would be a seventh of it; `assembly` has all services behind it."""
    code = (
        "import sys; from scepkit.cli import main; main(sys.argv[1:]);"
        "sys.exit('scepkit.server.endpoints.assembly' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "admin", "challenge", "list", "--dir", made]
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == 0


def test_no_secret_is_listed(admin):
    secrets = admin("new", "--count", "3")[1].split()
    shown = "".join(admin("list", *how)[1] for how in ((), ("--json",)))
    assert len(secrets) == 3
    assert not any(secret in shown for secret in secrets)


def test_a_challenge_for_several_certificates(admin, pipe):
    code, out, err = admin("new", "--uses", "30", "--json")
    assert (code, json.loads(out)["uses"], err) == (
        0,
        30,
        "challenge for 1h, good for 30 certificates\n",
    )
    pipe(b"uses,label\n5,a\n,b\n")
    assert admin("new", "--batch", "-", "--uses", "2")[0] == 0
    found = [json.loads(line) for line in admin("list", "--json")[1].splitlines()]
    assert [(one["uses"], one["used"], one["door"]) for one in found] == [
        (2, 0, "command-line"),
        (5, 0, "command-line"),
        (30, 0, "command-line"),
    ]
    code, out, err = admin("list", "--unspent")
    assert (code, "0/30" in out) == (0, True)
    assert err == "default, by way of command-line: 3 of 1000000\n"
    for uses, said in ((b"0", "1 to 100000"), (b"3.5", "a whole number"), (b"9" * 5000, "at most")):
        pipe(b"uses\n" + uses + b"\n")
        code, out, err = admin("new", "--batch", "-")
        assert (code, out, "line 2: uses: " in err, said in err) == (2, "", True, True)


def test_beyond_the_bound_none_is_made(made, admin):
    text = (made / "scep.toml").read_text()
    rule = '\n[[endpoint.default.authorization]]\nkind = "one-time"\nmax_pending = 3\n'
    (made / "scep.toml").write_text(text + rule)
    try:
        assert admin("new", "--count", "2")[0] == 0
        code, out, err = admin("new", "--count", "2", "--json")
        assert (code, out, json.loads(err)["code"]) == (1, "", "too_many_pending")
        assert "has 2 challenges by way of command-line" in json.loads(err)["error"]
        assert admin("list", "--unspent")[2] == "default, by way of command-line: 2 of 3\n"
    finally:
        (made / "scep.toml").write_text(text)


def test_several_are_asked_about(admin, answer):
    admin("new", "--count", "25", "--label", "x")
    asked = answer(False)
    status, _, err = admin("void", "--label", "x")
    assert (status, asked) == (1, ["Void 25 challenges?"])
    assert err.splitlines()[-3:] == ["  challenge 6", "  and 5 more", "aborted"]
    assert admin("list", "--unspent", "--json")[1].count("\n") == 25
    answer(True)
    status, _, err = admin("void", "--label", "x")
    assert (status, err.splitlines()[-1]) == (0, "voided 25 challenges")
    assert admin("list", "--unspent")[1] == ""
    assert len(asked) == 2


def test_a_long_table_is_aligned_a_page_at_a_time(admin, monkeypatch):
    monkeypatch.setattr(table, "_PAGE", 2)
    admin("new", "--count", "3")
    admin("new", "--subject", "CN=long-name")
    lines = admin("list")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "4", "3", "2", "1"]
    assert len({line.index("unspent") for line in lines[1:]}) == 1


def test_challenges_that_cannot_be_written_out(admin, monkeypatch):
    """They are stored by then: it says which ones, so that they can be taken back."""

    def full(_text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(terminal, "data", full)
    status, _, err = admin("new", "--count", "2")
    assert status == 2
    assert "error: cannot write the challenges: No space left on device" in err
    assert "numbers 1 to 2" in err


def test_data_are_listed(admin, pipe):
    pipe(b'{"label": "one", "data": {"owner": "al"}}\n{}\n')
    code, out, err = admin("new", "--batch", "-", "--data", "team=red")
    assert (code, err) == (0, "2 challenges\n")
    assert [json.loads(line).get("data") for line in out.splitlines()] == [{"owner": "al"}, None]
    code, out, _ = admin("new", "--data", "owner=bo", "--json")
    assert (code, json.loads(out)["data"]) == (0, {"owner": "bo"})
    code, out, _ = admin("list")
    heading, *rows = out.splitlines()
    assert heading.split()[-1] == "DATA"
    assert [row.partition("command-line")[2].split() for row in rows] == [
        ["owner"],
        ["team"],
        ["team", "owner"],
    ]
    code, out, _ = admin("list", "--json")
    assert [json.loads(line)["data"] for line in out.splitlines()] == [
        {"owner": "bo"},
        {"team": "red"},
        {"team": "red", "owner": "al"},
    ]


@pytest.mark.parametrize("more", [(), ("--batch", "-")])
def test_who_replaces_is_bound(admin, made, pipe, more):
    """An unbound challenge would be of no use to anybody, and its device would be told that."""
    text = '[profile.one-each]\nsame_subject = "replace"\n[endpoint.vpn]\nprofile = "one-each"\n'
    written = (made / "scep.toml").read_text()
    (made / "scep.toml").write_text(written + text)
    try:
        pipe(b'{"label": "one"}\n')
        code, out, err = admin("new", "--endpoint", "vpn", *more)
        assert (code, out) == (2, "")
        assert "needs a challenge that is bound to the subject (same_subject" in err
        assert "profile 'one-each'" in err
        assert ("line 1: subject" if more else "say --subject") in err
        assert admin("new", "--endpoint", "vpn", "--subject", "CN=a")[0] == 0
    finally:
        (made / "scep.toml").write_text(written)
