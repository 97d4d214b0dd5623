"""The whole server as one application: wired by hand, once, at start."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Protocol

from scepkit.enrolment.third_parties import ThirdParties
from scepkit.protocol.scep.http import HTTPResponse
from scepkit.server import log, monitoring
from scepkit.server.background.clock_jumps import ClockJumps
from scepkit.server.background.crl_signing import LOCK, CRLs
from scepkit.server.background.housekeeping import LOCK as SWEEP_LOCK
from scepkit.server.background.housekeeping import Sweep, Sweeper
from scepkit.server.background.intune import IntuneJob, IntuneRounds
from scepkit.server.background.ocsp_presigning import OCSPPresigner
from scepkit.server.directory import challenge_secrets, endpoint_files, notification_files
from scepkit.server.directory.data_directory import Home, utc_now
from scepkit.server.directory.database import open_store
from scepkit.server.doors.jamf import JamfFront
from scepkit.server.doors.ndes import NDESFront
from scepkit.server.endpoints.served import Endpoints
from scepkit.server.http.exchange import Answerer, Exchange, not_allowed, not_found, refusal
from scepkit.server.http.serving import HTTPServer, stopped_by_signals
from scepkit.server.http.tally import Tally
from scepkit.server.in_force import InForce
from scepkit.server.settings import Settings, public_urls
from scepkit.server.web import metrics
from scepkit.server.web.cmp import CMPFront
from scepkit.server.web.crl_and_ca import Distribution
from scepkit.server.web.executors import Executor, executors
from scepkit.server.web.health import Conditions, Health
from scepkit.server.web.metrics import RecordMetrics
from scepkit.server.web.ocsp import OCSPFront
from scepkit.server.web.renewal_info import RenewalInfoFront
from scepkit.server.web.scep import SCEPFront
from scepkit.store import Store
from scepkit.store.committing.remote_writer import Connect


class Job(Protocol):
    """Something that goes on in the background while the server runs."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End."""


def create(
    home: Home,
    tally: Tally | None = None,
    slot: str = "1",
    third_parties: Mapping[str, ThirdParties] = MappingProxyType({}),
    committer: Connect | None = None,
    api_fault: Callable[[], str] = lambda: "",
) -> Application:
    """Return the application of a server.

    Args:
        home: its data directory.
        tally: counts its connections; with those of other workers, if there are any.
        slot: the name of this worker's place among them, for the audit record.
        third_parties: those that have a word on certificates, by the names of endpoints.
        committer: connects to the process that commits for all workers; None where this one does so
            itself.
        api_fault: returns why the process of the API cannot start; "" when it can.

    Raises:
        SettingsError: a file that a setting names cannot be used, or a setting does not fit its CA.
        StoreError: the database cannot be opened.
    """
    settings = home.settings
    lines = log.configure(settings.log)
    lines.lost = metrics.LOST.inc
    public_urls.warn(settings)
    store = open_store(settings, slot, committer=committer)
    # Certificates of before there were several CAs.
    store.assign_issuer(home.material.ca.key_hash)
    if home.files is None:
        home = replace(home, files=endpoint_files.read_all(settings, home.read_challenge_key))
    if home.secrets is None:
        home = replace(home, secrets=notification_files.read_all(settings))
    crls = CRLs(
        store,
        lifetime=timedelta(hours=settings.crl_hours),
        lock=settings.directory / LOCK,
        now=utc_now,
    )
    jumps = ClockJumps(settings.directory / SWEEP_LOCK)
    sweep = Sweep(settings, store, utc_now, home.passphrases, jumps)
    in_force = InForce(home, store, crls, Sweeper(sweep), third_parties)
    endpoints = in_force.endpoints
    health = _health(in_force, store, crls, lines, api_fault)
    static = endpoint_files.challenges(home.files)
    challenge_secrets.warn_of_static(settings, static)
    challenge_secrets.warn_of_plain(settings, static)
    work = _Executors.of(settings)
    scep = SCEPFront(endpoints, settings, work.deciding, work.beside, store)
    ocsp = OCSPPresigner(endpoints)
    intune = IntuneJob(IntuneRounds(lambda: in_force.home, store, utc_now))
    doors: dict[str, Answerer] = {
        NDES_PAGE: NDESFront(endpoints, work.minting, work.hashing, store),
        JAMF_WEBHOOK: JamfFront(endpoints, work.minting, store),
    }
    return Application(
        routes=_routes(settings, store, endpoints, crls, health, work, scep, doors),
        doors=doors,
        jobs=(
            endpoints,
            crls,
            in_force.sweeper,
            in_force.joining,
            in_force.notifier,
            ocsp,
            intune,
            health,
            scep,
        ),
        work=work,
        store=store,
        tally=tally or Tally(),
        in_force=in_force,
        health=health,
    )


def _health(
    in_force: InForce,
    store: Store,
    crls: CRLs,
    lines: log.LossyStream,
    api_fault: Callable[[], str],
) -> Health:
    conditions = Conditions(
        in_force.home.settings,
        store,
        authorities=in_force.authorities,
        unread=lambda: in_force.home.unread,
        unreadable=lambda: in_force.endpoints.fault,
        crl_problems=crls.problems,
        log_is_lost=lambda: lines.is_failing,
        now=utc_now,
        not_reloaded=lambda: in_force.fault,
        api_fault=api_fault,
    )
    return Health(lambda: in_force.conditions(conditions), monitoring.share)


