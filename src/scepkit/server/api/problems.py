"""Problem details (RFC 9457): how the API says what is wrong, in all of its answers.

Beside the members of the RFC there is `hint`: what to do next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from scepkit.errors import Local, ScepError, TooManyPending, UsageError

MEDIA_TYPE = "application/problem+json"
SCHEMA = "Problem"
_NAMESPACE = "urn:scepkit:problem:"
# Of a request with many faults.
_MOST_FAULTS = 5
_RETRY_SECONDS = 5
_PLACE = re.compile(r"\{\w+\}")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of problem.

    Attributes:
        name: the end of its URI.
        status: the HTTP status.
        title: what it is, always the same.
    """

    name: str
    status: int
    title: str


class Kind(Enum):
    """The kinds of problems; docs/reference/api.md has the table of them."""

    NOT_JSON = _Kind("not-json", 400, "The body is not JSON")
    NOT_HTTP = _Kind("bad-request", 400, "The request cannot be read")
    TOKEN_MISSING = _Kind("token-missing", 401, "A token is needed")
    TOKEN_WRONG = _Kind("token-wrong", 401, "The token is none")
    TOKEN_EXPIRED = _Kind("token-expired", 401, "The token has expired")
    TOKEN_VOID = _Kind("token-void", 401, "The token was taken back")
    SCOPE_MISSING = _Kind("scope-missing", 403, "The token has not the scope")
    OTHER_ENDPOINT = _Kind("other-endpoint", 403, "The token is not good at this endpoint")
    IN_CLEAR = _Kind("in-clear", 403, "The request came in clear")
    NOT_FOUND = _Kind("not-found", 404, "There is nothing of that name")
    NOT_ALLOWED = _Kind("method-not-allowed", 405, "The method is not allowed here")
    CANNOT_MINT = _Kind("no-one-time-challenges", 409, "The endpoint has no one-time challenges")
    TOO_MANY_PENDING = _Kind("too-many-pending", 409, "Too many challenges wait to be spent")
    SPENT = _Kind("challenge-spent", 409, "The challenge is spent")
    TOO_LARGE = _Kind("too-large", 413, "The body is too large")
    OTHER_MEDIA_TYPE = _Kind("other-media-type", 415, "The body has another media type")
    INVALID = _Kind("invalid", 422, "The request cannot be used")
    KEY_REUSED = _Kind("idempotency-key-reused", 422, "The Idempotency-Key was used before")
    TOO_MANY_REQUESTS = _Kind("too-many-requests", 429, "Too many requests")
    BUG = _Kind("internal-error", 500, "Internal error")
    UNAVAILABLE = _Kind("unavailable", 503, "Try again later")


class FieldFault(BaseModel):
    """A fault of one member of a request."""

    field: str = Field(description="Where it is, such as `query.limit`.")
    detail: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description=f"`{_NAMESPACE}` and the name of the kind.")
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What is wrong with this request.")
    hint: str = Field(default="", description="What to do next.")
    errors: list[FieldFault] = Field(default=[], description="The faults, where there are several.")


class ProblemError(Exception):
    """A request that is refused.

    Args:
        kind: of the problem.
        detail: what is wrong with this request; no secrets.
        hint: what to do next.
        headers: of the response.
        errors: the faults of its members.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        errors: tuple[FieldFault, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.errors = errors

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return self.kind.value.status

    def document(self) -> bytes:
        """Return the body of the response."""
        kind = self.kind.value
        found = Problem(
            type=f"{_NAMESPACE}{kind.name}",
            title=kind.title,
            status=kind.status,
            detail=self.detail,
            hint=self.hint,
            errors=[*self.errors],
        )
        return json.dumps(found.model_dump(exclude_defaults=True)).encode("utf-8")


def unavailable(
    detail: str = "the server cannot answer now; its log says why",
) -> ProblemError:
    """Return the problem of a server that is at fault: whoever asks shall come back.

    Args:
        detail: why, where the log has nothing of it.
    """
    return ProblemError(
        Kind.UNAVAILABLE,
        detail,
        hint="send the request again, with the same Idempotency-Key",
        headers={"Retry-After": str(_RETRY_SECONDS)},
    )


def of_error(error: ScepError) -> ProblemError:
    """Return the problem that an error of scepkit is."""
    if isinstance(error, UsageError):
        return ProblemError(Kind.INVALID, error.message, hint=error.hint)
    if isinstance(error, TooManyPending):
        return ProblemError(Kind.TOO_MANY_PENDING, error.message, hint=error.hint)
    log.error("server fault", error=error.message, hint=error.hint)
    return unavailable()


def install(app: FastAPI) -> None:
    """Have an application answer with problem details, whatever is wrong."""
    app.add_exception_handler(ProblemError, _answer)
    app.add_exception_handler(Local, lambda _, error: _response(of_error(_local(error))))
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems of a route for its description in OpenAPI, by their statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{SCHEMA}"}}}
    return {
        status: {
            "description": "; ".join(k.value.title for k in Kind if k.value.status == status),
            "content": content,
        }
        for status in statuses
    }


def _local(error: Exception) -> ScepError:
    if not isinstance(error, ScepError):  # pragma: no cover - Starlette calls it for `Local` alone
        raise error
    return error


def _answer(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):  # pragma: no cover - for `ProblemError` alone
        raise error
    facts_of(request)["reason"] = error.detail
    return _response(error)


def _answer_invalid(_request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    errors = tuple(
        FieldFault(field=".".join(map(str, one["loc"])), detail=one["msg"])
        for one in faults[:_MOST_FAULTS]
    )
    detail = "; ".join(f"{one.field}: {one.detail}" for one in errors)
    hint = "/api/v1/openapi.json says what is taken"
    return _response(ProblemError(Kind.INVALID, detail, hint=hint, errors=errors))


def _answer_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allow = ", ".join(_methods(request))
        return _response(
            ProblemError(Kind.NOT_ALLOWED, f"this takes {allow}", headers={"Allow": allow})
        )
    if status == HTTPStatus.NOT_FOUND:
        hint = "/api/v1/openapi.json says what there is"
        return _response(ProblemError(Kind.NOT_FOUND, "there is nothing at this path", hint=hint))
    return _response(ProblemError(Kind.NOT_HTTP, "the request cannot be read"))


def _methods(request: Request) -> list[str]:
    """Return the methods of all routes at a path; Starlette names those of the first one alone."""
    paths = request.app.openapi()["paths"]
    fitting = [one for one in paths if _fits(one, request.url.path)]
    # Of `bulk` and a number that it might be, what is written out counts.
    best = min(fitting, key=lambda one: one.count("{"), default=None)
    found = {one.upper() for one in paths[best]} if best else {"GET"}
    # The front makes a GET of it.
    return sorted(found | {"HEAD"} if "GET" in found else found)


def _fits(template: str, path: str) -> bool:
    return re.fullmatch(_PLACE.sub("[^/]+", template), path) is not None


def _response(error: ProblemError) -> Response:
    return Response(error.document(), error.status, error.headers, MEDIA_TYPE)


def facts_of(request: Request) -> dict[str, Any]:
    """Return the fields of a request's line in the log."""
    state: dict[str, Any] = request.scope.setdefault("state", {})
    found: dict[str, Any] = state.setdefault("facts", {})
    return found
