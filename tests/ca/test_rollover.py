"""One CA follows another: what is prepared, what is in force, what stays good."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from scepkit.ca.directory import founding, layouts, paths, replacing, rollover, rotation
from scepkit.ca.directory.material import load, load_authorities
from scepkit.errors import Hint, SettingsError, UsageError
from scepkit.keys.pem import kind, sha256_fingerprint, write_certificate, write_key
from waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("new_keys", "no_fsync")

CHILDREN = Path(__file__).with_name("children.py")
DAY = timedelta(days=1)
FILES = ["ca-key.pem", "ca.pem", "ra-key.pem", "ra.pem"]
TURNED = sorted([".ca.lock", *FILES, *(f"old/1/{file}" for file in FILES)])


@pytest.fixture
def directory(tmp_path, now):
    founding.create(tmp_path / "ca", "ec", now=now, common_name="Mill CA", organization="Mill")
    return tmp_path / "ca"


def subject(certificate):
    return certificate.subject.rfc4514_string()


def tree(directory):
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def view(material):
    """Everything of a Material that can be compared."""
    return (
        material.chain,
        material.ca.certificate,
        material.ra.certificate,
        [one.certificate for one in material.retired],
        [one.certificate for one in material.previous],
        material.next and view(material.next),
    )


@pytest.mark.rfc("S-2.2-8")
def test_a_prepared_ca_is_kept_apart_from_what_getcacert_publishes(directory, now):
    """A future CA certificate is not in the chain of GetCACert but in that of the next CA."""
    before = load(directory, now=now)
    assert before.next is None
    made = rollover.prepare(directory, now=now)
    assert made.chain == before.chain
    assert made.ca.certificate == before.ca.certificate
    assert made.next.chain == (made.next.ra.certificate, made.next.ca.certificate)
    assert not set(made.next.chain) & set(made.chain)
    assert view(load(directory, now=now)) == view(made)
    assert made.retired == made.previous == ()


def test_generations_differ_in_names_and_keys(directory, now, openssl):
    made = rollover.prepare(directory, now=now)
    mine, coming = made.ca.certificate, made.next.ca.certificate
    assert subject(mine) == "CN=Mill CA,O=Mill"
    assert subject(coming) == "CN=Mill CA G2,O=Mill"
    assert subject(made.next.ra.certificate) == "CN=Mill CA G2 RA,O=Mill"
    assert mine.public_key() != coming.public_key()
    assert made.ca.key_hash != made.next.ca.key_hash
    openssl.verify(coming, coming)
    openssl.verify(made.next.ra.certificate, coming)


def test_activation(directory, now, issue, openssl):
    made = rollover.prepare(directory, now=now)
    before, ahead = issue(made.ca), issue(made.next.ca)
    after = rollover.activate(directory, now=now)
    assert after.chain == made.next.chain
    assert after.next is None
    assert [one.certificate for one in after.previous] == [made.ca.certificate]
    assert [one.certificate for one in after.retired] == [made.ra.certificate]
    assert view(load(directory, now=now)) == view(after)
    assert tree(directory) == TURNED
    # Old certificates keep verifying, and those of ahead do now as they did before.
    openssl.verify(before, after.previous[0].certificate)
    openssl.verify(ahead, after.ca.certificate)


def test_the_keys_of_before_still_work(directory, now, issue, openssl):
    """For the CRL of what the old CA issued, and for requests encrypted to the old RA."""
    made = rollover.prepare(directory, now=now)
    after = rollover.activate(directory, now=now)
    assert after.previous[0].key_hash == made.ca.key_hash
    openssl.verify(issue(after.previous[0]), made.ca.certificate)
    numbers = [one.private_key.private_numbers() for one in (*after.retired, made.ra)]
    assert numbers[0] == numbers[1]


def test_generation_after_generation(directory, now):
    names = ["CN=Mill CA,O=Mill"]
    for number in range(2, 5):
        rollover.prepare(directory, now=now)
        material = rollover.activate(directory, now=now)
        assert [subject(one.certificate) for one in material.previous] == names[::-1]
        names.append(subject(material.ca.certificate))
        assert names[-1] == f"CN=Mill CA G{number},O=Mill"
    ras = [subject(one.certificate) for one in material.retired]
    assert ras == ["CN=Mill CA G3 RA,O=Mill", "CN=Mill CA G2 RA,O=Mill", "CN=Mill CA RA,O=Mill"]
    assert [path.name for path in sorted((directory / "old").iterdir())] == ["1", "2", "3"]


def test_a_tenth_generation_is_newer_than_the_ninth(directory, now):
    rollover.prepare(directory, now=now)
    rollover.activate(directory, now=now)
    (directory / "old" / "1").rename(directory / "old" / "9")
    rollover.prepare(directory, now=now)
    material = rollover.activate(directory, now=now)
    assert (directory / "old" / "10").is_dir()
    assert subject(material.previous[0].certificate) == "CN=Mill CA G2,O=Mill"


@pytest.mark.parametrize("first", layouts.LAYOUTS)
@pytest.mark.parametrize("second", layouts.LAYOUTS)
def test_from_any_layout_to_any_other(tmp_path, now, first, second):
    made = founding.create(tmp_path, first, now=now)
    assert made.layout == first
    prepared = rollover.prepare(tmp_path, now=now, layout=second)
    assert prepared.next.layout == second
    after = rollover.activate(tmp_path, now=now)
    assert after.layout == second
    assert after.chain == prepared.next.chain
    assert [one.certificate for one in after.retired] == [made.ra.certificate]
    assert (tmp_path / "ra.pem").exists() == (tmp_path / "ra-key.pem").exists()


@pytest.mark.parametrize("kind", layouts.LAYOUTS)
def test_the_layout_stays_unless_another_is_asked_for(tmp_path, now, kind):
    founding.create(tmp_path, kind, now=now)
    assert rollover.prepare(tmp_path, now=now).next.layout == kind


@pytest.mark.parametrize("spec", ["rsa:4096", "ec:p384"])
def test_the_kind_of_key_stays(tmp_path, now, spec):
    """A CA that its operator wanted stronger is not followed by a weaker one."""
    founding.create(tmp_path, None, now=now, new=layouts.NewCA(key=spec))
    assert kind(rollover.prepare(tmp_path, now=now).next.ca.private_key) == spec


def test_after_an_ec_key_without_an_ra_comes_one_that_decrypts(tmp_path, now, ca):
    """Such a CA is put into the directory by hand."""
    write_key(tmp_path / "ca-key.pem", ca.private_key)
    write_certificate(tmp_path / "ca.pem", ca.certificate)
    coming = rollover.prepare(tmp_path, now=now).next
    assert (coming.layout, kind(coming.ca.private_key)) == ("single", "rsa:2048")


def test_names_of_ones_own(directory, now):
    made = rollover.prepare(directory, now=now, common_name="Brook CA")
    assert subject(made.next.ca.certificate) == "CN=Brook CA,O=Mill"
    rollover.activate(directory, now=now)
    for used in ("Brook CA", "Mill CA", "mill ca"):
        with pytest.raises(UsageError, match="is or was the name of a CA here"):
            rollover.prepare(directory, now=now, common_name=used)
    with pytest.raises(UsageError, match="cannot name a CA"):
        rollover.prepare(directory, now=now, common_name="x" * 62)
    assert subject(rollover.prepare(directory, now=now).next.ca.certificate).startswith(
        "CN=Brook CA G2"
    )


def test_a_next_ca_is_cancelled_after_its_ra_was_replaced(directory, now):
    """The RA that it had first stays behind, and keeps nobody from starting the server."""
    rollover.prepare(directory, now=now)
    later = now + DAY
    assert rotation.rotate_ra(directory, now=later, before=729 * DAY)
    rollover.cancel(directory)
    material = load(directory, now=later)
    assert material.next is None
    issuers = {one.certificate.issuer for one in material.retired}
    assert issuers <= {material.ca.certificate.subject}


def test_a_name_that_was_cancelled_does_not_come_back(directory, now):
    """Devices may have seen it by GetNextCACert, with another key."""
    rollover.prepare(directory, now=now)
    gone = rollover.cancel(directory)
    assert subject(gone) == "CN=Mill CA G2,O=Mill"
    assert tree(directory) == sorted([".ca.lock", *FILES, "cancelled/1/ca.pem"])
    made = rollover.prepare(directory, now=now)
    assert subject(made.next.ca.certificate) == "CN=Mill CA G3,O=Mill"
    rollover.cancel(directory)
    with pytest.raises(UsageError, match="is or was the name"):
        rollover.prepare(directory, now=now, common_name="Mill CA G2")


def test_an_unknown_layout_is_refused_before_anything_is_written(directory, now):
    before = tree(directory)
    with pytest.raises(UsageError, match="no layout 'rsa'"):
        rollover.prepare(directory, now=now, layout="rsa")
    assert tree(directory) == before


def test_one_step_at_a_time(directory, now):
    none = r"has no next CA: .*Mill CA.* is the CA"
    with pytest.raises(SettingsError, match=none) as caught:
        rollover.activate(directory, now=now)
    assert caught.value.hint is Hint.PREPARE_CA
    with pytest.raises(SettingsError, match=none) as caught:
        rollover.cancel(directory)
    assert caught.value.hint is Hint.NOTHING_TO_CANCEL
    rollover.prepare(directory, now=now)
    with pytest.raises(SettingsError, match="has a next CA already") as caught:
        rollover.prepare(directory, now=now)
    assert caught.value.hint is Hint.END_ROLLOVER


def test_where_there_is_no_ca_nothing_is_made(tmp_path, now):
    for step in (
        lambda: rollover.prepare(tmp_path / "none", now=now),
        lambda: rollover.activate(tmp_path / "none", now=now),
        lambda: rollover.cancel(tmp_path / "none"),
        lambda: rollover.status(tmp_path / "none"),
    ):
        with pytest.raises(SettingsError, match="there is no CA in"):
            step()
    assert not (tmp_path / "none").exists()


def test_modes_under_a_hostile_umask(directory, now):
    before = os.umask(0)
    try:
        for _ in range(2):
            rollover.prepare(directory, now=now)
            rollover.activate(directory, now=now)
        rollover.prepare(directory, now=now)
        rollover.cancel(directory)
        rollover.prepare(directory, now=now)
    finally:
        os.umask(before)
    for path in directory.rglob("*"):
        secret = path.name in {"ca-key.pem", "ra-key.pem", ".ca.lock"}
        mode = 0o700 if path.is_dir() else 0o600 if secret else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == mode, path


@pytest.fixture
def short(tmp_path, now, monkeypatch):
    """Return a directory whose CA of before lives 30 days, and the one in force ten years."""
    directory = tmp_path / "short"
    with monkeypatch.context() as patch:
        patch.setattr(founding, "CA_VALIDITY", 30 * DAY)
        founding.create(directory, "ec", now=now)
    rollover.prepare(directory, now=now)
    rollover.activate(directory, now=now)
    return directory


def test_what_expired_is_left_out_and_not_even_read(short, now):
    """An old CA that expired has nothing left to say, whatever became of its key."""
    end = now + 30 * DAY
    material = load(short, now=end - timedelta(seconds=1))
    assert len(material.previous) == len(material.retired) == 1
    (short / "old/1/ca-key.pem").write_bytes(b"garbage")
    (short / "old/1/ra-key.pem").unlink()
    material = load(short, now=end)
    assert material.previous == material.retired == ()
    assert [one.number for one in rollover.status(short).old] == [1]


@pytest.mark.parametrize("file", FILES)
def test_of_an_old_generation_that_is_valid_nothing_may_be_missing(short, now, file):
    """To go on without would break the renewal of what it issued, and nobody would see."""
    path = short / "old/1" / file
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(SettingsError, match=f"there is no .* file .*old/1/{file}"):
        load(short, now=now)
    path.touch(mode=0o600)
    with pytest.raises(SettingsError, match=f"old/1/{file} is not a .* in PEM"):
        load(short, now=now)
    path.write_bytes(content)
    load(short, now=now)


def test_an_old_generation_that_was_taken_away_is_gone(short, now):
    shutil.rmtree(short / "old/1")
    assert load(short, now=now).previous == ()


def test_an_old_ra_of_nobody(short, now, tmp_path):
    """Mixed up with another CA's: nothing that devices could trust."""
    founding.create(tmp_path / "other", "ec", now=now)
    for file in FILES[2:]:
        (short / "old/1" / file).write_bytes((tmp_path / "other" / file).read_bytes())
    with pytest.raises(SettingsError, match="was not issued by"):
        load(short, now=now)


