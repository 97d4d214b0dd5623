"""No path that cannot be used ends in a riddle, nor in half a server: a walk along all of them.

By a user who may not do everything, as root may. Each refusal is one line that names the path, a
hint, and the exit status of something that is wrong on this side.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

import others
from forms import short_and_long
from others import NAMELESS, NOBODY
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store

# Whichever the path is, one of these needs it.
COMMANDS = {
    "serve": ("serve", "--port", 0),
    "crl": ("admin", "crl"),
    "prepare": ("admin", "rollover", "prepare"),
    "approve": ("admin", "approve", 1),
}
READING = {
    "list": ("admin", "list"),
    "status": ("admin", "rollover", "status"),
    "challenge": ("admin", "challenge", "new"),
    "purge": ("admin", "purge"),
    "revoke": ("admin", "revoke", "1"),
    "release": ("admin", "release", "1"),
    "show": ("admin", "show", "1"),
    "reject": ("admin", "reject", "1"),
    "activate": ("admin", "rollover", "activate"),
    "cancel": ("admin", "rollover", "cancel"),
}
# What has nothing to do with paths; and what is said of an empty one, which cannot be named.
ELSEWHERE = (
    *("there is no request 1", "no certificate with the serial number", "no next CA"),
    "is empty, and has to be a path",
)


def missing(path):
    pass


def unreadable(path):
    path.touch()
    os.chown(path, 0, 0)
    path.chmod(0o600)


def a_directory(path):
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)


def a_pipe(path):
    os.mkfifo(path, 0o600)
    os.chown(path, NOBODY, NOBODY)


def a_file(path):
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)


def dangling(path):
    path.symlink_to("nowhere/at/all")


def a_loop(path):
    path.symlink_to(path.name)


STATES = (missing, unreadable, a_directory, a_pipe, dangling, a_loop)
FILES = (
    *("scep.toml", "challenge.key", "scep.db", "scep.db.lock", ".database", ".ca.lock"),
    *("ca.pem", "ca-key.pem", "ra.pem", "ra-key.pem", "ocsp.pem", "ocsp-key.pem", "chain.pem"),
)
# Without them nothing is served; only a scep.toml that is not there means the defaults.
NEEDED = (*FILES[:3], "ca.pem", "ca-key.pem", "ra.pem", "ra-key.pem")
DIRECTORIES = ("next", "old", "old-ra", "cancelled", "old/1", ".current", ".new-ca", ".ca-work")


def some(*states, of):
    """Return states as parameters; those that are not named are for the long form."""
    return [
        pytest.param(one, id=one.__name__, marks=() if one in states else pytest.mark.long)
        for one in of
    ]


@pytest.fixture(scope="module")
def commands():
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


def copied(made, path):
    """Make a server's directory that belongs to somebody else."""
    shutil.copytree(made, path)
    for one in (path, *path.rglob("*")):
        os.lchown(one, NOBODY, NOBODY)
    return path


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def names(path):
    return {str(one.relative_to(path)) for one in path.rglob("*")}


def check(done, *paths):
    """Find that a command did its work, or said what is wrong with one of the paths."""
    said = done.err
    assert done.status in {0, 1, 2}, said
    assert "this should not happen" not in said
    assert "Traceback" not in said
    lines = said.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if any(one in said for one in ELSEWHERE):
        return
    assert bool(errors) == (done.status != 0), said
    for number in errors:
        assert any(str(path) in lines[number] for path in paths), said
        assert len(lines) > number + 1, said
        assert lines[number + 1].startswith("hint: "), said
    if errors:
        assert done.status == 2, said


@pytest.mark.parametrize("state", some(unreadable, dangling, of=STATES))
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_directory(commands, made, place, name, state):
    for title, command in COMMANDS.items():
        path = copied(made, place / title)
        remove(path / name)
        state(path / name)
        before = names(path)
        done = commands.run(*command, "--dir", path, uid=NOBODY)
        check(done, path / name, *([path] if state in (missing, dangling, a_loop) else []))
        if title == "serve" and name in NEEDED and state is not missing:
            assert done.status == 2
        if done.status:
            assert not {one for one in names(path) - before if ".tmp" in one or "work" in one}


@pytest.mark.parametrize(
    "state", some(unreadable, of=(unreadable, a_file, a_pipe, dangling, a_loop))
)
@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_directory_of_the_directory(commands, made, place, name, state):
    for title, command in COMMANDS.items():
        path = copied(made, place / title)
        if "/" in name:
            a_directory((path / name).parent)
        state(path / name)
        done = commands.run(*command, "--dir", path, uid=NOBODY)
        check(done, path / name, path / name.split("/")[0])


def below_a_file(path):
    a_file(path.parent)


def in_nobodys_place(path):
    path.parent.mkdir()


PLACES = {
    "missing": ("there/data", None),
    "unreadable": ("data", unreadable),
    "a file": ("data", a_file),
    "a pipe": ("data", a_pipe),
    "dangling": ("data", dangling),
    "a loop": ("data", a_loop),
    "below a file": ("file/data", below_a_file),
    "in root's place": ("root/data", in_nobodys_place),
    "too long": ("n" * 300, None),
    "far too long": ("/".join(["n" * 200] * 30), None),
}


