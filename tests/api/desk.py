"""The API without a socket, over a data directory that was made once."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from scepkit.operations import tokens
from scepkit.operations.tokens import Scope
from scepkit.server.api.application import create
from scepkit.server.api.front import Front
from scepkit.server.api.service import Service
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store
from server import socketless
from server.live import Answer

CHALLENGES = "/api/v1/endpoints/default/challenges"
SETTINGS = """\
[endpoint.wifi]
[endpoint.phones]
approval = "manual"
challenge = "none"
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return a data directory with three endpoints; nobody may write to it."""
    path = tmp_path_factory.mktemp("api") / "data"
    path.mkdir(mode=0o700)
    (path / "scep.toml").write_text(SETTINGS)
    home = data_directory.prepare(path, now=datetime.now(UTC), layout="ec")
    open_store(home.settings).close()
    return path


@pytest.fixture
def directory(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


class Clock:
    """A clock that is set."""

    DAY = timedelta(days=1)

    def __init__(self):
        self.time = datetime.now(UTC)

    def __call__(self):
        return self.time

    def pass_by(self, **length):
        self.time += timedelta(**length)


@dataclass
class API:
    """The API over a data directory."""

    service: Service
    answer: Front
    clock: Clock

    def new_token(self, *scopes, endpoints=("default",), **how):
        """Return a new token."""
        usual = {"name": "mdm", "lifetime": timedelta(days=1), "by": "alice", "now": self.clock()}
        return tokens.create(
            self.service.store,
            scopes=scopes or (*Scope,),
            endpoints=endpoints,
            **usual | how,
        ).text

    def ask(self, target, method="GET", body=None, token=None, headers=(), **more) -> Answer:
        """Send a request; what is no octets is sent as JSON."""
        sent = [("host", "api.example"), *headers]
        if token is not None:
            sent.append(("authorization", f"Bearer {token}"))
        if body is not None and not isinstance(body, bytes):
            sent.append(("content-type", "application/json"))
            body = json.dumps(body).encode()
        return asyncio.run(
            socketless.ask(self, target, method, body or b"", sent, **{"peer": "127.0.0.1"} | more)
        )

    def post(self, body, token, target=CHALLENGES, **more) -> Answer:
        return self.ask(target, "POST", body, token, **more)


def opened(directory, **how):
    """Return the API over a data directory, as a process of its own opens it."""
    home = data_directory.open_records(directory)
    clock = Clock()
    service = Service(home, open_store(home.settings, "api"), clock)
    return API(service, Front(create(service), **{"has_tls": True} | how), clock)


@pytest.fixture
def open_api(directory):
    """Return a function that opens the API; what it opened is closed after the test."""
    stores = []

    def open_api(**how):
        api = opened(directory, **how)
        stores.append(api.service.store)
        return api

    yield open_api
    for store in stores:
        store.close()


@pytest.fixture
def api(open_api):
    return open_api()


@pytest.fixture
def token(api):
    return api.new_token()


@pytest.fixture
def logged():
    with structlog.testing.capture_logs() as lines:
        yield lines


def problem(answer, kind):
    """Return what a problem says, which is of this kind, and says what to do."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    found = json.loads(answer.body)
    assert found["type"] == f"urn:scepkit:problem:{kind}", found
    assert found["status"] == answer.status
    assert found["title"]
    assert found["detail"]
    return found
