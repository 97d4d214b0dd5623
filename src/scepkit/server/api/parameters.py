"""The parameters of a query: those that the route has, and each of them once.

A misspelt one that is passed over would widen a list, or make it begin anew at each page.
"""

from __future__ import annotations

from collections import Counter

from fastapi import Request
from fastapi.routing import APIRoute

from scepkit.enrolment.challenges.rows import shown
from scepkit.server.api.problems import FieldFault, Kind, ProblemError


def operation(route: APIRoute) -> str:
    """Return the operationId of a route, by which OpenAPI knows it."""
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name


def check_parameters(request: Request) -> None:
    """Refuse a query with a parameter that its route has not, or that is there twice.

    Args:
        request: one that a route was found for.

    Raises:
        ProblemError: there is one; HTTP 422.
    """
    given = Counter(name for name, _ in request.query_params.multi_items())
    if not given:
        return
    known = _known(request)
    for name, count in given.items():
        if name not in known:
            raise _problem(name, "there is no such parameter here", known)
        if count > 1:
            raise _problem(name, f"it is there {count} times", known)


def _known(request: Request) -> list[str]:
    """Return the names of the parameters that a request's route has, as OpenAPI tells them."""
    asked = operation(request.scope["route"])
    described = request.app.openapi()["paths"].values()
    return [
        parameter["name"]
        for methods in described
        for one in methods.values()
        if one["operationId"] == asked
        for parameter in one.get("parameters", ())
        if parameter["in"] == "query"
    ]


def _problem(name: str, detail: str, known: list[str]) -> ProblemError:
    fault = FieldFault(field=f"query.{name[:60]}", detail=detail)
    return ProblemError(
        Kind.INVALID,
        f"query {shown(name)}: {detail}",
        hint=f"the parameters are {', '.join(known)}" if known else "leave out the query",
        errors=(fault,),
    )
