"""One-time challenges by REST: made one by one or many at once, listed, taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import BaseModel, ConfigDict, Field
from starlette.convertors import IntegerConvertor, register_url_convertor

from scepkit.enrolment.challenges import batch
from scepkit.enrolment.challenges.orders import (
    MAX_LABEL,
    MAX_USES,
    MAX_VALUE,
    ChallengeOrder,
    MintedChallenge,
)
from scepkit.errors import UsageError
from scepkit.operations import challenges
from scepkit.operations.minting import IdempotencyKey, KeyReused, mint_once
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.duration import read_duration
from scepkit.server.api.bodies import JSON, read_object
from scepkit.server.api.problems import Kind, ProblemError, described, facts_of
from scepkit.server.api.rights import EndpointName, Reader, ServiceOf, Writer, bearer
from scepkit.server.api.service import Service
from scepkit.server.directory import data_directory
from scepkit.store import Challenge, ChallengeState, Door, Token

MAX_ORDERS = batch.MAX_ROWS
"""The challenges that one request may ask for."""

_LIFETIME = timedelta(hours=1)
_MAX_OCTETS = 256 * 1024
_MAX_REASON = 1000
_LARGEST = 999_999_999  # of the numbers of challenges
_TEXT = "^[^\\x00]*$"  # PostgreSQL has no NUL in texts, and refuses to look for one
_PAGE, _MOST = 100, 1000


class _NumberConvertor(IntegerConvertor):
    """Reads a number in a path, of no more digits than Python makes a number of."""

    regex = "[0-9]{1,18}"


register_url_convertor("number", _NumberConvertor())

router = APIRouter(
    prefix="/endpoints/{endpoint}/challenges",
    tags=["challenges"],
    responses=described(401, 403, 404, 422, 429, 500, 503),
)


_San: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=4096, json_schema_extra={"format": "san"})
]


class Order(BaseModel):
    """An order for one challenge; a member that is null is as one that is not there."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "if": {
                "properties": {"sans": {"type": "array", "minItems": 1}},
                "required": ["sans"],
            },
            "then": {"properties": {"subject": {"type": "string"}}, "required": ["subject"]},
        },
    )

    subject: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        json_schema_extra={"format": "rfc4514"},
        description="The only subject that it is good for, as RFC 4514 has it; any without it.",
    )
    sans: list[_San] | None = Field(
        default=None,
        max_length=100,
        description="The only subject alternative names that it is good for: `dns:`, `ip:`, "
        "`email:`, `uri:`, …; not without a subject.",
    )
    expires: str | None = Field(
        default=None,
        min_length=1,
        json_schema_extra={"format": "lifetime"},
        description="Its lifetime: `30m`, `1h`, `7d`; an hour without it.",
    )
    label: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_LABEL,
        json_schema_extra={"format": "label"},
        description="What people find it by.",
    )
    uses: Annotated[int, Field(ge=1, le=MAX_USES)] | None = Field(
        default=None, description="The certificates that it is good for; one without it."
    )
    data: dict[str, str] | None = Field(
        default=None,
        max_length=100,
        json_schema_extra={
            "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,31}$"},
            "additionalProperties": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_VALUE,
                "format": "data",
            },
        },
        description="What the endpoint's profile may put into the certificate, by name.",
    )


class Orders(BaseModel):
    """Orders for several challenges: all are made, or none."""

    model_config = ConfigDict(extra="forbid")

    orders: list[Order] = Field(min_length=1, max_length=MAX_ORDERS)


