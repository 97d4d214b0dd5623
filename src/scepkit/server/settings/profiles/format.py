"""`[profile.NAME]` of scep.toml, or profiles/NAME.toml: which certificates an endpoint issues.

All keys have a default, so that a profile says only in what it differs from the one it extends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, get_args

from cryptography.x509 import ObjectIdentifier
from pydantic import (
    BaseModel,
    Field,
    field_validator,
    model_validator,
)

from scepkit.ca.profiles import further
from scepkit.ca.profiles.blocklist import Blocklist
from scepkit.ca.profiles.further import FurtherExtensions
from scepkit.ca.profiles.key_rules import KeyRules, weaknesses
from scepkit.ca.profiles.patterns import Pattern
from scepkit.ca.profiles.profile import BACKDATE, KEY_USAGES, Profile
from scepkit.ca.profiles.subject import AttributeRule, Others, SubjectRules
from scepkit.ca.profiles.templates import Template
from scepkit.ca.subject_rules import certified_subject
from scepkit.errors import BadRequest
from scepkit.protocol.asn1 import der
from scepkit.protocol.distinguished_name import Name
from scepkit.server.settings.errors import EACH
from scepkit.server.settings.profiles.sections import (
    AttributeSettings,
    ExtensionSettings,
    KeySettings,
    NamesSettings,
    PolicySettings,
    RenewalSettings,
    Section,
    kinds,
)
from scepkit.server.settings.profiles.values import (
    CURVES,
    AttributeName,
    Duration,
    ExtensionType,
    Moment,
    Purpose,
    Usage,
    attribute_type,
    label,
    purpose,
)


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
        for one in get_args(kind):
            if isinstance(one, type) and issubclass(one, BaseModel):
                found[f"{name}.{key}.{EACH}"] = one.model_fields
    return found


class ProfileSettings(Section):
    """`[profile.NAME]`.

    Attributes:
        extends: the profile that this one begins with.
        description: for people: which devices it is for.
        validity: of a certificate, from now on.
        not_after: the moment that no certificate outlives; none unless there is one.
        backdate: how long before now a certificate begins to be valid.
        requested_validity: whether a request may shorten its validity, as Windows asks for it.
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
        policies: the certificate policies.
        extensions: further extensions, which are always the same.
        copied_extensions: further extensions that are taken over from a request, by OID.
        renewal: when and how a certificate is renewed.
        same_subject: what becomes of another key for a subject that has a valid certificate.
        replace_after: when it takes the place of the others though its key has not signed; "0d" for
            not before that.
    """

    extends: str | None = None
    description: str = ""
    validity: Annotated[Duration, Field(gt=timedelta())] = timedelta(days=365)
    not_after: Moment | None = None
    backdate: Duration = BACKDATE
    requested_validity: Literal["ignore", "shorten"] = "ignore"
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
    subject: dict[AttributeName, AttributeSettings] = {}  # noqa: RUF012 - pydantic copies it
    other_attributes: Others = "allow"
    names: NamesSettings = NamesSettings()
    policies: tuple[PolicySettings, ...] = ()
    extensions: tuple[ExtensionSettings, ...] = ()
    copied_extensions: frozenset[ExtensionType] = frozenset()
    renewal: RenewalSettings = RenewalSettings()
    same_subject: Literal["allow", "refuse", "replace"] = "allow"
    replace_after: Duration = timedelta()

    @field_validator("subject", mode="before")
    @classmethod
    def _has_one_rule_for_each(cls, value: Any) -> Any:
        seen: dict[str, str] = {}
        for name in value if isinstance(value, Mapping) else ():
            try:
                other = seen.setdefault(label(name), name)
            except ValueError:
                continue  # said of the key itself
            if other != name:
                raise ValueError(f"{other} and {name} are one attribute: keep one of the two")
        return value

    @model_validator(mode="after")
    def _fixes_what_can_be_certified(self) -> Self:
        for name, one in self.subject.items():
            if one.fixed is None:
                continue
            rules = SubjectRules("", {attribute_type(name): _rule(name, one)})
            try:
                certified_subject(rules.certified(Name(der.sequence()), None))
            except BadRequest as error:
                said = error.message.partition(" (")[0]
                raise ValueError(f"subject.{name}.fixed: {said}") from error
        return self

    @model_validator(mode="after")
    def _adds_each_once(self) -> Self:
        added = [one.oid for one in self.extensions]
        for one in (*added, *self.copied_extensions):
            if [*added, *self.copied_extensions].count(one) > 1:
                raise ValueError(f"the extension {one} is added or copied twice")
        policies = [one.oid for one in self.policies]
        if len(set(policies)) < len(policies):
            raise ValueError("a policy is there twice")
        return self

    @model_validator(mode="after")
    def _replaces_what_it_may(self) -> Self:
        if self.replace_after and self.same_subject != "replace":
            raise ValueError('replace_after is for same_subject = "replace"')
        return self

    def compiled(self, name: str, blocked: Blocklist | None = None) -> Profile:
        """Return the profile as certificates are made by it.

        Args:
            name: the profile's.
            blocked: the contents of its `key.blocklist`.

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
            keys=self._keys(name, blocked),
            further=self._further(name),
            shortens=self.requested_validity == "shorten",
            identity=self.identity,
        )

    def _subject(self, profile: str) -> SubjectRules | None:
        if not self.subject and self.other_attributes == "allow":
            return None
        rules = [_rule(name, one) for name, one in self.subject.items()]
        return SubjectRules(profile, {one.type: one for one in rules}, self.other_attributes)

    def _keys(self, profile: str, blocked: Blocklist | None) -> KeyRules | None:
        is_strict = self.key.weak == "refuse"
        if not is_strict and blocked is None:
            return None
        return KeyRules(profile, blocked, weaknesses() if is_strict else ())

    def _further(self, profile: str) -> FurtherExtensions | None:
        if not (self.policies or self.extensions or self.copied_extensions):
            return None
        constant = [
            further.constant(one.oid, bytes.fromhex(one.value), critical=one.critical)
            for one in self.extensions
        ]
        if self.policies:
            constant.insert(0, further.policies([(one.oid, one.cps) for one in self.policies]))
        copied = frozenset(der.oid(ObjectIdentifier(one)) for one in self.copied_extensions)
        return FurtherExtensions(profile, tuple(constant), copied)


def _rule(name: str, one: AttributeSettings) -> AttributeRule:
    return AttributeRule(
        label=name,
        type=attribute_type(name),
        required=one.required,
        forbidden=one.forbidden,
        most=one.max,
        pattern=None if one.pattern is None else Pattern.of(one.pattern),
        fixed=one.fixed,
        template=None if one.template is None else Template.of(one.template),
    )
