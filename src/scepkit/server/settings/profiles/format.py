"""`[profile.NAME]` of scep.toml, or profiles/NAME.toml: which certificates an endpoint issues.

All keys have a default, so that a profile says only in what it differs from the one it extends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, field_validator, model_validator

from scepkit.ca.profiles.names import NameRule, NameRules
from scepkit.ca.profiles.patterns import Pattern
from scepkit.ca.profiles.profile import BACKDATE, KEY_USAGES, SAN_TYPES, Profile
from scepkit.ca.profiles.subject import AttributeRule, Others, SubjectRules
from scepkit.ca.profiles.templates import Template
from scepkit.server.settings.profiles.values import (
    CURVES,
    AttributeName,
    Bits,
    Curve,
    Duration,
    Moment,
    PatternText,
    Purpose,
    Suffix,
    TemplateText,
    Usage,
    attribute_type,
    purpose,
)

NameKind: TypeAlias = Literal["dns", "ip", "email", "uri", "upn", "directory"]

_KINDS = {"directory": "dir"}


def kinds(names: Iterable[str]) -> frozenset[str]:
    """Return kinds of names as names say theirs."""
    return frozenset(_KINDS.get(name, name) for name in names)


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


class AttributeSettings(Section):
    """`[profile.NAME.subject.ATTRIBUTE]`.

    Attributes:
        required: whether a subject has to have one.
        forbidden: whether a subject must have none.
        max: how many there may be.
        pattern: what each has to match, as a whole.
        fixed: the one value, whatever a request says.
        template: makes the one value.
    """

    required: bool = False
    forbidden: bool = False
    max: Annotated[int, Field(ge=1, le=100)] | None = None
    pattern: PatternText | None = None
    fixed: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    template: TemplateText | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.fixed is not None and self.template is not None:
            raise ValueError("fixed and template both make the one value: keep one of the two")
        made = self.fixed is not None or self.template is not None
        if self.forbidden and (self.required or made):
            raise ValueError("forbidden contradicts what else is said of it")
        return self


class KindSettings(Section):
    """`[profile.NAME.names.KIND]`. A name has to follow all that is said.

    Attributes:
        patterns: one of them has to match the whole name.
        suffixes: domains, at or below one of which the name has to be.
        networks: in one of which an address has to be.
        min: how many names of the kind there have to be.
        max: how many there may be.
        wildcards: whether a host name may begin with `*.`; never on a public suffix.
        add: templates, each of which makes a name more.
    """

    patterns: tuple[PatternText, ...] = ()
    suffixes: tuple[Suffix, ...] = ()
    networks: tuple[IPvAnyNetwork, ...] = ()
    min: Annotated[int, Field(ge=0, le=1000)] = 0
    max: Annotated[int, Field(ge=0, le=1000)] | None = None
    wildcards: bool = False
    add: tuple[TemplateText, ...] = ()

    @property
    def compiled(self) -> NameRule:
        """Return the rule of the kind."""
        return NameRule(
            patterns=tuple(map(Pattern.of, self.patterns)),
            suffixes=self.suffixes,
            networks=self.networks,
            least=self.min,
            most=self.max,
            wildcards=self.wildcards,
            added=tuple(map(Template.of, self.add)),
        )


class NamesSettings(Section):
    """`[profile.NAME.names]`.

    Attributes:
        kinds: the kinds of alternative names that are taken from a request; others are left out.
        max: how many names there may be in all.
        dns: the rules on host names.
        ip: on addresses.
        email: on e-mail addresses, those in the subject, too.
        uri: on URIs.
        upn: on user principal names.
        directory: on directory names, which compare as RFC 4514 writes them.
    """

    kinds: frozenset[NameKind] = SAN_TYPES  # type: ignore[assignment]
    max: Annotated[int, Field(ge=1, le=1000)] = 100
    dns: KindSettings = KindSettings()
    ip: KindSettings = KindSettings()
    email: KindSettings = KindSettings()
    uri: KindSettings = KindSettings()
    upn: KindSettings = KindSettings()
    directory: KindSettings = KindSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for kind in get_args(NameKind):
            rule = getattr(self, kind)
            if kind not in self.kinds and (rule.min or rule.add):
                raise ValueError(f"{kind} is not among the kinds, and has a min or an add")
            if rule.networks and kind != "ip":
                raise ValueError(f"networks are for ip, and not for {kind}")
            if rule.suffixes and kind in ("ip", "directory"):
                raise ValueError(f"suffixes are not for {kind}")
            if rule.wildcards and kind != "dns":
                raise ValueError(f"wildcards are for dns, and not for {kind}")
            if rule.max is not None and rule.max < rule.min:
                raise ValueError(f"{kind} has a max below its min")
        return self

    def compiled(self, profile: str) -> NameRules:
        """Return the rules on alternative names."""
        usual = KindSettings()
        given = {kind: getattr(self, kind) for kind in get_args(NameKind)}
        rules = {
            _KINDS.get(kind, kind): one.compiled for kind, one in given.items() if one != usual
        }
        return NameRules(profile, kinds(self.kinds), rules, self.max)


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
        subject: the attributes of the subject, by their names or OIDs.
        other_attributes: what becomes of attributes that `subject` does not name.
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
    subject: dict[AttributeName, AttributeSettings] = {}
    other_attributes: Others = "allow"
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
            san_types=kinds(self.names.kinds),
            subject=self._subject(name),
            names=self.names.compiled(name),
            identity=self.identity,
        )

    def _subject(self, profile: str) -> SubjectRules | None:
        if not self.subject and self.other_attributes == "allow":
            return None
        rules = [
            AttributeRule(
                label=name,
                type=attribute_type(name),
                required=one.required,
                forbidden=one.forbidden,
                most=one.max,
                pattern=None if one.pattern is None else Pattern.of(one.pattern),
                fixed=one.fixed,
                template=None if one.template is None else Template.of(one.template),
            )
            for name, one in self.subject.items()
        ]
        return SubjectRules(profile, {one.type: one for one in rules}, self.other_attributes)