class Reason(BaseModel):
    """Why something is done."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(
        default=None,
        max_length=_MAX_REASON,
        json_schema_extra={"format": "line"},
        description="For the audit record.",
    )


class Minted(BaseModel):
    """A challenge that was made."""

    id: str = Field(description="Its number, as lists and the log have it.")
    challenge: str = Field(description="The challengePassword. It is shown here alone.")
    expires_at: datetime = Field(description="Until when it can be used.")


class SeveralMinted(BaseModel):
    """Challenges that were made, in the order of their orders."""

    challenges: list[Minted]


class ChallengeView(BaseModel):
    """A challenge, without its secret."""

    id: str
    endpoint: str
    subject: str | None
    sans: list[str]
    label: str | None
    data: dict[str, str]
    uses: int = Field(description="The certificates that it is good for.")
    used: int = Field(description="The certificates that it was used for.")
    door: str = Field(description="The way by which it was asked for.")
    state: ChallengeState
    created_at: datetime
    expires_at: datetime
    spent_at: datetime | None
    serial: str | None = Field(description="The serial number of its certificate, hex.")
    voided_at: datetime | None
    voided_by: str | None
    void_reason: str | None


class ChallengePage(BaseModel):
    """A page of a list, newest first."""

    challenges: list[ChallengeView]
    next: str | None = Field(description="`after` of the next page; null on the last one.")


async def _key(
    token: Writer,
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
    text: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="Text of your own, another one for each request. The same request with "
            "the same key gets the same challenges for 24 hours.",
        ),
    ] = None,
) -> IdempotencyKey | None:
    return None if text is None else IdempotencyKey(text, token.id, credentials.credentials)


Key: TypeAlias = Annotated[IdempotencyKey | None, Depends(_key)]


def _body(model: type[BaseModel], *, is_needed: bool = True) -> dict[str, Any]:
    """Describe a body in OpenAPI; `application` puts its schema among the others."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": is_needed, "content": {JSON: {"schema": schema}}}}


BODIES = (Order, Orders, Reason)
"""The models of the bodies that the routes read themselves."""


async def _order_of(request: Request, _token: Writer) -> dict[str, Any]:
    return await read_object(request, _MAX_OCTETS)


async def _orders_of(
    request: Request, token: Writer, service: ServiceOf
) -> AsyncIterator[dict[str, Any]]:
    """Read what may be large, and let a few do so at once: before it arrives, and until the end."""
    with service.bulks.taken(token.id):
        yield await read_object(request, batch.MAX_OCTETS)


async def _reason_of(request: Request, _token: Writer) -> dict[str, Any]:
    return await read_object(request, _MAX_OCTETS, is_needed=False)


Number: TypeAlias = Annotated[int, Path(ge=1, le=_LARGEST, description="The challenge's number.")]


@router.post(
    "",
    status_code=201,
    summary="Make a challenge",
    responses=described(400, 409, 413, 415),
    openapi_extra=_body(Order),
)
def mint(
    endpoint: EndpointName,
    token: Writer,
    fields: Annotated[dict[str, Any], Depends(_order_of)],
    key: Key,
    service: ServiceOf,
    request: Request,
    response: Response,
) -> Minted:
    """Make a one-time challenge, and return its secret, this once."""
    order = _read(fields, _defaults(service, endpoint))
    (made,) = _minted(request, response, service, endpoint, token, key, [order])
    response.headers["Location"] = f"{request.url.path}/{made.id}"
    return _view_of_minted(made)


@router.post(
    "/bulk",
    status_code=201,
    summary="Make many challenges",
    responses=described(400, 409, 413, 415),
    openapi_extra=_body(Orders),
)
def mint_many(
    endpoint: EndpointName,
    token: Writer,
    fields: Annotated[dict[str, Any], Depends(_orders_of)],
    key: Key,
    service: ServiceOf,
    request: Request,
    response: Response,
) -> SeveralMinted:
    """Make up to 100000 one-time challenges: all, or none if one of them cannot be made."""
    orders = _read_many(fields, _defaults(service, endpoint))
    made = _minted(request, response, service, endpoint, token, key, orders)
    return SeveralMinted(challenges=[_view_of_minted(one) for one in made])


