"""A site and devices by one clock."""

from __future__ import annotations

import io
import itertools
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
import structlog

import agent.simulation as simulated
import keys
from scepkit.client import clock as device_clock
from scepkit.client import keys as client_keys
from scepkit.server import app as application
from scepkit.server.background import crl_signing
from scepkit.server.log import LossyStream


@pytest.fixture
def clock(monkeypatch):
    """Return the clock of the server and of all devices; it stands until a test moves it."""
    made = simulated.Clock(datetime.now(UTC).replace(microsecond=0))
    monkeypatch.setattr(device_clock, "now", made.device)
    simulated.move(made)
    yield made
    simulated.really()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Hand out RSA keys that were made once, and wait for no disk: nothing loses its power here."""
    made, really = itertools.count(), client_keys.generate_key

    def generate_key(spec):
        if not spec.startswith("rsa:"):
            return really(spec)
        return keys.rsa_key(f"agent-{next(made) % 4}", int(spec.removeprefix("rsa:")))

    monkeypatch.setattr(client_keys, "generate_key", generate_key)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def quiet(monkeypatch):
    """Keep the log to itself."""
    monkeypatch.setattr(
        application.log, "configure", lambda _form: LossyStream(io.StringIO(), Mock())
    )
    monkeypatch.setattr(crl_signing, "log", Mock())
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def place(tmp_path):
    """Return a directory in memory, if there is such a file system: years are many small files."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="scep-years-") as made:
        yield Path(made)


@pytest.fixture
def site(clock, place, quiet):
    """Return the server."""
    made = simulated.Site(place / "data", clock, layout="ec")
    yield made
    made.close()


@pytest.fixture
def network(site):
    """Return the way to it."""
    return simulated.Network(site)
