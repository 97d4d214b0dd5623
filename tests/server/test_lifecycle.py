"""`scep serve` as a process: it starts, it finds what was there, it stops, it refuses to start."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import weakref
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from enrolment import devices
from ports import free_port, is_free
from scepkit.cli import main
from scepkit.server import run, settings
from scepkit.server.http import serving
from server.live import Server, environment, is_running, read_answer, scep
from waiting import PATIENCE, wait_until

OURS = dict.fromkeys(
    ["ca-key.pem", "ra-key.pem", "challenge.key", "scep.db", "scep.db.lock", ".ca.lock"], 0o600
) | dict.fromkeys(["ca.pem", "ra.pem", "scep.toml"], 0o644)


NO_CRL = "issued certificates will name no CRL and no OCSP responder"


def workers_with(server, file, count):
    """Return so many workers of a server that have a file open; none if there are fewer."""
    found = []
    for pid in server.workers:
        with suppress(OSError):
            links = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
            found += [pid] if str(file) in links else []
    return found if len(found) == count else []


def modes(directory):
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


# --- starting and stopping ------------------------------------------------------------------------


@pytest.mark.rfc("P-53")
def test_first_and_second_start(tmp_path, serve, challenges):
    """The first start makes everything, for its owner alone; the second finds it."""
    directory = tmp_path / "data"
    with Server(directory, "--layout", "ec") as first:
        assert directory.stat().st_mode & 0o777 == 0o700
        assert OURS.items() <= modes(directory).items()
        assert all(mode in (0o600, 0o644) for mode in modes(directory).values())
        (secret,) = challenges(directory)
        certificate = first.enrol(secret).certificate
        assert first.stop() == 0
        said = first.log.splitlines()
    assert said[0] == f"made a new CA in {directory}"
    assert said[1] == f"a challenge: scep admin challenge new --dir {directory}"
    assert said[2].startswith(f"a device:    scep enroll {first.url} --fingerprint sha256:")
    assert said[-1] == "stopped"
    kept = {name: (directory / name).read_bytes() for name in OURS if name != "scep.db"}
    second = serve(directory)
    assert second.fingerprint == first.fingerprint
    assert second.log.count("made a new CA") == 1
    assert {name: (directory / name).read_bytes() for name in kept} == kept
    assert second.read(second.post(devices.cert_poll(to=second.ra))).certificate == certificate
    assert second.stop(signal.SIGINT) == 0
    assert second.log.splitlines()[-1] == "stopped"


def test_stdout_is_for_programs(directory, serve):
    """Two lines of data on stdout; all talk goes to stderr."""
    server = serve(directory())
    assert re.fullmatch(r"URL          http://127\.0\.0\.1:\d+/scep\n", server.said[0])
    assert re.fullmatch(r"fingerprint  sha256:[0-9a-f]{64}\n", server.said[1])
    server.process.terminate()
    assert server.process.wait(PATIENCE) == 0
    assert server.process.stdout.read() == ""


def test_a_public_url(directory, serve):
    """What devices are told is what the operator says."""
    url = "https://scep.example/scep"
    server = serve(directory(), SCEP_PUBLIC_URL=url)
    assert server.said[0] == f"URL          {url}\n"
    wait_until(lambda: f"scep enroll {url} " in server.log, "what to type on a device")
    assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_at_once(directory, serve, number):
    """A signal right after the start is not lost, and is no exit by signal."""
    path = directory()
    for _ in range(2):
        assert serve(path).stop(number) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_not_lost_where_exceptions_are(monkeypatch, number):
    """Python ignores what is raised in the callback of a weak reference, signals included."""
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    went_on = []
    with run.until_stopped():
        thing = threading.Event()
        _ = weakref.ref(thing, lambda _: signal.raise_signal(number))
        del thing
        went_on.append(True)
        threading.Event().wait(PATIENCE)
    assert went_on
    assert len(ignored) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_there_is_a_server_stops_it(number):
    """It comes while the event loop runs already, and no server yet that it could stop."""

    class Stops:
        def __init__(self):
            self.stopping = asyncio.Event()

        def stop(self, *, urgent):
            assert not urgent
            self.stopping.set()

    async def serve():
        signal.raise_signal(number)
        server = Stops()
        with serving.stopped_by_signals(server):
            await asyncio.wait_for(server.stopping.wait(), PATIENCE)

    ended = []
    with run.until_stopped():
        serving.run(serve)
        ended.append(True)
    assert ended


@pytest.mark.parametrize("workers", ["1", "2"])
def test_more_silent_connections_than_the_usual_limit_of_files(directory, serve, workers):
    # As little as this process, which has to start the server, can do with.
    few = len(os.listdir("/proc/self/fd")) + 64  # noqa: PTH208 - numbers, not files
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        server = serve(directory(), SCEP_WORKERS=workers)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with ExitStack() as silent:
        for _ in range((few + 16) * int(workers)):
            silent.enter_context(server.connect())
        assert server.ask("/healthz").status == 200
        assert server.stop() == 0


def test_a_request_under_way_is_finished(directory, serve, challenges):
    """SIGTERM: nobody new is let in, who is in gets the answer, and the exit status is 0."""
    path = directory()
    server = serve(path)
    (secret,) = challenges(path)
    message = devices.pkcs_req(secret, to=server.ra)
    head = f"POST /scep HTTP/1.1\r\nHost: a\r\nContent-Length: {len(message)}\r\n"
    head += "Expect: 100-continue\r\n\r\n"
    with server.connect() as connection, server.connect() as idle:
        connection.sendall(head.encode())
        # Proof that it is under way.
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(message[:1000])
        idle.sendall(b"GET /scep?operation=GetCACaps HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(idle).status == 200
        server.process.send_signal(signal.SIGTERM)

        def closed():
            try:
                server.connect().close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                return False  # It was in the queue when listening ended; the next one is refused.
            return False

        wait_until(closed, "the end of listening")
        assert server.process.poll() is None
        connection.sendall(message[1000:])
        answer = read_answer(connection)
        assert answer.headers["connection"] == "close"
        assert server.read(answer).certificate
    assert server.wait() == 0
    assert server.logged(transaction_id="a")["outcome"] == "SUCCESS"
    assert "Traceback" not in server.log


# --- refusing to start ----------------------------------------------------------------------------


@pytest.fixture
def refused(capsys, monkeypatch):
    """Run `scep serve` in this process; return its one line and its hint."""

    def served(*_):
        pytest.fail("it serves")

    monkeypatch.setattr(run, "serve", served)

    def refused(*arguments, port=("--port", "0")):
        capsys.readouterr()
        status = main(["serve", *port, *map(str, arguments)])
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), err
        message, *rest = [line for line in err.splitlines() if " wins over " not in line]
        assert message.startswith("error: ")
        assert all(line.startswith("hint: ") for line in rest)
        assert len(rest) <= 1
        return message.removeprefix("error: "), "".join(rest).removeprefix("hint: ")

    return refused


def test_a_refusal_is_one_line(tmp_path):
    """The real command: one line and a hint on stderr, exit status 2, no traceback."""
    file = tmp_path / "file"
    file.touch()
    done = scep("serve", "--dir", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {file} is not a directory\nhint: choose another --dir\n"


def test_a_port_that_is_taken(directory, refused):
    """A taken port is named, with what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message, hint = refused("--dir", directory(), "--port", port)
    assert message == f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert hint == (
        "this server may be running already, or another program listens there; "
        "choose another port with --port, or `port` in scep.toml"
    )


