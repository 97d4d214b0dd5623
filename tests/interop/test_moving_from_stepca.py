"""A CA with its devices moves from smallstep's step-ca to a server of ours, by a real run of both.

step-ca issues over SCEP, and stops. Its key, as it has it, encrypted, and the certificates out of
its database come here; the devices renew here with the certificates that step-ca gave them.
"""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from interop import building, test_stepca
from interop.judge import OpenSSL, fingerprint
from interop.programs import Daemon, built, require, run
from interop.serving import SCEP, wait_for
from ports import free_port

pytestmark = [pytest.mark.interop, pytest.mark.long]

PASSPHRASE = "step-ca's passphrase"
NAMES = ("router1", "router2", "router3")


class Move:
    """Whoever moves: an old server with three devices, and a new one.

    Args:
        home: for all files.
    """

    def __init__(self, home):
        self.home = home
        self.old = home / "step-ca"
        self.old.mkdir()
        (program,) = require("openssl")
        self.openssl = OpenSSL(program, home)
        self.root, self.issuer = test_stepca._certify(OpenSSL(program, self.old), self.old)
        self._encrypt_key()

    def _encrypt_key(self):
        """Leave the CA's key as `step ca init` does: in PEM's own encryption."""
        self.passphrase = self.old / "password"
        self.passphrase.touch(0o600)
        self.passphrase.write_text(f"{PASSPHRASE}\n")
        self.key = self.old / "issuer-key.pem"
        self.openssl(
            *("rsa", "-aes256", "-traditional", "-passout", f"file:{self.passphrase}"),
            *("-in", self.key, "-out", self.old / "encrypted.pem"),
        )
        (self.old / "encrypted.pem").rename(self.key)
        assert "Proc-Type: 4,ENCRYPTED" in self.key.read_text()

    def scep(self, *command, status=0, **variables):
        done = run(*SCEP, *command, cwd=self.home, **variables)
        assert done.status == status, (done.out, done.err)
        return done

    def admin(self, *command):
        return self.scep("admin", *command, "--dir", "data")

    def issue(self):
        """Let step-ca issue to all devices, and end it."""
        port = free_port()
        settings = self.old / "ca.json"
        settings.write_text(
            json.dumps(test_stepca._settings(self.old, self.root, self.issuer, port))
        )
        url = f"http://127.0.0.1:{port}/scep/devices"
        program = built(building.STEP_CA) / "step-ca"
        command = [program, settings, "--password-file", self.passphrase]
        with Daemon("step-ca", command, self.old) as daemon:
            wait_for(url, daemon)
            for name in NAMES:
                self.scep(
                    *("enroll", url, "--subject", f"CN={name},O=Interop", "--out", name),
                    *("--fingerprint", fingerprint(self.root), *test_stepca.LEGACY),
                    SCEP_CHALLENGE=test_stepca.CHALLENGE,
                )

    def export(self):
        """Write the certificates in step-ca's database into a file, as PEM; return how many.

        Its log of values has them as they were stored, DER between other things.
        """
        found = {}
        for file in sorted((self.old / "db").glob("*.vlog")):
            octets = file.read_bytes()
            at = octets.find(b"\x30\x82")
            while at >= 0:
                end = at + 4 + int.from_bytes(octets[at + 2 : at + 4])
                try:
                    one = x509.load_der_x509_certificate(octets[at:end])
                    found[one.serial_number] = one.public_bytes(Encoding.PEM)
                except ValueError:
                    pass
                at = octets.find(b"\x30\x82", at + 1)
        (self.home / "issued.pem").write_bytes(b"".join(found.values()))
        return len(found)

    def certificate(self, name):
        return x509.load_pem_x509_certificate((self.home / name / "cert.pem").read_bytes())

    def verifies(self, certificate, *more):
        """Say whether a certificate verifies up to step-ca's root, and against CRLs if given."""
        done = run(
            *("openssl", "verify", *more, "-CAfile", self.root, "-untrusted", self.issuer),
            certificate,
            cwd=self.home,
        )
        return done.status == 0


@pytest.fixture
def move(tmp_path):
    return Move(tmp_path)


def test_moving(move):
    """Devices renew with what step-ca issued, one is revoked, and all chains end at its root."""
    move.issue()
    assert move.export() >= len(NAMES)
    before = {name: move.certificate(name) for name in NAMES}

    done = move.admin(
        *("ca", "import", "default", "--cert", move.issuer, "--key", move.key),
        *("--chain", move.root, "--key-passphrase-file", move.passphrase),
    )
    assert "CN=step-ca issuer" in done.err
    assert "warning" not in done.err
    command = [*SCEP, "serve", "--dir", "data", "--port", "0"]
    with Daemon("scep serve", command, move.home) as server:
        url = server.line().split()[1]
        wait_for(url, server)
        done = move.admin("certificates", "import", "issued.pem", "--reason", "moved", "--json")
        assert json.loads(done.out)["certificates"] == len(NAMES)
        listed = move.admin("list", "--subject", "router").out
        assert all(f"CN={name},O=Interop" in listed for name in NAMES)

        for name in NAMES[:2]:
            move.scep("renew", name, "--url", url, "--force")
            renewed = move.certificate(name)
            assert renewed.serial_number != before[name].serial_number
            assert renewed.subject == before[name].subject
            renewed.verify_directly_issued_by(
                x509.load_pem_x509_certificate(move.issuer.read_bytes())
            )
            assert move.verifies(move.home / name / "cert.pem", "-x509_strict")

        move.admin("revoke", "--file", "router3/cert.pem", "--reason", "keyCompromise", "--yes")
        done = move.scep("renew", "router3", "--url", url, "--force", status=1)
        assert "revoked" in done.err
        move.admin("crl", "--out", "crl.pem")
        checks = ("-crl_check", "-CRLfile", move.home / "crl.pem")
        assert move.verifies(move.home / "router1/cert.pem", *checks)
        assert not move.verifies(move.home / "router3/cert.pem", *checks)
