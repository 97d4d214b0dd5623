"""The API's health, for whoever watches it; it needs no token."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from scepkit.server.api.problems import described, unavailable
from scepkit.server.api.rights import ServiceOf

router = APIRouter(tags=["health"], responses=described(500, 503))


class Health(BaseModel):
    """The condition of the API."""

    status: Literal["ok"]


@router.get("/health", summary="Show whether the API can work")
def health(service: ServiceOf) -> Health:
    """Say that the API's database can be written, as of a few seconds ago."""
    if not service.is_up():
        raise unavailable("the database does not answer")
    return Health(status="ok")
