"""strongSwan's charon on a machine of its own, at one end of a connection or the other."""

from __future__ import annotations

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from interop.island import Island
from waiting import wait_until

CHARON = """
charon-systemd {
    load = nonce x509 pubkey pem pkcs1 pkcs8 openssl hmac kdf vici socket-default kernel-netlink
    journal {
        default = -1
    }
    filelog {
        stderr {
            default = 1
        }
    }
}
"""

# What is protected by the connection does not matter here, so there is no child.
SWANCTL = """
connections {{
    vpn {{
        childless = force
        remote_addrs = {peer}
        local {{
            {local}
        }}
        remote {{
            {remote}
        }}
    }}
}}
secrets {{
    ike {{
        secret = "of the gateway"
    }}
}}
"""

DEVICE, GATEWAY = 'auth = pubkey\nid = "CN=www"', "auth = psk\nid = gateway"


def strongswan(start, tmp_path, name, connection):
    """Return a machine on which charon runs."""
    conf = tmp_path / name
    for kind in ("private", "x509", "x509ca"):
        (conf / kind).mkdir(parents=True)
    (conf / "swanctl.conf").write_text(connection)
    (tmp_path / "strongswan.conf").write_text(CHARON)
    mounts = (
        f"mount --bind {conf} /etc/swanctl",
        f"mount --bind {tmp_path}/strongswan.conf /etc/strongswan.conf",
    )
    machine = Island(start, tmp_path, "; ".join(mounts))
    if machine.tried("ip", "xfrm", "state").status != 0:
        pytest.skip("charon takes a kernel with XFRM")
    machine.charon = machine.start("charon-systemd")
    wait_until(lambda: machine.tried("swanctl", "--stats").status == 0, "charon")
    return machine


def certificates(machine):
    """Return those of the device that a charon knows, its own or its peer's."""
    listed = machine.run("swanctl", "--list-certs", "--subject", "CN=www", "--pem")
    if not listed.strip():
        return []
    return [
        one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(listed.encode())
    ]


def established(machine):
    return re.findall(
        r"^vpn: (#\d+), ESTABLISHED", machine.run("swanctl", "--list-sas"), re.MULTILINE
    )
