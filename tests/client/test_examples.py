"""The programs in examples/ do what they say, against each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments, cwd):
    command = [sys.executable, EXAMPLES / name, *arguments]
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
