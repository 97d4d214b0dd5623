"""Success notifications: Intune is told of a certificate before the device is given it.

Intune's word is awaited, unless the operator has said otherwise: then the notification is stored,
and sent in the background.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING

from scepkit.enrolment.third_parties import No, Verdict, Yes
from scepkit.errors import ThirdPartyFailed
from scepkit.protocol.certificate import Certificate
from scepkit.server.intune.client import Issued
from scepkit.server.intune.exchange import Rejected
from scepkit.server.intune.validation import refusal
from scepkit.store import IntuneName, Notice

if TYPE_CHECKING:
    from concurrent.futures import Future

    from scepkit.enrolment.third_parties import Delivery, Unfulfilled
    from scepkit.server.intune.client import IntuneClient, Word
    from scepkit.server.intune.kept_requests import KeptRequests
    from scepkit.server.intune.single_flight import SingleFlight
    from scepkit.server.webhooks.circuit import Circuit
    from scepkit.store import IntuneRow

_AGAIN = 1.0  # seconds until the second attempt
_SERVER_FAULTS = range(500, 600)
_LATER = (429, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Tells Intune of certificates; for one event loop.

    Attributes:
        client: calls Intune.
        circuit: leaves it alone where it fails again and again.
        requests: keeps the requests.
        calls: those under way.
        waits: whether its word is awaited before a certificate is delivered.
    """

    client: IntuneClient
    circuit: Circuit
    requests: KeptRequests
    calls: SingleFlight[Verdict]
    waits: bool = True

    @property
    def name(self) -> str:
        """Return what log, metrics and audit record call it."""
        return self.requests.name

    async def tell(self, delivery: Delivery) -> Verdict:
        """Tell Intune of a certificate; a no ends the transaction, and a failure is queued.

        Raises:
            ThirdPartyFailed: Intune does not answer; the device comes back, and Intune is told
                again.
            StoreError: the database cannot be used.
        """
        return await self.calls.run(delivery.id, lambda: self._tell(delivery))

    def note_unfulfilled(self, request: Unfulfilled) -> Future[Notice | None]:
        """Have Intune told of a request that gets no certificate after all.

        Raises:
            StoreError: the database cannot be used.
        """
        return self.requests.note_unfulfilled(request)

    async def _tell(self, delivery: Delivery) -> Verdict:
        name = IntuneName(delivery.endpoint, delivery.transaction_id, delivery.csr_digest)
        row = await self.requests.find(name)
        if row is None:
            raise ThirdPartyFailed(
                "the request of a signed certificate is not kept any more",
                hint="nothing to do: the certificate is revoked, and the device enrols again",
            )
        if row.notice is not None:
            return _decided(row.notice)
        if self.waits:
            return await self._await_word(row, Certificate.read(delivery.certificate))
        stands = await self.requests.queue_success(name, delivery.certificate)
        return _decided(stands or Notice.FAILURE)

    async def _await_word(self, row: IntuneRow, certificate: Certificate) -> Verdict:
        csr = self.requests.csr(row)
        if csr is None:
            raise ThirdPartyFailed(
                "the request of a signed certificate was encrypted under another challenge.key",
                hint="restore that file; else the certificate is revoked within an hour or so",
            )
        try:
            with self.circuit.attempt():
                word = await self._notify(row.name, csr, certificate)
        except Rejected as error:
            if error.status in _LATER:
                raise
            code, reason = "Unknown", f"the success notification failed: {error.message}"
        else:
            if word.is_success:
                return Yes()
            code, reason = word.code, f"the success notification was refused: {refusal(word)}"
        # Stored before anybody is told no: it is the decision, also after a crash.
        queued = self.requests.queue_failure(row.name, code, reason)
        stands = await asyncio.wrap_future(queued)
        return Yes() if stands is Notice.SUCCESS else No(reason)

    async def _notify(self, name: IntuneName, csr: bytes, certificate: Certificate) -> Word:
        """Send it, and once more where the service is at fault: it may have been heard, or not."""
        transaction_id = name.transaction_id.decode("latin-1")
        issued = issued_as(certificate, name.endpoint)
        try:
            return await self.client.notify_success(transaction_id, csr, issued)
        except Rejected as error:
            if error.status not in _SERVER_FAULTS or error.status in _LATER:
                raise
        await asyncio.sleep(_AGAIN)
        return await self.client.notify_success(transaction_id, csr, issued)


def _decided(notice: Notice) -> Verdict:
    if notice is Notice.SUCCESS:
        return Yes()
    return No("it was decided before, and Intune is told of a failure")


def issued_as(certificate: Certificate, endpoint: str) -> Issued:
    """Return a certificate as a success notification names it.

    Args:
        certificate: the certificate.
        endpoint: the name of its endpoint.
    """
    return Issued(
        thumbprint=sha1(certificate.der, usedforsecurity=False).hexdigest().upper(),
        serial=f"{certificate.serial:X}",
        not_after=certificate.not_after,
        issuer=str(certificate.issuer_name),
        endpoint=endpoint,
    )
