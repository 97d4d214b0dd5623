"""`scep admin certificates import`: what a CA issued before it came here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.hashes import SHA256

import keys
from chains import issue, name
from scepkit.operations import certificate_import
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store
from scepkit.store import CertificateKey
from server.live import SCEP, environment
from waiting import wait_until

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
REVOKED = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)


class Elsewhere:
    """A CA that issues without us, and a server here that has taken it over."""

    def __init__(self, scep, path):
        self.scep = scep
        self.path = path
        self.key = keys.rsa_key("elsewhere", 2048)
        self.ca = issue("Old CA", self.key, NOW, usages=("key_cert_sign", "crl_sign"))
        self.numbers = iter(range(0xA00000, 0xB00000))
        (path / "ca.pem").write_bytes(pem(self.ca))
        (path / "ca.key").write_bytes(
            self.key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
        )
        found = ("--cert", "ca.pem", "--key", "ca.key")
        status, _, err = scep("admin", "ca", "import", "default", *found, "--dir", "s")
        assert status == 0, err
        open_store(data_directory.prepare(path / "s", now=datetime.now(UTC)).settings).close()

    @property
    def issuer(self):
        return Certificate.of(self.ca).key_hash

    def issue(self, subject="dev", *, serial=None, key=None, days=300, by=None, digest=None):
        ca, private = by or (self.ca, self.key)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(ca.subject)
            .public_key((key or keys.ec_key("device")).public_key())
            .serial_number(serial or next(self.numbers))
            .not_valid_before(NOW - 500 * DAY)
            .not_valid_after(NOW + days * DAY)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(f"{subject}.example")]), critical=False
            )
            .sign(private, digest or SHA256())
        )

    def crl(self, *entries, by=None, digest=None, extensions=()):
        ca, private = by or (self.ca, self.key)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.subject)
            .last_update(NOW - DAY)
            .next_update(NOW + DAY)
        )
        for serial, reason in entries:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(REVOKED)
            if reason:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        for one, critical in extensions:
            builder = builder.add_extension(one, critical=critical)
        return builder.sign(private, digest or SHA256())

    def bring(self, *arguments, expect=0, **files):
        """Write files, and import; return the counts and what was said."""
        for file, content in files.items():
            (self.path / file).write_bytes(content)
        command = ("admin", "certificates", "import", *arguments)
        status, out, err = self.scep(*command, "--dir", "s", "--json")
        assert status == expect, (out, err)
        return SimpleNamespace(**json.loads(out)) if out else None, err

    def store(self):
        settings = data_directory.open_records(self.path / "s").settings
        return open_store(settings)

    def status(self, serial):
        """Say how a certificate stands, as OCSP is told: None, `good` or a reason."""
        with self.store() as store:
            found = store.ocsp_statuses(self.issuer, [serial]).get(serial)
        return None if found is None else "good" if found.revoked_at is None else found.reason


def pem(*certificates):
    return b"".join(one.public_bytes(ser.Encoding.PEM) for one in certificates)


def der(certificate):
    return certificate.public_bytes(ser.Encoding.DER)


def line(serial, state="V", revoked="", end=NOW + 300 * DAY):
    return f"{state}\t{end:%y%m%d%H%M%S}Z\t{revoked}\t{serial:X}\tunknown\t/CN=dev\n".encode()


@pytest.fixture
def old(scep, tmp_path):
    return Elsewhere(scep, tmp_path)


def counts(done):
    return done.certificates, done.known, done.revocations, done.left_out, done.skipped


def test_pem_der_and_again(old):
    many = [old.issue(f"dev{n}") for n in range(5)]
    done, _ = old.bring("all", "der", all=b"some text\n" + pem(*many[:3]), der=der(many[3]))
    assert counts(done) == (4, 0, 0, 0, 0)
    first = done.digest
    done, _ = old.bring("all", "two", two=der(many[4]) + der(many[3]))
    assert counts(done) == (1, 4, 0, 0, 0)
    assert done.digest != first
    status, out, _ = old.scep("admin", "list", "--name", "dev2.example", "--json", "--dir", "s")
    assert status == 0
    assert json.loads(out)["serial"] == show_serial(many[2].serial_number)
    status, out, _ = old.scep(
        "admin", "show", show_serial(many[2].serial_number), "--dir", "s", "--pem"
    )
    assert out.encode() == pem(many[2])


def test_stdin(old, monkeypatch):
    import io

    stdin = SimpleNamespace(buffer=io.BytesIO(pem(old.issue())), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    done, _ = old.bring("-")
    assert counts(done) == (1, 0, 0, 0, 0)


def test_a_directory_with_all_that_openssl_leaves_there(old, tmp_path):
    """Keys and the CA's own certificate are left out; what its name says is none is not read."""
    folder = tmp_path / "demoCA"
    (folder / "newcerts").mkdir(parents=True)
    (folder / "private").mkdir()
    many = [old.issue(f"dev{n}") for n in range(4)]
    for one in many[:3]:
        (folder / "newcerts" / f"{one.serial_number:X}.pem").write_bytes(pem(one))
    (folder / "cacert.pem").write_bytes(pem(old.ca))
    (folder / "private/cakey.pem").write_bytes((tmp_path / "ca.key").read_bytes())
    (folder / "serial").write_text("1004\n")
    (folder / "index.txt.attr").write_text("unique_subject = no\n")
    reasons = ["", "250304050607Z,keyTime,20250101000000Z", "250304050607Z"]
    (folder / "index.txt").write_bytes(
        b"".join(
            line(one.serial_number, "R" if why else "V", why)
            for one, why in zip(many, [*reasons, ""], strict=True)
        )
    )
    done, err = old.bring("demoCA", expect=1)
    assert counts(done) == (3, 0, 2, 2, 1)
    assert (
        f"index.txt:4: the certificate {show_serial(many[3].serial_number)} is not at hand" in err
    )
    assert [old.status(one.serial_number) for one in many] == ["good", 1, 0, None]
    with old.store() as store:
        row = store.certificate(CertificateKey(many[1].serial_number, old.issuer))
    assert (row.revoked_at, row.invalidity_date) == (REVOKED, datetime(2025, 1, 1, tzinfo=UTC))
    # The index alone leads to the certificates beside it.
    done, _ = old.bring("demoCA/index.txt", expect=1)
    assert counts(done) == (0, 3, 0, 0, 1)


