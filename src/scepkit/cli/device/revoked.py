"""The check for revocation of a certificate that is not due for renewal."""

from __future__ import annotations

from datetime import UTC, datetime

from scepkit.cli import options, terminal
from scepkit.cli.device import reenrol_hint, renewable
from scepkit.client import revocation_check
from scepkit.client.folder import Folder
from scepkit.client.folder.record import Record, RevocationNote
from scepkit.client.http import HTTPTransport
from scepkit.errors import CertificateRevoked, SettingsError
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.crl import Reason
from scepkit.protocol.ocsp import Revoked

GOOD, UNKNOWN, NOT_NAMED = "good", "unknown", "not_named"
"""The standing of a certificate; `unknown` if no place could tell it."""


def check(folder: Folder, record: Record, *, proxy: str | None, timeout: float) -> str:
    """Ask the responders and lists that the certificate names.

    Where none of them can say how it stands, that is said in a line, and is no failure.

    Args:
        folder: with the certificate.
        record: how the CA is reached.
        proxy: as `--proxy` says.
        timeout: seconds, as `--timeout` says; a place gets no more than `TIMEOUT` of them.

    Returns:
        `GOOD`, `UNKNOWN` or `NOT_NAMED`.

    Raises:
        CertificateRevoked: it was revoked, or is on hold; that is noted in the folder.
    """
    certificate = renewable.certificate(folder)
    transport = HTTPTransport(
        timeout=min(timeout, revocation_check.TIMEOUT),
        proxy=proxy,
        max_response=revocation_check.MAX_CRL,
    )
    try:
        found = revocation_check.look(
            certificate,
            _issuers(folder),
            transport,
            lambda: datetime.now(UTC),
            options.read_legacy(",".join(record.legacy)),
        )
    finally:
        transport.close()
    if isinstance(found.status, Revoked):
        raise _revoked(folder, certificate, found.status)
    if not found.is_named:
        return NOT_NAMED
    if found.status is None:
        why = "; ".join(found.failures)
        terminal.say(f"cannot find out whether the certificate was revoked: {why}")
        return UNKNOWN
    if folder.revocation() is not None:
        folder.forget_revocation()
        terminal.say("the certificate is not on hold any more")
    return GOOD


def _issuers(folder: Folder) -> tuple[Certificate, ...]:
    try:
        return (*folder.chain(), folder.ca())
    except SettingsError:
        # Only the renewal itself needs them.
        return folder.chain()


def _revoked(folder: Folder, certificate: Certificate, status: Revoked) -> CertificateRevoked:
    """Note a revocation in the folder, and return the error."""
    is_held = status.reason == Reason.certificateHold
    names = {one.value: one.name for one in Reason if one != Reason.unspecified}
    reason = names.get(status.reason, "")
    number = show_serial(certificate.serial)
    folder.note_revocation(RevocationNote(number, status.at.isoformat(timespec="seconds"), reason))
    since = f"{status.at:%Y-%m-%d %H:%M} UTC"
    if is_held:
        return CertificateRevoked(
            f"the certificate in {folder.path} is on hold since {since}",
            hint="ask the CA's operator to release it; until then other programs refuse it",
        )
    why = f": {reason}" if reason else ""
    return CertificateRevoked(
        f"the certificate in {folder.path} was revoked at {since}{why}",
        hint=f"get a new one: {reenrol_hint.command(folder)}",
    )
