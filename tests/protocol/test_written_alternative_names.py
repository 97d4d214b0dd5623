"""Subject alternative names as people write them, of every kind."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

import keys
from scepkit.errors import UsageError
from scepkit.protocol.general_name import WRITTEN_KINDS, GeneralName, parse_san

EVERY_KIND = {
    "dns:dev1.example": ("dns:dev1.example", "DNS:dev1.example"),
    "ip:192.0.2.1": ("ip:192.0.2.1", "IP Address:192.0.2.1"),
    "ip:2001:db8::1": ("ip:2001:db8::1", "IP Address:2001:DB8:0:0:0:0:0:1"),
    "email:a@b.example": ("email:a@b.example", "email:a@b.example"),
    "uri:urn:uuid:f81d4fae": ("uri:urn:uuid:f81d4fae", "URI:urn:uuid:f81d4fae"),
    "upn:alice@corp.example": ("upn:alice@corp.example", "otherName: 1.3.6.1.4.1.311.20.2.3"),
    "dirName:CN=dev1,O=Example": ("dir:CN=dev1,O=Example", "DirName:"),
}


@pytest.mark.parametrize(("written", "shown"), [(w, s) for w, (s, _) in EVERY_KIND.items()])
def test_every_kind_is_read_and_shown(written, shown):
    assert str(GeneralName.of(parse_san(written))) == shown
    # What we show is taken, too.
    assert parse_san(shown) == parse_san(written)


def test_openssl_reads_every_kind(tmp_path):
    names = x509.SubjectAlternativeName([*map(parse_san, EVERY_KIND)])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(keys.name("dev1"))
        .add_extension(names, critical=False)
        .sign(keys.rsa_key("san"), keys.SHA256)
    )
    (tmp_path / "request").write_bytes(request.public_bytes(Encoding.PEM))
    command = ["openssl", "req", "-in", tmp_path / "request", "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    plain = text.replace(" ", "")
    for _, shown in EVERY_KIND.values():
        assert shown.replace(" ", "") in plain or shown.startswith("otherName")
    assert "othername" in plain.lower()


@given(
    st.one_of(
        st.text(),
        st.builds("{}:{}".format, st.sampled_from(WRITTEN_KINDS), st.text()),
        st.builds("dirname:CN={}".format, st.text()),
    )
)
@example("dirname:CN=a,,")
@example("dirname:CN=#0c01")
@example("uri:\ud800")
@example("upn:\ud800@a")
def test_text_is_one_name_or_refused(text):
    with contextlib.suppress(UsageError):
        name = parse_san(text)
        assert len(str(GeneralName.of(name)).splitlines()) == 1


@pytest.mark.parametrize("text", ["dirname:", "dir:dev1", "dirname:XX=1", "dirname:C=Switzerland"])
def test_what_is_no_directory_name_is_refused(text):
    with pytest.raises(UsageError, match="subject alternative name"):
        parse_san(text)