def test_an_index_without_certificates(old):
    ended = NOW - DAY
    lines = [
        line(1, "R", "250304050607Z,superseded"),
        line(2, "R", "250304050607Z,holdInstruction,1.2.840.10040.2.2", ended),
        line(3, "E", end=ended),
        line(4, "V", end=ended),
    ]
    done, _ = old.bring("index.txt", **{"index.txt": b"".join(lines)})
    assert counts(done) == (0, 0, 2, 0, 0)
    assert [old.status(serial) for serial in (1, 2, 3)] == [4, 6, None]
    # Its certificate comes later, and is revoked from its first moment on.
    done, _ = old.bring("late", late=pem(old.issue(serial=1)))
    assert counts(done) == (1, 0, 0, 0, 0)
    assert old.status(1) == 4


def test_damaged_lines_of_an_index(old):
    good = line(7, "R", "250304050607Z")
    damaged = {
        b"V\t30\n": "2 fields",
        good.replace(b"R\t", b"X\t"): "none of V, R and E",
        b"R\t" + good[3:]: "no time",
        good.replace(b"\t7\t", b"\tseven\t"): "not hex",
        good.replace(b"\t7\t", b"\t0\t"): "no certificate here can have",
        good.replace(b"\t7\t", b"\t" + b"F" * 40 + b"\t"): "no certificate here can have",
        good.replace(b"0607Z", b"9999Z"): "time or the reason",
        good.replace(b"0607Z", b"0607Z,bored"): "time or the reason",
        good.replace(b"0607Z", b"0607Z,keyTime,x"): "time or the reason",
        line(7, "R"): "time or the reason",
        b"x" * 70000 + b"\n": "too long",
    }
    content = b"".join([*damaged, b"\n", line(8, "R", "250304050607Z,CACompromise")])
    done, err = old.bring("index.txt", expect=1, **{"index.txt": content})
    assert counts(done) == (0, 0, 1, 0, len(damaged))
    assert old.status(8) == 2
    told = [one for one in err.splitlines() if "index.txt:" in one]
    for number, (one, why) in enumerate(zip(told, damaged.values(), strict=True), 1):
        assert f"index.txt:{number}: " in one
        assert why in one