def test_an_address_that_is_not_ours(directory, refused):
    """An address of another machine."""
    message, hint = refused("--dir", directory(), "--host", "192.0.2.1")
    assert message.startswith("cannot listen on 192.0.2.1:0: ")
    assert "--host" in hint


def test_a_directory_of_somebody_else(tmp_path, refused):
    """A directory with other files is not made a CA of."""
    (tmp_path / "letter.txt").touch()
    message, hint = refused("--dir", tmp_path)
    assert message == f"{tmp_path} is not empty and holds no SCEP server: letter.txt"
    assert hint == "choose an empty or new directory with --dir"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("name", ["enrolment.json", "cert.pem"])
def test_the_directory_of_a_device(tmp_path, refused, name):
    """It has a ca.pem, as that of a server has."""
    (tmp_path / name).touch()
    (tmp_path / "ca.pem").touch()
    message, hint = refused("--dir", tmp_path)
    assert message == f"{tmp_path} is not empty and holds no SCEP server: {name}"
    assert hint == "choose an empty or new directory with --dir"
    assert {path.name for path in tmp_path.iterdir()} == {"ca.pem", name}


def test_a_directory_below_a_file(tmp_path, refused):
    """A path that goes through a file."""
    (tmp_path / "file").touch()
    message, _ = refused("--dir", tmp_path / "file" / "data")
    assert message == f"{tmp_path / 'file'} is not a directory"


