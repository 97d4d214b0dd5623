"""The whole server as one ASGI application: wired by hand, once, at start."""

from __future__ import annotations

import gc
import math
import os
import resource
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from scepkit.server import ca_loading, log, monitoring, static_secret
from scepkit.server.assembly import assemble
from scepkit.server.background.crl_signing import LOCK, CRLs
from scepkit.server.background.housekeeping import Sweep, Sweeper
from scepkit.server.background.ocsp_presigning import SigningAhead
from scepkit.server.ca_loading import HeldCA
from scepkit.server.data_directory import Home, open_store, utc_now
from scepkit.server.endpoints import Endpoints, ServedEndpoint
from scepkit.server.http.bounds import Bounds
from scepkit.server.http.connections import STATE, Connections
from scepkit.server.http.tally import Tally
from scepkit.server.settings import public_urls
from scepkit.server.web import metrics
from scepkit.server.web.cmp import CMPFront
from scepkit.server.web.crl_and_ca import Distribution
from scepkit.server.web.health import Conditions, Health
from scepkit.server.web.metrics import RevocationMetrics
from scepkit.server.web.ocsp import OCSPFront
from scepkit.server.web.scep import SCEPFront
from scepkit.store import Store


def create(home: Home, tally: Tally | None = None) -> Starlette:
    """Return the ASGI application of a server.

    Args:
        home: its data directory.
        tally: counts its connections; with those of other workers, if there are any.

    Raises:
        SettingsError: a file that a setting names cannot be used, or a setting does not fit its CA.
        StoreError: the database cannot be opened.
    """
    settings = home.settings
    lines = log.configure(settings.log)
    public_urls.warn(settings)
    store = open_store(settings)
    # Certificates of before there were several CAs.
    store.assign_issuer(home.material.ca.key_hash)
    # The worker processes share the cores.
    threads = math.ceil(cores() / settings.workers)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scep")
    # What revokes waits for the database, however long somebody else has it locked.
    writing = ThreadPoolExecutor(2, thread_name_prefix="cmp")
    crls = CRLs(
        store,
        lifetime=timedelta(hours=settings.crl_hours),
        lock=settings.directory / LOCK,
        now=utc_now,
    )
    held_now: dict[str, HeldCA] = {}
    endpoints = _catalog(home, store, crls, held_now)
    conditions = Conditions(
        settings,
        store,
        authorities=lambda: dict(held_now),
        unreadable=lambda: endpoints.fault,
        crl_problems=crls.problems,
        log_is_lost=lambda: lines.is_failing,
        now=utc_now,
    )
    health = Health(conditions.find, monitoring.share)
    bounds = Bounds.of(settings, files=resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    static_secret.warn(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        endpoints.watch()
        crls.start()
        sweeper = Sweeper(Sweep(settings, store, utc_now))
        sweeper.start()
        ahead = SigningAhead(endpoints)
        ahead.start()
        health.start()
        # What was made at the start stays for good: the collector need not look at it again.
        gc.freeze()
        # A request leaves hardly any cycles: looking for them less often is 2 % of the throughput.
        gc.set_threshold(20_000, 50, 100)
        yield {STATE: Connections(bounds, tally or Tally())}
        health.close()
        ahead.close()
        endpoints.close()
        crls.close()
        pool.shutdown()
        writing.shutdown()
        sweeper.close()
        store.close()

    # They are tried in this order, so what is asked for most comes first.
    routes: list[BaseRoute] = [
        *SCEPFront(endpoints, settings, pool, store).routes,
        *OCSPFront(endpoints, pool, store).routes,
        *Distribution(crls, utc_now).routes,
        *CMPFront(endpoints, writing, store).routes,
        Route("/healthz", health.answer),
    ]
    if not settings.metrics:
        routes.append(Route("/metrics", _metrics(store)))
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.health = health
    return app


def _catalog(home: Home, store: Store, crls: CRLs, held_now: dict[str, HeldCA]) -> Endpoints:
    def build() -> Mapping[str, ServedEndpoint]:
        authorities = ca_loading.load_all(home.settings, now=utc_now())
        served = assemble(replace(home, authorities=authorities), store)
        held_now.update(authorities)
        crls.use(one for ca in authorities.values() for one in ca.generations)
        return served

    return Endpoints(stamp=lambda: ca_loading.stamps(home.settings), build=build)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _metrics(store: Store) -> Callable[[Request], Response]:
    revocations = RevocationMetrics(lambda: store)

    def answer(_request: Request) -> Response:
        body, media_type = metrics.render(revocations)
        return Response(body, media_type=media_type)

    return answer
