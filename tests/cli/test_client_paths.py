"""Every path that a client command is given, in every state in which it is of no use.

Each mistake is one line that names the path, a hint, and status 2; nothing is made or changed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import httpd
from pair import grant
from scepkit.cli import main
from scepkit.keys import files
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep.messages import GetCert, GetCRL, Success

NOBODY = 65534
LONG = "n" * 300
ENROLL = ("enroll", "URL", "--subject", "CN=a", "--fingerprint", "SHA256")

DIRECTORIES = {
    "renew": ("renew", "PATH"),
    "status": ("status", "PATH"),
    "revoke": ("revoke", "PATH", "--yes"),
    "get cert": ("get", "cert", "--dir", "PATH"),
    "get crl": ("get", "crl", "--dir", "PATH"),
    "get next-ca": ("get", "next-ca", "--dir", "PATH"),
}
NEW_DIRECTORIES = {"enroll": (*ENROLL, "--out", "PATH")}
INPUTS = {
    "enroll --ca": ("enroll", "URL", "--subject", "CN=a", "--out", "new", "--ca", "PATH"),
    "enroll --tls-ca": (*ENROLL, "--out", "new", "--tls-ca", "PATH"),
    "enroll --challenge-file": (*ENROLL, "--out", "new", "--challenge-file", "PATH"),
    "renew --ca": ("renew", "good", "--force", "--ca", "PATH"),
    "renew --tls-ca": ("renew", "good", "--tls-ca", "PATH"),
    "renew --challenge-file": ("renew", "good", "--force", "--challenge-file", "PATH"),
    "revoke --passphrase-file": ("revoke", "good", "--yes", "--passphrase-file", "PATH"),
    "revoke --tls-ca": ("revoke", "good", "--yes", "--tls-ca", "PATH"),
    "get caps --tls-ca": ("get", "caps", "URL", "--tls-ca", "PATH"),
    "get ca --tls-ca": ("get", "ca", "URL", "--tls-ca", "PATH"),
    "get next-ca --ca": ("get", "next-ca", "URL", "--ca", "PATH"),
    "get next-ca --tls-ca": ("get", "next-ca", "--dir", "good", "--tls-ca", "PATH"),
    "get cert --tls-ca": ("get", "cert", "--dir", "good", "--tls-ca", "PATH"),
    "get crl --tls-ca": ("get", "crl", "--dir", "good", "--tls-ca", "PATH"),
}
OUTPUTS = {
    "get ca": ("get", "ca", "URL", "--out", "PATH"),
    "get next-ca": ("get", "next-ca", "--dir", "good", "--out", "PATH"),
    "get cert": ("get", "cert", "--dir", "good", "--out", "PATH"),
    "get crl": ("get", "crl", "--dir", "good", "--out", "PATH"),
}
ALL = DIRECTORIES | NEW_DIRECTORIES | INPUTS | {f"{n} --out": c for n, c in OUTPUTS.items()}


def retrieve(server, request, sender):
    """Give what is asked for."""
    match request:
        case GetCert():
            return Success((server.given[request.serial_number],))
        case GetCRL():
            return Success(crls=(httpd.crl([7]).public_bytes(Encoding.DER),))
    answer = grant(server, request, sender)
    (der,) = answer.certificates
    server.given[Certificate.read(der).serial] = der
    return answer


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Start a server with a successor, and enrol a device with it, once for all tests."""
    place = tmp_path_factory.mktemp("prepared")
    with httpd.Site(retrieve, following=httpd.ca("next-ca")) as site:
        site.scep.given = {}
        known = ["--subject", "CN=good", "--fingerprint", site.fingerprint]
        assert main(["enroll", site.url, *known, "--out", str(place / "good")]) == 0
        yield site, place


@pytest.fixture
def site(prepared):
    """Fill the current directory with what is of use, and with what is not; return the server."""
    site, place = prepared
    shutil.copytree(place / "good", "good")
    Path("file").write_text("nothing that is of use\n")
    Path("dir").mkdir()
    Path("empty").touch()
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    os.mkfifo("fifo")
    Path("binary").write_bytes(bytes(range(256)))
    return site


@pytest.fixture
def run(site, scep):
    """Run a command with a path in its place."""

    def run(command, path):
        words = {"PATH": path, "URL": site.url, "SHA256": site.fingerprint}
        return scep(*(words.get(word, word) for word in command))

    return run


