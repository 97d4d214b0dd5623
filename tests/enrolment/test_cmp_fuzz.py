"""Whatever is sent to an endpoint's CMP, it is answered or HTTP 400, and nobody else is revoked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import der
import mutation
from cmp import forging
from enrolment.revoking import request, service
from enrolment.world import World
from scepkit.errors import Malformed
from scepkit.protocol import cmp
from scepkit.protocol.crl import Reason


class Scene:
    """A device that may have its certificate revoked, and another one that must not be."""

    def __init__(self, world):
        self.world = world
        world.use(cmp_revoke_by_subject=True, revocation_passphrase=True)
        self.owner, self.other = world.enrolled(), world.enrolled("other")
        self.serving = service(world)
        self.sent = request(self.owner, Reason.certificateHold)

    def send(self, message):
        """Send something; return whether it was granted."""
        try:
            answer = self.serving.answer(message)
        except Malformed:
            return False
        cmp.message.read(answer.der)
        (good,) = self.world.sql(
            "SELECT count(*) FROM certificates WHERE revoked_at IS NOT NULL"
            f" AND serial != '{self.owner.x509.serial_number:x}'"
        )[0]
        assert good == 0
        if answer.outcome == "accepted":
            serial = self.owner.x509.serial_number
            self.world.sql(
                "UPDATE certificates SET revoked_at = NULL, revocation_reason = NULL,"
                f" revoked_by = NULL WHERE serial = '{serial:x}'"
            )
            self.world.sql("DELETE FROM revocations")
        return answer.outcome == "accepted"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("fuzz"))
    yield Scene(world)
    world.store.close()


@given(st.data())
def test_what_nobody_signed(scene, data):
    """Granted only where header and body are the very octets that the owner signed."""
    message = data.draw(mutation.anything([scene.sent.der]))
    if scene.send(message):
        original = cmp.message.read(scene.sent.der).protection
        assert cmp.message.read(message).protection.covered == original.covered


@given(st.data())
def test_what_a_device_signed_whatever_it_says(scene, data):
    """A device may sign anything; it gets at its own certificate at most."""
    parts = der.parse(scene.sent.der)
    header, body = (data.draw(mutation.trees([parts[n].der()], 2)) for n in (0, 1))
    scene.send(
        forging.message(
            header,
            body,
            lambda covered: forging.signature(scene.owner.key, covered),
            [scene.owner.der],
        )
    )
