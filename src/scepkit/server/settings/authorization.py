"""`[[endpoint.NAME.authorization]]` of scep.toml: who may have a certificate, rule by rule.

The settings `renewal`, `challenge`, `challenge_file` and `approval` are a short form for the usual
lists of rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from scepkit.enrolment.challenges import MAX_LENGTH, MAX_SERVICE_LENGTH
from scepkit.enrolment.challenges.one_time import SECRET_LENGTH
from scepkit.enrolment.challenges.selection import ANY, Pattern
from scepkit.server.settings.errors import EACH
from scepkit.server.settings.service import ServiceSettings
from scepkit.store.devices import DeviceColumn
from scepkit.store.values import Door

_Length: TypeAlias = Annotated[int, Field(ge=1, le=MAX_SERVICE_LENGTH)]
_Columns: TypeAlias = tuple[DeviceColumn, ...]
_Pending: TypeAlias = Annotated[int, Field(ge=1, le=100_000_000)]
_Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]

MAX_PENDING = 1_000_000
"""The most one-time challenges of an endpoint and a door that can be used at once, unless set."""

MAX_NDES_PENDING = 10_000
"""The same by way of the NDES page: the more of its short challenges are good, the easier one of
them is guessed."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Rule(_Table):
    @property
    def looks_at(self) -> _Columns:
        """Return what of a device has to be on the endpoint's list."""
        return ()


class MatchSettings(_Table):
    """`match` of a rule: the shape of the challenges that it takes; what is left out is any."""

    prefix: Annotated[str, Field(max_length=MAX_LENGTH)] = ""
    length: _Length | tuple[_Length, _Length] | None = None
    form: Literal["digits", "hex", "upper-hex", "base32", "alphanumeric", "base64"] | None = None

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        pattern = self.pattern
        if not max(pattern.least, len(self.prefix)) <= pattern.most:
            raise ValueError("no challenge is that short: length is the least and then the most")
        return self

    @property
    def pattern(self) -> Pattern:
        """Return the shape as it is matched."""
        match self.length:
            case None:
                least, most = 0, MAX_SERVICE_LENGTH
            case int(length):
                least = most = length
            case (least, most):
                pass
        return Pattern(self.prefix, least, most, self.form or "")


class CertificateRule(_Rule):
    """Renewal by the current certificate."""

    kind: Literal["certificate"]


class ApprovalRule(_Rule):
    """Approval by an operator of what comes without a challenge."""

    kind: Literal["approval"]
    devices: _Columns = ()

    @property
    def looks_at(self) -> _Columns:
        """Return what of a device has to be on the endpoint's list."""
        return self.devices


class DevicesRule(_Rule):
    """Devices whose keys are on the endpoint's list: scep admin devices import."""

    kind: Literal["devices"]
    by: _Columns = ("key",)

    @field_validator("by")
    @classmethod
    def _entitles(cls, value: tuple[DeviceColumn, ...]) -> tuple[DeviceColumn, ...]:
        if "key" not in value:
            raise ValueError(
                'it has to have "key": a serial number, a MAC address or a host name is no secret, '
                "so that it lets nobody in by itself; it can narrow another rule: set "
                "devices = [...] in one of kind one-time, static, webhook or approval"
            )
        return value

    @property
    def looks_at(self) -> _Columns:
        """Return what of a device has to be on the endpoint's list."""
        return self.by


