"""The CAs of one endpoint: the one that issues, the one that will, and those that were.

Which of them a request is for shows in its envelope (RFC 8894 section 5.1): it is encrypted to the
RA, or the CA, that the device knows.
What a certificate says of itself is not believed: to be one of ours it has to be signed by one of
these CAs, and stored byte for byte when it was issued (checklist P-57).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from scepkit.ca.authority import Authority
from scepkit.errors import BadRequest, UsageError
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential
from scepkit.protocol.distinguished_name import Name
from scepkit.store import CertificateRow, Store


@dataclass(frozen=True, slots=True)
class IssuingCA:
    """A CA that issues for an endpoint.

    Attributes:
        authority: the CA.
        credentials: the keys that requests for it are encrypted to; the first one is its RA.
    """

    authority: Authority
    credentials: tuple[Credential, ...]


class Issuers:
    """The CAs of one endpoint. Immutable; threads may share it.

    Args:
        issuing: those that issue, the current one first.
        previous: earlier ones, whose certificates may still be renewed.

    Raises:
        UsageError: there is none that issues.
    """

    def __init__(self, issuing: Sequence[IssuingCA], previous: Sequence[Authority] = ()) -> None:
        if not issuing:
            raise UsageError("an endpoint needs a CA that issues")
        self._issuing = tuple(issuing)
        self.authorities = (*(one.authority for one in issuing), *previous)
        self._names = frozenset(a.own.subject for a in self.authorities)
        own = [one.own for one in self.authorities]
        own += [one.certificate for issuer in issuing for one in issuer.credentials]
        # Where two have a key in common, the first of them counts.
        self._by_recipient = {
            one.certificate.der: ca for ca in reversed(issuing) for one in ca.credentials
        }
        self._reserved = tuple({one.subject: one.subject_name for one in own}.values())

    @property
    def current(self) -> IssuingCA:
        """Return the CA that issues unless a request is for another one."""
        return self._issuing[0]

    def check_subject(self, subject: Name) -> None:
        """Refuse the names of the CAs and RAs to others, who would be taken for them.

        Raises:
            BadRequest: it is such a name, however it is spelt.
        """
        for name in self._reserved:
            if subject.matches(name):
                raise BadRequest(
                    "the subject is that of the CA or of its RA",
                    rule="reserved_subject",
                    attribute="subject",
                )

    def addressed(self, recipient: Credential | None) -> IssuingCA:
        """Return the CA that a request is for (S-5.1-2).

        Args:
            recipient: whose key opened it; None when a password did.
        """
        if recipient is None:
            return self.current
        return self._by_recipient.get(recipient.certificate.der) or self.current

    def with_key(self, key_hash: bytes) -> Authority | None:
        """Return the CA with a key, also one that issues for those only who have asked it before.

        Args:
            key_hash: SHA-256 of its SubjectPublicKeyInfo.
        """
        return next((one for one in self.authorities if one.key_hash == key_hash), None)

    def issuer_of(self, certificate: Certificate) -> Authority | None:
        """Return the CA whose key signed a certificate, verified; None when it is none of ours."""
        # The name first, as it costs nothing; a self-signed certificate may have any in it.
        if certificate.issuer not in self._names:
            return None
        for authority in self.authorities:
            if authority.own.subject == certificate.issuer and certificate.is_signed_with(
                authority.own.spki, NO_LEGACY
            ):
                return authority
        return None

    def with_chain(self, certificates: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Put the CA's certificate behind an issued one, DER."""
        for authority in self.authorities:
            own = authority.own
            if any(Certificate.read(der).issuer == own.subject for der in certificates):
                return (*certificates, own.der)
        return certificates

    def named(self, name: bytes) -> list[Authority]:
        """Return the CAs with a subject name, DER; several generations may share one."""
        wanted = Name(name)
        return [a for a in self.authorities if a.own.subject_name.matches(wanted)]


def stored_certificate(
    certificate: Certificate, authority: Authority, store: Store
) -> CertificateRow | None:
    """Return the row of a certificate that was stored, byte for byte, when it was issued.

    Args:
        certificate: whose signature is verified to be the CA's.
        authority: the CA.
        store: where issued certificates are.

    Raises:
        StoreError: the database cannot answer.
    """
    row = store.find_certificate(authority.key_hash, certificate.serial)
    return row if row is not None and hmac.compare_digest(row.der, certificate.der) else None