def test_a_next_ca_that_expired_is_left_out_and_cannot_be_activated(directory, now, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(founding, "CA_VALIDITY", 30 * DAY)
        rollover.prepare(directory, now=now)
    late = now + 31 * DAY
    assert load(directory, now=late).next is None
    assert rollover.status(directory).next is not None
    with pytest.raises(SettingsError, match="expired on"):
        rollover.activate(directory, now=late)
    rollover.cancel(directory)
    rollover.prepare(directory, now=late)
    rollover.activate(directory, now=late)


def test_a_next_ca_that_is_not_valid_yet_is_left_out(directory, now):
    """It was prepared while the clock was ahead."""
    ahead = now + 365 * DAY
    rollover.prepare(directory, now=ahead)
    assert load(directory, now=now).next is None
    assert len(load_authorities(directory, now=now)) == 1
    with pytest.raises(SettingsError, match="not valid before"):
        rollover.activate(directory, now=now)
    assert load(directory, now=ahead).next is not None
    assert len(load_authorities(directory, now=ahead)) == 2
    rollover.cancel(directory)
    rollover.prepare(directory, now=now)
    rollover.activate(directory, now=now)


def test_a_next_ca_that_is_broken_stops_the_start(directory, now):
    rollover.prepare(directory, now=now)
    (directory / "next/ca-key.pem").unlink()
    for step in (load, rollover.activate):
        with pytest.raises(SettingsError, match=r"no key file .*next/ca-key.pem"):
            step(directory, now=now)
    assert not (directory / "old").exists()
    rollover.cancel(directory)
    load(directory, now=now)


def test_status_tells_of_every_generation(directory, now):
    made = rollover.prepare(directory, now=now)
    status = rollover.status(directory)
    assert (status.current.ra, status.current.ca) == made.chain
    assert (status.next.ra, status.next.ca) == made.next.chain
    assert status.old == status.retired == ()
    rollover.activate(directory, now=now)
    status = rollover.status(directory)
    assert (status.current.ra, status.current.ca) == made.next.chain
    assert [(one.number, one.ra, one.ca) for one in status.old] == [(1, *made.chain)]
    assert status.next is None


def test_a_foreign_ca_without_a_common_name(directory, now, key):
    """A CA that somebody brought along: what its name has besides stays."""
    name = x509.Name([x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "example")])
    private = key("rsa:2048", "ca")
    certificate = founding.self_signed(private, name, now=now, decrypts=True)
    for file in FILES[2:]:
        (directory / file).unlink()
    write_key(directory / "ca-key.pem", private)
    write_certificate(directory / "ca.pem", certificate)
    coming = rollover.prepare(directory, now=now).next.ca.certificate
    assert subject(coming) == "CN=CA G2,DC=example"


