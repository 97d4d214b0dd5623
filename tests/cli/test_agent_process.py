"""The agent as a process: killed at every step, two at once, and signals."""

from __future__ import annotations

import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import httpd
import warm
from pair import grant
from scepkit.client.folder import Folder
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.scep.http import Operation
from waiting import wait_until

DAYS = timedelta(days=22)

# What makes its clock be ahead. With a number, it is killed at that step: before a file is
# written, renamed or removed, before something is sent, and before and after a hook.
CUSTOMIZED = """
import os, signal, subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scepkit.client import clock, http
from scepkit.client.agent import hooks
from scepkit.keys import files

ahead, left = timedelta(days=int(os.environ["AHEAD"])), int(os.environ["KILL_AT"])
clock.now = lambda: datetime.now(UTC) + ahead

def step(owner, name, after=False):
    real = getattr(owner, name)
    def wrapped(*args, **how):
        count()
        found = real(*args, **how)
        if after:
            count()
        return found
    setattr(owner, name, wrapped)

def count():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

if left:
    step(files, "_write_new", after=True)
    step(Path, "replace")
    step(Path, "unlink")
    step(http.HTTPTransport, "send", after=True)
    step(hooks, "run", after=True)
"""


@pytest.fixture
def start(tmp_path):
    """Start `scep` some days ahead; what still runs is ended."""
    running = []
    (tmp_path / "customized.py").write_text(CUSTOMIZED)
    plain = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}

    def start(*words, kill_at=0, ahead=DAYS):
        made = warm.start(
            words,
            cwd=tmp_path,
            env=plain | {"AHEAD": str(ahead.days), "KILL_AT": str(kill_at)},
            customize=tmp_path / "customized.py",
        )
        running.append(made)
        return made

    yield start
    for one in running:
        one.kill()
        one.communicate()


@pytest.fixture
def device(serve, scep, monkeypatch):
    """A device whose certificate is due when the agent looks."""
    site = serve(*[grant] * 400)
    words = ["--subject", "CN=a", "--out", "root/a", "--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, *words)[0] == 0
    today = (datetime.now(UTC) + DAYS).replace(microsecond=0)
    monkeypatch.setattr(httpd, "today", lambda: today)
    return site, Folder(Path("root/a"))


def hook(tmp_path, text='echo "$SCEP_SERIAL" >>deployed'):
    path = tmp_path / "hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return "--deploy-hook", str(path)


STEPS = [*range(1, 200)]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(STEPS[::7], id="some"),
        pytest.param(STEPS, id="all", marks=pytest.mark.long),
    ],
)
def test_killed_at_every_step(device, start, tmp_path, steps):
    """The next look finishes: one new certificate, its own key, deployed, and no other request."""
    _, folder = device
    words = ("agent", "--once", "root", *hook(tmp_path))
    fresh = tmp_path / "fresh"
    subprocess.run(["cp", "-a", "root/a", fresh], check=True)
    old = folder.certificate()
    for step in steps:
        subprocess.run(["rm", "-rf", "root/a", "deployed"], check=True)
        subprocess.run(["cp", "-a", fresh, "root/a"], check=True)
        done = start(*words, kill_at=step)
        _, err = done.communicate()
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, err
        again = start(*words)
        _, err = again.communicate()
        assert again.returncode == 0, (step, err)
        new = folder.certificate()
        folder.key()
        assert new != old, (step, err)
        deployed = Path("deployed").read_text().split()
        assert deployed[-1] == show_serial(new.serial), (step, err)
        assert not list(folder.path.glob("*.new"))
        assert not list(folder.path.glob(".*.tmp"))
    else:
        pytest.fail("it never came to its end")
    # Writing, sending and the hook: fewer steps would mean that some are not seen.
    assert step > 30


def test_two_at_once(device, start, tmp_path):
    """One of them renews; the other says that it is busy, or comes when all is done."""
    site, folder = device
    words = ("agent", "--once", "root", *hook(tmp_path))
    ends = [one.communicate()[1] for one in [start(*words) for _ in range(4)]]
    assert len(site.asked(Operation.PKI_OPERATION)) == 2
    assert sum("got the certificate" in one for one in ends) == 1
    assert Path("deployed").read_text().split() == [show_serial(folder.certificate().serial)]


def test_one_that_looks_until_it_is_stopped(device, start, tmp_path):
    _, folder = device
    old = folder.certificate()
    agent = start("agent", "root", *hook(tmp_path))
    wait_until(lambda: Path("deployed").exists() and folder.certificate() != old, "the renewal")
    wait_until(lambda: '"done": "sha256' in (folder.path / "agent.json").read_text(), "its state")
    looked = (folder.path / "agent.json").stat().st_mtime_ns
    # It rests now, for an hour.
    agent.send_signal(signal.SIGHUP)
    wait_until(lambda: (folder.path / "agent.json").stat().st_mtime_ns > looked, "a look")
    agent.send_signal(signal.SIGTERM)
    _, err = agent.communicate()
    assert agent.returncode == 0, err
    assert err.count("got the certificate") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_during_a_step_it_ends_that(device, start, tmp_path, number):
    """What it is doing is done first: the hook is not left half way."""
    _, folder = device
    text = 'touch begun; while [ ! -e go ]; do sleep 0.05; done; echo "$SCEP_SERIAL" >deployed'
    agent = start("agent", "root", *hook(tmp_path, text), "--hook-timeout", 600)
    wait_until(Path("begun").exists, "the hook")
    agent.send_signal(number)
    Path("go").touch()
    _, err = agent.communicate()
    assert agent.returncode == 0, err
    assert Path("deployed").read_text().strip() == show_serial(folder.certificate().serial)


def test_a_read_only_directory(device, start, tmp_path):
    """Nothing can be renewed there, and that is said; nothing is asked of the server again."""
    site, folder = device
    if os.geteuid() == 0:
        done = subprocess.run(
            ["mount", "--bind", "-o", "ro", folder.path, folder.path], check=False,
            capture_output=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode()}")
        undo = ["umount", folder.path]
    else:
        folder.path.chmod(0o500)
        undo = ["chmod", "700", folder.path]
    try:
        found = start("agent", "--once", "root", *hook(tmp_path))
        _, err = found.communicate()
        assert found.returncode == 1
        assert "cannot keep the state" in err
        assert "cannot write" in err
        assert len(site.asked(Operation.PKI_OPERATION)) == 1
    finally:
        subprocess.run(undo, check=True)
    again = start("agent", "--once", "root", *hook(tmp_path))
    _, err = again.communicate()
    assert again.returncode == 0, err


def test_a_full_disk(device, start, tmp_path):
    _, folder = device
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "root" / "a"
    kept = tmp_path / "kept"
    subprocess.run(["cp", "-a", disk, kept], check=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", disk]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(f"cp -a {kept}/. {disk}/", shell=True, check=True)
        filler = disk / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}"], check=False, capture_output=True)
        old = folder.certificate()
        found = start("agent", "--once", "root", *hook(tmp_path))
        _, err = found.communicate()
        assert found.returncode == 1
        assert "No space left" in err
        assert folder.certificate() == old
        folder.key()
        filler.unlink()
        again = start("agent", "--once", "root", *hook(tmp_path))
        _, err = again.communicate()
        assert again.returncode == 0, err
        assert folder.certificate() != old
    finally:
        subprocess.run(["umount", disk], check=True)
