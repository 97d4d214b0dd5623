"""Faults of every kind, while `scep enroll`, `scep renew` and `scep agent` run as processes.

The server is a process, too. What each fault has to lead to stands in the tables.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import pytest

import warm
from agent.relay import Relay
from scepkit.ca.directory import rotation
from scepkit.ca.directory.founding import RA_VALIDITY
from scepkit.client.folder import Folder
from scepkit.keys.pem import sha256_fingerprint
from scepkit.protocol import chain
from scepkit.protocol.certificate import show_serial
from server.conftest import new_challenges
from server.live import Server, environment
from waiting import wait_until

DAY = timedelta(days=1)
DONE, FAILED, USAGE, WAITS = 0, 1, 2, 3
AHEAD = 350  # days: a certificate of a year is due by then
FAULTS = Path(__file__).with_name("customized.py")
NEXT_CA = "/scep?operation=GetNextCACert"
COMMANDS = ["enroll", "renew", "agent"]

HOOK = """\
#!/bin/sh
read mode <mode
case $mode in
fails) echo "it is broken"; exit 3 ;;
hangs) sleep 600 ;;
deletes) rm "$SCEP_CERT" ;;
kills) echo works >mode; kill -9 $PPID ;;
esac
echo "$SCEP_SERIAL" >>deployed
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return a server whose clock is ahead, a relay to it, and a device of a year ago."""
    yield from _world(tmp_path_factory.mktemp("faults"))


def _world(here):
    with Server(here / "data", "--layout", "ec") as server, Relay(server.port) as relay:
        device = SimpleNamespace(relay=relay, fingerprint=server.fingerprint)
        (challenge,) = new_challenges(server.directory)
        done = scep(here, *enroll(device, "a", challenge), ahead=0)
        assert done.status == DONE, done.err
        server.stop()
        with Server(here / "data", customize=FAULTS, FAULTS_AHEAD=str(AHEAD)) as later:
            relay.port = later.port
            yield SimpleNamespace(server=later, relay=relay, device=here / "root" / "a")
            assert "Traceback" not in later.log


def enroll(place, name, challenge):
    words = ["enroll", place.relay.url, "--subject", f"CN={name}", "--out", f"root/{name}"]
    return [*words, "--fingerprint", place.fingerprint, "--challenge", challenge]


def scep(where, *words, ahead=AHEAD, kill_at=0, wait=True):
    """Run `scep`, and return what it said; or start it."""
    env = environment(FAULTS_AHEAD=str(ahead), FAULTS_KILL_AT=str(kill_at), FAULTS_ROOT=str(where))
    env = {name: value for name, value in env.items() if not name.lower().endswith("_proxy")}
    process = warm.start(words, cwd=where, env=env, customize=FAULTS)
    return finish(process) if wait else process


def finish(process):
    out, err = process.communicate()
    return SimpleNamespace(status=process.returncode, out=out, err=err)


class Place:
    """A directory with a device whose certificate is due, and commands that are run in it."""

    def __init__(self, path, world):
        self.path, self.world = path, world
        self.relay, self.server = world.relay, world.server
        self.fingerprint = self.server.fingerprint
        self.folder = Folder(path / "root" / "a")
        self.fresh()
        (path / "hook").write_text(HOOK)
        (path / "hook").chmod(0o700)
        self.hook("works")

    def fresh(self):
        """Begin anew with the device of a year ago."""
        shutil.rmtree(self.path / "root", ignore_errors=True)
        (self.path / "deployed").unlink(missing_ok=True)
        shutil.copytree(self.world.device, self.folder.path)
        shutil.copystat(self.world.device / "cert.pem", self.folder.path / "cert.pem")
        self.before = self.folder.certificate()
        # A year does not end it.
        (self.challenge,) = new_challenges(self.server.directory, lifetime=500 * DAY)

    def hook(self, mode):
        (self.path / "mode").write_text(f"{mode}\n")

    def words(self, command):
        match command:
            case "enroll":
                more = [*enroll(self, "a", self.challenge), "--force"]
            case "renew":
                more = ["renew", "root/a"]
            case "agent":
                hook = ["--deploy-hook", self.path / "hook", "--hook-timeout", 1]
                return ["agent", "--once", "root", *hook]
        return [*more, "--timeout", 2, "--max-wait", 0]

    def run(self, command, *more, **how):
        return scep(self.path, *self.words(command), *more, **how)

    def scep(self, *words):
        return scep(self.path, *words)

    def admin(self, *words):
        done = self.scep("admin", *words, "--dir", self.server.directory)
        assert done.status == DONE, done.err

    def change(self, what):
        """Have the CA get another RA, or be replaced by the next one, and the server see it."""
        before = self.server.shown_at()
        if what == "rotated":
            now = datetime.now(UTC) + AHEAD * DAY
            assert rotation.rotate_ra(self.server.directory, now=now, before=RA_VALIDITY - DAY)
        else:
            self.admin("rollover", "activate", "--yes")
        # The server may get itself another RA meanwhile.
        changed = 0 if what == "rotated" else -1
        wait_until(lambda: self.server.shown_at()[changed] != before[changed], "the change")
        self.fingerprint = sha256_fingerprint(self.server.shown_at()[-1])

    def issued(self, name):
        """Return the serial numbers of a device's certificates, as the operator sees them."""
        done = self.scep(
            "admin", "list", "--json", "--subject", f"CN={name}", "--dir", self.server.directory
        )
        assert done.status == DONE, done.err
        return [json.loads(line)["serial"] for line in done.out.splitlines()]

    def do_not_wait(self):
        """Have an agent try again at once, as an operator would who has repaired something."""
        (self.folder.path / "agent.json").unlink(missing_ok=True)

    # what has to be true afterwards

    def is_as_before(self):
        self.fits()
        return self.folder.certificate() == self.before

    def fits(self):
        """Certificate, key, chain and CA belong together."""
        found = self.folder.require_certificate()
        assert self.folder.key().public_key() == found.x509().public_key()
        chain.build(found, self.folder.chain(), self.folder.ca(), found.not_before)
        return found

    def comes_right(self, command, status=DONE):
        """Run the command again; there is one new certificate, and nothing half done."""
        done = self.run(command)
        assert done.status == status, done.err
        found = self.fits()
        assert found != self.before, done.err
        assert not list(self.folder.path.glob("*.new")), done.err
        assert not list(self.folder.path.glob(".*.tmp")), done.err
        if command == "agent":
            deployed = (self.path / "deployed").read_text().split()
            assert deployed[-1] == show_serial(found.serial)
        return found


