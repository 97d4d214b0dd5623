"""Keys that come under a passphrase while two worker processes serve, on either database.

What a worker has read it goes on with; what it reads afterwards it reads with the passphrase.
"""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta

import pytest

import postgresql
import warm
from enrolment import devices
from forms import short_and_long
from scepkit.ca.directory import rotation
from scepkit.ca.directory.founding import RA_VALIDITY
from scepkit.keys.passphrase import Passphrase, WrongPassphrase
from scepkit.keys.pem import is_encrypted, read_key
from scepkit.protocol.scep.messages import Success
from scepkit.server.directory import data_directory
from server.live import environment, scep
from server.test_sub_ca import Operator
from waiting import wait_until

FIRST, SECOND, THIRD = "a passphrase of the keys", "another passphrase", "and a third one"


@pytest.fixture(params=short_and_long("sqlite", of=["sqlite", "postgresql"]))
def url(request):
    """A database; that of SQLite is in the directory."""
    if request.param == "sqlite":
        yield ""
        return
    with postgresql.running() as cluster, cluster.fresh_database() as url:
        yield url


class Keeper(Operator):
    """Whoever has a server and the passphrase of its keys."""

    def written(self, passphrase):
        """Return a file with a passphrase."""
        file = self.place / f"passphrase-{len(passphrase)}"
        file.touch(0o600)
        file.write_text(f"{passphrase}\n")
        return file

    def protect(self, passphrase):
        """Begin to encrypt the keys, as a process of its own."""
        file = self.written(passphrase)
        command = (*("admin", "ca", "protect", "--dir", self.directory), "--new-passphrase-file")
        return warm.start([*command, file], env=environment())

    def settle(self, passphrase=None):
        """Write scep.toml, with the file of a passphrase in it."""
        text = f'log = "json"\ndatabase = "{self.url}"\n'
        if passphrase is not None:
            text += f'key_passphrase_file = "{self.written(passphrase)}"\n'
        (self.directory / "scep.toml").write_text(text)

    def enrols(self, name):
        """Say whether a device gets a certificate."""
        (challenge,) = self.admin("challenge", "new").split()
        ra = self.server.ra_at("/scep")
        message = devices.pkcs_req(challenge, to=ra, transaction_id=name)
        return isinstance(self.server.read(self.server.post(message), None, ra).rep, Success)

    def ca(self):
        return self.server.shown_at()[-1].subject.rfc4514_string()

    def key_files(self):
        return sorted(self.directory.rglob("*-key.pem"))


@pytest.fixture
def keeper(tmp_path, directory, scep, serve, url):
    made = Keeper(tmp_path, scep, None)
    made.url = url
    directory()
    made.settle()
    shared = tmp_path / "shared"
    shared.mkdir()
    made.server = serve(made.directory, "--workers", "2", TMPDIR=str(shared))
    # One that still starts when the keys are protected would end the server.
    wait_until(lambda: len([*shared.rglob("health-*.json")]) == 2, "a look of each worker")
    yield made
    assert made.server.stop() == 0
    assert "Traceback" not in made.server.log
    assert FIRST not in made.server.log


def test_protected_while_it_runs(keeper):
    """The server says what it lacks, serves on, and takes the passphrase over without an end."""
    server = keeper.server
    _, said = keeper.protect(FIRST).communicate()
    file = keeper.written(FIRST)
    assert f'key_passphrase_file = "{file}"' in said
    line = server.logged(event="the CAs changed but cannot be read; the old ones stay in service")
    assert "is encrypted" in line["error"]
    assert "read its settings again" in line["hint"]
    assert server.ask("/scep?operation=GetCACert").status == 200
    refused = scep("admin", "reload", "--dir", keeper.directory)
    assert (refused.returncode, "key_passphrase_file" in refused.stderr) == (1, True)

    keeper.settle(FIRST)
    os.kill(server.pid, signal.SIGHUP)
    server.logged(event="the settings were read again")
    assert keeper.enrols("b")
    # A worker that takes another one's place has it, too.
    gone = server.workers[0]
    os.kill(gone, signal.SIGKILL)
    wait_until(lambda: gone not in server.workers and len(server.workers) == 2, "another worker")
    keeper.everywhere(lambda: server.ask("/healthz").text == '{"status":"ok"}', "good health")
    _rotate_and_roll_over(keeper)
    keeper.admin("crl")
    assert keeper.enrols("c")


def _rotate_and_roll_over(keeper):
    """Have a new RA made, and the next CA come into force: their keys are encrypted, too."""
    home = data_directory.open_records(keeper.directory)
    before = keeper.server.ra_at("/scep")
    assert rotation.rotate_ra(
        keeper.directory,
        now=data_directory.utc_now(),
        before=RA_VALIDITY,
        validity=RA_VALIDITY + timedelta(days=1),
        passphrase=home.passphrases.find(),
    )
    keeper.everywhere(lambda: keeper.server.ra_at("/scep") != before, "the new RA")
    keeper.admin("rollover", "prepare")
    keeper.admin("rollover", "activate", "--yes")
    keeper.everywhere(lambda: keeper.ca().endswith(" G2"), "the next CA")
    assert len(keeper.key_files()) >= 6
    assert all(map(is_encrypted, keeper.key_files()))


def test_two_at_once(keeper):
    """Whichever comes second needs the passphrase of the first: all keys have one, whoever wins."""
    both = {text: keeper.protect(text) for text in (SECOND, THIRD)}
    said = {text: (one.communicate()[1], one.returncode) for text, one in both.items()}
    assert 0 in {status for _, status in said.values()}
    for error, status in said.values():
        assert status in (0, 2), error
        assert "Traceback" not in error
        assert status == 0 or "is encrypted" in error or "does not open" in error
    won = [text for text in said if _opens_all(keeper, text)]
    assert len(won) == 1
    assert said[won[0]][1] == 0
    keeper.settle(won[0])
    keeper.admin("reload")
    assert keeper.enrols("a")
    records = [json.loads(one) for one in keeper.admin("audit", "list", "--json").splitlines()]
    assert "keys-protected" in {one["action"] for one in records}


def _opens_all(keeper, text):
    try:
        return all(read_key(path, Passphrase(text)) for path in keeper.key_files())
    except WrongPassphrase:
        return False
