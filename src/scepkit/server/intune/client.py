"""Calls to Intune's services for SCEP servers, with a token, at a place that Graph has named."""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from scepkit.errors import ThirdPartyFailed
from scepkit.server.intune.codes import MEANINGS, SUCCESS
from scepkit.server.intune.discovery import CONNECTOR, VALIDATION, Services
from scepkit.server.intune.exchange import NotTaken, Rejected, Reply, Unreachable, exchange, line
from scepkit.server.intune.tokens import Tokens

if TYPE_CHECKING:
    from scepkit.server.intune.registration import Registration

API_VERSIONS: Mapping[str, str] = {VALIDATION: "2018-02-20", CONNECTOR: "5019-05-05"}
"""The api-version of each service; the second one is spelt so by Microsoft."""

MAX_REVOCATIONS = 500
"""The revocation requests that may be asked for at once."""

_DESCRIPTION = 255  # characters of errorDescription
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_MOVED = (404, 410)
# The statuses that are about what was sent, and not about who sent it, how often, or the service.
_NOT_TAKEN = frozenset({400, 406, 409, 413, 415, 422})
PERMISSIONS: Mapping[str, str] = {
    VALIDATION: "Entra admin centre > App registrations > the application > API permissions > Add "
    "a permission > Intune > Application permissions > scep_challenge_provider, and Grant admin "
    "consent",
    CONNECTOR: "the application has no right to the revocation queue: set revocation_minutes = 0, "
    "or see which permission Microsoft asks for by now",
}
"""The advice where a service does not answer for want of a permission."""


