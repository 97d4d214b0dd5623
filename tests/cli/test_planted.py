"""Symbolic links that somebody else put into `--out`, or in its place, before or while we work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import httpd
import keys
from pair import _Public, grant
from scepkit.client.folder import Folder
from scepkit.client.folder.record import Record
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.transaction import Issued

INSTALLED = ("key.pem", "cert.pem", "chain.pem", "ca.pem", "enrolment.json")
OTHERS = ("next-ca.pem", "revocation.json", "cert.unverified.pem")
NAMES = [*INSTALLED, *(f"{name}.new" for name in INSTALLED), *OTHERS]
NAMES += ["next", *(f"next/{name}" for name in NAMES)]

WRONG = 2
SUBJECT = ("--subject", "CN=a", "--max-wait", 0)
COMMANDS = {
    "enroll": ("enroll", "http://127.0.0.1:1/", *SUBJECT, "--insecure", "--out", "a"),
    "replace": ("enroll", "http://127.0.0.1:1/", *SUBJECT, "--insecure", "--force", "--out", "a"),
    "renew": ("renew", "a", "--force"),
    "status": ("status", "a"),
    "revoke": ("revoke", "a", "--yes"),
    "get cert": ("get", "cert", "--dir", "a"),
    "get crl": ("get", "crl", "--dir", "a"),
}


@pytest.fixture
def folder():
    """Return the directory `a`, with a key and its certificate."""
    made, key = Folder(Path("a")), keys.rsa_key("old")
    made.begin(key, Record("http://127.0.0.1:1/"))
    holder = httpd.certify("a", _Public(key.public_key()), httpd.ca())
    made.install(Issued(holder.certificate, (httpd.ca().certificate,), TransactionID(b"1")))
    return made


def plant(path, target):
    """Put a link where a file is, or will be."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target.absolute())


def precious():
    """Make something that must not be touched: another key of the same user."""
    Folder(Path("precious")).begin(keys.rsa_key("new"))
    path = Path("precious/key.pem.new").rename("precious/key.pem")
    return path, path.read_bytes()


def names(path):
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


# Each file with one command, and each command with some files.
CASES = [(name, "status") for name in NAMES]
CASES += [(name, command) for name in ("key.pem", "cert.pem.new", "next") for command in COMMANDS]


@pytest.mark.parametrize(("name", "command"), sorted({*CASES}))
def test_a_link_in_the_place_of_a_file_is_refused(folder, scep, name, command):
    """With the file's name, and nothing is changed; whether the link leads anywhere or not."""
    path = folder.path / name
    kept, content = precious()
    for target in (kept.parent if name == "next" else kept, Path("nowhere")):
        plant(path, target)
        before = names(folder.path)
        status, out, err = scep(*COMMANDS[command])
        assert (status, out) == (WRONG, "")
        assert err.startswith(f"error: {path} is a symbolic link, and is not followed\nhint: ")
        assert f"(ls -l {path})" in err
        assert names(folder.path) == before
        assert not Path("nowhere").exists()
    assert names(kept.parent) == ["key.pem"]
    assert kept.read_bytes() == content


@pytest.mark.parametrize("name", ["key.pem", "key.pem.new", "cert.pem.new", "next"])
def test_once_the_link_is_gone_the_directory_can_be_used(serve, scep, name):
    """Nobody was asked for anything before that."""
    site = serve()
    plant(Path("a") / name, Path("nowhere"))
    command = ("enroll", site.url, *SUBJECT, "--fingerprint", site.fingerprint, "--out", "a")
    assert scep(*command)[0] == WRONG
    assert not site.requests
    (Path("a") / name).unlink()
    assert scep(*command)[0] == 0
    assert Folder(Path("a")).key()


