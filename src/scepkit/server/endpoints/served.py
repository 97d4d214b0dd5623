"""The endpoints in service.

They are replaced as a whole when a CA's files change, or the settings. A rollover, a rotated RA or
a next CA that was prepared reaches every worker process this way, each by its own looking, without
a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread

import structlog

from scepkit.errors import ScepError
from scepkit.protocol.certificate import Certificate
from scepkit.server.doors.opened import JamfDoor, NDESDoor
from scepkit.server.web.ca_publication import Publication
from scepkit.server.webhooks.referee import Webhook
from scepkit.services.cmp import CMPService
from scepkit.services.ocsp import OCSPService
from scepkit.services.renewal_info import RenewalTimes
from scepkit.services.scep import SCEPService

# Seconds between two looks at the files of the CAs.
LOOK_SECONDS = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServedEndpoint:
    """An endpoint as it answers devices.

    Attributes:
        ca: the name of its CA.
        scep: decides requests for certificates.
        publication: what needs no deciding.
        recipients: what names its certificates in an envelope, see `recipient_id`.
        ocsp: says how the certificates of its CA stand; endpoints with one CA share it.
        renewals: says when its certificates are best renewed.
        cmp: has certificates revoked by their owners; None where that is turned off.
        ndes: its NDES page; None where it has none.
        jamf: its webhook SCEPChallenge; None where it has none.
        takes_long: whether a request may take so much work, or wait for the database so long, that
            others would wait for it.
        services: those that its rules ask.
    """

    ca: str
    scep: SCEPService
    publication: Publication
    recipients: tuple[bytes, ...]
    ocsp: OCSPService
    renewals: RenewalTimes
    cmp: CMPService | None = None
    ndes: NDESDoor | None = None
    jamf: JamfDoor | None = None
    takes_long: bool = False
    services: tuple[Webhook, ...] = ()


class Endpoints:
    """The endpoints as they are served. Threads may share it.

    Args:
        stamp: returns something that changes with the files.
        build: reads the files and puts all endpoints together, but for those whose CA is yet to
            come.
        authorities: returns the names of the CAs by endpoint, as the settings in force have them.
        at_certsrv: returns the name of the endpoint below /certsrv, in the same way; "" for none.

    Attributes:
        served: the endpoints by name, as they are at this moment: read it once for each request.
        authorities: as given.
        at_certsrv: as given.
        fault: the error of the files as they are now; None when they can be read.

    Raises:
        ScepError: what `build` raises.
    """

    def __init__(
        self,
        stamp: Callable[[], Hashable],
        build: Callable[[], Mapping[str, ServedEndpoint]],
        authorities: Callable[[], Mapping[str, str]] = dict,
        at_certsrv: Callable[[], str] = str,
    ) -> None:
        self.authorities = authorities
        self.at_certsrv = at_certsrv
        self._stamp = stamp
        self._build = build
        self._lock = Lock()
        self._stopped = Event()
        # The stamp first: what changes while it is read is read again at the next look.
        self._seen = stamp()
        self.served = build()
        self.fault: ScepError | None = None

    def refresh(self) -> bool:
        """Look at the files and, when they changed, serve their new contents.

        What cannot be read is logged, once, and the old goes on being served.

        Returns:
            Whether something else is served now.
        """
        with self._lock:
            try:
                seen = self._stamp()
                if seen == self._seen:
                    # Perhaps again: what could not be read was put back as it was.
                    self.fault = None
                    return False
                served = self._build()
            except ScepError as error:
                self._report(error)
                return False
            self._seen, self.served, self.fault = seen, served, None
        log.info("the CAs changed and were read again", endpoints=sorted(served))
        return True

    def replace(
        self,
        seen: Hashable,
        served: Mapping[str, ServedEndpoint],
        switch: Callable[[], None],
    ) -> None:
        """Serve other endpoints from now on; requests under way keep those that they have.

        Args:
            seen: the stamp of the files of before `served` was put together.
            served: the endpoints by name.
            switch: called at that moment; `stamp` and `build` go by it from then on.
        """
        with self._lock:
            switch()
            self._seen, self.served, self.fault = seen, served, None

    def start(self) -> None:
        """Look again and again, in a thread of its own, until `close`."""
        Thread(target=self._watch, name="scepkit-endpoints", daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self.refresh()
            except Exception:
                log.exception("bug in scepkit; please report it")

    def _report(self, error: ScepError) -> None:
        if self.fault is not None and error.message == self.fault.message:
            return
        # Without its traceback and cause, which hold what was read.
        self.fault = ScepError(error.message, hint=error.hint)
        log.error(
            "the CAs changed but cannot be read; the old ones stay in service",
            error=error.message,
            hint=error.hint,
        )


def recipient_id(certificate: Certificate) -> bytes:
    """Return the identity of a certificate in an envelope: its issuer and serial number, DER."""
    return certificate.issuer + certificate.serial_number
