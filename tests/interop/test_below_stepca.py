"""A CA of ours below smallstep's step-ca: requested here, signed there, installed here."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from chains import issue
from interop import building
from interop.programs import Daemon, built, run
from interop.serving import SCEP
from ports import free_port
from scepkit.keys.pem import write_certificate, write_key
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.interop

NAME = "Device CA"
PROVISIONER = "operator"
# What smallstep's documentation gives for an intermediate CA.
TEMPLATE = """{
  "subject": {{ toJson .Insecure.CR.Subject }},
  "keyUsage": ["certSign", "crlSign"],
  "basicConstraints": {"isCA": true, "maxPathLen": 0}
}"""


class StepCA:
    """step-ca with a root of its own that signs CAs, as its operator knows it.

    Args:
        home: where its files are.
    """

    def __init__(self, home):
        self.home = home
        self.port = free_port()
        self._token_key = ec.generate_private_key(ec.SECP256R1())
        root_key = ec.generate_private_key(ec.SECP256R1())
        write_key(home / "root-key.pem", root_key)
        write_certificate(home / "root.pem", issue("Smallstep Root", root_key, now()))
        self.root = home / "root.pem"
        (home / "ca.json").write_text(json.dumps(self._settings()))

    def sign(self, csr):
        """Have a PKCS#10 signed as `step ca sign` does; return the chain in PEM."""
        body = json.dumps({"csr": csr, "ott": self._token(), "notAfter": "8760h"})
        answer = json.loads(self._ask("POST", "/1.0/sign", body))
        assert "certChain" in answer, answer
        return "".join(answer["certChain"])

    def answers(self):
        try:
            return self._ask("GET", "/health")
        except OSError:
            return b""

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPSConnection(
            *("127.0.0.1", self.port),
            timeout=PATIENCE,
            context=ssl.create_default_context(cafile=self.root),
        )
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"})
            return connection.getresponse().read()

    def _settings(self):
        provisioner = {
            "type": "JWK",
            "name": PROVISIONER,
            "key": self._public(),
            "claims": {"maxTLSCertDuration": "87600h"},
            "options": {"x509": {"template": TEMPLATE}},
        }
        return {
            "root": str(self.root),
            "crt": str(self.root),
            "key": str(self.home / "root-key.pem"),
            "address": f"127.0.0.1:{self.port}",
            "dnsNames": ["127.0.0.1"],
            "db": {"type": "badgerv2", "dataSource": str(self.home / "db")},
            "authority": {"provisioners": [provisioner]},
        }

    def _public(self):
        numbers = self._token_key.public_key().public_numbers()
        x, y = (text(one.to_bytes(32)) for one in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1"} | {
            "x": x,
            "y": y,
        }

    def _token(self):
        """Return what entitles to one certificate (RFC 7519)."""
        at = int(now().timestamp())
        times = {"iat": at, "nbf": at, "exp": at + 300}
        claims = {"iss": PROVISIONER, "sub": NAME, "sans": [NAME], "jti": "1", **times}
        claims["aud"] = "https://127.0.0.1/1.0/sign"
        head = {"alg": "ES256", "kid": "1", "typ": "JWT"}
        signed = ".".join(text(json.dumps(one).encode()) for one in (head, claims))
        der = self._token_key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        return f"{signed}.{text(r.to_bytes(32) + s.to_bytes(32))}"


def text(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def now():
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def stepca(tmp_path):
    program = built(building.STEP_CA) / "step-ca"
    home = tmp_path / "step-ca"
    home.mkdir()
    peer = StepCA(home)
    with Daemon("step-ca", [program, home / "ca.json"], home) as daemon:
        wait_until(lambda: peer.answers() or daemon.process.poll() is not None, "step-ca")
        assert daemon.process.poll() is None, daemon.said()
        yield peer


def test_a_ca_below_step_ca(stepca, tmp_path, openssl):
    """What it signs is taken, and the CA is in force below its root."""
    admin = (*SCEP, "admin", "ca")
    subject = ("--subject", f"CN={NAME},O=Example", "--key", "ec:p256")
    done = run(*admin, "request", "default", *subject, "--dir", "s", cwd=tmp_path)
    assert done.status == 0, done.err
    (tmp_path / "signed.pem").write_text(stepca.sign(done.out))
    install = ("install", "default", "signed.pem", "--dir", "s")
    done = run(*admin, *install, "--chain", stepca.root, cwd=tmp_path)
    assert done.status == 0, done.err
    assert f"CN={NAME},O=Example is the CA now" in done.err
    assert "warning" not in done.err
    done = run(*admin, "export", "default", "--chain", "--dir", "s", cwd=tmp_path)
    own, root = x509.load_pem_x509_certificates(done.out.encode())
    assert root == x509.load_pem_x509_certificate(stepca.root.read_bytes())
    own.verify_directly_issued_by(root)
    (tmp_path / "ca.pem").write_bytes(own.public_bytes(Encoding.PEM))
    openssl("verify", "-x509_strict", "-CAfile", stepca.root, tmp_path / "ca.pem")
    ra = x509.load_pem_x509_certificate((tmp_path / "s/ra.pem").read_bytes())
    ra.verify_directly_issued_by(own)
