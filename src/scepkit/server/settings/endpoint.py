"""`[endpoint.NAME]` of scep.toml: the settings of one SCEP endpoint.

A preset changes the defaults of what a client family cannot digest; a key that is written down
wins over the preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scepkit.protocol.algorithms import Legacy
from scepkit.server.settings.authorization import (
    ApprovalRule,
    AuthorizationSettings,
    CertificateRule,
    OneTimeRule,
    RuleSettings,
    SecretSettings,
    StaticRule,
    challenge_rules,
    check,
)
from scepkit.server.settings.doors import JamfSettings, check_shape
from scepkit.server.settings.profiles.format import ProfileSettings
from scepkit.server.settings.profiles.sections import NameKind
from scepkit.server.settings.profiles.values import READY, Bits, Curve, Purpose, Usage
from scepkit.store.values import Door

Shape: TypeAlias = Literal["auto", "ca", "chain", "ra+ca", "ra+chain"]
"""The forms of the answer to GetCACert; `publication` defines each."""

Preset: TypeAlias = Literal[
    "none", "apple", "windows", "intune", "cisco-ios", "cisco-vpn", "juniper", "strongswan"
]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "none": {},
        # A chain in the media type of an RA is taken for an RA that cannot be used.
        "apple": {"ca_certificates": "ra+ca"},
        # CAThumbprint is compared with the root.
        "windows": {"ca_certificates": "ra+chain", "include_root": True},
        "intune": {"ca_certificates": "ra+chain", "include_root": True},
        "cisco-ios": {"ca_certificates": "ra+chain", "include_root": True},
        # Looks for its CA in the reply; Juniper's devices refuse a reply that has it.
        "cisco-vpn": {"reply_chain": True},
        "juniper": {"reply_chain": False},
        # Writes nothing at all when the root is missing.
        "strongswan": {"ca_certificates": "ra+chain", "include_root": True},
    }
)
"""Defaults by client family; docs/how-to/client-families.md says why."""

_DAYS = 3650
_Days: TypeAlias = Annotated[int, Field(ge=0, le=_DAYS)]

PROFILE_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "validity_days": "validity",
        "rsa_bits": "key.rsa_bits",
        "curves": "key.kinds",
        "key_usages": "key_usages",
        "default_eku": "default_eku",
        "allowed_eku": "allowed_eku",
        "san_types": "names.kinds",
        "renewal_window_days": "renewal.window",
        "renewal_grace_days": "renewal.grace",
        "renewal_new_names": "renewal.new_names",
    }
)
"""The settings of an endpoint that say something else than its profile, and the profile's keys."""


# Characters of a one-time challenge in hex that nobody guesses: 128 random bits.
_SAFE_LENGTH = 32

SHORT_FORM = ("renewal", "challenge", "challenge_file", "approval")
"""The settings of an endpoint that stand for rules, where none are written."""


