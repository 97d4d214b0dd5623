"""The command that gets a certificate again, as far as a directory knows it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

import keys
from scepkit.cli.device import hints
from scepkit.client.folder import Folder


def test_of_a_directory_that_is_not_there(tmp_path):
    wanted = "scep enroll URL --subject DN --out 'a b'"
    assert hints.enroll_command(Folder(Path("a b"))) == wanted


def test_of_a_certificate_that_was_got(serve, scep):
    """Given what the hint says, and whom to trust, a new one is got."""
    site = serve()
    wanted = ["--subject", "CN=a b,O=Example", "--legacy", "sha1", "--ca-id", "x", "--out", "a"]
    trust = ["--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, *wanted, *trust)[0] == 0
    said = hints.enroll_command(Folder(Path("a")))
    assert said == (
        f"scep enroll {site.url} --subject 'CN=a b,O=Example' --ca-id x --legacy sha1 --out a"
    )
    assert scep(*shlex.split(said)[1:], *trust, "--force")[0] == 0


def test_of_a_certificate_with_other_names():
    """Those that --san takes are named; that they were asked for before is not known otherwise."""
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("a.example"),
            x509.IPAddress(ip_address("192.0.2.1")),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        ]
    )
    key, now = keys.ec_key("again"), datetime.now(UTC)
    name = x509.Name.from_rfc4514_string("CN=a")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, SHA256())
    )
    Path("a").mkdir()
    Path("a/cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    wanted = "scep enroll URL --subject CN=a --san dns:a.example --san ip:192.0.2.1 --out a"
    assert hints.enroll_command(Folder(Path("a"))) == wanted
