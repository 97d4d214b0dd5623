"""A SCEP server on a socket, and a client that does not really sleep."""

from __future__ import annotations

import contextlib

import pytest

from httpd import Site
from scepkit.client.client import Client
from scepkit.client.http import HTTPTransport
from waiting import PATIENCE


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def serve():
    """Start sites that stop after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *decisions, **how: stack.enter_context(Site(*decisions, **how))


@pytest.fixture
def transport():
    with contextlib.closing(HTTPTransport(timeout=PATIENCE)) as made:
        yield made


@pytest.fixture
def waits():
    """Every wait that a client was asked to make."""
    return []


@pytest.fixture
def connect(transport, waits):
    """Return a client for a site; time passes at once."""

    def connect(site, **how):
        return Client(site.url, transport=transport, pause=waits.append, **how)

    return connect
