"""`scep admin revoke` and the CRL, with openssl as the judge, while a server runs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import keys
from enrolment import devices
from openssl import OpenSSL
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.scep.messages import Success


@pytest.fixture
def running(directory, serve):
    return serve(directory())


@pytest.fixture
def admin(running, scep):
    """Run `scep admin` on the server's directory; return stdout and stderr."""

    def admin(*arguments, status=0):
        was, out, err = scep("admin", *arguments, "--dir", running.directory)
        assert was == status, err
        return SimpleNamespace(stdout=out, stderr=err)

    return admin


def enrol(server, challenges, name="one"):
    (secret,) = challenges(server.directory)
    return server.enrol(secret, transaction_id=name, subject=f"CN={name}").x509


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_revoked_certificate(running, admin, challenges, tmp_path):
    """It is in the CRL at once; openssl refuses it and takes the other."""
    one, other = (enrol(running, challenges, name) for name in ("one", "two"))
    done = admin("revoke", show_serial(one.serial_number), "--reason", "keyCompromise")
    assert done.stdout == ""
    assert done.stderr.startswith(
        f"revoked {show_serial(one.serial_number)}, CN=one\nsigned CRL number "
    )
    judge = OpenSSL(tmp_path)
    crl = written(tmp_path / "crl.pem", admin("crl").stdout)
    text = judge.run("crl", "-in", crl, "-noout", "-text").decode()
    assert "Key Compromise" in text
    assert f"{one.serial_number:X}" in text.replace("Serial Number: 0", "Serial Number: ")
    verify = ["verify", "-crl_check", "-CAfile", running.directory / "ca.pem", "-CRLfile", crl]
    good = written(tmp_path / "good.pem", other.public_bytes(Encoding.PEM))
    judge.run(*verify, good)
    bad = written(tmp_path / "bad.pem", one.public_bytes(Encoding.PEM))
    with pytest.raises(AssertionError, match="certificate revoked"):
        judge.run(*verify, bad)
    rows = admin("list", "--status", "revoked", "--json").stdout.splitlines()
    assert [json.loads(row)["subject"] for row in rows] == ["CN=one"]
    shown = json.loads(admin("show", show_serial(one.serial_number), "--json").stdout)
    assert (shown["status"], shown["reason"]) == ("revoked", "keyCompromise")
    (line,) = shown["history"]
    assert (line["action"], line["reason"], line["by"]) == (
        "revoke",
        "keyCompromise",
        shown["revoked_by"],
    )


@pytest.mark.rfc("S-4.6.1-1", "S-2.7-3")
def test_the_crl_over_the_wire(running, admin, challenges):
    """GetCRL gives the current CRL, with what was revoked a moment ago."""
    one = enrol(running, challenges)
    holder = keys.Holder(keys.device().key, one)
    wanted = devices.get_crl(
        to=running.ra, serial=one.serial_number, issuer=one.issuer.public_bytes(), signer=holder
    )

    def fetched():
        rep = running.read(running.post(wanted), holder).rep
        assert isinstance(rep, Success)
        assert rep.certificates == ()
        (crl,) = rep.crls
        return x509.load_der_x509_crl(crl)

    assert [*fetched()] == []
    admin("revoke", show_serial(one.serial_number))
    (entry,) = fetched()
    assert entry.serial_number == one.serial_number


def test_a_revoked_certificate_renews_nothing(running, admin, challenges):
    """The server, another process, knows at once."""
    one = enrol(running, challenges)
    holder = keys.Holder(keys.device().key, one)
    admin("revoke", show_serial(one.serial_number))
    renewal = devices.renewal_req(
        to=running.ra, signer=holder, subject="CN=one", transaction_id="renewal"
    )
    assert running.read(running.post(renewal), holder).refusal[0] == "badRequest"


def test_what_is_typed(running, admin, challenges, tmp_path):
    """Colons, 0x and capitals are a serial number; twice is once; unknown ones are told first."""
    one, two = (enrol(running, challenges, name) for name in ("one", "two"))
    hexed = f"{one.serial_number:032X}"
    colons = ":".join(hexed[i : i + 2] for i in range(0, 32, 2))
    unknown = admin("revoke", colons, "1234", status=2)
    assert "nothing was changed" in unknown.stderr
    assert admin("list", "--status", "revoked").stdout == ""
    admin("revoke", colons, f"0x{show_serial(two.serial_number)}", "--reason", "SUPERSEDED")
    again = admin("revoke", show_serial(one.serial_number), "--reason", "keyCompromise")
    assert "was revoked before" in again.stderr
    shown = json.loads(admin("show", show_serial(one.serial_number), "--json").stdout)
    assert shown["reason"] == "superseded"
    for text in ("nonsense", "", "12 34x"):
        assert "is not a serial number" in admin("revoke", text, status=2).stderr
    assert "--reason" in admin("revoke", "1", "--reason", "boredom", status=2).stderr
    out = tmp_path / "ca.crl"
    admin("crl", "--der", "--out", out)
    assert len([*x509.load_der_x509_crl(out.read_bytes())]) == 2
    assert "--out" in admin("crl", "--der", status=2).stderr


def test_revoked_though_no_crl_can_be_signed(running, admin, challenges):
    """A key that cannot be read is no reason to leave a certificate good; it is told."""
    one = enrol(running, challenges)
    (running.directory / "ca-key.pem").chmod(0o644)
    done = admin("revoke", show_serial(one.serial_number))
    assert "revoked" in done.stderr
    assert "warning: the change is stored, but no new CRL could be signed\n" in done.stderr
    assert "hint: chmod 600" in done.stderr
    (running.directory / "ca-key.pem").chmod(0o600)
    assert admin("crl").stdout.startswith("-----BEGIN X509 CRL-----")
