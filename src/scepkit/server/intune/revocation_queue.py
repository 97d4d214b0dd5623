"""Intune's revocation queue: certificates of devices that were wiped, retired or lost a profile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from scepkit.errors import ScepError
from scepkit.operations.revocation import revoke
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.crl import Reason
from scepkit.store import CertificateKey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from scepkit.server.intune.client import IntuneClient
    from scepkit.store import CertificateRow, Store

AT_ONCE = 100
"""The requests that are taken from the queue at once."""

_MOST_ROUNDS = 50
_MOST_CONTEXT = 8192  # characters
_SERIAL = re.compile(r"[0-9A-Fa-f:]{1,64}")

# Microsoft's codes of results.
_NONE, _INVALID, _NOT_FOUND, _CONFLICT, _RETRYABLE = "0", "4002", "4004", "4005", "4101"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RevocationQueue:
    """Revokes what Intune asks for, through one app registration.

    Attributes:
        client: calls Intune.
        endpoints: those that use the registration: no other's certificate is revoked.
        store: where the certificates are.
        now: returns the time as an aware datetime.
    """

    client: IntuneClient
    endpoints: Collection[str]
    store: Store
    now: Callable[[], datetime]

    @property
    def name(self) -> str:
        """Return what log and record call it."""
        return f"intune {self.client.registration.name}"

    async def work_off(self) -> int:
        """Revoke what is in the queue and say so; return how many requests there were.

        A crash in between does no harm: what is not answered comes again, and what was revoked for
        Intune is answered with success once more.

        Raises:
            ThirdPartyFailed: Intune cannot be asked, or has not taken the results.
        """
        count = 0
        for _ in range(_MOST_ROUNDS):
            asked = await self.client.revocation_requests(AT_ONCE)
            results = [result for one in asked if (result := self.revoke(one)) is not None]
            if results:
                await self.client.upload_revocations(results)
            count += len(results)
            if len(asked) < AT_ONCE or not results:
                break
        return count

    def revoke(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Revoke a certificate, and return the result as Intune wants it.

        Args:
            asked: the request as Intune has it.

        Returns:
            None where it has no context, by which the result would be known.
        """
        context, serial = asked.get("requestContext"), asked.get("serialNumber")
        if not isinstance(context, str) or not 0 < len(context) <= _MOST_CONTEXT:
            log.warning("a request to revoke has no context and is passed over", by=self.name)
            return None
        if not isinstance(serial, str) or not _SERIAL.fullmatch(serial):
            code, said = _INVALID, "the serial number is not in hex"
        else:
            code, said = self._revoke(int(serial.replace(":", "") or "0", 16), asked)
        return {
            "requestContext": context,
            "succeeded": code == _NONE,
            "errorCode": code,
            "errorMessage": said,
        }

    def _revoke(self, serial: int, asked: dict[str, Any]) -> tuple[str, str]:
        try:
            rows = self._found(serial, asked)
            if len(rows) > 1:
                return _INVALID, "several CAs have issued that serial number"
            if not rows:
                log.warning(
                    "Intune asks to revoke what none of its endpoints has issued",
                    by=self.name,
                    serial=show_serial(serial),
                )
                return _NOT_FOUND, "no certificate with that serial number was issued for Intune"
            return self._revoke_row(rows[0])
        except ScepError as error:
            log.error("a certificate was not revoked", by=self.name, error=error.message)  # noqa: TRY400
            return _RETRYABLE, "the server's database does not answer"

    def _revoke_row(self, row: CertificateRow) -> tuple[str, str]:
        key = CertificateKey(row.serial, row.issuer)
        change = revoke(
            self.store,
            key,
            reason=Reason.cessationOfOperation,
            by=self.name,
            now=self.now(),
            note="Intune asks for it",
        )
        if change is None:
            return _NOT_FOUND, "the certificate is not kept any more"
        if change.is_new:
            facts = {"serial": show_serial(row.serial), "subject": row.subject}
            log.info("a certificate is revoked", by=self.name, endpoint=row.endpoint, **facts)
        elif change.certificate.revoked_by != self.name:
            return _CONFLICT, "the certificate was revoked already"
        return _NONE, ""

    def _found(self, serial: int, asked: dict[str, Any]) -> list[CertificateRow]:
        """Return the certificates with a serial number that Intune may have revoked.

        Where several CAs have issued it, the endpoint that Intune names decides: it was told.
        """
        rows = [
            one for one in self.store.certificates_with(serial) if one.endpoint in self.endpoints
        ]
        named = asked.get("caConfiguration")
        if len(rows) > 1 and isinstance(named, str):
            rows = [one for one in rows if one.endpoint == named]
        return rows
