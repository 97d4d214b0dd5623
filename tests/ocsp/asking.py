"""OCSP requests of every kind, put together element by element or by the library."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

import der

OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
NONCE = "1.3.6.1.5.5.7.48.1.2"


def library(certificate, issuer, digest=None, nonce=None):
    """Return the request that the library makes."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        certificate, issuer, digest or hashes.SHA256()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def cert_id(issuer, serial, digest=None):
    """Return the CertID of a serial number."""
    digest = digest or hashes.SHA256()
    return raw_cert_id(OIDS[digest.name], *names(issuer, digest), serial)


def names(issuer, digest):
    """Return the two hashes that name an issuer."""
    made = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, digest).build()
    return made.issuer_name_hash, made.issuer_key_hash


def raw_cert_id(oid, name_hash, key_hash, serial, parameters=der.NULL):
    return der.seq(
        der.seq(der.oid(oid), parameters),
        der.octets(name_hash),
        der.octets(key_hash),
        der.integer(serial),
    )


def request(*cert_ids, extensions=(), single_extensions=(), version=b"", more=b""):
    """Return an OCSPRequest for these CertIDs."""
    single = der.tlv(0xA0, der.seq(*single_extensions)) if single_extensions else b""
    listed = der.seq(*(der.seq(one, single) for one in cert_ids))
    asked = der.tlv(0xA2, der.seq(*extensions)) if extensions else b""
    return der.seq(der.seq(version, listed, asked), more)


def extension(oid, value, *, critical=False):
    flag = der.tlv(0x01, b"\xff") if critical else b""
    return der.seq(der.oid(oid), flag, der.octets(value))


def nonce(octets):
    return extension(NONCE, der.octets(octets))


def verified(response, issuer):
    """Read a response of one certificate, and fail unless the CA or its delegate signed it."""
    found = ocsp.load_der_ocsp_response(response)
    signer = issuer
    if found.certificates:
        (signer,) = found.certificates
        signer.verify_directly_issued_by(issuer)
        purposes = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert x509.ExtendedKeyUsageOID.OCSP_SIGNING in purposes
    how = (
        (padding.PKCS1v15(), found.signature_hash_algorithm)
        if isinstance(signer.public_key(), rsa.RSAPublicKey)
        else (ECDSA(found.signature_hash_algorithm),)
    )
    signer.public_key().verify(found.signature, found.tbs_response_bytes, *how)
    return found