@pytest.mark.parametrize("name", ["ca-key.pem", "ra-key.pem"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o640), "is open to others than its owner (mode 0640)"),
        (lambda path: path.chmod(0o604), "is open to others than its owner (mode 0604)"),
        (lambda path: path.write_text("garbage"), "is not a private key in PEM"),
        (lambda path: path.write_bytes(b""), "is not a private key in PEM"),
        (lambda path: path.unlink(), "there is no key file"),
        (lambda path: (path.unlink(), path.mkdir(0o700)), "cannot read the key file"),
    ],
    ids=["0640", "0604", "garbage", "empty", "missing", "a directory"],
)
def test_a_key_that_cannot_be_used(directory, refused, name, spoil, words):
    """A key file is named, with what is wrong with it, and nothing of what is in it."""
    path = directory()
    spoil(path / name)
    message, hint = refused("--dir", path)
    assert words in message
    assert str(path / name) in message + hint


def test_keys_that_were_mixed_up(directory, refused):
    """The key of another CA is noticed at the start."""
    path = directory()
    shutil.copy(path / "ra-key.pem", path / "ca-key.pem")
    message, _ = refused("--dir", path)
    assert message.startswith("the private key is not that of the certificate")


def test_a_lost_challenge_key(directory, refused):
    """It is not made anew in silence: what was given out would be void."""
    path = directory()
    assert main(["admin", "list", "--dir", str(path)]) == 0
    (path / "challenge.key").unlink()
    message, hint = refused("--dir", path)
    assert message.startswith(f"{path / 'challenge.key'} is lost")
    assert "restore it from a backup" in hint
    assert not (path / "challenge.key").exists()


def test_a_challenge_key_that_others_can_read(directory, refused):
    path = directory()
    (path / "challenge.key").chmod(0o644)
    message, hint = refused("--dir", path)
    assert message.endswith("challenge.key is open to others than its owner (mode 0644)")
    assert hint == f"chmod 600 {path / 'challenge.key'}"


def test_a_first_start_that_fails_leaves_nothing(tmp_path, refused):
    """What did not work is not in scep.toml for the next start."""
    path = tmp_path / "new"
    refused("--dir", path, "--host", "192.0.2.1")
    assert not (path / "scep.toml").exists()
    with Server(path) as server:
        assert server.stop() == 0


@pytest.mark.parametrize("text", ["", "xyz", "ab" * 31, "ab" * 33])
def test_a_challenge_key_that_cannot_be_used(directory, refused, text):
    """A damaged challenge.key is not replaced: what was given out would be void."""
    path = directory()
    (path / "challenge.key").write_text(text)
    message, hint = refused("--dir", path)
    assert message == f"{path / 'challenge.key'} does not hold 32 octets in hex"
    assert "backup" in hint
    assert (path / "challenge.key").read_text() == text


