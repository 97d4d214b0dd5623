"""Validation of requests by Intune, before anything is signed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepkit.enrolment.answers import NOTHING, ServiceAnswer
from scepkit.enrolment.third_parties import ASSENT_LIFETIME, No, Verdict, Yes
from scepkit.errors import ThirdPartyFailed
from scepkit.server.intune.codes import meaning
from scepkit.store import IntuneName, Notice

if TYPE_CHECKING:
    from scepkit.enrolment.third_parties import Question
    from scepkit.protocol.csr import CertificationRequest
    from scepkit.server.intune.client import IntuneClient, Word
    from scepkit.server.intune.kept_requests import KeptRequests
    from scepkit.server.intune.single_flight import SingleFlight
    from scepkit.server.webhooks.circuit import Circuit


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Asks Intune about requests; for one event loop.

    A request is asked about once, though the device hangs up meanwhile and comes again: Intune may
    let a challenge serve once.

    Attributes:
        client: calls Intune.
        circuit: leaves it alone where it fails again and again.
        requests: keeps what it agrees to.
        calls: those under way.
    """

    client: IntuneClient
    circuit: Circuit
    requests: KeptRequests
    calls: SingleFlight[Verdict]

    @property
    def name(self) -> str:
        """Return what log and metrics call it."""
        return self.requests.name

    @property
    def identity(self) -> str:
        """Return what tells it from other services: its registration's name."""
        return self.requests.name

    async def judge(self, question: Question) -> Verdict:
        """Ask Intune about a request, unless it was asked before.

        Raises:
            ThirdPartyFailed: there is no word; the device comes back.
            StoreError: the database cannot be used.
        """
        return await self.calls.run(question.id, lambda: self._judge(question))

    async def _judge(self, question: Question) -> Verdict:
        csr = question.csr
        name = IntuneName(
            question.endpoint, question.transaction_id, hashlib.sha256(csr.der).digest()
        )
        row = await self.requests.find(name)
        if row is not None and row.notice is Notice.FAILURE:
            return No("Intune has agreed, and is told that no certificate came of it")
        since = self.requests.now() - ASSENT_LIFETIME
        if row is not None and row.validated_at >= since:
            return Yes(judged(csr))
        with self.circuit.attempt():
            word = await self.client.validate(name.transaction_id.decode("latin-1"), csr.der)
        if not word.is_success:
            return No(refusal(word))
        await self.requests.keep(name, csr.der)
        return Yes(judged(csr))


def refusal(word: Word) -> str:
    """Return why Intune refuses, for the log."""
    said = f": {word.description}" if word.description else ""
    return f"{meaning(word.code)}{said}; activity {word.activity}"


def judged(csr: CertificationRequest) -> ServiceAnswer:
    """Return the names that Intune has judged, to which the certificate is bound.

    So what is in them of who somebody is may go into the certificate.

    Returns:
        No names where one of them cannot be written as text: they stay as they are, and no log-in
        comes of them.
    """
    names = tuple(map(str, csr.extensions.subject_alternative_names))
    try:
        return ServiceAnswer(subject=str(csr.subject), names=names)
    except ThirdPartyFailed:
        return NOTHING
