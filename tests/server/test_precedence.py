"""A setting that is given twice: which value wins is said, and which option is not kept."""

from __future__ import annotations

import pytest

from scepkit.server.settings.precedence import not_kept, overruled

HOST = {"host": "0.0.0.0"}


def said(directory, options=(), layout=None):
    return [f"{one.winner} > {one.loser}" for one in overruled(directory, dict(options), layout)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "scep.toml"


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        ('host = "127.0.0.1"', HOST, '--host 0.0.0.0 > host = "127.0.0.1" in {}'),
        ("port = 8080", {"port": 80}, "--port 80 > port = 8080 in {}"),
        (
            '[ca.default]\nsubject = "CN=A"\nyears = 5',
            {"ca": {"default": {"subject": "CN=B"}}},
            '--ca-subject CN=B > subject = "CN=A" in [ca.default] of {}',
        ),
        ("workers = 2", {"workers": 1}, "--workers 1 > workers = 2 in {}"),
        (
            'public_url = "http://a.example/scep"',
            {"public_url": "http://b.example/scep"},
            '--public-url http://b.example/scep > public_url = "http://a.example/scep" in {}',
        ),
        (
            '[endpoint.default]\nlegacy = ["md5"]',
            {"endpoint": {"default": {"legacy": ["sha1", "des"]}}},
            '--legacy sha1,des > legacy = ["md5"] in [endpoint.default] of {}',
        ),
        (
            '[endpoint.default]\nlegacy = ["md5"]',
            {"endpoint": {"default": {"legacy": []}}},
            "--legacy '' > legacy = [\"md5\"] in [endpoint.default] of {}",
        ),
    ],
)
def test_an_option_against_the_file(tmp_path, file, text, options, line):
    file.write_text(text)
    assert said(tmp_path, options) == [line.format(file)]


def test_the_layout_is_an_option_too(tmp_path, file):
    file.write_text('[endpoint.default]\nlayout = "single"\n')
    line = f'--layout ec > layout = "single" in [endpoint.default] of {file}'
    assert said(tmp_path, layout="ec") == [line]


@pytest.mark.parametrize(
    ("text", "name", "value", "line"),
    [
        ('host = "127.0.0.1"', "SCEP_HOST", "::1", 'SCEP_HOST=::1 > host = "127.0.0.1" in {}'),
        ("crl_hours = 24", "scep_crl_hours", "48", "SCEP_CRL_HOURS=48 > crl_hours = 24 in {}"),
        ('proxies = ["::1"]', "SCEP_PROXIES", "[]", 'SCEP_PROXIES=[] > proxies = ["::1"] in {}'),
        (
            "[endpoint.vpn]\nvalidity_days = 7",
            "SCEP_ENDPOINT__VPN__VALIDITY_DAYS",
            "30",
            "SCEP_ENDPOINT__VPN__VALIDITY_DAYS=30 > validity_days = 7 in [endpoint.vpn] of {}",
        ),
        (
            "[endpoint.default]\ncmp = true",
            "SCEP_ENDPOINT",
            '{"default": {"cmp": false}}',
            "SCEP_ENDPOINT=false > cmp = true in [endpoint.default] of {}",
        ),
    ],
)
def test_a_variable_against_the_file(tmp_path, file, monkeypatch, text, name, value, line):
    file.write_text(text)
    monkeypatch.setenv(name, value)
    assert said(tmp_path) == [line.format(file)]


def test_an_option_against_a_variable_and_the_file(tmp_path, file, monkeypatch):
    """One line for each value that does not count; the variable wins over nothing here."""
    file.write_text("port = 1")
    monkeypatch.setenv("SCEP_PORT", "2")
    assert said(tmp_path, {"port": 3}) == [
        "--port 3 > SCEP_PORT=2",
        f"--port 3 > port = 1 in {file}",
    ]


def test_the_same_value_in_other_clothes(tmp_path, file, monkeypatch):
    """Text for a number, the order of a set, and what is given once."""
    file.write_text('port = 8080\n[endpoint.default]\nlegacy = ["sha1", "md5"]\ncmp = true\n')
    monkeypatch.setenv("SCEP_PORT", "8080")
    monkeypatch.setenv("SCEP_CRL_HOURS", "3")
    monkeypatch.setenv("SCEP_ENDPOINT__DEFAULT__CMP", "yes")
    options = {"host": "::1", "workers": None, "endpoint": {"default": {"legacy": ["md5", "sha1"]}}}
    assert said(tmp_path, options) == []


def test_the_password_of_a_database_is_not_shown(tmp_path, file, monkeypatch):
    file.write_text('database = "postgresql://scep:first@db/scep"')
    monkeypatch.setenv("SCEP_DATABASE", "postgresql://db/scep?password=second")
    assert said(tmp_path) == [f"SCEP_DATABASE > database in {file}"]


def test_a_value_that_loses_may_be_wrong(tmp_path, file):
    file.write_text("port = 'none'")
    assert said(tmp_path, {"port": 80}) == [f'--port 80 > port = "none" in {file}']


def test_the_options_of_a_first_start_beside_a_file_of_before(tmp_path, file):
    """A value that is in the file is told by `overruled`, and a default needs no line."""
    file.write_text('host = "127.0.0.1"\n')
    options = {"host": "::1", "port": 80, "workers": 1, "public_url": 'http://a"\x7f/scep'}
    assert not_kept(tmp_path, options) == {
        "port": "port = 80",
        "public_url": 'public_url = "http://a\\"\\u007f/scep"',
    }
