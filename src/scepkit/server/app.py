"""The whole server as one ASGI application: wired by hand, once, at start."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from scepkit.enrolment.third_parties import ThirdParties
from scepkit.server import challenge_secrets, endpoint_files, log, monitoring
from scepkit.server.background.crl_signing import LOCK, CRLs
from scepkit.server.background.housekeeping import Sweep, Sweeper
from scepkit.server.background.ocsp_presigning import OCSPPresigner
from scepkit.server.data_directory import Home, open_store, utc_now
from scepkit.server.endpoints import Endpoints
from scepkit.server.http.connections import STATE, Connections
from scepkit.server.http.tally import Tally
from scepkit.server.in_force import InForce
from scepkit.server.settings import Settings, public_urls
from scepkit.server.web import metrics
from scepkit.server.web.cmp import CMPFront
from scepkit.server.web.crl_and_ca import Distribution
from scepkit.server.web.health import Conditions, Health
from scepkit.server.web.metrics import RevocationMetrics
from scepkit.server.web.ocsp import OCSPFront
from scepkit.server.web.scep import SCEPFront
from scepkit.store import Store


class _Job(Protocol):
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
) -> Starlette:
    """Return the ASGI application of a server.

    Args:
        home: its data directory.
        tally: counts its connections; with those of other workers, if there are any.
        slot: the name of this worker's place among them, for the audit record.
        third_parties: those that have a word on certificates, by the names of endpoints.

    Raises:
        SettingsError: a file that a setting names cannot be used, or a setting does not fit its CA.
        StoreError: the database cannot be opened.
    """
    settings = home.settings
    lines = log.configure(settings.log)
    public_urls.warn(settings)
    store = open_store(settings, slot)
    # Certificates of before there were several CAs.
    store.assign_issuer(home.material.ca.key_hash)
    if home.files is None:
        home = replace(home, files=endpoint_files.read_all(settings))
    crls = CRLs(
        store,
        lifetime=timedelta(hours=settings.crl_hours),
        lock=settings.directory / LOCK,
        now=utc_now,
    )
    sweep = Sweep(settings, store, utc_now, home.passphrases)
    in_force = InForce(home, store, crls, Sweeper(sweep), third_parties)
    endpoints = in_force.endpoints
    health = _health(in_force, store, crls, lines)
    challenge_secrets.warn_of_static(settings, endpoint_files.challenges(home.files))
    threads = _Threads.of(settings)
    jobs = (
        *(endpoints, crls, in_force.sweeper, in_force.joining),
        *(OCSPPresigner(endpoints), health),
    )
    app = Starlette(
        routes=_routes(settings, store, endpoints, crls, health, threads),
        lifespan=_lifespan(jobs, threads, store, lambda: in_force.connections(tally or Tally())),
    )
    app.state.health = health
    app.state.in_force = in_force
    return app


def _health(in_force: InForce, store: Store, crls: CRLs, lines: log.LossyStream) -> Health:
    conditions = Conditions(
        in_force.home.settings,
        store,
        authorities=in_force.authorities,
        unreadable=lambda: in_force.endpoints.fault,
        crl_problems=crls.problems,
        log_is_lost=lambda: lines.is_failing,
        now=utc_now,
        not_reloaded=lambda: in_force.fault,
    )
    return Health(lambda: in_force.conditions(conditions), monitoring.share)


@dataclass(frozen=True, slots=True)
class _Threads:
    """The threads that answer requests.

    Attributes:
        computing: do private-key work; the worker processes share the cores.
        revoking: wait for the database, however long somebody else has it locked.
        storing: wait for the disk, with what requests have waited for.
    """

    computing: ThreadPoolExecutor
    revoking: ThreadPoolExecutor
    storing: ThreadPoolExecutor

    @classmethod
    def of(cls, settings: Settings) -> _Threads:
        return cls(
            ThreadPoolExecutor(math.ceil(cores() / settings.workers), thread_name_prefix="scep"),
            ThreadPoolExecutor(2, thread_name_prefix="cmp"),
            ThreadPoolExecutor(2, thread_name_prefix="keep"),
        )


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _routes(
    settings: Settings,
    store: Store,
    endpoints: Endpoints,
    crls: CRLs,
    health: Health,
    threads: _Threads,
) -> list[BaseRoute]:
    """Return the routes in the order in which they are tried: first what is asked for most."""
    routes: list[BaseRoute] = [
        *SCEPFront(endpoints, settings, threads.computing, threads.storing, store).routes,
        *OCSPFront(endpoints, threads.computing, store).routes,
        *Distribution(crls, utc_now).routes,
        *CMPFront(endpoints, threads.revoking, store).routes,
        Route("/healthz", health.answer),
    ]
    if not settings.metrics:
        routes.append(Route("/metrics", _metrics(store)))
    return routes


def _metrics(store: Store) -> Callable[[Request], Response]:
    revocations = RevocationMetrics(lambda: store)

    def answer(_request: Request) -> Response:
        body, media_type = metrics.render(revocations)
        return Response(body, media_type=media_type)

    return answer


def _lifespan(
    jobs: Sequence[_Job], threads: _Threads, store: Store, connections: Callable[[], Connections]
) -> Lifespan[Starlette]:
    """Return the application's life: what begins before the first request, and ends at the end."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        for job in jobs:
            job.start()
        # What was made at the start stays for good: the collector need not look at it again.
        gc.freeze()
        # A request leaves hardly any cycles: looking for them less often is 2 % of the throughput.
        gc.set_threshold(20_000, 50, 100)
        yield {STATE: connections()}
        for job in reversed(jobs):
            job.close()
        threads.computing.shutdown()
        threads.revoking.shutdown()
        threads.storing.shutdown()
        store.close()

    return lifespan
