"""The directory: private from the first byte, and old or new, never half of each."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import httpd
import keys
from pair import _Public
from scepkit.client import rollover
from scepkit.client.folder import Folder, place
from scepkit.client.folder.record import Record
from scepkit.errors import Hint, SettingsError
from scepkit.keys import files
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.transaction import Issued

NAMES = {"key.pem", "cert.pem", "chain.pem", "ca.pem"}


class Killed(BaseException):
    """The process ends here."""


def issued(key, **how):
    holder = httpd.certify("dev1", _Public(key.public_key()), httpd.ca(), **how)
    return Issued(holder.certificate, (httpd.ca().certificate,), TransactionID(b"1"))


def fill(path, which="old", **how):
    folder = Folder(path)
    folder.begin(keys.rsa_key(which))
    folder.install(issued(keys.rsa_key(which), **how))
    return folder


@pytest.mark.parametrize("name", ["ca-key.pem", "scep.toml", "scep.db", "challenge.key"])
def test_the_directory_of_a_server_is_left_alone(tmp_path, name):
    """It has a ca.pem as well, which would be overwritten, and the server would not start again."""
    (tmp_path / name).touch()
    with pytest.raises(SettingsError, match="is the directory of a SCEP server"):
        fill(tmp_path)
    with pytest.raises(SettingsError, match="is the directory of a SCEP server"):
        place.check_makeable(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name}


def content(path):
    if not path.exists():
        return {}
    return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}


def whose(path):
    """Return whose key is in a folder, and fail unless certificate and key belong together."""
    key = load_pem_private_key((path / "key.pem").read_bytes(), None)
    certificate = x509.load_pem_x509_certificate((path / "cert.pem").read_bytes())
    assert certificate.public_key() == key.public_key()
    return next(
        which for which in ("old", "new") if keys.rsa_key(which).public_key() == key.public_key()
    )


def test_what_is_in_it(tmp_path, openssl):
    folder = fill(tmp_path / "a" / "b")
    assert set(content(folder.path)) == NAMES
    assert whose(folder.path) == "old"
    assert {name: path.name for name, path in folder.files().items()} == {
        "key": "key.pem",
        "cert": "cert.pem",
        "chain": "chain.pem",
        "ca": "ca.pem",
    }


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_modes_under_any_umask(tmp_path, umask, monkeypatch):
    """The key is never open to others, not even while it is written."""
    opened = []
    really = os.open

    def watch(path, flags, mode=0o777, **how):
        descriptor = really(path, flags, mode, **how)
        if flags & os.O_CREAT:
            opened.append((Path(path).name, stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    monkeypatch.setattr(files.os, "open", watch)
    before = os.umask(umask)
    try:
        folder = fill(tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()}
    assert modes == {"key.pem": 0o600, "cert.pem": 0o644, "chain.pem": 0o644, "ca.pem": 0o644}
    keys_opened = [mode for name, mode in opened if "key.pem" in name]
    assert keys_opened
    assert all(mode & 0o077 == 0 for mode in keys_opened)


def test_a_request_under_way_leaves_the_old_files_alone(tmp_path):
    folder = fill(tmp_path)
    before = content(tmp_path)
    folder.begin(keys.rsa_key("new"))
    assert content(tmp_path).items() >= before.items()
    assert folder.unfinished_key().public_key() == keys.rsa_key("new").public_key()
    folder.give_up()
    assert content(tmp_path) == before


@pytest.mark.parametrize("first", [True, False], ids=["first", "replacing"])
def test_killed_at_any_moment(tmp_path, monkeypatch, first):
    """Whatever was done by then, the next run finds the old files, or finishes the new ones."""
    survivors, killed, moment = [], True, 0
    while killed:
        path = tmp_path / str(moment)
        folder = Folder(path) if first else fill(path)
        old = content(path)
        folder.begin(keys.rsa_key("new"))
        with monkeypatch.context() as patch:
            _kill_at(patch, moment)
            try:
                folder.install(issued(keys.rsa_key("new")))
                killed = False
            except Killed:
                moment += 1
        Folder(path).recover()
        if Folder(path).unfinished_key() is None:
            survivors.append("new")
            assert whose(path) == "new"
            assert {name for name in content(path) if not name.startswith(".")} == NAMES
        else:
            survivors.append("old")
            assert content(path).items() >= old.items()
    assert survivors == sorted(survivors, key=["old", "new"].index), "once new, it stays new"
    assert set(survivors) == {"old", "new"}


def _kill_at(patch, moment):
    """Let the process end where it would make its n-th call that touches the disk."""
    calls = itertools.count()

    def mortal(function):
        def call(*args, **how):
            if next(calls) >= moment:
                raise Killed
            return function(*args, **how)

        return call

    for owner, name in ((os, "open"), (os, "fsync"), (Path, "replace")):
        patch.setattr(owner, name, mortal(getattr(owner, name)))


@pytest.mark.parametrize("place", [".", "next"])
def test_what_was_half_written_is_removed_under_the_lock(tmp_path, monkeypatch, place):
    """It may be a private key, and nobody would ever look at it again."""
    folder, where = fill(tmp_path), tmp_path / place
    where.mkdir(exist_ok=True)
    before = content(where)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: _die(None))
        with pytest.raises(Killed):
            Folder(where).begin(keys.rsa_key("new"))
    assert content(where).keys() - before.keys()
    (where / ".notes.tmp").write_bytes(b"somebody else's")
    with folder.locked():
        assert content(where) == before | {".notes.tmp": b"somebody else's"}


def test_recover_without_need_changes_nothing(tmp_path):
    folder = fill(tmp_path)
    before = content(tmp_path)
    assert not folder.recover()
    assert not Folder(tmp_path / "missing").recover()
    assert content(tmp_path) == before


def test_a_good_certificate_is_not_replaced(tmp_path):
    with pytest.raises(SettingsError, match="is there already, valid until") as caught:
        fill(tmp_path).check_free(httpd.today())
    assert caught.value.hint is Hint.OCCUPIED


def test_an_expired_certificate_may_be_replaced(tmp_path):
    fill(tmp_path).check_free(httpd.today() + 31 * httpd.DAY)


def test_a_key_of_somebody_is_not_replaced(tmp_path):
    (tmp_path / "key.pem").write_text("precious")
    with pytest.raises(SettingsError, match="without a certificate"):
        Folder(tmp_path).check_free(httpd.today())


def test_an_empty_or_missing_directory_is_free(tmp_path):
    Folder(tmp_path).check_free(httpd.today())
    Folder(tmp_path / "missing").check_free(httpd.today())


def test_a_file_in_place_of_the_directory(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(SettingsError, match="cannot make the directory"):
        Folder(tmp_path / "out").begin(keys.rsa_key("new"))


def test_a_leftover_key_that_is_none(tmp_path):
    (tmp_path / "key.pem.new").touch(mode=0o600)
    with pytest.raises(SettingsError, match="not a private key"):
        Folder(tmp_path).unfinished_key()


# --- what is remembered, and the next CA ----------------------------------------------------------

RECORD = Record("http://ca.example/scep", key="rsa:2048", capabilities=("aes", "sha-256"))


def test_what_is_remembered_is_installed_with_the_certificate(tmp_path):
    folder = fill(tmp_path)
    folder.begin(keys.rsa_key("new"), RECORD)
    assert folder.record() is None
    assert folder.unfinished_record() == RECORD
    folder.install(issued(keys.rsa_key("new")))
    assert folder.record() == RECORD
    assert folder.unfinished_record() is None
    assert stat.S_IMODE((tmp_path / "enrolment.json").stat().st_mode) == 0o644


def test_a_refused_request_leaves_what_was_remembered(tmp_path):
    folder = Folder(tmp_path)
    folder.begin(keys.rsa_key("old"), RECORD)
    folder.install(issued(keys.rsa_key("old")))
    before = content(tmp_path)
    folder.begin(keys.rsa_key("new"), replace(RECORD, url="http://other.example/"))
    folder.give_up()
    assert content(tmp_path) == before


def test_a_request_of_which_nothing_is_known_has_no_record_of_another(tmp_path):
    folder = Folder(tmp_path)
    folder.begin(keys.rsa_key("old"), RECORD)
    folder.begin(keys.rsa_key("new"))
    assert folder.unfinished_record() is None
    folder.install(issued(keys.rsa_key("new")))
    assert folder.record() is None


def announce(folder):
    """Let a certificate of the next CA wait in a folder."""
    following = httpd.ca("next-ca")
    folder.keep_next_ca([following.certificate])
    holder = httpd.certify("dev1", _Public(keys.rsa_key("new").public_key()), following)
    folder.ahead.begin(keys.rsa_key("new"), RECORD)
    folder.ahead.install(Issued(holder.certificate, (following.certificate,), TransactionID(b"2")))
    return following


@pytest.mark.rfc("L-20")
def test_the_next_certificate_waits_and_is_changed_over_to(tmp_path):
    """After rollover enrolment CA and client certificates are kept, and switched to in time."""
    folder = fill(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in NAMES}
    following = announce(folder)
    assert {name: (tmp_path / name).read_bytes() for name in NAMES} == before
    assert folder.next_ca() == (following.certificate,)
    folder.switch()
    assert whose(tmp_path) == "new"
    assert folder.ca() == following.certificate
    assert set(content(tmp_path)) == NAMES | {"enrolment.json"}


def test_what_waits_goes_with_the_next_ca_that_was_given_up(tmp_path):
    """Another one was announced in its place; a new RA of the same CA changes nothing."""
    folder = fill(tmp_path)
    before = content(tmp_path)
    following = announce(folder)
    ra = httpd.certify("RA", _Public(keys.rsa_key("ra").public_key()), following).certificate
    folder.keep_next_ca([ra, following.certificate])
    assert folder.ahead.certificate() is not None
    other = httpd.ca("other")
    folder.keep_next_ca([other.certificate])
    assert not folder.ahead.path.exists()
    assert folder.next_ca() == (other.certificate,)
    assert content(tmp_path).items() >= before.items()
    # A request that was not answered yet was for the one that was given up, too.
    folder.ahead.begin(keys.rsa_key("new"), RECORD)
    folder.keep_next_ca([following.certificate])
    assert not folder.ahead.path.exists()


def test_half_of_what_waits_is_nothing(tmp_path, monkeypatch):
    """A kill while it is removed leaves no certificate without what belongs to it."""
    folder = fill(tmp_path)
    announce(folder)
    monkeypatch.setattr("scepkit.client.folder.shutil.rmtree", _die)
    with pytest.raises(Killed):
        folder.forget_ahead()
    assert folder.ahead.certificate() is None
    assert not rollover.may_switch(folder, httpd.today() + 31 * httpd.DAY, rolled_over=True)
    monkeypatch.undo()
    folder.forget_ahead()
    assert not folder.ahead.path.exists()


def _die(_path):
    raise Killed


def test_killed_at_any_moment_of_the_change(tmp_path, monkeypatch):
    """Whatever was done by then, key and certificate fit; and the change can be finished."""
    survivors, killed, moment = [], True, 0
    while killed:
        path = tmp_path / str(moment)
        following = announce(fill(path))
        with monkeypatch.context() as patch:
            _kill_at(patch, moment)
            try:
                Folder(path).switch()
                killed = False
            except Killed:
                moment += 1
        folder = Folder(path)
        folder.recover()
        survivors.append(whose(path))
        if survivors[-1] == "new":
            assert folder.ca() == following.certificate
        else:
            folder.switch()
            assert whose(path) == "new"
    assert survivors == sorted(survivors, key=["old", "new"].index), "once new, it stays new"


@pytest.mark.rfc("S-4.4-4")
def test_one_process_at_a_time(tmp_path):
    """Two requests of one device are never under way at once: the directory has a lock."""
    folder = Folder(tmp_path / "dev1")
    with folder.locked():
        with pytest.raises(SettingsError, match="another scep is at work"):
            Folder(tmp_path / "dev1").locked().__enter__()
        assert content(folder.path) == {}, "the lock leaves no file"
    with folder.locked():
        pass


def test_the_lock_ends_with_its_process(tmp_path):
    code = (
        "import sys, pathlib; from scepkit.client.folder import Folder\n"
        "with Folder(pathlib.Path(sys.argv[1])).locked():\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(SettingsError, match="another scep"):
            Folder(tmp_path).locked().__enter__()
    finally:
        other.kill()
        other.communicate()
    with Folder(tmp_path).locked():
        pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "7",
        '{"url": 7}',
        '{"url": "u", "legacy": "sha1"}',
        '{"url": "u", "capabilities": [1]}',
        '{"url": "u", "checked_at": "soon"}',
        '{"url": "u", "checked_at": "2026-11-22T12:00:00"}',
        "\xff",
        pytest.param("[" * 60_000, id="deep"),
    ],
)
def test_a_damaged_record(tmp_path, text):
    (tmp_path / "enrolment.json").write_text(text, "latin-1")
    with pytest.raises(SettingsError, match="damaged") as caught:
        Folder(tmp_path).record()
    assert "remove it" in caught.value.hint


def test_a_record_of_a_later_version_can_be_read(tmp_path):
    (tmp_path / "enrolment.json").write_text('{"url": "u", "colour": "blue"}')
    assert Folder(tmp_path).record() == Record("u")


def test_what_was_seen_belongs_to_one_ca():
    assert RECORD.seen(RECORD.url, "") == {"aes", "sha-256"}
    assert RECORD.seen("http://other.example/scep", "") == frozenset()
    assert RECORD.seen(RECORD.url, "other") == frozenset()


def test_next_ca_certificates_that_are_none(tmp_path):
    (tmp_path / "next-ca.pem").write_text("nothing")
    with pytest.raises(SettingsError, match="is not a certificate in PEM"):
        Folder(tmp_path).next_ca()


def test_what_nobody_could_verify_is_kept_until_there_is_something_better(tmp_path):
    """Beside the old pair and the key of the request, which stay as they are."""
    folder = fill(tmp_path / "dev1")
    folder.begin(keys.rsa_key("new"))
    before = content(folder.path)
    path = folder.keep_unverified([b"\x30\x00", keys.ca().der])
    folder.keep_unverified([keys.ca().der])
    after = content(folder.path)
    assert after.pop(path.name) == keys.ca().certificate.pem().encode()
    assert after == before
    folder.install(issued(keys.rsa_key("new")))
    assert content(folder.path).keys() == NAMES
    assert whose(folder.path) == "new"


def test_a_directory_that_was_made_and_stays_empty_is_removed(tmp_path):
    """So are those above it that were made; what was there before stays."""
    (tmp_path / "there").mkdir()
    with Folder(tmp_path / "there/new/inner").locked():
        assert (tmp_path / "there/new/inner").is_dir()
    assert list((tmp_path / "there").iterdir()) == []
    with Folder(tmp_path / "there").locked():
        pass
    assert (tmp_path / "there").is_dir()


def test_a_directory_that_was_made_stays_with_a_key_in_it(tmp_path):
    folder = Folder(tmp_path / "a/dev1")
    with folder.locked():
        folder.begin(keys.rsa_key("old"))
    assert folder.unfinished.exists()


def test_a_lock_on_a_directory_that_another_process_removed_is_none(tmp_path, monkeypatch):
    path = tmp_path / "dev1"
    really = os.open

    def opened(name, *how, **more):
        descriptor = really(name, *how, **more)
        if Path(name) == path:
            path.rmdir()
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(SettingsError, match="another scep is at work"), Folder(path).locked():
        pass


def test_a_refused_request_for_a_certificate_of_the_next_ca_leaves_no_directory(tmp_path):
    ahead = fill(tmp_path).ahead
    ahead.begin(keys.rsa_key("new"))
    ahead.give_up()
    assert not ahead.path.exists()
