"""A fleet at a real server: killed again and again, a server that goes away, a full disk."""

from __future__ import annotations

import csv
import os
import pty
import random
import signal
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

import warm
from forms import short_and_long
from scepkit.client import keys
from scepkit.client.fleet.results import State, read_results
from scepkit.client.folder import Folder
from server.live import SCEP, Server, environment
from waiting import PATIENCE, wait_until

DEVICES, KILLS = 200, 6
_PASSWORD = ("-passin", "env:PASSWORD")


@pytest.fixture
def command(directory, serve, challenges, tmp_path):
    """Return the command that enrols a fleet at a server with two workers."""

    def command(count, *more, key="ec:p256", without=0):
        server = serve(directory(), "--workers", "2")
        secrets = challenges(server.directory, count - without) + ["wrong"] * without
        rows = (f"dev{n},CN=dev{n},{secret}" for n, secret in enumerate(secrets))
        path = tmp_path / "devices.csv"
        path.write_text("\n".join(["name,subject,challenge", *rows]) + "\n")
        words = ["--url", server.url, "--fingerprint", server.fingerprint, "--key", key, *more]
        out = tmp_path / "fleet"
        return server, ["fleet", "enroll", str(path), *words, "--out", str(out)], out

    return command


def begun(words):
    return warm.start(words, env=environment())


def ended(words):
    return warm.run(words, env=environment(), timeout=PATIENCE)


def issued(server):
    """Return the serial numbers of all certificates in the database by subject."""
    found = {}
    with closing(sqlite3.connect(server.directory / "scep.db")) as database:
        for subject, serial in database.execute("SELECT subject, serial FROM certificates"):
            found.setdefault(subject, []).append(serial)
    return {subject: serials for subject, serials in found.items() if subject.startswith("CN=dev")}


