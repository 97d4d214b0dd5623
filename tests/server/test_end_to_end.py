"""The real command at both ends: `scep serve` here, `scep enroll`, `renew` and `status` there.

The server is a process of its own; the others are where it says so.
What a device owner and an operator do with a certificate from its beginning to its end.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime

import pytest
from cryptography import x509

from scepkit.ca.directory import founding
from scepkit.keys.pem import generate, write_certificate, write_key
from scepkit.protocol.certificate import show_serial
from server.conftest import new_challenges
from server.live import Server, scep, scep_here
from waiting import PATIENCE, wait_until

DONE, REFUSED, PENDING = 0, 1, 3


class Site:
    """A server and its operator, and a device that has one directory."""

    def __init__(self, directory, endpoint="", command=scep_here):
        self.command = command
        self.data = directory / "server"
        self.device = directory / "device"
        if endpoint:
            (self.data / "scep.toml").write_text(f"[endpoint.default]\n{endpoint}\n")
        self.server = Server(self.data)

    def run(self, *arguments, expect=DONE):
        done = self.command(*arguments)
        assert done.returncode == expect, (arguments, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def admin(self, *arguments, expect=DONE):
        return self.run("admin", *arguments, "--dir", self.data, expect=expect)

    def challenge(self):
        (challenge,) = new_challenges(self.data)
        return challenge

    def enroll(self, *arguments, expect=DONE):
        return self.run(
            *("enroll", self.server.url, "--fingerprint", self.server.fingerprint),
            *("--subject", "CN=device,O=Example", "--out", self.device),
            *arguments,
            expect=expect,
        )

    def renew(self, *arguments, expect=DONE):
        return self.run("renew", self.device, *arguments, expect=expect)

    @property
    def caps(self):
        return self.server.ask("/scep?operation=GetCACaps").text.split()

    @property
    def status(self):
        return json.loads(self.command("status", self.device, "--json").stdout)

    @property
    def certificate(self):
        return x509.load_pem_x509_certificate((self.device / "cert.pem").read_bytes())

    @property
    def serial(self):
        return show_serial(self.certificate.serial_number)


@pytest.fixture
def site(tmp_path, made):
    """Start a server, on what the test put into its directory or on the files of a layout."""
    opened = []

    def start(layout="default", **settings):
        if not (tmp_path / "server").exists():
            shutil.copytree(made(layout), tmp_path / "server")
        opened.append(Site(tmp_path, **settings))
        return opened[-1]

    yield start
    for one in opened:
        one.server.kill()


@pytest.mark.rfc("S-2.5-3", "S-2.5-4", "S-2.3-5")
@pytest.mark.parametrize(
    ("layout", "command"), [("default", scep), ("single", scep_here), ("ec", scep_here)]
)
def test_from_enrolment_to_revocation(site, layout, command):
    """A device enrols, renews with a new key and with the same one, until it is revoked."""
    here = site(layout, command=command)
    here.enroll("--challenge", here.challenge())
    serials = [here.serial]
    for arguments in ((), ("--same-key",)):
        before = here.certificate
        assert "not yet" in here.renew(*arguments)
        here.renew("--force", *arguments)
        assert (here.certificate.public_key() == before.public_key()) is bool(arguments)
        serials.append(here.serial)
    assert len(set(serials)) == 3

    here.admin("revoke", here.serial)
    assert "revoked" in here.renew("--force", expect=REFUSED)
    shown = here.admin("show", here.serial)
    assert "revoked" in shown


@contextlib.contextmanager
def tls_server(device):
    """Answer HTTPS with what `scep enroll` put into a directory; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(device / "cert.pem", device / "key.pem")
    handler = http.server.BaseHTTPRequestHandler
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as site:
        site.socket = context.wrap_socket(site.socket, server_side=True)
        thread = threading.Thread(target=site.serve_forever, args=(0.01,))
        thread.start()
        yield site.server_port
        site.shutdown()
        thread.join()


def curl(device, port):
    """Have curl look at a TLS server, with the CA of the directory; return its exit status."""
    at = f"www.example.com:{port}"
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(PATIENCE)]
    command += ["--cacert", device / "ca.pem", "--resolve", f"{at}:127.0.0.1", f"https://{at}/"]
    return subprocess.run(command, capture_output=True, check=False).returncode


def examples():
    """Yield the options of the examples that `scep enroll --help` has, without URL and places."""
    shown = scep_here("enroll", "--help").stdout.replace("\\\n", " ")
    for line in shown.splitlines():
        if "scep enroll http" in line:
            yield shlex.split(line.partition(" --subject ")[2].partition(" --out ")[0])