def test_a_newer_database(directory, refused):
    """A database that a newer scepkit wrote is left as it is."""
    path = directory()
    with closing(sqlite3.connect(path / "scep.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    message, hint = refused("--dir", path)
    assert message == "the database was written by a newer scepkit (revision 9999)"
    assert "install that version" in hint


@pytest.mark.parametrize("empty", [None, b""])
def test_another_database(directory, refused, monkeypatch, empty):
    """On an empty one nothing would be revoked any more; whoever wants that has to say so."""
    path = directory()
    assert main(["admin", "list", "--dir", str(path)]) == 0
    other = path / "other.db"
    if empty is not None:
        other.write_bytes(empty)
    url = f"sqlite:///{other}"
    monkeypatch.setenv("SCEP_DATABASE", url)
    message, hint = refused("--dir", path)
    assert message.endswith(f"but {path} was served with one before")
    assert "`database` setting" in hint
    assert hint.endswith(f"delete {path / '.database'}")
    assert other.exists() == (empty is not None)
    (path / ".database").unlink(missing_ok=True)
    with Server(path) as anew:
        assert anew.stop() == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"garbage " * 1000, "not a database"), (None, "unable to open database file")],
)
def test_a_database_that_is_none(directory, refused, content, words):
    """What is no database is named and left as it is."""
    path = directory()
    database = path / "scep.db"
    database.unlink()
    if content is None:
        database.mkdir()
    else:
        database.write_bytes(content)
    message, hint = refused("--dir", path)
    assert words in message or "Is a directory" in message
    assert hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", ["prot"]),
        ("port = 'eighty'", ["port", "whole number"]),
        ("port = 70000", ["port", "65535"]),
        ("workers = 0", ["workers", "1"]),
        ("log = 'xml'", ["log", "'auto', 'json' or 'text'"]),
        ("public_url = 'ftp://x'", ["public_url"]),
        ("[endpoint.default]\nlegacy = ['rot13']", ["endpoint.default.legacy", "'sha1'"]),
        ("[endpoint.default]\nvalidity_days = 0", ["endpoint.default.validity_days"]),
        ("[endpoint.default]\nvalidity = 1", ["endpoint.default.validity"]),
        ("[endpoint.Other]", ["[endpoint.Other]", "a-z, 0-9 and -"]),
        ("[endpoint.cgi-bin]", ["[endpoint.cgi-bin]", "not cgi-bin"]),
        ("[endpoint.a]\nca = '../b'", ["ca of [endpoint.a]", "a-z, 0-9 and -"]),
        (
            "[endpoint.a]\nca = 'x'\nlayout = 'ec'\n[endpoint.b]\nca = 'x'\nlayout = 'single'",
            ["[endpoint.b]", "'single'", "'x'", "'ec'"],
        ),
        ("[endpoint.default]\napproval = 'maybe'", ["approval", "'auto' or 'manual'"]),
        ("[endpoint.default]\nchallenge = 'none'", ["endpoint.default", 'approval = "manual"']),
        ("[endpoint.default]\nchallenge = 'static'", ["challenge_file"]),
        (
            (
                "[endpoint.default]\nchallenge = 'static'\nchallenge_file = 'x'\n"
                "revocation_passphrase = true"
            ),
            ["revocation_passphrase", "every device"],
        ),
        ("[endpoint.default]\nchallenge_file = 'x'", ['challenge = "static"']),
        ("[endpoint.default]\nget_cert = 'some'", ["get_cert", "'off', 'own' or 'all'"]),
        ("[endpoint.default]\npreset = 'nokia'", ["preset", "'apple'"]),
        (
            "[endpoint.default]\npreset = 'intune'\napproval = 'manual'",
            ["endpoint.default", "Intune cannot wait"],
        ),
        ("[endpoint.default]\npending_days = 0", ["pending_days", "1"]),
        ("[endpoint.default]\nrsa_bits = [4096, 2048]", ["rsa_bits"]),
        ("[endpoint.default]\ncurves = ['p192']", ["curves", "'p256'"]),
        ("[endpoint.default]\nallowed_eku = ['party']", ["allowed_eku", "client_auth", "OID"]),
        ("[endpoint.default]\nsan_types = ['x400']", ["san_types", "'dns'"]),
        ("[endpoint.default]\nca_certificates = 'all'", ["ca_certificates", "'ra+chain'"]),
        ("[endpoint.default]\nsigning_time_minutes = -1", ["signing_time_minutes", "0"]),
        ("retention_days = 0", ["retention_days", "1"]),
        ("ra_rotation_days = 730", ["ra_rotation_days", "729"]),
        ("sweep_minutes = 0", ["sweep_minutes", "1"]),
        ("port = ", ["Invalid value"]),
        ("\xff", ["UTF-8"]),
    ],
)
def test_a_setting_that_is_wrong(directory, refused, text, words):
    """The message names the file, the key, and what is allowed."""
    path = directory()
    (path / "scep.toml").write_bytes(text.encode("latin-1"))
    message, _ = refused("--dir", path, port=())
    for word in [str(path / "scep.toml"), *words]:
        assert word in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCEP_PORT", "x"),
        ("SCEP_ENDPOINT", "nonsense"),
        ("SCEP_ENDPOINT__DEFAULT__LEGACY", "sha1"),
        ("SCEP_WORKERS", "1000"),
        ("SCEP_DATABASE", "nonsense"),
        ("SCEP_DATABASE", "sqlite://"),
    ],
)
def test_a_variable_that_is_wrong(directory, refused, monkeypatch, name, value):
    """A variable of the environment is checked as a setting of the file is."""
    path = directory()
    monkeypatch.setenv(name, value)
    message, hint = refused("--dir", path, port=())
    assert hint
    assert "this should not happen" not in message


