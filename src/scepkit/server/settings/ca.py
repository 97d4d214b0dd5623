"""`[ca.NAME]` of scep.toml: what a CA is, where the server makes it, or asks for its certificate.

Nothing here changes a CA that is there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from scepkit.ca.directory.founding import check_name
from scepkit.ca.directory.layouts import NewCA
from scepkit.errors import UsageError
from scepkit.protocol.rfc4514 import parse_subject

_DAYS_A_YEAR = 365.25


class CASettings(BaseModel):
    """`[ca.NAME]`.

    Attributes:
        subject: the CA's name, as RFC 4514 has it; empty for one that is made up.
        key: the kind of its key; None for that of the layout.
        years: the validity of a CA certificate that the server makes.
        path_length: how many CAs may be below one another under it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str = ""
    key: Literal["rsa:2048", "rsa:3072", "rsa:4096", "ec:p256", "ec:p384"] | None = None
    years: Annotated[int, Field(ge=1, le=50)] = 10
    path_length: Annotated[int, Field(ge=0, le=8)] = 0

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, value: str) -> str:
        if value:
            try:
                check_name(parse_subject(value))
            except UsageError as error:
                raise ValueError(f"{error.message} ({error.hint})") from error
        return value

    @property
    def new(self) -> NewCA:
        """Return what a CA with these settings is to be."""
        return NewCA(
            subject=parse_subject(self.subject) if self.subject else None,
            key=self.key,
            validity=timedelta(days=int(self.years * _DAYS_A_YEAR)),
            path_length=self.path_length,
        )