@router.get("", summary="List challenges")
def listing(
    endpoint: EndpointName,
    _token: Reader,
    service: ServiceOf,
    *,
    unspent: Annotated[bool, Query(description="Only those that can still be used.")] = False,
    label: Annotated[
        str | None,
        Query(max_length=MAX_LABEL, pattern=_TEXT, description="Only this exact label."),
    ] = None,
    subject: Annotated[
        str | None,
        Query(max_length=4096, pattern=_TEXT, description="Only subjects with this text."),
    ] = None,
    after: Annotated[
        int | None, Query(ge=1, le=_LARGEST, description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="Challenges of a page.")] = _PAGE,
) -> ChallengePage:
    """List the challenges of an endpoint, newest first, without their secrets."""
    now = service.now()
    found = [
        *service.store.challenges(
            endpoint=endpoint,
            subject=subject,
            label=label,
            is_open=unspent,
            now=now if unspent else None,
            after=None if after is None else _numbered(after, now),
            limit=limit + 1,
        )
    ]
    page = found[:limit]
    more = str(page[-1].id) if len(found) > limit else None
    return ChallengePage(challenges=[_view(one, now) for one in page], next=more)


@router.get("/{number:number}", summary="Show a challenge")
def show(
    endpoint: EndpointName, number: Number, _token: Reader, service: ServiceOf
) -> ChallengeView:
    """Show a challenge, without its secret."""
    return _view(_found(service, endpoint, number), service.now())


@router.post(
    "/{number:number}/void",
    summary="Void a challenge",
    responses=described(400, 409, 413, 415),
    openapi_extra=_body(Reason, is_needed=False),
)
def void(
    endpoint: EndpointName,
    number: Number,
    token: Writer,
    fields: Annotated[dict[str, Any], Depends(_reason_of)],
    service: ServiceOf,
    request: Request,
) -> ChallengeView:
    """Take a challenge back, before it is spent; one that is void stays as it is."""
    reason = _reason(fields)
    found, now = _found(service, endpoint, number), service.now()
    challenges.void(service.store, [found], by=token.actor, now=now, reason=reason)
    after = _found(service, endpoint, number)
    facts_of(request).update(endpoint=endpoint, challenge=number)
    if after.spent_at is not None:
        serial = "" if after.spent_serial is None else show_serial(after.spent_serial)
        raise ProblemError(
            Kind.SPENT,
            f"challenge {number} was spent at {after.spent_at:%Y-%m-%d %H:%M} UTC",
            hint=f"revoke its certificate, with the serial number {serial}",
        )
    return _view(after, now)


def _numbered(number: int, now: datetime) -> Challenge:
    """Return a challenge to go on after: one that was purged in the meantime has but its number."""
    return Challenge(number, "", b"", None, (), now, now, None, None)


def _found(service: Service, endpoint: str, number: int) -> Challenge:
    """Return a challenge of an endpoint.

    Raises:
        ProblemError: there is none; also where it is of another endpoint.
    """
    found = service.store.challenge(number)
    if found is None or found.endpoint != endpoint:
        raise ProblemError(
            Kind.NOT_FOUND,
            f"the endpoint {endpoint!r} has no challenge {number}",
            hint="look at the list of its challenges",
        )
    return found


def _defaults(service: Service, endpoint: str) -> batch.Defaults:
    needs_subject = data_directory.replacing(service.home.settings, endpoint)
    return batch.Defaults(_LIFETIME, None, read_duration, needs_subject=needs_subject)


def _read(fields: object, defaults: batch.Defaults) -> ChallengeOrder:
    """Return an order.

    Raises:
        UsageError: it is none, or cannot be used.
    """
    if not isinstance(fields, dict):
        raise UsageError("it is no object", hint='write {"subject": "CN=dev1"}')
    for name in ("expires", "label"):
        text = fields.get(name)
        if isinstance(text, str) and not text.strip():
            raise UsageError(f"{name}: it is empty", hint="leave it out")
    uses = fields.get("uses")
    if isinstance(uses, str):
        raise UsageError("uses: it has to be a whole number, not text")
    if isinstance(uses, float) and uses.is_integer():
        # JSON has one kind of numbers: 2.0 is whole.
        fields = {**fields, "uses": int(uses)}
    return batch.order(fields, defaults, of_cells=False)


