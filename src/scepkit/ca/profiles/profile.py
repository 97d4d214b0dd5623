"""The profile of one kind of certificate, and the extensions that a request is granted by it.

Only keyUsage, extendedKeyUsage and subjectAltName of a request are ever looked at. All else that
it asks for (basicConstraints, nameConstraints, policies, ...) has no way into a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepkit.ca.extensions import key_usage
from scepkit.ca.identity import Identity, sid_extension
from scepkit.ca.subject_rules import allowed_names
from scepkit.errors import WELL_FORMED, BadRequest, Malformed, SettingsError
from scepkit.protocol.algorithms import EC_KEY, RSA_KEY, PSSPublicKey
from scepkit.protocol.asn1 import der
from scepkit.protocol.extensions import SUBJECT_ALTERNATIVE_NAME, encoded, extension

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from scepkit.ca.profiles.further import FurtherExtensions
    from scepkit.ca.profiles.key_rules import KeyRules
    from scepkit.ca.profiles.names import NameRules
    from scepkit.ca.profiles.subject import SubjectRules
    from scepkit.ca.profiles.templates import Values
    from scepkit.protocol.algorithms import PublicKey
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.protocol.distinguished_name import Name
    from scepkit.protocol.extensions import Extensions
    from scepkit.protocol.general_name import GeneralName

BACKDATE = timedelta(minutes=5)

KEY_USAGES = frozenset({"digital_signature", "key_encipherment", "key_agreement"})
"""The key usages that a profile may allow; the names are those of `x509.KeyUsage`."""

SAN_TYPES = frozenset({"dns", "ip", "email", "uri", "upn"})
"""Kinds of subjectAltName that can be allowed; `upn` is Microsoft's otherName
1.3.6.1.4.1.311.20.2.3, and only where `Profile.identity` is."""

NAME_KINDS = SAN_TYPES | {"dir"}
"""All kinds that can be allowed; `dir` is a directoryName."""

_NOT_OF_RSA = frozenset({"key_agreement"})
_NOT_OF_EC = frozenset({"key_encipherment"})

ED25519 = "ed25519"

CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1", ED25519})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of certificate: for how long, for which keys, names and purposes.

    A request can only choose inside a profile, never widen it.

    Raises:
        SettingsError: a value that no certificate could follow.
    """

    name: str = "device"
    """The name of the profile, for people."""

    validity: timedelta = timedelta(days=365)
    """The validity of a certificate from now on; cut where the CA's own validity ends."""

    not_after: datetime | None = None
    """The moment, aware, that no certificate outlives; None: there is none."""

    backdate: timedelta = BACKDATE
    """The time before now at which the validity begins: devices' clocks are often late."""

    rsa_bits: tuple[int, int] | None = (2048, 8192)
    """The smallest and the largest RSA modulus, in bits; None: no RSA. The upper bound is for those
    who must verify: a 16384-bit key costs every relying party milliseconds a time."""

    curves: frozenset[str] = CURVES
    """The elliptic curves of keys, by the names of `ec.EllipticCurve`, and `ed25519` (RFC 8410);
    empty: RSA alone."""

    key_usages: frozenset[str] = KEY_USAGES
    """The most that keyUsage may assert; a request may ask for less (RFC 5280 section 4.2.1.3).
    `key_encipherment` is for RSA keys only, as the others cannot do it (RFC 5480 section 3).
    `key_agreement` is for EC keys only, and only where the request asks for it: it lets the answer
    to a renewal be encrypted to the key."""

    default_eku: tuple[ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    """The purposes of a certificate whose request names none; empty: no extendedKeyUsage."""

    allowed_eku: frozenset[ObjectIdentifier] = frozenset(
        {
            ExtendedKeyUsageOID.CLIENT_AUTH,
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.EMAIL_PROTECTION,
            ExtendedKeyUsageOID.IPSEC_IKE,
            ObjectIdentifier("1.3.6.1.5.5.8.2.2"),  # iKEIntermediate: Cisco, Apple, strongSwan
        }
    )
    """The purposes that a request may name beside `default_eku` (RFC 5280 section 4.2.1.12). Not
    among them by default: code, time-stamp and OCSP signing and anyExtendedKeyUsage, which reach
    beyond one device."""

    san_types: frozenset[str] = SAN_TYPES
    """The kinds of subjectAltName that are taken over, of `NAME_KINDS`; others are left out."""

    subject: SubjectRules | None = None
    """The rules on the subject; None: there are none."""

    names: NameRules | None = None
    """The rules on alternative names; None: there are none."""

    keys: KeyRules | None = None
    """The rules on keys beside kind and size; None: there are none."""

    further: FurtherExtensions | None = None
    """Further extensions; None: there are none."""

    shortens: bool = False
    """True lets a request shorten its validity, as Windows asks for it."""

    identity: bool = False
    """True takes names and purposes over by which somebody logs in to a Windows domain, where
    somebody vouches for them (see `identity`); False leaves them out."""

    def __post_init__(self) -> None:
        if self.validity <= timedelta():
            raise SettingsError("a profile's validity must be longer than nothing")
        if self.backdate < timedelta():
            raise SettingsError("a profile's backdate cannot be negative")
        if not self.key_usages:
            raise SettingsError("a profile must allow at least one key usage")
        _check_known("key usage", self.key_usages, KEY_USAGES)
        _check_known("kind of subjectAltName", self.san_types, NAME_KINDS)
        _check_known("curve", self.curves, CURVES)

    @property
    def makes(self) -> bool:
        """Say whether a template makes something of a name."""
        subject, names = self.subject, self.names
        return (subject is not None and subject.makes) or (names is not None and names.makes)

    def named(self, csr: CertificationRequest, values: Values | None) -> CertificationRequest:
        """Return a request with the names that its certificate gets; the same where it has them.

        Args:
            csr: the request, of somebody who is entitled to a certificate.
            values: what templates may name; None where there are none, or where they have made
                their names before.

        Raises:
            BadRequest: its names do not follow the rules; the text names attribute and rule.
        """
        rules, names = self.subject, self.names
        if rules is None and names is None:
            return csr
        subject = csr.subject if rules is None else rules.certified(csr.subject, values)
        asked = csr.extensions.subject_alternative_names
        granted = asked if names is None else names.certified(asked, subject, values)
        if subject is csr.subject and granted is asked:
            return csr
        return csr.named(subject, granted)

    @property
    def needs_service(self) -> bool:
        """Say whether a template makes something of a service's answer."""
        return self.without_service is not self

    @property
    def without_service(self) -> Profile:
        """Return the profile as far as it needs no answer of a service; itself if that is all."""
        subject = None if self.subject is None else self.subject.without_service
        names = None if self.names is None else self.names.without_service
        if subject is self.subject and names is self.names:
            return self
        return replace(self, subject=subject, names=names)

    def of_request(self, subject: Name) -> Name:
        """Return the part of a subject that a request has, and the profile does not make.

        Raises:
            Malformed: it cannot be read.
        """
        return subject if self.subject is None else self.subject.of_request(subject)

    def refusal(self, what: str, key: str, attribute: str = "") -> BadRequest:
        """Return the refusal of a request that does not follow the profile.

        Args:
            what: the attribute, and what is wrong with it; no value of the request's.
            key: the profile's key that it does not follow.
            attribute: as in `FailInfoError`.
        """
        said = f"{what} ({key} of the profile {self.name!r})"
        return BadRequest(said, rule=key, attribute=attribute)


def _check_known(what: str, asked: frozenset[str], known: frozenset[str]) -> None:
    for name in sorted(asked - known):
        raise SettingsError(
            f"a profile cannot allow the {what} {name!r}", hint=f"one of {', '.join(sorted(known))}"
        )


def check_public_key(key: PublicKeyTypes | PSSPublicKey, profile: Profile) -> PublicKey:
    """Tell a public key that the profile allows from all others.

    Raises:
        BadRequest: none of RSA, EC and Ed25519, or a size or a curve that the profile does not
            allow.
    """
    if isinstance(key, (RSA_KEY, PSSPublicKey)):
        if profile.rsa_bits is None:
            raise profile.refusal("an RSA key is not allowed here", "key.kinds", "key")
        low, high = profile.rsa_bits
        if not low <= key.key_size <= high:
            size = f"an RSA key of {key.key_size} bits, not {low} to {high}"
            raise profile.refusal(size, "key.rsa_bits", "key")
        return key
    if isinstance(key, EC_KEY):
        if key.curve.name not in profile.curves:
            curve = f"an EC key on the curve {key.curve.name} is not allowed here"
            raise profile.refusal(curve, "key.kinds", "key")
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        if ED25519 not in profile.curves:
            raise profile.refusal("an Ed25519 key is not allowed here", "key.kinds", "key")
        return key
    raise BadRequest(
        "the public key is none of RSA, EC and Ed25519", rule="key.kinds", attribute="key"
    )


def from_request(
    requested: Extensions,
    public_key: PublicKey,
    profile: Profile,
    subject: Name,
    identity: Identity = Identity.LEFT_OUT,
) -> tuple[tuple[bytes, ...], Sequence[GeneralName]]:
    """Return the extensions that depend on the request, each DER, and the names among them.

    Args:
        requested: what the request asks for.
        public_key: the key to be certified.
        profile: what may be granted.
        subject: the certificate's.
        identity: the treatment of names and purposes by which somebody logs in.

    Raises:
        BadRequest: the request leaves no usage, no purpose or no name that the profile allows,
            or asks in a form that cannot be read.
    """
    try:
        asked_usage, asked_eku = requested.key_usage, requested.extended_key_usage
        names = requested.subject_alternative_names
    except Malformed as error:
        raise BadRequest(
            f"the extension request cannot be read: {error.message}",
            rule=WELL_FORMED,
            attribute="extensionRequest",
        ) from error
    usage = _key_usage(asked_usage, profile.key_usages, _impossible(public_key))
    if not usage:
        what = "none of the requested key usages is allowed here for such a key"
        raise profile.refusal(what, "key_usages", "keyUsage")
    purposes = _extended_key_usage(asked_eku, profile, identity)
    allowed = allowed_names(names, subject, profile.san_types, identity)
    further = () if profile.further is None else profile.further.of(requested)
    if not allowed:
        if subject.is_empty:
            what = "the request has neither a subject nor a subjectAltName allowed here"
            raise profile.refusal(what, "names.kinds", "subjectAltName")
        return (usage, purposes, *further), ()
    # RFC 5280 section 4.2.1.6: critical if the subject is empty; else SHOULD be non-critical.
    value = der.sequence(*[name.der for name in allowed])
    alternative = extension(SUBJECT_ALTERNATIVE_NAME, value, critical=subject.is_empty)
    if profile.identity:
        further = (*further, sid_extension(allowed))
    return (usage, purposes, alternative, *further), allowed


def check_key(key: PublicKey, spki: bytes, profile: Profile) -> None:
    """Refuse a key that no certificate may be for.

    Args:
        key: the key.
        spki: its canonical SubjectPublicKeyInfo, DER.
        profile: what may be granted.

    Raises:
        BadRequest: its kind or size is not allowed, or it is blocked or weak.
    """
    check_public_key(key, profile)
    if profile.keys is not None:
        profile.keys.check(key, spki)


def check_names(requested: Extensions, subject: Name, profile: Profile, identity: Identity) -> None:
    """Refuse names that no certificate may have, and a request without any.

    Args and exceptions are those of `from_request`.
    """
    names = requested.subject_alternative_names
    if subject.is_empty and not names:
        raise BadRequest(
            "the request has neither a subject nor a subjectAltName",
            rule=WELL_FORMED,
            attribute="subject",
        )
    allowed_names(names, subject, profile.san_types, identity)


# A profile allows three usages, and a request asks for some of nine.
@lru_cache(maxsize=512)
def _key_usage(
    asked: frozenset[str] | None, allowed: frozenset[str], impossible: frozenset[str]
) -> bytes:
    """Return keyUsage as an extension, DER; empty where none is left.

    Args:
        asked: the usages that a request names; None if it names none.
        allowed: those of the profile.
        impossible: those that a key of this kind must not have.
    """
    usages = allowed - impossible
    if asked is None:
        # What only some want, so that they can be answered at a renewal, others are not given.
        usages -= {"key_agreement"}
    else:
        usages &= asked
    # RFC 5280 section 4.2.1.3: at least one bit MUST be set. To set one that was not asked for
    # would give the device something it did not want.
    return encoded(key_usage(usages), critical=True) if usages else b""


def _impossible(public_key: PublicKey) -> frozenset[str]:
    """Name the usages that a kind of key must not have (RFC 5480 section 3, RFC 8410 section 5)."""
    if isinstance(public_key, RSA_KEY):
        return _NOT_OF_RSA
    if isinstance(public_key, EC_KEY):
        return _NOT_OF_EC
    return _NOT_OF_RSA | _NOT_OF_EC


def _extended_key_usage(
    asked: tuple[ObjectIdentifier, ...] | None, profile: Profile, identity: Identity
) -> bytes:
    """Return extKeyUsage as an extension, DER; empty where the profile names no purpose."""
    if asked is None:
        allowed = profile.default_eku
        if not allowed:
            return b""
    else:
        # What a request gets that names none it may name too.
        most, least = profile.allowed_eku, profile.default_eku
        allowed = tuple([oid for oid in dict.fromkeys(asked) if oid in most or oid in least])
    granted = _purposes(allowed, identity)
    if not granted:
        # Without the extension it would be good for all of them.
        what = "none of the requested extended key usages is allowed here"
        raise profile.refusal(what, "allowed_eku", "extKeyUsage")
    return granted


# Only what profiles allow is remembered, and not whatever a request names.
@lru_cache(maxsize=64)
def _purposes(allowed: tuple[ObjectIdentifier, ...], identity: Identity) -> bytes:
    purposes = identity.purposes(allowed)
    return encoded(x509.ExtendedKeyUsage(purposes)) if purposes else b""
