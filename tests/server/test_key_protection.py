"""The keys of a server under a passphrase: changed at once, found again, never half of it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scepkit.ca.directory import founding, paths, requesting, rollover, rotation
from scepkit.ca.directory.founding import RA_VALIDITY, ca_name
from scepkit.ca.directory.layouts import LAYOUTS
from scepkit.errors import SettingsError
from scepkit.keys.passphrase import Passphrase, WrongPassphrase
from scepkit.keys.pem import is_encrypted
from scepkit.server.background.housekeeping import Sweep
from scepkit.server.directory import data_directory, key_protection
from scepkit.server.directory.challenge_secrets import is_key_encrypted
from scepkit.server.directory.database import open_store
from scepkit.server.directory.key_protection import NEW_KEYS, protect
from scepkit.server.directory.passphrases import (
    CREDENTIAL,
    VARIABLE,
    PassphraseSource,
    read_passphrase,
)

NOW = datetime(2026, 11, 5, 12, 30, 15, tzinfo=UTC)
CHILDREN = Path(__file__).parents[1] / "ca/children.py"
OLD, NEW = "old passphrase", "new passphrase"

pytestmark = pytest.mark.usefixtures("no_passphrase")


@pytest.fixture
def no_passphrase(monkeypatch):
    for name in (VARIABLE, "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def directory(tmp_path):
    """A server with two CAs; one of them has a next generation and an old RA."""
    place = tmp_path / "server"
    place.mkdir()
    (place / "scep.toml").write_text('[endpoint.other]\nca = "other"\nlayout = "single"\n')
    data_directory.prepare(place, now=NOW, layout="ec")
    rollover.prepare(place, now=NOW)
    return place


def quick(text):
    return None if text is None else Passphrase(text, rounds=1)


def opened(directory, text, now=NOW):
    source = PassphraseSource(known=quick(text))
    return data_directory.open_existing(directory, now=now, passphrases=source)


def change(directory, old, new):
    home = opened(directory, old)
    with open_store(home.settings) as store:
        given = {"old": quick(old), "new": quick(new), "by": "operator", "now": NOW}
        names = protect(home.settings, store, **given)
        return names, list(store.audit_records())


def key_files(directory):
    return sorted(
        path for path in directory.rglob("*") if path.name.endswith("-key.pem") and path.is_file()
    )


def test_every_key_is_encrypted_changed_and_laid_open_again(directory):
    """The same keys all the time; the record tells who did it, and nothing of the passphrase."""
    before = opened(directory, None)
    names, records = change(directory, None, OLD)
    assert len(names) == len(key_files(directory)) + 1
    assert all(map(is_encrypted, key_files(directory)))
    assert is_key_encrypted(directory)
    assert "keys-protected" in str(records)
    assert OLD not in str(records)
    with pytest.raises(SettingsError, match="is encrypted"):
        opened(directory, None)
    assert same(opened(directory, OLD), before)
    change(directory, OLD, NEW)
    with pytest.raises(WrongPassphrase):
        opened(directory, OLD)
    assert same(opened(directory, NEW), before)
    change(directory, NEW, None)
    assert not any(map(is_encrypted, key_files(directory)))
    assert same(opened(directory, None), before)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in key_files(directory))


def test_the_keys_of_a_ca_that_no_endpoint_uses_yet(directory):
    """Else its certificate would come for a key under a passphrase of before."""
    place = directory / "ca-later"
    requesting.make(place, subject=ca_name("Later"), key="ec:p256")
    for old, new in ((None, OLD), (OLD, NEW)):
        change(directory, old, new)
        assert all(map(is_encrypted, key_files(directory)))
        assert requesting.find(place, quick(new)).csr.is_signature_valid


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_keys_of_a_ca_whose_founding_was_killed(directory, is_whole):
    """It is finished or dropped first: else its keys would come into force in clear later."""
    place = directory / "ca-later"
    founding.stage_ca(place / founding.STAGE, LAYOUTS["ec"], ca_name("Later"), NOW, None)
    if not is_whole:
        (place / founding.STAGE / "ca.pem").unlink()
    change(directory, None, OLD)
    assert paths.exists(place) is is_whole
    assert not (place / founding.STAGE).exists()
    assert all(map(is_encrypted, key_files(directory)))


def test_a_rotation_after_a_change_that_was_killed(directory, monkeypatch):
    """The server, which has the old passphrase, makes no RA that the change would spoil."""
    home, really = opened(directory, None), key_protection._finish

    def killed(place):
        if (place / NEW_KEYS).exists():
            raise KeyboardInterrupt
        really(place)

    monkeypatch.setattr(key_protection, "_finish", killed)
    with pytest.raises(KeyboardInterrupt):
        change(directory, None, NEW)
    monkeypatch.undo()
    later = NOW + RA_VALIDITY - timedelta(days=5)
    with open_store(home.settings) as store:
        Sweep(home.settings, store, lambda: later).run()
    assert same(opened(directory, NEW, now=later), home)


def same(one, other):
    return one.challenge_key == other.challenge_key and all(
        ca.material.ca.certificate == other.authorities[name].material.ca.certificate
        for name, ca in one.authorities.items()
    )


def test_a_wrong_passphrase_changes_nothing(directory):
    change(directory, None, OLD)
    before = [path.read_bytes() for path in key_files(directory)]
    home = opened(directory, OLD)
    with open_store(home.settings) as store, pytest.raises(WrongPassphrase):
        protect(home.settings, store, old=quick("x"), new=quick(NEW), by="operator", now=NOW)
    assert [path.read_bytes() for path in key_files(directory)] == before
    assert not (directory / NEW_KEYS).exists()


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("protect", None, NEW),
        pytest.param("change", OLD, NEW, marks=pytest.mark.long),
        pytest.param("unprotect", OLD, None, marks=pytest.mark.long),
    ],
)
def test_killed_at_every_step(directory, tmp_path, request, operation, old, new):
    """The old passphrase or the new one opens all of it; the next start finishes the change.

    In the long form it is each step, else every ninth.
    """
    every = 1 if request.config.getoption("--long") else 9
    if old is not None:
        change(directory, None, old)
    before = opened(directory, old)
    fire = tmp_path / "fire"
    fire.mkdir()
    directory.rename(fire / "base")
    keys = tmp_path / "keys"
    keys.mkdir()
    done = subprocess.run(
        [sys.executable, CHILDREN, "kill", operation, fire, keys, str(every)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    last = int(done.stdout)
    assert last > 20
    opens = []
    for step in range(1, last + 1, every):
        place = fire / str(step)
        opens.append(opens_with(place, old, new))
        assert same(opened(place, opens[-1]), before)
        assert not (place / NEW_KEYS).exists()
        encrypted = [*map(is_encrypted, key_files(place)), is_key_encrypted(place)]
        assert encrypted == [opens[-1] is not None] * len(encrypted)
    # Old first, and from one step on new.
    assert opens == sorted(opens, key=[old, new].index)
    assert {old, new} == set(opens)


def opens_with(place, *texts):
    found = []
    for text in texts:
        try:
            opened(place, text)
        except SettingsError:
            continue
        found.append(text)
    if None in found and len(found) == 2:
        # In clear a passphrase is no harm.
        found = [None]
    assert len(found) == 1
    return found[0]


def test_where_the_passphrase_comes_from(directory, tmp_path, monkeypatch):
    """The file of the settings, the variable, systemd's credential, and then a person."""
    change(directory, None, OLD)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / CREDENTIAL).write_text(OLD)
    file = tmp_path / "passphrase"
    file.write_text(f"{OLD}\nand more\n")
    file.chmod(0o600)

    def found(ask=None):
        return data_directory.open_records(directory, ask=ask).passphrases.find()

    assert found() is None
    asked = []
    assert found(lambda: asked.append(1) or OLD).text == OLD
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert found().text == OLD
    monkeypatch.setenv(VARIABLE, "of the variable")
    assert found().text == "of the variable"
    toml = (directory / "scep.toml").read_text()
    (directory / "scep.toml").write_text(f'key_passphrase_file = "{file}"\n{toml}')
    assert found(lambda: asked.append(1) or "x").text == OLD
    assert len(asked) == 1


