"""Revocation by the holder of a certificate's key: answers to CMP's rr (RFC 9810 5.3.9).

A request that was granted is in the record of revocations with its transactionID, so that nobody
can repeat it after a hold was released: the record is the memory, kept as long as the certificate,
and all processes share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.secret_box import Passphrases
from scepkit.errors import Local, Malformed
from scepkit.operations import revocation
from scepkit.protocol import cmp
from scepkit.services.cmp_rights import RevocationRights, Right, is_final
from scepkit.store import Store

_Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class CMPAnswer:
    """A CMP answer, with the fields that the log needs.

    Attributes:
        der: the PKIMessage.
        outcome: `accepted`, or the name of a PKIFailureInfo.
        transaction_id: of the request; None where it has none.
        serial: of the certificate that is to be revoked, where that could be read.
        subject: its subject, where it was found.
        by: who was granted it.
        reason: why it was not, for the log.
        hint: what to do next, for the operator.
        is_fault: it is this server that could not.
    """

    der: bytes = field(repr=False)
    outcome: str
    transaction_id: bytes | None
    serial: int | None = None
    subject: str = ""
    by: str = ""
    reason: str = ""
    hint: str = ""
    is_fault: bool = False


class CMPService:
    """Answers CMP for one endpoint. Threads may share it.

    Args:
        endpoint: the endpoint's name.
        signers: who signs answers, the current RA first; the others for clients that know an
            earlier CA only.
        issuers: the endpoint's CAs.
        rules: what it allows.
        store: where certificates and revocations are.
        passphrases: what revokes a certificate without its key.
        random: returns that many unpredictable octets.
        now: returns the time as an aware datetime.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        signers: Sequence[cmp.Signer],
        issuers: Issuers,
        rules: Rules,
        store: Store,
        passphrases: Passphrases,
        random: _Random,
        now: Callable[[], datetime],
    ) -> None:
        self._signers = tuple(signers)
        self._rules = rules
        self._store = store
        self._random = random
        self._now = now
        self._rights = RevocationRights(
            endpoint=endpoint,
            issuers=issuers,
            rules=rules,
            store=store,
            passphrases=passphrases,
            now=now,
        )

    def answer(self, der: bytes, peer: str = "") -> CMPAnswer:
        """Answer a PKIMessage.

        Args:
            der: whatever a client sent.
            peer: the address that it came from: attempts with a passphrase are counted by it.

        Raises:
            Malformed: not even its header can be read; HTTP 400.
        """
        try:
            request = cmp.read_request(der)
        except cmp.CMPError as error:
            if error.header is None:
                raise Malformed(error.message) from error
            return self._refused(error, self._signer(error.header.recipient_name))
        return self._answer(request, peer)

    def _answer(self, request: cmp.Request, peer: str) -> CMPAnswer:
        wanted, header = request.revocation, request.header
        signer = self._signer(wanted.issuer)
        protector: cmp.Protector = signer
        right = None
        try:
            right = self._rights.of(request, peer)
            if right.secret is not None:
                # Under the name that a signed answer has: `openssl cmp -srvcert` compares it.
                protector = cmp.same_secret(request, right.secret, signer.name, self._random)
            with cmp.answerable(header):
                by = self._revoke(request, right)
                self._rights.used(right)
        except cmp.CertRevoked as error:
            # Not an error in the request but a verdict about the certificate, so it is an rp's.
            der = self._sealed(request, cmp.StatusInfo.of(error), protector)
            return self._reported(der, error, request, right)
        except cmp.CMPError as error:
            return self._refused(error, protector, request, right)
        except Local as error:
            fault = cmp.SystemUnavailable(
                error.message, text="try again later", hint=error.hint, header=header
            )
            return replace(self._refused(fault, protector, request, right), is_fault=True)
        return CMPAnswer(
            self._sealed(request, cmp.ACCEPTED, protector),
            "accepted",
            header.transaction_id,
            wanted.serial,
            right.certificate.subject,
            by,
        )

    def _revoke(self, request: cmp.Request, right: Right) -> str:
        """Revoke, and return by whom for the log.

        Raises:
            CMPError: it is not for the sender, or not for now.
            StoreError: the database cannot be used.
        """
        wanted, key = request.revocation, right.certificate.key
        self._check_time(request.header)
        note = _note(request.header)
        if any(one.note == note for one in self._store.revocation_history(key)):
            raise cmp.TransactionIDInUse("this request was granted before")
        reason = wanted.reason or cmp.Reason.unspecified
        if reason is cmp.Reason.removeFromCRL:
            # Who has the key may be who stole it.
            raise cmp.NotAuthorized("only an operator takes a certificate off hold")
        if is_final(right.certificate):
            raise cmp.CertRevoked("the certificate is revoked already")
        change = revocation.revoke(
            self._store,
            key,
            reason=reason,
            by=right.by,
            now=self._now(),
            note=note,
            invalidity_date=wanted.invalidity_date,
        )
        if change is None:
            raise cmp.BadCertId("there is no such certificate any more")
        if not change.is_new:
            # Somebody else was faster.
            raise cmp.CertRevoked("the certificate is revoked already")
        return right.by

    def _check_time(self, header: cmp.Header) -> None:
        """Hold messageTime to this server's clock, if the endpoint does so with signingTime."""
        limit, sent = self._rules.signing_time, header.message_time
        if limit is not None and (sent is None or abs(self._now() - sent) > limit):
            raise cmp.BadTime(f"the message was written at {sent}, by the sender's clock")

    def _signer(self, name: bytes | None) -> cmp.Signer:
        """Return the signer for a client that knows a CA, or an RA, by this name."""
        for signer in self._signers:
            certificate = signer.credential.certificate
            if name in (certificate.issuer, certificate.subject):
                return signer
        return self._signers[0]

    def _sealed(
        self, request: cmp.Request, status: cmp.StatusInfo, protector: cmp.Protector
    ) -> bytes:
        return cmp.seal_response(request, status, protector, now=self._now(), random=self._random)

    def _refused(
        self,
        error: cmp.CMPError,
        protector: cmp.Protector,
        request: cmp.Request | None = None,
        right: Right | None = None,
    ) -> CMPAnswer:
        der = cmp.seal_error(error, protector, now=self._now(), random=self._random)
        return self._reported(der, error, request, right)

    def _reported(
        self,
        der: bytes,
        error: cmp.CMPError,
        request: cmp.Request | None,
        right: Right | None,
    ) -> CMPAnswer:
        return CMPAnswer(
            der,
            error.fail_info.name,
            None if error.header is None else error.header.transaction_id,
            None if request is None else request.revocation.serial,
            "" if right is None else right.certificate.subject,
            reason=error.message,
            hint=error.hint,
        )


def _note(header: cmp.Header) -> str:
    """Return the note by which the record knows a request again."""
    return f"CMP transaction {(header.transaction_id or b'').hex()}"
