"""The rights of whoever asks: the one place where a token is looked at.

A right token is answered however many wrong ones came from its address: nobody can lock another one
out. A token has too many random bits to be guessed; what is bounded is the work and the log.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import structlog
from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from scepkit.errors import StoreError
from scepkit.operations import tokens
from scepkit.operations.tokens import Scope
from scepkit.server.api.parameters import check_parameters
from scepkit.server.api.problems import Kind, ProblemError, facts_of
from scepkit.server.api.service import Service
from scepkit.server.http.peers import network
from scepkit.store import Token, TokenState

_CREATE = "scep admin token create makes one"
_RETRY_SECONDS = 60

log = structlog.get_logger()

bearer = HTTPBearer(
    scheme_name="token",
    description="A token of `scep admin token create`.",
    auto_error=False,
)


async def service_of(request: Request) -> Service:
    """Return what the routes of an application work with.

    As a coroutine, since FastAPI has each plain function called in a thread.
    """
    found: Service = request.app.state.service
    return found


ServiceOf: TypeAlias = Annotated[Service, Depends(service_of)]


def allowed(
    request: Request,
    needed: SecurityScopes,
    service: ServiceOf,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Token:
    """Return the token of a request that may do what it asks for.

    Raises:
        ProblemError: it has none, or one that is not good for it; or the query has parameters that
            the route has not.
    """
    token = _known(request, service, credentials)
    facts_of(request)["token"] = token.actor
    if not service.requests.allows(token.id, service.home.settings.api_requests_per_minute):
        raise ProblemError(
            Kind.TOO_MANY_REQUESTS,
            "this token has asked as often as it may in a minute",
            hint="come back later, ask for many challenges in one request, or raise "
            "api_requests_per_minute in scep.toml",
            headers={"Retry-After": str(_RETRY_SECONDS)},
        )
    for scope in needed.scopes:
        if scope not in token.scopes:
            raise ProblemError(
                Kind.SCOPE_MISSING,
                f"the token {token.prefix} has not the scope {scope}",
                hint=f"use one that has it: scep admin token create --scope {scope}",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )
    endpoint = request.path_params.get("endpoint")
    if endpoint is not None:
        _check_endpoint(token, endpoint, service)
    # Not before: whoever has no token is told of nothing else.
    check_parameters(request)
    return token


def _known(
    request: Request, service: Service, credentials: HTTPAuthorizationCredentials | None
) -> Token:
    if credentials is None:
        raise ProblemError(
            Kind.TOKEN_MISSING,
            "the request has no token",
            hint=f"send it as Authorization: Bearer TOKEN; {_CREATE}",
            headers={"WWW-Authenticate": "Bearer"},
        )
    token = tokens.find(service.store, credentials.credentials)
    now = service.now()
    if token is None:
        raise _wrong(request, service)
    state = token.state(now)
    if state is not TokenState.VALID:
        facts_of(request)["token"] = token.actor
        kind = Kind.TOKEN_VOID if state is TokenState.VOID else Kind.TOKEN_EXPIRED
        when = token.expires_at if token.voided_at is None else token.voided_at
        what = "was taken back" if state is TokenState.VOID else "expired"
        raise ProblemError(
            kind,
            f"the token {token.prefix} {what} at {when:%Y-%m-%d %H:%M} UTC",
            hint=f"use another one: {_CREATE}",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    try:
        tokens.note_use(service.store, token, now)
    except StoreError as error:
        # When it was used is no reason not to answer.
        log.warning("the use of a token was not noted", error=error.message, hint=error.hint)
    return token


def _wrong(request: Request, service: Service) -> ProblemError:
    """Count a wrong token, and return what is said of it."""
    peer = request.client.host if request.client else ""
    most = service.home.settings.api_wrong_tokens_per_minute
    if not service.wrong_tokens.allows(network(peer), most):
        return ProblemError(
            Kind.TOO_MANY_REQUESTS,
            "too many wrong tokens came from this address",
            hint="correct the token, and come back later",
            headers={"Retry-After": str(_RETRY_SECONDS)},
        )
    return ProblemError(
        Kind.TOKEN_WRONG,
        "there is no such token",
        hint=f"look whether it is whole, and of this server; {_CREATE}",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def _check_endpoint(token: Token, endpoint: str, service: Service) -> None:
    """Refuse an endpoint that the token is not good at, or that is not there.

    Raises:
        ProblemError: so it is. Whoever may not use it is not told whether it is there.
    """
    if endpoint not in token.endpoints:
        raise ProblemError(
            Kind.OTHER_ENDPOINT,
            f"the token {token.prefix} is not good at this endpoint",
            hint=f"it is good at {', '.join(token.endpoints)}; "
            "scep admin token create --endpoint NAME makes one for another",
        )
    if endpoint not in service.home.settings.endpoint:
        raise ProblemError(
            Kind.NOT_FOUND,
            f"there is no endpoint {endpoint!r} any more",
            hint=f"put [endpoint.{endpoint}] back into scep.toml",
        )


EndpointName: TypeAlias = Annotated[
    str, Path(pattern=r"^[a-z0-9-]{1,32}$", description="The endpoint's name.")
]
Reader: TypeAlias = Annotated[Token, Security(allowed, scopes=[Scope.CHALLENGES_READ])]
Writer: TypeAlias = Annotated[Token, Security(allowed, scopes=[Scope.CHALLENGES_WRITE])]