def tree():
    """Return what is in the current directory, and since when."""
    return {
        str(one): (stat.S_IFMT(found.st_mode), found.st_size, found.st_mtime_ns)
        for one in sorted(Path().rglob("*"))
        if (found := one.lstat())
    }


def refused(run, command, path, named=None):
    """Fail unless a command refuses a path as it should."""
    before = tree()
    status, out, err = run(command, path)
    lines = err.splitlines()
    assert status == 2, err
    assert out == ""
    assert [line[:6] for line in lines if line.startswith("error:")] == ["error:"], err
    at = next(i for i, line in enumerate(lines) if line.startswith("error:"))
    assert (named or path) in lines[at]
    assert lines[at + 1].startswith("hint: "), err
    assert "this should not happen" not in err
    assert tree() == before


def each(commands):
    return pytest.mark.parametrize("command", commands.values(), ids=commands)


@each(DIRECTORIES)
@pytest.mark.parametrize(
    "path",
    ["missing", "missing/x", "file", "file/x", "dangling", "loop", "fifo", "/dev/null", LONG],
)
def test_a_directory_that_is_none(run, command, path):
    refused(run, command, path)


@each(NEW_DIRECTORIES)
@pytest.mark.parametrize(
    "path", ["file", "file/x", "file/x/y", "dangling", "loop", "fifo", "/dev/null", LONG]
)
def test_a_new_directory_that_cannot_be_made(run, site, command, path):
    asked = len(site.requests)
    refused(run, command, path)
    assert len(site.requests) == asked


@each(INPUTS)
@pytest.mark.parametrize("path", ["missing", "dir", "empty"])
def test_a_file_that_cannot_be_read(run, command, path):
    refused(run, command, path)


# One for each way in which a file is read.
READERS = {
    name: INPUTS[name] for name in ("enroll --ca", "enroll --challenge-file", "get caps --tls-ca")
}


@each(READERS)
@pytest.mark.parametrize("path", ["missing/x", "file/x", "dangling", "loop", "/dev/null", LONG])
def test_a_path_that_leads_to_no_file(run, command, path):
    refused(run, command, path)


@each({n: c for n, c in READERS.items() if not n.endswith("-file")})
@pytest.mark.parametrize("path", ["file", "binary"])
def test_a_file_that_holds_something_else(run, command, path):
    refused(run, command, path)


@each({n: c for n, c in READERS.items() if n.endswith("-file")})
def test_a_secret_that_is_no_text(run, command):
    refused(run, command, "binary")


@each(OUTPUTS)
@pytest.mark.parametrize("path", ["missing/x", "dir", "file/x", "fifo", "/dev/full", LONG])
def test_a_file_that_cannot_be_written(run, command, path):
    refused(run, command, path)


@each(OUTPUTS)
def test_a_device_is_written_into_and_not_replaced(run, command):
    """Root could put a file in the place of /dev/null, which breaks the machine."""
    Path("null").symlink_to("/dev/null")
    status, _, err = run(command, "null")
    assert status == 0, err
    assert Path("null").is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@each(OUTPUTS)
def test_a_pipe_that_somebody_reads(run, command):
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(command, "fifo")[0] == 0
        assert os.read(reader, 1 << 16).startswith(b"-----BEGIN ")
    finally:
        os.close(reader)


@each(ALL)
@pytest.mark.parametrize("path", ["", "a\0b"], ids=["empty", "NUL"])
def test_what_no_path_can_be(run, command, path):
    refused(run, command, path, "and has to be a path" if not path else r"a\x00b")


@each(DIRECTORIES | READERS)
def test_a_name_that_is_not_in_utf_8(run, command):
    refused(run, command, os.fsdecode(b"\xff"), r"\udcff")


def test_a_new_directory_whose_name_is_not_in_utf_8(run):
    name = os.fsdecode(b"\xff")
    assert run(NEW_DIRECTORIES["enroll"], name)[0] == 0
    assert run(DIRECTORIES["status"], name)[0] == 0


@contextlib.contextmanager
def somebody_else():
    """Be somebody without any rights, where the tests run as root, whom permissions do not stop."""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


_IMPORTED = []


