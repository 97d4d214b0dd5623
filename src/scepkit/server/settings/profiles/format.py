"""`[profile.NAME]` of scep.toml, or profiles/NAME.toml: which certificates an endpoint issues.

All keys have a default, so that a profile says only in what it differs from the one it extends.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from scepkit.ca.profiles.profile import BACKDATE, KEY_USAGES, SAN_TYPES, Profile
from scepkit.server.settings.profiles.values import (
    CURVES,
    Bits,
    Curve,
    Duration,
    Moment,
    Purpose,
    Usage,
    purpose,
)

NameKind: TypeAlias = Literal["dns", "ip", "email", "uri", "upn"]


class Section(BaseModel):
    """A table of a profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def tables(section: type[BaseModel], name: str) -> dict[str, Collection[str]]:
    """Return the keys of a section and of the tables in it, by their names.

    Args:
        section: the section.
        name: its name, such as `profile`; a table in it is `profile.key`.
    """
    found: dict[str, Collection[str]] = {name: section.model_fields}
    for key, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= tables(kind, f"{name}.{key}")
    return found


class KeySettings(Section):
    """`[profile.NAME.key]`.

    Attributes:
        kinds: the kinds of keys.
        rsa_bits: the smallest and the largest RSA key, in bits.
    """

    kinds: Annotated[frozenset[Literal["rsa"] | Curve], Field(min_length=1)] = frozenset(
        {"rsa", *CURVES}  # type: ignore[arg-type]
    )
    rsa_bits: tuple[Bits, Bits] = (2048, 8192)

    @field_validator("rsa_bits")
    @classmethod
    def _in_order(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError("the smallest and then the largest RSA key, in bits")
        return value


class NamesSettings(Section):
    """`[profile.NAME.names]`.

    Attributes:
        kinds: the kinds of alternative names that are taken from a request; others are left out.
    """

    kinds: frozenset[NameKind] = SAN_TYPES  # type: ignore[assignment]


class RenewalSettings(Section):
    """`[profile.NAME.renewal]`.

    Attributes:
        window: the time before a certificate's end in which it renews; "0d" for any time.
        grace: the time after its end in which a certificate still renews.
        new_names: whether a renewal may ask for other names.
    """

    window: Duration = timedelta()
    grace: Duration = timedelta()
    new_names: bool = False


class ProfileSettings(Section):
    """`[profile.NAME]`.

    Attributes:
        extends: the profile that this one begins with.
        description: for people: which devices it is for.
        validity: of a certificate, from now on.
        not_after: the moment that no certificate outlives; none unless there is one.
        backdate: how long before now a certificate begins to be valid.
        key: the keys.
        key_usages: the most that keyUsage may assert.
        default_eku: the purposes of a certificate whose request names none.
        allowed_eku: the purposes that a request may name, besides those of `default_eku`.
        identity: whether names and purposes are taken over by which somebody logs in to a Windows
            domain, where a challenge is bound to them; true only in ready profiles, and in what
            extends them.
        names: the subject alternative names.
        renewal: when and how a certificate is renewed.
    """

    extends: str | None = None
    description: str = ""
    validity: Annotated[Duration, Field(gt=timedelta())] = timedelta(days=365)
    not_after: Moment | None = None
    backdate: Duration = BACKDATE
    key: KeySettings = KeySettings()
    key_usages: Annotated[frozenset[Usage], Field(min_length=1)] = KEY_USAGES  # type: ignore[assignment]
    default_eku: tuple[Purpose, ...] = ("client_auth",)
    allowed_eku: tuple[Purpose, ...] = (
        "client_auth",
        "server_auth",
        "email_protection",
        "ipsec_ike",
        "ike_intermediate",
    )
    identity: bool = False
    names: NamesSettings = NamesSettings()
    renewal: RenewalSettings = RenewalSettings()

    def compiled(self, name: str) -> Profile:
        """Return the profile as certificates are made by it.

        Args:
            name: the profile's.

        Raises:
            SettingsError: a value that no certificate could follow.
        """
        return Profile(
            name=name,
            validity=self.validity,
            not_after=self.not_after,
            backdate=self.backdate,
            rsa_bits=self.key.rsa_bits if "rsa" in self.key.kinds else None,
            curves=frozenset(CURVES[kind] for kind in self.key.kinds if kind != "rsa"),
            key_usages=frozenset(self.key_usages),
            default_eku=tuple(map(purpose, self.default_eku)),
            allowed_eku=frozenset(map(purpose, self.allowed_eku)),
            san_types=frozenset(self.names.kinds),
            identity=self.identity,
        )
