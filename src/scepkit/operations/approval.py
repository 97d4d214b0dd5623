"""An operator's decision on a waiting request (RFC 8894 section 2.5: manual authorisation)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from scepkit.ca.authority import Authority
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment import issuing
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.notices import notice
from scepkit.enrolment.rules import SubjectRule
from scepkit.errors import FailInfo, Hint, UsageError
from scepkit.protocol import csr
from scepkit.store import Answer, Issuance, RequestRow, Store, StoredOutcome

REJECTED = "the request was rejected by the CA's operator"


@dataclass(frozen=True, slots=True)
class Approval:
    """Decides waiting requests of one endpoint.

    Attributes:
        endpoint: its name.
        issuers: its CAs.
        profile: what it issues.
        store: where requests wait.
        subject_rule: the rule on subjects that have a valid certificate.
    """

    endpoint: str
    issuers: Issuers
    profile: Profile
    store: Store
    subject_rule: SubjectRule = field(default_factory=SubjectRule)

    def approve(self, request_id: int, *, by: str, now: datetime, reason: str = "") -> Answer:
        """Issue the certificate that a waiting request asks for, and store both as one.

        Args:
            request_id: as the store lists it.
            by: who decides, for the record.
            now: the time, aware.
            reason: why, for the record; no device is told of it.

        Returns:
            Recorded; or what stood in the way: AlreadyAnswered, ChallengeSpent, SignerRevoked,
            SubjectTaken.

        Raises:
            UsageError: this endpoint has no such request, or the CA that it was made to is no more.
            BadRequest: the profile does not allow what it asks for.
            SettingsError: the CA is not valid now.
            StoreError: the database cannot be used.
        """
        row = self._row(request_id)
        if row.waits_for is not None:
            raise UsageError(
                f"request {request_id} waits for its CA and not for an operator",
                hint="the CA decides when the device asks again; it can be rejected here",
            )
        return self.store.approve(request_id, self._issue(row, now), by=by, reason=reason)

    def reject(self, request_id: int, *, reason: str, by: str, now: datetime) -> StoredOutcome:
        """Refuse a waiting request for good.

        Args:
            request_id: as the store lists it.
            reason: the failInfoText that the device gets; a general one when empty.
            by: who decides, for the record.
            now: the time, aware.

        Returns:
            What stands: the rejection, or what was decided before.

        Raises:
            UsageError: this endpoint has no such request.
            StoreError: the database cannot be used.
        """
        self._row(request_id)
        return reject(self.store, request_id, reason=reason, by=by, now=now)

    def _row(self, request_id: int) -> RequestRow:
        row = self.store.request(request_id)
        if row is None or row.endpoint != self.endpoint:
            raise UsageError(
                f"the endpoint {self.endpoint} has no request {request_id}",
                hint=Hint.WAITING_REQUESTS,
            )
        return row

    def _authority(self, row: RequestRow) -> Authority:
        """Return the CA that the device asked: from any other it would take no certificate."""
        if row.issuer is None:  # of before there were several
            return self.issuers.current.authority
        found = self.issuers.with_key(row.issuer)
        if found is None:
            raise UsageError(
                f"the CA that request {row.id} was made to is no more",
                hint="reject it: the device then asks the CA of today",
            )
        return found

    def _issue(self, row: RequestRow, now: datetime) -> Issuance:
        # Its signature was verified when it came.
        wanted = csr.read_archived(row.csr)
        # The rules may be others than when it was queued.
        wanted = self.profile.named(wanted, None)
        self.issuers.check_subject(wanted.subject)
        authority = self._authority(row)
        entry, order = issuing.waited(
            row, wanted, authority, self.profile, self.subject_rule, self.store, now
        )
        certificate = authority.certify(order)
        told = notice(wanted, order, certificate)
        return issuing.issuance(entry, certificate, notice=told)


def reject(store: Store, request_id: int, *, reason: str, by: str, now: datetime) -> StoredOutcome:
    """Refuse a waiting request for good, also one of an endpoint that is no more.

    Args, result and exceptions are those of `Approval.reject`.
    """
    return store.reject(
        request_id, fail_info=FailInfo.badRequest, reason=reason or REJECTED, by=by, now=now
    )
