"""`openssl cmp -cmd rr`, which every Linux machine has, against `scep serve`."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import keys
from interop.programs import require, run
from scepkit import Client
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.crl import Reason
from waiting import PATIENCE

pytestmark = pytest.mark.interop

# What revokes; removeFromCRL is refused.
REASONS = [one for one in Reason if one is not Reason.removeFromCRL]


class Device:
    """A key, its certificate, and `openssl cmp` to have that revoked."""

    def __init__(self, serving, directory, key, *, endpoint="default"):
        self.serving, self.directory, self.endpoint = serving, directory, endpoint
        self.challenge = serving.challenge(endpoint)
        url = serving.url if endpoint == "default" else f"{serving.url}/{endpoint}"
        client = Client(url)
        self.x509 = client.enrol(
            client.get_ca(serving.fingerprint), key, "CN=device", challenge=self.challenge
        ).certificate.x509()
        self.serial = show_serial(self.x509.serial_number)
        self.certificate = directory / f"{self.serial}.pem"
        self.certificate.write_bytes(self.x509.public_bytes(Encoding.PEM))
        self.key = directory / f"{self.serial}.key"
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def own(self):
        """The options with which it signs."""
        return "-cert", self.certificate, "-key", self.key

    @property
    def shown(self):
        """What `scep admin show` says of its certificate."""
        return json.loads(self.serving.admin("show", self.serial, "--json").out)

    def revoke(self, *options, of=None, endpoint=None):
        """Run `openssl cmp -cmd rr`; return its exit status and what it says."""
        (program,) = require("openssl")
        server = urlsplit(self.serving.url).netloc
        path = f"/cmp/{endpoint or self.endpoint}"
        done = run(
            *(program, "cmp", "-config", "", "-batch", "-cmd", "rr", "-msg_timeout", str(PATIENCE)),
            *("-server", server, "-path", path, "-no_proxy", "127.0.0.1"),
            *("-oldcert", (of or self).certificate, *map(str, options)),
            cwd=self.directory,
        )
        return done.status, done.out + done.err


@pytest.fixture(params=["default", "single", "ec"])
def serving(request, server):
    return server(request.param)


@pytest.fixture
def device(server, tmp_path):
    """Enrol a device at the server with RSA keys."""

    def device(kind="p256", **how):
        return Device(server("default"), tmp_path, keys.key_of(kind, "cmp device"), **how)

    return device


def pinned(serving):
    """Return the options of the how-to: the certificate of who signs the answers."""
    return "-srvcert", serving.recipient


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
def test_the_owner_revokes(serving, tmp_path, kind):
    """With every kind of key that openssl signs CMP with, against every kind of CA."""
    one = Device(serving, tmp_path, keys.key_of(kind, "cmp device"))
    status, said = one.revoke(*one.own, *pinned(serving), "-revreason", "1")
    assert (status, "revocation accepted (PKIStatus=accepted)" in said) == (0, True), said
    shown = one.shown
    assert (shown["status"], shown["reason"]) == ("revoked", "keyCompromise")
    # Everybody else gets to know it, of openssl again.
    crl = tmp_path / "ca.crl"
    serving.admin("crl", "--out", crl)
    (program,) = require("openssl")
    verify = (program, "verify", "-crl_check", "-CAfile", serving.ca, "-CRLfile", crl)
    done = run(*verify, one.certificate, cwd=tmp_path)
    assert (done.status, "certificate revoked" in done.err) == (2, True), done.err


@pytest.mark.parametrize("reason", REASONS, ids=lambda one: one.name)
def test_every_reason(device, reason):
    """Each CRLReason that openssl can send is in the record under its own name."""
    one = device()
    status, said = one.revoke(*one.own, *pinned(one.serving), "-revreason", str(int(reason)))
    assert status == 0, said
    assert one.shown["reason"] == reason.name


def test_no_reason(device):
    one = device()
    assert one.revoke(*one.own, *pinned(one.serving))[0] == 0
    assert one.shown["reason"] == "unspecified"


def test_what_is_refused_is_understood(device):
    """Each refusal is an answer that openssl believes and shows."""
    one, other = device("rsa"), device()
    ours = pinned(one.serving)
    for options, how, failure in [
        (("-revreason", "8"), {}, "notAuthorized"),
        ((), {"of": other}, "notAuthorized"),
        ((), {"endpoint": "manual"}, "notAuthorized"),
        (("-digest", "sha1"), {}, "badAlg"),
        (("-unprotected_requests",), {}, "badMessageCheck"),
    ]:
        status, said = one.revoke(*one.own, *ours, *options, **how)
        assert (status, f"PKIFailureInfo: {failure}" in said) == (1, True), said
    assert (one.shown["status"], other.shown["status"]) == ("valid", "valid")
    assert one.revoke(*one.own, *ours)[0] == 0
    status, said = one.revoke(*one.own, *ours)
    assert (status, "PKIStatus: rejection; PKIFailureInfo: certRevoked" in said) == (1, True), said


def test_whom_openssl_trusts(device):
    """The CA's certificate and the RA's name, as the how-to has it, or the RA's certificate."""
    one, other = device(), device()
    serving = one.serving
    trusted = ("-trusted", serving.ca)
    status, said = one.revoke(*one.own, *trusted, "-expect_sender", "/CN=somebody else")
    assert (status, "does not match expected sender" in said) == (1, True), said
    (program,) = require("openssl")
    done = run(
        *(program, "x509", "-in", serving.recipient, "-noout", "-subject", "-nameopt", "compat"),
        cwd=one.directory,
    )
    name = done.out.strip().removeprefix("subject=").strip()
    status, said = other.revoke(*other.own, *trusted, "-expect_sender", name)
    assert status == 0, said


@pytest.mark.parametrize("options", [(), ("-mac", "hmacWithSHA256", "-digest", "sha512")])
def test_the_passphrase(device, options):
    """The key is lost; the challenge of the request and the certificate are all it takes."""
    one = device(endpoint="lost")
    # Nothing but the secret is needed to believe a yes; a no is signed.
    known = pinned(one.serving) if options else ()
    wrong = ("-ref", one.serial, "-secret", "pass:guess", *pinned(one.serving), *options)
    status, said = one.revoke(*wrong)
    assert (status, "PKIFailureInfo: badMessageCheck" in said) == (1, True), said
    right = ("-ref", one.serial, "-secret", f"pass:{one.challenge}", *options)
    status, said = one.revoke(*right, *known, "-revreason", "1")
    assert (status, "revocation accepted" in said) == (0, True), said
    assert one.shown["reason"] == "keyCompromise"


def test_no_passphrase_unless_it_is_allowed(device):
    one = device()
    secret = ("-ref", one.serial, "-secret", f"pass:{one.challenge}", *pinned(one.serving))
    status, said = one.revoke(*secret)
    assert (status, "PKIFailureInfo: wrongIntegrity" in said) == (1, True), said
    assert one.shown["status"] == "valid"
