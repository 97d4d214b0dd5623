"""The stamp by which a server sees that its CA changed, and reads that are of one piece."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta

import pytest

from scepkit.ca.directory import founding, paths, rollover, rotation
from scepkit.errors import SettingsError

pytestmark = pytest.mark.usefixtures("new_keys", "no_fsync")

DAY = timedelta(days=1)


@pytest.fixture
def directory(tmp_path, now):
    founding.create(tmp_path / "ca", "ec", now=now)
    return tmp_path / "ca"


def rotate(directory, now):
    rotation.rotate_ra(directory, now=now, before=1000 * DAY, validity=1100 * DAY)


def test_the_stamp_changes_with_every_step(directory, now):
    seen = [paths.stamp(directory)]
    for step in (
        lambda: rollover.prepare(directory, now=now),
        lambda: rotate(directory, now),
        lambda: rollover.activate(directory, now=now),
        lambda: rollover.prepare(directory, now=now),
        lambda: rollover.cancel(directory),
        lambda: (directory / "old/1/ra.pem").write_bytes(b"x"),
        (directory / "old-ra/1/ra.pem").unlink,
        lambda: (directory / "ra-key.pem").chmod(0o400),
        lambda: (directory / "chain.pem").write_bytes(b"x"),
        lambda: (directory / "chain.pem").write_bytes(b"xy"),
    ):
        step()
        seen.append(paths.stamp(directory))
    assert len(set(seen)) == len(seen)


def test_the_stamp_stays_while_nothing_changes(directory, now):
    rollover.prepare(directory, now=now)
    before = paths.stamp(directory)
    assert hash(before) == hash(paths.stamp(directory))
    # Not of the CA: the database beside it changes all the time.
    (directory / "scep.db").write_bytes(b"x")
    (directory / "old").mkdir()
    (directory / "old" / "notes").mkdir()
    founding.load_or_create(directory, "ec", now=now)
    rollover.status(directory)
    assert paths.stamp(directory) == before


@pytest.mark.parametrize("place", [".", "next"])
def test_a_change_that_was_killed_half_way_has_a_stamp_of_its_own(directory, now, place):
    """Its files count already, though those beside them are as they were."""
    rollover.prepare(directory, now=now)
    before = paths.stamp(directory)
    shutil.copytree(directory / place, directory / ".moved", ignore=lambda *_: ["next"])
    (directory / ".moved").rename(directory / place / ".current")
    assert paths.stamp(directory) != before


def test_a_file_of_the_same_size_and_time_is_another_file(directory):
    path = directory / "ca.pem"
    before, at = paths.stamp(directory), path.stat()
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(at.st_atime_ns, at.st_mtime_ns))
    copy.replace(path)
    assert paths.stamp(directory) != before


def test_no_directory_has_an_empty_stamp(tmp_path):
    assert paths.stamp(tmp_path / "none") == ()


def test_a_read_that_was_overtaken_is_read_again(directory):
    answers = [SettingsError("half of it"), "mixed", "whole"]

    def read():
        if len(answers) > 1:
            (directory / "ca.pem").touch()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert paths.steadily(directory, read) == "whole"


def test_an_error_of_files_that_do_not_change_is_one(directory):
    calls = []

    def read():
        calls.append(1)
        raise SettingsError("broken")

    with pytest.raises(SettingsError, match="broken"):
        paths.steadily(directory, read)
    assert len(calls) == 1


def test_files_that_never_stay_the_same(directory):
    with pytest.raises(SettingsError, match="change all the time") as caught:
        paths.steadily(directory, (directory / "ca.pem").touch)
    assert caught.value.hint


def test_what_is_not_a_number_is_no_generation(directory):
    for name in ("1", "10", "9", "x", "1.bak", "²", ".3"):
        (directory / "old" / name).mkdir(parents=True)
    assert [number for number, _ in paths.numbered(directory / "old")] == [10, 9, 1]
