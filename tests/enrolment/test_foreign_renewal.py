"""Both ends joined in memory: our client renews a certificate that another CA issued."""

from __future__ import annotations

import pytest

import keys
from scepkit.client.client import CA, Client
from scepkit.enrolment.rules import RenewalRules
from scepkit.errors import RequestRefused
from scepkit.protocol import cacerts, capabilities, cms, http
from scepkit.protocol.http import HTTPResponse

SAID = capabilities.parse(b"SCEPStandard\nRenewal")


@pytest.fixture
def world(world, monkeypatch):
    """The clock of both ends is that of the world."""
    monkeypatch.setattr("scepkit.client.client.now", lambda: world.now)
    return world


class Wire:
    """Carries messages to the endpoint, and keeps the certificates that are in them."""

    def __init__(self, world):
        self.world, self.carried = world, []

    def send(self, url, request):
        message = http.read_request(request).message
        self.carried.append(cms.read_signed_data(message).certificates)
        return HTTPResponse(200, self.world.endpoint.respond(message), http.PKI_MESSAGE)


@pytest.fixture
def wire(world):
    return Wire(world)


@pytest.fixture
def renew(world, wire):
    """Renew with the world's CA: who holds what, and its issuers."""
    ca = keys.ca().certificate
    certificates = cacerts.trust((keys.ra().certificate, ca), ca, world.now)
    trusted = CA(certificates, capabilities.choose(SAID, frozenset()), SAID)

    def renew(holder, issuers):
        client = Client("http://memory", transport=wire)
        new = keys.rsa_key("new")
        return client.renew(
            trusted, holder.key, holder.certificate, new, issuers=issuers
        ).certificate

    return renew


@pytest.fixture
def factory():
    """Root, intermediate and device of somebody else."""
    root = keys.certify("Factory root", keys.rsa_key("factory root"), ca=True)
    middle = keys.certify("Factory CA", keys.rsa_key("factory"), root, ca=True)
    return root, middle, keys.certify("device", keys.device().key, middle)


@pytest.mark.rfc("S-2.3-6", "A-15")
def test_the_chain_of_another_ca_goes_with_a_renewal(world, wire, renew, factory):
    """The server, which knows the root alone, finds the way to it; the root is not sent."""
    root, middle, device = factory
    world.use(renewal=RenewalRules(anchors=(root.certificate,)))
    with pytest.raises(RequestRefused):
        renew(device, ())
    wire.carried.clear()
    assert (
        renew(device, (middle.certificate, root.certificate)).issuer
        == keys.ca().certificate.subject
    )
    assert wire.carried == [(device.der, middle.der)]


@pytest.mark.rfc("S-2.3-9")
def test_a_ca_is_not_shown_its_own_chain(world, wire, renew, factory):
    """It knows what it issued; the message stays as small as it was."""
    _, middle, _ = factory
    device = world.enrolled()
    renew(device, (middle.certificate,))
    assert wire.carried == [(device.der,)]
