"""A CA below somebody else's root while two worker processes serve: installed, followed, renewed.

What a device ends with verifies up to the root, by openssl's strict reading.
"""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from chains import issue, of_ad_cs
from openssl import OpenSSL
from waiting import wait_until

NEXT = "/scep?operation=GetNextCACert"


class Root:
    """A root on another machine.

    Args:
        place: where its certificate is written.
    """

    def __init__(self, place):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.certificate = issue("Root", self.key, self.now)
        self.file = place / "root.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        self.fingerprint = f"sha256:{self.certificate.fingerprint(SHA256()).hex()}"

    def sign(self, csr):
        """Return the certificate for a PKCS#10, with what an ordinary subordinate CA has."""
        asked = x509.load_pem_x509_csr(csr.encode())
        common = asked.subject.rfc4514_string().removeprefix("CN=")
        return issue(common, Public(asked), self.now, by=(self.certificate, self.key))


class Public:
    """Stands for a key of which only the public half is here."""

    def __init__(self, csr):
        self.public_key = csr.public_key


class Operator:
    """Whoever has the server, its root and a device.

    Args:
        place: for all files.
        scep: runs `scep`.
        root: the root.
    """

    def __init__(self, place, scep, root):
        self.place, self.root, self._scep = place, root, scep
        self.directory, self.device = place / "data", place / "device"
        self.server = None

    def scep(self, *arguments):
        status, out, err = self._scep(*arguments)
        assert status == 0, err
        return out

    def admin(self, *arguments):
        return self.scep("admin", *arguments, "--dir", self.directory)

    def certified(self, common_name, *options):
        """Have a CA certified by the root, and install it; return its certificate, and the place.

        Args:
            common_name: the CA's.
            options: of `scep admin ca install`.
        """
        name = ("--subject", f"CN={common_name}", "--key", "ec:p256")
        certificate = self.root.sign(self.admin("ca", "request", "default", *name))
        return certificate, self.installed(certificate, "default", *options)

    def installed(self, certificate, ca, *options):
        """Install a CA's certificate; return what the command says."""
        file = self.place / "signed.pem"
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        install = ("ca", "install", ca, file, "--chain", self.root.file, "--json", *options)
        return json.loads(self.admin(*install))

    def everywhere(self, condition, what):
        """Wait until each worker says so, while the other stands still."""
        wait_until(lambda: all(self._alone(pid, condition) for pid in self.server.workers), what)

    def _alone(self, pid, condition):
        others = [one for one in self.server.workers if one != pid]
        for one in others:
            os.kill(one, signal.SIGSTOP)
        try:
            return condition()
        finally:
            for one in others:
                os.kill(one, signal.SIGCONT)

    def shows(self, certificate):
        return certificate in self.server.shown_at()

    def enrol(self, url=None, challenge=None, fingerprint=None):
        """Enrol the device: at the default endpoint and trusting the root, unless given."""
        challenge = challenge or self.admin("challenge", "new").strip()
        self.scep(
            *("enroll", url or self.server.url, "--subject", "CN=device", "--key", "ec:p256"),
            *("--challenge", challenge, "--fingerprint", fingerprint or self.root.fingerprint),
            *("--out", self.device),
        )

    def check_device(self, ca):
        """Check that the device's certificate is of a CA, and verifies up to the root."""
        certificate = x509.load_pem_x509_certificate((self.device / "cert.pem").read_bytes())
        certificate.verify_directly_issued_by(ca)
        OpenSSL(self.place).run(
            *("verify", "-x509_strict", "-CAfile", self.root.file),
            *("-untrusted", self.device / "chain.pem", self.device / "cert.pem"),
        )


@pytest.fixture
def operator(tmp_path, serve, scep):
    """A server with two workers below a root, from its first start on."""
    made = Operator(tmp_path, scep, Root(tmp_path))
    made.first, said = made.certified("Device CA")
    assert (said["place"], said["has_root"]) == ("first", True)
    made.server = serve(made.directory, "--workers", "2")
    wait_until(lambda: len(made.server.workers) == 2, "the start of both")
    yield made
    assert made.server.stop() == 0
    assert "Traceback" not in made.server.log


@pytest.mark.rfc("S-4.7.1-1", "S-4.7.1-3", "S-5.1-2")
def test_a_rollover_below_the_root(operator):
    """Installed as the next CA, learnt by the device, put into force; the root stays trusted."""
    operator.enrol()
    operator.check_device(operator.first)

    second, said = operator.certified("Device CA 2")
    assert (said["place"], said["in_force"]) == ("next", False)
    operator.everywhere(lambda: operator.server.ask(NEXT).status == 200, "GetNextCACert")
    assert operator.shows(operator.first)
    listed = json.loads(operator.scep("get", "next-ca", "--dir", operator.device, "--json"))
    shown = [(one["role"], one["subject"]) for one in listed["certificates"]]
    assert ("ca", "CN=Device CA 2") in shown
    assert ("other", "CN=Root") in shown

    operator.scep("renew", operator.device, "--next-ca")
    operator.check_device(operator.first)
    assert "CN=Device CA 2" in operator.scep("status", operator.device)
    # It is not in force: what it issued waits.
    operator.scep("renew", operator.device)
    operator.check_device(operator.first)

    operator.admin("rollover", "activate", "--yes")
    operator.everywhere(lambda: operator.shows(second), "the change")
    operator.scep("renew", operator.device)
    operator.check_device(second)
    assert not (operator.device / "next").exists()
    operator.scep("renew", operator.device, "--force")
    operator.check_device(second)


def test_put_into_force_at_once(operator):
    """`--now`: both workers take it over, and a device that trusts the root renews with it."""
    operator.enrol()
    second, said = operator.certified("Device CA 2", "--now")
    assert (said["place"], said["in_force"]) == ("next", True)
    operator.everywhere(lambda: operator.shows(second), "the change")
    operator.scep("renew", operator.device, "--force")
    operator.check_device(second)


def test_a_longer_life_with_the_same_key(operator):
    """A renewed certificate of the CA reaches both workers; the device notices nothing."""
    operator.enrol()
    csr = operator.admin("ca", "request", "default", "--same-key")
    longer = operator.root.sign(csr)
    (operator.place / "longer.pem").write_bytes(longer.public_bytes(Encoding.PEM))
    install = ("ca", "install", "default", operator.place / "longer.pem")
    said = json.loads(operator.admin(*install, "--chain", operator.root.file, "--json"))
    assert (said["place"], said["in_force"]) == ("renewed", True)
    operator.everywhere(lambda: operator.shows(longer), "the renewed certificate")
    operator.scep("renew", operator.device, "--force")
    operator.check_device(longer)


def test_below_ad_cs(tmp_path, serve, scep):
    """A certificate of the template SubCA: what Microsoft adds to it is in nobody's way."""
    root = Root(tmp_path)
    operator = Operator(tmp_path, scep, root)
    csr = operator.admin("ca", "request", "default", "--subject", "CN=Device CA")
    asked = Public(x509.load_pem_x509_csr(csr.encode()))
    certificate = of_ad_cs("Device CA", asked, root.now, (root.certificate, root.key))
    said = operator.installed(certificate, "default")
    assert (said["place"], said["has_root"], said["doubts"]) == ("first", True, [])
    operator.server = serve(operator.directory)
    operator.enrol()
    operator.check_device(certificate)
    operator.scep("renew", operator.device, "--force")
    operator.check_device(certificate)
    assert operator.server.stop() == 0
