"""A directory for a key that others can write to: one line, and what is asked for is done."""

from __future__ import annotations

from pathlib import Path

import pytest

import httpd
import keys
from pair import _Public
from scepkit.client.folder import Folder
from scepkit.client.folder.record import Record
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.transaction import Issued

ITSELF = "warning: others can write to b/a, and replace the key and the certificates: "
COMMANDS = {
    "renew": ("renew", "b/a"),
    "status": ("status", "b/a"),
    "status for programs": ("status", "b/a", "--json"),
    "revoke": ("revoke", "b/a", "--yes", "--timeout", 0),
    "get crl": ("get", "crl", "--dir", "b/a", "--timeout", 0),
}


@pytest.fixture
def place():
    """Return the directory `b/a`, with a key and its certificate, for its owner alone."""
    made, key = Folder(Path("b/a")), keys.rsa_key("old")
    # Asked for its successor a moment ago: no command has to ask now.
    made.begin(key, Record("http://127.0.0.1:1/", checked_at=httpd.today().isoformat()))
    holder = httpd.certify("a", _Public(key.public_key()), httpd.ca(), not_after=_later())
    made.install(Issued(holder.certificate, (httpd.ca().certificate,), TransactionID(b"1")))
    return made.path


def _later():
    return httpd.today() + 365 * httpd.DAY


def warnings(err):
    return [line for line in err.splitlines() if line.startswith("warning:")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777], ids=oct)
def test_others_can_write_to_it(place, scep, mode, command):
    """Data on stdout and status are as before."""
    before = scep(*COMMANDS[command])
    assert not warnings(before[2])
    place.chmod(mode)
    status, out, err = scep(*COMMANDS[command])
    assert (status, out) == before[:2]
    assert warnings(err) == [f"{ITSELF}chmod go-w b/a"]


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o711], ids=oct)
def test_others_can_only_read_it(place, scep, mode):
    place.chmod(mode)
    place.parent.chmod(mode)
    assert not warnings(scep("status", "b/a")[2])


def test_everybody_can_write_above_it(place, scep):
    above = place.parent
    above.chmod(0o777)
    (line,) = warnings(scep("status", "b/a")[2])
    name = above.absolute()
    assert line == f"warning: others can write to {name}, and replace b/a in it: chmod o-w {name}"


@pytest.mark.parametrize("mode", [0o1777, 0o775], ids=oct)
def test_a_directory_above_it_that_is_shared_as_usual(place, scep, mode):
    """With the sticky bit nobody can replace what is another's; a group's members are known."""
    place.parent.chmod(mode)
    assert not warnings(scep("status", "b/a")[2])


def test_everybody_can_write_above_the_link_that_names_it(place, scep):
    Path("open").mkdir()
    Path("open/a").symlink_to(place.absolute())
    Path("open").chmod(0o777)
    (line,) = warnings(scep("status", "open/a")[2])
    assert "others can write to" in line
    assert line.endswith("/open")


def test_a_name_that_a_shell_would_split(place, scep):
    place.rename("of two words")
    Path("of two words").chmod(0o777)
    (line,) = warnings(scep("status", "of two words")[2])
    assert line.endswith("chmod go-w 'of two words'")


def test_enrolling(serve, scep):
    """A directory that is there is looked at; one that was just made is for its owner alone."""
    site = serve()
    made, there = Path("made"), Path("there")
    there.mkdir()
    there.chmod(0o775)
    for path, expected in (
        (made, []),
        (there, [f"{ITSELF.replace('b/a', 'there')}chmod go-w there"]),
    ):
        arguments = ("--subject", "CN=a", "--fingerprint", site.fingerprint, "--out", path)
        status, _, err = scep("enroll", site.url, *arguments)
        assert (status, warnings(err)) == (0, expected)
    assert made.stat().st_mode & 0o777 == 0o700
