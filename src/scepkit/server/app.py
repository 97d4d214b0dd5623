"""The whole server as one ASGI application: wired by hand, once, at start."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from scepkit.ca.layout import Material
from scepkit.enrolment.challenges import Challenges
from scepkit.enrolment.endpoint import Endpoint
from scepkit.errors import StoreError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.envelope import Credential
from scepkit.protocol.responder import Responder
from scepkit.server import log, metrics
from scepkit.server.directory import Home
from scepkit.server.publication import publish
from scepkit.server.scep import SCEPApp
from scepkit.store import Store

DEFAULT = "default"

# Where clients look: the path that users type, and the one that RFC 8894 section 4.1 names.
PATHS = ("/scep", "/cgi-bin/pkiclient.exe")


def utc_now() -> datetime:
    """Return the time: the server's only clock."""
    return datetime.now(UTC)


def challenges_of(home: Home, store: Store) -> Challenges:
    """Return the challenges of a server's default endpoint."""
    return Challenges(store=store, endpoint=DEFAULT, key=home.challenge_key)


def endpoint_of(home: Home, store: Store, *, now: Callable[[], datetime] = utc_now) -> Endpoint:
    """Put a server's default endpoint together.

    Args:
        home: its data directory.
        store: its database.
        now: its clock.
    """
    settings = home.settings.endpoint[DEFAULT]
    credential = _credential(home.material)
    return Endpoint(
        name=DEFAULT,
        responder=Responder(
            signer=credential,
            credentials=[credential],
            random=os.urandom,
            allowed=settings.legacy,
        ),
        authority=home.material.ca,
        profile=settings.profile,
        store=store,
        challenges=challenges_of(home, store),
        now=now,
    )


def create(home: Home) -> Starlette:
    """Return the ASGI application of a server.

    Raises:
        StoreError: the database cannot be opened.
    """
    log.configure(home.settings.log)
    store = Store.open(home.settings.database_url)
    # The worker processes share the cores.
    threads = math.ceil(cores() / home.settings.workers)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scep")
    publication = publish(home.material, home.settings.endpoint[DEFAULT].legacy)
    scep = SCEPApp(endpoint_of(home, store), publication, pool)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # What was made at the start stays for good: the collector need not look at it again.
        gc.freeze()
        yield
        pool.shutdown()
        store.close()

    async def healthz(_request: Request) -> Response:
        try:
            await run_in_threadpool(store.ping)
        except StoreError as error:
            return JSONResponse({"status": "fault", "reason": error.message}, 503)
        return JSONResponse({"status": "ok"})

    routes: list[BaseRoute] = [
        Route("/healthz", healthz),
        # Not a Mount: that answers the bare path with a redirect, which devices do not follow.
        *(Route(path + "{rest:path}", scep) for path in PATHS),
    ]
    if not home.settings.metrics:
        routes.append(Route("/metrics", _metrics))
    return Starlette(routes=routes, lifespan=lifespan)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _metrics(_request: Request) -> Response:
    body, media_type = metrics.render()
    return Response(body, media_type=media_type)


def _credential(material: Material) -> Credential:
    return Credential(material.ra.private_key, Certificate.of(material.ra.certificate))
