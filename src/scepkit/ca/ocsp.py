"""A CA's OCSP responder: a key of its own with a delegated certificate (RFC 6960 4.2.2.2).

The key is not worth keeping: whatever is wrong with it, it is made anew (see `rotation`), and
until then, or where that cannot be, the CA's own key signs, which RFC 6960 allows as well. So a
client gets an answer that it can verify at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scepkit.ca import checks
from scepkit.ca.authority import random_serial
from scepkit.ca.extensions import authority_key_identifier, key_usage
from scepkit.ca.profiles.profile import BACKDATE
from scepkit.errors import SettingsError
from scepkit.keys.pem import signature_hash
from scepkit.protocol.asn1 import ber, types
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.ocsp import HASHES, CertID, Signer, issuer_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from scepkit.ca.authority import Authority
    from scepkit.keys.pem import PrivateKey

OCSP_VALIDITY = timedelta(days=30)
"""Short, as nobody asks whether this certificate is revoked (id-pkix-ocsp-nocheck): whoever steals
the key can say "good" no longer than that."""

_SUFFIX = " OCSP"


@dataclass(frozen=True, slots=True)
class Delegate:
    """A key that a CA lets sign OCSP responses, with its certificate."""

    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False)


class OCSPResponder:
    """The responder for the certificates of one CA. Immutable; threads may share it.

    Args:
        authority: the CA.
        delegate: its key for OCSP; None: the CA's own key signs.
        ras: certificates of RAs; those of this CA are good, though no device has them.

    Attributes:
        authority: the CA.
        end: of the CA.
        own_serials: of the certificates that the CA issued for the server itself.
    """

    __slots__ = (
        "_delegate",
        "_delegate_ends",
        "_delegate_starts",
        "_own",
        "authority",
        "end",
        "own_serials",
    )

    def __init__(
        self,
        authority: Authority,
        delegate: Delegate | None,
        ras: Iterable[x509.Certificate] = (),
    ) -> None:
        self.authority = authority
        name = authority.certificate.subject
        issued = [one for one in ras if one.issuer == name and one.subject != name]
        self.own_serials = frozenset(one.serial_number for one in issued)
        self.end = authority.certificate.not_valid_after_utc
        self._own = Signer(authority.private_key, None)
        self._delegate = None
        if delegate is not None:
            certificate = delegate.certificate
            self._delegate = Signer(delegate.private_key, Certificate.of(certificate))
            self._delegate_starts = certificate.not_valid_before_utc
            self._delegate_ends = certificate.not_valid_after_utc

    def signer(self, now: datetime) -> tuple[Signer, datetime]:
        """Return the delegate that signs now, and the end of its certificate."""
        if self._delegate and self._delegate_starts <= now < self._delegate_ends:
            return self._delegate, self._delegate_ends
        return self._own, self.end

    def names(self) -> Iterator[bytes]:
        """Yield what names this CA in a CertID."""
        certificate = self.authority.certificate
        name = certificate.subject.public_bytes()
        spki = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        key = ber.decode(types.SubjectPublicKeyInfo, spki, "SubjectPublicKeyInfo")
        key_bits = key.subjectPublicKey.as_bytes()
        for digest in HASHES.values():
            yield issuer_id(digest, name, key_bits)


class OCSPResponders:
    """The responders for all generations of a CA. Immutable; threads may share it.

    Args:
        responders: one for each CA; of two for the same one the last counts.

    Attributes:
        responders: as given.
    """

    def __init__(self, responders: Iterable[OCSPResponder]) -> None:
        self.responders = tuple(responders)
        self._named = {name: one for one in self.responders for name in one.names()}

    def of(self, cert_id: CertID) -> OCSPResponder | None:
        """Return the responder for a certificate; None if its CA is none of ours."""
        return self._named.get(cert_id.issuer)


def issue(
    ca: Authority, key: PrivateKey, *, now: datetime, validity: timedelta = OCSP_VALIDITY
) -> x509.Certificate:
    """Issue the certificate of the key that answers OCSP (RFC 6960 section 4.2.2.2).

    Args:
        ca: the issuer; clients accept no other than that of the certificates in question.
        key: the responder's.
        now: the time, aware.
        validity: how long from now on; the CA's end cuts it.

    Raises:
        SettingsError: the CA's name constraints do not allow the responder's name.
    """
    issuer = ca.certificate
    name = name_for(issuer.subject)
    ca.limits.check_own(Name.of(name))
    public = key.public_key()
    end = min(now + validity, ca.limits.not_after)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(random_serial())
        .not_valid_before(max(now - BACKDATE, ca.limits.not_before))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage({"digital_signature"}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority_key_identifier(issuer), critical=False)
        .sign(ca.private_key, signature_hash(ca.private_key))
    )


def is_fit(delegate: Delegate, ca: x509.Certificate, now: datetime) -> bool:
    """Say whether clients accept what a delegate signs for a CA at that time."""
    try:
        checks.check_issued_by(delegate.certificate, ca)
        checks.check_validity(delegate.certificate, now)
        extensions = delegate.certificate.extensions
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (SettingsError, ValueError, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in purposes


def name_for(issuer: x509.Name) -> x509.Name:
    """Return the name of the responder of a CA with that name."""
    common = checks.marked(checks.common_name_of(issuer), _SUFFIX)
    rest = [one for one in issuer if one.oid != NameOID.COMMON_NAME]
    return x509.Name([*rest, x509.NameAttribute(NameOID.COMMON_NAME, common)])
