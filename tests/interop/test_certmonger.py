"""certmonger: its session daemon on a bus of its own, and its helper scep-submit.

It sends everything by GET. In layout `single` it must be told the CA's certificate (-N): it takes
none from GetCACert as a root to verify a reply with.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interop import building
from interop.programs import Daemon, built, expect, inside, require, run
from waiting import wait_until

pytestmark = [
    pytest.mark.interop,
    pytest.mark.cannot(
        cert="it has no GetCert", crl="it has no GetCRL", next="it has no GetNextCACert"
    ),
]

LAYOUTS = ["default", "single", "ec"]

# The daemon lives as long as the stdin of this does, and the bus as long as the daemon.
_SESSION = """
"$1" -n -d 1 >&2 &
echo "$DBUS_SESSION_BUS_ADDRESS"
read -r _
kill $!
wait $!
"""

_BUS = "org.freedesktop.DBus"
_NAME = "org.fedorahosted.certmonger"

# What ends in one of these goes on by itself only after minutes, if at all.
SETTLED = (
    "MONITORING",
    "CA_WORKING",
    "CA_REJECTED",
    "CA_UNREACHABLE",
    "CA_UNCONFIGURED",
    "NEED_GUIDANCE",
)


NOTE = "Without an RA it must be told the CA's certificate with `-N`."
OLD = pytest.mark.peer("certmonger 0.79.17 (Debian 12)", role="client", note=NOTE)
NEW = pytest.mark.peer("certmonger 0.79.20 (Debian 13)", role="client", note=NOTE)


HELPERS = "/usr/lib/certmonger"


class Installed:
    """Debian 12's, where it was installed.

    Attributes:
        start: what its bus starts: the daemon.
        daemon: the file of the daemon, as the machine sees it.
        helper: the command of scep-submit.
    """

    version = "0.79.17"

    def __init__(self, _shared):
        daemon, *self.helper = require("certmonger-session", "scep-submit")
        self.daemon = Path(daemon)
        self.start = daemon

    def command(self, name):
        return tuple(require(name))


class Newer:
    """Debian 13's, in its tree."""

    version = "0.79.20"

    def __init__(self, shared):
        self.command = inside(building.DEBIAN_13, shared)
        self.start = f"{HELPERS}/certmonger-session"
        self.daemon = built(building.DEBIAN_13) / f"root{self.start}"
        self.helper = self.command(f"{HELPERS}/scep-submit")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(Installed, marks=OLD, id=Installed.version),
        pytest.param(Newer, marks=NEW, id=Newer.version),
    ],
)
def installation(request, tmp_path_factory):
    """Return where a certmonger is from."""
    return request.param(tmp_path_factory.getbasetemp())


class Certmonger:
    """getcert, talking to the daemon."""

    def __init__(self, getcert, home, address):
        self.home = home
        self._getcert = getcert
        self._address = address
        self._count = 0

    def getcert(self, command, *options):
        variables = {"DBUS_SESSION_BUS_ADDRESS": self._address}
        return run(*self._getcert, command, "-s", *options, cwd=self.home, **variables)

    def add_ca(self, serving, url):
        """Add a CA and return its nickname."""
        self._count += 1
        nickname = f"ca{self._count}"
        options = () if serving.has_ra else ("-N", serving.ca)
        done = self.getcert("add-scep-ca", "-c", nickname, "-u", url, *options)
        assert done.status == 0, done.text
        return nickname

    def request(self, ca, challenge, subject="CN=device,O=Interop"):
        """Ask for a certificate and return the nickname of the request."""
        self._count += 1
        nickname = f"request{self._count}"
        done = self.getcert(
            *("request", "-c", ca, "-I", nickname, "-L", challenge),
            *("-k", self.home / f"{nickname}.key", "-f", self.certificate(nickname)),
            *("-N", subject, "-D", "device.example"),
        )
        assert done.status == 0, done.text
        return nickname

    def certificate(self, nickname):
        return self.home / f"{nickname}.pem"

    def settled(self, nickname, *, after=None):
        """Return the status that a request comes to rest in, and all that is known of it."""

        def known():
            said = self.getcert("list", "-i", nickname).out
            status = re.search(r"^\tstatus: (\w+)$", said, re.MULTILINE)
            found = status and status[1]
            return (found, said) if found in SETTLED and found != after else None

        return wait_until(known, f"certmonger to settle {nickname}")


