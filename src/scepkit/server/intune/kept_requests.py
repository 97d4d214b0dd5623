"""Requests that Intune has validated, kept encrypted until it knows what became of them."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepkit.server.intune.codes import ISSUING_FAILED
from scepkit.store import IntuneName, Notice

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from scepkit.enrolment.secret_box import SecretBox
    from scepkit.enrolment.third_parties import Unfulfilled
    from scepkit.store import IntuneRow, Store

_CONTEXT = b"intune request "


@dataclass(frozen=True, slots=True)
class KeptRequests:
    """Keeps the requests of one app registration. Threads may share it.

    Attributes:
        registration: its name.
        store: where they are.
        secret_box: what they are encrypted with.
        now: returns the time as an aware datetime.
    """

    registration: str
    store: Store
    secret_box: SecretBox
    now: Callable[[], datetime]

    @property
    def name(self) -> str:
        """Return what log and metrics call the registration."""
        return f"intune {self.registration}"

    async def keep(self, name: IntuneName, csr: bytes) -> None:
        """Keep a request that Intune agrees to, for good when this returns.

        Args:
            name: the request.
            csr: the PKCS#10 as received, DER.

        Raises:
            StoreError: the database cannot be used.
        """
        hidden = self.secret_box.hide(b64encode(csr).decode("ascii"), _CONTEXT + name.csr_digest)
        kept = self.store.keep_validated(name, self.registration, hidden, self.now())
        await asyncio.wrap_future(kept)

    async def find(self, name: IntuneName) -> IntuneRow | None:
        """Return a request that Intune has validated; None where it has not, or long ago.

        Raises:
            StoreError: the database cannot be used.
        """
        return await asyncio.to_thread(self.store.validated, name)

    def csr(self, row: IntuneRow) -> bytes | None:
        """Return the PKCS#10 of a request, DER; None where the server has another key by now."""
        text = self.secret_box.reveal(row.csr, _CONTEXT + row.name.csr_digest)
        return None if text is None else b64decode(text)

    async def queue_success(self, name: IntuneName, certificate: bytes) -> Notice | None:
        """Have Intune told of a certificate later; return the notification that stands.

        Raises:
            StoreError: the database cannot be used.
        """
        now = self.now()
        queued = self.store.queue_notice(name, Notice.SUCCESS, now, certificate=certificate)
        return await asyncio.wrap_future(queued)

    def queue_failure(self, name: IntuneName, code: str, description: str) -> Future[Notice | None]:
        """Have Intune told of a failure later; return the future of what stands.

        Args:
            name: the request.
            code: one of Intune's, or of ours.
            description: what administrators of Intune read.

        Raises:
            StoreError: the database cannot be used.
        """
        return self.store.queue_notice(
            name, Notice.FAILURE, self.now(), code=code, description=description
        )

    def note_unfulfilled(self, request: Unfulfilled) -> Future[Notice | None]:
        """Have Intune told of a request that gets no certificate after all.

        Raises:
            StoreError: the database cannot be used.
        """
        name = IntuneName(request.endpoint, request.transaction_id, request.csr_digest)
        return self.queue_failure(name, ISSUING_FAILED, request.reason)
