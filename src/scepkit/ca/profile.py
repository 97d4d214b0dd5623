"""The profile of one kind of certificate: keys, names, purposes, validity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from scepkit.errors import SettingsError

BACKDATE = timedelta(minutes=5)

KEY_USAGES = frozenset({"digital_signature", "key_encipherment", "key_agreement"})
"""The key usages that a profile may allow; the names are those of `x509.KeyUsage`."""

SAN_TYPES = frozenset({"dns", "ip", "email", "uri", "upn"})
"""Kinds of subjectAltName that can be allowed; `upn` is Microsoft's otherName
1.3.6.1.4.1.311.20.2.3."""

ED25519 = "ed25519"

CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1", ED25519})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of certificate: for how long, for which keys, names and purposes.

    A request can only choose inside a profile, never widen it.

    Raises:
        SettingsError: a value that no certificate could follow.
    """

    validity: timedelta = timedelta(days=365)
    """The validity of a certificate from now on; cut where the CA's own validity ends."""

    backdate: timedelta = BACKDATE
    """The time before now at which the validity begins: devices' clocks are often late."""

    rsa_bits: tuple[int, int] = (2048, 8192)
    """The smallest and the largest RSA modulus, in bits. The upper bound is for those who must
    verify: a 16384-bit key costs every relying party milliseconds a time."""

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
            ExtendedKeyUsageOID.SMARTCARD_LOGON,
        }
    )
    """The purposes that a request may name beside `default_eku` (RFC 5280 section 4.2.1.12). Not
    among them by default: code, time-stamp and OCSP signing and anyExtendedKeyUsage, which reach
    beyond one device."""

    san_types: frozenset[str] = SAN_TYPES
    """The kinds of subjectAltName that are taken over, of `SAN_TYPES`; others are left out."""

    def __post_init__(self) -> None:
        if self.validity <= timedelta():
            raise SettingsError("a profile's validity must be longer than nothing")
        if self.backdate < timedelta():
            raise SettingsError("a profile's backdate cannot be negative")
        if not self.key_usages:
            raise SettingsError("a profile must allow at least one key usage")
        _check_known("key usage", self.key_usages, KEY_USAGES)
        _check_known("kind of subjectAltName", self.san_types, SAN_TYPES)
        _check_known("curve", self.curves, CURVES)


def _check_known(what: str, asked: frozenset[str], known: frozenset[str]) -> None:
    for name in sorted(asked - known):
        raise SettingsError(
            f"a profile cannot allow the {what} {name!r}", hint=f"one of {', '.join(sorted(known))}"
        )