@pytest.fixture(scope="module")
def certmonger(installation, tmp_path_factory):
    """Run the daemon on a session bus that nobody else is on."""
    bus, getcert = installation.command("dbus-run-session"), installation.command("getcert")
    (ask,) = require("dbus-send")
    home = tmp_path_factory.mktemp("certmonger")
    command = [*bus, "--", "sh", "-c", _SESSION, "sh", installation.start]
    with Daemon("certmonger", command, home, ends_by=None) as daemon:
        address = daemon.line()

        def on_the_bus():
            question = (f"--dest={_BUS}", "/", f"{_BUS}.NameHasOwner", f"string:{_NAME}")
            options = ("--session", "--print-reply=literal", *question)
            return "true" in run(ask, *options, cwd=home, DBUS_SESSION_BUS_ADDRESS=address).out

        # Asked anything else before that, the bus would start a second one.
        wait_until(on_the_bus, "certmonger to be on its bus")
        yield Certmonger(getcert, home, address)


def test_the_version(installation):
    """It has no option to say it."""
    version = installation.version
    known = version.encode() in installation.daemon.read_bytes()
    expect(version, version if known else "another")


@pytest.mark.does("enrol")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_enrols(server, tap, certmonger, openssl, layout):
    serving = server(layout)
    wire = tap(serving.url)
    request = certmonger.request(certmonger.add_ca(serving, wire.url), serving.challenge())
    status, said = certmonger.settled(request)
    assert status == "MONITORING", said
    assert "ca-error" not in said
    certificate = certmonger.certificate(request)
    openssl.check_chain(certificate, serving.ca)
    # It keeps the order in which it was asked for the names.
    assert openssl.facts(certificate, "-subject") == "subject=O=Interop,CN=device\n"
    assert "DNS:device.example" in openssl.facts(certificate, "-ext", "subjectAltName")
    (line,) = serving.answered("SUCCESS", operation="PKIOperation")
    assert int(line["serial"], 16) == int(openssl.serial(certificate), 16)
    assert {exchange.method for exchange in wire.exchanges} == {"GET"}
    (exchange,) = wire.pki_operations
    openssl.signed(exchange.message)
    openssl.signed(exchange.reply, signer=serving.recipient)


@pytest.mark.parametrize("name", ["host_1", "WIN-DEV!01", "a@b & c*", "Müller"])
def test_a_name_that_is_no_printable_string(server, tap, certmonger, openssl, name):
    """It tags every common name as PrintableString, whatever it holds: issued as UTF8String."""
    serving = server("default")
    wire = tap(serving.url)
    ca = certmonger.add_ca(serving, wire.url)
    request = certmonger.request(ca, serving.challenge(), f"CN={name},O=Interop")
    status, said = certmonger.settled(request)
    assert status == "MONITORING", said
    shown = openssl.facts(
        certmonger.certificate(request),
        "-subject",
        "-nameopt",
        "utf8,-esc_msb,sep_comma_plus,show_type",
    )
    assert f"CN=UTF8STRING:{name}" in shown


@pytest.mark.does("refusal")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wrong_challenge(server, certmonger, layout):
    serving = server(layout)
    request = certmonger.request(certmonger.add_ca(serving, serving.url), "wrong")
    status, said = certmonger.settled(request)
    assert status == "CA_REJECTED", said
    refusal = "Transaction either is not permitted or is not supported by server."
    assert f"\tca-error: {refusal}\n" in said
    assert not certmonger.certificate(request).exists()
    serving.answered("badRequest", operation="PKIOperation")


