"""Keys and certificates of everybody in the tests: a CA, its RA, devices, strangers.

Making an RSA key is slow, so every key is made once a session and known by a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SHA256 = hashes.SHA256()

_USAGES = [
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
]


def rsa_key(name: str = "device", bits: int = 2048) -> rsa.RSAPrivateKey:
    return _rsa_key(name, bits)


@cache
def _rsa_key(name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}


def ec_key(name: str = "device", curve: str = "p256") -> ec.EllipticCurvePrivateKey:
    return _ec_key(name, curve)


@cache
def _ec_key(name: str, curve: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(CURVES[curve])


def ed25519_key(name: str = "device") -> ed25519.Ed25519PrivateKey:
    return _ed25519_key(name)


@cache
def _ed25519_key(name: str) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def key_of(kind: str, name: str = "device"):
    """Return a key by the kind's name: rsa, ed25519, or a curve."""
    if kind == "rsa":
        return rsa_key(name)
    return ed25519_key(name) if kind == "ed25519" else ec_key(name, kind)


def spki(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def usage(*bits: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{bit: bit in bits for bit in _USAGES})


@dataclass(frozen=True)
class Holder:
    """Somebody with a private key and a certificate for it."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    x509: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.x509.public_bytes(Encoding.DER)

    @property
    def certificate(self) -> Certificate:
        return Certificate.read(self.der)

    @property
    def credential(self) -> Credential:
        return Credential(self.key, self.certificate)


def certify(
    subject: str | x509.Name,
    key,
    issuer: Holder | None = None,
    *,
    ca: bool = False,
    path_length: int | None = None,
    key_usage: x509.KeyUsage | None = None,
    purposes: Sequence[x509.ObjectIdentifier] = (),
    more: Sequence[x509.Extension] = (),
    serial: int | None = None,
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + 365 * DAY,
    key_identifier: bool = False,
    issuer_name: x509.Name | None = None,
    digest: hashes.HashAlgorithm | None = None,
) -> Holder:
    """Make a certificate; self-signed without an issuer."""
    subject = name(subject) if isinstance(subject, str) else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name or (issuer.x509.subject if issuer else subject))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if key_usage:
        builder = builder.add_extension(key_usage, critical=True)
    for one in more:
        builder = builder.add_extension(one.value, critical=one.critical)
    if key_identifier:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    signing = issuer.key if issuer else key
    if isinstance(signing, ed25519.Ed25519PrivateKey):
        return Holder(key, builder.sign(signing, None))
    return Holder(key, builder.sign(signing, digest or hashes.SHA256()))


@cache
def ca() -> Holder:
    """Return the CA."""
    return certify(
        "Test CA",
        rsa_key("ca"),
        ca=True,
        key_usage=usage("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign"),
        key_identifier=True,
    )


@cache
def ra() -> Holder:
    """Return the RA of the CA: it opens requests and signs replies."""
    return certify(
        "Test RA",
        rsa_key("ra"),
        ca(),
        key_usage=usage("digital_signature", "key_encipherment"),
        key_identifier=True,
    )


def device(which: str = "device") -> Holder:
    """Return a device with the certificate that it made for itself."""
    return _device(which)


@cache
def _device(which: str) -> Holder:
    return certify(which, rsa_key(which), key_usage=usage("digital_signature", "key_encipherment"))


def customer(which: str = "customer") -> Holder:
    """Return a device that already has a certificate of the CA."""
    return _customer(which)


@cache
def _customer(which: str) -> Holder:
    return certify(which, rsa_key(which), ca(), key_usage=usage("digital_signature"))
