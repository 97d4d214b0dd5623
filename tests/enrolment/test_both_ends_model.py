"""Our client against our endpoint and its database, over a network that loses, repeats and garbles.

The model is small, because the promise is: whatever happens on the way, and whichever end restarts,
a device that asks again gets the certificate that it was granted, once, and pays one challenge.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import keys
from enrolment.world import World
from scepkit.client import prepared_request, transport
from scepkit.client.prepared_request import PreparedRequest
from scepkit.errors import BadReply, RequestRefused, StillPending, TransportError
from scepkit.protocol.scep import ca_certificates, capabilities, transaction
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse
from scepkit.protocol.scep.transaction import Exchange, Issued, Limits

DEVICES = ("device", "stranger")
CAPABILITIES = capabilities.parse(b"SCEPStandard\nRenewal\nAES\nSHA-256\nPOSTPKIOperation")
FATES = st.lists(
    st.sampled_from(["well", "request lost", "reply lost", "reply garbled", "reply of before"]),
    max_size=6,
)
LIMITS = Limits(retries=2, max_polls=2)


class Network:
    """Carries messages to an endpoint; what becomes of each is said beforehand."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fates: deque[str] = deque()
        self.last = b"nothing yet"

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        fate = self.fates.popleft() if self.fates else "well"
        if fate == "request lost":
            raise TransportError("lost")
        before, self.last = self.last, self.world.endpoint.respond(request.body)
        if fate == "reply lost":
            raise TransportError("lost")
        body = {
            "well": self.last,
            "reply garbled": self.last[:-1] + bytes([self.last[-1] ^ 1]),
            "reply of before": before,
        }[fate]
        return HTTPResponse(200, body, "application/x-pki-message")


@dataclass
class Device:
    """What one device knows, as it would be on its disk."""

    name: str
    order: PreparedRequest | None = None
    holder: keys.Holder | None = None
    revoked: bool = False
    certificates: int = 0


class BothEndsMachine(RuleBasedStateMachine):
    """Devices that enrol and renew; an operator who approves, rejects and revokes."""

    empty_database: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="scep-model-"))
        self.world = World(self.directory, self.empty_database)
        self.network = Network(self.world)
        self.devices = {name: Device(name) for name in DEVICES}
        self.challenges = 0
        self.serial = 0

    def teardown(self) -> None:
        self.world.store.close()
        shutil.rmtree(self.directory)

    def ask(self, device: Device, fates) -> Issued | Exception:
        """Have a device send its order, as often as its client does; one run of `scep enroll`."""
        self.network.fates = deque(fates)
        ra, ca = keys.ra().certificate, keys.ca().certificate
        exchange = Exchange(
            ca=ca_certificates.trust((ra, ca), ca, self.world.now),
            choice=capabilities.choose(CAPABILITIES, frozenset()),
            signer=device.order.signer,
            random=os.urandom,
            now=lambda: self.world.now,
            limits=LIMITS,
        )
        flow = transaction.enrol(exchange, device.order.request, device.order.transaction_id)
        try:
            return transport.run_flow(flow, self.network, "http://memory", lambda _: None)
        except (TransportError, BadReply, StillPending, RequestRefused) as error:
            return error

    def follow(self, device: Device, fates) -> None:
        """Send an order and compare what came of it."""
        outcome = self.ask(device, fates)
        if isinstance(outcome, Issued):
            stored = self.world.store.certificate(outcome.certificate.serial)
            assert stored is not None
            assert outcome.certificate.public_key == keys.device(device.name).key.public_key()
            device.holder = keys.Holder(keys.device(device.name).key, outcome.certificate.x509())
            device.order, device.revoked = None, False
        elif isinstance(outcome, RequestRefused):
            # Only an operator's word ends a transaction here.
            assert device.revoked or self.rejected(device)
            device.order = None
        else:
            assert fates or isinstance(outcome, StillPending)

    def rejected(self, device: Device) -> bool:
        rows = self.world.store.requests(status=None)
        mine = device.order.transaction_id.value
        return any(r.transaction_id == mine and r.status == "rejected" for r in rows)

    @rule(name=st.sampled_from(DEVICES), fates=FATES, wants_approval=st.booleans())
    def enrol(self, name, fates, wants_approval):
        device = self.devices[name]
        if device.order is None:
            self.serial += 1
            self.challenges += 1
            device.order = prepared_request.prepare(
                keys.device(name).key,
                f"CN={name} {self.serial}",
                challenge=self.world.challenge(),
                now=self.world.now,
            )
        if wants_approval != self.world.rules.approval:
            self.world.use(approval=wants_approval)
        self.follow(device, fates)

    @rule(name=st.sampled_from(DEVICES), fates=FATES)
    def renew(self, name, fates):
        device = self.devices[name]
        if device.holder is None or device.order is not None:
            return
        key = keys.device(name).key
        device.order = prepared_request.prepare_renewal(key, device.holder.certificate, key)
        before = device.holder.x509
        self.follow(device, fates)
        assert device.holder.x509 == before or device.order is None

    @rule(name=st.sampled_from(DEVICES), fates=FATES)
    def ask_again(self, name, fates):
        """The device was restarted, and finds its order on its disk."""
        if self.devices[name].order is not None:
            self.follow(self.devices[name], fates)

    @rule(approve=st.booleans())
    def operator(self, approve):
        for row in list(self.world.store.requests()):
            if approve:
                self.world.approval.approve(row.id, by="model", now=self.world.now)
            else:
                self.world.approval.reject(row.id, reason="", by="model", now=self.world.now)

    @rule(name=st.sampled_from(DEVICES))
    def revoke(self, name):
        device = self.devices[name]
        if device.holder is not None and device.order is None:
            serial = device.holder.x509.serial_number
            self.world.store.revoke(serial, reason=1, by="model", now=self.world.now)
            device.revoked = True

    @precondition(lambda self: self.serial)
    @rule()
    def restart(self):
        self.world.restart()

    @invariant()
    def one_order_one_certificate(self):
        """No request has two certificates, and no challenge was spent for more than one."""
        rows = list(self.world.store.requests(status=None))
        serials = [row.serial for row in rows if row.serial is not None]
        assert len(set(serials)) == len(serials) == self.world.issued
        assert len({row.transaction_id for row in rows}) == len(rows)
        assert self.world.spent <= self.challenges

    def drain(self) -> None:
        """In the end everybody who has an order gets an answer."""
        # What never reached the server does so now, and may have to be approved.
        for _ in range(2):
            for device in self.devices.values():
                if device.order is not None:
                    self.follow(device, [])
            self.operator(approve=True)
        assert [one.name for one in self.devices.values() if one.order is not None] == []


class DrainedMachine(BothEndsMachine):
    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            super().teardown()


@pytest.mark.rfc("P-43", "P-44", "P-52", "S-5.2-1", "S-3.2.1.5-3", "S-2.5.1-3", "S-2.5.1-4")
def test_model(empty_database):
    """Lost, garbled and replayed messages and restarts at both ends: one order, one certificate."""
    DrainedMachine.empty_database = empty_database
    examples = settings.default.max_examples // 2
    run_state_machine_as_test(
        DrainedMachine, settings=settings(max_examples=examples, stateful_step_count=20)
    )