class EndpointSettings(BaseModel):
    """`[endpoint.NAME]`.

    Attributes:
        ca: the issuing CA: `default`, or another one, which the next start makes.
        layout: the key layout of that CA, when it is made; None for `default`.
        profile: which certificates are issued, and how they are renewed.
        preset: the client family that the defaults below suit.
        legacy: old algorithms and forms that are off unless named here.
        validity_days: the validity of an issued certificate; None for that of the profile.
        authorization: who may have a certificate, rule by rule; empty for what `renewal`,
            `challenge`, `challenge_file` and `approval` say.
        approval: whether a right challenge is enough, or an operator approves as well.
        pending_days: the longest wait of a request for approval.
        pending_per_address: requests of one address (of IPv6, one /64) that wait at once; more get
            HTTP 429. An operator looks at each, so this is a site's worth of devices.
        pending_requests: requests that wait at once, whoever sent them; more get HTTP 503.
        challenge: `one-time` (scep admin challenge new), `static` (one for all devices, in
            `challenge_file`) or `none`, which needs manual approval.
        challenge_file: of a static challenge: mode 0600, the first line counts.
        wrong_challenges_per_minute: of a static challenge: how many one address (of IPv6, one /64)
            may send, per worker process; more get HTTP 429, right ones too. 30 leave a site in
            peace where some devices behind one address have a wrong one and try every minute, and
            are 2^24 guesses a year, which no secret worth the name minds.
        mscep_admin: whether the NDES page hands out challenges, at /scep/NAME/mscep_admin/.
        ndes: the same, and the endpoint is the one below /certsrv as well, where NDES has its own.
        ndes_page_encoding: of that page; UTF-16LE with its byte order mark is NDES's.
        ndes_length: the characters of a challenge there, in hex: 64 or 128 random bits.
        ndes_minutes: the lifetime of such a challenge.
        ndes_per_minute: how many of them one account gets in a minute, per worker process.
        jamf: the webhook SCEPChallenge of Jamf Pro and of Fleet; None: there is none.
        renewal: whether a current certificate entitles to the next one.
        renewal_window_days: the time before a certificate's end in which it renews; 0 for any time,
            None for what the profile says.
        renewal_grace_days: the time after its end in which a certificate still renews.
        renewal_new_names: whether a renewal may ask for other names.
        renewal_anchors: PEM files: certificates of these CAs may be exchanged for one of ours.
        get_cert: GetCert: nothing, what the requester's own key has, or any certificate.
        get_crl: whether GetCRL is answered.
        retrievals_per_minute: GetCert and GetCRL together, over all devices, per worker process;
            more get HTTP 429.
        pbkdf2_rounds: the most rounds that a request may ask for, in a request that is encrypted
            with a password and in the MAC of a CMP request; for PasswordBasedMac never more than
            20000.
        cmp: whether the owner of a certificate may have it revoked by CMP, at /cmp/NAME.
        cmp_revoke_by_subject: whether another valid certificate of the same subject does, too.
        signing_time_minutes: the most that a signingTime, or the messageTime of CMP, may be off
            before badTime; 0 for no limit.
        separate_keys: whether the signer's key may be another than the request's (L-17).
        revocation_passphrase: whether a request's challengePassword revokes its certificate.
        key_agreement: whether replies to EC keys may use ECDH where there is no challenge.
        ca_certificates: the answer to GetCACert.
        include_root: whether that answer includes the root above an intermediate CA.
        reply_chain: whether a CertRep includes the CA certificates.
        rsa_bits: the smallest and the largest RSA key, in bits; as all below None for what the
            profile says.
        curves: the kinds of keys besides RSA.
        key_usages: the most that keyUsage may assert.
        default_eku: the purposes of a certificate whose request names none.
        allowed_eku: the purposes that a request may name, besides those of `default_eku`.
        san_types: the kinds of subjectAltName that a certificate may have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: str = "default"
    layout: Literal["default", "ec", "single"] | None = None
    profile: str = "device"
    preset: Preset = "none"
    legacy: frozenset[Legacy] = frozenset()
    validity_days: Annotated[int, Field(ge=1, le=_DAYS)] | None = None
    authorization: AuthorizationSettings = ()
    approval: Literal["auto", "manual"] = "auto"
    pending_days: Annotated[int, Field(ge=1, le=_DAYS)] = 7
    pending_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    pending_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    challenge: Literal["one-time", "static", "none"] = "one-time"
    challenge_file: Path | None = None
    wrong_challenges_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 30
    mscep_admin: bool = False
    ndes: bool = False
    ndes_page_encoding: Literal["utf-16", "utf-8"] = "utf-16"
    ndes_length: Literal[16, 32] = 16
    ndes_minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] = 60
    ndes_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    jamf: JamfSettings | None = None
    renewal: bool = True
    renewal_window_days: _Days | None = None
    renewal_grace_days: _Days | None = None
    renewal_new_names: bool | None = None
    renewal_anchors: tuple[Path, ...] = ()
    get_cert: Literal["off", "own", "all"] = "own"
    get_crl: bool = True
    retrievals_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 60
    pbkdf2_rounds: Annotated[int, Field(ge=1000, le=1_000_000)] = 10_000
    cmp: bool = True
    cmp_revoke_by_subject: bool = False
    signing_time_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)] = 0
    separate_keys: bool = False
    revocation_passphrase: bool = False
    key_agreement: bool = False
    ca_certificates: Shape = "auto"
    include_root: bool = True
    reply_chain: bool = False
    # A list is not `| None`: the variable of one that cannot be read would pass for no JSON.
    rsa_bits: tuple[Bits, Bits] = None  # type: ignore[assignment]
    curves: frozenset[Curve] = None  # type: ignore[assignment]
    key_usages: Annotated[frozenset[Usage], Field(min_length=1)] = None  # type: ignore[assignment]
    default_eku: tuple[Purpose, ...] = None  # type: ignore[assignment]
    allowed_eku: tuple[Purpose, ...] = None  # type: ignore[assignment]
    san_types: frozenset[NameKind] = None  # type: ignore[assignment]

    @model_validator(mode="before")
    @classmethod
    def _follow_preset(cls, value: Any) -> Any:
        """Put a preset's defaults under what is written down."""
        if not isinstance(value, dict):
            return value
        return {**PRESETS.get(str(value.get("preset")), {}), **value}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.challenge == "none" and self.approval != "manual":
            raise ValueError('challenge = "none" lets everybody in: it needs approval = "manual"')
        if (self.challenge == "static") != (self.challenge_file is not None):
            raise ValueError('challenge = "static" and challenge_file belong together')
        if self.authorization:
            self._check_rules()
        if "intune" in self.kinds:
            self._check_intune()
        if self.revocation_passphrase and not {"static", "webhook"}.isdisjoint(
            self.challenge_kinds
        ):
            raise ValueError(
                'revocation_passphrase = true does not go with challenge = "static": every device '
                "could revoke every other's certificate"
            )
        if self.preset == "intune" and self.is_approved:
            raise ValueError('preset = "intune" needs approval = "auto": Intune cannot wait')
        self._check_doors()
        if "rsa_bits" in self.overrules and self.rsa_bits[0] > self.rsa_bits[1]:
            raise ValueError("rsa_bits is the smallest and then the largest RSA key, in bits")
        return self

    def _check_doors(self) -> None:
        """Refuse a door whose challenges no rule judges.

        Raises:
            ValueError: there is one.
        """
        one_time = [one.pattern for one in self.rules if isinstance(one, OneTimeRule)]
        if self.has_ndes_page:
            check_shape(one_time, self.ndes_length)
        if self.jamf is not None and not one_time:
            raise ValueError("jamf hands out one-time challenges, and no rule judges these")

    def _check_rules(self) -> None:
        """Refuse rules that leave something open, and a list beside its short form.

        Raises:
            ValueError: they do.
        """
        fields = EndpointSettings.model_fields
        for name in SHORT_FORM:
            if getattr(self, name) != fields[name].default:
                raise ValueError(f"{name} does not go with authorization, which says it by rules")
        check(self.authorization)

    def _check_intune(self) -> None:
        """Refuse what does not go with a rule of kind `intune`.

        Raises:
            ValueError: something does not.
        """
        refused = {
            "reply_chain": "devices take the first certificate of a reply for theirs",
            "separate_keys": "Intune has judged the request of the device that signs it",
            "revocation_passphrase": "the challenge is Intune's",
        }
        for name, why in refused.items():
            if getattr(self, name):
                raise ValueError(f'{name} = true does not go with kind = "intune": {why}')

    @property
    def rules(self) -> tuple[RuleSettings, ...]:
        """Return the rules in force: as they are written, or what the settings of before mean."""
        if self.authorization:
            return self.authorization
        found: list[RuleSettings] = []
        if self.renewal:
            found.append(CertificateRule(kind="certificate"))
        if self.challenge == "one-time":
            found.append(OneTimeRule(kind="one-time", approval=self.approval))
        if self.challenge_file is not None:
            secret = SecretSettings(name="challenge_file", file=self.challenge_file)
            rule = StaticRule(kind="static", secrets=(secret,), approval=self.approval)
            found.append(rule)
        if self.approval == "manual":
            found.append(ApprovalRule(kind="approval"))
        return tuple(found)

    @property
    def has_ndes_page(self) -> bool:
        """Say whether the NDES page hands out challenges of this endpoint."""
        return self.ndes or self.mscep_admin

    @property
    def has_short_challenges(self) -> bool:
        """Say whether there are one-time challenges that could be guessed without a bound."""
        return self.has_ndes_page and self.ndes_length < _SAFE_LENGTH

    @property
    def renews(self) -> bool:
        """Say whether a current certificate entitles to the next one."""
        return self.renewal if not self.authorization else "certificate" in self.kinds

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of the rules in force."""
        return tuple(one.kind for one in self.rules)

    @property
    def challenge_kinds(self) -> tuple[str, ...]:
        """Return the kinds of challenges that are judged."""
        return tuple(one.kind for one in challenge_rules(self.rules))

    @property
    def pending_bounds(self) -> Mapping[Door, int]:
        """Return the most one-time challenges of each door that can be used at once."""
        found = [one for one in self.rules if isinstance(one, OneTimeRule)]
        return found[0].pending_bounds if found else {}

    @property
    def knows_devices(self) -> bool:
        """Say whether a rule looks at the list of devices."""
        return any(rule.looks_at for rule in self.rules)

    @property
    def is_approved(self) -> bool:
        """Say whether an operator approves requests, those with a challenge or those without."""
        return "approval" in self.kinds or any(
            one.approval == "manual" for one in challenge_rules(self.rules)
        )

    def changed(self, profile: ProfileSettings) -> ProfileSettings:
        """Return a profile with what the endpoint says otherwise."""
        said = {PROFILE_KEYS[name]: self._in_profile(name, profile) for name in self.overrules}
        values = profile.model_dump(exclude_unset=True)
        for key, value in said.items():
            table, _, last = key.rpartition(".")
            held = values.setdefault(table, {}) if table else values
            held[last] = value
        return ProfileSettings.model_validate(values, context={READY: True}) if said else profile

    @property
    def overrules(self) -> tuple[str, ...]:
        """Return the settings that say something else than the profile."""
        return tuple(name for name in PROFILE_KEYS if getattr(self, name) is not None)

    def _in_profile(self, name: str, profile: ProfileSettings) -> Any:
        """Return the value of a setting as profiles have it."""
        value = getattr(self, name)
        if name == "curves":
            return value | (profile.key.kinds & {"rsa"})
        return timedelta(days=value) if name.endswith("_days") else value