def test_a_read_only_directory_still_loads_and_is_not_changed(directory, now, killed, monkeypatch):
    """Also one that a killed process left half changed: as root may write anywhere, the lock fails.

    `load` never writes; `load_or_create` would heal and goes on when it cannot.
    """
    rollover.prepare(directory, now=now)
    for left in killed("activate", directory):
        before = tree(left)
        shown = view(load(left, now=now))
        with monkeypatch.context() as patch:
            patch.setattr(replacing, "make_directory", refuse)
            assert view(founding.load_or_create(left, "ec", now=now)) == shown
        assert tree(left) == before


def refuse(path, **_how):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


# --- killed ---


def no_leftovers(directory):
    return not [one for one in tree(directory) if one.startswith(".") and one != ".ca.lock"]


def test_killed_while_preparing(directory, now, killed):
    """There is a next CA, complete, or none; what was begun is gone at the next step."""
    before = view(load(directory, now=now))
    for left in killed("prepare", directory):
        shown = load(left, now=now)
        assert view(shown)[:-1] == before[:-1]
        assert view(founding.load_or_create(left, "ec", now=now)) == view(shown)
        assert no_leftovers(left)
        if shown.next is None:
            rollover.prepare(left, now=now)
        else:
            with pytest.raises(SettingsError, match="has a next CA already"):
                rollover.prepare(left, now=now)


