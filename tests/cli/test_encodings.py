"""Octets that are no text where a text is expected, and letters that a terminal has not.

A Latin-1 terminal writes such octets, and one without a locale has ASCII alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from scepkit.cli.app import app
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store

LATIN_1 = os.fsdecode(b"caf\xe9")
OF_FILES = {"FILE", "PLACE", "COMMAND"}


def walk(command, words=()):
    """Return every command with the words that call it."""
    yield words, command
    for name, one in getattr(command, "commands", {}).items():
        yield from walk(one, (*words, name))


def texts():
    """Return the command lines with such octets, and the option or argument that they are of."""
    for words, command in walk(typer.main.get_command(app)):
        before = []
        for one in command.params:
            descriptor = getattr(one, "type_descriptor", None)
            is_argument = one.param_type_name == "argument"
            kinds = (str, list[str], tuple[str, ...])
            if descriptor and descriptor.annotation in kinds and one.metavar not in OF_FILES:
                name = one.metavar if is_argument else one.opts[0]
                given = [*before, LATIN_1] if is_argument else [name, LATIN_1]
                yield pytest.param([*words, *given], name, id=" ".join([*words, name]))
            if is_argument:
                before.append("x")


@pytest.mark.parametrize(("words", "name"), list(texts()))
def test_an_argument_that_is_no_text(scep, words, name):
    status, out, err = scep(*words)
    assert (status, out) == (2, "")
    assert err == (
        f"error: {name}: that is not text in utf-8, the encoding of this locale\n"
        "hint: let the terminal, or the script, write in the encoding that the locale (LC_ALL, "
        "LANG) names\n"
    )


def test_what_names_a_file_may_be_any_octets(scep, serve):
    site = serve()
    key = f"file:{LATIN_1}"
    command = ["enroll", site.url, "--subject", "CN=a", "--insecure", "--out", "a"]
    Path(LATIN_1).write_text("a passphrase")
    assert scep(*command, "--fullchain", "chain" + LATIN_1, "--key-passphrase", key)[0] == 0
    assert scep("renew", "a", "--force", "--fullchain", LATIN_1 + ".pem")[0] == 0


ENROLL = ("enroll", "http://127.0.0.1:1", "--subject", "CN=a", "--insecure", "--out", "a")


def test_a_challenge_of_the_environment_that_is_no_text(scep, monkeypatch):
    monkeypatch.setenv("SCEP_CHALLENGE", os.fsdecode(b"\xff"))
    status, out, err = scep(*ENROLL)
    assert (status, out) == (2, "")
    assert err == (
        "error: the challenge in $SCEP_CHALLENGE is not text in UTF-8\n"
        "hint: write the challenge in UTF-8 there\n"
    )


def test_a_passphrase_of_the_environment_that_is_no_text(scep, monkeypatch, serve):
    monkeypatch.setenv("PASSPHRASE", os.fsdecode(b"\xff"))
    site = serve()
    status, _, err = scep(*ENROLL[:1], site.url, *ENROLL[2:], "--key-passphrase", "env:PASSPHRASE")
    assert status == 2
    assert err.splitlines()[-2] == (
        "error: the passphrase of the key in $PASSPHRASE is not text in UTF-8"
    )


def test_piped_octets_that_are_no_text(scep, monkeypatch):
    monkeypatch.setattr("sys.stdin.readline", lambda: os.fsdecode(b"\xff\n"))
    status, _, err = scep(*ENROLL, "--challenge", "-")
    assert status == 2
    assert err.startswith("error: the challenge in stdin is not text in UTF-8\n")


ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def as_process(*words, piped=b"", **variables):
    """Run `scep` as a process, whose stdin and stdout have an encoding."""
    command = [sys.executable, "-m", "scepkit", *words]
    environment = {**os.environ, **variables}
    return subprocess.run(command, input=piped, env=environment, capture_output=True, check=False)


def test_a_letter_that_the_terminal_has_not_is_escaped(scep):
    home = data_directory.prepare(Path("s"), now=datetime.now(UTC), layout="ec")
    open_store(home.settings).close()
    label = "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}"
    assert scep("admin", "challenge", "new", "--label", label, "--dir", "s")[0] == 0
    done = as_process("admin", "challenge", "list", "--dir", "s", **ASCII)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Zo\\xeb" in done.stdout
    done = as_process("admin", "challenge", "list", "--dir", "s", PYTHONIOENCODING="ascii:replace")
    assert b"Zo?" in done.stdout


def test_piped_octets_that_are_no_text_to_a_strict_locale():
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    done = as_process(*ENROLL, "--challenge", "-", piped=b"\xff\n", **strict)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the challenge in stdin is not text in UTF-8\n")