@pytest.mark.parametrize("name", ["chain.pem", "enrolment.json", "revocation.json"])
def test_what_is_no_plain_file_is_refused(folder, scep, name):
    """To open a pipe would take for ever."""
    (folder.path / name).unlink(missing_ok=True)
    os.mkfifo(folder.path / name)
    status, _, err = scep("renew", "a")
    assert status == WRONG
    assert f"a/{name}" in err.splitlines()[0]
    assert "not a plain file" in err.lower()


# --- while the CA thinks --------------------------------------------------------------------------


def planting(*wanted, target):
    """Grant a request, and plant links while the client waits for it."""

    def decide(server, request, sender):
        for name in wanted:
            plant(Path("a") / name, target)
        return grant(server, request, sender)

    return decide


@pytest.mark.parametrize("leads", [True, False], ids=["leads", "dangling"])
def test_what_is_written_replaces_a_link(serve, scep, leads):
    """A certificate that has come is installed; the next run finds plain files."""
    kept, content = precious()
    waits = ("key.pem.new", "enrolment.json.new")
    written = [n for n in NAMES if n in INSTALLED or (n.endswith(".new") and "/" not in n)]
    written = [name for name in written if name not in waits]
    target = kept if leads else Path("nowhere")
    site = serve(planting(*written, target=target))
    status, _, err = scep(
        "enroll", site.url, *SUBJECT, "--fingerprint", site.fingerprint, "--out", "a"
    )
    assert status == 0, err
    assert not any(path.is_symlink() for path in Path("a").iterdir())
    assert names(Path("a")) == sorted(INSTALLED)
    assert kept.read_bytes() == content
    assert not Path("nowhere").exists()
    assert Folder(Path("a")).key()
    assert scep("status", "a")[0] == 0


@pytest.mark.parametrize("name", ["key.pem.new", "enrolment.json.new"])
def test_the_key_that_waits_is_not_taken_from_elsewhere(serve, scep, name):
    """Nothing is installed; what it was is still under way once the link is gone."""
    kept, content = precious()
    site = serve(planting(name, target=kept), grant)
    command = ("enroll", site.url, *SUBJECT, "--fingerprint", site.fingerprint, "--out", "a")
    status, _, err = scep(*command)
    assert status == WRONG
    assert f"error: a/{name} is a symbolic link, and is not followed" in err
    assert not (Path("a") / "cert.pem").exists()
    assert not (Path("a") / "key.pem").exists()
    assert kept.read_bytes() == content
    (Path("a") / name).unlink()
    assert scep(*command)[0] == 0
    assert Folder(Path("a")).key()


# --- the directory itself -------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_that_is_named_by_a_link_of_ones_own(folder, scep, command):
    """What is refused then is what would be without the link."""
    plain = scep(*COMMANDS[command])
    folder.path.rename("b")
    Path("a").symlink_to("b")
    assert scep(*COMMANDS[command])[::2] == plain[::2]


def test_enrolling_through_a_link_of_ones_own(serve, scep):
    site = serve()
    Path("b").mkdir()
    Path("a").symlink_to("b")
    arguments = (*SUBJECT, "--fingerprint", site.fingerprint, "--out", "a")
    assert scep("enroll", site.url, *arguments)[0] == 0
    assert Path("a").is_symlink()
    assert names(Path("b")) == sorted(INSTALLED)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_of_another_user_to_the_directory(folder, scep, monkeypatch, command):
    folder.path.rename("b")
    link = Path("a")
    link.symlink_to("b")
    if os.geteuid() == 0:
        os.lchown(link, 4711, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: link.lstat().st_uid + 1)
    before = names(Path("b"))
    status, _, err = scep(*COMMANDS[command])
    assert status == WRONG
    assert err.startswith("error: a is a symbolic link that belongs to another user\nhint: ")
    assert names(Path("b")) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_that_leads_to_no_directory(scep, command):
    Path("a").symlink_to("nowhere")
    status, _, err = scep(*COMMANDS[command])
    assert status == WRONG
    assert err.startswith("error: a is a symbolic link that leads to no directory\nhint: ")
    assert not Path("nowhere").exists()
