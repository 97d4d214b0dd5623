"""smallstep's step-ca with a SCEP provisioner, with our client: AES, but replies signed in SHA-1.

Its CA is an RSA key under a root, and decrypts requests itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop import building
from interop.judge import OpenSSL, fingerprint
from interop.programs import Daemon, built, require, run
from interop.serving import SCEP, wait_for
from interop.test_openssl import MESSAGE_TYPE
from ports import free_port

pytestmark = [
    pytest.mark.interop,
    pytest.mark.peer(
        f"smallstep step-ca {building.STEP_CA.version}",
        role="server",
        note="It signs its replies with SHA-1, whatever it is asked in: `--legacy sha1`."
        " It wants its challenge for a renewal as well: `scep renew --challenge`.",
    ),
    pytest.mark.cannot(
        retry="it issues a second certificate for the same request",
        poll="it decides at once and never answers PENDING",
        cert="it has no GetCert",
        crl="it has no GetCRL",
        next="it has no GetNextCACert",
    ),
]

CHALLENGE = "interop-secret"
LEGACY = ("--legacy", "sha1")

# Numbers of step-ca for the cipher of replies.
AES_256_CBC = 2

_CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign{more}\n"


@dataclass(frozen=True)
class Peer:
    """step-ca as its operator knows it."""

    url: str
    root: Path
    issuer: Path

    @property
    def fingerprint(self):
        return fingerprint(self.root)


@pytest.fixture(scope="module")
def stepca(tmp_path_factory):
    """Run step-ca."""
    program = built(building.STEP_CA) / "step-ca"
    (openssl,) = require("openssl")
    home = tmp_path_factory.mktemp("step-ca")
    root, issuer = _certify(OpenSSL(openssl, home), home)
    port = free_port()
    settings = home / "ca.json"
    settings.write_text(json.dumps(_settings(home, root, issuer, port)))
    url = f"http://127.0.0.1:{port}/scep/devices"
    with Daemon("step-ca", [program, settings], home) as daemon:
        wait_for(url, daemon)
        yield Peer(url, root, issuer)


def _certify(openssl, home):
    """Make a root and a CA under it, which is to sign and to decrypt messages as well."""
    root, issuer = home / "root.pem", home / "issuer.pem"
    for name, more in (("root", ""), ("issuer", ",digitalSignature,keyEncipherment")):
        openssl("genrsa", "-out", home / f"{name}-key.pem", 2048)
        (home / f"{name}.cnf").write_text(
            f"[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n{_CA.format(more=more)}"
        )
    by = ("-CA", root, "-CAkey", home / "root-key.pem")
    for name, signer in (("root", ()), ("issuer", by)):
        files = ("-config", home / f"{name}.cnf", "-key", home / f"{name}-key.pem")
        certificate = ("-subj", f"/O=Interop/CN=step-ca {name}", "-out", home / f"{name}.pem")
        openssl("req", "-x509", "-new", "-days", 30, *files, *certificate, *signer)
    return root, issuer


def _settings(home, root, issuer, port):
    provisioner = {
        "type": "SCEP",
        "name": "devices",
        "challenge": CHALLENGE,
        "includeRoot": True,
        "minimumPublicKeyLength": 2048,
        "encryptionAlgorithmIdentifier": AES_256_CBC,
    }
    return {
        "root": str(root),
        "crt": str(issuer),
        "key": str(home / "issuer-key.pem"),
        "address": f"127.0.0.1:{free_port()}",
        "insecureAddress": f"127.0.0.1:{port}",
        "dnsNames": ["127.0.0.1"],
        "db": {"type": "badgerv2", "dataSource": str(home / "db")},
        "authority": {"provisioners": [provisioner]},
    }


@pytest.mark.does("caps", "ca")
def test_what_it_shows(stepca, openssl, tmp_path):
    done = run(*SCEP, "get", "caps", stepca.url, cwd=tmp_path)
    assert done.status == 0, done.err
    assert set(done.out.split()) >= {"AES", "POSTPKIOperation", "Renewal", "SHA-256"}
    done = run(*SCEP, "get", "ca", stepca.url, cwd=tmp_path)
    assert done.status == 0, done.err
    assert openssl.fingerprints(done.out) == [fingerprint(stepca.issuer), stepca.fingerprint]


@pytest.mark.does("enrol")
def test_enrols(stepca, tap, enroll, openssl, tmp_path):
    """Trusting the root. What we send is modern, and so is the envelope that comes back."""
    wire = tap(stepca.url)
    done = enroll(wire.url, stepca.fingerprint, CHALLENGE, *LEGACY)
    assert done.status == 0, done.err
    files = tmp_path / "device"
    certificate = files / "cert.pem"
    assert openssl.fingerprints((files / "ca.pem").read_text()) == [stepca.fingerprint]
    openssl.check_chain(certificate, files / "ca.pem", files / "chain.pem")
    assert openssl.facts(certificate, "-subject") == "subject=CN=device,O=Interop\n"
    assert "DNS:device.example" in openssl.facts(certificate, "-ext", "subjectAltName")
    (exchange,) = wire.pki_operations
    assert exchange.method == "POST"
    assert "algorithm: sha256 " in openssl.cms(exchange.message)
    assert "algorithm: sha1 " in openssl.cms(exchange.reply)
    assert "algorithm: aes-256-cbc " in openssl.cms(openssl.signed(exchange.reply))


def test_a_lost_reply(stepca, tap, enroll, openssl, tmp_path):
    """We ask again for the same key and take what comes, though it is another certificate."""
    wire = tap(stepca.url)
    wire.lose_reply()
    done = enroll(wire.url, stepca.fingerprint, CHALLENGE, *LEGACY)
    assert done.status == 0, done.err
    files = tmp_path / "device"
    lost, last = (
        openssl.certificates(openssl.enveloped(openssl.signed(exchange.reply), files / "key.pem"))
        for exchange in wire.pki_operations
    )
    assert openssl.fingerprints(lost) != openssl.fingerprints(last)
    ours = (files / "cert.pem").read_text()
    assert openssl.fingerprints(ours) == openssl.fingerprints(last)


@pytest.mark.does("renew")
def test_renews(stepca, tap, enroll, renew, openssl, tmp_path):
    """With a RenewalReq, for which it wants the challenge all the same."""
    wire = tap(stepca.url)
    done = enroll(wire.url, stepca.fingerprint, CHALLENGE, *LEGACY)
    assert done.status == 0, done.err
    files = tmp_path / "device"
    before = openssl.public_key(files / "cert.pem"), openssl.serial(files / "cert.pem")
    done = renew("--same-key")
    assert done.status == 1
    assert "badRequest" in done.err
    done = renew("--same-key", challenge=CHALLENGE)
    assert done.status == 0, done.err
    after = openssl.public_key(files / "cert.pem"), openssl.serial(files / "cert.pem")
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    openssl.check_chain(files / "cert.pem", files / "ca.pem", files / "chain.pem")
    attributes = openssl.attributes(wire.pki_operations[-1].message)
    assert attributes[MESSAGE_TYPE] == "PRINTABLESTRING 17"


@pytest.mark.does("rekey")
def test_rekeys(stepca, enroll, renew, openssl, tmp_path):
    done = enroll(stepca.url, stepca.fingerprint, CHALLENGE, *LEGACY)
    assert done.status == 0, done.err
    files = tmp_path / "device"
    before = openssl.public_key(files / "cert.pem")
    done = renew(challenge=CHALLENGE)
    assert done.status == 0, done.err
    assert openssl.public_key(files / "cert.pem") != before
    openssl.check_chain(files / "cert.pem", files / "ca.pem", files / "chain.pem")


@pytest.mark.does("refusal")
def test_needs_the_flag(stepca, enroll):
    done = enroll(stepca.url, stepca.fingerprint, CHALLENGE)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[-1] == "hint: if it can do no better, allow it: --legacy sha1"


@pytest.mark.does("refusal")
def test_a_wrong_challenge(stepca, enroll, tmp_path):
    """Its failInfoText reaches the user."""
    done = enroll(stepca.url, stepca.fingerprint, "wrong", *LEGACY)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[0].startswith("error: badRequest: ")
    assert not (tmp_path / "device" / "cert.pem").exists()