def test_a_tls_server_with_the_help_s_own_example(site):
    """curl takes its certificate, and the renewed one; without --eku it would take none."""
    here = site()
    (example,) = [one for one in examples() if "--san" in one]
    subject, *options = example
    asked = ("--subject", subject, *options, "--fingerprint", here.server.fingerprint)

    def enroll(*asked):
        challenge = ("--challenge", here.challenge())
        return here.run("enroll", here.server.url, *asked, "--out", here.device, *challenge)

    said = enroll(*asked)
    assert "warning" not in said
    with tls_server(here.device) as port:
        assert curl(here.device, port) == 0
    here.renew("--force")
    with tls_server(here.device) as port:
        assert curl(here.device, port) == 0
        trusting = ssl.create_default_context(cafile=here.device / "ca.pem")
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
            trusting.wrap_socket(plain, server_hostname="www.example.com").close()
    at = asked.index("--eku")
    enroll(*asked[:at], *asked[at + 2 :], "--force")
    with tls_server(here.device) as port:
        assert curl(here.device, port) == 60


def test_what_a_server_cuts_is_said_at_both_ends(site):
    """An endpoint that allows no server_auth gives the rest; client and log say what is missing."""
    here = site(endpoint='allowed_eku = ["client_auth"]\nsan_types = ["dns"]')
    said = here.enroll(
        *("--challenge", here.challenge(), "--eku", "server_auth,client_auth"),
        *("--san", "www.example.com", "--san", "192.0.2.1"),
    )
    assert "the purpose server_auth: asked for, but not in the certificate" in said
    assert "the name ip:192.0.2.1: asked for, but not in the certificate" in said
    line = here.server.logged(serial=here.serial)
    assert line["cut"] == ["name ip:192.0.2.1 (names.kinds)", "purpose server_auth (allowed_eku)"]


@pytest.mark.rfc("S-2.5-5", "S-4.4-2", "S-2.4-7", "L-15")
def test_manual_approval(site):
    """A request waits, the client is stopped and started again, an operator approves it."""
    here = site(endpoint='approval = "manual"')
    said = here.enroll("--max-wait", "0", expect=PENDING)
    (row,) = [
        json.loads(line)
        for line in here.admin("list", "--pending", "--json").splitlines()
        if line.startswith("{")
    ]
    assert row["sha256"] in said
    assert here.status["state"] == "pending"
    here.enroll("--max-wait", "0", expect=PENDING)
    here.admin("approve", str(row["id"]))
    here.enroll()
    assert here.status["state"] == "valid"


@pytest.mark.parametrize("key", ["rsa:2048", "ec:p256"])
def test_a_mistyped_challenge_does_not_cost_the_key(site, key):
    """A request was approved; its key stays until the certificate is fetched, whatever is typed."""
    here = site(endpoint='approval = "manual"')
    challenge = here.challenge()
    asked = ("--key", key, "--max-wait", "0", "--challenge")
    here.enroll(*asked, challenge, expect=PENDING)
    waiting = (here.device / "key.pem.new").read_bytes()
    (row,) = [
        json.loads(line)
        for line in here.admin("list", "--pending", "--json").splitlines()
        if line.startswith("{")
    ]
    here.admin("approve", str(row["id"]))
    if key == "rsa:2048":
        here.enroll(*asked, f"{challenge}X")
    else:
        # The answer is encrypted with the right one.
        assert "begun with" in here.enroll(*asked, f"{challenge}X", expect=REFUSED)
        assert "begun with" in here.enroll(*asked[:-1], expect=REFUSED)
        here.enroll(*asked, challenge)
    assert (here.device / "key.pem").read_bytes() == waiting


@pytest.mark.rfc("S-3.1-3", "A-06")
def test_keys_that_cannot_decrypt(site):
    """An Ed25519 key enrols with a challenge and renews with one, and not without; it is told."""
    here = site()
    said = here.enroll("--key", "ed25519", "--challenge", here.challenge())
    assert "its renewal will need a challenge" in said
    first = here.serial
    said = here.renew("--force", expect=REFUSED)
    assert "few CAs can answer to a key of kind ed25519 without a challenge" in said
    here.renew("--force", "--challenge", here.challenge())
    assert here.serial != first
    assert here.status["key"] == "ed25519"


@pytest.mark.rfc("S-3.1-3", "A-06", "L-24")
@pytest.mark.parametrize("key", ["ec:p256", "ec:p384", "ec:p521"])
def test_an_ec_key_renews_by_itself(site, key):
    """Its certificate has keyAgreement, since the request asks for it; so it needs no challenge."""
    here = site()
    said = here.enroll("--key", key, "--challenge", here.challenge())
    assert "renewal" not in said
    serials = [here.serial]
    for more in ((), ("--same-key",), ("--key", "rsa:2048"), ()):
        said = here.renew("--force", *more)
        assert "challenge" not in said
        serials.append(here.serial)
    assert len(set(serials)) == len(serials)
    usage = here.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not usage.key_agreement


