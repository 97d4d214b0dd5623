"""The extensions of a certificate: what the profile says, narrowed by what the request asks.

Only keyUsage, extendedKeyUsage and subjectAltName of a request are ever looked at. All else that
it asks for (basicConstraints, nameConstraints, policies, ...) has no way into a certificate.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepkit.ca.names import allowed_names
from scepkit.ca.profile import ED25519
from scepkit.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from scepkit.ca.keys import PublicKey
    from scepkit.ca.profile import Profile

_E = TypeVar("_E", bound=x509.ExtensionType)


def check_public_key(key: PublicKeyTypes, profile: Profile) -> PublicKey:
    """Tell a public key that the profile allows from all others.

    Raises:
        BadRequest: none of RSA, EC and Ed25519, or a size or a curve that the profile does not
            allow.
    """
    if isinstance(key, rsa.RSAPublicKey):
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
        key_agreement=False,
        key_cert_sign="key_cert_sign" in bits,
        crl_sign="crl_sign" in bits,
        encipher_only=False,
        decipher_only=False,
    )


def encoded(
    value: x509.ExtensionType, *, critical: bool
) -> x509.Extension[x509.UnrecognizedExtension]:
    """Make an extension that is DER already, for what is the same in many certificates."""
    der = x509.UnrecognizedExtension(value.oid, value.public_bytes())
    return x509.Extension(value.oid, critical, der)


def authority_key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return what names this CA's key in all that it signs."""
    # RFC 5280 section 4.2.1.1: it must be the very value in the CA's subjectKeyIdentifier.
    try:
        ski = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        ski = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)


def from_request(
    requested: x509.Extensions, public_key: PublicKey, profile: Profile, *, subject_empty: bool
) -> Iterator[x509.Extension[x509.ExtensionType]]:
    """Yield the extensions that depend on the request.

    Raises:
        BadRequest: the request leaves no usage, no purpose or no name that the profile allows,
            or asks in a form that cannot be read.
    """
    yield _encoded_key_usage(_key_usages(requested, public_key, profile))
    eku = _extended_key_usage(requested, profile)
    if eku:
        yield _encoded_extended_key_usage(eku)
    names = allowed_names(_find(requested, x509.SubjectAlternativeName) or (), profile.san_types)
    if names:
        # RFC 5280 section 4.2.1.6: critical if the subject is empty; else SHOULD be non-critical.
        san = x509.SubjectAlternativeName(names)
        yield x509.Extension(san.oid, subject_empty, san)
    elif subject_empty:
        raise BadRequest("the request has neither a subject nor a subjectAltName allowed here")
    ski = x509.SubjectKeyIdentifier.from_public_key(public_key)
    yield x509.Extension(ski.oid, False, ski)


# A profile allows a few usages and purposes, so there are only so many of these extensions.
@lru_cache(maxsize=64)
def _encoded_key_usage(asserted: frozenset[str]) -> x509.Extension[x509.ExtensionType]:
    return encoded(key_usage(asserted), critical=True)


@lru_cache(maxsize=64)
def _encoded_extended_key_usage(
    purposes: tuple[x509.ObjectIdentifier, ...],
) -> x509.Extension[x509.ExtensionType]:
    return encoded(x509.ExtendedKeyUsage(purposes), critical=False)


def _key_usages(
    requested: x509.Extensions, public_key: PublicKey, profile: Profile
) -> frozenset[str]:
    usages = profile.key_usages
    if not isinstance(public_key, rsa.RSAPublicKey):
        # RFC 5480 section 3 and RFC 8410 section 5: keyEncipherment MUST NOT be in the
        # certificate of an EC or Ed25519 key.
        usages -= {"key_encipherment"}
    asked = _find(requested, x509.KeyUsage)
    if asked is not None:
        usages = frozenset(name for name in usages if getattr(asked, name))
    if not usages:
        # RFC 5280 section 4.2.1.3: at least one bit MUST be set. To set one that was not asked
        # for would give the device something it did not want.
        raise BadRequest("none of the requested key usages is allowed here for such a key")
    return usages


def _extended_key_usage(
    requested: x509.Extensions, profile: Profile
) -> tuple[x509.ObjectIdentifier, ...]:
    asked = _find(requested, x509.ExtendedKeyUsage)
    if asked is None:
        return profile.default_eku
    allowed = tuple(oid for oid in dict.fromkeys(asked) if oid in profile.allowed_eku)
    if not allowed:
        raise BadRequest("none of the requested extended key usages is allowed here")
    return allowed


def _find(requested: x509.Extensions, kind: type[_E]) -> _E | None:
    found = [extension.value for extension in requested if extension.oid == kind.oid]
    if not found:
        return None
    if len(found) > 1:
        raise BadRequest(f"the request has the extension {kind.oid.dotted_string} twice")
    value = found[0]
    if not isinstance(value, kind):
        # An UnrecognizedExtension under this OID: to leave it out would pass over a wish unseen.
        raise BadRequest(f"the requested extension {kind.oid.dotted_string} cannot be read")
    return value
