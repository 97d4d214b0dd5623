"""Protection of a message by signature or MAC, and who its sender is (RFC 9810 section 5.1.3).

MACs are PasswordBasedMac and PBMAC1 (RFC 9481 section 6.1), signatures those of RFC 9481 section 3.

PasswordBasedMac (RFC 4211 section 4.4, RFC 9045) is all that OpenSSL can; PBMAC1
(RFC 8018 section 7.1) is what RFC 9481 prefers.
The peer's choice of work is bounded before any is done.
HMAC and key derivation do not rest on collision resistance, so their SHA-1 needs no switch; it is
what OpenSSL takes for the MAC unless told otherwise.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.x509 import ObjectIdentifier

from scepkit import errors as general
from scepkit.errors import Malformed
from scepkit.protocol import signatures
from scepkit.protocol.algorithms import (
    DIGESTS,
    HMAC_SHA256,
    MD5,
    PBKDF2,
    PRFS,
    SHA1,
    SHA256,
    AlgorithmIdentifier,
    Digest,
    Legacy,
)
from scepkit.protocol.asn1 import ber
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cmp import message, types
from scepkit.protocol.cmp.message import Header, Protection
from scepkit.protocol.cmp.status import BadAlg, BadDataFormat, BadMessageCheck
from scepkit.protocol.cms import pbkdf2
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.cms.pbkdf2 import MAX_ITERATIONS, Derivation, check_iterations

PASSWORD_BASED_MAC = ObjectIdentifier("1.2.840.113533.7.66.13")
PBMAC1 = ObjectIdentifier("1.2.840.113549.1.5.14")
MACS = frozenset({PASSWORD_BASED_MAC, PBMAC1})

# OpenSSL writes id-HMAC-SHA1 of RFC 4210 for what PKCS#5 calls hmacWithSHA1.
_HMACS = {**PRFS, ObjectIdentifier("1.3.6.1.5.5.8.1.2"): SHA1}

# OpenSSL does 500 rounds, BouncyCastle 1000. A round is one hash in Python, up to 3 us during which
# no other thread runs, so that a message holds up everybody for 60 ms at most.
MAX_PBM_ITERATIONS = 20_000
_ITERATIONS = 10_000
_SALT_SIZE = 16
_MAX_SALT = 256
_MAX_KEY = 64


@dataclass(frozen=True, slots=True)
class PasswordBasedMac:
    """The parameters of PasswordBasedMac.

    Attributes:
        salt: any octets.
        owf: the hash that is iterated.
        iterations: 1 to `MAX_PBM_ITERATIONS`.
        mac: the OID of the HMAC as the peer wrote it.
    """

    salt: bytes
    owf: Digest
    iterations: int
    mac: ObjectIdentifier

    def compute(self, secret: str, data: bytes) -> bytes:
        """Return the MAC (RFC 4211 section 4.4).

        The whole base key is the key of the HMAC, as OpenSSL does; the text would have it
        cut to the size that the HMAC's hash has.
        """
        empty = hashlib.new(self.owf.name, usedforsecurity=False)
        key = secret.encode() + self.salt
        for _ in range(self.iterations):
            # A copy, since making a hash by its name takes twice as long as hashing so little.
            context = empty.copy()
            context.update(key)
            key = context.digest()
        return _hmac(key, _HMACS[self.mac], data)

    def der(self) -> bytes:
        """Return the AlgorithmIdentifier."""
        return _der.sequence(
            _der.oid(PASSWORD_BASED_MAC),
            _der.sequence(
                _der.octet_string(self.salt),
                # OpenSSL writes no parameters in either, and reads both forms.
                _der.sequence(_der.oid(self.owf.oid)),
                _der.encode(self.iterations),
                _der.sequence(_der.oid(self.mac)),
            ),
        )

    def fresh(self, random: Callable[[int], bytes]) -> PasswordBasedMac:
        """Return the same with a new salt, for an answer that the peer can check."""
        return PasswordBasedMac(random(_SALT_SIZE), self.owf, self.iterations, self.mac)


@dataclass(frozen=True, slots=True)
class PBMac1:
    """The parameters of PBMAC1.

    Attributes:
        derivation: makes the HMAC's key of the secret.
        key_size: octets.
        mac: the OID of the HMAC.
    """

    derivation: Derivation
    key_size: int
    mac: ObjectIdentifier

    def compute(self, secret: str, data: bytes) -> bytes:
        """Return the MAC (RFC 8018 section 7.1.1)."""
        key = self.derivation.derive(secret, self.key_size)
        return _hmac(key, _HMACS[self.mac], data)

    def der(self) -> bytes:
        """Return the AlgorithmIdentifier."""
        function = _der.sequence(_der.oid(PBKDF2), self.derivation.parameters(self.key_size))
        return _der.sequence(_der.oid(PBMAC1), _der.sequence(function, _der.algorithm(self.mac)))

    def fresh(self, random: Callable[[int], bytes]) -> PBMac1:
        """Return the same with a new salt, for an answer that the peer can check."""
        derivation = replace(self.derivation, salt=random(_SALT_SIZE))
        return replace(self, derivation=derivation)


Mac: TypeAlias = PasswordBasedMac | PBMac1


def new_mac(random: Callable[[int], bytes]) -> PBMac1:
    """Return the MAC that our client uses: PBMAC1 with SHA-256."""
    return PBMac1(Derivation(random(_SALT_SIZE), _ITERATIONS, SHA256), 32, HMAC_SHA256)


def read_mac(protection: Protection, max_iterations: int = MAX_ITERATIONS) -> Mac:
    """Read the parameters of a MAC; no work is done yet.

    Args:
        protection: its algorithm is one of `MACS`.
        max_iterations: how much work it may take; for PasswordBasedMac never more than
            `MAX_PBM_ITERATIONS`.

    Raises:
        BadDataFormat: the parameters cannot be read.
        BadAlg: an algorithm is unknown, or asks for more work than is sensible.
    """
    try:
        if protection.algorithm == PASSWORD_BASED_MAC:
            return _read_password_based_mac(protection.parameters or b"", max_iterations)
        return _read_pbmac1(protection.parameters or b"", max_iterations)
    except Malformed as error:
        raise BadDataFormat(error.message, text="the MAC's parameters cannot be read") from error
    except general.BadAlg as error:
        raise BadAlg(error.message, text=error.text, hint=error.hint) from error


def mac_holds(protection: Protection, secret: str, max_iterations: int = MAX_ITERATIONS) -> bool:
    """Say whether a MAC was made with `secret`.

    Args:
        protection: its algorithm is one of `MACS`.
        secret: the secret.
        max_iterations: as in `read_mac`.

    Raises:
        BadDataFormat, BadAlg: as `read_mac`.
    """
    expected = read_mac(protection, max_iterations).compute(secret, protection.covered)
    return hmac.compare_digest(expected, protection.value)


def _read_password_based_mac(parameters: bytes, max_iterations: int) -> PasswordBasedMac:
    params = ber.decode(types.PBMParameter, parameters, "PBMParameter")
    owf = DIGESTS.get(params.owf.algorithm)
    if owf is None or owf is MD5:
        raise BadAlg(f"PasswordBasedMac with {params.owf.algorithm.dotted_string} is not supported")
    _check_salt(params.salt)
    check_iterations(
        "PasswordBasedMac", params.iterationCount, max_iterations, ceiling=MAX_PBM_ITERATIONS
    )
    return PasswordBasedMac(
        params.salt, owf, params.iterationCount, _known_hmac(params.mac.algorithm)
    )


def _read_pbmac1(parameters: bytes, max_iterations: int) -> PBMac1:
    params = ber.decode(types.PBMAC1Params, parameters, "PBMAC1-params")
    derivation, key_length = pbkdf2.read(params.keyDerivationFunc, max_iterations)
    _check_salt(derivation.salt)
    mac = _known_hmac(params.messageAuthScheme.algorithm)
    size = key_length or _HMACS[mac].primitive.digest_size
    if not 1 <= size <= _MAX_KEY:
        raise BadAlg(f"PBMAC1 is done with a key of 1 to {_MAX_KEY} octets here")
    return PBMac1(derivation, size, mac)


def _check_salt(salt: bytes) -> None:
    if len(salt) > _MAX_SALT:
        raise BadAlg(f"a salt of {len(salt)} octets; at most {_MAX_SALT} are accepted")


def _known_hmac(mac: ObjectIdentifier) -> ObjectIdentifier:
    if mac not in _HMACS:
        raise BadAlg(f"the MAC {mac.dotted_string} is not supported")
    return mac


def _hmac(key: bytes, digest: Digest, data: bytes) -> bytes:
    context = HMAC(key, digest.primitive)
    context.update(data)
    return context.finalize()


def signature_holds(
    protection: Protection, certificate: Certificate, allowed: frozenset[Legacy]
) -> bool:
    """Say whether the certificate's key made a signature.

    Raises:
        BadAlg: the algorithm is unknown, not for this kind of key, or not allowed.
        BadMessageCheck: the certificate's key or the algorithm's parameters cannot be used.
    """
    algorithm_ = AlgorithmIdentifier(protection.algorithm, protection.parameters)
    try:
        key = certificate.public_key
        # Without a SignerInfo nothing but the algorithm says which digest it is, so that plain
        # rsaEncryption and id-ecPublicKey are no signature algorithms here.
        scheme = signatures.read(algorithm_, key, allowed)
    except general.BadAlg as error:
        raise BadAlg(error.message, text=error.text, hint=error.hint) from error
    except (general.Malformed, general.FailInfoError) as error:
        raise BadMessageCheck(
            error.message, text="the key that signed, or the algorithm, cannot be used"
        ) from error
    return scheme.verify(key, protection.value, protection.covered)


_EMPTY_NAME = b"\x30\x00"


def is_sender(header: Header, certificate: Certificate) -> bool:
    """Say whether a header names a certificate as its sender's (RFC 9810 section 5.1.1).

    `sender` is its subject, or the empty name, which leaves it to senderKID; senderKID is its
    subjectKeyIdentifier. OpenSSL fills senderKID with -ref where the certificate has no such
    extension, so that there is nothing to compare then.
    """
    name, identifier = header.sender_name, certificate.subject_key_identifier
    if name not in (certificate.subject, _EMPTY_NAME):
        return False
    if header.sender_kid is None or identifier is None:
        return name != _EMPTY_NAME
    return header.sender_kid == identifier


class Protector(Protocol):
    """A key or a secret that can protect a message."""

    @property
    def name(self) -> bytes:
        """Return the Name that goes into `sender`, DER."""

    @property
    def key_identifier(self) -> bytes | None:
        """Return the senderKID."""

    def protect(self, header: Header, body: bytes) -> bytes:
        """Return the whole PKIMessage for a header and a PKIBody."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Protects by a signature.

    OpenSSL wants digitalSignature in the certificate's keyUsage, where there is one, that it is
    valid now, and everything between it and the root that it trusts in `chain`.

    Attributes:
        credential: the private key and its certificate.
        digest: the digest, unless the key has no choice.
        chain: DER of further certificates that go along.
    """

    credential: Credential
    digest: Digest = SHA256
    chain: Sequence[bytes] = ()

    @property
    def name(self) -> bytes:
        """Return the subject of the certificate, byte for byte: peers compare it."""
        return self.credential.certificate.subject

    @property
    def key_identifier(self) -> bytes | None:
        """Return its subjectKeyIdentifier: peers find the certificate in extraCerts by that."""
        return self.credential.certificate.subject_key_identifier

    def protect(self, header: Header, body: bytes) -> bytes:
        """Sign; the certificate is the first of extraCerts (RFC 9810 section 5.1)."""
        key, certificate = self.credential.key, self.credential.certificate
        digest = signatures.signing_digest(key, self.digest)
        header_der = message.write_header(header, signatures.signature_algorithm(key, digest))
        value = signatures.sign(key, message.protected_part(header_der, body), digest)
        return message.write(header_der, body, value, (certificate.der, *self.chain))


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """Protects by a MAC.

    Attributes:
        secret: the secret. Secret.
        reference: which secret it is: the senderKID of both ends.
        parameters: the MAC, with a salt that was never used before.
        name: the Name that goes into `sender`, DER.
        chain: DER of certificates that go along.
    """

    secret: str = field(repr=False)
    reference: bytes | None
    parameters: Mac
    name: bytes
    chain: Sequence[bytes] = ()

    @classmethod
    def new(
        cls, secret: str, reference: bytes, name: bytes, random: Callable[[int], bytes]
    ) -> SharedSecret:
        """Return the protection that our client uses: PBMAC1 with SHA-256."""
        return cls(secret, reference, new_mac(random), name)

    @property
    def key_identifier(self) -> bytes | None:
        """Return the reference (RFC 9483 section 3.1)."""
        return self.reference

    def protect(self, header: Header, body: bytes) -> bytes:
        """Make the MAC."""
        header_der = message.write_header(header, self.parameters.der())
        value = self.parameters.compute(self.secret, message.protected_part(header_der, body))
        return message.write(header_der, body, value, self.chain)
