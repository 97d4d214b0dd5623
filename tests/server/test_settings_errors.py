"""What is wrong with scep.toml is said in its own words."""

from __future__ import annotations

import re

import pytest

from scepkit.errors import SettingsError
from scepkit.server import settings

URL = "has to be a URL with http:// or https://, in quotes"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("portt = 1", "there is no setting `portt`; did you mean `port`?"),
        ("zzz = 1", "there is no setting `zzz`"),
        (
            "validity_days = 3",
            "there is no setting `validity_days`; it goes below [endpoint.default]",
        ),
        ("port = 'x'", "port has to be a whole number"),
        ("port = 70000", "port has to be at most 65535"),
        ("workers = 0", "workers has to be at least 1"),
        ("metrics = 9108", 'metrics has to be HOST:PORT in quotes, such as "127.0.0.1:9108"'),
        ("metrics = 'x'", 'metrics has to be HOST:PORT in quotes, such as "127.0.0.1:9108"'),
        ("public_url = 'ca.example'", f"public_url {URL}"),
        ("pki_url = 3", f"pki_url {URL}"),
        ("database_seconds = 'long'", "database_seconds has to be a number"),
        ("database_seconds = 0", "database_seconds has to be at least 0.1"),
        ("log = 'loud'", "log has to be 'auto', 'json' or 'text'"),
        ("endpoint = 3", "endpoint has to be a section, such as [endpoint.default]"),
        (
            "[endpoint.vpn]\nvaldity_days = 3",
            "there is no setting `endpoint.vpn.valdity_days`; did you mean `validity_days`?",
        ),
        (
            "[endpoint.default]\nport = 3",
            "there is no setting `endpoint.default.port`; it goes above [endpoint.default]",
        ),
        (
            "[endpoint.default]\nrenewal = 'maybe'",
            "endpoint.default.renewal has to be true or false",
        ),
        (
            "[endpoint.default]\nlegacy = 'sha1'",
            'endpoint.default.legacy has to be a list, such as ["…"]',
        ),
        (
            "[endpoint.default]\nchallenge = 'none'",
            'endpoint.default: challenge = "none" lets everybody in: it needs approval = "manual"',
        ),
        (
            "[ca.default]\nsubjct = 'CN=A'",
            "there is no setting `ca.default.subjct`; did you mean `subject`?",
        ),
        (
            "[ca.default]\nport = 3",
            "there is no setting `ca.default.port`; it goes above [ca.default]",
        ),
        (
            "[endpoint.default]\nyears = 3",
            "there is no setting `endpoint.default.years`; it goes below [ca.default]",
        ),
        (
            "[endpoint.vpn]\nvalidity = '1m'",
            (
                "there is no setting `endpoint.vpn.validity`; "
                "it goes below [profile.NAME] of the profile of that endpoint"
            ),
        ),
        ("ca = 3", "ca has to be a section, such as [ca.default]"),
        (
            "[ca.default]\nkey = 'rsa:1024'",
            "ca.default.key has to be 'rsa:2048', 'rsa:3072', 'rsa:4096', 'ec:p256' or 'ec:p384'",
        ),
        ("[ca.default]\nyears = 100", "ca.default.years has to be at most 50"),
        ("[ca.default]\npath_length = -1", "ca.default.path_length has to be at least 0"),
        (
            "[ca.default]\nsubject = 'O=Example'",
            "ca.default.subject: 'O=Example' has no common name (begin with CN=)",
        ),
        (
            "[ca.default]\nsubject = 'CN=" + "x" * 62 + "'",
            f"ca.default.subject: '{'x' * 62}' cannot name a CA (1 to 61 octets for the CN)",
        ),
        (
            "port = -1\nworkers = 99",
            "port has to be at least 0; workers has to be at most 64",
        ),
    ],
)
def test_what_is_said(tmp_path, text, said):
    (tmp_path / "scep.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        settings.load(tmp_path)
    start = f"{tmp_path / 'scep.toml'} or SCEP_… variables: {said}"
    assert re.fullmatch(rf"{re.escape(start)} \(line \d+\)", str(caught.value))
    assert caught.value.hint == "correct it and start again"


def test_the_line_is_named(tmp_path):
    (tmp_path / "scep.toml").write_text("port = 1\n\n[ca.default]\nyears = 10\nkey = 'dsa'\n")
    with pytest.raises(SettingsError, match=r"ca\.default\.key .* \(line 5\)$"):
        settings.load(tmp_path)


def test_a_ca_that_no_endpoint_has(tmp_path):
    """A typing error would be a CA that nobody made so."""
    (tmp_path / "scep.toml").write_text("[ca.defualt]\nyears = 3\n")
    with pytest.raises(SettingsError, match=r": ca\.defualt: no endpoint has a CA of that name"):
        settings.load(tmp_path)
    with pytest.raises(SettingsError, match=r"did you mean \[ca\.default\]\? \(line 1\)$"):
        settings.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "once"),
    [
        ("[endpoint.default]\n[endpoint.default]", True),
        ("port = 1\nport = 2", True),
        ("port 1", False),
    ],
)
def test_what_stands_twice_in_the_file_is_said_to_be_allowed_once(tmp_path, text, once):
    (tmp_path / "scep.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        settings.load(tmp_path)
    assert ("may stand in the file once" in caught.value.hint) is once


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCEP_PROXIES", "10.0.0.1"),
        ("SCEP_ENDPOINT__DEFAULT__LEGACY", "sha1"),
        ("SCEP_ENDPOINT__VPN__CURVES", "[p256]"),
    ],
)
def test_a_variable_that_has_to_be_a_list_is_named(tmp_path, monkeypatch, name, value):
    monkeypatch.setenv("SCEP_LOG", value)  # the same value elsewhere is not the one
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        settings.load(tmp_path)
    assert str(refused.value.message) == f"{name}: this is not JSON"
    assert refused.value.hint == 'write lists as JSON, for instance \'["a", "b"]\''
