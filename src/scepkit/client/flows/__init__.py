"""The exchanges of a client with a SCEP server, as flows: `Client` and `AsyncClient` run them.

    flow = flows.get_ca(SCEPServer("http://ca.example/scep"), "sha256:5a1f…")

A flow is a generator; it opens no connection and waits for nothing (see `scepkit.flow`).
Its first step writes and signs what is sent, and each further one reads an answer: that is where
the private key is used.
"""

from scepkit.client.flows.certificate import (
    enrol,
    get_cert,
    get_crl,
    renew,
    resume,
    revoke,
    submit,
)
from scepkit.client.flows.server import (
    ask,
    get_ca,
    get_capabilities,
    get_next_ca,
    get_next_certificates,
    get_renewal_info,
)

__all__ = [
    "ask",
    "enrol",
    "get_ca",
    "get_capabilities",
    "get_cert",
    "get_crl",
    "get_next_ca",
    "get_next_certificates",
    "get_renewal_info",
    "renew",
    "resume",
    "revoke",
    "submit",
]