@pytest.mark.does("retry")
def test_a_lost_reply(server, tap, certmonger, openssl):
    """It asks again with a new nonce, and gets what was issued the first time."""
    serving = server("default")
    wire = tap(serving.url)
    wire.lose_reply()
    ca = certmonger.add_ca(serving, f"{wire.url}/pkiclient.exe")
    request = certmonger.request(ca, serving.challenge())
    status, said = certmonger.settled(request)
    assert status == "CA_UNREACHABLE", said
    done = certmonger.getcert("refresh", "-i", request)
    assert done.status == 0, done.text
    status, said = certmonger.settled(request, after="CA_UNREACHABLE")
    assert status == "MONITORING", said
    first, _ = serving.answered("SUCCESS", "repeated", operation="PKIOperation")
    serial = openssl.serial(certmonger.certificate(request))
    assert int(first["serial"], 16) == int(serial, 16)
    first, second = wire.pki_operations
    assert first.path == second.path == "/scep/pkiclient.exe"
    assert first.message != second.message


@pytest.mark.does("poll")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_waits_for_approval(server, certmonger, openssl, layout):
    """It polls by sending the same request with a new nonce."""
    serving = server(layout)
    ca = certmonger.add_ca(serving, serving.manual)
    request = certmonger.request(ca, serving.challenge("manual"))
    status, said = certmonger.settled(request)
    assert status == "CA_WORKING", said
    serving.approve_next()
    done = certmonger.getcert("refresh", "-i", request)
    assert done.status == 0, done.text
    status, said = certmonger.settled(request, after="CA_WORKING")
    assert status == "MONITORING", said
    openssl.check_chain(certmonger.certificate(request), serving.ca)
    serving.answered("PENDING", "repeated", message_type="PKCS_REQ")


@pytest.mark.does("renew", "rekey")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_renews(server, tap, certmonger, openssl, layout):
    """By a PKCSReq that the present certificate signs."""
    serving = server(layout)
    wire = tap(serving.url)
    request = certmonger.request(certmonger.add_ca(serving, wire.url), serving.challenge())
    status, said = certmonger.settled(request)
    assert status == "MONITORING", said
    certificate = certmonger.certificate(request)
    seen = [(openssl.serial(certificate), openssl.public_key(certificate))]
    for command in ("resubmit", "rekey"):
        done = certmonger.getcert(command, "-i", request, "-w")
        assert done.status == 0, done.text
        openssl.check_chain(certificate, serving.ca)
        seen.append((openssl.serial(certificate), openssl.public_key(certificate)))
    _, *lines = serving.answered("SUCCESS", "SUCCESS", "SUCCESS", message_type="PKCS_REQ")
    assert [int(line["renews"], 16) for line in lines] == [int(one[0], 16) for one in seen[:2]]
    first, second, third = seen
    assert len({serial for serial, _ in seen}) == 3
    assert (second[1] == first[1], third[1] == first[1]) == (True, False)


@pytest.mark.does("caps", "ca")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_scep_submit(server, installation, openssl, tmp_path, layout):
    """The helper alone: GetCACaps, and GetCACert in the order that certmonger needs."""
    serving = server(layout)
    done = run(*installation.helper, "-u", serving.url, "-c", cwd=tmp_path)
    assert done.status == 0, done.text
    assert {"AES", "POSTPKIOperation", "SHA-256", "SCEPStandard"} <= set(done.out.split())
    done = run(*installation.helper, "-u", f"{serving.url}/pkiclient.exe", "-C", cwd=tmp_path)
    assert done.status == 0, done.text
    files = [serving.recipient, serving.ca] if serving.has_ra else [serving.ca]
    ours = [openssl.fingerprints(file.read_text())[0] for file in files]
    assert openssl.fingerprints(done.out) == ours
