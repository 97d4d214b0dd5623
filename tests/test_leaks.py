"""A run in which a secret gets into a log fails: whichever secret, and whichever log."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import keys
from forms import short_and_long
from leaks import Collector, secrets_of

HERE = Path(__file__).parent
CHALLENGE = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"
PEM = keys.rsa_key("leaked").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

MAKE = """\
import logging, subprocess, sys
import forge, keys
from scepkit.protocol import csr

def test_it(tmp_path, capfd):
    secret = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"
    csr.build(keys.name("a"), keys.rsa_key(), challenge_password=secret)
"""

A_SERVER = "a server's log"
LEAKS = {
    "stderr": "print('challenge:', secret, file=sys.stderr)",
    "a stream that was read": "print(secret, file=sys.stderr); capfd.readouterr()",
    "logging": "logging.getLogger('a').warning('no %s', secret)",
    "a program": "subprocess.run(['sh', '-c', f'echo {secret} >&2'])",
    A_SERVER: "(tmp_path / 'server.log').write_text(f'{{\"reason\": \"{secret}\"}}')",
    "a key": "print('-----BEGIN PRIVATE KEY-----', file=sys.stderr)",
}
FINE = {
    "nothing": "pass",
    "stdout": "print(secret)",
    "another": "print(secret[:-1], file=sys.stderr)",
}
# pytest keeps the directories of the newest three runs, and those that are locked.
THREE_LATER_RUNS = """
import subprocess, sys
import pytest

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    (session.path / "test_later.py").write_text("def test_it(tmp_path): pass")
    for _ in range(3):
        later = [sys.executable, "-m", "pytest", "--noconftest", "test_later.py"]
        subprocess.run(later, check=True, cwd=session.path)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test of its own that does something with a secret."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))

    def run(line):
        pytester.makepyfile(f"{MAKE}    {line}\n")
        return pytester.runpytest_subprocess("-p", "leaks")

    return run


@pytest.mark.rfc("S-7.3-4")
@pytest.mark.parametrize("kind", short_and_long("stderr", A_SERVER, of=LEAKS))
def test_a_secret_in_a_log_fails_the_run(run, kind):
    """No challenge, static secret or private key of the whole test run is in any log of it."""
    result = run(LEAKS[kind])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["SECRET IN A LOG: *"])
    (said,) = [one for one in result.outlines if one.startswith("SECRET IN A LOG")]
    assert CHALLENGE not in said


@pytest.mark.parametrize("kind", short_and_long("another", of=FINE))
def test_what_is_no_secret_and_what_is_no_log(run, kind):
    result = run(FINE[kind])
    assert result.ret == pytest.ExitCode.OK


# Each test runs in both workers.
MAKE_IN_ONE_WORKER = """\
import os, sys
import forge

def test_it(tmp_path):
    secret = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"
    if os.environ["PYTEST_XDIST_WORKER"] == "gw0":
        forge.challenge(secret)
    else:
        {line}
"""
WORKER_THAT_SAYS_NOTHING = """
import os

def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        os._exit(0)
"""


@pytest.fixture
def run_in_workers(pytester, monkeypatch):
    """Run a test of its own that does something in a worker beside that of the secret."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))

    def run(line):
        pytester.makepyfile(MAKE_IN_ONE_WORKER.format(line=line))
        return pytester.runpytest_subprocess("-p", "leaks", "-n2", "--dist=each")

    return run


@pytest.mark.parametrize("where", short_and_long(A_SERVER, of=["stderr", A_SERVER]))
def test_a_secret_of_one_worker_in_a_log_of_another(run_in_workers, where):
    result = run_in_workers(LEAKS[where])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["SECRET IN A LOG: *"])


@pytest.mark.long
def test_workers_without_a_leak(run_in_workers):
    assert run_in_workers(FINE["stdout"]).ret == pytest.ExitCode.OK


@pytest.mark.long
def test_a_worker_that_cannot_say_what_it_saw(run_in_workers, pytester):
    pytester.makeconftest(WORKER_THAT_SAYS_NOTHING)
    result = run_in_workers("pass")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["gw? ended without a word: its logs are not checked"])


def test_challenges_of_a_store_and_forged_ones_are_seen(run):
    line = "forge.challenge('another secret'); print('another secret', file=sys.stderr)"
    assert run(line).ret == pytest.ExitCode.TESTS_FAILED


def test_the_files_of_a_run(tmp_path):
    """Keys that any test left on the disk are looked for in every log on the disk."""
    key = tmp_path / "a" / "ca-key.pem"
    key.parent.mkdir()
    key.write_bytes(PEM)
    (tmp_path / "challenge.key").write_bytes(bytes(range(32)))
    log = tmp_path / "a" / "data.log"
    for leak in (PEM.decode().splitlines()[7], bytes(range(32)).hex(), CHALLENGE):
        log.write_text(f"so it is {leak}, it seems\n")
        collector = Collector()
        collector.add_files(tmp_path)
        collector.add_secret(CHALLENGE)
        assert collector.leaks() == ["data.log: so it is [the secret], it seems"]


def test_public_files_are_no_secrets():
    assert list(secrets_of(keys.ca().x509.public_bytes(Encoding.PEM))) == []
    assert list(secrets_of(b"")) == []


def test_the_modulus_of_a_key_is_no_secret():
    """It is in every certificate, and lines of the two PEM files may fall together."""
    public = keys.spki(keys.rsa_key("leaked"))
    lines = PEM.decode().splitlines()[2:-1]
    kept = set(secrets_of(PEM))
    assert [line for line in lines if base64.b64decode(line + "==") in public]
    assert kept == {line for line in lines if base64.b64decode(line + "==") not in public}


@pytest.mark.long
def test_while_other_runs_come_and_go(pytester, monkeypatch, tmp_path):
    """The logs are read before other runs may delete the directories of this one."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path))
    pytester.makeconftest(THREE_LATER_RUNS)
    pytester.makepyfile(f"{MAKE}    {LEAKS[A_SERVER]}\n")
    result = pytester.run(sys.executable, "-m", "pytest", "-p", "leaks")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["SECRET IN A LOG: *server.log*"])