def test_an_unknown_layout(tmp_path, directory, refused):
    """A layout that does not exist, for a new CA and for an old one."""
    for path in (tmp_path / "new", directory()):
        message, hint = refused("--dir", path, "--layout", "rsa")
        assert message == "there is no layout 'rsa'"
        assert hint == "one of default, ec, single"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("has", "wanted"), [("ec", "default"), ("single", "ec")])
def test_another_layout(directory, refused, has, wanted):
    """The key layout of a CA that is there cannot be changed."""
    message, _ = refused("--dir", directory(has), "--layout", wanted)
    assert message == f"this server's CA has the key layout {has!r}, not {wanted!r}"


@pytest.mark.parametrize("legacy", ["nonsense", "sha1,rc4", "SHA-1"])
def test_nonsense_for_legacy(tmp_path, refused, legacy):
    """An unknown algorithm makes no CA."""
    message, hint = refused("--dir", tmp_path / "new", "--legacy", legacy)
    assert message.endswith("is no legacy algorithm")
    assert hint == "one of sha1, des3, des, md5, draft-oids"
    assert not (tmp_path / "new").exists()


def test_usage(refused):
    """What the command line does not take."""
    for arguments in (["--port", "70000"], ["--workers", "0"], ["--nonsense"], ["extra"]):
        message, hint = refused(*arguments)
        assert message
        assert hint == "scep serve --help shows the usage"


# --- settings -------------------------------------------------------------------------------------


def test_options_of_the_first_start_are_kept(tmp_path, serve):
    """What the first start was told stands in scep.toml, for the next; but nothing weak."""
    path = tmp_path / "data"
    how = ("--layout", "single", "--workers", "2", "--legacy", "sha1,DES3")
    with Server(path, *how) as first:
        caps = first.ask("/scep?operation=GetCACaps").body
        assert first.stop() == 0
    assert b"SHA-1\n" in caps
    assert b"DES3\n" in caps
    found = settings.load(path)
    assert found.workers == 2
    assert found.endpoint["default"].legacy == frozenset()
    second = serve(path)
    assert b"SHA-1\n" not in second.ask("/scep?operation=GetCACaps").body
    assert second.stop() == 0