def test_an_ec_key_whose_ca_leaves_key_agreement_out(site):
    """It is told so when it enrols; its renewal needs a challenge."""
    here = site(endpoint='key_usages = ["digital_signature"]')
    said = here.enroll("--key", "ec:p256", "--challenge", here.challenge())
    assert "its renewal will need a challenge: the CA left keyAgreement out" in said
    said = here.renew("--force", expect=REFUSED)
    assert "few CAs can answer to a key of kind ec:p256 without a challenge" in said
    here.renew("--force", "--challenge", here.challenge())


EC_CA = 'challenge = "static"\nchallenge_file = "challenge.txt"'
SECRET = "the-one-secret-of-all-devices"


def bring_ec_ca(directory):
    """Put a CA into a server's directory that has an EC key, and no RA beside it."""
    directory.mkdir(exist_ok=True)
    key = generate("ec:p256")
    name = founding.ca_name("Brought CA")
    made = founding.self_signed(key, name, now=datetime.now(UTC), decrypts=False)
    write_key(directory / "ca-key.pem", key)
    write_certificate(directory / "ca.pem", made)
    secret = directory / "challenge.txt"
    secret.write_text(SECRET)
    secret.chmod(0o600)


@pytest.mark.rfc("S-3.1-3", "A-06", "P-26")
@pytest.mark.parametrize("key", ["rsa:2048", "ec:p256"])
def test_a_ca_that_cannot_decrypt(site, tmp_path, key):
    """At an EC CA requests are encrypted with the one challenge of its endpoint, and polls too."""
    bring_ec_ca(tmp_path / "server")
    here = site(endpoint=EC_CA)
    here.enroll("--key", key, "--challenge", "another-secret", expect=REFUSED)
    here.enroll("--key", key, "--challenge", SECRET)
    first = here.serial
    here.renew("--force", "--challenge", SECRET)
    assert here.serial != first
    # With the next CA, which has RSA, both kinds of requests come.
    here.admin("rollover", "prepare")
    wait_until(lambda: "GetNextCACert" in here.caps, "GetNextCACert")
    second = here.serial
    here.renew("--force", "--challenge", SECRET)
    assert here.serial != second
    here.renew("--next-ca", "--challenge", SECRET)
    here.admin("rollover", "activate", "--yes")
    here.admin("revoke", second)


def test_a_ca_that_cannot_decrypt_needs_a_static_challenge(tmp_path):
    """One-time challenges do not say which is a request's before it is open."""
    bring_ec_ca(tmp_path)
    done = scep("serve", "--dir", tmp_path, "--port", "0")
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error == (
        "error: endpoint 'default': the CA 'default' has no RSA key to decrypt requests with, "
        'which does not go with challenge = "one-time"'
    )
    assert hint == (
        "hint: restore ra.pem and ra-key.pem beside the CA; or, if it never had an RA, set "
        'challenge = "static" and challenge_file in [endpoint.default]'
    )


@pytest.mark.rfc("L-24")
def test_key_agreement(site):
    """Where the endpoint offers key agreement, an EC key renews without a challenge."""
    here = site(endpoint="key_agreement = true")
    here.enroll("--key", "ec:p256", "--challenge", here.challenge())
    first = here.serial
    here.renew("--force")
    assert here.serial != first


@pytest.mark.rfc("S-5.1-1", "S-5.1-2", "L-20", "S-4.7-1", "P-42")
def test_a_rollover(site):
    """A device gets a certificate of the next CA ahead, and changes over when that is in force.

    One that did not still renews afterwards, with the certificate of the CA that was.
    """
    here = site()
    here.enroll("--challenge", here.challenge())
    old = here.certificate
    here.admin("rollover", "prepare")
    wait_until(lambda: "GetNextCACert" in here.caps, "GetNextCACert")
    here.renew("--next-ca")
    assert here.certificate == old
    here.admin("rollover", "activate", "--yes")
    wait_until(lambda: "GetNextCACert" not in here.caps, "the change")
    here.renew()
    assert here.certificate.issuer != old.issuer
    here.renew("--force")
    assert here.certificate.issuer != old.issuer


def test_a_rollover_that_was_cancelled(site):
    """What the CA that was given up issued is never installed, but what the next one did."""
    here = site()
    here.enroll("--challenge", here.challenge())
    ask = "/scep?operation=GetNextCACert"

    def announced():
        here.admin("rollover", "prepare")
        name = x509.load_pem_x509_certificate((here.data / "next/ca.pem").read_bytes()).subject
        wait_until(lambda: name.public_bytes() in here.server.ask(ask).body, "the announcement")
        return name

    given_up = announced()
    here.renew("--next-ca")
    here.admin("rollover", "cancel", "--yes")
    wanted = announced()
    assert wanted != given_up
    here.renew("--force")
    assert not (here.device / "next").exists()
    here.renew("--next-ca")
    here.admin("rollover", "activate", "--yes")
    wait_until(lambda: "GetNextCACert" not in here.caps, "the change")
    here.renew()
    assert here.certificate.issuer == wanted
