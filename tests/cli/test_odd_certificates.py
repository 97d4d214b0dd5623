"""A CA with an odd certificate issues odd certificates: every command works with them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

import keys
import odd
from der import integer, seq
from odd import LATIN, PLAIN, SERIALS, SMITH, OddSite
from scepkit.cli import describe
from scepkit.client import clock
from scepkit.client import keys as client_keys
from scepkit.client.folder import Folder
from scepkit.errors import Malformed
from scepkit.protocol.certificate import pem
from scepkit.protocol.scep.messages import Pending
from scepkit.protocol.scep.responder import Responder

DONE, FAILED, WAITS = 0, 1, 3
ODD_CAS = {
    "case 50": (SMITH, None),
    "Latin-1": (LATIN, None),
    **{serial: (PLAIN, der) for serial, der in SERIALS.items()},
    "all at once": (SMITH, SERIALS["negative"]),
}
CERTIFICATE, UNVERIFIED = Path("a/cert.pem"), Path("a/cert.unverified.pem")


class Device:
    """Runs `scep` for the directory `a`."""

    def __init__(self, scep, site):
        self.scep, self.site = scep, site

    def run(self, *arguments, expect=DONE):
        status, out, err = self.scep(*arguments)
        assert status == expect, err
        return out + err

    def enroll(self, *more, expect=DONE, subject="CN=dev1", key="rsa:2048"):
        return self.run(
            *("enroll", self.site.url, "--subject", subject, "--key", key, "--out", "a"),
            *("--fingerprint", self.site.fingerprint, "--max-wait", 0, *more),
            expect=expect,
        )

    @property
    def kinds(self):
        return [type(request).__name__ for request, _ in self.site.scep.asked]

    @property
    def ids(self):
        return {str(sender.attributes.transaction_id) for _, sender in self.site.scep.asked}


@pytest.fixture
def start(scep, request):
    """Start the server of an odd CA; return it and a device."""

    def start(authority):
        site = OddSite(authority)
        site.__enter__()
        request.addfinalizer(lambda: site.__exit__(None, None, None))
        return Device(scep, site)

    return start


@pytest.mark.parametrize("which", ODD_CAS)
def test_a_whole_life(start, which):
    """Enrolled, looked at, renewed, got again, revoked: nothing of it needs a strict reader."""
    subject, serial = ODD_CAS[which]
    authority = odd.CA(odd.ca(subject, serial), serial or SERIALS["padded"])
    device = start(authority)
    said = device.enroll("--san", "dev1.example")
    assert "warning: other programs may refuse this certificate: " in said
    assert "its basicConstraints are not those of a CA, nor of any other certificate" in said
    assert CERTIFICATE.read_text() == pem(authority.issued[0])
    assert Path("a/ca.pem").read_text() == pem(authority.holder.der)

    shown = json.loads(device.scep("status", "a", "--json")[1])
    assert (shown["state"], shown["subject"]) == ("valid", "CN=dev1")
    assert shown["issuer"] == str(authority.holder.certificate.subject_name)

    first, key = authority.issued[0], Path("a/key.pem").read_bytes()
    device.run("renew", "a", "--force")
    renewal, _ = device.site.scep.asked[-1]
    assert type(renewal).__name__ == "RenewalReq"
    assert CERTIFICATE.read_text() == pem(authority.issued[1]) != pem(first)
    assert Path("a/key.pem").read_bytes() != key

    got = device.run("get", "cert", "--dir", "a", "--out", "again.pem")
    assert "certificate of CN=dev1" in got
    assert Path("again.pem").read_text() == pem(authority.issued[1])
    # Revocation lists are the library's: it reads none with such a name.
    said = device.run("get", "crl", "--dir", "a", expect=DONE if subject == PLAIN else FAILED)
    assert ("BEGIN X509 CRL" if subject == PLAIN else "cannot be used: not an RFC 5280 CRL") in said
    listed = json.loads(device.scep("get", "ca", device.site.url, "--json")[1])
    assert [one["role"] for one in listed["certificates"]] == ["ca"]

    assert "revoked the certificate of CN=dev1" in device.run("revoke", "a", "--yes")
    assert json.loads(device.scep("status", "a", "--json")[1])["state"] == "revoked"
    device.enroll()
    assert len(authority.issued) == 3


def test_a_file_of_the_odd_ca(start):
    """`--ca FILE` takes what the library refuses."""
    holder = odd.ca(SMITH)
    with pytest.raises(Malformed):
        holder.certificate.x509()
    device = start(odd.CA(holder))
    Path("root.pem").write_text(pem(holder.der))
    device.run("enroll", device.site.url, "--subject", "CN=d", "--ca", "root.pem", "--out", "b")
    assert Folder(Path("b")).ca() == holder.certificate


def test_an_ordinary_certificate_is_warned_of_by_nobody(scep, serve):
    device = Device(scep, serve())
    assert "warning" not in device.enroll()


def test_odd_others_in_the_reply_never_matter(start):
    """Rubbish, a stranger's and the CA's own certificate, before and after ours."""
    authority = odd.CA(odd.ca(SMITH))
    others = (seq(integer(1)), keys.device("other").der, authority.holder.der)
    authority.give = lambda der, wanted: (*others, der, *others)
    device = start(authority)
    device.enroll()
    assert CERTIFICATE.read_text() == pem(authority.issued[0])
    assert not UNVERIFIED.exists()


# --- what nobody can verify -----------------------------------------------------------------------

STRANGER = odd.ca(SMITH, which="stranger-ca")


def by_a_stranger(der, wanted):
    return (keys.ca().der, odd.leaf(STRANGER, wanted, integer(9)))


WRONG = {
    "another CA's signature": (by_a_stranger, "was not issued by the CA that is trusted", 1),
    "another key": (
        lambda der, wanted: (keys.customer().der,),
        "no certificate for the key of the request",
        0,
    ),
    "unreadable": (
        lambda der, wanted: (seq(integer(1)),),
        "no certificate for the key of the request",
        0,
    ),
}


@pytest.mark.parametrize("renewing", [False, True], ids=["enroll", "renew"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_verified_is_kept(start, wrong, renewing):
    """Exit 1, the old pair and the request's key untouched; the same command asks for the same."""
    give, why, first = WRONG[wrong]
    authority = odd.CA(odd.ca(SMITH))
    device = start(authority)
    again, state = device.enroll, "pending"
    if renewing:
        device.enroll()
        state = "valid"
        again = lambda **how: device.run("renew", "a", "--force", **how)  # noqa: E731
    old = {path.name: path.read_bytes() for path in Path("a").glob("*.pem")}
    device.site.scep.asked.clear()
    right, given = authority.give, []

    def remember(der, wanted):
        given[:] = give(der, wanted)
        return tuple(given)

    authority.give = remember
    said = again(expect=FAILED)
    assert why in said
    assert "nothing is installed, and what the CA gave is kept in a/cert.unverified.pem" in said
    assert "openssl x509 -in a/cert.unverified.pem -noout -text" in said
    kept = {path.name: path.read_bytes() for path in Path("a").glob("*.pem")}
    assert kept.pop(UNVERIFIED.name).decode().startswith(pem(given[first]))
    assert sorted(UNVERIFIED.read_text().split("-----BEGIN")) == sorted(
        "".join(map(pem, given)).split("-----BEGIN")
    )
    assert UNVERIFIED.stat().st_mode & 0o777 == 0o644
    assert kept == old
    waiting = Path("a/key.pem.new").read_bytes()
    shown = json.loads(device.scep("status", "a", "--json")[1])
    assert (shown["state"], shown["unverified"]) == (state, str(UNVERIFIED))

    # It fails in the same way again; then the CA does better.
    again(expect=FAILED)
    authority.give = right
    again()
    assert len(device.ids) == 1
    assert Path("a/key.pem").read_bytes() == waiting
    assert CERTIFICATE.read_text() == pem(authority.issued[-1])
    assert not UNVERIFIED.exists()