def test_the_public_url_of_the_first_start_is_kept(tmp_path, serve):
    """It is an option as host and port are, and certificates name it from the first one on."""
    path, url = tmp_path / "data", "http://scep.example/scep"
    with Server(path, "--public-url", url) as first:
        assert first.stop() == 0
    assert f'\npublic_url = "{url}"\n' in (path / "scep.toml").read_text()
    other = "http://other.example/scep"
    server = serve(path, "--public-url", other)
    assert server.said[0] == f"URL          {other}\n"
    assert server.stop() == 0
    assert f'--public-url {other} wins over public_url = "{url}" in {path}/scep.toml' in server.log
    assert NO_CRL not in server.log
    assert settings.load(path).public_url == url


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_without_a_url_warns_once(directory, serve, workers):
    """Not once for each worker."""
    server = serve(directory(), "--workers", workers)
    wait_until(lambda: workers == "1" or len(server.workers) == 2, "the workers")
    line = server.logged(level="warning")
    assert line["event"].startswith(NO_CRL)
    assert "--public-url" in line["hint"]
    assert server.ask("/healthz").status == 200
    assert server.stop() == 0
    assert server.log.count(NO_CRL) == 1


def test_a_settings_file_of_before_the_first_start(tmp_path, serve):
    """It is left as it is, and the start says what it did not write."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    file = path / "scep.toml"
    file.write_text('workers = 1\npki_url = "http://a.example"\n')
    url = "http://b.example/scep"
    server = serve(path, "--workers", "2", "--host", "127.0.0.1", "--public-url", url)
    assert server.stop() == 0
    assert file.read_text() == 'workers = 1\npki_url = "http://a.example"\n'
    said = server.log.splitlines()
    for_this_start = f"counts for this start only: {file} existed before and is not changed"
    assert said[:3] == [
        f"--workers 2 wins over workers = 1 in {file}",
        f"--port {for_this_start}; to keep it, add at the top of that file: port = 0",
        (
            f"--public-url {for_this_start}; to keep it, add at the top of that file: "
            f'public_url = "{url}"'
        ),
    ]
    assert NO_CRL not in server.log
    second = serve(path)
    assert second.stop() == 0
    # The log is that of the first one, continued.
    assert second.log.count("counts for this start only") == 2


def test_a_ca_of_before_the_first_start(directory, serve):
    """The first start makes the rest, scep.toml with its options too; the second one finds it."""
    made = directory("single")
    path = made.with_name("own")
    path.mkdir(mode=0o700)
    for name in ("ca.pem", "ca-key.pem"):
        shutil.copy(made / name, path / name)
    url = "http://b.example/scep"
    assert serve(path, "--public-url", url).stop() == 0
    text = (path / "scep.toml").read_text()
    assert f'public_url = "{url}"' in text
    (path / "scep.toml").unlink()
    assert serve(path).stop() == 0
    assert not (path / "scep.toml").exists()  # somebody does without it


def test_options_beside_a_ca_and_settings_of_before_the_first_start(directory, serve):
    """The start says what it did not write, whoever made the CA."""
    made = directory("single")
    path = made.with_name("own")
    path.mkdir(mode=0o700)
    for name in ("ca.pem", "ca-key.pem"):
        shutil.copy(made / name, path / name)
    (path / "scep.toml").write_text("port = 0\n")
    server = serve(path, "--public-url", "http://b.example/scep")
    assert server.stop() == 0
    assert "--public-url counts for this start only" in server.log


@pytest.mark.parametrize("name", ["a?b", "a%41", "a#b", "a b;@:é"])
def test_a_directory_whose_name_means_something_in_a_url(made, tmp_path, serve, challenges, name):
    path = tmp_path / "in" / name
    shutil.copytree(made(), path)
    (path / "scep.db").unlink()
    (path / ".database").unlink(missing_ok=True)
    server = serve(path)
    (secret,) = challenges(path)
    assert server.enrol(secret).certificate
    assert server.stop() == 0
    assert (path / "scep.db").stat().st_mode & 0o777 == 0o600
    assert {one.name for one in path.parent.iterdir()} == {name, f"{name}.log"}


@pytest.mark.parametrize("url", ["scep.example", "ftp://scep.example", "http://a b", "http://"])
def test_a_public_url_that_is_none(tmp_path, refused, url):
    message, hint = refused("--dir", tmp_path / "new", "--public-url", url)
    assert message == f"--public-url: {url!r} is no http or https URL"
    assert hint == "write it as devices reach the server, such as http://scep.example.com/scep"
    assert not (tmp_path / "new").exists()


def test_a_public_url_that_no_certificate_can_name_is_not_kept(tmp_path, refused):
    path = tmp_path / "new"
    message, _ = refused("--dir", path, "--public-url", "http://münchen.example/scep")
    assert "is not ASCII" in message
    assert not (path / "scep.toml").exists()


def test_where_a_setting_comes_from(directory, monkeypatch):
    """An option wins over a variable, and that over the file."""
    path = directory()
    text = (path / "scep.toml").read_text()
    (path / "scep.toml").write_text(text.replace("legacy = []", 'legacy = ["md5"]'))

    def legacy(**options):
        return sorted(settings.load(path, **options).endpoint["default"].legacy)

    assert legacy() == ["md5"]
    monkeypatch.setenv("SCEP_ENDPOINT__DEFAULT__LEGACY", '["des3"]')
    monkeypatch.setenv("SCEP_ENDPOINT__DEFAULT__VALIDITY_DAYS", "7")
    assert legacy() == ["des3"]
    assert legacy(endpoint={"default": {"legacy": ["sha1"]}}) == ["sha1"]
    assert legacy(endpoint={"default": {"legacy": []}}) == []
    assert settings.load(path).profile_of("default").validity.days == 7


# --- several workers ------------------------------------------------------------------------------


def test_workers(directory, serve, tmp_path, challenges):
    """Two workers, one CA: both serve, their metrics are one, and SIGTERM ends them all."""
    path = directory()
    (tmp_path / "tmp").mkdir()
    server = serve(path, "--workers", "2", TMPDIR=str(tmp_path / "tmp"))
    wait_until(lambda: len(server.workers) == 2, "the start of both")
    secrets = iter(challenges(path, 40))
    enrolled = 0

    def counted(pid):
        return list((tmp_path / "tmp").glob(f"scep-workers-*/metrics/counter_{pid}.db"))

    def enrol():
        nonlocal enrolled
        reply = server.enrol(next(secrets), transaction_id=f"tx {enrolled}")
        enrolled += 1
        return reply

    def both():
        served = [pid for pid in server.workers if counted(pid)]
        if len(served) == 1:
            # Whoever served stands still, so that the other has to.
            _stop_and(served[0], enrol)
        return served if len(served) == 2 else None

    enrol()
    pids = wait_until(both, "counts of both")
    poll = devices.cert_poll(to=server.ra, transaction_id="tx 0")
    certificates = {server.read(server.post(poll)).certificate for _ in range(8)}
    assert len(certificates) == 1
    # The counts are written after the answers are out.
    labels = 'message_type="PKCS_REQ",operation="PKIOperation",outcome="SUCCESS"'
    line = f'scep_requests_total{{endpoint="default",{labels}}} {float(enrolled)}'
    wait_until(lambda: line in server.ask("/metrics").text, "one sum of both counts")
    assert server.stop() == 0
    assert not any(is_running(pid) for pid in pids)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "Traceback" not in server.log


def _stop_and(pid, action):
    # Who stands still for seconds, as on a busy machine, is replaced by its parent.
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        action()
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_workers_of_a_killed_parent(directory, serve, tmp_path, is_stopped):
    """kill -9 of the parent ends its workers, stopped ones too, so that the port is free again."""
    path = directory()
    server = serve(path, "--workers", "2", "--port", free_port(), TMPDIR=str(tmp_path))
    pids = wait_until(lambda: len(server.workers) == 2 and server.workers, "the start of both")
    assert server.ask("/scep?operation=GetCACaps").status == 200
    if is_stopped:
        os.kill(pids[0], signal.SIGSTOP)
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids), "the end of the workers")
    # The process that forks has the socket as well, and ends after them.
    wait_until(lambda: is_free(server.port), "the port")


def test_the_process_that_forks_is_killed(directory, serve, tmp_path):
    """All end, the port is free, and one line says why; systemd starts the server again."""
    path = directory()
    server = serve(path, "--workers", "2", "--port", free_port(), TMPDIR=str(tmp_path))
    pids = wait_until(lambda: len(server.workers) == 2 and server.workers, "the start of both")
    parent = Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1]
    assert int(parent) != server.process.pid
    os.kill(int(parent), signal.SIGKILL)
    assert server.process.wait(PATIENCE) != 0
    wait_until(lambda: not any(is_running(pid) for pid in pids), "the end of the workers")
    wait_until(lambda: is_free(server.port), "the port")
    assert (
        "error: the process that starts the workers is gone\nhint: somebody killed it" in server.log
    )


def test_a_worker_that_dies(directory, serve, tmp_path):
    """A worker that is killed is replaced."""
    path = directory()
    server = serve(path, "--workers", "2", TMPDIR=str(tmp_path))
    pids = wait_until(lambda: len(server.workers) == 2 and server.workers, "the start of both")
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: len(set(server.workers) - {pids[0]}) == 2, "its replacement")
    assert server.ask("/scep?operation=GetCACaps").status == 200
    assert server.stop() == 0


def test_metrics_at_another_address(directory, serve):
    """With an address of their own, metrics are there and not at the main one."""
    port = free_port()
    server = serve(directory(), SCEP_METRICS=f"127.0.0.1:{port}")
    assert server.ask("/metrics").status == 404
    assert server.ask("/scep?operation=GetCACaps").status == 200
    server.logged(operation="GetCACaps")
    main_port, server.port = server.port, port
    assert 'operation="GetCACaps",outcome="OK"} 1.0' in server.ask("/metrics").text
    server.port = main_port


@pytest.mark.long
def test_a_worker_that_cannot_be_replaced_leaves_the_others_alone(directory, serve):
    """They serve on, and there is another try until one succeeds."""
    path = directory()
    server = serve(path, "--workers", "2")
    first, second = wait_until(lambda: workers_with(server, path / "scep.db", 2), "two workers")
    (path / "challenge.key").chmod(0o644)
    os.kill(first, signal.SIGKILL)
    server.logged(event="a worker cannot start")
    wait_until(
        lambda: server.log.count("a worker cannot start") > 1 or server.process.poll() is not None,
        "another try",
    )
    assert server.ask("/scep?operation=GetCACaps").status == 200
    assert second in server.workers
    (path / "challenge.key").chmod(0o600)
    wait_until(lambda: workers_with(server, path / "scep.db", 2), "another worker")
    assert server.stop() == 0
    assert server.log.splitlines()[-1] == "stopped"


def test_a_worker_that_cannot_start_ends_the_server(directory):
    """A fault that every worker would meet is one line each, not an endless row of restarts."""
    home = directory("ec")
    code = (
        "import pathlib; from scepkit.cli import main; from scepkit.server import run; "
        "check = run.check; "
        f"key = pathlib.Path({str(home / 'ra-key.pem')!r}); "
        "run.check = lambda *how: (check(*how), key.chmod(0o644))[0]; "
        f"main(['serve', '--dir', {str(home)!r}, '--port', '0', '--workers', '2'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=environment(),
    )
    assert done.returncode == 0  # that of the program above; main returned what follows
    assert "a worker cannot start" in done.stderr
    assert "error: the worker processes could not start" in done.stderr
    assert "chmod 600" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_address_for_metrics(directory, capsys, monkeypatch):
    """It is found out before the server says that it is there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SCEP_METRICS", f"127.0.0.1:{taken.getsockname()[1]}")
        assert main(["serve", "--dir", str(directory("ec")), "--port", "0"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "choose another port with the metrics setting" in said.err
