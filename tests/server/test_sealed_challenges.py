"""Static challenges that are sealed: the server reads them, and nobody who has the file alone."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime

import pytest

from enrolment import devices
from scepkit.errors import SettingsError
from scepkit.protocol.scep.messages import Failure, Success
from scepkit.server.directory import challenge_secrets, data_directory, endpoint_files
from scepkit.server.directory.sealed_challenges import is_sealed, seal, unseal

SECRET = "mj2x7hq5wd3kzt9bnr84"
KEY = bytes(range(32))
STATIC = {"challenge": "static", "challenge_file": "site.txt"}


def write(path, text):
    path.touch(0o600)
    path.write_text(f"{text}\n")
    return path


@pytest.fixture
def home(directory):
    """A server whose static challenge is in site.txt."""
    path = directory()
    write(path / "site.txt", SECRET)
    return data_directory.prepare(path, now=datetime.now(UTC), endpoint={"default": STATIC})


def test_only_the_key_opens_it(tmp_path):
    sealed = seal(SECRET, KEY)
    assert is_sealed(sealed)
    assert SECRET not in sealed
    assert seal(SECRET, KEY) != sealed
    assert unseal(sealed, lambda: KEY, tmp_path) == SECRET
    assert unseal(SECRET, None, tmp_path) == SECRET
    for text, key in (
        (sealed, lambda: bytes(32)),
        (sealed[:-8], lambda: KEY),
        ("sealed:v1:!", lambda: KEY),
        (sealed, None),
    ):
        with pytest.raises(SettingsError) as refused:
            unseal(text, key, tmp_path / "site.txt")
        assert "site.txt" in refused.value.message
        assert refused.value.hint
        assert SECRET not in str(refused.value)


def test_it_is_sealed_in_its_file(home, scep, logged):
    path = home.settings.directory
    file = path / "site.txt"
    files = endpoint_files.read_all(home.settings, home.read_challenge_key)
    challenge_secrets.warn_of_plain(home.settings, endpoint_files.challenges(files))
    assert [line["hint"] for line in logged] == [f"scep admin challenge seal {file}"]
    code, out, err = scep("admin", "challenge", "seal", "site.txt", "--dir", path)
    assert (code, out) == (0, "")
    assert "sealed the challenge in" in err
    assert SECRET not in file.read_text() + err
    assert file.stat().st_mode & 0o777 == 0o600
    _, out, err = scep("admin", "challenge", "seal", file, "--dir", path, "--json")
    assert json.loads(out) == {"file": str(file), "result": "unchanged"}
    assert "is sealed already" in err
    logged.clear()
    again = endpoint_files.read_all(home.settings, home.read_challenge_key)
    assert again == files
    challenge_secrets.warn_of_plain(home.settings, endpoint_files.challenges(again))
    assert logged == []


def test_from_stdin_to_stdout(home, scep, monkeypatch, tmp_path):
    def typed(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return scep("admin", "challenge", "seal", "-", "--dir", home.settings.directory)

    code, out, _ = typed(f"{SECRET}\r\nmore\n".encode())
    assert code == 0
    assert unseal(out.strip(), home.read_challenge_key, tmp_path) == SECRET
    for content in (b"", b"\n", b"\xff\n", b"x" * 256):
        assert typed(content)[0] == 2


@pytest.mark.parametrize("content", ["short", ""])
def test_what_no_server_would_take_is_not_sealed(home, scep, content):
    file = write(home.settings.directory / "other.txt", content)
    assert scep("admin", "challenge", "seal", file, "--dir", home.settings.directory)[0] == 2
    assert file.read_text() == f"{content}\n"


def test_a_server_takes_what_is_sealed(directory, serve):
    path = directory()
    key = bytes.fromhex((path / "challenge.key").read_text())
    write(path / "site.txt", seal(SECRET, key))
    with (path / "scep.toml").open("a") as file:
        file.write(
            '[[endpoint.default.authorization]]\nkind = "static"\n'
            'secrets = [{ name = "site", file = "site.txt" }]\n'
        )
    server = serve(path)
    got = server.post(devices.pkcs_req(SECRET, to=server.ra))
    assert isinstance(server.read(got).rep, Success)
    wrong = server.post(devices.pkcs_req("other-than-it", to=server.ra, transaction_id="b"))
    assert isinstance(server.read(wrong).rep, Failure)
    assert server.stop() == 0
    assert SECRET not in server.log
    assert "in the clear" not in server.log
