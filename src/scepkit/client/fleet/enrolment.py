"""The enrolment of one device of a fleet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

from cryptography import x509

from scepkit.client import keys
from scepkit.client.enroller import Enroller
from scepkit.client.events import Event, RequestPrepared
from scepkit.client.fleet.devices import Device
from scepkit.client.fleet.files import FleetFiles
from scepkit.client.fleet.results import Result, State
from scepkit.client.fleet.server import FleetClient, FleetServer, KnownCA
from scepkit.client.folder import Folder
from scepkit.client.transport import Transport
from scepkit.errors import (
    BadReply,
    FailInfo,
    RequestRefused,
    ScepError,
    SettingsError,
    StillPending,
    TransportError,
    UsageError,
)
from scepkit.protocol.certificate_template import certificate_template
from scepkit.protocol.scep import flow

_MOST_PARALLEL = 256


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """The way in which a fleet enrols.

    Attributes:
        key: the kind of key of devices whose row has none.
        purposes: for extendedKeyUsage; none leaves them to the CA.
        parallel: how many devices at once.
        pkcs12: whether each device gets a PKCS#12 file.
        stop_after: how many devices may be refused or fail before it ends; None for all.
        patience: seconds that the server may be away before it ends.
        template: the name of one of the CA's certificate templates, or its OID; see
            `certificate_template`.
        pkcs12_legacy: whether PKCS#12 files are encrypted for old importers.

    Raises:
        UsageError: one cannot be meant.
    """

    key: str = keys.DEFAULT_KEY
    purposes: tuple[x509.ObjectIdentifier, ...] = ()
    parallel: int = 8
    pkcs12: bool = True
    stop_after: int | None = None
    patience: float = 3600.0
    template: str = ""
    pkcs12_legacy: bool = False

    def __post_init__(self) -> None:
        keys.check_spec(self.key)
        if self.template:
            certificate_template(self.template)
        if not 1 <= self.parallel <= _MOST_PARALLEL:
            raise UsageError(f"{self.parallel} at once: it has to be 1 to {_MOST_PARALLEL}")


def own_challenge(device: Device) -> str | None:
    """Return the challenge of a device's row."""
    return device.challenge


class DeviceEnrolment:
    """Gets the certificate of one device after the other. Threads may share it.

    Args:
        files: of the fleet.
        server: the fleet's.
        known: what is known of the CA.
        options: how to enrol.
        challenge: returns the challenge of a device.
    """

    def __init__(
        self,
        files: FleetFiles,
        server: FleetServer,
        known: KnownCA,
        options: FleetOptions,
        challenge: Callable[[Device], str | None],
    ) -> None:
        self.files = files
        self._server = server
        self._known = known
        self._options = options
        self._challenge = challenge

    def attempt(self, device: Device, transport: Transport) -> Result:
        """Return what becomes of a device.

        Raises:
            TransportError: the server is away, or busy.
            SettingsError: this machine refuses something, to this device and to the next.
        """
        sent = _Sent()
        try:
            return self._certified(device, transport, sent)
        except ScepError as error:
            is_away = isinstance(error, TransportError) and flow.worth_repeating(error)
            if is_away or _is_of_machine(error):
                raise
            asked = sent.transaction_id or self._begun(device)
            return Result.missed(device.name, _state(error), error, asked)

    def _begun(self, device: Device) -> str:
        """Return the transactionID of the request that waits in a device's directory, or ""."""
        with suppress(SettingsError):
            record = self.files.folder(device).unfinished_record()
            return record.transaction_id if record else ""
        return ""

    def _certified(self, device: Device, transport: Transport, sent: _Sent) -> Result:
        folder = self.files.folder(device)
        if not _has_certificate(folder):
            client = FleetClient(self._server, device.url, transport, self._known)
            enroller = Enroller(
                client,
                folder,
                self._known.anchor,
                tls_ca=self._server.tls_ca,
                client_certificate=self._server.client_certificate,
                tell=sent,
            )
            enrol = partial(
                enroller.enrol,
                device.subject,
                names=device.names,
                purposes=self._options.purposes,
                template=self._options.template,
                key=device.key or self._options.key,
                challenge=cache(lambda: self._challenge(device)),
            )
            try:
                enrol()
            except (BadReply, RequestRefused) as error:
                if not _may_be_another_ra(error):
                    raise
                client.forget()
                enrol()
        if self.files.bundles is not None:
            self.files.bundles.write(device.name, device.file_name, folder)
        record = folder.record()
        return Result.done(
            device.name, folder.require_certificate(), record.transaction_id if record else ""
        )


class _Sent:
    """Takes the events of one enrolment, for the transactionID of its request."""

    transaction_id = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, RequestPrepared):
            self.transaction_id = str(event.request.transaction_id)


def _has_certificate(folder: Folder) -> bool:
    """Say whether a device got its certificate earlier, and finish its installation."""
    if not folder.path.exists():
        return False
    with folder.locked():
        folder.recover()
        return folder.certificate() is not None


def _may_be_another_ra(error: BadReply | RequestRefused) -> bool:
    """Say whether an answer may come of an RA certificate that is not the CA's any more."""
    if isinstance(error, BadReply):
        return not error.final
    return error.failure.fail_info is FailInfo.badMessageCheck


def _state(error: ScepError) -> State:
    match error:
        case RequestRefused():
            return State.REFUSED
        case StillPending():
            return State.WAITING
    return State.FAILED


def _is_of_machine(error: ScepError) -> bool:
    """Say whether the file system refuses what it would refuse for the next device, too."""
    cause = error.__cause__
    # BlockingIOError: another process is at work in this one directory.
    return (
        isinstance(error, SettingsError)
        and isinstance(cause, OSError)
        and not isinstance(cause, BlockingIOError)
    )
