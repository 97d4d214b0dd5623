"""Data directories made once, servers that always stop, and applications without a socket."""

from __future__ import annotations

import contextlib
import io
import shutil
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
import structlog

import minted
from scepkit.cli import main
from scepkit.server import app as application
from scepkit.server.background import crl_signing as crls
from scepkit.server.directory import data_directory
from scepkit.server.log import LossyStream
from scepkit.store import Store
from server.live import Server

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True, scope="session")
def _alone():
    """Nothing from outside changes a server's settings."""
    import os

    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(("SCEP_", "PROMETHEUS_"))]:
            patch.delenv(name)
        patch.setenv("NO_COLOR", "1")
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return the data directory of a layout, made once; nobody may write to it."""
    homes = {}

    def made(layout="ec"):
        if layout not in homes:
            path = tmp_path_factory.mktemp("made") / layout
            home = data_directory.prepare(path, now=datetime.now(UTC), layout=layout)
            Store.open(home.settings.database_url).close()
            homes[layout] = path
        return homes[layout]

    return made


@pytest.fixture
def directory(made, tmp_path):
    """Return a copy of a data directory, to write to."""

    def directory(layout="ec"):
        return shutil.copytree(made(layout), tmp_path / "data")

    return directory


@pytest.fixture
def serve():
    """Start servers that are gone after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *how, **env: stack.enter_context(Server(*how, **env))


@pytest.fixture(scope="session")
def live(made, tmp_path_factory):
    """Return a server that runs for the whole session; to be used, not to be stopped."""
    path = shutil.copytree(made(), tmp_path_factory.mktemp("live") / "data")
    with Server(path) as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log


def new_challenges(directory, count=1, **how):
    """Return new challenges of a data directory; a server may run on it."""
    home = data_directory.open_existing(directory, now=datetime.now(UTC))
    with Store.open(home.settings.database_url) as store:
        return minted.secrets(
            data_directory.challenges_of(home, store),
            **{"count": count, "now": datetime.now(UTC), "lifetime": HOUR} | how,
        )


@pytest.fixture(scope="session")
def challenges():
    return new_challenges


@pytest.fixture
def challenge(live):
    """Return a new challenge of the session's server."""
    return new_challenges(live.directory)[0]


@pytest.fixture
def app(directory, monkeypatch):
    """Return a function that makes the application of a new server, and its data directory."""
    monkeypatch.setattr(
        application.log, "configure", lambda _form: LossyStream(io.StringIO(), Mock())
    )
    # What is logged is about requests, whenever the first CRL may be signed.
    monkeypatch.setattr(crls, "log", Mock())

    def app(layout="ec", files=(), **options):
        path = directory(layout)
        for name, content in dict(files).items():
            (path / name).write_text(content)
            (path / name).chmod(0o600)
        home = data_directory.prepare(path, now=datetime.now(UTC), **options)
        return application.create(home), path

    return app


@pytest.fixture
def scep(capsys):
    """Run `scep` in this process: arguments in; status, stdout and stderr out."""

    def scep(*arguments):
        capsys.readouterr()
        status = main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return scep


@pytest.fixture
def logged():
    """Return what was logged by the process that runs the tests."""
    with structlog.testing.capture_logs() as lines:
        yield lines
