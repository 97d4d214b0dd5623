"""The log of a real server: JSON, one line each, nothing secret, nothing that a peer forged."""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import io
import json
import os
import pty
import re
import select
import subprocess
from urllib.parse import quote

import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st

import forge
from enrolment import devices
from ocsp import asking
from scepkit.errors import Hint
from scepkit.server import log
from scepkit.server.log import LossyStream
from server.live import PKI_OPERATION, SCEP, environment
from waiting import PATIENCE, wait_until

FORGED = '\n{"event": "scep", "outcome": "SUCCESS"}\r\x1b[2J\u2028\u202e\x9b31m'


@pytest.mark.rfc("S-2.4-7", "P-59")
def test_json_lines(directory, serve, challenges):
    """Whatever peers send, every line is one JSON object, and no challenge is in any."""
    path = directory()
    server = serve(path)
    good, bound, unused = challenges(path, 3, label="order 17")
    ra = server.ra
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a\u202eb")])
    ids = forge.tlv(0x0C, FORGED.encode())
    message = devices.pkcs_req(good, to=ra, transaction_id="log")
    (other,) = challenges(path, subject="CN=other")
    encoded = quote(base64.b64encode(devices.pkcs_req("guess-8F2M-Kern", to=ra)), safe="")
    for one in (
        message,
        message,
        devices.pkcs_req(good, to=ra, transaction_id="again"),
        devices.pkcs_req(other, to=ra, transaction_id="bound"),
        devices.pkcs_req(bound, to=ra, transaction_id="odd", subject=subject),
        forge.request(content=b"", scep={"transaction_id": ids}),
        devices.cert_poll(to=ra, transaction_id="log"),
        unused.encode(),
    ):
        server.post(one)
    server.ask(f"{PKI_OPERATION}&message={encoded}")
    server.ask(f"/scep?operation={unused}")
    server.raw(f"GET /{unused}\x01 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    issued = server.logged(transaction_id="log")
    server.logged(outcome="HTTP 400", reason="unknown operation")
    assert server.stop() == 0
    text = server.log
    for secret in (good, bound, unused, other, "guess-8F2M-Kern"):
        assert secret not in text
    logged = text.splitlines()[text.splitlines().index("stopped") - len(server.lines) : -1]
    assert [json.loads(line) for line in logged] == server.lines
    assert all(set(line) >= {"event", "level", "timestamp"} for line in server.lines)
    assert {"peer": "127.0.0.1", "outcome": "SUCCESS", "subject": "CN=device"}.items() <= (
        issued.items()
    )
    assert issued["ms"] > 0
    assert (issued["challenge_id"], issued["challenge_label"]) == (1, "order 17")
    reasons = {line.get("transaction_id"): line.get("reason") for line in server.lines}
    assert "was spent at" in reasons["again"]
    assert "is for the subject CN=other" in reasons["bound"]
    # Escaped twice over: once so that it is one word for people, once as JSON.
    (forged,) = [line for line in server.lines if "\\x1b" in line.get("transaction_id", "")]
    assert forged["outcome"] == "FAILURE"
    assert forged["transaction_id"].startswith('\\n{"event"')
    assert server.logged(transaction_id="odd")["subject"] == "CN=a\\E2\\80\\AEb"
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert len([line for line in server.lines if line.get("transaction_id") == "log"]) == 3


def test_text(directory, serve):
    """The form for people has the same in it, and is one line too."""
    server = serve(directory(), SCEP_LOG="text")
    message = forge.request(content=b"", scep={"transaction_id": forge.tlv(0x0C, FORGED.encode())})
    assert server.post(message).status == 200
    assert server.stop() == 0
    (line,) = [line for line in server.log.splitlines() if "transaction_id" in line]
    assert "outcome=FAILURE" in line
    assert "peer=127.0.0.1" in line
    assert "\x1b" not in server.log
    assert all(character.isprintable() for character in server.log.replace("\n", ""))


def test_a_bug_as_text(directory, tmp_path):
    """A traceback in the form for people comes whole, and without a warning of the library's."""
    code = (
        "import sys, structlog\n"
        "from scepkit.server import log\n"
        "log.configure('text')\n"
        "secret = 'hunter2' * 3\n"
        "try:\n    1 / 0\n"
        "except ZeroDivisionError:\n    structlog.get_logger().exception('bug')\n"
    )
    done = subprocess.run(
        [SCEP[0], "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "hunter2hunter2" not in done.stderr
    assert "Warning" not in done.stderr


def test_on_a_terminal(directory, serve):
    """On a terminal the log is for people, unless told otherwise."""
    master, slave = pty.openpty()
    try:
        server = serve(directory(), terminal=slave, TERM="dumb")
        assert server.ask("/scep?operation=nonsense").status == 400
        seen = b""
        while b"unknown operation" not in seen:
            assert select.select([master], [], [], PATIENCE)[0], seen
            seen += os.read(master, 4096)
        assert server.stop() == 0
    finally:
        os.close(slave)
        os.close(master)
    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", seen)
    assert b"outcome='HTTP 400'" in plain


# --- a log that cannot be written -----------------------------------------------------------------


@contextlib.contextmanager
def full_disk():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextlib.contextmanager
def closed_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("stderr", [full_disk, closed_pipe])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_log_that_cannot_be_written_changes_no_answer(
    directory, serve, challenges, scep, tmp_path, stderr, workers
):
    """From the start on: SCEP, CMP and OCSP answer as ever, and what is lost is counted."""
    path, out = directory(), tmp_path / "dev1"
    with stderr() as descriptor:
        server = serve(path, terminal=descriptor, SCEP_WORKERS=str(workers))
        status, _, err = scep(
            *("enroll", server.url, "--subject", "CN=dev1", "--out", out, "--key", "ec:p256"),
            *("--fingerprint", server.fingerprint, "--challenge", challenges(path)[0]),
        )
        assert status == 0, err
        status, _, err = scep("revoke", out, "--reason", "keyCompromise")
        assert status == 0, err
        ca, certificate = (
            x509.load_pem_x509_certificate(file.read_bytes())
            for file in (path / "ca.pem", out / "cert.pem")
        )
        answer = server.ask("/ocsp/default", "POST", asking.library(certificate, ca))
        assert answer.status == 200
        assert asking.verified(answer.body, ca).certificate_status.name == "REVOKED"
        health = wait_until(
            lambda: "degraded" in (a := server.ask("/healthz")).text and a, "a lost log"
        )
        assert (health.status, health.text) == (200, '{"status":"degraded"}')
        lost = re.search(
            r"^scep_log_lines_lost_total (\S+)$", server.ask("/metrics").text, re.MULTILINE
        )
        # GetCACaps, GetCACert, PKIOperation, CMP and OCSP.
        assert float(lost[1]) >= 5
        assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_without_a_stderr(directory, serve, workers):
    """A log that nobody wants is not lost, and never gets into another file."""
    path = directory()
    server = serve(path, terminal=-1, SCEP_WORKERS=str(workers))
    assert server.ask("/scep?operation=nonsense").status == 400
    assert server.ask("/healthz").text == '{"status":"ok"}'
    assert server.stop() == 0


def test_a_log_that_can_be_written_again():
    """What is lost is lost, and later lines are written."""

    class Disk(io.StringIO):
        is_full = False

        def flush(self):
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")

    lost, disk = [], Disk()
    lines = LossyStream(disk, lambda: lost.append(1))
    for disk.is_full in (False, True, True, False):
        assert lines.write("a line\n") == len("a line\n")
        assert lines.is_failing == disk.is_full
    assert len(lost) == 2
    disk.close()
    lines.write("a line\n")
    assert (lines.is_failing, len(lost)) == (True, 3)


def test_a_reader_that_stops_reading():
    """Nobody waits for it: lines are kept, what is too much is lost, and it gets them in order."""
    reading, writing = os.pipe()
    lost, count = [], 4 * 1024 * 1024 // 100
    written = [f"{number:099}\n" for number in range(count)]
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb", 0) as reader:
        lines = LossyStream(stream, lambda: lost.append(1))
        for line in written:
            lines.write(line)
        assert lines.is_failing
        kept = written[: count - len(lost)]
        assert 1024 * 1024 < 100 * len(kept) < 2 * 1024 * 1024
        received = reader.read(65536)
        lines.write("after\n")
        assert not lines.is_failing
        os.set_blocking(reader.fileno(), False)
        while more := reader.read():
            received += more
            lines.flush()
    assert received.decode() == "".join(kept) + "after\n"


def test_a_line_that_is_too_long_to_be_kept():
    """None of it is written: whatever came next would look like a part of it."""
    reading, writing = os.pipe()
    lost = []
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb", 0) as reader:
        lines = LossyStream(stream, lambda: lost.append(1))
        lines.write("before\n")
        lines.write(f"{'x' * 2 * 1024 * 1024}\n")
        assert (lines.is_failing, len(lost)) == (True, 1)
        lines.write("after\n")
        assert not lines.is_failing
        assert reader.read(2 * 1024 * 1024) == b"before\nafter\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_log_that_nobody_reads_holds_nothing_up(directory, serve, workers):
    """The pipe is full, the server answers, and what it said meanwhile is there in the end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    try:
        server = serve(directory(), terminal=writing, SCEP_WORKERS=str(workers))
        for _ in range(60):
            assert server.ask("/scep?operation=nonsense").status == 400
        assert server.ask("/healthz").text == '{"status":"ok"}'
        with os.fdopen(os.dup(reading), "rb", 0) as reader:
            answered = 0
            while answered < 60:
                answered += reader.read(4096).count(b"unknown operation")
                assert server.ask("/scep?operation=GetCACaps").status == 200
        assert server.stop() == 0
    finally:
        os.close(reading)
        os.close(writing)


def test_a_hint_is_text_like_any_other():
    line = log._complete(None, "error", {"event": "x", "hint": Hint.KEY_PROTECTION})
    assert repr(line["hint"]) == repr(str(Hint.KEY_PROTECTION))


@given(
    st.dictionaries(
        st.text(max_size=5), st.text() | st.sampled_from(Hint) | st.integers() | st.none()
    )
)
@example({"reason": "\x7f"})
@example({"reason": 'a "b" \\ c', "subject": "CN=ä\x1b"})
def test_json_escapes_what_text_does(fields):
    """A value with a control character, or one in another alphabet, is written the same way."""
    escaped = log._complete(None, "info", dict(fields))
    line = json.loads(log._as_json(None, "info", log._stamp(None, "info", dict(fields))))
    assert escaped.pop("timestamp")[:10] == line.pop("timestamp")[:10]
    assert line == escaped
