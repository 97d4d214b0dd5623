"""Having a certificate revoked: where, what is sent again, and whom the client believes."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import httpd
import keys
from cmp import world
from cmp.site import Site
from cmp.world import Responder
from scepkit.cli import main
from scepkit.client import revocation as revoking
from scepkit.client.client import CA, Client
from scepkit.client.folder import REVOCATION, Folder
from scepkit.client.folder.record import Record, RevocationNote
from scepkit.client.http import HTTPTransport
from scepkit.client.transport import run_flow
from scepkit.errors import BadReply, Hint, LegacyRefused, SettingsError, TransportError, UsageError
from scepkit.protocol import algorithms, cmp
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.crl import Reason
from scepkit.protocol.scep import capabilities
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.flow import Limits
from scepkit.protocol.scep.transaction import Issued

BASE = "http://ca.example:8080"


@pytest.mark.parametrize(
    ("url", "ca_id", "found"),
    [
        (f"{BASE}/scep", "", "/cmp/default"),
        (f"{BASE}/scep/", "", "/cmp/default"),
        (f"{BASE}/scep/vpn", "", "/cmp/vpn"),
        (f"{BASE}/scep/VPN/", "", "/cmp/vpn"),
        (f"{BASE}/cgi-bin/pkiclient.exe", "", "/cmp/default"),
        (f"{BASE}/cgi-bin/pkiclient.exe/vpn", "", "/cmp/vpn"),
        (f"{BASE}/scep/cgi-bin/pkiclient.exe", "", "/cmp/default"),
        (f"{BASE}/scep/vpn/pkiclient.exe", "", "/cmp/vpn"),
        (f"{BASE}/scep/vpn/cgi-bin/pkiclient.exe", "", "/cmp/vpn"),
        (f"{BASE}/pkiclient.exe", "", "/cmp/default"),
        (f"{BASE}/pki/scep/vpn", "", "/pki/cmp/vpn"),
        (f"{BASE}/scep?x=1", "", "/cmp/default"),
        (f"{BASE}/scep", "Branch", "/cmp/branch"),
        (f"{BASE}/scep", "a name/with more", "/cmp/default"),
        (f"{BASE}/scep/vpn", "branch", "/cmp/vpn"),
    ],
)
def test_where_the_cmp_of_a_scep_server_is(url, ca_id, found):
    assert revoking.cmp_url(url, ca_id) == BASE + found


@pytest.mark.parametrize("path", ["/certsrv/mscep/mscep.dll", "/", "/scepx", "/scep/a/b"])
def test_where_it_is_cannot_be_told(path):
    with pytest.raises(UsageError, match="is not known"):
        revoking.cmp_url(BASE + path)


class Owner:
    """Whoever has a certificate of `cmp.world` and wants it revoked."""

    def __init__(self, site):
        self.url = f"http://{site.address}/cmp/default"
        self.device = world.device("p256")
        self.waits = []

    def revoke(self, ca=None, protector=None, **how):
        device = self.device
        flow = revoking.revoke(
            how.pop("url", self.url),
            device.certificate,
            protector or (lambda: revoking.by_key(device.key, device.certificate)),
            ca or world.trusted(),
            **how,
        )
        # The flow says where it goes.
        with HTTPTransport(proxy="") as transport:
            return run_flow(flow, transport, "http://nowhere.invalid/", self.waits.append)


def test_the_key():
    """One POST of the right media type to the very path; the reason arrives."""
    with Site(Responder()) as site:
        found = Owner(site).revoke(reason=Reason.superseded)
    assert found == revoking.Revoked(was_before=False)
    assert site.asked == [("POST /cmp/default HTTP/1.1", "application/pkixcmp")]
    (revocation,) = site.responder.revoked
    assert revocation.reason is Reason.superseded
    assert revocation.fits(world.device("p256").certificate)


def test_the_passphrase():
    """A MAC by the passphrase; the serial number in hex says which passphrase it is."""
    reference = f"{world.device('p256').x509.serial_number:x}".encode()
    with Site(Responder(secrets={reference: "phrase"})) as site:
        owner = Owner(site)
        made = lambda: revoking.by_passphrase("phrase", owner.device.certificate)  # noqa: E731
        assert not owner.revoke(protector=made).was_before


def test_revoked_before():
    """The CA says certRevoked: what was wanted is so."""
    with Site(Responder()) as site:
        owner = Owner(site)
        owner.revoke()
        found = owner.revoke()
    assert found == revoking.Revoked(was_before=True, text="it is revoked already")


def test_a_refusal():
    with Site(Responder(secrets={})) as site:
        owner = Owner(site)
        owner.device = world.device("p256", by="other CA")
        with pytest.raises(cmp.RevocationRefused) as caught:
            owner.revoke()
    assert caught.value.status.failures == {cmp.FailureInfo.wrongAuthority}
    assert len(site.received) == 1


class Forgetful(Responder):
    """Revokes, but its first answer is lost; says of what it has seen that it has seen it."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def answer(self, body):
        if body in self.seen:
            header = cmp.read_request(body).header
            error = cmp.TransactionIDInUse("seen", header=header)
            return cmp.seal_error(error, self.signer, now=httpd.today(), random=lambda n: b"r" * n)
        self.seen.add(body)
        found = super().answer(body)
        return b"lost" if len(self.seen) == 1 else found


def test_an_answer_that_was_lost():
    """The same octets again first; when these are known, a new request tells how it stands."""
    with Site(Forgetful()) as site:
        owner = Owner(site)
        found = owner.revoke()
    assert found.was_before
    first, again, new = site.received
    assert first == again != new
    assert [wait.seconds for wait in owner.waits] == [1.0]