@dataclass(frozen=True, slots=True)
class Word:
    """The word of Intune on a request or a notification.

    Attributes:
        code: one of `codes.MEANINGS`, or another one.
        description: what it adds; one line.
        activity: the id of the call, by which Microsoft's support finds it.
    """

    code: str
    description: str
    activity: str

    @property
    def is_success(self) -> bool:
        """Say whether it agrees; Microsoft's clients compare the code exactly."""
        return self.code == SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate as a success notification names it.

    Attributes:
        thumbprint: SHA-1 of the certificate, hex in capitals.
        serial: the serial number, hex in capitals.
        not_after: until when it is valid, aware.
        issuer: the issuer's name, RFC 4514.
        endpoint: the name of the endpoint, which comes back with a request to revoke it.
    """

    thumbprint: str
    serial: str
    not_after: datetime
    issuer: str
    endpoint: str


class IntuneClient:
    """Calls Intune for one app registration; for one event loop.

    Args:
        registration: the app registration.
        monotonic: returns the seconds of a clock that nobody sets.
    """

    def __init__(
        self, registration: Registration, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.registration = registration
        self.tokens = Tokens(registration, monotonic)
        self.services = Services(registration, self.tokens)

    async def validate(self, transaction_id: str, csr: bytes) -> Word:
        """Ask whether a request is one that Intune has ordered.

        Args:
            transaction_id: the transactionID.
            csr: the PKCS#10 with its challengePassword, DER.

        Raises:
            ThirdPartyFailed: there is no word.
        """
        request = {**_about(transaction_id, csr), "callerInfo": caller_info()}
        return await self._word("validateRequest", {"request": request}, transaction_id)

    async def notify_success(self, transaction_id: str, csr: bytes, issued: Issued) -> Word:
        """Tell of a certificate; arguments and exceptions as for `validate`."""
        until = issued.not_after.astimezone(UTC)
        notification = {
            **_about(transaction_id, csr),
            "certificateThumbprint": issued.thumbprint,
            "certificateSerialNumber": issued.serial,
            "certificateExpirationDateUtc": f"{until:%Y-%m-%dT%H:%M:%S}.000Z",
            "issuingCertificateAuthority": issued.issuer,
            "callerInfo": caller_info(),
            "caConfiguration": issued.endpoint,
            "certificateAuthority": issued.issuer,
        }
        body = {"notification": notification}
        return await self._word("successNotification", body, transaction_id)

    async def notify_failure(
        self, transaction_id: str, csr: bytes, h_result: int, description: str
    ) -> Word:
        """Tell that a request got no certificate.

        Args:
            transaction_id: the transactionID.
            csr: as for `validate`.
            h_result: an HRESULT.
            description: why, for administrators of Intune; what is longer than 255 is cut.

        Raises:
            ThirdPartyFailed: there is no word.
        """
        notification = {
            **_about(transaction_id, csr),
            "hResult": h_result,
            "errorDescription": line(description, _DESCRIPTION) or "no description",
            "callerInfo": caller_info(),
        }
        body = {"notification": notification}
        return await self._word("failureNotification", body, transaction_id)

    async def revocation_requests(self, most: int = MAX_REVOCATIONS) -> list[dict[str, Any]]:
        """Return what waits in the revocation queue, as Intune has it.

        Raises:
            ThirdPartyFailed: there is no answer, or none that can be used.
        """
        body = {"downloadParameters": {"maxRequests": most, "issuerName": None}}
        call = "CertificateAuthorityRequests/downloadRevocationRequests"
        members = (await self._call(CONNECTOR, call, body)).members()
        found = members.get("value")
        if "value" in members and found is None:
            return []
        if not isinstance(found, list):
            raise Rejected("the revocation queue is no list", 200)
        return [one for one in found[:most] if isinstance(one, dict)]

    async def upload_revocations(self, results: list[dict[str, Any]]) -> None:
        """Say what became of requests from the revocation queue.

        Args:
            results: `requestContext`, `succeeded`, `errorCode` and `errorMessage` of each.

        Raises:
            ThirdPartyFailed: they were not taken.
        """
        call = "CertificateAuthorityRequests/uploadRevocationResults"
        reply = await self._call(CONNECTOR, call, {"results": results})
        if reply.members().get("value") is not True:
            raise Rejected("Intune has not taken the results of revocations", reply.status)

    async def _word(self, call: str, body: dict[str, Any], transaction_id: str) -> Word:
        try:
            word = await self._word_of(call, body, transaction_id)
        except ThirdPartyFailed:
            self._count(call, "failed")
            raise
        self._count(call, word.code if word.code in MEANINGS else "other")
        return word

    def _count(self, call: str, code: str) -> None:
        # Not before a worker process has said where its metrics go, which counts at the import.
        from scepkit.server.web import metrics

        metrics.labelled(metrics.INTUNE, self.registration.name, call, code).inc()

    async def _word_of(self, call: str, body: dict[str, Any], transaction_id: str) -> Word:
        activity = str(uuid.uuid4())
        reply = await self._call(VALIDATION, f"ScepActions/{call}", body, activity)
        found = reply.members()
        code, about = found.get("code"), found.get("transactionId")
        if not isinstance(code, str) or not code:
            said = f"the answer of {reply.host} has no code (activity {activity})"
            raise Rejected(said, reply.status)
        # .NET writes a member without a value as null.
        if about not in (None, transaction_id):
            said = f"the answer of {reply.host} is about another transaction (activity {activity})"
            raise Rejected(said, reply.status)
        return Word(line(code, 64), line(found.get("errorDescription")), activity)

    async def _call(
        self, service: str, call: str, body: dict[str, Any], activity: str = ""
    ) -> Reply:
        """Call a service; once more with a new token after a 401, and where the service has moved.

        Raises:
            Unreachable: there is no answer.
            Rejected: the answer has another status than success.
            ThirdPartyFailed: there is no token, or nobody says where the service is.
        """
        activity = activity or str(uuid.uuid4())
        was_known = self.services.held(service) is not None
        url = await self.services.url(service)
        try:
            reply = await self._authorized(service, f"{url}/{call}", body, activity)
        except Unreachable:
            self.services.drop(service, url)
            # A host that is gone has not had the call; one that is silent may have.
            if not was_known or (again := await self.services.url(service)) == url:
                raise
            return _checked(
                service, await self._authorized(service, f"{again}/{call}", body, activity)
            )
        if reply.status in _MOVED and was_known:
            self.services.drop(service, url)
            url = await self.services.url(service)
            reply = await self._authorized(service, f"{url}/{call}", body, activity)
        try:
            return _checked(service, reply)
        except NotTaken:
            # The service is where it was.
            raise
        except Rejected:
            self.services.drop(service, url)
            raise

    async def _authorized(
        self, service: str, url: str, body: dict[str, Any], activity: str
    ) -> Reply:
        """Send a call with a token, and once more with a new one where that is not taken."""
        scope = self.registration.intune_scope
        token = await self.tokens.of(scope)
        octets = json.dumps(body).encode("ascii")
        headers = {
            "Content-Type": "application/json",
            "client-request-id": activity,
            "api-version": API_VERSIONS[service],
            "UserAgent": caller_info(),
        }
        for is_last in (False, True):
            authorization = {"Authorization": f"Bearer {token}"}
            reply = await exchange(
                self.registration, "POST", url, {**headers, **authorization}, octets
            )
            if reply.status != _UNAUTHORIZED or is_last:
                break
            self.tokens.drop(scope, token)
            token = await self.tokens.of(scope)
        return reply


def _checked(service: str, reply: Reply) -> Reply:
    """Return an answer with a status of success.

    Raises:
        Rejected: it has another one; `NotTaken` where that is about the request.
    """
    if 200 <= reply.status < 300:  # noqa: PLR2004
        return reply
    lacks = reply.status in (_UNAUTHORIZED, _FORBIDDEN)
    hint = PERMISSIONS[service] if lacks else ""
    rejected = NotTaken if reply.status in _NOT_TAKEN else Rejected
    raise rejected(f"{reply.host} answers HTTP {reply.status}", reply.status, reply.body, hint)


def _about(transaction_id: str, csr: bytes) -> dict[str, str]:
    return {"transactionId": transaction_id, "certificateRequest": b64encode(csr).decode("ascii")}


@cache
def caller_info() -> str:
    """Return the name and version by which this server calls itself to Intune."""
    return f"scepkit/{version('scepkit')}"
