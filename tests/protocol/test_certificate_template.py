"""Microsoft's extensions that name a certificate template."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

import keys
from scepkit.errors import Malformed, UsageError
from scepkit.protocol.asn1 import der
from scepkit.protocol.certificate_template import (
    TEMPLATE,
    TEMPLATE_NAME,
    certificate_template,
    named_template,
)
from scepkit.protocol.extensions import Extension, encoded, extension


def octets(text):
    return certificate_template(text).value.public_bytes().hex()


def test_a_name_is_a_bmp_string():
    found = certificate_template("IPSECIntermediateOffline")
    assert (found.oid.dotted_string, found.critical) == ("1.3.6.1.4.1.311.20.2", False)
    # As a Windows CA writes it: BMPString, 24 characters of two octets.
    name = "".join(f"00{ord(c):02x}" for c in "IPSECIntermediateOffline")
    assert octets("IPSECIntermediateOffline") == f"1e30{name}"
    assert octets("Gerät") == "1e0a" + "Gerät".encode("utf-16-be").hex()


@pytest.mark.parametrize(
    ("text", "major", "minor"),
    [("1.3.6.1.4.1.311.21.8.1.2", None, None), ("1.2.3:100", 100, None), ("1.2.3:100.4", 100, 4)],
)
def test_an_oid_comes_with_its_version(text, major, minor):
    found = certificate_template(text)
    assert found.oid.dotted_string == "1.3.6.1.4.1.311.21.7"
    oid = x509.ObjectIdentifier(text.partition(":")[0])
    assert found.value == x509.MSCertificateTemplate(oid, major, minor)


@pytest.mark.parametrize(
    "text", ["", "a\nb", "x" * 65, "\U0001f511", "9.9.9", "1.2.3:4294967296", "\ud800"]
)
def test_what_is_no_template_is_refused(text):
    with pytest.raises(UsageError, match="template"):
        certificate_template(text)


@given(st.text(max_size=80))
@example("1.2.3:")
@example("1.2.3:1.2")
@example("1.2.3")
@example("1.2.3:01")
@example("1" * 5000 + ".1")
@example("1.2.3:" + "1" * 5000)
def test_text_is_an_extension_or_refused(text):
    with contextlib.suppress(UsageError):
        found = certificate_template(text)
        assert found.value.public_bytes()[0] in (0x1E, 0x30)
        named = named_template([Extension.read(encoded(found.value))])
        # Zeros may stand before a version.
        assert certificate_template(named) == found


@given(st.sampled_from([TEMPLATE, TEMPLATE_NAME]), st.binary())
@example(TEMPLATE, bytes.fromhex("3000"))
@example(TEMPLATE, bytes.fromhex("300506032a0304"))
@example(TEMPLATE_NAME, bytes.fromhex("1e0161"))
def test_what_peers_write_is_read_or_passed_over(oid, value):
    with contextlib.suppress(Malformed):
        named_template([Extension.read(extension(der.oid(oid), value))])


@pytest.mark.parametrize(
    ("text", "shown"),
    [("Machine", "1.3.6.1.4.1.311.20.2"), ("1.3.6.1.4.1.311.21.8.7:100.4", "1.3.6.1.4.1.311.21.7")],
)
def test_openssl_finds_it_in_a_request(tmp_path, text, shown):
    found = certificate_template(text)
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(keys.name("dev1"))
        .add_extension(found.value, critical=False)
        .sign(keys.rsa_key("template"), keys.SHA256)
    )
    (tmp_path / "request").write_bytes(request.public_bytes(Encoding.PEM))
    command = ["openssl", "req", "-in", tmp_path / "request", "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown in text or "Microsoft certificate template" in text
