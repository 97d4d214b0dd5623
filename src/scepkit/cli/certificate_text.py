"""A certificate as text, extension by extension, without what is drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ObjectIdentifier

from scepkit.errors import Malformed
from scepkit.protocol.algorithms import PSSPublicKey
from scepkit.protocol.asn1 import strings
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.extensions import Extension, purpose_name

_LONGEST = 64  # octets of a value that is shown in hex
_TEXTS = frozenset({0x0C, 0x13, 0x16})  # UTF8String, PrintableString, IA5String
_NAMES = {
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.17": "subjectAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.31": "cRLDistributionPoints",
    "2.5.29.32": "certificatePolicies",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.37": "extendedKeyUsage",
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
    "1.3.6.1.4.1.311.25.2": "1.3.6.1.4.1.311.25.2 (SID)",
}
_SID = "1.3.6.1.4.1.311.25.2"
_SID_START = b"S-1-"


def lines(certificate: Certificate) -> Iterator[str]:
    """Yield a certificate in lines; values of names are as they are, for a terminal to be escaped.

    Args:
        certificate: one that a CA of ours issues.
    """
    start, end = certificate.validity
    yield f"Subject:  {certificate.subject_name}"
    yield f"Issuer:   {certificate.issuer_name}"
    yield f"Validity: {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    yield f"Key:      {key(certificate.public_key)}"
    yield "Extensions:"
    for extension in certificate.extensions.all:
        critical = ", critical" if extension.critical else ""
        oid = "?" if extension.oid is None else extension.oid.dotted_string
        first, *more = _value(oid, extension, certificate)
        yield f"  {_NAMES.get(oid, oid)}{critical}: {first}".rstrip()
        yield from (f"    {line}" for line in more)


def key(public_key: object) -> str:
    """Return the kind and the size of a public key."""
    match public_key:
        case PSSPublicKey():
            return f"RSA for RSASSA-PSS alone, {public_key.key_size} bits"
        case rsa.RSAPublicKey():
            return f"RSA, {public_key.key_size} bits"
        case ec.EllipticCurvePublicKey():
            return f"EC, {public_key.curve.name}"
    return type(public_key).__name__.removesuffix("PublicKey")


def _value(oid: str, extension: Extension, certificate: Certificate) -> list[str]:
    read = _READERS.get(oid)
    if read is not None:
        try:
            return [*read(certificate)]
        except (Malformed, ValueError):
            pass
    return [_other(oid, extension.value or b"")]


def _usages(certificate: Certificate) -> Iterator[str]:
    yield ", ".join(sorted(certificate.extensions.key_usage or ()))


def _purposes(certificate: Certificate) -> Iterator[str]:
    yield ", ".join(map(purpose_name, certificate.extensions.extended_key_usage or ()))


def _names(certificate: Certificate) -> Iterator[str]:
    yield ""
    yield from map(str, certificate.alternative_names)


def _access(certificate: Certificate) -> Iterator[str]:
    found = certificate.x509().extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    yield ""
    names = {"1.3.6.1.5.5.7.48.1": "OCSP", "1.3.6.1.5.5.7.48.2": "caIssuers"}
    for one in found.value:
        oid = one.access_method.dotted_string
        yield f"{names.get(oid, oid)} {one.access_location.value}"


def _policies(certificate: Certificate) -> Iterator[str]:
    found = certificate.x509().extensions.get_extension_for_class(x509.CertificatePolicies)
    yield ""
    for one in found.value:
        oid: ObjectIdentifier = one.policy_identifier
        places = [text for text in one.policy_qualifiers or () if isinstance(text, str)]
        yield " ".join([oid.dotted_string, *places])


def _other(oid: str, value: bytes) -> str:
    """Return a value that has no reader here: a text, or octets in hex."""
    if oid == _SID and _SID_START in value:
        return value[value.index(_SID_START) :].decode("ascii", "replace")
    if value[:1] and value[0] in _TEXTS and len(value) > 1 and len(value) - 2 == value[1]:
        try:
            return strings.decode(value[0], value[2:])
        except strings.Undecodable:
            pass
    more = "…" if len(value) > _LONGEST else ""
    return value[:_LONGEST].hex(" ") + more


_READERS: dict[str, Callable[[Certificate], Iterable[str]]] = {
    "2.5.29.14": lambda _: ["SHA-1 of the key"],
    "2.5.29.15": _usages,
    "2.5.29.17": _names,
    "2.5.29.19": lambda one: ["CA:TRUE" if one.is_ca else "CA:FALSE"],
    "2.5.29.31": lambda one: one.extensions.crl_places or [""],
    "2.5.29.32": _policies,
    "2.5.29.35": lambda _: ["the CA's"],
    "2.5.29.37": _purposes,
    "1.3.6.1.5.5.7.1.1": _access,
}
