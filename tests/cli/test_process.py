"""The command as a process of its own: how fast it starts, and how it ends when it is stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pair import grant
from scepkit.cli import main, terminal
from scepkit.protocol.scep.messages import Pending

HEAVY = {"sqlalchemy", "alembic", "httptools", "uvloop", "pydantic_settings", "structlog"}
SCEP = [sys.executable, "-m", "scepkit"]


def loaded(*arguments):
    """Return what a command loaded by the time it ended."""
    code = (
        "import json, sys\n"
        "from scepkit.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stderr.splitlines()[-1])
    return status, set(modules)


@pytest.mark.parametrize("words", [["enroll", "--help"], ["--help"]])
def test_help_loads_neither_the_server_nor_the_network(words):
    status, modules = loaded(*words)
    assert status == 0
    assert not modules & (HEAVY | {"urllib3", "pydantic", "rich", "scepkit.server"})
    assert "scepkit.cli.admin" not in modules


def test_enrolling_loads_nothing_of_the_server(serve):
    site = serve()
    arguments = ["enroll", site.url, "--subject", "CN=a", "--insecure", "--out", "a"]
    status, modules = loaded(*arguments)
    assert status == 0
    assert not modules & HEAVY
    assert not any(m.startswith(("scepkit.server", "scepkit.store")) for m in modules)


def test_every_command_of_the_server_says_that_it_is_not_installed():
    commands = """\
        serve
        mobileconfig --subject CN=a
        windows-csp --subject CN=a
        admin challenge new
        admin list
        admin show 1
        admin approve 1
        admin reject 1
        admin revoke 1 --invalidity-date 2026-01-01
        admin release 1
        admin crl
        admin rollover prepare
        admin rollover activate
        admin rollover cancel
        admin rollover status
        admin purge
        admin endpoint list
        admin endpoint show
        admin audit list
        admin audit export
        admin audit verify"""
    code = (
        "import sys\n"
        "sys.modules['sqlalchemy'] = None\n"
        "from scepkit.cli import main\n"
        "for line in sys.stdin: main(line.split())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=commands, capture_output=True, text=True, check=True
    )
    said = [
        "error: the server's part of scepkit is not installed",
        "hint: install it with its extra `server`: pip install '.[server]' in a checkout",
    ]
    assert done.stderr.splitlines() == said * len(commands.splitlines())


def test_a_static_secret_is_alone_on_stdout(capsys):
    """It takes no server, no directory and nothing of the server's part."""
    made = set()
    for arguments, length in ([], 32), (["--bits", "80"], 16):
        status, modules = loaded("admin", "challenge", "secret", *arguments)
        assert status == 0
        assert not modules & HEAVY
        assert main(["admin", "challenge", "secret", *arguments]) == 0
        told = capsys.readouterr()
        assert re.fullmatch(rf"[a-z2-9]{{{length}}}\n", told.out)
        assert told.err == ""
        made.add(told.out)
    assert len(made) == 2


def test_a_static_secret_for_a_program(capsys):
    assert main(["admin", "challenge", "secret", "--bits", "80", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert re.fullmatch(r"[a-z2-9]{16}", made.pop("secret"))
    assert made == {"bits": 80}


def test_a_static_secret_on_a_terminal(capsys, monkeypatch):
    """Whoever reads it there is told how to keep this one, and not how to make another."""
    monkeypatch.setattr(terminal.sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["admin", "challenge", "secret"]) == 0
    told = capsys.readouterr()
    assert 'challenge = "static", challenge_file = "FILE"' in told.err
    assert "relative to the server's directory, belongs to the server's user" in told.err
    assert "mode 0600" in told.err
    assert "scep admin challenge secret" not in told.err
    assert told.out.strip() not in told.err


@pytest.mark.parametrize("bits", ["79", "1276"])
def test_a_static_secret_of_no_sensible_size(capsys, bits):
    """Below 80 bits the server would warn of it, and above 1275 no challengePassword holds it."""
    assert main(["admin", "challenge", "secret", "--bits", bits]) == 2
    assert capsys.readouterr().out == ""


@pytest.fixture
def waiting(serve):
    """A process that waits for approval; it is gone after the test."""
    site = serve(Pending(), grant)
    arguments = ["--fingerprint", site.fingerprint, "--out", "a", "--subject", "CN=a"]
    command = [*SCEP, "enroll", site.url, *arguments]
    # What a shell starts in the background ignores SIGINT, and so do its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        line = process.stderr.readline()
        assert re.fullmatch("request [0-9a-f]{32} waits for approval; asking again in 60 s\n", line)
        yield process, command
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_killed_while_it_waits(waiting):
    """kill -9: nothing half-done is left, and the same command gets the certificate."""
    process, command = waiting
    process.kill()
    process.wait()
    assert {path.name for path in Path("a").iterdir()} == {
        "key.pem.new",
        "enrolment.json.new",
        "request.pem.new",
    }
    key = Path("a/key.pem.new").read_bytes()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("continuing the request of a/key.pem.new;")
    assert Path("a/key.pem").read_bytes() == key
    assert {path.name for path in Path("a").iterdir()} == {
        "key.pem",
        "cert.pem",
        "chain.pem",
        "ca.pem",
        "enrolment.json",
    }


@pytest.mark.rfc("S-4.4-4")
def test_a_second_one_while_it_waits(waiting):
    """One request of a device is outstanding at a time: a second command is turned away."""
    _, command = waiting
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: another scep is at work in a\n")


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


@pytest.mark.parametrize("more", [[], ["--force"]], ids=["refused", "forced"])
def test_a_second_one_that_is_faster(serve, more):
    """Both begin while DIR is not there; what the faster one put there is replaced by force only.

    The second process comes and goes while the first one waits for its first answer.
    """
    site = serve(grant)
    arguments = ["--subject", "CN=a", "--out", "a", "--fingerprint", site.fingerprint]
    command = [*SCEP, "enroll", site.url, *arguments]
    really, faster = site.answer, {}

    def answer(request):
        # The requests of the second one come here as well.
        site.answer = really
        assert not Path("a").exists()
        faster["done"] = subprocess.run(command, capture_output=True, text=True, check=False)
        faster["files"] = contents("a")
        return really(request)

    site.answer = answer
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    assert faster["done"].returncode == 0, faster["done"].stderr
    if more:
        assert done.returncode == 0, done.stderr
        assert contents("a")["cert.pem"] != faster["files"]["cert.pem"]
    else:
        assert done.returncode == 2
        assert done.stderr.startswith("error: a/cert.pem is there already, valid until ")
        assert contents("a") == faster["files"]


def test_interrupted_while_it_waits(waiting):
    process, _ = waiting
    process.send_signal(signal.SIGINT)
    assert process.stderr.read() == (
        "the key stays in a/key.pem.new: the same command asks again\ninterrupted\n"
    )
    assert process.wait() == 130


def test_a_reader_that_goes_away(serve):
    site = serve()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*SCEP, "get", "caps", site.url], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "2>&- >&-"])
def test_nobody_hears_what_is_said(serve, tmp_path, closed):
    """A command without a stderr, as some service managers start it, does its work all the same."""
    site = serve()
    arguments = ["enroll", site.url, "--subject", "CN=a", "--insecure", "--out", tmp_path / "a"]
    command = [*SCEP, *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *command],
        capture_output=True,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "a" / "cert.pem").exists()
