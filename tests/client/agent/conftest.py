"""An enrolled device, an agent, and a clock that a test sets."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

import httpd
import keys
from pair import grant
from scepkit.client import clock
from scepkit.client import keys as client_keys
from scepkit.client.agent.agent import Agent
from scepkit.client.agent.settings import AgentSettings
from scepkit.client.client import Connection
from scepkit.client.enroller import Enroller
from scepkit.client.folder import Folder
from scepkit.client.trust import by_fingerprint
from scepkit.protocol.scep.transaction import Limits


@pytest.fixture(autouse=True)
def _quick_keys(monkeypatch):
    """Hand out keys that were made once: making RSA keys is slow."""
    made = itertools.cycle(range(3))
    monkeypatch.setattr(
        client_keys, "generate_key", lambda _spec: keys.rsa_key(f"cli-{next(made)}", 2048)
    )


class Clock:
    """The time by the device's clock, which passes when the test says so."""

    def __init__(self):
        self.time = datetime.now(UTC).replace(microsecond=0)

    def __call__(self):
        return self.time

    def jump(self, **how):
        self.time += timedelta(**how)


@pytest.fixture
def time(monkeypatch):
    made = Clock()
    monkeypatch.setattr(clock, "now", made)
    # What the server issues begins by the same clock.
    monkeypatch.setattr(httpd, "today", lambda: made().replace(microsecond=0))
    return made


@pytest.fixture
def told():
    """Every event."""
    return []


@pytest.fixture
def enrolled(connect, tmp_path):
    """Enrol in a directory below the root, at a site that grants."""

    def enrolled(site, name="dev1"):
        folder = Folder(tmp_path / "root" / name)
        Enroller(connect(site), folder, by_fingerprint(site.fingerprint)).enrol(f"CN={name}")
        return folder

    return enrolled


@pytest.fixture
def look(told):
    """Look once at directories, as a new agent, which does not really wait."""
    limits = Limits(retries=1, max_retry_after=2, max_wait=0)

    def look(*folders, eager=False, **how):
        way = Connection(timeout=5, limits=limits, pause=lambda _wait: None)
        agent = Agent(AgentSettings(**how), way, tell=told.append)
        visits = list(agent.once([one.path for one in folders], eager=eager))
        return visits[0] if len(visits) == 1 else visits

    return look


@pytest.fixture
def site(serve):
    return serve(*[grant] * 50)
