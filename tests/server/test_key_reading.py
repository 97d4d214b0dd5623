"""The process that reads the keys at a reload, and whoever waits for it."""

from __future__ import annotations

from threading import Thread

import pytest

from scepkit.errors import ReloadRefused, SettingsError
from scepkit.keys.pem import read_certificate
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store
from scepkit.server.reloading import key_reading
from scepkit.server.reloading.key_reading import have_keys_read, work
from scepkit.store import AuditAction


@pytest.fixture
def home(directory):
    path = directory()
    (path / "scep.toml").write_text('[endpoint.other]\nca = "other"\nlayout = "ec"\n')
    home, _ = data_directory.read_again(data_directory.open_records(path))
    return home


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Have the keys read by a thread, which stands for the process."""
    monkeypatch.setattr(key_reading.log, "configure", lambda _form: None)
    path = tmp_path / "key-reader"
    return lambda home: have_keys_read(home, path, Thread(target=work, args=(path,)).start)


def test_a_ca_is_made_with_its_record(home, ask):
    assert ask(home) == ""
    assert read_certificate(home.settings.authority_directory("other") / "ca.pem")
    with open_store(home.settings) as store:
        (made,) = store.audit_records(action=AuditAction.CA_MADE)
        assert made.members["details"]["ca"] == "other"
    assert ask(home) == ""


def test_what_is_wrong_comes_back(home, ask):
    (home.settings.directory / "ra-key.pem").chmod(0o644)
    with pytest.raises(SettingsError, match=r"ra-key\.pem is open to others") as refused:
        ask(home)
    assert refused.value.hint.startswith("chmod 600")


def test_a_process_that_does_not_come(home, tmp_path, monkeypatch):
    monkeypatch.setattr(key_reading, "_SECONDS", 0.1)
    with pytest.raises(ReloadRefused, match="does not answer"):
        have_keys_read(home, tmp_path / "key-reader", lambda: None)


def test_nobody_waits_any_more(tmp_path):
    assert work(tmp_path / "key-reader") == 1
