"""The places that a secret comes from."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit import SettingsError, UsageError
from scepkit.client import secret_source
from scepkit.client.secret_source import SecretSource
from waiting import PATIENCE

WHAT = "passphrase of the key"


def python(text):
    return shlex.join([sys.executable, "-c", text])


def read(text, **how):
    return SecretSource.parse(text).read(WHAT, **how)


def test_each_place_gives_its_first_line(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"from a file\r\nmore\n")
    monkeypatch.setenv("A_SECRET", "from a variable")
    assert read(f"file:{tmp_path}/secret") == "from a file"
    assert read("env:A_SECRET") == "from a variable"
    assert read(f"command:{python('print(1); print(2)')}") == "1"
    assert read("prompt", ask=lambda what: f"typed as {what}") == f"typed as {WHAT}"


def test_a_relative_path_is_made_whole_so_that_a_record_can_keep_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(SecretSource.parse("file:secret")) == f"file:{tmp_path}/secret"


@given(st.text())
def test_a_source_is_written_as_it_is_read(text):
    with contextlib.suppress(UsageError, ValueError):
        found = SecretSource.parse(text)
        assert SecretSource.parse(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", "s3cret", "pass:s3cret", "file:", "env:", "prompt:x", "none:x"]
)
def test_what_is_no_place_is_not_repeated(text):
    with pytest.raises(UsageError) as error:
        SecretSource.parse(text)
    assert "s3cret" not in f"{error.value}{error.value.hint}"


@pytest.mark.parametrize("text", ["command: ", "command:'a"])
def test_a_command_has_words(text):
    with pytest.raises(UsageError, match="command"):
        SecretSource.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file:/nowhere/at/all", "cannot read /nowhere/at/all"),
        ("env:SURELY_NOT_SET", r"no passphrase of the key in \$SURELY_NOT_SET"),
        ("command:/nowhere/at/all", "cannot be run: No such file"),
        (f"command:{python('raise SystemExit(3)')}", "ended with status 3"),
        (f"command:{python('pass')}", "there is no passphrase of the key"),
        (f"command:{python('print(9 * 70000 * chr(120))')}", "more than 65536 octets"),
        ("command:cat /dev/zero", "more than 65536 octets"),
        ("file:/dev/zero", "/dev/zero has more than 65536 octets"),
        (f"command:{python('import sys; sys.stdout.buffer.write(bytes([255]))')}", "UTF-8"),
        ("prompt", "nobody is there to ask"),
    ],
)
def test_what_is_wrong_is_said(text, said):
    with pytest.raises((SettingsError, UsageError), match=said) as error:
        read(text)
    assert error.value.hint


def test_no_shell_reads_a_command():
    assert read(f"command:{python('import sys; print(sys.argv[1])')} '$HOME;ls'") == "$HOME;ls"


def test_a_command_cannot_ask_and_has_a_limit_of_time(tmp_path):
    """What it has started is killed with it: its end of the pipe closes."""
    held = tmp_path / "held"
    os.mkfifo(held)
    child = f"import time; file = open({str(held)!r}, 'w'); time.sleep(3600)"
    code = (
        "import subprocess, sys; assert not sys.stdin.read(); "
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    reading = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(SettingsError, match="has not ended"):
            secret_source.run([sys.executable, "-c", code], WHAT, seconds=2)
        assert select.select([reading], [], [], PATIENCE)[0]
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)