def test_killed_while_cancelling(directory, now, killed):
    rollover.prepare(directory, now=now)
    before = view(load(directory, now=now))
    for left in killed("cancel", directory):
        shown = view(load(left, now=now))
        assert shown in (before, (*before[:-1], None))
        assert view(founding.load_or_create(left, "ec", now=now)) == shown
        assert no_leftovers(left)
        if shown[-1]:
            rollover.cancel(left)
        # Once and not twice, however often it took.
        assert sorted(path.name for path in (left / "cancelled").iterdir()) == ["1"]


@pytest.fixture
def turned(directory, now):
    """Return what a CA with a next one looks like, now and when that is activated."""
    made = rollover.prepare(directory, now=now)
    (ra, ca), coming = made.chain, made.next
    before = view(made)
    after = (*view(coming)[:3], [ra], [ca], None)
    return directory, before, after


@pytest.mark.parametrize("again", ["load_or_create", "activate"])
def test_killed_while_activating(turned, now, killed, again):
    """At every instant the one CA or the other is in force, whole; asked again it is done."""
    directory, before, after = turned
    seen = []
    for left in killed("activate", directory):
        shown = view(load(left, now=now))
        seen.append(shown == after)
        assert shown in (before, after)
        assert rollover.status(left).current.ca == shown[1]
        if again == "load_or_create":
            assert view(founding.load_or_create(left, "ec", now=now)) == shown
            assert no_leftovers(left)
        if shown == before:
            assert view(rollover.activate(left, now=now)) == after
        else:
            finish(left, now, after)
        assert view(load(left, now=now)) == after
        assert tree(left) == TURNED
    # There is one instant before which nothing and after which everything has changed.
    assert seen == sorted(seen)
    assert len(set(seen)) == 2