def test_the_state_from_a_crl(old):
    """For certificates that come with it, those here already, and those nobody has."""
    here, comes, good = (old.issue(f"dev{n}") for n in range(3))
    old.bring("here", here=pem(here))
    numbers = [one.serial_number for one in (here, comes)]
    crl = old.crl(
        (numbers[0], x509.ReasonFlags.key_compromise),
        (numbers[1], None),
        (99, x509.ReasonFlags.certificate_hold),
    )
    done, _ = old.bring("more", "--crl", "crl", crl=pem(crl), more=pem(here, comes, good))
    assert counts(done) == (2, 1, 3, 0, 0)
    assert [old.status(one) for one in (*numbers, good.serial_number, 99)] == [1, 0, "good", 6]
    done, _ = old.bring("more", "--crl", "crl", crl=der(crl))
    assert counts(done) == (0, 3, 0, 0, 0)
    status, _, err = old.scep("admin", "crl", "--dir", "s", "--out", "new.crl")
    assert status == 0, err
    new = x509.load_pem_x509_crl((old.path / "new.crl").read_bytes())
    assert {one.serial_number: one.revocation_date_utc for one in new} == dict.fromkeys(
        (*numbers, 99), REVOKED
    )
    history = old.scep("admin", "show", f"{numbers[0]:x}", "--dir", "s")[1]
    assert "revoke (keyCompromise)" in history


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("other name", "not one of the CAs here"),
        ("other key", "not signed by that CA's key"),
        ("delta", "delta CRL"),
        ("indirect", "indirect CRL"),
        ("critical", "critical extension"),
        ("garbage", "no CRL that can be read"),
        ("certificate", "no CRL in it"),
        ("empty", "no CRL in it"),
    ],
)
def test_a_crl_that_is_not_believed(old, how, why):
    entry = (77, None)
    point = x509.IssuingDistributionPoint(
        None, None, False, False, None, indirect_crl=True, only_contains_attribute_certs=False
    )
    other = keys.rsa_key("stranger", 2048)
    make = {
        "other name": lambda: der(old.crl(entry, by=(issue("Other", other, NOW), other))),
        "other key": lambda: der(old.crl(entry, by=(old.ca, other))),
        "delta": lambda: der(old.crl(entry, extensions=[(x509.DeltaCRLIndicator(1), True)])),
        "indirect": lambda: der(old.crl(entry, extensions=[(point, True)])),
        "critical": lambda: der(
            old.crl(
                entry,
                extensions=[
                    (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)
                ],
            )
        ),
        "garbage": lambda: b"0\x03abc",
        "certificate": lambda: pem(old.ca),
        "empty": lambda: b"",
    }
    content = make[how]()
    done, err = old.bring("good", "--crl", "crl", expect=1, crl=content, good=pem(old.issue()))
    assert why in err
    assert counts(done)[:3] == (1, 0, 0)
    assert done.skipped >= 1
    assert old.status(77) is None


def test_garbage_between_good_ones(old):
    """Each is named with its place, and the rest is done."""
    many = [old.issue(f"dev{n}") for n in range(4)]
    stranger = issue("Stranger", keys.rsa_key("stranger", 2048), NOW)
    forged = old.issue("forged", by=(old.ca, keys.rsa_key("stranger", 2048)))
    block = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    content = b"".join(
        [
            pem(many[0]),
            block.format("!!!!").encode(),
            block.format("MAMBAf8=").encode(),
            pem(many[1], stranger, forged),
            b"-----BEGIN CERTIFICATE-----\nMIIB\n",
            pem(many[2]),
            b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
            b"\xff\xfe\0garbage\n",
            pem(many[3]).replace(b"\n", b"\r\n  "),
            b"-----BEGIN CERTIFICATE-----\nMIIB\n",
        ]
    )
    done, err = old.bring("all", expect=1, all=content)
    assert counts(done) == (4, 0, 0, 1, 6)
    for said in (
        "its base64 cannot be read",
        "the certificate is damaged",
        '"CN=Stranger": issued by "CN=Stranger", which is not one of the CAs here',
        '"CN=forged": the key of "CN=Old CA" did not sign it',
        "the CERTIFICATE has no end",
    ):
        assert said in err


def test_serial_numbers_twice(old):
    first, second = old.issue("dev1", serial=42), old.issue("dev2", serial=42)
    done, err = old.bring("all", expect=1, all=pem(first, first, second))
    assert counts(done) == (1, 1, 0, 0, 1)
    assert '"CN=dev2": another certificate of this CA has the serial number 2a' in err


@pytest.mark.parametrize("content", [b"", b"0", b"0\x84\xff\xff\xff\xff", b"0\x80\0\0", b"text"])
def test_what_is_no_certificate_at_all(old, content):
    done, err = old.bring("it", expect=1, it=content)
    assert counts(done) == (0, 0, 0, 0, 1)
    assert "it: " in err