@pytest.mark.parametrize(
    ("http", "times", "hint"),
    [
        ({"status": 503}, 3, ""),
        ({"status": 404}, 1, Hint.CMP_NOT_FOUND),
        ({"status": 400}, 1, ""),
        ({"content_type": "text/html"}, 1, Hint.CMP_URL),
        ({"content_type": ""}, 1, Hint.CMP_URL),
    ],
    ids=str,
)
def test_what_is_no_answer(http, times, hint):
    """What may do better later is sent again, the rest is told at once."""
    with Site(Responder(), **http) as site:
        with pytest.raises(TransportError) as caught:
            Owner(site).revoke(limits=Limits(retries=2))
        assert len(site.received) == times
    assert hint in caught.value.hint


def test_an_answer_of_a_stranger():
    """It must not be believed, whatever it says; and it is no reason to give up at once."""
    with Site(Responder(world.ca("other CA"))) as site:
        with pytest.raises(BadReply, match="not signed by the CA"):
            Owner(site).revoke(limits=Limits(retries=1))
        assert len(site.received) == 2


def in_sha1(signer=None):
    """Return a CA whose answers are signed over SHA-1."""
    made = Responder(signer)
    made.signer = replace(made.signer, digest=algorithms.SHA1)
    return made


def test_an_answer_that_is_signed_over_sha1():
    """The hint names it, the request is sent once; with leave it counts."""
    with Site(in_sha1()) as site:
        with pytest.raises(LegacyRefused) as caught:
            Owner(site).revoke(allowed=frozenset({Legacy.DES}))
        assert caught.value.message == "the CA answered with sha1, which was not allowed"
        assert caught.value.names == ("sha1", "des")
        assert len(site.received) == 1
        assert Owner(site).revoke(allowed=frozenset({Legacy.SHA1})).was_before


def test_nobody_is_told_to_allow_sha1_for_a_stranger():
    with Site(in_sha1(world.ca("other CA"))) as site, pytest.raises(BadReply):
        Owner(site).revoke(limits=Limits(retries=0))


def test_the_command_and_the_library_take_what_is_allowed(tmp_path, capsys, monkeypatch):
    """`scep revoke --legacy`, or what the directory's certificate was got with."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    device = world.device("p256")
    folder = Folder(tmp_path / "a")
    with Site(in_sha1()) as site:
        url = f"http://{site.address}/cmp/default"
        folder.begin(device.key)
        folder.install(Issued(device.certificate, (world.ca().certificate,), TransactionID(b"1")))
        folder.remember(Record(f"http://{site.address}/scep", legacy=("des",)))
        command = ["revoke", str(folder.path), "--yes"]
        assert main(command) == 1
        assert capsys.readouterr().err.splitlines()[-1].endswith(": --legacy sha1,des")
        assert main([*command, "--legacy", "sha1,des"]) == 0
        client = Client(
            f"http://{site.address}/scep",
            transport=HTTPTransport(proxy=""),
            allowed=frozenset({Legacy.SHA1}),
        )
        ca = CA(world.trusted(), capabilities.choose(frozenset({"scepstandard"}), ()))
        found = client.revoke(ca, device.key, device.certificate, url=url)
    assert isinstance(found, revoking.Revoked)


def test_nobody_is_there():
    with Site(Responder()) as site:
        owner = Owner(site)
    with pytest.raises(TransportError, match="connection refused"):
        owner.revoke(limits=Limits(retries=0))


# what the folder keeps

NOTE = RevocationNote("0abc", "2026-11-22T12:00:00+00:00", "keyCompromise")


def folder_with(tmp_path, serial):
    (tmp_path / "cert.pem").write_bytes(
        httpd.certify("d", keys.ec_key("d"), serial=serial).x509.public_bytes(Encoding.PEM)
    )
    return Folder(tmp_path)


def test_the_note(tmp_path):
    """It is about the certificate with that number alone."""
    folder = folder_with(tmp_path, 0xABC)
    assert folder.revocation() is None
    folder.note_revocation(NOTE)
    assert folder.revocation() == NOTE
    assert (tmp_path / REVOCATION).stat().st_mode & 0o777 == 0o644
    assert folder_with(tmp_path, 0xABD).revocation() is None
    (tmp_path / "cert.pem").unlink()
    assert folder.revocation() is None


def test_a_note_of_a_version_before(tmp_path):
    """It had as many digits as the number needs."""
    folder = folder_with(tmp_path, 0xABC)
    folder.note_revocation(replace(NOTE, serial="abc"))
    assert folder.revocation() == NOTE


def test_a_revoked_certificate_makes_room(tmp_path):
    """One on hold does not: it may be good again."""
    folder = folder_with(tmp_path, 0xABC)
    with pytest.raises(SettingsError, match="is there already"):
        folder.check_free(httpd.today())
    folder.note_revocation(RevocationNote("abc", NOTE.at, "certificateHold"))
    with pytest.raises(SettingsError, match="is there already"):
        folder.check_free(httpd.today())
    folder.note_revocation(NOTE)
    folder.check_free(httpd.today())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "nothing",
        json.dumps({"serial": "abc", "at": "yesterday", "reason": ""}),
        json.dumps({"serial": "abc", "at": "2026-11-22T12:00:00", "reason": ""}),
        "\ufffe",
        pytest.param("[" * 4000, id="deep"),
    ],
)
def test_a_damaged_note(tmp_path, text):
    folder = folder_with(tmp_path, 0xABC)
    (tmp_path / REVOCATION).write_text(text)
    with pytest.raises(SettingsError, match=r"revocation\.json is damaged"):
        folder.revocation()
