"""A directory that others can write to is nobody's CA."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scepkit.errors import SettingsError
from scepkit.server.directory import data_directory

SEVERAL = "[endpoint.vpn]\nca = 'vpn'\n"


def opened(path: Path):
    """Open a directory as `scep serve`, a worker process and `scep admin` do."""
    now = datetime.now(UTC)
    yield lambda: data_directory.prepare(path, now=now)
    yield lambda: data_directory.open_existing(path, now=now)
    yield lambda: data_directory.open_records(path)


def refusal(act):
    with pytest.raises(SettingsError) as caught:
        act()
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("mode", "said", "hint"),
    [
        (0o777, "everybody may write to {}", "chmod go-w {}"),
        (0o1777, "everybody may write to {}", "chmod go-w {}"),
        (0o702, "everybody may write to {}", "chmod go-w {}"),
        (0o775, "the group of {} may write to it", "chmod g-w {};"),
        (0o2770, "the group of {} may write to it", "chmod g-w {};"),
    ],
)
@pytest.mark.parametrize("what", ["", "ca-vpn", "scep.toml", "scep.db"])
def test_what_others_can_write_to_is_refused(directory, what, mode, said, hint):
    path = directory()
    (path / "scep.toml").write_text(SEVERAL)
    data_directory.prepare(path, now=datetime.now(UTC))
    (path / what).chmod(mode)
    for act in opened(path):
        message, advice = refusal(act)
        assert message == said.format(path / what)
        assert advice.startswith(hint.format(path / what))
    (path / what).chmod(0o700)
    for act in opened(path):
        act()


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750, 0o500])
def test_what_others_can_only_read_is_fine(directory, mode):
    path = directory()
    path.chmod(mode)
    for act in opened(path):
        act()
    path.chmod(0o700)


@pytest.mark.parametrize(("mode", "is_refused"), [(0o777, True), (0o1777, False), (0o775, False)])
def test_a_directory_above_in_which_everybody_may_rename(directory, tmp_path, mode, is_refused):
    """With the sticky bit, as of /tmp, nobody renames what belongs to others."""
    above = tmp_path / "above"
    above.mkdir()
    path = directory().rename(above / "data")
    link = tmp_path / "link"
    link.symlink_to(path)
    above.chmod(mode)
    for one in (path, link):
        for act in opened(one):
            if is_refused:
                message, hint = refusal(act)
                assert message == f"everybody may replace the files in {above}"
                assert hint.startswith(f"chmod go-w {above}")
            else:
                act()


def test_a_new_directory_is_good_under_any_umask(tmp_path):
    before = os.umask(0o000)
    try:
        data_directory.prepare(tmp_path / "new" / "data", now=datetime.now(UTC), layout="ec")
    finally:
        os.umask(before)
    for act in opened(tmp_path / "new" / "data"):
        act()


def test_a_first_start_in_an_open_directory_makes_nothing(tmp_path):
    path = tmp_path / "new"
    path.mkdir()
    path.chmod(0o775)
    refusal(lambda: data_directory.prepare(path, now=datetime.now(UTC)))
    assert [*path.iterdir()] == []


def test_the_directory_of_a_database_elsewhere(directory, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o770)
    monkeypatch.setenv("SCEP_DATABASE", f"sqlite:///{elsewhere / 'scep.db'}")
    for act in opened(directory()):
        message, _ = refusal(act)
        assert message == f"the group of {elsewhere} may write to it"