@pytest.mark.parametrize("where", short_and_long("missing", "a file", "in root's place", of=PLACES))
def test_the_directory_itself(commands, place, where):
    """By option or by variable; nothing is made."""
    name, make = PLACES[where]
    path = place / name
    if make:
        make(path)
    before = names(place)
    for command in (COMMANDS | READING).values():
        done = commands.run(*command, "--dir", path, uid=NAMELESS)
        check(done, path, path.parent, place)
        assert done.status == 2
    told = commands.run("admin", "list", uid=NAMELESS, SCEP_DIR=str(path))
    assert told.status == 2
    assert names(place) == before


def test_a_directory_without_a_name(commands, place):
    """That of a variable that is not set is not the current one."""
    for command in (COMMANDS | READING).values():
        done = commands.run(*command, "--dir", "", uid=NOBODY, cwd=place)
        assert (done.status, done.err.splitlines()[0]) == (2, "error: --dir names no directory")


@pytest.mark.parametrize("option", ["--out", "--file", "--batch"])
def test_a_file_that_an_operator_names(commands, made, place, option):
    """Nothing is written then, nor revoked; a pipe that nobody writes to is an empty file."""
    path = copied(made, place / "data")
    mine = place / "mine"
    mine.mkdir()
    os.chown(mine, NOBODY, NOBODY)
    command = ("crl",) if option == "--out" else ("revoke", "--yes")
    bad = ["", "/", "nowhere/it", "n" * 300, "/etc/hostname/it", place / "it", "a_directory"]
    if option != "--out":
        bad += [state.__name__ for state in STATES]
    for state in STATES:
        state(mine / state.__name__)
    before = names(place)
    for name in bad:
        done = commands.run("admin", *command, option, name, "--dir", path, uid=NOBODY, cwd=mine)
        check(done, name or f"{option} is empty")
        assert done.status == 2
    assert {one for one in names(place) - before if not one.startswith("data/")} == set()


TOO_LONG = "n" * 300
SETTINGS = {
    "challenge_file": '[endpoint.default]\nchallenge = "static"\nchallenge_file = "{}"\n',
    "renewal_anchors": '[endpoint.default]\nrenewal_anchors = ["{}"]\n',
    "database": 'database = "sqlite:///{}"\n',
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_path_in_a_setting(commands, made, place, setting):
    """The server does not start, whatever is wrong with it; a name of many characters included."""
    path = copied(made, place / "data")
    (path / ".database").unlink(missing_ok=True)
    tried = [(name, missing) for name in ("nowhere/it", TOO_LONG, "a\\u0000b", "ca.pem/it")]
    tried += [("it", state) for state in STATES if state is not missing]
    for name, state in tried:
        target = path / name
        if state is not missing:
            state(target)
        before = names(path)
        (path / "scep.toml").write_text(SETTINGS[setting].format(target))
        for command in (COMMANDS["serve"], READING["list"]):
            done = commands.run(*command, "--dir", path, uid=NOBODY)
            check(done, target, str(target).replace("\\u0000", "\\x00"))
            assert done.status == 2 or command is not COMMANDS["serve"]
        assert names(path) - before <= {".ca.lock", ".database"} | DATABASE
        if state is not missing:
            remove(target)


DATABASE = {"scep.db.lock", "scep.db-wal", "scep.db-shm"}
# In a namespace of its own, where nobody else sees it.
DISK = 'mount -t tmpfs -o size=512k,mode=0755 scep "$1" && shift && exec "$@"'


@pytest.fixture
def disk(made, place):
    """Return what runs commands on a small disk of its own, its server, and how others see it."""
    others.needs_root()
    at = place / "disk"
    at.mkdir()
    running = others.Commands("unshare", "-m", "sh", "-c", DISK, "sh", str(at))
    running.run("--version")
    seen = Path(f"/proc/{running.pid}/root{at}")
    copied(made, seen / "data")
    yield running, at / "data", seen
    running.close()


def test_a_full_disk(disk):
    """What has to be written is refused, and half of it is not left; the rest goes on."""
    commands, path, seen = disk
    with (seen / "filler").open("wb", buffering=0) as filler:
        for size in (4096, 1):
            try:
                while filler.write(b"x" * size):
                    pass
            except OSError:
                pass
    before = names(seen / "data")
    for command in (("admin", "rollover", "prepare"), ("admin", "crl"), ("serve", "--port", 0)):
        done = commands.run(*command, "--dir", path, uid=NOBODY)
        check(done, path, "database")
    assert not {one for one in names(seen / "data") - before if ".tmp" in one or one == "next"}
    (seen / "filler").unlink()
    for command in (("admin", "rollover", "prepare"), ("admin", "crl"), ("serve", "--port", 0)):
        assert commands.run(*command, "--dir", path, uid=NOBODY).status == 0


def test_a_disk_that_can_only_be_read(disk):
    commands, path, _ = disk
    enter = ["nsenter", "-t", str(commands.pid), "-m", "mount", "-o", "remount,ro", path.parent]
    subprocess.run(enter, check=True)
    for command in (COMMANDS | READING).values():
        done = commands.run(*command, "--dir", path, uid=NOBODY)
        check(done, path)
        assert done.status == 2
