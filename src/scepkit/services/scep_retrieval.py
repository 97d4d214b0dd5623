"""GetCert and GetCRL: answers and rights (RFC 8894 sections 2.6, 2.7, 4.5 and 4.6)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from scepkit.enrolment.issuers import Issuers, stored_certificate
from scepkit.enrolment.rate_limit import Limiter
from scepkit.enrolment.rules import GetCertRule, Rules
from scepkit.errors import BadRequest, HTTPRefused
from scepkit.operations import revocation
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.attributes import MessageType
from scepkit.protocol.scep.messages import GetCert, GetCRL, Success
from scepkit.protocol.scep.responder import missing
from scepkit.store import CertificateRow, Store

_NOT_THEIRS = "the signer of the request may not have this certificate"


class Retrieval:
    """Answers GetCert and GetCRL for one endpoint. Threads may share it.

    Args:
        endpoint: the endpoint's name: certificates of others are not given out here.
        issuers: its CAs.
        rules: who may fetch what, and how often.
        store: where certificates and CRLs are.
        now: returns the time as an aware datetime.
    """

    def __init__(
        self,
        endpoint: str,
        issuers: Issuers,
        rules: Rules,
        store: Store,
        now: Callable[[], datetime],
    ) -> None:
        self._endpoint = endpoint
        self._issuers = issuers
        self._rules = rules
        self._store = store
        self._now = now
        self._limiter = Limiter(rules.retrievals_per_minute, now)

    def count(self) -> None:
        """Count one more request, before anything is computed for it (P-60, S-7.8-1).

        Raises:
            HTTPRefused: there were too many; 429, so that the device comes back.
        """
        if not self._limiter.allows():
            raise HTTPRefused(429, "too many GetCert and GetCRL requests, try again later")

    def check(self, kind: MessageType) -> None:
        """Refuse a request that the endpoint does not answer, before it is decrypted.

        Raises:
            BadRequest: it does not answer this kind of request.
        """
        is_cert = kind is MessageType.GET_CERT
        if is_cert and self._rules.get_cert is GetCertRule.OFF:
            raise BadRequest("this server does not answer GetCert")
        if not is_cert and not self._rules.get_crl:
            raise BadRequest("this server does not answer GetCRL")

    def own(self, signer: Certificate) -> CertificateRow | None:
        """Return what is stored under the number of a certificate that a CA of ours signed."""
        authority = self._issuers.issuer_of(signer)
        if authority is None:
            return None
        return self._store.find_certificate(authority.key_hash, signer.serial)

    def may_agree(self, signer: Certificate) -> bool:
        """Say whether an answer to a stored, unrevoked certificate may use key agreement."""
        is_ec = isinstance(signer.public_key, ec.EllipticCurvePublicKey)
        if not is_ec or not signer.asserts_key_agreement:
            return False
        row = self.own(signer)
        return row is not None and row.revoked_at is None

    def named(self, wanted: GetCert | GetCRL) -> tuple[CertificateRow, ...]:
        """Return the certificates of this endpoint that an issuer and a serial number name.

        One, or none; more only if several CAs have one name.

        Args:
            wanted: what names it.

        Raises:
            StoreError: the database cannot answer.
        """
        found = (
            self._store.find_certificate(authority.key_hash, wanted.serial_number)
            for authority in self._issuers.named(wanted.issuer)
        )
        # Endpoints that share a CA do not share its certificates.
        return tuple(
            row
            for row in found
            if row is not None
            and row.endpoint == self._endpoint
            # What is signed and not delivered does not exist yet for devices.
            and not self._store.is_undelivered(row.key)
        )

    def certificate(self, found: Sequence[CertificateRow], requester: Certificate) -> Success:
        """Return the certificate that was asked for (section 4.5).

        What a requester may not see is answered like what does not exist (P-76).

        Args:
            found: what `named` returned.
            requester: the certificate that signed the request.

        Raises:
            BadCertId: there is none that the requester may have.
            StoreError: the database cannot answer.
        """
        for row in found:
            if self._may_have(requester, row):
                return Success((row.der,))
        if found:
            raise missing(MessageType.GET_CERT, _NOT_THEIRS)
        raise missing(MessageType.GET_CERT)

    def crl(self, wanted: GetCRL) -> Success:
        """Return the current CRL of a certificate's CA (section 4.6), and nothing else.

        Raises:
            BadCertId: the CA is none of this endpoint's.
            StoreError: the database cannot answer.
        """
        authorities = self._issuers.named(wanted.issuer)
        if not authorities:
            raise missing(MessageType.GET_CRL)
        row = revocation.best_crl(
            self._store, authorities[0], now=self._now(), lifetime=self._rules.crl_lifetime
        )
        return Success(crls=(row.der,))

    def _may_have(self, requester: Certificate, row: CertificateRow) -> bool:
        if hmac.compare_digest(requester.key_hash, row.public_key):
            return True
        authority = self._issuers.issuer_of(requester)
        own = None if authority is None else stored_certificate(requester, authority, self._store)
        if self._rules.get_cert is GetCertRule.ALL:
            return own is None or own.revoked_at is None
        return self._is_owner(own, row)

    def _is_owner(self, own: CertificateRow | None, row: CertificateRow) -> bool:
        """Say whether the requester signed with a good certificate of the same subject."""
        return (
            own is not None
            and own.endpoint == self._endpoint
            and own.revoked_at is None
            and own.not_before <= self._now() <= own.not_after
            and same_owner(own, row)
        )


def same_owner(one: CertificateRow, other: CertificateRow) -> bool:
    """Say whether two certificates have the same subject, and that is not an empty one."""
    own, others = (Certificate.read(row.der).subject_name for row in (one, other))
    # Without a subject the names are in the subjectAltName, and nobody's are anybody's.
    return not own.is_empty and own.matches(others)
