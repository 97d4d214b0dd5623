"""Endpoints with ready profiles: who gets a certificate for a log-in, and what the log says."""

from __future__ import annotations

import pytest
from cryptography import x509

from enrolment import devices
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.messages import PKCSReq
from server.test_app import post, recipient, run

SANS = ["dns:host.example", "upn:alice@corp.example"]


@pytest.mark.parametrize(
    ("settings", "bound", "names"),
    [
        ({}, False, SANS[:1]),
        ({}, True, SANS[:1]),
        ({"san_types": ["dns", "upn"]}, True, SANS[:1]),
        ({"profile": "wifi-eap-tls"}, True, SANS[:1]),
        ({"profile": "windows-device"}, True, SANS),
        ({"profile": "windows-device"}, False, None),
        ({"profile": "windows-user"}, True, SANS[1:]),
    ],
)
def test_a_user_principal_name(app, challenges, logged, settings, bound, names):
    """In what is for log-ins alone, and of a challenge that names it; else the log says why not."""
    application, path = app(endpoint={"default": settings})
    how = {"subject": "CN=device", "sans": SANS} if bound else {}
    (secret,) = challenges(path, **how)
    ra = recipient(path)
    message = devices.seal(PKCSReq(devices.request(secret, sans=SANS)), to=ra)
    (answer,) = run(application, post(message))
    reply, line = devices.read(answer.body, ra), logged[-1]
    if names is None:
        said = "a user principal name is only for a challenge or a service that names it"
        assert reply.refusal[1].startswith(said)
        assert line["reason"].startswith(said)
        return
    issued = Certificate.of(x509.load_der_x509_certificate(reply.certificate))
    assert [str(one) for one in issued.alternative_names] == names
    cut = {one: "identity" if one.startswith("upn:") else "names.kinds" for one in SANS}
    left_out = [f"name {one} ({key})" for one, key in cut.items() if one not in names]
    assert line.get("cut", []) == left_out