def _read_many(fields: Mapping[str, Any], defaults: batch.Defaults) -> list[ChallengeOrder]:
    """Return orders, all of them good.

    Raises:
        ProblemError: they are none, too many, or one of them cannot be used.
    """
    rows = fields.get("orders")
    if not isinstance(rows, list) or len(fields) > 1:
        raise ProblemError(
            Kind.INVALID,
            "the body has to have `orders`, a list, and nothing else",
            hint='write {"orders": [{"subject": "CN=dev1"}]}',
        )
    if not 1 <= len(rows) <= MAX_ORDERS:
        raise ProblemError(
            Kind.INVALID,
            f"{len(rows)} orders, 1 to {MAX_ORDERS} are taken at once",
            hint="send several requests" if rows else "name at least one order",
        )
    orders = []
    for place, row in enumerate(rows):
        try:
            orders.append(_read(row, defaults))
        except UsageError as error:
            raise ProblemError(
                Kind.INVALID,
                f"orders.{place}: {error.message}",
                hint="; ".join(filter(None, (error.hint, "no challenge was made"))),
            ) from None
    return orders


def _reason(fields: Mapping[str, object]) -> str:
    reason = fields.get("reason")
    if fields.keys() - {"reason"} or not isinstance(reason, str | None):
        raise ProblemError(Kind.INVALID, "the body has `reason`, a text, and nothing else")
    reason = reason or ""
    if len(reason) > _MAX_REASON or not reason.isprintable():
        raise ProblemError(
            Kind.INVALID, f"reason: it has to be one line of at most {_MAX_REASON} characters"
        )
    return reason


def _minted(
    request: Request,
    response: Response,
    service: Service,
    endpoint: str,
    token: Token,
    key: IdempotencyKey | None,
    orders: Sequence[ChallengeOrder],
) -> list[MintedChallenge]:
    """Make challenges, or find those that were made under the same key.

    Raises:
        ProblemError: the endpoint has none, or the key was used for something else.
        TooManyPending: there are as many as may be.
        StoreError: the database does not answer.
    """
    facts = facts_of(request)
    facts.update(endpoint=endpoint, count=len(orders))
    own, by, now = service.challenges_of(endpoint), token.actor, service.now()
    if key is None:
        made = challenges.mint(own, orders, door=Door.REST, by=by, now=now)
    else:
        try:
            made, is_old = mint_once(own, orders, key, door=Door.REST, by=by, now=now)
        except KeyReused as error:
            raise ProblemError(Kind.KEY_REUSED, error.message, hint=error.hint) from error
        if is_old:
            response.headers["Idempotency-Replayed"] = "true"
            facts["repeated"] = True
    facts["challenge"] = made[0].id
    return made


def _view_of_minted(one: MintedChallenge) -> Minted:
    return Minted(id=str(one.id), challenge=one.secret, expires_at=one.expires_at)


def _view(one: Challenge, now: datetime) -> ChallengeView:
    return ChallengeView(
        id=str(one.id),
        endpoint=one.endpoint,
        subject=one.subject,
        sans=[*one.sans],
        label=one.label,
        data=dict(one.data),
        uses=one.uses,
        used=one.used,
        door=one.door,
        state=one.state(now),
        created_at=one.created_at,
        expires_at=one.expires_at,
        spent_at=one.spent_at,
        serial=None if one.spent_serial is None else show_serial(one.spent_serial),
        voided_at=one.voided_at,
        voided_by=one.voided_by,
        void_reason=one.void_reason,
    )
