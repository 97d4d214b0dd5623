"""The programs in examples/ do what they say, against each other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

# A connection that is left open is an error.
WARNINGS = ["-W", "error"]
EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments, cwd):
    command = [sys.executable, *WARNINGS, EXAMPLES / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture
def server():
    """The example server: its URL and its CA's fingerprint."""
    command = [sys.executable, EXAMPLES / "own_server.py"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process.stdout.readline().strip(), process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_client_and_server(server, tmp_path):
    url, fingerprint = server
    done = run("get_certificate.py", url, fingerprint, "wrong", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("badRequest: not with that challenge")
    assert not (tmp_path / "device1").exists()
    done = run("get_certificate.py", url, fingerprint, "secret", cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith("CN=device1 "), done.stderr
    assert (tmp_path / "device1" / "cert.pem").exists()
    done = run("own_transport.py", url, cwd=tmp_path)
    assert "scepstandard" in done.stdout, done.stderr
    done = run("socket_transport.py", url, cwd=tmp_path)
    assert "scepstandard" in done.stdout, done.stderr


def test_enrolment_and_renewal(server, tmp_path):
    done = run("enrol.py", *server, "secret", cwd=tmp_path)
    assert len(re.findall(r"^CN=device1 \d{4}-", done.stdout, re.MULTILINE)) == 2, done.stderr
    assert not done.stderr


def test_several_devices_at_once(server, tmp_path):
    done = run("enrol_async.py", *server, "secret", cwd=tmp_path)
    names = {line.split()[0] for line in done.stdout.splitlines()}
    assert names == {f"CN=device{number}" for number in range(1, 6)}, done.stderr
    assert not done.stderr


def test_a_request_that_openssl_wrote(server, tmp_path, openssl):
    openssl.run("genrsa", "-out", tmp_path / "key.pem", "2048")
    for password in ("secret", "wrong"):
        (tmp_path / "req.cnf").write_text(CONFIG.format(password=password), "ascii")
        openssl.run(
            *("req", "-new", "-key", tmp_path / "key.pem", "-out", tmp_path / "csr.pem"),
            *("-config", tmp_path / "req.cnf"),
        )
        done = run("own_csr.py", *server, "csr.pem", "key.pem", cwd=tmp_path)
        if password == "secret":
            assert done.stdout.startswith("-----BEGIN CERTIFICATE-----"), done.stderr
        else:
            assert done.stderr.startswith("badRequest: not with that challenge (transaction "), (
                done.stderr
            )


CONFIG = """\
[req]
prompt = no
distinguished_name = name
attributes = attributes
[name]
CN = written by openssl
[attributes]
challengePassword = {password}
"""


def test_both_ends_in_memory(tmp_path):
    done = run("in_memory.py", cwd=tmp_path)
    assert done.stdout.split() == ["CN=sync", "CN=async"], done.stderr
    assert not done.stderr
