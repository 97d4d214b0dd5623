"""The extensions of a certificate: those of the profile, narrowed by the request.

Only keyUsage, extendedKeyUsage and subjectAltName of a request are ever looked at. All else that
it asks for (basicConstraints, nameConstraints, policies, ...) has no way into a certificate.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepkit.ca.profile import ED25519
from scepkit.ca.subject_rules import allowed_names
from scepkit.errors import BadRequest, Malformed
from scepkit.protocol.algorithms import PSSPublicKey
from scepkit.protocol.asn1 import der
from scepkit.protocol.extensions import SUBJECT_ALTERNATIVE_NAME, encoded, extension

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from scepkit.ca.profile import Profile
    from scepkit.protocol.algorithms import PublicKey
    from scepkit.protocol.distinguished_name import Name
    from scepkit.protocol.extensions import Extensions


def check_public_key(key: PublicKeyTypes | PSSPublicKey, profile: Profile) -> PublicKey:
    """Tell a public key that the profile allows from all others.

    Raises:
        BadRequest: none of RSA, EC and Ed25519, or a size or a curve that the profile does not
            allow.
    """
    if isinstance(key, rsa.RSAPublicKey | PSSPublicKey):
        low, high = profile.rsa_bits
        if not low <= key.key_size <= high:
            raise BadRequest(f"an RSA key of {key.key_size} bits, not {low} to {high}")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in profile.curves:
            raise BadRequest(f"an EC key on the curve {key.curve.name} is not allowed here")
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        if ED25519 not in profile.curves:
            raise BadRequest("an Ed25519 key is not allowed here")
        return key
    raise BadRequest("the public key is none of RSA, EC and Ed25519")


def key_usage(asserted: Iterable[str]) -> x509.KeyUsage:
    """Build a keyUsage from the names of the bits that are set, as `x509.KeyUsage` spells them."""
    bits = frozenset(asserted)
    return x509.KeyUsage(
        digital_signature="digital_signature" in bits,
        content_commitment=False,
        key_encipherment="key_encipherment" in bits,
        data_encipherment=False,
        key_agreement="key_agreement" in bits,
        key_cert_sign="key_cert_sign" in bits,
        crl_sign="crl_sign" in bits,
        encipher_only=False,
        decipher_only=False,
    )


def authority_key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the extension that names this CA's key in all that it signs."""
    # RFC 5280 section 4.2.1.1: it must be the very value in the CA's subjectKeyIdentifier.
    try:
        ski = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        ski = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)


def from_request(
    requested: Extensions, public_key: PublicKey, profile: Profile, subject: Name
) -> Iterator[bytes]:
    """Yield the extensions that depend on the request, DER.

    Args:
        requested: what the request asks for.
        public_key: the key to be certified.
        profile: what may be granted.
        subject: the certificate's.

    Raises:
        BadRequest: the request leaves no usage, no purpose or no name that the profile allows,
            or asks in a form that cannot be read.
    """
    try:
        asked_usage, asked_eku = requested.key_usage(), requested.extended_key_usage()
        names = requested.subject_alternative_names()
    except Malformed as error:
        raise BadRequest(f"the extension request cannot be read: {error.message}") from error
    yield _encoded_key_usage(_key_usages(asked_usage, public_key, profile))
    eku = _extended_key_usage(asked_eku, profile)
    if eku:
        yield _encoded_extended_key_usage(eku)
    allowed = allowed_names(names, subject, profile.san_types)
    if allowed:
        # RFC 5280 section 4.2.1.6: critical if the subject is empty; else SHOULD be non-critical.
        value = der.sequence(*(name.der for name in allowed))
        yield extension(SUBJECT_ALTERNATIVE_NAME, value, critical=subject.is_empty)
    elif subject.is_empty:
        raise BadRequest("the request has neither a subject nor a subjectAltName allowed here")
    numbers = public_key.rsa if isinstance(public_key, PSSPublicKey) else public_key
    yield encoded(x509.SubjectKeyIdentifier.from_public_key(numbers))


# A profile allows a few usages and purposes, so there are only so many of these extensions.
@lru_cache(maxsize=64)
def _encoded_key_usage(asserted: frozenset[str]) -> bytes:
    return encoded(key_usage(asserted), critical=True)


@lru_cache(maxsize=64)
def _encoded_extended_key_usage(purposes: tuple[x509.ObjectIdentifier, ...]) -> bytes:
    return encoded(x509.ExtendedKeyUsage(purposes))


def _key_usages(
    asked: frozenset[str] | None, public_key: PublicKey, profile: Profile
) -> frozenset[str]:
    usages = profile.key_usages - _impossible(public_key)
    if asked is None:
        # What only some want, so that they can be answered at a renewal, others are not given.
        usages -= {"key_agreement"}
    else:
        usages &= asked
    if not usages:
        # RFC 5280 section 4.2.1.3: at least one bit MUST be set. To set one that was not asked
        # for would give the device something it did not want.
        raise BadRequest("none of the requested key usages is allowed here for such a key")
    return usages


def _impossible(public_key: PublicKey) -> frozenset[str]:
    """Name the usages that a kind of key must not have (RFC 5480 section 3, RFC 8410 section 5)."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return frozenset({"key_agreement"})
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return frozenset({"key_encipherment"})
    return frozenset({"key_agreement", "key_encipherment"})


def _extended_key_usage(
    asked: tuple[x509.ObjectIdentifier, ...] | None, profile: Profile
) -> tuple[x509.ObjectIdentifier, ...]:
    if asked is None:
        return profile.default_eku
    # What a request gets that names none it may name too.
    granted = profile.allowed_eku.union(profile.default_eku)
    allowed = tuple(oid for oid in dict.fromkeys(asked) if oid in granted)
    if not allowed:
        raise BadRequest("none of the requested extended key usages is allowed here")
    return allowed
