"""The right to have a certificate revoked by CMP: by its key, or by a right that was granted.

Nothing that a message says of its sender is believed: the signer's certificate is verified to a CA
of this endpoint and has to be, byte for byte, one that was stored when it was issued, as for
renewals (checklist P-57).
What a sender may not revoke does not exist for it: every such answer is the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from scepkit.ca.authority import Authority
from scepkit.enrolment import same_subject
from scepkit.enrolment.issuers import Issuers, stored_certificate
from scepkit.enrolment.rate_limit import Limiters
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.secret_box import Passphrases
from scepkit.protocol import cmp
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.services.scep_retrieval import same_owner
from scepkit.store import CertificateRow, SameSubject, Store

# MACs that are tried in a minute for one address: for one certificate, so that a short passphrase
# is not guessed, and in all, since the sender chooses how much work each of them is. Not for all
# addresses together: then anybody could keep the owner from revoking.
_TRIES = 5
_TRIES_IN_ALL = 60

_HOLD = int(cmp.Reason.certificateHold)


@dataclass(frozen=True, slots=True)
class Right:
    """The certificates that an authenticated sender may revoke.

    Attributes:
        certificate: what may be revoked.
        by: who that is, for the record.
        secret: what proved it and protects the answer too; None for a signature. Secret.
        signer: the certificate whose key proved it; None for a secret.
    """

    certificate: CertificateRow
    by: str
    secret: str | None = field(default=None, repr=False)
    signer: Certificate | None = None


class RevocationRights:
    """Decides on the right to revoke at one endpoint. Threads may share it.

    Args:
        endpoint: the endpoint's name.
        issuers: its CAs.
        rules: what it allows.
        store: where certificates are.
        passphrases: what revokes a certificate without its key.
        now: returns the time as an aware datetime.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        issuers: Issuers,
        rules: Rules,
        store: Store,
        passphrases: Passphrases,
        now: Callable[[], datetime],
    ) -> None:
        self._endpoint = endpoint
        self._issuers = issuers
        self._rules = rules
        self._store = store
        self._passphrases = passphrases
        self._now = now
        self._tries = _Tries(now)

    def of(self, request: cmp.Request, peer: str) -> Right:
        """Return the right of the sender of a request to revoke the certificate that it names.

        Args:
            request: the request.
            peer: the address that it came from.

        Raises:
            CMPError: it may not.
            StoreError: the database cannot answer.
        """
        with cmp.answerable(request.header):
            authorities = self._issuers.named(request.revocation.issuer)
            if not authorities:
                raise cmp.WrongAuthority("the certificate is of another CA")
            if request.is_signed:
                return self._by_signature(request, authorities)
            return self._by_passphrase(request, authorities, peer)

    def used(self, right: Right) -> None:
        """Let the certificate that has signed take the place of others of its subject.

        That is when the revocation is done: which may be of one of those, or of itself.

        Raises:
            StoreError: the database cannot be used.
        """
        if right.signer is not None and self._rules.subject.treatment is SameSubject.REPLACED:
            now = self._now()
            same_subject.sign(right.signer, self._endpoint, self._issuers, self._store, now)

    def _by_signature(self, request: cmp.Request, authorities: Sequence[Authority]) -> Right:
        signer = cmp.find_signer(request)
        authority = self._issuers.issuer_of(signer)
        if authority is None:
            raise cmp.SignerNotTrusted("the certificate that signed is not of this CA")
        # No legacy algorithm, whatever is allowed otherwise: this signature alone authorises.
        cmp.verify_signature(request, signer)
        own = self._stored(signer, authority)
        self._check_time(own)
        wanted = request.revocation
        if (wanted.issuer, wanted.serial) == (signer.issuer, signer.serial):
            _check_description(wanted, signer)
            return Right(own, "its owner, by CMP", signer=signer)
        if own.revoked_at is not None:
            raise cmp.SignerNotTrusted("the certificate that signed was revoked")
        return replace(self._by_subject(wanted, authorities, own), signer=signer)

    def _by_subject(
        self, wanted: cmp.RevocationRequest, authorities: Sequence[Authority], own: CertificateRow
    ) -> Right:
        row = self._find(wanted, authorities) if self._rules.cmp_revoke_by_subject else None
        if row is None or not same_owner(own, row):
            raise cmp.NotAuthorized("the certificate that signed may not revoke that one")
        _check_description(wanted, Certificate.read(row.der))
        return Right(row, f"certificate {show_serial(own.serial)} of the same subject, by CMP")

    def _by_passphrase(
        self, request: cmp.Request, authorities: Sequence[Authority], peer: str
    ) -> Right:
        """Check the MAC; whether there is such a certificate does not show in the answer.

        A MAC is computed in any case. What looking up a passphrase takes besides may show in the
        time; it tells nothing but whether a serial number of 127 random bits exists.
        """
        if not self._rules.revocation_passphrase:
            raise cmp.WrongIntegrity("no secret is taken here: sign with the certificate's key")
        wanted = request.revocation
        if not self._tries.allow(wanted.serial, peer):
            raise cmp.SystemUnavailable("too many attempts, try again in a minute")
        row = self._find(wanted, authorities)
        secret = None if row is None else self._passphrases.of(row.key)
        cmp.verify_mac(request, secret or secrets.token_hex(), self._rules.pbkdf2_rounds)
        if row is None or secret is None:
            raise cmp.BadMessageCheck("the MAC does not hold")
        _check_description(wanted, Certificate.read(row.der))
        return Right(row, "its owner, by CMP with the passphrase", secret)

    def _stored(self, signer: Certificate, authority: Authority) -> CertificateRow:
        row = stored_certificate(signer, authority, self._store)
        if row is None:
            raise cmp.SignerNotTrusted(
                "the certificate that signed is not one that this CA has stored",
                hint="was the database restored from an old backup?",
            )
        if row.endpoint != self._endpoint:
            raise cmp.NotAuthorized("the certificate that signed was issued elsewhere")
        return row

    def _find(
        self, wanted: cmp.RevocationRequest, authorities: Sequence[Authority]
    ) -> CertificateRow | None:
        """Return the certificate that is to be revoked, if this endpoint issued it."""
        found = (self._store.find_certificate(a.key_hash, wanted.serial) for a in authorities)
        rows = (row for row in found if row is not None and row.endpoint == self._endpoint)
        return next(rows, None)

    def _check_time(self, own: CertificateRow) -> None:
        now = self._now()
        if not own.not_before <= now <= own.not_after:
            what = "expired" if now > own.not_after else "is not valid yet"
            raise cmp.SignerNotTrusted(f"the certificate that signed {what}")


class _Tries:
    """Counts attempts for each address, and for each certificate from there; the last ones."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._counts = Limiters(now)

    def allow(self, serial: int, peer: str) -> bool:
        # All of an address first: whoever asks for many certificates, so that the counts of one
        # are forgotten, is stopped by that.
        return self._counts.allows((peer, None), _TRIES_IN_ALL) and self._counts.allows(
            (peer, serial), _TRIES
        )


def is_final(row: CertificateRow) -> bool:
    """Say whether a certificate is revoked for good, not only on hold."""
    return row.revoked_at is not None and row.revocation_reason != _HOLD


def _check_description(wanted: cmp.RevocationRequest, certificate: Certificate) -> None:
    """Refuse a request whose subject or key is not that of the certificate with the number."""
    if not wanted.fits(certificate):
        raise cmp.BadCertId("the certificate with that serial number has another subject or key")
