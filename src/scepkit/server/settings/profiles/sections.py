"""The tables of `[profile.NAME]`: keys, subject, names, further extensions, renewal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    field_validator,
    model_validator,
)

from scepkit.ca.profiles.key_rules import weaknesses
from scepkit.ca.profiles.names import NameRule, NameRules
from scepkit.ca.profiles.patterns import Pattern
from scepkit.ca.profiles.profile import SAN_TYPES
from scepkit.ca.profiles.templates import Template
from scepkit.server.settings.profiles.values import (
    CURVES,
    Bits,
    Curve,
    Duration,
    ExtensionType,
    PatternText,
    Point,
    Suffix,
    TemplateText,
    check_der,
    installed,
    oid,
)

NameKind: TypeAlias = Literal["dns", "ip", "email", "uri", "upn", "directory"]

_KINDS = {"directory": "dir"}


def kinds(names: Iterable[str]) -> frozenset[str]:
    """Return kinds of names as names say theirs."""
    return frozenset(_KINDS.get(name, name) for name in names)


class Section(BaseModel):
    """A table of a profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KeySettings(Section):
    """`[profile.NAME.key]`.

    Attributes:
        kinds: the kinds of keys.
        rsa_bits: the smallest and the largest RSA key, in bits.
        weak: whether keys are refused that badkeys knows as weak.
        blocklist: the file with SHA-256 of the SubjectPublicKeyInfo of keys that are refused.
    """

    kinds: Annotated[frozenset[Literal["rsa"] | Curve], Field(min_length=1)] = frozenset(
        {"rsa", *CURVES}  # type: ignore[arg-type]
    )
    rsa_bits: tuple[Bits, Bits] = (2048, 8192)
    weak: Literal["allow", "refuse"] = "allow"
    blocklist: Path | None = None

    @field_validator("weak")
    @classmethod
    def _can_be_tested(cls, value: str) -> str:
        if value == "refuse":
            installed(weaknesses)
        return value

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

    def compiled(self, kind: NameKind) -> NameRule:
        """Return the rule of the kind."""
        return NameRule(
            patterns=tuple(map(Pattern.of, self.patterns)),
            suffixes=self.suffixes,
            networks=self.networks,
            least=self.min,
            most=self.max,
            wildcards=self.wildcards,
            added=tuple(Template.of(one, kind) for one in self.add),
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
            _KINDS.get(kind, kind): one.compiled(kind)
            for kind, one in given.items()
            if one != usual
        }
        return NameRules(profile, kinds(self.kinds), rules, self.max)


class PolicySettings(Section):
    """`[[profile.NAME.policies]]`.

    Attributes:
        oid: the policy.
        cps: the URI of its certification practice statement.
    """

    oid: Annotated[str, AfterValidator(oid)]
    cps: Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=1000)] | None = None


class ExtensionSettings(Section):
    """`[[profile.NAME.extensions]]`.

    Attributes:
        oid: its type.
        value: its value, DER in hex.
        critical: whether it is critical.
    """

    oid: ExtensionType
    value: Annotated[str, Field(max_length=8192), AfterValidator(check_der)]
    critical: bool = False


class RenewalSettings(Section):
    """`[profile.NAME.renewal]`.

    Attributes:
        window: the time before a certificate's end in which it renews; "0d" for any time.
        grace: the time after its end in which a certificate still renews.
        new_names: whether a renewal may ask for other names.
        longest: the time for which certificates can be renewed one after another; "0d" for ever.
        same_key: whether a renewal may be for the key that the certificate has.
        suggest: the point of a certificate's life from which its renewal is suggested; two thirds,
            and not before its last 30 days, unless given.
        spread: the time over which suggestions are spread; "0d" for a third of what is left.
    """

    window: Duration = timedelta()
    grace: Duration = timedelta()
    new_names: bool = False
    longest: Duration = timedelta()
    same_key: Literal["allow", "refuse", "require"] = "allow"
    suggest: Point | None = None
    spread: Duration = timedelta()
