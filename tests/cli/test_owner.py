"""`scep admin` by another user than the one whose directory it is."""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scepkit.server import directory as data_directory


@pytest.fixture
def home(tmp_path):
    data_directory.prepare(tmp_path / "scep-data", now=datetime.now(UTC), layout="ec")
    return tmp_path / "scep-data"


@pytest.mark.parametrize(
    "command", [["list"], ["challenge", "new"], ["crl"], ["rollover", "status"]], ids=" ".join
)
def test_a_directory_of_somebody_else(home, scep, monkeypatch, command):
    """A warning, with what to type; it is done all the same."""
    owner = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    status, _, err = scep("admin", *command)
    assert status == 0
    assert err.startswith(
        f"warning: scep-data belongs to {owner}; what this makes may be unreadable to the "
        f"server: run it as {owner}\n"
        f"hint: sudo -u {owner} scep admin …\n"
    )
    assert err.count("warning:") == 1


def test_a_user_without_a_name(home, scep, monkeypatch):
    def nobody(_uid):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    _, _, err = scep("admin", "list")
    assert f"belongs to #{home.stat().st_uid};" in err
    assert f"hint: sudo -u '#{home.stat().st_uid}' scep admin …" in err


def test_ones_own_directory(home, scep):
    assert "warning" not in scep("admin", "list")[2]


def test_no_directory_of_a_server(scep, monkeypatch):
    """That it belongs to somebody else does not matter then."""
    Path("other").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: Path("other").stat().st_uid + 1)
    for place in ("other", "missing"):
        status, _, err = scep("admin", "list", "--dir", place)
        assert (status, err.split("\n")[0]) == (2, f"error: {place} holds no SCEP server")
