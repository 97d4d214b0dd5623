"""The notifications that Intune has still to be sent, and certificates that wait for its word."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from scepkit.enrolment.answers import REFUSED
from scepkit.errors import FailInfo, ThirdPartyFailed
from scepkit.protocol.certificate import Certificate
from scepkit.server.intune.codes import UNANSWERED, h_result
from scepkit.server.intune.notification import issued_as
from scepkit.server.intune.validation import refusal
from scepkit.store import Notice
from scepkit.store.third_parties.intune_requests import LONGEST_PAUSE

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from scepkit.server.intune.client import IntuneClient, Word
    from scepkit.server.intune.kept_requests import KeptRequests
    from scepkit.store import IntuneRow, SignedDelivery

PATIENCE = timedelta(hours=1)
"""The time for which a certificate waits, signed, for Intune's word."""

_AT_ONCE = 100  # notifications of a round
_TOGETHER = 8  # calls at the same time
_FIRST_PAUSE = timedelta(seconds=30)
_KEPT = timedelta(days=2)
_KEPT_LONGEST = timedelta(days=14)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Tells Intune what it has still to be told, through one app registration.

    Attributes:
        client: calls Intune.
        requests: what Intune has validated.
    """

    client: IntuneClient
    requests: KeptRequests

    async def send(self, rows: Collection[IntuneRow]) -> None:
        """Send notifications; those that come to nothing are sent later.

        Args:
            rows: those that are due, of this registration.

        Raises:
            StoreError: the database cannot be used.
        """
        turn = asyncio.Semaphore(_TOGETHER)

        async def send(row: IntuneRow) -> None:
            async with turn:
                await self._send(row)

        await asyncio.gather(*map(send, rows))

    async def _send(self, row: IntuneRow) -> None:
        store, now = self.requests.store, self.requests.now()
        facts = {"by": self.requests.name, "notification": row.notice, "request": row.id}
        csr = self.requests.csr(row)
        if csr is None:
            log.error("a notification cannot be sent: challenge.key is another one", **facts)
            await asyncio.to_thread(store.finish_notice, row.id, now)
            return
        try:
            word = await self._call(row, csr)
        except ThirdPartyFailed as error:
            pause = min(_FIRST_PAUSE * 2 ** min(row.attempts, 10), LONGEST_PAUSE)
            log.warning(
                "a notification could not be sent, and is sent later",
                **facts,
                error=error.message,
                hint=error.hint,
                seconds=pause.total_seconds(),
            )
            await asyncio.to_thread(store.postpone_notice, row.id, now + pause)
            return
        if word.is_success:
            log.info("Intune has a notification", **facts)
        else:
            log.error("Intune refuses a notification", **facts, reason=refusal(word))
        await asyncio.to_thread(store.finish_notice, row.id, now)

    async def _call(self, row: IntuneRow, csr: bytes) -> Word:
        transaction_id = row.name.transaction_id.decode("latin-1")
        if row.notice is Notice.SUCCESS and row.certificate is not None:
            issued = issued_as(Certificate.read(row.certificate), row.name.endpoint)
            return await self.client.notify_success(transaction_id, csr, issued)
        number, said = h_result(row.code or ""), row.description or ""
        return await self.client.notify_failure(transaction_id, csr, number, said)


def due(requests: KeptRequests) -> list[IntuneRow]:
    """Return the notifications that are to be sent by now.

    Raises:
        StoreError: the database cannot be read.
    """
    return requests.store.due_notices(requests.registration, requests.now(), _AT_ONCE)


def give_up(requests: KeptRequests, endpoints: Collection[str]) -> int:
    """Revoke what has waited for Intune's word too long, and have Intune told so.

    Args:
        requests: of a registration.
        endpoints: those that use it.

    Returns:
        How many certificates were revoked.

    Raises:
        StoreError: the database cannot be used.
    """
    before = requests.now() - PATIENCE
    waiting = requests.store.signed_before(before, endpoints, _AT_ONCE)
    return sum([_give_up(requests, one) for one in waiting])


def _give_up(requests: KeptRequests, signed: SignedDelivery) -> bool:
    """Give up one certificate, unless Intune or the device has it; say whether it is revoked."""
    store, now = requests.store, requests.now()
    said = "the success notification was not answered, and the device has not come back"
    # In this order: the notification is the decision, which a device that comes back finds.
    if requests.queue_failure(signed.name, UNANSWERED, said).result() is Notice.SUCCESS:
        store.deliver(signed.delivery, by=requests.name, now=now).result()
        return False
    stands = store.refuse_delivery(
        signed.delivery,
        fail_info=FailInfo.badRequest,
        text=REFUSED,
        reason=said,
        by=requests.name,
        now=now,
    ).result()
    row = store.validated(signed.name)
    if stands.serial is not None and row is not None:
        # It was delivered at this very moment.
        store.finish_notice(row.id, now)
    return stands.serial is None


def forget(requests: KeptRequests) -> None:
    """Delete requests of which there is nothing to tell any more.

    Raises:
        StoreError: the database cannot be written.
    """
    now: datetime = requests.now()
    requests.store.forget_validated(now - _KEPT, now - _KEPT_LONGEST)
