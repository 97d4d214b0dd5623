"""A service that is asked by webhook whether a request is good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from scepkit.enrolment.third_parties import Question, Verdict

if TYPE_CHECKING:
    from scepkit.server.webhooks.circuit import Circuit
    from scepkit.server.webhooks.dialects import Dialect
    from scepkit.server.webhooks.posting import Poster


@dataclass(frozen=True, slots=True)
class Webhook:
    """Asks a service; for one event loop.

    Attributes:
        name: what log and metrics call it.
        dialect: what is asked, and what the answer means.
        poster: sends it.
        circuit: leaves a service alone that fails again and again.
        now: returns the time as an aware datetime.
    """

    name: str
    dialect: Dialect
    poster: Poster
    circuit: Circuit
    now: Callable[[], datetime]

    @property
    def identity(self) -> str:
        """Return name and URL: at another place there may be a service with other rules."""
        return f"{self.name} {self.poster.url}"

    async def judge(self, question: Question) -> Verdict:
        """Ask the service about a request.

        Raises:
            ThirdPartyFailed: it gives no answer, or none that can be used; the device comes back.
        """
        with self.circuit.attempt():
            now = self.now()
            body = self.dialect.body(question, now)
            answer = await self.poster.post(body, self.dialect.headers(question, body, now))
            return self.dialect.verdict(question, answer)
