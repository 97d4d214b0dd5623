"""The certification authority: its key signs certificates.

`issue` is on the path of every request: whatever is the same in all certificates is built once.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepkit.ca.extensions import (
    authority_key_identifier,
    check_public_key,
    encoded,
    from_request,
)
from scepkit.ca.keys import signature_hash
from scepkit.ca.names import check_subject
from scepkit.errors import BadRequest, SettingsError

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from scepkit.ca.keys import PrivateKey
    from scepkit.ca.locations import Locations
    from scepkit.ca.profile import Profile


class Authority:
    """A CA certificate with its private key, ready to issue. Immutable; threads may share it.

    Args:
        certificate: the CA's own.
        private_key: the key of that certificate; `checks` looks whether it is.
        locations: where its CRL, its certificate and its OCSP responder are, for the certificates
            that it issues; None leaves that out of them.

    Attributes:
        key_hash: SHA-256 of the DER SubjectPublicKeyInfo, 32 octets: which CA this is, whatever
            else may be of the same name.

    Raises:
        SettingsError: a kind of key that certificates are not signed with.
    """

    __slots__ = (
        "_extensions",
        "_hash",
        "_not_after",
        "_not_before",
        "_subject",
        "certificate",
        "key_hash",
        "private_key",
    )

    def __init__(
        self,
        certificate: x509.Certificate,
        private_key: PrivateKey,
        *,
        locations: Locations | None = None,
    ) -> None:
        self.certificate = certificate
        self.private_key = private_key
        self._hash = signature_hash(private_key)
        self._not_before = certificate.not_valid_before_utc
        self._not_after = certificate.not_valid_after_utc
        self._subject = certificate.subject
        self.key_hash = hashlib.sha256(
            certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).digest()
        self._extensions = (
            # RFC 5280 section 4.2.1.9: a certificate of ours is never a CA, whatever was requested.
            encoded(x509.BasicConstraints(ca=False, path_length=None), critical=True),
            encoded(authority_key_identifier(certificate), critical=False),
            *(() if locations is None else locations.extensions(self.key_hash)),
        )

    def at(self, locations: Locations | None) -> Authority:
        """Return this CA, with these locations in what it issues."""
        return Authority(self.certificate, self.private_key, locations=locations)

    def issue(
        self,
        *,
        subject: x509.Name,
        public_key: PublicKeyTypes,
        requested: x509.Extensions,
        profile: Profile,
        now: datetime,
        serial: int | None = None,
    ) -> x509.Certificate:
        """Issue an end-entity certificate (RFC 5280 section 4).

        Args:
            subject: taken over as it is, or refused.
            public_key: RSA, EC or Ed25519; the caller has checked the proof of possession.
            requested: the extensions that the request asks for; wishes, no more.
            profile: what may be granted.
            now: the time, aware.
            serial: above 0 and below 2**159; 127 random bits unless given.

        Raises:
            BadRequest: the request cannot have a certificate of this profile.
            SettingsError: the CA is not valid now, which is no fault of the peer's.
        """
        key = check_public_key(public_key, profile)
        check_subject(subject)
        not_before, not_after = self._validity(profile, now)
        wishes = from_request(requested, key, profile, subject_empty=not subject.rdns)
        # What is checked already goes in at once: each call of a builder's method copies it.
        builder = (
            x509.CertificateBuilder(
                issuer_name=self._subject,
                subject_name=subject,
                public_key=key,
                extensions=[*self._extensions, *wishes],
            )
            .serial_number(random_serial() if serial is None else serial)
            .not_valid_before(not_before)
            .not_valid_after(not_after)
        )
        try:
            return builder.sign(self.private_key, self._hash)
        except ValueError as error:
            # Only now are the names of the request encoded.
            raise BadRequest("the request's names cannot be encoded in a certificate") from error

    def _validity(self, profile: Profile, now: datetime) -> tuple[datetime, datetime]:
        if not self._not_before <= now < self._not_after:
            raise SettingsError(
                f"the CA is valid from {self._not_before} to {self._not_after}, not now",
                hint="look at the clock of this machine, or renew the CA",
            )
        # A certificate that outlives its CA, or is older, fails in strict verifiers.
        not_before = max(now - profile.backdate, self._not_before)
        return not_before, now + min(profile.validity, self._not_after - now)


def random_serial() -> int:
    """Draw a serial number: 127 random bits, so at most 16 octets of DER, and never 0.

    RFC 5280 section 4.1.2.2 wants a positive number of at most 20 octets. Random ones need no
    coordination between nodes.
    """
    return secrets.randbelow(2**127 - 1) + 1