class _ChallengeRule(_Rule):
    max_length: ClassVar[int] = MAX_LENGTH

    match: MatchSettings | None = None
    approval: Literal["auto", "manual"] = "auto"
    devices: _Columns = ()

    @model_validator(mode="after")
    def _takes_some(self) -> Self:
        found = self.pattern
        if found.least > found.most:
            raise ValueError(f"no challenge of this kind has more than {found.most} characters")
        return self

    @property
    def pattern(self) -> Pattern:
        """Return the shape of the challenges that it judges."""
        found = ANY if self.match is None else self.match.pattern
        return replace(found, most=min(found.most, self.max_length))

    @property
    def looks_at(self) -> _Columns:
        """Return what of a device has to be on the endpoint's list."""
        return self.devices

    @property
    def waits(self) -> bool:
        """Say whether an operator approves as well."""
        return self.approval == "manual"

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files with static challenges that it names."""
        return ()


class OneTimeRule(_ChallengeRule):
    """One-time challenges: scep admin challenge new makes them."""

    kind: Literal["one-time"]
    max_pending: _Pending | Mapping[Door, _Pending] = {}

    @model_validator(mode="after")
    def _fits_those_made(self) -> Self:
        found = self.pattern
        fits = found.least <= SECRET_LENGTH <= found.most and found.form in _FITTING
        if found.prefix or not fits:
            raise ValueError(
                f"the one-time challenges made here have {SECRET_LENGTH} characters in base32, "
                'which match has to take: match = { length = 32, form = "base32" }'
            )
        return self

    @property
    def pending_bounds(self) -> Mapping[Door, int]:
        """Return the most challenges of each door that can be used at once."""
        said = self.max_pending
        if isinstance(said, int):
            return dict.fromkeys(Door, said)
        usual = dict.fromkeys(Door, MAX_PENDING) | {Door.NDES: MAX_NDES_PENDING}
        return usual | dict(said)


# The forms that have all characters of those.
_FITTING = ("", "base32", "alphanumeric", "base64")


class SecretSettings(_Table):
    """A static challenge: its name, the file that it is in, and the time for which it is good."""

    name: _Name
    file: Path
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None

    @model_validator(mode="after")
    def _begins_first(self) -> Self:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError("start has to be before end")
        return self


class StaticRule(_ChallengeRule):
    """Static challenges, each of which all devices may share."""

    kind: Literal["static"]
    secrets: Annotated[tuple[SecretSettings, ...], Field(min_length=1, max_length=16)]

    @field_validator("secrets")
    @classmethod
    def _named_apart(cls, value: tuple[SecretSettings, ...]) -> tuple[SecretSettings, ...]:
        if len({one.name for one in value}) < len(value):
            raise ValueError("each of them needs a name of its own")
        return value

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files that the challenges are in."""
        return tuple(one.file for one in self.secrets)


class WebhookRule(_ChallengeRule, ServiceSettings):
    """Challenges that a service outside judges, which is asked by HTTP."""

    max_length: ClassVar[int] = MAX_SERVICE_LENGTH

    kind: Literal["webhook"]
    name: _Name
    dialect: Literal["scepkit", "smallstep"]
    webhook_id: Annotated[str, Field(pattern=r"^[!-~]{0,100}$")] = ""
    failures: Annotated[int, Field(ge=1, le=1000)] = 5
    pause_seconds: Annotated[float, Field(gt=0, le=3600)] = 30


class IntuneRule(_ChallengeRule):
    """Challenges of Microsoft Intune, which judges requests and is told of certificates."""

    max_length: ClassVar[int] = MAX_SERVICE_LENGTH

    kind: Literal["intune"]
    registration: _Name
    wait_for_success_notification: bool = True

    @model_validator(mode="after")
    def _decides_alone(self) -> Self:
        if self.waits:
            raise ValueError('approval = "manual" does not go with Intune, which cannot wait')
        return self


ChallengeRuleSettings: TypeAlias = OneTimeRule | StaticRule | WebhookRule | IntuneRule
RuleSettings: TypeAlias = CertificateRule | ApprovalRule | DevicesRule | ChallengeRuleSettings
AuthorizationSettings: TypeAlias = tuple[Annotated[RuleSettings, Field(discriminator="kind")], ...]

_KINDS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "certificate": CertificateRule,
        "approval": ApprovalRule,
        "devices": DevicesRule,
        "one-time": OneTimeRule,
        "static": StaticRule,
        "webhook": WebhookRule,
        "intune": IntuneRule,
    }
)