@pytest.fixture
def place(tmp_path, world):
    made = Place(tmp_path, world)
    yield made
    world.relay.fate = "well"


def some(commands, faults):
    """Return all pairs, of which each fault runs with one command; with all in the long form."""
    pairs = [(command, fault) for fault in faults for command in commands]
    first = {(commands[n % len(commands)], fault) for n, fault in enumerate(faults)}
    mark = pytest.mark.long
    return [one if one in first else pytest.param(*one, marks=mark) for one in pairs]


# --- killed ---------------------------------------------------------------------------------------


# All steps of a renewal, and of its hook, are in tests/cli/test_agent_process.py.
EVERY = [
    *(pytest.param(command, 13, id=f"{command}-some") for command in COMMANDS),
    pytest.param("enroll", 1, id="enroll-all", marks=pytest.mark.long),
    pytest.param("renew", 4, id="renew-more", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("command", "every"), EVERY)
def test_killed_at_every_step(place, command, every):
    """The same command goes on: one certificate, its own key, and one request to the server."""
    for step in range(1, 400, every):
        place.fresh()
        operations = place.relay.operations
        done = place.run(command, kill_at=step)
        if done.status == DONE:
            break
        assert done.status == -signal.SIGKILL, done.err
        is_interrupted = (place.folder.path / "cert.pem.new").exists()
        if not is_interrupted:
            place.fits()
            if command == "enroll" and place.folder.certificate() != place.before:
                # It was killed at its very end: another one would replace what is good.
                continue
        # What was interrupted is finished; --force then wants another one, for a spent challenge.
        is_finished = is_interrupted and command == "enroll"
        place.comes_right(command, FAILED if is_finished else DONE)
        assert place.relay.operations <= operations + 2
    else:
        pytest.fail("it never came to its end")
    assert step > 30


def test_killed_by_its_hook(place):
    place.hook("kills")
    assert place.run("agent").status == -signal.SIGKILL
    found = place.fits()
    assert found != place.before
    assert place.run("agent").status == DONE
    assert (place.path / "deployed").read_text().split()[-1] == show_serial(found.serial)
    assert place.fits() == found


# --- the server and the way to it -----------------------------------------------------------------

#  fate       status, what the command says
AWAY = {
    "away": (FAILED, "broke off"),
    "slow": (FAILED, "within 2 s"),
    "busy": (FAILED, "503"),
    "lost": (FAILED, "broke off"),
    "another's": (DONE, "the reply belongs to another transaction; asking again"),
}


@pytest.mark.parametrize(("command", "fate"), some(COMMANDS, AWAY))
def test_the_server_fails(place, command, fate):
    """The old pair stays, the command says why, and the same command gets one certificate."""
    status, says = AWAY[fate]
    if fate == "another's":
        (challenge,) = new_challenges(place.server.directory, lifetime=500 * DAY)
        assert place.scep(*enroll(place, "b", challenge)).status == DONE
    place.relay.fate = fate
    done = place.run(command, *(["--timeout", 2] if command == "agent" else []))
    assert done.status == status, done.err
    assert says in done.err
    assert place.is_as_before() is (status != DONE)
    if status != DONE:
        place.relay.fate = "well"
        place.do_not_wait()
        place.comes_right(command)


# --- the disk -------------------------------------------------------------------------------------


def mounted(place, *options):
    """Mount something over the device's directory; skip where that cannot be done."""
    command = ["mount", *options, place.folder.path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")


@pytest.mark.parametrize("command", ["enroll", "renew"])
def test_a_read_only_disk(place, command):
    """For the agent see tests/cli/test_agent_process.py."""
    mounted(place, "--bind", "-o", "ro", place.folder.path)
    try:
        operations = place.relay.operations
        done = place.run(command)
        assert done.status in (FAILED, USAGE), done.err
        assert "Read-only file system" in done.err
        assert place.relay.operations == operations
        assert place.is_as_before()
    finally:
        subprocess.run(["umount", place.folder.path], check=True)
    place.comes_right(command)


@pytest.mark.parametrize(("command", "room"), some(["enroll", "renew"], [0, 4, 12]))
def test_a_full_disk(place, command, room):
    """It is full at once, or once the request is kept: nothing is asked for in vain."""
    mounted(place, "-t", "tmpfs", "-o", "size=64k,mode=700", "none")
    try:
        shutil.copytree(place.world.device, place.folder.path, dirs_exist_ok=True)
        filler = place.folder.path / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
            file.truncate(file.tell() // 4096 * 4096 - room * 1024)
        done = place.run(command)
        assert done.status in (FAILED, USAGE), done.err
        assert "No space left" in done.err
        assert place.is_as_before()
        filler.unlink()
        operations = place.relay.operations
        place.comes_right(command)
        assert place.relay.operations <= operations + 2
    finally:
        subprocess.run(["umount", place.folder.path], check=True)


# --- the clock ------------------------------------------------------------------------------------

YEARS = 730
#   command, days off        status  what it says
CLOCKS = {
    ("enroll", YEARS): (FAILED, "look at the clock"),
    ("enroll", -YEARS): (DONE, "not valid yet by this machine's clock"),
    ("renew", YEARS): (FAILED, "look at the clock"),
    ("renew", -YEARS): (DONE, "not yet: CN=a"),
    ("agent", YEARS): (FAILED, ""),
    ("agent", -YEARS): (DONE, "1 valid"),
}


@pytest.mark.parametrize(("command", "wrong"), CLOCKS)
def test_a_clock_that_is_two_years_off(place, command, wrong):
    """Ahead, the RA is over by that clock, and nothing is sent; behind, what is got is kept."""
    status, says = CLOCKS[command, wrong]
    operations = place.relay.operations
    done = place.run(command, ahead=AHEAD + wrong)
    assert done.status == status, done.err
    assert says in done.err
    assert place.relay.operations <= operations + 4
    if place.is_as_before():
        place.do_not_wait()
        place.comes_right(command)
    else:
        found = place.fits()
        assert place.scep("status", "root/a").status == DONE
        assert place.run("agent").status == DONE
        assert place.fits() == found


# --- the operator ---------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, tmp_path_factory):
    """Return a place with a server of its own, whose operator does something."""
    world = _world(tmp_path_factory.mktemp("own"))
    yield Place(tmp_path, next(world))
    world.close()


def test_revoked_meanwhile(own):
    """The server refuses, that is said, and no hook runs; a new enrolment goes."""
    own.admin("revoke", "--file", own.folder.path / "cert.pem", "--yes")
    for command in ("renew", "agent"):
        done = own.run(command)
        assert done.status == FAILED, done.err
        assert "revoked" in done.err
        assert own.is_as_before()
    own.comes_right("enroll")
    assert own.run("agent").status == DONE


# Whoever enrols is asked for the fingerprint of another CA.
CHANGES_OF_CA = [
    pytest.param("enroll", "rotated", marks=pytest.mark.long),
    *some(["agent", "renew"], ["rotated", "rolled over"]),
]


@pytest.mark.parametrize(("command", "change"), CHANGES_OF_CA)
def test_another_ra_or_ca_while_the_answer_was_lost(own, command, change):
    """A request was answered, nobody heard it, and then another one answers for the CA."""
    place = own
    if change == "rolled over":
        place.admin("rollover", "prepare")
        # Else the device would not hear of it in time, and would be right to refuse the next CA.
        wait_until(lambda: place.server.ask(NEXT_CA).status == HTTPStatus.OK, "the next CA")
    place.relay.fate = "lost"
    assert place.run(command).status == FAILED
    place.relay.fate = "well"
    place.change(change)
    place.do_not_wait()
    found = place.comes_right(command)
    assert show_serial(found.serial) in place.issued("a")
    assert len(place.issued("a")) == 2


# --- two at once ----------------------------------------------------------------------------------


def test_an_agent_and_a_renewal_at_once(place):
    """One renews; the others are turned away, or come when all is done."""
    operations = place.relay.operations
    both = [place.run(one, wait=False) for one in ("renew", "agent", "renew", "agent")]
    ends = [finish(one) for one in both]
    assert all(one.status in (DONE, FAILED, USAGE) for one in ends), ends
    assert place.relay.operations == operations + 1
    assert sum("got the certificate" in one.err for one in ends) == 1
    place.fits()
    assert place.run("agent").status == DONE
    assert place.relay.operations == operations + 1


# --- hooks ----------------------------------------------------------------------------------------

#  mode       status of the agent, what it says, what scep status says
HOOKS = {
    "fails": (FAILED, "ended with status 3", "renewed, not deployed"),
    "hangs": (FAILED, "did not end within 1 s, and was killed", "renewed, not deployed"),
    "deletes": (FAILED, "", "no certificate"),
}


@pytest.mark.parametrize("mode", HOOKS)
def test_a_hook_that(place, mode):
    status, says, state = HOOKS[mode]
    place.hook(mode)
    done = place.run("agent")
    assert done.status == status, done.err
    assert says in done.err
    shown = place.scep("status", "--all", "root")
    assert shown.status == FAILED
    assert state in shown.out
    place.hook("works")
    if mode == "deletes":
        assert place.run("agent").status == FAILED
        place.comes_right("enroll")
    else:
        found = place.fits()
        place.do_not_wait()
        assert place.run("agent").status == DONE
        assert place.fits() == found
        assert (place.path / "deployed").read_text().split()[-1] == show_serial(found.serial)


# --- somebody else --------------------------------------------------------------------------------


def other_key(folder):
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-out", folder / "key.pem"],
        check=True,
        capture_output=True,
    )


def half(name):
    def change(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:200])

    return change


def without(name):
    def change(folder):
        (folder / name).unlink()

    return change


#   what                  the change       what renew says, and the agent
CHANGES = {
    "another key": (other_key, "is not the key of", "is not the key of"),
    "no record": (without("enrolment.json"), "is not recorded", "is not recorded"),
    "no key": (without("key.pem"), "key.pem", "key.pem is missing"),
    "no certificate": (without("cert.pem"), "no certificate", "1 no certificate"),
    "no CA": (without("ca.pem"), "ca.pem", "ca.pem"),
    "half a key": (half("key.pem"), "key.pem", "key.pem"),
    "half a certificate": (half("cert.pem"), "cert.pem", "cert.pem"),
    "half a record": (half("enrolment.json"), "is damaged", "is damaged"),
    "half a CA": (half("ca.pem"), "ca.pem", "ca.pem"),
}
# What is there to be used still: hooks may load it.
USABLE = ("no record", "no CA", "half a CA", "half a record")


@pytest.mark.parametrize(("command", "what"), some(["renew", "agent"], CHANGES))
def test_somebody_else_changed_the_directory(place, what, command):
    """That is said with the file's name, nothing is sent or installed, and a new enrolment goes."""
    change, renew, agent = CHANGES[what]
    change(place.folder.path)
    operations = place.relay.operations
    done = place.run(command)
    assert done.status in (FAILED, USAGE), done.err
    assert (renew if command == "renew" else agent) in done.err
    assert "should not happen" not in done.err
    assert "Traceback" not in done.err
    assert place.relay.operations == operations
    assert not (place.path / "deployed").exists() or what in USABLE
    if what == "half a record":
        # As the hint has it.
        (place.folder.path / "enrolment.json").unlink()
    place.before = None
    place.comes_right("enroll")