def test_a_reply_that_is_not_authentic_is_discarded(start, monkeypatch):
    """Its signature is a stranger's: nothing of it is kept, whatever is inside."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    authority = odd.CA(odd.ca(SMITH))
    device = start(authority)
    device.site.scep.responder = Responder(
        signer=STRANGER.credential,
        credentials=[authority.holder.credential],
        random=device.site.scep.random,
    )
    assert "the reply cannot be believed" in device.enroll(expect=FAILED)
    assert authority.issued
    assert not UNVERIFIED.exists()
    assert Path("a/key.pem.new").exists()


def test_an_ec_key_that_waited_is_told_the_same(start, monkeypatch):
    """What another challenge would explain, since it cannot decrypt, does not explain this."""
    authority = odd.CA(odd.ca(SMITH))
    authority.give = by_a_stranger
    device = start(authority)
    server = device.site.scep
    server.decisions = [Pending(), authority]
    server.responder = Responder(
        signer=authority.holder.credential,
        credentials=[authority.holder.credential],
        random=server.random,
        key_agreement=True,
    )
    monkeypatch.setattr(client_keys, "generate_key", lambda spec: keys.ec_key("cli"))
    device.enroll("--challenge", "right", key="ec:p256", expect=WAITS)
    said = device.enroll(key="ec:p256", expect=FAILED)
    assert device.kinds == ["PKCSReq", "CertPoll"]
    assert "kept in a/cert.unverified.pem" in said
    assert "give that one" not in said


def test_openssl_can_look_at_it(start):
    authority = odd.CA(odd.ca(SMITH))
    authority.give = by_a_stranger
    start(authority).enroll(expect=FAILED)
    done = subprocess.run(
        ["openssl", "x509", "-in", UNVERIFIED, "-noout", "-issuer"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Smith & Sons" in done.stdout


def test_an_ra_that_has_ended_is_called_so(monkeypatch):
    """`scep get ca` says what a client that refuses the CA says, and not that it is no RA's."""
    monkeypatch.setattr(clock, "now", lambda: keys.NOW)
    ca, key = keys.ca(), keys.rsa_key("ended-ra")
    bits = keys.usage("key_encipherment", "digital_signature")
    past = {"not_before": keys.NOW - 9 * keys.DAY, "not_after": keys.NOW - keys.DAY}
    ended = keys.certify("RA", key, ca, key_usage=bits, **past).certificate
    listed = [ended, ca.certificate]
    assert [str(role) for role in describe.roles(listed)] == [
        "RA whose certificate has ended",
        "CA",
    ]
    good = keys.certify("RA", key, ca, key_usage=bits).certificate
    assert [role.code for role in describe.roles([good, *listed])] == ["ra", "unrelated", "ca"]