def tables() -> dict[str, Collection[str]]:
    """Return the settings that there are, by kind of rule, as explanations of errors want them."""
    above = f"endpoint.authorization.{EACH}"
    found: dict[str, Collection[str]] = {
        f"{above}.{kind}": model.model_fields for kind, model in _KINDS.items()
    }
    for kind in _KINDS:
        found[f"{above}.{kind}.match"] = MatchSettings.model_fields
    found[f"{above}.static.secrets.{EACH}"] = SecretSettings.model_fields
    return found


def challenge_rules(rules: Sequence[RuleSettings]) -> list[ChallengeRuleSettings]:
    """Return the rules that judge challenges, in their order."""
    return [one for one in rules if isinstance(one, _ChallengeRule)]


def unchallenged_rules(rules: Sequence[RuleSettings]) -> list[ApprovalRule | DevicesRule]:
    """Return the rules that judge what comes without a challenge."""
    return [one for one in rules if isinstance(one, ApprovalRule | DevicesRule)]


def check(rules: Sequence[RuleSettings]) -> None:
    """Refuse a list of rules that leaves open which one judges a request.

    Raises:
        ValueError: it does, or it lets nobody in.
    """
    if len(rules) > 1 and any(isinstance(one, IntuneRule) for one in rules):
        raise ValueError(
            'a rule of kind = "intune" stands alone: what any other rule lets in, renewals by '
            "certificate too, Intune would not have judged; use another endpoint for it"
        )
    for kind in _KINDS:
        if kind != "webhook" and len([one for one in rules if one.kind == kind]) > 1:
            raise ValueError(f'there are several rules of kind = "{kind}", and only one may be')
    names = [one.name for one in rules if isinstance(one, WebhookRule)]
    if len(set(names)) < len(names):
        raise ValueError("each webhook needs a name of its own")
    challenges, without = challenge_rules(rules), unchallenged_rules(rules)
    if len(without) > 1:
        raise ValueError(
            'kind = "devices" and kind = "approval" both judge requests without a challenge: keep '
            "one of them, or use another endpoint for the other"
        )
    if not challenges and not without:
        raise ValueError(
            'nobody would get a first certificate: add a rule of kind = "one-time", "static", '
            '"webhook", "intune", "devices" or "approval"'
        )
    for first, second in combinations(challenges, 2):
        if first.pattern.overlaps(second.pattern):
            raise ValueError(
                f"a challenge can have the shape of two rules, {described(first)} and "
                f"{described(second)}: set match of both so that none can have both shapes"
            )


def described(rule: RuleSettings) -> str:
    """Return a rule in a few words, for messages: its kind, and what it takes."""
    return " ".join([rule.kind, *_details(rule)])


def _details(rule: RuleSettings) -> Iterator[str]:
    details: list[str] = []
    if isinstance(rule, _ChallengeRule):
        details += _shape(rule.match)
    if named := _named(rule):
        details.append(named)
    if rule.looks_at:
        what = "by" if isinstance(rule, DevicesRule) else "devices by"
        details.append(f"{what} {', '.join(rule.looks_at)}")
    if isinstance(rule, _ChallengeRule) and rule.waits:
        details.append("then approval")
    if details:
        yield f"({'; '.join(details)})"


def _shape(match: MatchSettings | None) -> Iterator[str]:
    if match is None:
        return
    if match.prefix:
        yield f"prefix {match.prefix!r}"
    if match.length is not None:
        ends = (match.length,) if isinstance(match.length, int) else match.length
        yield f"length {' to '.join(map(str, ends))}"
    if match.form:
        yield f"form {match.form}"


def _named(rule: RuleSettings) -> str:
    match rule:
        case WebhookRule():
            return rule.name
        case IntuneRule():
            return rule.registration
        case StaticRule():
            return f"secrets {', '.join(one.name for one in rule.secrets)}"
    return ""