@pytest.mark.parametrize(("digest", "taken"), [("sha1", 1), ("md5", 0)])
def test_old_signatures(old, openssl, digest, taken):
    """SHA-1 was usual once, and what is taken over is compared octet for octet; MD5 never."""
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name("dev"))
        .sign(keys.ec_key("device"), SHA256())
    )
    (old.path / "dev.csr").write_bytes(request.public_bytes(ser.Encoding.PEM))
    by = ("-CA", old.path / "ca.pem", "-CAkey", old.path / "ca.key", "-set_serial", "17")
    made = openssl.run("x509", "-req", "-in", old.path / "dev.csr", *by, f"-{digest}")
    done, err = old.bring("all", expect=1 - taken, all=made)
    assert counts(done) == (taken, 0, 0, 0, 1 - taken)
    assert ("an algorithm that is not accepted" in err) != bool(taken)


def test_a_short_serial_number_is_no_number_of_a_request(old):
    old.bring("all", all=pem(old.issue(serial=0x12)))
    assert old.scep("admin", "show", "12", "--dir", "s")[0] == 2
    status, out, _ = old.scep("admin", "show", "0x12", "--dir", "s")
    assert (status, "CN=dev" in out) == (0, True)
    assert old.scep("admin", "revoke", "12", "--dir", "s", "--yes")[0] == 0
    assert old.status(0x12) == 0


def test_a_wrong_name_is_told_before_anything_is_done(old):
    (old.path / "good").write_bytes(pem(old.issue()))
    for arguments in (
        ["good", "nowhere"],
        ["good", "--crl", "nowhere"],
        ["good", "--ca", "other"],
        ["good", "--endpoint", "other"],
        ["good", "--generation", "old/7"],
    ):
        command = ("admin", "certificates", "import", *arguments, "--dir", "s")
        assert old.scep(*command)[0] == 2, arguments
    assert old.bring("good")[0].certificates == 1


