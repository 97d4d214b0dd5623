"""`scep admin` and `scep serve` by another user than the one whose directory it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

import others
import scepkit
from others import NAMELESS, NOBODY
from scepkit.cli.admin import server_directory
from scepkit.keys import files, ownership
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store


@pytest.fixture(scope="module")
def commands():
    """Return what runs commands as others."""
    others.needs_root()
    running = others.Commands()
    yield running
    running.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "data"
    home = data_directory.prepare(path, now=datetime.now(UTC), layout="ec")
    open_store(home.settings).close()
    return path


@pytest.fixture
def place():
    """Return a directory that everybody may look into; pytest's own are closed."""
    path = Path(tempfile.mkdtemp(prefix="scep-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def home(made, place):
    """Return a server's directory that belongs to somebody else, and what gives it to whom."""

    def home(uid=NOBODY, gid=NOBODY):
        path = shutil.copytree(made, place / "data")
        belongs(path, uid, gid)
        return path

    return home


def belongs(path, uid, gid=None):
    for one in (path, *path.rglob("*")):
        os.lchown(one, uid, uid if gid is None else gid)


def owners(path):
    """Return who owns what in a directory."""
    return {found.lstat().st_uid for found in (path, *path.rglob("*"))}


WRITING = [
    ["challenge", "new"],
    ["crl"],
    ["rollover", "prepare"],
    ["purge"],
    ["list"],
]


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_root_works_as_the_servers_user(commands, home, command):
    """It says so in one line, and whatever is made belongs to that user, who can go on with it."""
    path = home()
    done = commands.run("admin", *command, "--dir", path)
    assert done.status == 0, done.err
    assert done.err.startswith(f"{path} belongs to nobody: working as nobody\n")
    assert done.err.count("working as") == 1
    assert set(done.ids) == {NOBODY}
    assert owners(path) == {NOBODY}
    assert commands.run("serve", "--dir", path, "--port", 0, uid=NOBODY).status == 0


def test_a_user_without_a_name(commands, home):
    """The number does, and the directory's group, as in a container."""
    path = home(NAMELESS, 12)
    done = commands.run("admin", "list", "--dir", path)
    assert done.err.startswith(f"{path} belongs to #{NAMELESS}: working as #{NAMELESS}\n")
    assert done.status == 0
    assert done.ids == [NAMELESS] * 3 + [12] * 3


def test_root_stays_where_the_server_is_root_too(commands, home):
    """As in a container: the directory is somebody else's, and the keys are root's."""
    path = home()
    os.chown(path / "challenge.key", 0, 0)
    done = commands.run("admin", "rollover", "prepare", "--dir", path)
    assert done.status == 0
    assert "working as" not in done.err
    assert set(done.ids) == {0}
    # And still nothing is made that the owner could not read.
    assert owners(path / "next") == {NOBODY}


def test_a_server_that_root_runs(commands, place):
    """All that it makes belongs to the directory's owner, who can take over, and root's admin."""
    path = place / "data"
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)
    done = commands.run("serve", "--dir", path, "--port", 0, "--layout", "ec")
    assert done.status == 0, done.err
    assert f"running as root; new files in {path} belong to nobody\n" in done.err
    assert owners(path) == {NOBODY}
    for uid in (None, NOBODY):
        assert commands.run("admin", "rollover", "status", "--dir", path, uid=uid).status == 0
        assert commands.run("serve", "--dir", path, "--port", 0, uid=uid).status == 0


def test_ones_own_directory(commands, home):
    done = commands.run("admin", "list", "--dir", home(), uid=NOBODY)
    assert done.status == 0
    assert "belongs" not in done.err


def test_no_directory_of_a_server(commands, place):
    """That it belongs to somebody else does not matter then."""
    (place / "other").mkdir()
    os.chown(place / "other", NOBODY, NOBODY)
    for name in ("other", "missing"):
        done = commands.run("admin", "list", "--dir", place / name)
        assert done.err.startswith(f"error: {place / name} holds no SCEP server\n")
        assert set(done.ids) == {0}


@pytest.mark.parametrize("mode", [0o700, 0o755])
@pytest.mark.parametrize("command", [["admin", "list"], ["admin", "crl"], ["serve"]], ids=" ".join)
def test_a_user_who_is_neither(commands, home, command, mode):
    """The hint has the right user, whatever it is that cannot be read."""
    path = home()
    path.chmod(mode)
    done = commands.run(*command, "--dir", path, uid=NAMELESS)
    assert done.status == 2
    error, hint = done.err.splitlines()
    assert error.startswith("error: cannot ")
    assert error.endswith(": Permission denied")
    assert hint.startswith(f"hint: {path}")
    assert hint.endswith(" belongs to nobody: sudo -u nobody …")


def test_what_root_made_before_is_given_back(commands, home):
    """The message names the file that is in the way, and the hint the command that helps."""
    path = home()
    belongs(shutil.copytree(path, path / "next"), 0)
    (path / "next").chmod(0o700)
    done = commands.run("serve", "--dir", path, "--port", 0, uid=NOBODY)
    assert done.status == 2
    assert done.err == (
        f"error: cannot look into {path}: {path}/next: Permission denied\n"
        f"hint: {path}/next belongs to root: give it back, as root: chown -R nobody: {path}/next\n"
    )
    belongs(path / "next", NOBODY)
    assert commands.run("serve", "--dir", path, "--port", 0, uid=NOBODY).status == 0


def test_the_record_names_who_gave_the_command(home):
    """And nobody who only stands in for them."""
    path = home()
    program = (
        "import os, sys; from pathlib import Path\n"
        "from scepkit.cli.admin import server_directory as admin\n"
        "path = Path(sys.argv[1])\n"
        "admin.become_owner(path, path / 'challenge.key', ())\n"
        "print(os.geteuid(), admin.who(), admin.stands_in(), os.environ['USER'])\n"
    )
    done = others.python("-c", program, path, USER="root")
    assert done.stdout.split() == [str(NOBODY), "root", "nobody", "nobody"]
    done = others.python("-c", program, path, USER="root", SUDO_USER="alice")
    assert done.stdout.split() == [str(NOBODY), "alice", "nobody", "nobody"]


def test_who_gave_the_command(monkeypatch):
    """Of whoever used sudo, their own name."""
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    assert server_directory.who() == "root"
    monkeypatch.setenv("SUDO_USER", "alice")
    assert server_directory.who() == "alice"


def test_a_program_that_the_owner_cannot_read(home, place):
    """Nothing is opened then: what is imported later would fail with a riddle."""
    path = home()
    before = {one: one.stat().st_mtime_ns for one in (path, *path.rglob("*"))}
    locked = place / "locked"
    locked.mkdir(mode=0o700)
    (locked / "source").symlink_to(Path(scepkit.__file__).parents[1])
    done = others.python("-m", "scepkit", "admin", "purge", "--dir", path, first=locked / "source")
    assert done.returncode == 2
    file = locked / "source/scepkit/__init__.py"
    assert done.stderr.splitlines()[1:] == [
        f"error: {path} belongs to nobody, who cannot read scep itself: {file}",
        "hint: use a scep that every user can read, installed in /opt/scepkit for instance",
    ]
    assert before == {one: one.stat().st_mtime_ns for one in (path, *path.rglob("*"))}


def test_files_that_only_root_can_read(commands, home, place):
    """They are opened as the server's user: the hint says so, and stdin does."""
    path = home()
    for name in ("serials.txt", "cert.pem"):
        (place / name).write_text("1\n")
        (place / name).chmod(0o600)
    given = {"--batch": place / "serials.txt", "--file": place / "cert.pem"}
    for option, file in given.items():
        done = commands.run("admin", "revoke", option, file, "--yes", "--dir", path)
        assert done.status == 2
        assert f"error: cannot read {file}: Permission denied\n" in done.err
        assert "hint: let the user nobody read it; or give - in its place" in done.err
    done = commands.run("admin", "crl", "--out", place / "crl.pem", "--dir", path)
    assert done.status == 2
    assert f"error: cannot write {place / 'crl.pem'}: " in done.err
    assert "hint: nobody has to be able to write there; or as root: scep admin crl > " in done.err
    assert sorted(one.name for one in place.iterdir()) == ["cert.pem", "data", "serials.txt"]


def test_a_directory_that_the_owner_cannot_get_to(commands, home, place):
    path = home()
    place.chmod(0o700)
    done = commands.run("admin", "list", "--dir", path)
    assert done.status == 2
    assert f"error: {path} belongs to nobody, who cannot get to it\n" in done.err


def test_names_as_sudo_takes_them():
    assert ownership.user_name(0) == "root"
    assert ownership.user_name(NAMELESS) == f"#{NAMELESS}"


def test_a_device_s_key_stays_root_s(place):
    """Below a directory of another user, too: only a server's files are given away."""
    above = place / "another"
    above.mkdir()
    os.chown(above, NOBODY, NOBODY)
    files.make_directory(above / "device")
    files.write_file(above / "device/key.pem", b"secret", mode=0o600)
    assert owners(above / "device") == {0}


@pytest.mark.parametrize("mine", [True, False])
def test_a_directory_that_can_be_read_but_not_written(commands, home, place, mine):
    """The hint is about that one, and not about the one above."""
    closed = place / "closed"
    closed.mkdir(mode=0o555)
    if mine:
        os.chown(closed, NOBODY, NOBODY)
    ca = place / "ca.pem"
    shutil.copy(home() / "ca.pem", ca)
    arguments = ["http://127.0.0.1:1/scep", "--ca", ca, "--subject", "CN=z", "--challenge", "x"]
    done = commands.run("enroll", *arguments, "--out", closed / "device", uid=NOBODY)
    assert done.status == 2
    error, hint = done.err.splitlines()
    assert error.startswith("error: cannot use the directory ")
    if mine:
        assert hint == f"hint: chmod u+rwX {closed}"
    else:
        assert hint.startswith(f"hint: {closed} belongs to root: ")
