"""Writing CMS SignedData (RFC 5652 section 5), as strictly as `cms` reads it leniently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509 import ObjectIdentifier

from scepkit.protocol import signatures
from scepkit.protocol.algorithms import RSA_ENCRYPTION, Digest, PrivateKey
from scepkit.protocol.asn1 import der
from scepkit.protocol.certificate import Certificate

DATA = ObjectIdentifier("1.2.840.113549.1.7.1")
SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.2")
CONTENT_TYPE = ObjectIdentifier("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = ObjectIdentifier("1.2.840.113549.1.9.4")

_NOTHING = der.set_of()
_CONTENT_TYPE_IS_DATA = der.attribute(CONTENT_TYPE, der.oid(DATA))


def sign(
    content: bytes | None,
    attributes: Iterable[tuple[ObjectIdentifier, bytes]],
    *,
    key: PrivateKey,
    certificate: Certificate,
    chosen: Digest,
    extra_certificates: Sequence[bytes] = (),
) -> bytes:
    """Return SignedData over id-data with one signature (RFC 5652 section 5).

    Args:
        content: what is signed; None leaves eContent out.
        attributes: signed attributes beside contentType and messageDigest: OID, DER of the value.
        key: the signer's private key.
        certificate: the signer's certificate; it goes into the message.
        chosen: the digest, unless the key has no choice; see `signatures.signing_digest`.
        extra_certificates: DER of further certificates for the message.
    """
    chosen = signatures.signing_digest(key, chosen)
    digest_algorithm = _digest_algorithm(key, chosen)
    digest_of_content = der.octet_string(chosen.of(content or b""))
    encoded = sorted(
        [
            _CONTENT_TYPE_IS_DATA,
            der.attribute(MESSAGE_DIGEST, digest_of_content),
            *(der.attribute(oid, value) for oid, value in attributes),
        ]
    )
    signer = der.sequence(
        der.INTEGER_1,
        certificate.issuer_and_serial_number,
        digest_algorithm,
        der.tagged(0, *encoded),
        _signature_algorithm(key, chosen),
        der.octet_string(signatures.sign(key, der.element(der.SET, *encoded), chosen)),
    )
    return _signed_data(
        digest_algorithms=der.set_of(digest_algorithm),
        content=content,
        certificates=(certificate.der, *extra_certificates),
        signer_infos=der.set_of(signer),
    )


def certs_only(certificates: Sequence[bytes] = (), crls: Sequence[bytes] = ()) -> bytes:
    """Return a degenerate certs-only SignedData (RFC 8894 section 3.4): no content, no signer.

    The order is kept, so that the leaf stays first, which DER's SET order would not.
    """
    return _signed_data(certificates=certificates, crls=crls)


def _signed_data(
    *,
    digest_algorithms: bytes = _NOTHING,
    content: bytes | None = None,
    certificates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    signer_infos: bytes = _NOTHING,
) -> bytes:
    """Write the ContentInfo of a SignedData over id-data (RFC 5652 section 5.1)."""
    e_content = () if content is None else (der.tagged(0, der.octet_string(content)),)
    signed = der.sequence(
        der.INTEGER_1,
        digest_algorithms,
        der.sequence(der.oid(DATA), *e_content),
        *((der.tagged(0, *certificates),) if certificates else ()),
        *((der.tagged(1, *crls),) if crls else ()),
        signer_infos,
    )
    return der.sequence(der.oid(SIGNED_DATA), der.tagged(0, signed))


def _digest_algorithm(key: PrivateKey, chosen: Digest) -> bytes:
    """Write NULL for old readers; Ed25519 has only new ones, which may insist on none."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return der.algorithm(chosen.oid, b"")
    return der.algorithm(chosen.oid)


def _signature_algorithm(key: PrivateKey, chosen: Digest) -> bytes:
    """Say rsaEncryption for RSA: old clients refuse the OIDs that name a digest (P-06)."""
    if isinstance(key, rsa.RSAPrivateKey):
        return der.algorithm(RSA_ENCRYPTION)
    return signatures.signature_algorithm(key, chosen)
