"""The revocation of the certificate in a directory, by the holder of its key.

    Revoker(Folder(Path("device1")), Connection()).revoke(Reason.keyCompromise)

Server and algorithms are those that the directory records, and it keeps a note of the revocation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scepkit.client import clock, events, revocation
from scepkit.client.client import Connection
from scepkit.client.events import Tell
from scepkit.client.folder import Folder, place
from scepkit.client.folder.record import Record, RevocationNote
from scepkit.client.revocation import Revoked
from scepkit.client.tls import ClientCertificate
from scepkit.client.transport import run_flow
from scepkit.client.trust import normalize_url
from scepkit.errors import Hint, SettingsError
from scepkit.protocol import cmp
from scepkit.protocol.algorithms import NO_LEGACY, Legacy
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.cmp import Reason
from scepkit.protocol.scep import ca_certificates
from scepkit.protocol.scep.ca_certificates import TrustedCA

if TYPE_CHECKING:
    from scepkit.client.http import HTTPTransport


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """A certificate that is revoked.

    Attributes:
        certificate: the certificate.
        answer: the CA's.
    """

    certificate: Certificate
    answer: Revoked


class Revoker:
    """Has the certificate in a directory revoked.

    Args:
        folder: the directory.
        connection: the way to servers.
        url: the CA's CMP service; where a server of this project has it unless given.
        tls_ca: file of the certificates to check HTTPS with; the recorded one unless given.
        client_certificate: shown by HTTPS; the recorded one unless given.
        allowed: legacy algorithms of the answer; the recorded ones unless given.
        tell: takes the events.
    """

    def __init__(
        self,
        folder: Folder,
        connection: Connection,
        *,
        url: str = "",
        tls_ca: Path | None = None,
        client_certificate: ClientCertificate | None = None,
        allowed: frozenset[Legacy] | None = None,
        tell: Tell = events.ignore,
    ) -> None:
        self._folder = folder
        self._connection = connection
        self._url = url
        self._tls_ca = tls_ca
        self._client_certificate = client_certificate
        self._allowed = allowed
        self._tell = tell

    def revoke(
        self,
        reason: Reason = Reason.unspecified,
        *,
        passphrase: str | Callable[[], str | None] | None = None,
        confirm: Callable[[Certificate], None] = lambda _certificate: None,
    ) -> RevokedCertificate:
        """Have the certificate revoked, with its key as proof or with a passphrase.

        Args:
            reason: why.
            passphrase: the challenge of its enrolment, where the key is lost, or a function that
                returns it.
            confirm: called before anything is sent; what it raises stops the revocation.

        Raises:
            SettingsError: the directory cannot be used, or its server is not recorded.
            UsageError: the server's CMP service is not known.
            RevocationRefused, BadReply, LegacyRefused, TransportError: see `revocation.revoke`.
        """
        folder = self._folder
        folder.check_exists()
        exposed = place.writable_by_others(folder.path)
        if exposed is not None:
            self._tell(events.OthersCanWrite(folder.path, exposed))
        with folder.locked():
            if folder.recover():
                self._tell(events.InstallationFinished(folder.path))
            certificate = folder.require_certificate("that could be revoked")
            record = folder.record()
            secret = passphrase() if callable(passphrase) else passphrase
            url = normalize_url(self._url) if self._url else self._recorded_url(record)
            protector, trusted = self._protector(certificate, secret), self._trusted()
            confirm(certificate)
            flow = revocation.revoke(
                url, certificate, protector, trusted, reason=reason, allowed=self._accepted(record)
            )
            with closing(self._transport(record)) as transport:
                answer = run_flow(flow, transport, url, self._connection.pause)
            self._note(certificate, answer, reason)
        return RevokedCertificate(certificate, answer)

    def _recorded_url(self, record: Record | None) -> str:
        if record is None:
            raise SettingsError(
                f"the server of the certificate in {self._folder.path} is not recorded",
                hint=Hint.CMP_UNRECORDED,
            )
        return revocation.cmp_url(record.url, record.ca_id)

    def _protector(
        self, certificate: Certificate, passphrase: str | None
    ) -> Callable[[], cmp.Protector]:
        if passphrase is not None:
            return lambda: revocation.by_passphrase(passphrase, certificate)
        key = self._folder.key()
        return lambda: revocation.by_key(key, certificate)

    def _trusted(self) -> TrustedCA:
        anchor = self._folder.ca()
        chain = [*self._folder.chain(), anchor]
        return ca_certificates.trust(chain, anchor, clock.now())

    def _accepted(self, record: Record | None) -> frozenset[Legacy]:
        if self._allowed is not None:
            return self._allowed
        return NO_LEGACY if record is None else record.allowed

    def _transport(self, record: Record | None) -> HTTPTransport:
        if record is None:
            return self._connection.transport(
                self._tls_ca, client_certificate=self._client_certificate
            )
        return self._connection.transport_of(record.showing(self._client_certificate), self._tls_ca)

    def _note(self, certificate: Certificate, answer: Revoked, reason: Reason) -> None:
        """Keep it in the folder; what was said the first time stays."""
        if answer.was_before and self._folder.revocation() is not None:
            return
        now = clock.now().isoformat(timespec="seconds")
        why = "" if answer.was_before else reason.name
        self._folder.note_revocation(RevocationNote(show_serial(certificate.serial), now, why))
