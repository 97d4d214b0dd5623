"""The API as an application: its routes, by resource, and its description in OpenAPI."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from scepkit.server.api import challenges, health, problems
from scepkit.server.api.parameters import operation
from scepkit.server.api.service import Service

PREFIX = "/api/v1"
OPENAPI = f"{PREFIX}/openapi.json"
_REF = "#/components/schemas/{model}"


def create(service: Service) -> FastAPI:
    """Return the application.

    Args:
        service: what its routes work with.
    """
    app = FastAPI(
        title="scepkit",
        version="1",
        description="One-time challenges for devices, for programs with a token.",
        openapi_url=OPENAPI,
        # Both would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation,
    )
    app.state.service = service
    problems.install(app)
    routes = APIRouter(prefix=PREFIX)
    for one in (challenges.router, health.router):
        routes.include_router(one)
    app.include_router(routes)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the description, with the models that routes read or answer with by themselves."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        models = [(one, "validation") for one in (*challenges.BODIES, problems.Problem)]
        _, more = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
        schemas.update(more["$defs"])
        app.openapi_schema = found
    described: dict[str, Any] = app.openapi_schema
    return described