def test_nobody_is_asked_where_no_key_is_encrypted(directory):
    source = data_directory.open_records(directory, ask=lambda: pytest.fail("asked")).passphrases
    assert source.find() is None


@pytest.mark.parametrize(
    ("content", "mode", "error"),
    [
        (None, 0o600, "there is no passphrase file"),
        (b"", 0o600, "is empty"),
        (b"\nsecond line\n", 0o600, "is empty"),
        (b"\xff\xfe", 0o600, "UTF-8"),
        (b"a" * 5000, 0o600, "more than 1000 octets"),
        (b"passphrase", 0o644, "open to others"),
    ],
)
def test_a_passphrase_file_that_is_no_use(tmp_path, content, mode, error):
    path = tmp_path / "passphrase"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(SettingsError, match=error) as caught:
        read_passphrase(path)
    assert "passphrase file" in str(caught.value)


def test_the_first_line_counts_from_everywhere(tmp_path, monkeypatch):
    """Whatever an editor or a secret store puts around it."""
    text = "  zwölf und mehr  "
    for octets in (
        text.encode(),
        f"{text}\n".encode(),
        f"\ufeff{text}\r\nsecond\n".encode(),
        f"{text}\n".encode() + b"\xff" * 5000,
    ):
        path = tmp_path / "passphrase"
        path.touch(0o600)
        path.write_bytes(octets)
        assert read_passphrase(path).text == text
        monkeypatch.setitem(os.environb, VARIABLE.encode(), octets)
        assert PassphraseSource().find().text == text


def test_a_variable_that_is_no_text(monkeypatch):
    monkeypatch.setitem(os.environb, VARIABLE.encode(), b"\xff\xfe a passphrase")
    with pytest.raises(SettingsError, match=f"the variable {VARIABLE} is not text"):
        PassphraseSource().find()
    with pytest.raises(SettingsError, match="not text"):
        Passphrase("\udcff a passphrase")


@pytest.mark.parametrize("text", ["twelve\0 characters", "twelve\tcharacters", "ä" * 501])
def test_a_new_passphrase_that_no_other_way_gives(text):
    with pytest.raises(SettingsError, match=r"control character|more than"):
        key_protection.new_passphrase(text)


def test_a_new_passphrase_has_a_length():
    with pytest.raises(SettingsError, match="fewer than 12"):
        key_protection.new_passphrase("eleven char")
    assert key_protection.new_passphrase("twelve chars").text == "twelve chars"


def test_a_new_server_starts_protected(tmp_path):
    """Where its settings name a passphrase before the first start, no key was ever in clear."""
    place, file = tmp_path / "server", tmp_path / "passphrase"
    file.write_text(OLD)
    file.chmod(0o600)
    place.mkdir()
    (place / "scep.toml").write_text(f'key_passphrase_file = "{file}"\n')
    data_directory.prepare(place, now=NOW)
    assert all(map(is_encrypted, key_files(place)))
    assert is_key_encrypted(place)
    assert rotation.rotate_ocsp(place, now=NOW, passphrase=quick(OLD)) is False
