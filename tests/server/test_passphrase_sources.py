"""A server whose keys are under a passphrase starts with each source of it, in real processes.

With two workers: whoever starts it is asked once, and the workers are given what was found.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

from scepkit.keys.passphrase import Passphrase
from scepkit.server.directory import data_directory, key_protection
from scepkit.server.directory.database import open_store
from scepkit.server.directory.passphrases import CREDENTIAL, VARIABLE
from server.live import SCEP, Server, environment, scep
from waiting import wait_until

RIGHT, WRONG = "correct horse ä battery", "something else altogether"
# With the blank: what is typed before it is thrown away, as the echo is turned off.
PROMPT = "Passphrase of the server's keys: "
PAGE = Path(__file__).parents[2] / "docs/how-to/protecting-keys.md"


@pytest.fixture
def protected(directory):
    """A data directory with encrypted keys."""
    path = directory()
    settings = data_directory.open_records(path).settings
    with open_store(settings) as store:
        key_protection.protect(
            *(settings, store),
            old=None,
            new=Passphrase(RIGHT, rounds=1000),
            by="operator",
            now=data_directory.utc_now(),
        )
    return path


def in_file(directory, text):
    """Name a file in scep.toml."""
    file = directory.with_name("passphrase")
    file.touch(0o600)
    file.write_text(f"{text}\n")
    (directory / "scep.toml").write_text(f'key_passphrase_file = "{file}"\n')
    return {}


def in_named_file(directory, text):
    """Name a file in a variable."""
    in_file(directory, text)
    (directory / "scep.toml").unlink()
    return {"SCEP_KEY_PASSPHRASE_FILE": str(directory.with_name("passphrase"))}


def in_variable(_, text):
    return {VARIABLE: text}


def in_credential(directory, text):
    """Do as systemd does with LoadCredential: a file that others may read, says its mode."""
    place = directory.with_name("credentials")
    place.mkdir()
    (place / CREDENTIAL).write_text(f"{text}\n")
    (place / CREDENTIAL).chmod(0o440)
    return {"CREDENTIALS_DIRECTORY": str(place)}


SOURCES = [in_file, in_named_file, in_variable, in_credential]


@pytest.mark.parametrize("source", SOURCES)
def test_a_server_finds_it(protected, source):
    """And so do the commands beside it, with what they are given."""
    given = source(protected, RIGHT)
    with Server(protected, "--workers", "2", **given) as server:
        wait_until(lambda: len(server.workers) == 2)
        assert server.ask("/scep?operation=GetCACert").status == 200
        done = scep("admin", "crl", "--dir", protected, **given)
        assert done.returncode == 0, done.stderr
        gone = server.workers[0]
        os.kill(gone, signal.SIGKILL)
        wait_until(lambda: gone not in server.workers and len(server.workers) == 2, "another")
        assert server.stop() == 0
        assert "Traceback" not in server.log


@pytest.mark.parametrize("source", SOURCES)
def test_a_wrong_one_is_told_in_a_line(protected, source):
    done = scep("serve", "--dir", protected, "--port", "0", **source(protected, WRONG))
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert re.fullmatch(r"error: the passphrase does not open the key file \S+", error)
    assert hint.startswith("hint: ")
    assert WRONG not in done.stderr


def test_the_unit_of_the_page_names_the_credential():
    page = PAGE.read_text()
    for setting in ("LoadCredentialEncrypted", "LoadCredential"):
        assert f"{setting}={CREDENTIAL}:" in page
    assert f"--name={CREDENTIAL} " in page
    assert VARIABLE in page


@contextlib.contextmanager
def at_terminal(directory, *arguments):
    """Start a server at a terminal; yields its process and a function that reads the screen."""
    ours, its = pty.openpty()
    command = [*SCEP, "serve", "--dir", str(directory), "--port", "0", *arguments]
    process = subprocess.Popen(
        command,
        stdin=its,
        stderr=its,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    os.close(its)
    screen = ""

    def shows(text):
        nonlocal screen
        while text not in screen:
            screen += os.read(ours, 1000).decode(errors="replace")
        return screen

    try:
        yield process, shows, lambda text: os.write(ours, f"{text}\n".encode())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        os.close(ours)


def test_whoever_starts_it_is_asked_once(protected):
    """Workers, and a reload, ask nobody; nothing of the passphrase is on the screen."""
    with at_terminal(protected, "--workers", "2") as (process, shows, type_):
        shows(PROMPT)
        type_(RIGHT)
        assert process.stdout.readline().startswith("URL ")
        shows("a device:")
        reload = ("admin", "reload", "--dir", protected)
        wait_until(lambda: scep(*reload).returncode == 0, "the start")
        process.send_signal(signal.SIGTERM)
        screen = shows("stopped")
        assert process.wait() == 0
    assert screen.count("Passphrase") == 1
    assert RIGHT not in screen


def test_a_wrong_one_is_typed(protected):
    with at_terminal(protected) as (process, shows, type_):
        shows(PROMPT)
        type_(WRONG)
        screen = shows("hint: ")
        assert process.wait() == 2
    assert "the passphrase does not open the key file" in screen
    assert WRONG not in screen


def test_nobody_can_be_asked(protected):
    """The error names every way to say it."""
    done = scep("serve", "--dir", protected, "--port", "0")
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("is encrypted", "key_passphrase_file", VARIABLE))