def passwords(out):
    with (out / "passwords.csv").open() as file:
        return {row["name"]: row["password"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("key", short_and_long("ec:p256", of=["ec:p256", "rsa:2048"]))
def test_killed_again_and_again_no_device_has_two_certificates(command, key):
    count = DEVICES if key == "ec:p256" else 30
    server, words, out = command(count, key=key)
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for number in range(KILLS):
        least = count * number // (KILLS + 1) + chance.randrange(count // 10)
        with begun(words) as running:
            wait_until(lambda n=least: len(list((out / "devices").glob("*"))) > n, "some devices")
            running.kill()
        assert running.returncode == -signal.SIGKILL, running.stderr
    done = ended(words)
    assert done.returncode == 0, done.stderr
    stored, results, opens = issued(server), read_results(out), passwords(out)
    assert Counter(map(len, stored.values())) == {1: count}, f"seed {seed}"
    assert len(results) == len(opens) == count
    for name, result in results.items():
        folder = Folder(out / "devices" / name)
        assert result.state is State.DONE
        assert [int(one, 16) for one in stored[f"CN={name}"]] == [int(result.serial, 16)]
        # Each key is there, and is the one of the certificate.
        assert keys.spki(folder.key()) == folder.require_certificate().canonical_spki
        content = (out / "pkcs12" / f"{name}.p12").read_bytes()
        found = pkcs12.load_pkcs12(content, opens[name].encode())
        assert keys.spki(found.key) == keys.spki(folder.key())
    # No half of anything is left.
    assert not [one for one in out.rglob("*") if one.name.endswith((".new", ".tmp"))]
    _openssl_reads(out, opens)
    assert len((out / "results.csv").read_text().splitlines()) == count + 1


def _openssl_reads(out, opens):
    for name in list(opens)[::20]:
        subprocess.run(
            ["openssl", "pkcs12", "-in", out / f"pkcs12/{name}.p12", "-noout", *_PASSWORD],
            env={**os.environ, "PASSWORD": opens[name]},
            check=True,
            capture_output=True,
        )


def test_a_server_that_goes_away_and_comes_back(command, serve):
    server, words, out = command(60, "--parallel", "4")
    with begun(words) as running:
        wait_until(lambda: len(list((out / "devices").glob("*"))) > 10, "some devices")
        server.kill()
        # Before that, there may be lines that say how far it has come.
        while not (said := running.stderr.readline()).startswith("waiting: "):
            assert " of 60 devices, " in said, said
        again = Server(server.directory, "--port", str(server.port), "--workers", "2")
        with again:
            out_text, err = running.communicate(timeout=PATIENCE)
        assert running.returncode == 0, err
    assert "the server answers again" in err
    assert "failed   0" in out_text
    assert Counter(map(len, issued(server).values())) == {1: 60}


@pytest.mark.parametrize(
    "number", short_and_long(signal.SIGTERM, of=[signal.SIGINT, signal.SIGTERM])
)
def test_a_signal_ends_it_cleanly(command, number):
    server, words, out = command(100)
    with begun(words) as running:
        wait_until(lambda: len(list((out / "devices").glob("*"))) > 10, "some devices")
        running.send_signal(number)
        stdout, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, err
    assert stdout == ""
    assert "waiting for the requests under way; Ctrl-C again ends at once" in err
    assert "the same command goes on" in err
    done = [one for one in read_results(out).values() if one.state is State.DONE]
    # What was under way was finished: there is nothing half done.
    assert len(done) == len(issued(server)) == len(list((out / "devices").glob("*"))) < 100
    assert ended(words).returncode == 0
    assert Counter(map(len, issued(server).values())) == {1: 100}


MOUNT = """
mount -t tmpfs -o size=300k scep "$1" || exit 77
shift
"$@"; echo "status $?"
mount -o remount,size=64m scep "$(dirname "$OUT")" && "$@"; echo "status $?"
wc -l <"$OUT/results.csv"
ls "$OUT/pkcs12" | wc -l
"""


def test_a_full_disk_says_what_to_do_and_loses_nothing(command, tmp_path):
    server, words, _ = command(40)
    place = tmp_path / "disk"
    place.mkdir()
    out = place / "fleet"
    words[-1] = str(out)
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", MOUNT, "sh", str(place), *SCEP, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment(OUT=str(out)),
        timeout=PATIENCE,
    )
    if done.returncode in (1, 77):
        pytest.skip(f"this user may not mount a disk in a namespace of its own: {done.stderr}")
    assert "No space left on device" in done.stderr
    assert "hint: make room on that file system" in done.stderr
    assert "; then the same command goes on" in done.stderr
    first, *_, second, rows, bundles = done.stdout.splitlines()
    assert (first, second, rows, bundles) == ("status 2", "status 0", "41", "40"), done
    assert Counter(map(len, issued(server).values())) == {1: 40}


def test_a_bar_on_a_terminal_and_lines_elsewhere(command):
    _, words, _ = command(12, "--parallel", "2", without=1)
    shown, done = on_a_terminal(words)
    assert done == 1
    # The bar goes away at the end; what was refused and the numbers stay.
    assert "━" in shown
    assert "a second," in shown
    assert "/12 devices" in shown
    assert "dev11 refused: badRequest" in shown
    assert "done     11" in shown
    assert "error: 1 of 12 devices was refused, or failed" in shown
    again = ended(words)
    assert again.returncode == 1
    assert again.stderr.splitlines()[0] == "11 of 12 devices have their certificates already"
    assert "━" not in again.stderr


def on_a_terminal(words):
    """Run a command on a terminal; return what it shows, and its status."""
    above, below = pty.openpty()
    with subprocess.Popen(
        [*SCEP, *words],
        stdin=below,
        stdout=below,
        stderr=below,
        env=environment(TERM="xterm", COLUMNS="80"),
        start_new_session=True,
    ) as running:
        os.close(below)
        shown = b""
        # On Linux reading ends with an error when nobody writes any more.
        try:
            while piece := os.read(above, 65536):
                shown += piece
        except OSError:
            pass
        os.close(above)
    return shown.decode(), running.returncode
