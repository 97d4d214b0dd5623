"""A SCEP server on a socket, and `scep` as a function."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys

import pytest

import keys
from httpd import Site
from scepkit.cli import main, terminal
from scepkit.client import keys as client_keys


class Stdin(io.StringIO):
    """What is piped or typed into a command."""

    def __init__(self, text="", *, tty=False):
        super().__init__(text)
        self._tty = tty

    def isatty(self):
        return self._tty


@pytest.fixture
def serve():
    """Start sites that stop after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *decisions, **how: stack.enter_context(Site(*decisions, **how))


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """Every command starts in an empty directory, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "all_proxy", "SCEP_CHALLENGE", "SCEP_DEBUG"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdin", Stdin())


@pytest.fixture
def scep(capsys):
    """Run `scep` in this process: arguments in; status, stdout and stderr out."""

    def scep(*arguments):
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return scep


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch):
    """Hand out keys that were made once: making RSA keys is slow."""
    made, really = itertools.cycle(range(3)), client_keys.generate_key

    def generate_key(spec):
        if not spec.startswith("rsa:"):
            return really(spec)
        return keys.rsa_key(f"cli-{next(made)}", int(spec.removeprefix("rsa:")))

    monkeypatch.setattr(client_keys, "generate_key", generate_key)


@pytest.fixture
def answer(monkeypatch):
    """Sit at a terminal and type something."""

    def answer(text):
        monkeypatch.setattr(sys, "stdin", Stdin(text, tty=True))
        monkeypatch.setattr(terminal, "can_ask", lambda: True)

    return answer
