"""What the rules at the top of terminal.py promise."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import scepkit.cli
from scepkit.cli import failure, terminal
from scepkit.errors import (
    BadReply,
    LegacyRefused,
    ScepError,
    SettingsError,
    StillPending,
    TransportError,
    UntrustedCA,
    UsageError,
)
from scepkit.protocol.scep.transaction import Wait


def test_this_is_the_only_file_that_prints():
    printing = re.compile(r"\bprint\(|\becho\(|sys\.std(out|err)|confirm\(|prompt\(")
    guilty = {
        path.name
        for path in Path(scepkit.cli.__file__).parent.glob("*.py")
        if printing.search(path.read_text().replace("terminal.confirm(", ""))
    }
    assert guilty == {"terminal.py"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 日本", "plain ü 日本"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x1b[2J\x9b1m\x07\0", r"\x1b[2J\x9b1m\x07\x00"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("\udc80", r"\udc80"),
    ],
)
def test_control_characters_are_shown(text, shown, capsys):
    assert terminal.escape(text) == shown
    terminal.say(text)
    terminal.error(text, hint=text)
    assert capsys.readouterr().err == f"{shown}\nerror: {shown}\nhint: {shown}\n"


def test_markup_is_no_markup(capsys):
    terminal.say("[red]x[/red] :smile:")
    assert capsys.readouterr().err == "[red]x[/red] :smile:\n"


def test_data_ends_with_one_line_end(capsys):
    terminal.data("a")
    terminal.data("b\n")
    assert capsys.readouterr() == ("a\nb\n", "")


def test_rows_for_programs(capsys):
    terminal.json_lines([{"name": "a", "size": 1}, {"name": "b\x1b", "size": 2}])
    out = capsys.readouterr().out
    assert out == '{"name": "a", "size": 1}\n{"name": "b\\u001b", "size": 2}\n'


def test_a_wait_is_said_once(capsys):
    progress = terminal.Progress()
    for _ in range(3):
        progress.pause(Wait(0, "waiting", pending=True))
    progress.pause(Wait(0, "HTTP 503"))
    assert capsys.readouterr().err == (
        "waiting; asking again in 0 s\nHTTP 503; asking again in 0 s\n"
    )


def test_a_wait_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal.Progress().pause(Wait(0, "waiting\x1b", pending=True))
    assert r"waiting\x1b; next at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 2),
        (SettingsError("x"), 2),
        (UntrustedCA("x"), 1),
        (LegacyRefused("x"), 1),
        (BadReply("x"), 1),
        (TransportError("x"), 1),
        (StillPending("x"), 3),
        (ScepError("x"), 1),
    ],
)
def test_exit_status(error, status):
    assert failure.exit_status(error) == status


def test_an_unexpected_error_is_one_line(scep, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("boom\n")

    monkeypatch.setattr("scepkit.cli.device.connection.client", fail)
    status, out, err = scep("get", "caps", "http://ca.example")
    assert (status, out) == (1, "")
    assert err.startswith("error: this should not happen: ZeroDivisionError: boom\\n\nhint: please")
    assert "Traceback" not in err
    monkeypatch.setenv("SCEP_DEBUG", "1")
    assert "Traceback" in scep("get", "caps", "http://ca.example")[2]


def test_help_goes_to_stdout_and_missing_commands_to_stderr(scep):
    assert scep("--help")[1].startswith("Usage: scep ")
    for group in ((), ("get",)):
        status, out, err = scep(*group)
        assert (status, out) == (2, "")
        assert err.startswith("Usage: scep ")
        assert "\\n" not in err


def test_no_help_line_is_wider_than_80(scep):
    for words in (["enroll"], ["get"], ["get", "ca"], ["get", "caps"], []):
        status, out, _ = scep(*words, "--help")
        assert status == 0
        assert max(len(line) for line in out.splitlines()) <= 80, out


def test_the_fingerprint_is_confirmed_at_a_terminal(serve, scep, answer):
    site = serve()
    answer("y\n")
    status, _, err = scep("enroll", site.url, "--subject", "CN=a", "--out", "a")
    assert status == 0
    assert f"fingerprint  {site.fingerprint}" in err


@pytest.mark.parametrize("typed", ["n\n", "\n"])
def test_no_is_the_default(serve, scep, answer, typed):
    site = serve()
    answer(typed)
    status, _, err = scep("enroll", site.url, "--subject", "CN=a", "--out", "a")
    assert status == 1
    assert err.endswith(
        "error: the CA was not accepted\nhint: ask its operator for the fingerprint\n"
    )
    assert not os.path.exists("a")  # noqa: PTH110