@dataclass(frozen=True, slots=True)
class _Executors:
    """Where requests are worked on.

    Attributes:
        deciding: for what is asked by SCEP.
        answering: for what is asked by OCSP.
        revoking: threads that wait for the database, however long somebody else has it locked.
        beside: threads for what waits for the disk or takes long.
        minting: threads that wait for the database, for who asks for challenges.
        hashing: a thread for their passwords.
    """

    deciding: Executor
    answering: Executor
    revoking: ThreadPoolExecutor
    beside: ThreadPoolExecutor
    minting: ThreadPoolExecutor
    hashing: ThreadPoolExecutor

    @classmethod
    def of(cls, settings: Settings) -> _Executors:
        return cls(
            *executors(settings),
            ThreadPoolExecutor(2, thread_name_prefix="cmp"),
            ThreadPoolExecutor(2, thread_name_prefix="beside"),
            ThreadPoolExecutor(2, thread_name_prefix="minting"),
            ThreadPoolExecutor(1, thread_name_prefix="hashing"),
        )

    def shutdown(self) -> None:
        for one in (self.deciding, self.answering, self.revoking, self.beside):
            one.shutdown()
        for one in (self.minting, self.hashing):
            one.shutdown()


# Where those look who ask for challenges: what comes behind /scep/NAME.
NDES_PAGE, JAMF_WEBHOOK = "mscep_admin", "challenge/jamf"

# Where clients of SCEP look: the path that users type, the one that RFC 8894 section 4.1 names, and
# what is left of that when a proxy takes the front off.
SCEP_PATHS = ("scep", "cgi-bin", "pkiclient.exe")


def _routes(
    settings: Settings,
    store: Store,
    endpoints: Endpoints,
    crls: CRLs,
    health: Health,
    work: _Executors,
    scep: SCEPFront,
    doors: Mapping[str, Answerer],
) -> Mapping[str, Answerer]:
    """Return the objects that answer, by the first part of the path."""
    distribution = Distribution(crls, utc_now)
    routes: dict[str, Answerer] = {
        **dict.fromkeys(SCEP_PATHS, scep),
        "ocsp": OCSPFront(endpoints, work.answering, store),
        "crl": distribution.crl,
        "ca": distribution.certificate,
        "renewal-info": RenewalInfoFront(endpoints, work.answering, store),
        "cmp": CMPFront(endpoints, work.revoking, store),
        "certsrv": _CertSrv(doors[NDES_PAGE], scep),
        "healthz": _whole_path("/healthz", health.answer),
    }
    if not settings.metrics:
        routes["metrics"] = _whole_path("/metrics", _metrics(store))
    return routes


@dataclass(frozen=True, slots=True)
class _CertSrv:
    """Answers below /certsrv, where NDES has its page and its SCEP.

    Attributes:
        page: the NDES page.
        scep: what answers SCEP.
    """

    page: Answerer
    scep: Answerer

    def __call__(self, exchange: Exchange) -> Awaitable[None]:
        """Return the answering of a request."""
        is_page = NDES_PAGE in exchange.head.path.lower()
        return (self.page if is_page else self.scep)(exchange)


def _whole_path(path: str, found: Answerer) -> Answerer:
    """Return what answers GET at a path, and nothing below it."""

    async def answer(exchange: Exchange) -> None:
        if exchange.head.path != path:
            await exchange.send(refusal(not_found()))
        elif exchange.head.method not in ("GET", "HEAD"):
            await exchange.send(refusal(not_allowed(("GET", "HEAD"))))
        else:
            await found(exchange)

    return answer


def _metrics(store: Store) -> Answerer:
    revocations = RecordMetrics(lambda: store)

    async def answer(exchange: Exchange) -> None:
        # In a thread: it asks the database.
        body, media_type = await asyncio.to_thread(metrics.render, revocations)
        await exchange.send(HTTPResponse(200, body, media_type))

    return answer


@dataclass(frozen=True, slots=True)
class Application:
    """A server, but for its socket.

    Attributes:
        routes: answer requests, by the first part of their path.
        doors: answer those for challenges, by what comes behind /scep/NAME.
        jobs: go on in the background while the server runs.
        work: where requests are worked on.
        store: the database.
        tally: counts the connections, with those of other workers.
        in_force: the settings.
        health: looks at the server.
    """

    routes: Mapping[str, Answerer]
    doors: Mapping[str, Answerer]
    jobs: Sequence[Job]
    work: _Executors
    store: Store
    tally: Tally
    in_force: InForce
    health: Health

    def answer(self, exchange: Exchange) -> Awaitable[None]:
        """Return the answering of a request."""
        first, _, rest = exchange.head.path.removeprefix("/").partition("/")
        found = self.routes.get(first)
        if "/" in rest and first == "scep":
            found = self.doors.get(rest.partition("/")[2].rstrip("/"), found)
        # In any case, since IIS answers at /CertSrv as well.
        return (found or self.routes.get(first.lower(), _nowhere))(exchange)

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a socket until SIGTERM or SIGINT, and finish the requests under way."""
        server = HTTPServer(self.answer, self.in_force.connections(self.tally))
        with stopped_by_signals(server):
            self.start()
            try:
                await server.serve(listener)
            finally:
                self.close()

    def start(self) -> None:
        """Begin what goes on in the background, before the first request."""
        for job in self.jobs:
            job.start()
        # What was made at the start stays for good: the collector need not look at it again.
        gc.freeze()
        # A request leaves hardly any cycles: looking for them less often is 2 % of the throughput.
        gc.set_threshold(20_000, 50, 100)

    def close(self) -> None:
        """End it all, after the last request."""
        for job in reversed(self.jobs):
            job.close()
        self.work.shutdown()
        self.store.close()


async def _nowhere(exchange: Exchange) -> None:
    await exchange.send(refusal(not_found()))
