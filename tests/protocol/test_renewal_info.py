"""Renewal information (RFC 9773): names of certificates and answers, both ways."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

import keys
from scepkit.errors import Malformed
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import capabilities, renewal_info
from scepkit.protocol.scep.renewal_info import MAX_BODY, CertID, RenewalInfo

# RFC 9773 section 4.1: the example, and what it is made of.
AUTHORITY = bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4")
EXAMPLE = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
SERIAL = 0x87654321

START = datetime(2027, 1, 2, 4, tzinfo=UTC)
END = START + timedelta(days=1)


def certificate(*extensions, serial=SERIAL):
    key = keys.ec_key("device")
    builder = (
        x509.CertificateBuilder()
        .subject_name(keys.name("device"))
        .issuer_name(keys.name("ca"))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Certificate.of(builder.sign(key, hashes.SHA256()))


def identified(authority=AUTHORITY, **how):
    return certificate(x509.AuthorityKeyIdentifier(authority, None, None), **how)


def test_the_name_is_that_of_the_rfcs_example():
    assert str(CertID.of(identified())) == EXAMPLE


def test_the_name_is_read_back():
    found = CertID.read(EXAMPLE)
    assert (found.authority, found.serial_number) == (AUTHORITY, SERIAL)


def test_an_issuer_by_name_and_number_goes_with_its_key():
    names = [x509.DirectoryName(keys.name("root"))]
    one = certificate(x509.AuthorityKeyIdentifier(AUTHORITY, names, 7))
    assert str(CertID.of(one)) == EXAMPLE


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(keys.name("root"))], 7),),
        (x509.AuthorityKeyIdentifier(bytes(41), None, None),),
        (x509.UnrecognizedExtension(x509.OID_AUTHORITY_KEY_IDENTIFIER, b"\x04\x00"),),
    ],
    ids=["none", "no key", "too long", "no sequence"],
)
def test_a_certificate_that_names_no_issuers_key_has_no_name(extensions):
    with pytest.raises(Malformed):
        CertID.of(certificate(*extensions))


@given(st.binary(min_size=1, max_size=40), st.integers(0, 2**159))
def test_names_come_back(authority, number):
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big")
    one = CertID(authority, octets)
    assert CertID.read(str(one)) == one
    assert one.serial_number == number
    assert len(str(one)) <= renewal_info.MAX_NAME


@given(st.text(alphabet=st.sampled_from("AQgwaZ09-_.=+/% \n\0é"), max_size=200) | st.text())
def test_whatever_is_read_as_a_name_is_written_the_same(text):
    try:
        found = CertID.read(text)
    except Malformed:
        return
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "AQ",
        "AQ.",
        ".AQ",
        "AQ.AQ.AQ",
        "AQ==.AQ",
        "AQ.AQ==",
        "AR.AQ",
        "A.AQ",
        "AQ.+/8",
        "AQ. AQ",
        "AQ.AQ\n",
        "AQ.AAE",  # 00 01: an octet too many
        "AQ.__8",  # ff ff
        "AQ." + "B" * 56,
        "B" * 100_000 + ".AQ",
    ],
)
def test_what_is_no_name(text):
    with pytest.raises(Malformed):
        CertID.read(text)


def test_the_answer_of_the_rfcs_example():
    body = (
        b'{"suggestedWindow": {"start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z"},'
        b'"explanationURL": "https://acme.example.com/docs/ari"}'
    )
    assert RenewalInfo.read(body) == RenewalInfo(
        datetime(2025, 1, 2, 4, tzinfo=UTC),
        datetime(2025, 1, 3, 4, tzinfo=UTC),
        "https://acme.example.com/docs/ari",
    )


times = st.integers(-(10**9), 2 * 10**11).map(lambda seconds: START + timedelta(seconds=seconds))


@given(times, st.integers(1, 10**9), st.sampled_from(["", "https://ca.example/why?a=b"]))
def test_answers_come_back(start, seconds, explanation):
    found = RenewalInfo(start, start + timedelta(seconds=seconds), explanation)
    assert RenewalInfo.read(found.write()) == found


def answer(start="2027-01-02T04:00:00Z", end="2027-01-03T04:00:00Z", **more):
    return json.dumps({"suggestedWindow": {"start": start, "end": end}, **more}).encode()


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2027-01-02t04:00:00z", START),
        ("2027-01-02T05:30:00+01:30", START),
        ("2027-01-02T04:00:00.123456789Z", START.replace(microsecond=123456)),
    ],
)
def test_times_are_those_of_rfc_3339(text, time):
    assert RenewalInfo.read(answer(start=text)).start == time


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"suggestedWindow"',
        b"{}",
        b'{"suggestedWindow": []}',
        b'{"suggestedWindow": {"start": "2027-01-02T04:00:00Z"}}',
        b"<html>",
        b"[" * MAX_BODY,
        b"9" * MAX_BODY,
        answer(start=1),
        answer(start="2027-01-02"),
        answer(start="2027-01-02T04:00:00"),
        answer(start="20270102T040000Z"),
        answer(start="2027-W01-2T04:00:00Z"),
        answer(start="2027-02-30T04:00:00Z"),
        answer(start="0001-01-01T00:00:00+23:59"),
        answer(start="\u0662027-01-02T04:00:00Z"),
        answer(end="2027-01-02T04:00:00Z"),
        answer(end="2027-01-01T04:00:00Z"),
        answer(more="x" * MAX_BODY),
    ],
)
def test_what_is_no_answer(body):
    with pytest.raises(Malformed):
        RenewalInfo.read(body)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["suggestedWindow", "start", "end", "explanationURL"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_answer_does_harm(body):
    try:
        found = RenewalInfo.read(body)
    except Malformed:
        return
    assert found.start < found.end


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://ca.example/\x1b[31m",
        "https://ca.example/a b",
        "https://ca.example/\nx",
        "https://ca.example/\u202egpj",
        "https://",
        "https://[::1/",
        "ftp://ca.example/",
        "https://ca.example/" + "a" * 1024,
        "\ud800",
        7,
        None,
        ["https://ca.example/"],
    ],
)
def test_an_explanation_that_is_no_url_is_left_out(url):
    assert RenewalInfo.read(answer(explanationURL=url)).explanation == ""


def test_times_are_written_in_utc():
    east = timezone(timedelta(hours=5))
    found = RenewalInfo(START.astimezone(east), END)
    assert json.loads(found.write())["suggestedWindow"]["start"] == "2027-01-02T04:00:00Z"


@pytest.mark.parametrize(
    ("server", "place"),
    [
        ("http://ca.example/scep", "http://ca.example"),
        ("http://ca.example:8080/scep/printers", "http://ca.example:8080"),
        ("https://ca.example/pki/scep/printers/", "https://ca.example/pki"),
        ("http://ca.example/cgi-bin/pkiclient.exe", "http://ca.example"),
        ("http://ca.example/a/pkiclient.exe?x=y", "http://ca.example/a"),
        ("http://ca.example/scep/scep", "http://ca.example"),
        ("http://ca.example/certsrv/mscep", "http://ca.example"),
    ],
)
def test_the_place_is_beside_the_scep_service(server, place):
    assert renewal_info.place(server, CertID.read(EXAMPLE)) == f"{place}/renewal-info/{EXAMPLE}"


# RFC 8894 section 3.5.2, the drafts before it, and what servers say besides.
KEYWORDS = [
    *("AES", "DES3", "GetNextCACert", "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256", "SHA-512"),
    *("SCEPStandard", "Update", "SHA-224", "SHA-384", "MD5", "DES", "3DES", "RSA"),
]


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_our_keyword_is_taken_for_no_other_one(keyword):
    own = capabilities.WHEN_TO_RENEW
    # strongSwan: a line that a keyword begins with, whatever the case.
    assert not keyword.lower().startswith(own.lower())
    # certmonger 0.79.17: a line as long as the keyword.
    assert len(own) != len(keyword)
    # Others: a line that begins with the keyword, or the keyword anywhere in the list.
    assert keyword.lower() not in own.lower()
    assert own[0].lower() != keyword[0].lower()


@pytest.mark.parametrize("serial", [1, 0x7F, 0x80, 0x1234, SERIAL, 2**127 - 1, 2**158])
def test_the_page_tells_a_shell_how_to_name_a_certificate(tmp_path, serial):
    page = Path(__file__).parents[2] / "docs/reference/renewal-information.md"
    script = re.search(r"```\n(name\(\).*?)```", page.read_text("utf-8"), re.DOTALL)[1]
    for program in ("bash", "openssl", "xxd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    one = identified(serial=serial)
    (tmp_path / "cert.pem").write_text(one.pem(), "ascii")
    told = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == str(CertID.of(one))
