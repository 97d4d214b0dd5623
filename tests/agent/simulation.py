"""Devices, their agents and our server, by one clock that a test moves.

All but the sockets is real: the application of `scep serve` with its files and its SQLite, the
agent with its directories, and hooks that are processes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import minted
from scepkit.ca.directory import rotation
from scepkit.ca.directory.founding import RA_VALIDITY
from scepkit.ca.extensions import key_identifier
from scepkit.client import http_policy
from scepkit.client.agent import schedule
from scepkit.client.agent.agent import Agent
from scepkit.client.agent.result import Visit
from scepkit.client.agent.settings import AgentSettings
from scepkit.client.agent.state import Standing
from scepkit.client.client import Client, Connection
from scepkit.client.enroller import Enroller
from scepkit.client.folder import Folder
from scepkit.client.trust import by_fingerprint
from scepkit.errors import TransportError
from scepkit.keys.pem import sha256_fingerprint
from scepkit.operations import approval, early_renewal, rollover
from scepkit.protocol import certificate as certificates
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse
from scepkit.protocol.scep.renewal_info import CertID, RenewalInfo
from scepkit.server import app as application
from scepkit.server.background.housekeeping import Sweep
from scepkit.server.directory import data_directory
from scepkit.server.directory.data_directory import utc_now
from scepkit.server.endpoints.assembly import approval_of
from scepkit.services import renewal_info
from scepkit.store import Called
from server import socketless

URL = "http://pki.test/scep"
DAY = timedelta(days=1)

HOOK = """\
#!/bin/sh
read mode <"$SCEP_DIR/../../mode"
case $mode in
fails) echo "it is broken"; exit 3 ;;
hangs) sleep 600 ;;
deletes) rm "$SCEP_CERT" ;;
esac
echo "$SCEP_SERIAL" >>"$SCEP_DIR/deployed"
"""


@dataclass
class Clock:
    """The time of the server; a device's is as far from it as its clock is wrong."""

    time: datetime
    wrong: timedelta = timedelta()

    def server(self, _zone=None) -> datetime:
        return self.time

    def device(self) -> datetime:
        return self.time + self.wrong


class Site:
    """The application of a server, without its socket and its threads.

    Args:
        directory: its data directory.
        clock: its clock.
        settings: of `scep.toml`.
    """

    def __init__(self, directory: Path, clock: Clock, **settings) -> None:
        self._clock = clock
        self._settings = {"public_url": "http://pki.test", **settings}
        self.directory = directory
        self._loop = asyncio.Runner()
        self._start()

    def _start(self) -> None:
        self.home = data_directory.prepare(self.directory, now=self._clock.time, **self._settings)
        self._app = application.create(self.home)
        self.store = self._app.store

    def _stop(self) -> None:
        self._app.work.shutdown()
        self.store.close()

    def close(self) -> None:
        self._stop()
        self._loop.close()

    def restart(self) -> None:
        """Start anew, as after an update."""
        self._stop()
        self._start()

    def ask(self, target: str, method: str, body: bytes, headers=()):
        return self._loop.run(
            socketless.ask(self._app, target=target, method=method, body=body, headers=headers)
        )

    @property
    def ca(self) -> Certificate:
        """The certificate of the CA in force."""
        return Certificate.of(self._app.in_force.home.material.ca.certificate)

    @property
    def ra(self) -> Certificate:
        return Certificate.of(self._app.in_force.home.material.ra.certificate)

    def challenge(self) -> str:
        challenges = data_directory.challenges_of(self.home, self.store)
        (secret,) = minted.secrets(challenges, now=self._clock.time, lifetime=DAY)
        return secret

    def decide(self, *, reject: bool = False) -> None:
        """Approve all requests that wait, or reject them."""
        deciding = approval_of(self.home, self.store, "default")
        for row in list(self.store.requests()):
            if reject:
                approval.reject(self.store, row.id, reason="no", by="t", now=self._clock.time)
            else:
                deciding.approve(row.id, by="t", now=self._clock.time)

    def sweep(self) -> None:
        """Do what the background does from time to time."""
        Sweep(self.home.settings, self.store, self._clock.server).run()
        self.look()

    def look(self) -> None:
        """See what changed in the files, as the server does every two seconds."""
        self._app.in_force.endpoints.refresh()

    def renew_early(self, within: timedelta) -> None:
        early_renewal.call(self.store, Called(), within=within, by="t", now=self._clock.time)

    def prepare_rollover(self) -> None:
        rollover.prepare(self.store, self.directory, ca="default", by="t", now=self._clock.time)
        self.look()

    def activate_rollover(self) -> None:
        rollover.activate(self.store, self.directory, ca="default", by="t", now=self._clock.time)
        self.look()

    def rotate(self) -> None:
        """Give the RA a new key and certificate, if its own is older than a day."""
        before = RA_VALIDITY - DAY
        rotation.rotate_ra(self.directory, now=self._clock.time, before=before)
        self.look()

    def revoke(self, serial: int, reason: int = 4) -> None:
        self.store.revoke(serial, reason=reason, by="t", now=self._clock.time)

    def window(self, authority: Certificate, serial: int) -> RenewalInfo:
        """Return when a certificate is best renewed, as anybody is told."""
        octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
        named = CertID(key_identifier(authority.x509()), octets)
        times = {name: one.renewals for name, one in self._app.in_force.endpoints.served.items()}
        return renewal_info.answer(times, self.store, str(named)).info

    def issued(self) -> set[int]:
        """Return the serial numbers of all certificates that the server has.

        Those that ended long ago are purged.
        """
        with closing(sqlite3.connect(self.directory / "scep.db")) as connection:
            rows = connection.execute("SELECT serial FROM certificates").fetchall()
        return {int(one, 16) for (one,) in rows}


