"""The certification authority: its key signs certificates.

`certify` is on the path of every request: whatever is the same in all certificates is built once.
"""

from __future__ import annotations

import os
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from scepkit.ca.extensions import authority_key_identifier
from scepkit.ca.issuer import IssuedCertificate
from scepkit.ca.limits import Limits
from scepkit.ca.profiles.profile import check_public_key, from_request
from scepkit.ca.profiles.requested_validity import requested
from scepkit.ca.subject_rules import certified_subject
from scepkit.errors import SettingsError
from scepkit.keys.pem import signature_hash
from scepkit.protocol import public_keys, signatures
from scepkit.protocol.algorithms import SHA256, SHA384, SHA512
from scepkit.protocol.asn1 import der as _der
from scepkit.protocol.asn1.skeleton import Skeleton
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.extensions import SUBJECT_KEY_IDENTIFIER, encoded, extension
from scepkit.protocol.general_name import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from scepkit.ca.extensions import Locations
    from scepkit.ca.issuer import Order
    from scepkit.ca.profiles.profile import Profile
    from scepkit.keys.pem import PrivateKey

# TBSCertificate (RFC 5280 section 4.1): version 3, the serial number, signature and issuer, the
# validity, subject, key, and extensions.
_TO_BE_SIGNED = Skeleton(
    *(_der.SEQUENCE, _der.tagged(0, _der.INTEGER_2), (_der.INTEGER, ...), ...),
    *((_der.SEQUENCE, ..., ...), ..., ..., (0xA3, (_der.SEQUENCE, ...))),
)
_CERTIFICATE = Skeleton(_der.SEQUENCE, ..., ..., (_der.BIT_STRING, b"\0", ...))
# A subjectKeyIdentifier but for its last part, which is the key's.
_KEY_IDENTIFIER = extension(SUBJECT_KEY_IDENTIFIER, _der.octet_string(bytes(20)))[:-20]
_SERIALS = 1 << 159  # RFC 5280 section 4.1.2.2: at most 20 octets
_DIGESTS = {one.name: one for one in (SHA256, SHA384, SHA512)}
_MICROSECOND = timedelta(microseconds=1)


