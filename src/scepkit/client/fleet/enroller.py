"""The enrolment of a fleet: a directory for each device, several at once, resumed after anything.

    fleet = FleetEnroller(
        DeviceList(Path("devices.csv")),
        Path("fleet"),
        FleetServer("http://ca.example/scep", by_fingerprint("sha256:5a1f…")),
    )
    report = fleet.run()

    DIR/devices/NAME/    key and certificate of a device, a `Folder`
    DIR/pkcs12/NAME.p12  see `bundles`, as for DIR/passwords.csv
    DIR/results.csv      see `results`
    DIR/fleet.json       see `plan`

The key and the request of a device are in its folder before anything is sent, so a device whose
enrolment was interrupted asks for the same certificate again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from scepkit.client.events import CATrusted, OthersCanWrite
from scepkit.client.fleet import events, files
from scepkit.client.fleet.availability import Availability
from scepkit.client.fleet.devices import Device, DeviceList
from scepkit.client.fleet.enrolment import DeviceEnrolment, FleetOptions, own_challenge
from scepkit.client.fleet.events import TellFleet
from scepkit.client.fleet.files import FleetFiles
from scepkit.client.fleet.plan import Plan
from scepkit.client.fleet.results import Result, State
from scepkit.client.fleet.server import FleetClient, FleetServer, KnownCA
from scepkit.client.folder import place
from scepkit.client.transport import Transport
from scepkit.errors import SettingsError, TransportError
from scepkit.protocol.scep import flow
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse

if TYPE_CHECKING:
    from scepkit.client.http import HTTPTransport

# Of a device that the server does not answer while it answers others.
_MOST_MISSES = 5
_TOLD_ROWS = 500


@dataclass(frozen=True, slots=True)
class FleetReport:
    """The state of a fleet at the end of a run.

    Attributes:
        plan: how many devices there are.
        counts: how many are in each state.
        stopped: why it ended before its end; "" where it did not.
    """

    plan: Plan
    counts: dict[State, int] = field(default_factory=dict)
    stopped: str = ""


class FleetEnroller:
    """Gets the certificates of a fleet, however often it is interrupted.

    Args:
        devices: who they are.
        directory: where all goes.
        server: who issues.
        options: how.
        challenge: returns the challenge of a device, or raises ScepError; its row's unless given.
            Threads call it.
        tell: takes the events.
    """

    def __init__(
        self,
        devices: DeviceList,
        directory: Path,
        server: FleetServer,
        *,
        options: FleetOptions | None = None,
        challenge: Callable[[Device], str | None] = own_challenge,
        tell: TellFleet = events.ignore,
    ) -> None:
        self._devices = devices
        self._directory = directory
        self._server = server
        self._options = options or FleetOptions()
        self._challenge = challenge
        self._tell = tell
        self._known = KnownCA(server.trust)
        self._availability = Availability()
        self._lock = Lock()
        self._stopped = ""
        self._failures = 0
        self._error: BaseException | None = None

    def run(self) -> FleetReport:
        """Enrol all devices that have no certificate yet; those that were refused, too.

        A KeyboardInterrupt, as by Ctrl-C, waits for the requests under way, and goes on.

        Raises:
            SettingsError: the directory or the list cannot be used, or another process is at work
                in the directory. Nothing was sent where the list has a mistake.
            UntrustedCA, LegacyRefused: the server's CA.
            TransportError: the server was away for longer than the patience.
        """
        how = self._options
        with files.opened(self._directory, pkcs12=how.pkcs12, legacy=how.pkcs12_legacy) as opened:
            plan, begun = self._checked(opened)
            exposed = place.writable_by_others(self._directory)
            if exposed is not None:
                self._tell(OthersCanWrite(self._directory, exposed))
            self._meet()
            plan.write(self._directory)
            opened.make_devices()
            self._tell(begun)
            try:
                self._enrol_all(opened)
            except BaseException:
                with suppress(SettingsError):
                    opened.results.tidy()
                raise
            opened.results.tidy()
            return FleetReport(plan, dict(opened.results.counts()), self._stopped)

    def stop(self, reason: str) -> None:
        """Begin with no other device, and end when the requests under way are over."""
        self._stopped = self._stopped or reason
        self._availability.stop()

    def _checked(self, opened: FleetFiles) -> tuple[Plan, events.FleetBegun]:
        """Read the whole list, and count."""
        devices = to_do = listed = 0
        for device in self._devices.checked(lambda one: self._tell(events.RowWrong(one))):
            devices += 1
            if devices % _TOLD_ROWS == 0:
                self._tell(events.RowsChecked(_TOLD_ROWS))
            to_do += not opened.is_done(device)
            listed += opened.results.state(device.name) is not None
        # What earlier lists had stays in the results.
        others = sum(opened.results.counts().values()) - listed
        plan = Plan(str(self._devices.path.absolute()), self._server.url, devices + others)
        return plan, events.FleetBegun(self._directory, devices, to_do)

    def _meet(self) -> None:
        """Ask the fleet's server about its CA, so that a mistake ends it before a device begins."""
        with closing(self._transport()) as transport:
            client = FleetClient(self._server, "", transport, self._known)
            while self._availability.wait():
                asked_at = time.monotonic()
                try:
                    information = client.ask()
                except TransportError as error:
                    if not flow.worth_repeating(error):
                        raise
                    self._wait_for(error, asked_at)
                    continue
                self._answered()
                self._tell(CATrusted(client.trust(information, self._known.anchor(information))))
                return

    def _enrol_all(self, opened: FleetFiles) -> None:
        waiting = (device for device in self._devices if not opened.is_done(device))
        enrolment = DeviceEnrolment(
            opened, self._server, self._known, self._options, self._challenge
        )
        # Daemons: whoever interrupts the end as well means it, and nothing is lost by it.
        ends = [Event() for _ in range(self._options.parallel)]
        for end in ends:
            Thread(target=self._enrol_some, args=(enrolment, waiting, end), daemon=True).start()
        try:
            _wait(ends)
        except KeyboardInterrupt:
            self.stop("interrupted")
            with self._lock:
                self._tell(events.Stopping())
            _wait(ends)
            raise
        if self._error is not None:
            raise self._error

    def _enrol_some(
        self, enrolment: DeviceEnrolment, waiting: Iterator[Device], end: Event
    ) -> None:
        """Enrol one device after the other, as one thread of several; set `end` in the end."""
        try:
            with closing(self._transport()) as transport:
                while not self._stopped:
                    with self._lock:
                        device = next(waiting, None)
                    if device is None:
                        return
                    self._enrol(enrolment, device, transport)
        except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
            with self._lock:
                self._error = self._error or error
            self.stop(str(error))
        finally:
            end.set()

    def _enrol(self, enrolment: DeviceEnrolment, device: Device, transport: HTTPTransport) -> None:
        """Enrol a device, and wait with all others while the server is away."""
        misses, answers = 0, self._availability.answers
        while self._availability.wait():
            asked_at, listening = time.monotonic(), _Listening(transport)
            try:
                result = enrolment.attempt(device, listening)
            except TransportError as error:
                # A server that answers others has something against this one.
                now = self._availability.answers
                misses, answers = misses + (now != answers), now
                if misses < _MOST_MISSES:
                    self._wait_for(error, asked_at)
                    continue
                result = Result.missed(device.name, State.FAILED, error, "")
            if listening.has_heard:
                self._answered()
            else:
                self._availability.nothing_learnt(asked_at)
            enrolment.files.results.add(result)
            self._end(result)
            return

    def _end(self, result: Result) -> None:
        with self._lock:
            self._tell(events.DeviceEnded(result))
            self._failures += result.has_failed
            if self._failures == self._options.stop_after and not self._stopped:
                self.stop(f"{self._failures} failed")

    def _answered(self) -> None:
        if self._availability.answered():
            with self._lock:
                self._tell(events.ServerBack())

    def _wait_for(self, error: TransportError, asked_at: float) -> None:
        """Have all wait for the server.

        Raises:
            TransportError: it has been away for too long.
        """
        seconds = self._availability.away(error, asked_at)
        if self._availability.gone_for() >= self._options.patience:
            raise error
        if seconds is not None:
            with self._lock:
                self._tell(events.ServerAway(error.message, seconds))

    def _transport(self) -> HTTPTransport:
        server = self._server
        return server.connection.transport(
            server.tls_ca, client_certificate=server.client_certificate
        )


class _Listening:
    """A transport that remembers whether an answer came: not every device needs one."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.has_heard = False

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        response = self._transport.send(url, request)
        self.has_heard = True
        return response


def _wait(ends: Iterable[Event]) -> None:
    # Before Python 3.13 a `join` that Ctrl-C interrupts takes its thread for ended.
    for end in ends:
        end.wait()
