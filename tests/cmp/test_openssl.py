"""`openssl cmp -cmd rr` of Debian against our half: the client that everybody has."""

from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import der
import httpd
import keys
from cmp import world
from cmp.site import Site
from cmp.world import Responder
from interop import programs
from scepkit.protocol import cmp, signatures
from waiting import PATIENCE

pytestmark = pytest.mark.interop

REASONS = [None, *cmp.Reason]


class Client:
    """Runs `openssl cmp -cmd rr` in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.ca = world.pem(directory / "ca.pem", world.ca())

    def run(self, site, *options, cmd="rr"):
        command = ["openssl", "cmp", "-config", "", "-batch", "-cmd", cmd]
        command += ["-server", site.address, "-path", "/cmp/default", "-msg_timeout", str(PATIENCE)]
        # A proxy of the machine must not come in between.
        done = subprocess.run(
            [*command, "-no_proxy", "127.0.0.1", *map(str, options)],
            capture_output=True,
            check=False,
            timeout=PATIENCE,
            env={"PATH": "/usr/bin:/bin"},
        )
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def identity(self, holder):
        """Return the options that sign with a certificate's key and revoke that certificate."""
        certificate = world.pem(self.directory / "own.pem", holder)
        key = self.directory / "own.key"
        key.write_bytes(holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return ["-cert", certificate, "-key", key, "-oldcert", certificate]

    def trusting(self):
        return ["-trusted", self.ca]


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
def test_openssl_revokes_with_the_certificates_own_key(client, kind):
    """openssl signs the rr with RSA or EC, and takes our answer for an answer to it."""
    device = world.device(kind)
    with Site(Responder()) as site:
        code, said = client.run(
            site, *client.identity(device), *client.trusting(), "-revreason", "1"
        )
    assert (code, "revocation accepted (PKIStatus=accepted)" in said) == (0, True), said
    (revocation,) = site.responder.revoked
    assert revocation.fits(device.certificate)
    assert revocation.reason is cmp.Reason.keyCompromise
    # HTTP/1.0 from a program of this year; RFC 9811 section 3.1 allows it.
    assert site.asked == [("POST /cmp/default HTTP/1.0", cmp.MEDIA_TYPE)]


@pytest.mark.parametrize("reason", REASONS)
def test_openssl_gives_a_reason_or_none(client, reason):
    """Each CRLReason that openssl knows arrives as it is; without -revreason there is none."""
    options = [] if reason is None else ["-revreason", str(int(reason))]
    with Site(Responder()) as site:
        code, said = client.run(
            site, *client.identity(world.device("p256")), *client.trusting(), *options
        )
    assert code == 0, said
    assert [r.reason for r in site.responder.revoked] == [reason]


@pytest.mark.parametrize("signer", ["ra", "ca"])
def test_openssl_takes_the_answer_of_a_pinned_server(client, signer):
    """With -srvcert, openssl compares sender with that certificate's subject."""
    holder = world.ra() if signer == "ra" else world.ca()
    pinned = world.pem(client.directory / "server.pem", holder)
    with Site(Responder(holder)) as site:
        code, said = client.run(site, *client.identity(world.device("p256")), "-srvcert", pinned)
        assert code == 0, said
        other = world.pem(client.directory / "other.pem", world.ra("another RA"))
        code, said = client.run(site, *client.identity(world.device("p256")), "-srvcert", other)
    assert (code, "does not match expected sender" in said) == (1, True), said


@pytest.mark.parametrize(
    "http",
    [
        {"status": 400},
        {"status": 500},
        {"content_type": "text/plain"},
        {"content_type": "application/pkixcmp; charset=binary"},
    ],
    ids=str,
)
def test_openssl_takes_nothing_but_200_and_the_bare_media_type(client, http):
    """An error message has to come with 200 as well, or openssl 3.0 does not look at it."""
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout
    programs.expect("OpenSSL 3.0.", said)
    with Site(Responder(), **http) as site:
        code, said = client.run(site, *client.identity(world.device("p256")), *client.trusting())
    assert (code, "transfer error" in said) == (1, True), said


@pytest.mark.parametrize(
    ("usage", "key_identifier", "good"),
    [
        ("digital_signature", True, True),
        ("digital_signature", False, True),
        (None, True, True),
        ("key_agreement", True, False),
    ],
)
def test_openssl_wants_digital_signature_of_the_signer(client, usage, key_identifier, good):
    """With keyUsage it has to say digitalSignature, of a CA's certificate as well."""
    usage = usage and keys.usage(usage)
    signer = httpd.certify(
        "RA", keys.ec_key("cmp p"), world.ca(), key_usage=usage, key_identifier=key_identifier
    )
    with Site(Responder(signer)) as site:
        code, said = client.run(site, *client.identity(world.device("rsa")), *client.trusting())
    assert (code, "no suitable sender cert" in said) == ((0, False) if good else (1, True)), said


@pytest.mark.parametrize("chain", [True, False])
def test_openssl_wants_the_chain_of_the_signer(client, chain):
    """What lies between the root that it trusts and the RA has to come along."""
    intermediate, below = world.lower_ca(), world.lower_ra()
    responder = Responder(below, chain=[intermediate.der] if chain else [])
    with Site(responder) as site:
        code, said = client.run(site, *client.identity(world.device("rsa")), *client.trusting())
    assert (code, "no suitable sender cert" in said) == ((0, False) if chain else (1, True)), said


def test_openssl_with_trusted_alone_takes_any_certificate_of_the_ca(client):
    """A device could pose as the server then: documentation has to ask for -srvcert as well."""
    options = [*client.identity(world.device("rsa")), *client.trusting()]
    with Site(Responder(world.device("p384"))) as site:
        assert client.run(site, *options)[0] == 0
        code, said = client.run(site, *options, "-expect_sender", "/CN=Test ra")
    assert (code, "does not match expected sender" in said) == (1, True), said


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_openssl_takes_the_signature_of_an_ra_with_another_key(client, kind):
    """openssl 3.0 cannot sign CMP with Ed25519 itself, but it checks such a signature."""
    with Site(Responder(_special_ra(kind))) as site:
        code, said = client.run(site, *client.identity(world.device("rsa")), *client.trusting())
    assert code == 0, said


def _special_ra(kind):
    usage = keys.usage("digital_signature")
    key = keys.key_of(kind, "cmp special ra")
    return httpd.certify("RA", key, world.ca(), key_usage=usage, key_identifier=True)


@pytest.mark.parametrize("digest", ["sha384", "sha512"])
def test_openssl_signs_with_the_digest_that_it_is_told(client, digest):
    """-digest changes the signature algorithm of the request, not of the answer."""
    with Site(Responder()) as site:
        code, said = client.run(
            site, *client.identity(world.device("rsa")), *client.trusting(), "-digest", digest
        )
    assert code == 0, said


def test_openssl_with_sha1_is_badalg(client):
    """SHA-1 is legacy: the error message says badAlg, and it is protected."""
    with Site(Responder()) as site:
        code, said = client.run(
            site, *client.identity(world.device("rsa")), *client.trusting(), "-digest", "sha1"
        )
    assert code == 1
    assert "PKIFailureInfo: badAlg" in said
    assert 'StatusString: "sha1 is not allowed here"' in said


@pytest.mark.parametrize("options", [[], ["-mac", "hmacWithSHA256", "-digest", "sha512"]])
def test_openssl_revokes_with_a_secret(client, options):
    """The answer to a PasswordBasedMac is one, by the same secret: no certificate is needed."""
    device = world.device("rsa")
    certificate = world.pem(client.directory / "old.pem", device)
    with Site(Responder()) as site:
        code, said = client.run(
            site,
            *("-ref", world.REFERENCE.decode(), "-secret", f"pass:{world.SECRET}"),
            *("-oldcert", certificate, "-revreason", "4", *options),
        )
    assert (code, "revocation accepted" in said) == (0, True), said
    assert site.responder.revoked == [
        cmp.RevocationRequest.of(device.certificate, cmp.Reason.superseded)
    ]


def test_openssl_with_a_wrong_secret_gets_a_signed_error(client):
    """No MAC can be made for who does not know the secret: the error is signed, for -trusted."""
    certificate = world.pem(client.directory / "old.pem", world.device("rsa"))
    secret = ["-ref", "dev-1", "-secret", "pass:wrong", "-oldcert", certificate]
    with Site(Responder()) as site:
        code, said = client.run(site, *secret, *client.trusting())
        assert (code, "PKIFailureInfo: badMessageCheck" in said) == (1, True), said
        code, said = client.run(site, *secret)
        assert (code, "missing trust anchor" in said) == (1, True), said
        code, said = client.run(site, *secret, "-unprotected_errors")
        assert (code, "PKIFailureInfo: badMessageCheck" in said) == (1, True), said
    assert site.responder.revoked == []


def test_openssl_shows_a_rejection(client):
    """A second rr is rejected by an rp whose failInfo and text openssl shows."""
    with Site(Responder()) as site:
        options = [*client.identity(world.device("rsa")), *client.trusting()]
        assert client.run(site, *options)[0] == 0
        code, said = client.run(site, *options)
    assert code == 1
    assert "PKIStatus: rejection; PKIFailureInfo: certRevoked" in said
    assert 'StatusString: "it is revoked already"' in said


@pytest.mark.parametrize(
    ("options", "failure"),
    [
        (["-unprotected_requests"], "badMessageCheck"),
        (["-csr"], "badCertTemplate"),
        (["-oldcert"], "notAuthorized"),
    ],
)
def test_openssl_shows_an_error_message(client, options, failure):
    """What cannot be granted is answered by an error message that openssl believes."""
    identity = client.identity(world.device("rsa"))
    if options == ["-csr"]:
        identity, options = identity[:4], ["-csr", _csr(client, world.device("rsa"))]
    if options == ["-oldcert"]:
        other = world.pem(client.directory / "other.pem", world.device("p256"))
        identity, options = identity[:4], ["-oldcert", other]
    with Site(Responder()) as site:
        code, said = client.run(site, *identity, *client.trusting(), *options)
    assert (code, f"PKIFailureInfo: {failure}" in said) == (1, True), said
    assert site.responder.revoked == []


def _csr(client, holder):
    path = client.directory / "request.pem"
    command = ["openssl", "req", "-new", "-key", client.directory / "own.key"]
    subprocess.run(
        [*command, "-subj", "/CN=device-rsa", "-out", path], check=True, timeout=PATIENCE
    )
    return path


@pytest.mark.parametrize("cmd", ["ir", "cr", "kur", "p10cr", "genm"])
def test_openssl_gets_an_error_message_for_every_other_request(client, cmd):
    """Other bodies are badRequest, and the text says which is served."""
    identity = client.identity(world.device("rsa"))
    options = ["-newkey", identity[3], "-subject", "/CN=x", "-certout", client.directory / "c"]
    if cmd == "p10cr":
        options += ["-csr", _csr(client, world.device("rsa"))]
    with Site(Responder()) as site:
        code, said = client.run(site, *identity, *client.trusting(), *options, cmd=cmd)
    assert code == 1
    assert "PKIFailureInfo: badRequest" in said
    assert f'StatusString: "{cmd} is not served here, only rr is"' in said


def _header(answer, field, value):
    """Return an answer with another value in a field of its header, signed anew."""
    message = der.parse(answer)
    (element,) = [part for part in message[0].children if part.tag == 0xA0 | field][-1:]
    element[0].content = value
    covered = der.seq(message[0].der(), message[1].der())
    signer = world.ra().credential
    message[2][0].content = b"\x00" + signatures.sign(
        signer.key, covered, cmp.Signer(signer).digest
    )
    return message.der()


@pytest.mark.parametrize(
    ("field", "said_by_openssl"),
    [
        (4, "transactionid unmatched"),
        (6, "recipnonce unmatched"),
        (2, "no suitable sender cert"),
    ],
)
def test_openssl_checks_the_header_of_our_answer(client, field, said_by_openssl):
    """The judge judges: openssl refuses the answer when one of these is another."""
    with Site(Responder(), lambda answer: _header(answer, field, b"x" * 16)) as site:
        code, said = client.run(site, *client.identity(world.device("rsa")), *client.trusting())
    assert (code, said_by_openssl in said) == (1, True), said


def test_openssl_checks_the_protection_of_our_answer(client):
    """The judge judges: one bit of the body changed, and openssl refuses the answer."""

    def change(answer):
        message = der.parse(answer)
        message[1][0][0][0][0].content = b"\x01"
        return message.der()

    with Site(Responder(), change) as site:
        code, said = client.run(site, *client.identity(world.device("rsa")), *client.trusting())
    assert (code, "error validating protection" in said) == (1, True), said
