"""What the server says that it has cut, as both clients read it."""

from __future__ import annotations

import pytest

import keys
from pair import grant
from scepkit.protocol.scep.messages import Pending
from scepkit.protocol.scep.notice import Notice
from scepkit.protocol.scep.transaction import Limits

HEADER = "names.kinds;attribute=uri, ca;attribute=validity"
FOUND = (Notice("names.kinds", "uri"), Notice("ca", "validity"))


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


def enrol(client, site, **how):
    key = keys.rsa_key("client")
    return client.enrol(client.get_ca(site.fingerprint), key, "CN=dev1,O=Example", **how)


def test_with_the_certificate(serve, connect):
    site = serve()
    site.scep.headers = {"SCEP-Notice": HEADER}
    assert enrol(connect(site), site).notices == FOUND


def test_after_a_poll(serve, connect):
    site = serve(Pending(), grant)
    site.scep.headers = {"SCEP-Notice": HEADER}
    client = connect(site, limits=Limits(poll_interval=0.01))
    assert enrol(client, site).notices == FOUND


@pytest.mark.parametrize("header", ["\x1b[2J", "a b", '"names"', "a" * 5000])
def test_what_is_none_says_nothing(serve, connect, header):
    """The certificate is got all the same."""
    site = serve()
    site.scep.headers = {"SCEP-Notice": header}
    assert enrol(connect(site), site).notices == ()