def finish(directory, now, after):
    """Ask again for what is done, perhaps not yet to its end."""
    try:
        assert view(rollover.activate(directory, now=now)) == after
    except SettingsError as error:
        assert "has no next CA" in error.message  # noqa: PT017 - either is right, nothing else


def test_killed_while_healing(turned, now, killed):
    """A second kill, wherever the first one was, changes nothing."""
    directory, _, after = turned
    interrupted = [one for one in killed("activate", directory) if (one / ".current").exists()]
    assert len(interrupted) > 5
    # At the beginning, in the midst of the files, and at the end: all would take minutes.
    for first in interrupted[:: len(interrupted) // 2]:
        for left in killed("load_or_create", first):
            assert view(load(left, now=now)) == after
            assert view(founding.load_or_create(left, "ec", now=now)) == after
            assert no_leftovers(left)
    assert tree(left) == TURNED


def test_an_ra_that_was_rotated_between_two_tries_is_kept_too(turned, now, killed):
    """Killed after the copy to old/ and before the change: the copy must not count later."""
    directory, before, _ = turned
    copied = [one for one in killed("activate", directory) if (one / "old/1").exists()]
    left = next(one for one in copied if view(load(one, now=now)) == before)
    soon = {"before": 1000 * DAY, "validity": 1100 * DAY}
    assert rotation.rotate_ra(left, now=now, **soon)
    rotated = load(left, now=now)
    material = rollover.activate(left, now=now)
    # The copies of both tries are there, and nothing counts twice.
    assert sorted(path.name for path in (left / "old").iterdir()) == ["1", "2"]
    kept = [one.certificate for one in material.retired]
    assert len(kept) == len(set(kept)) == 3
    assert {before[2], rotated.ra.certificate} <= set(kept)
    assert [one.certificate for one in material.previous] == [before[1]]


# --- several at once ---


def test_of_several_processes_one_prepares_and_one_activates(directory, now, child):
    said = child("race", "prepare", directory)
    made = load(directory, now=now)
    ours = sha256_fingerprint(made.ca.certificate)
    assert said.count(ours) == 1
    assert sum("has a next CA already" in line for line in said) == 5
    said = child("race", "activate", directory)
    assert said.count(sha256_fingerprint(made.next.ca.certificate)) == 1
    assert sum("has no next CA" in line for line in said) == 5


def test_a_start_does_not_wait_for_whoever_is_at_work(turned, now, killed):
    """Whoever has the lock may have been stopped for good."""
    directory, _, after = turned
    left = next(one for one in killed("activate", directory) if (one / ".current").exists())
    before = tree(left)
    found = []
    with replacing.locked(left):
        start = threading.Thread(
            target=lambda: found.append(founding.load_or_create(left, "ec", now=now)), daemon=True
        )
        start.start()
        start.join(PATIENCE)
        assert [view(one) for one in found] == [after]
        assert tree(left) == before


def test_a_reader_without_a_lock_sees_whole_generations_alone(directory, now, pool):
    """What every worker does while the administrator rolls over."""
    command = [sys.executable, CHILDREN, "turn", "8", directory, pool]
    process = subprocess.Popen([str(one) for one in command])
    loads, stamps = [], set()
    try:
        while process.poll() is None:
            stamps.add(paths.stamp(directory))
            loads.append(load(directory, now=now))
            rollover.status(directory)
    finally:
        process.kill()
    assert process.wait() == 0
    loads.append(load(directory, now=now))
    numbers = [len(one.previous) + 1 for one in loads]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 9
    assert len(set(numbers)) > 2
    for number, one in zip(numbers, loads, strict=True):
        mark = f" G{number}" if number > 1 else ""
        assert subject(one.ca.certificate) == f"CN=Mill CA{mark},O=Mill"