@pytest.fixture
def run_as_other(run):
    """Run a command as somebody who may do nothing here but read."""
    if not _IMPORTED:
        # What a command imports when it first runs, somebody else may not be able to read.
        for command in (DIRECTORIES | READERS | OUTPUTS).values():
            run(command, "missing/x")
        run(NEW_DIRECTORIES["enroll"], "imported")
        shutil.rmtree("imported")
        _IMPORTED.append(True)
    Path("closed").mkdir(mode=0o000)
    Path("secret").write_text("x\n")
    Path("secret").chmod(0o000)
    Path("theirs").mkdir(mode=0o555)
    Path("good").chmod(0o555)
    Path().chmod(0o555)

    def run_as_other(command, path):
        with somebody_else():
            return run(command, path)

    yield run_as_other
    Path().chmod(0o755)
    for name in ("closed", "theirs", "good"):
        Path(name).chmod(0o755)


def denied(run, command, path):
    before = {one.name for one in Path().iterdir()}
    status, out, err = run(command, path)
    assert (status, out) == (2, ""), err
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert path in line
    assert "hint: " in err
    assert "this should not happen" not in err
    assert {one.name for one in Path().iterdir()} == before


@each(DIRECTORIES)
@pytest.mark.parametrize("path", ["closed", "closed/x"])
def test_a_directory_of_somebody_else(run_as_other, command, path):
    denied(run_as_other, command, path)


@each(NEW_DIRECTORIES)
@pytest.mark.parametrize("path", ["closed", "closed/x", "closed/x/y", "theirs", "theirs/x", "new"])
def test_a_new_directory_below_one_of_somebody_else(run_as_other, command, path):
    denied(run_as_other, command, path)


@each(READERS)
@pytest.mark.parametrize("path", ["secret", "closed/x"])
def test_a_file_of_somebody_else(run_as_other, command, path):
    denied(run_as_other, tuple("/tmp/new" if w == "new" else w for w in command), path)


@each({"get ca": OUTPUTS["get ca"]})
@pytest.mark.parametrize("path", ["theirs/x", "closed/x", "new"])
def test_a_file_below_a_directory_of_somebody_else(run_as_other, command, path):
    denied(run_as_other, command, path)


@pytest.mark.parametrize(
    "command",
    [("renew", "PATH", "--force"), ("revoke", "PATH", "--yes"), ("get", "crl", "--dir", "PATH")],
    ids=" ".join,
)
def test_a_key_of_somebody_else(run_as_other, command):
    """It is the file that is named."""
    denied(run_as_other, command, "good")


@pytest.fixture
def gone(run):
    """Be in a directory that was removed."""
    here = Path.cwd()
    Path("gone").mkdir()
    os.chdir("gone")
    (here / "gone").rmdir()
    yield run
    os.chdir(here)


@each(ALL)
def test_no_current_directory(gone, command):
    status, out, err = gone(command, "x")
    assert (status, out) == (2, ""), err
    assert "this should not happen" not in err
    assert "error: " in err
    assert "\nhint: " in f"\n{err}"


@pytest.fixture(params=["EROFS", "ENOSPC", "EDQUOT", "EIO"])
def refusing(request, run, monkeypatch):
    """Have the file system refuse whatever is to be written."""

    def refuse(*args, **kwargs):
        code = getattr(errno, request.param)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files, "_write_new", refuse)
    return run


@each(OUTPUTS)
def test_a_file_system_that_refuses_a_file(refusing, command):
    refused(refusing, command, "new.pem")


@pytest.mark.parametrize("command", [(*ENROLL, "--out", "PATH"), ("renew", "PATH", "--force")])
def test_a_file_system_that_refuses_a_request(refusing, command):
    path = "dir" if command[0] == "enroll" else "good"
    before = tree().keys()
    status, out, err = refusing(command, path)
    assert (status, out) == (2, "")
    assert f"error: cannot write {path}/" in err
    assert "\nhint: " in f"\n{err}"
    assert tree().keys() == before


@pytest.mark.parametrize("at", range(6))
def test_a_disk_that_is_full_in_the_midst_of_it(run, monkeypatch, at):
    """What was there stays, and the next run goes on."""
    really, written = files._write_new, []

    def fill(*args):
        if len(written) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(args)
        really(*args)

    before = Path("good/cert.pem").read_bytes(), Path("good/key.pem").read_bytes()
    monkeypatch.setattr(files, "_write_new", fill)
    status, _, err = run(("renew", "good", "--force"), "")
    if status == 0:
        assert len(written) == at
        return
    assert (status, "No space left on device\nhint: make room" in err) == (2, True)
    assert (Path("good/cert.pem").read_bytes(), Path("good/key.pem").read_bytes()) == before
    monkeypatch.setattr(files, "_write_new", really)
    assert run(("renew", "good", "--force"), "")[0] == 0
    assert Path("good/cert.pem").read_bytes() != before[0]