@pytest.mark.long
def test_a_large_file_is_read_piece_by_piece(old, tmp_path, monkeypatch):
    """Nothing of it is in memory but the piece at hand, whatever is in it."""
    import resource

    good = pem(old.issue())
    with (tmp_path / "large").open("wb") as file:
        file.write(good)
        file.seek(1 << 30)  # a hole: a gigabyte of NUL
        file.write(b"\n" + pem(old.issue("dev2")) + b"-----BEGIN CERTIFICATE-----\n")
        for _ in range(200):
            file.write(b"A" * 65536 + b"\n")
        file.write(b"-----END CERTIFICATE-----\n" + pem(old.issue("dev3")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done, err = old.bring("large", expect=1)
    assert counts(done) == (3, 0, 0, 0, 1)
    assert "too long" in err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_one_audit_record_tells_of_an_import(old):
    many = [old.issue(f"dev{n}") for n in range(3)]
    done, _ = old.bring("all", "--reason", "moved", all=pem(*many))
    out = old.scep("admin", "audit", "export", "--dir", "s")[1]
    records = [json.loads(one) for one in out.splitlines()]
    (found,) = [one for one in records if one["action"] == "certificates-imported"]
    assert found["reason"] == "moved"
    details = found["details"]
    assert (details["certificates"], details["digest"]) == (3, done.digest)
    assert (details["files"], details["complete"]) == (["all"], "yes")
    assert old.scep("admin", "audit", "verify", "--dir", "s")[0] == 0


def test_an_import_that_is_interrupted_goes_on_later(old, monkeypatch):
    many = [old.issue(f"dev{n}") for n in range(7)]
    crl = old.crl((many[6].serial_number, None))
    monkeypatch.setattr(certificate_import, "_CHUNK", 2)
    paused = []

    def interrupt(_):
        paused.append(1)
        if len(paused) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(certificate_import.time, "sleep", interrupt)
        old.bring("all", "--crl", "crl", all=pem(*many), crl=der(crl), expect=130)
    assert old.status(many[6].serial_number) == 0  # before its certificate is there
    done, _ = old.bring("all", "--crl", "crl")
    assert counts(done) == (5, 2, 0, 0, 0)
    assert [old.status(one.serial_number) for one in many] == ["good"] * 6 + [0]
    out = old.scep("admin", "audit", "export", "--dir", "s")[1]
    told = [json.loads(one)["details"] for one in out.splitlines() if "certificates-imp" in one]
    assert [(one["certificates"], one["complete"]) for one in told] == [(2, "no"), (5, "yes")]


def test_several_endpoints_and_generations(old, tmp_path):
    """One of two endpoints has to be named; an index finds its CA by what is beside it."""
    (tmp_path / "s/scep.toml").write_text('[endpoint.default]\n[endpoint.phones]\nca = "default"\n')
    one = old.issue()
    command = ("admin", "certificates", "import", "one", "--dir", "s")
    (tmp_path / "one").write_bytes(pem(one))
    status, _, err = old.scep(*command)
    assert (status, "several endpoints: default, phones" in err) == (2, True)
    done, _ = old.bring("one", "--endpoint", "phones")
    assert counts(done) == (1, 0, 0, 0, 0)
    with old.store() as store:
        assert store.certificate(one.serial_number).endpoint == "phones"
    assert old.scep("admin", "rollover", "prepare", "--dir", "s")[0] == 0
    content = line(5, "R", "250304050607Z")
    _, err = old.bring("index.txt", "--endpoint", "phones", expect=1, **{"index.txt": content})
    assert "which of 2 CAs" in err
    assert old.status(5) is None
    named = ("--endpoint", "phones", "--generation", "current")
    assert old.bring("index.txt", *named)[0].revocations == 1
    assert old.status(5) == 0
    (tmp_path / "newcerts").mkdir()
    (tmp_path / "newcerts/1.pem").write_bytes(pem(one))
    content = line(6, "R", "250304050607Z")
    done, _ = old.bring("index.txt", "--endpoint", "phones", **{"index.txt": content})
    assert counts(done) == (0, 1, 1, 0, 0)


def test_how_far_it_is_and_how_fast(old, monkeypatch):
    monkeypatch.setattr("scepkit.cli.terminal._EVERY", 0)
    _, err = old.bring("all", all=pem(*(old.issue(f"dev{n}") for n in range(3))))
    assert "3 certificates and revocations, " in err
    assert " a second" in err


def test_an_import_that_is_killed_is_done_by_the_next(old):
    """A process of its own, killed with -9 among its commits: nothing is lost or double."""
    many = [old.issue(f"dev{n}") for n in range(3000)]
    (old.path / "all").write_bytes(pem(*many))
    (old.path / "crl").write_bytes(der(old.crl(*((one.serial_number, None) for one in many[::2]))))
    command = [*SCEP, "admin", "certificates", "import", "all", "--crl", "crl", "--dir", "s"]
    process = subprocess.Popen(command, cwd=old.path, stderr=subprocess.DEVNULL, env=environment())
    with old.store() as store:
        keys_of = [CertificateKey(one.serial_number, old.issuer) for one in many]
        wait_until(lambda: len(store.stored_among(keys_of[:500])) >= 200, "a part of it")
        process.kill()
        assert process.wait() == -signal.SIGKILL
        stored = sum(len(store.stored_among(keys_of[at : at + 500])) for at in range(0, 3000, 500))
    assert 200 <= stored < 3000
    done, _ = old.bring("all", "--crl", "crl")
    # What was taken over is known; the CRL came first, as a whole.
    assert counts(done) == (3000 - stored, stored, 0, 0, 0)
    for at in (0, stored - 1, stored, stored + 1, 2999):
        assert old.status(many[at].serial_number) == ("good" if at % 2 else 0)
    assert old.scep("admin", "audit", "verify", "--dir", "s")[0] == 0


@pytest.mark.long
def test_an_index_of_ten_thousand_lines(old):
    """What is revoked is known by its serial number, and what is at hand is listed."""
    many = [old.issue(f"dev{n}") for n in range(100)]
    (old.path / "newcerts").mkdir()
    lines = []
    for one in many:
        (old.path / f"newcerts/{one.serial_number:X}.pem").write_bytes(pem(one))
        lines.append(line(one.serial_number))
    revoked = range(0xC00000, 0xC00000 + 9900)
    lines += [line(serial, "R", f"{REVOKED:%y%m%d%H%M%S}Z,superseded") for serial in revoked]
    done, _ = old.bring("index.txt", **{"index.txt": b"".join(lines)})
    assert counts(done) == (100, 0, 9900, 0, 0)
    with old.store() as store:
        assert {row.serial for row in store.revoked(old.issuer, not_after=NOW)} == {*revoked}
    done, _ = old.bring("index.txt")
    assert counts(done) == (0, 100, 0, 0, 0)


def test_pipes_in_a_directory_are_passed_over(old, tmp_path):
    """One that somebody holds open, and never writes to, would hold the import for ever."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.pem").write_bytes(pem(old.issue()))
    os.mkfifo(tmp_path / "d/b.pem")
    holder = os.open(tmp_path / "d/b.pem", os.O_RDWR)
    try:
        done, _ = old.bring(tmp_path / "d")
    finally:
        os.close(holder)
    assert (done.certificates, done.skipped) == (1, 0)
