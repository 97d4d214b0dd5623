"""The messages of real programs in `vectors`; see PROVENANCE.md there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from keys import Holder

_HERE = Path(__file__).parent / "vectors"

MICROMDM = ("micromdm-2.1.0-pkcsreq", "micromdm-2.1.0-renewalreq")
PROGRAMS = (
    *("certmonger-0.79.17", "jscep-3.0.0", "micromdm-2.1.0", "sscep-0.10.0", "strongswan-5.9.8"),
)
REQUESTS = (*(f"{name}-pkcsreq" for name in PROGRAMS), "micromdm-2.1.0-renewalreq")


@cache
def der(name: str) -> bytes:
    """Return a captured file by its name without `.der`."""
    return (_HERE / f"{name}.der").read_bytes()


@cache
def holder(which: str) -> Holder:
    """Return the throw-away `ra` or `ca` of the captures."""
    key = load_der_private_key(der(f"{which}-full-key"), None)
    pem = (_HERE / f"{which}-full.pem").read_bytes()
    return Holder(key, x509.load_pem_x509_certificate(pem))