class Authority:
    """A CA certificate with its private key, ready to issue. Immutable; threads may share it.

    Args:
        certificate: the CA's own.
        private_key: the key of that certificate; `checks` looks whether it is.
        locations: where its CRL, its certificate and its OCSP responder are, for the certificates
            that it issues; None leaves that out of them.
        above: the certificates over its own, from its issuer up, as far as they are known.

    Attributes:
        limits: what its own certificate and those above it allow.
        own: the CA's certificate as CMS names it.
        key_hash: SHA-256 of the DER SubjectPublicKeyInfo, 32 octets: which CA this is, whatever
            else may be of the same name.

    Raises:
        SettingsError: a kind of key that certificates are not signed with, or name constraints that
            cannot be read.
    """

    __slots__ = (
        "_algorithm",
        "_algorithm_and_issuer",
        "_extensions",
        "_sign",
        "above",
        "certificate",
        "key_hash",
        "limits",
        "own",
        "private_key",
    )

    def __init__(
        self,
        certificate: x509.Certificate,
        private_key: PrivateKey,
        *,
        locations: Locations | None = None,
        above: Sequence[x509.Certificate] = (),
    ) -> None:
        self.certificate = certificate
        self.own = Certificate.of(certificate)
        self.private_key = private_key
        digest = _DIGESTS[signature_hash(private_key).name]
        self._algorithm = signatures.signature_algorithm(private_key, digest)
        self._sign = signatures.signing(private_key, digest)
        self.above = tuple(above)
        self.limits = Limits.of(certificate, above)
        self.key_hash = self.own.key_hash
        self._algorithm_and_issuer = self._algorithm + self.own.subject
        self._extensions = b"".join(
            (
                # RFC 5280 section 4.2.1.9: a certificate of ours is never a CA.
                encoded(x509.BasicConstraints(ca=False, path_length=None), critical=True),
                encoded(authority_key_identifier(certificate)),
                *(() if locations is None else locations.extensions(self.key_hash)),
            )
        )

    def at(self, locations: Locations | None) -> Authority:
        """Return this CA, with these locations in what it issues."""
        return Authority(self.certificate, self.private_key, locations=locations, above=self.above)

    @property
    def name(self) -> str:
        """Return the subject of the CA, for people."""
        return str(self.own.subject_name)

    def certify(self, order: Order) -> IssuedCertificate:
        """Issue an end-entity certificate (RFC 5280 section 4).

        Raises:
            BadRequest: the request cannot have a certificate of this profile, or has a name that
                the CA's name constraints do not allow.
            SettingsError: the CA is not valid now, or may not issue by what is above it; that is
                no fault of the peer's.
            ValueError: a serial number that no certificate can have.
        """
        profile, serial = order.profile, order.serial
        if serial is None:
            serial = random_serial()
        elif not 0 < serial < _SERIALS:
            raise ValueError(f"a certificate cannot have the serial number {serial}")
        most = order.validity
        if profile.shortens and order.csr is not None and (wanted := requested(order.csr)):
            most = wanted if most is None else min(most, wanted)
        not_before, not_after = self._validity(profile, order.now, most)
        subject = certified_subject(order.subject)
        key = check_public_key(order.public_key, profile)
        spki = order.spki or public_keys.written(key)
        if profile.keys is not None:
            profile.keys.check(key, spki)
        granted, names = from_request(order.requested, key, profile, subject, order.identity)
        if self.limits.constraints:
            self.limits.check(subject, names)
        identifier = public_keys.key_identifier(spki)
        extensions = b"".join((self._extensions, *granted, _KEY_IDENTIFIER, identifier))
        to_be_signed = _TO_BE_SIGNED.write(
            *(serial.to_bytes(serial.bit_length() // 8 + 1, "big"), self._algorithm_and_issuer),
            *(_der.time(not_before), _der.time(not_after), subject.der, spki, extensions),
        )
        der = _CERTIFICATE.write(to_be_signed, self._algorithm, self._sign(to_be_signed))
        key_hash = public_keys.identity(spki)
        named = listed(names) if names else ""
        return IssuedCertificate(der, serial, not_before, not_after, key_hash, named, granted)

    def withdraw(self, certificate: IssuedCertificate) -> None:
        """Do nothing: a certificate of ours that is neither stored nor sent exists nowhere."""

    def _validity(
        self, profile: Profile, now: datetime, most: timedelta | None
    ) -> tuple[datetime, datetime]:
        """Return the validity as certificates have it: in UTC, without fractions of seconds."""
        start, end, fault = self.limits.not_before, self.limits.not_after, self.limits.fault
        if fault:
            raise SettingsError(
                f"the CA may not issue: {fault}", hint="have the CA certified anew, or correctly"
            )
        if not start <= now < end:
            whose = "the CA and those above it are" if self.above else "the CA is"
            raise SettingsError(
                f"{whose} valid from {start} to {end}, not now",
                hint="look at the clock of this machine, or renew the CA",
            )
        now = now.astimezone(UTC)
        # A certificate that outlives its CA, or is older, fails in strict verifiers.
        not_before = max(now - profile.backdate, start)
        # Compared before they are added: a device may ask for more years than there are.
        longest = profile.validity if most is None else min(profile.validity, most)
        not_after = now + min(longest, end - now)
        if profile.not_after is not None:
            if profile.not_after <= now:
                raise SettingsError(
                    f"the profile {profile.name!r} issues nothing after {profile.not_after}",
                    hint="give it another not_after",
                )
            not_after = min(not_after, profile.not_after.astimezone(UTC))
        return _whole_seconds(not_before), _whole_seconds(not_after)


def _whole_seconds(time: datetime) -> datetime:
    """Return a time without its fraction of a second; `datetime.replace` takes three times as long.

    Every certificate has two.
    """
    return time - time.microsecond * _MICROSECOND


def random_serial() -> int:
    """Draw a serial number: 127 random bits, so at most 16 octets of DER, and never 0.

    RFC 5280 section 4.1.2.2 wants a positive number of at most 20 octets. Random ones need no
    coordination between nodes.
    """
    return int.from_bytes(os.urandom(16), "big") >> 1 or 1