@dataclass
class Network:
    """The way to a site, and what goes wrong on it: `fate` of each request from now on."""

    site: Site
    fate: str = "well"
    asked: list[str] = field(default_factory=list)
    before: HTTPResponse | None = None

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        target = http_policy.target(url, request)
        self.asked.append(target)
        if self.fate == "down":
            raise TransportError("connection refused")
        if self.fate == "busy":
            return HTTPResponse(503, b"", "text/plain", {"retry-after": "120"})
        found = self._answer(target, request)
        if request.method != "POST" or "ocsp" in target:
            return found
        if self.fate == "reply lost":
            raise TransportError("the server broke off")
        before, self.before = self.before, found
        return before if self.fate == "another's reply" and before else found

    def _answer(self, target: str, request: HTTPRequest) -> HTTPResponse:
        parts = urlsplit(target)
        where = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = http_policy.headers(request).items()
        answer = self.site.ask(where, request.method, request.body, headers)
        return http_policy.response(target, answer.status, answer.body, answer.headers.items())

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class InMemory(Connection):
    """The connection of an agent to such a network."""

    network: Network | None = None

    def transport(self, *_files, **_how):
        return self.network


class Device:
    """A device: its directory, the agent that looks after it, and what a test has seen of both."""

    def __init__(self, directory: Path, clock: Clock, network: Network, **settings) -> None:
        self.folder = Folder(directory)
        self._clock = clock
        self._network = network
        hook = directory.parent.parent / "hook"
        if not hook.exists():
            hook.write_text(HOOK)
            hook.chmod(0o700)
            self.hooks("work")
        quick = timedelta(seconds=0.3)
        self.settings = AgentSettings(hooks=((str(hook),),), hook_timeout=quick, **settings)
        self.way = InMemory(pause=lambda _wait: None, network=network)
        self.told = []
        self.got: dict[int, datetime] = {}
        self.state = None

    def hooks(self, mode: str) -> None:
        """Set what the hooks of all devices do from now on: work, fails, hangs, deletes."""
        (self.folder.path.parent.parent / "mode").write_text(f"{mode}\n")

    def enrol(self, challenge: str, key: str = "ec:p256", *, force=False) -> None:
        client = Client(URL, transport=self._network, pause=lambda _wait: None)
        trust = by_fingerprint(sha256_fingerprint(self._network.site.ca.x509()))
        Enroller(client, self.folder, trust).enrol(
            f"CN={self.folder.path.name}", key=key, challenge=challenge, force=force
        )
        self.see()

    def look(self, *, eager=False) -> Visit:
        """Have a new agent look once, as a timer does."""
        agent = Agent(self.settings, self.way, tell=self.told.append)
        (visit,) = agent.once([self.folder.path], eager=eager)
        self.state = visit.state
        self.see()
        return visit

    def see(self) -> None:
        found = self.folder.certificate()
        if found is not None:
            self.got.setdefault(found.serial, self._clock.device())

    def see_if_possible(self) -> None:
        """See what a killed process left."""
        if not (self.folder.path / "cert.pem.new").exists():
            self.see()

    @property
    def deployed(self) -> list[str]:
        path = self.folder.path / "deployed"
        return path.read_text().split() if path.exists() else []

    # what has to be true at all times

    def check_pair(self) -> Certificate:
        """The key is that of the certificate, and the chain leads to ca.pem."""
        found = self.folder.require_certificate()
        assert self.folder.key().public_key() == found.x509().public_key()
        chain.build(found, self.folder.chain(), self.folder.ca(), found.not_before)
        return found

    def check_hook(self, found: Certificate) -> None:
        """The state of the hooks is what happened."""
        hook, digest = self.state.hook, certificates.fingerprint(found.der)
        if self.state.certificate != digest:
            return
        assert (hook.done == digest) == (self.deployed[-1:] == [show_serial(found.serial)])
        assert hook.wanted == digest
        assert bool(hook.failures) != (hook.done == digest)

    def check_pace(self) -> None:
        """Two certificates are never nearer to each other than the minimum interval."""
        times = sorted(self.got.values())
        found = self.folder.require_certificate()
        least = schedule.least_interval(found, self.settings.min_interval)
        for earlier, later in pairwise(times):
            assert later - earlier >= least, (earlier, later)

    @property
    def is_waiting(self) -> bool:
        """Whether a request is under way, whose answer may be lost."""
        return self.folder.unfinished.exists() or self.folder.ahead.unfinished.exists()

    @property
    def is_revoked(self) -> bool:
        return self.state is not None and self.state.standing is Standing.REVOKED


def move(clock: Clock) -> None:
    """Have all of the server go by a clock; undone by `really`."""
    utc_now.__setstate__((clock.server, (), {}, None))


def really() -> None:
    """Have the server go by the time of the machine again."""
    utc_now.__setstate__((datetime.now, (UTC,), {}, None))
