"""Requests at the doors of a server without a socket, as a proxy that does TLS passes them on."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from scepkit.operations import ndes_accounts
from scepkit.server.settings.authorization import OneTimeRule
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.store import Store

ELSEWHERE = "203.0.113.9"
ACCOUNT, PASSWORD = "mdm", "Wuchtgeschoss-17"


def by_tls(peer=ELSEWHERE, *, proto="https"):
    """Return how a request comes through a listed proxy."""
    return [("X-Forwarded-For", peer), ("X-Forwarded-Proto", proto)]


def basic(user=ACCOUNT, password=PASSWORD):
    """Return the header of a name and a password."""
    pair = f"{user}:{password}".encode()
    return [("Authorization", f"Basic {base64.b64encode(pair).decode()}")]


def knock(target, *headers, peer=ELSEWHERE, **how):
    """Return a request that a proxy on this machine forwards."""
    sent = [*by_tls(peer), *(one for several in headers for one in several)]
    return {"target": target, "headers": sent, "peer": "127.0.0.1", **how}


def endpoint(**how):
    """Return the settings of endpoints, of which `default` is as told."""
    return {"default": EndpointSettings(**how)}


def bounded(**how):
    """Return the rule for one-time challenges with a bound, as the only one."""
    return (OneTimeRule(kind="one-time", **how),)


def add_account(path, name=ACCOUNT, password=PASSWORD, endpoints=("default",), *, replaces=False):
    """Add an account to the server in a directory."""
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        ndes_accounts.add(
            *(store, name, password, endpoints),
            known=endpoints,
            replaces=replaces,
            by="test",
            now=datetime.now(UTC),
        )


def stored_challenges(path):
    """Return the challenges of a directory, the newest first."""
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        return list(store.challenges())
