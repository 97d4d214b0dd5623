"""`scep admin`: challenges and what was issued, while a server runs on the same directory."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from enrolment import devices
from enrolment.test_challenges import REFUSAL
from scepkit.protocol.certificate import show_serial
from server.live import scep as process

SECRET = re.compile(r"[A-Z2-7]{32}")


def test_a_challenge(live, tmp_path):
    """The real command: the secret alone on stdout, talk on stderr; a running server takes it."""
    done = process("admin", "challenge", "new", "--dir", live.directory)
    assert (done.returncode, done.stderr) == (0, "challenge for 1h\n")
    (secret,) = done.stdout.splitlines()
    assert SECRET.fullmatch(secret)
    assert live.enrol(secret, transaction_id=secret[::-1]).certificate


def test_many_challenges(live, scep):
    """One a line, as many as asked for, each different."""
    arguments = ["--dir", live.directory, "--count", 50, "--expires", "2d"]
    status, out, err = scep("admin", "challenge", "new", *arguments)
    assert (status, err) == (0, "50 challenges for 2d\n")
    secrets = out.splitlines()
    assert len(set(secrets)) == 50
    assert all(SECRET.fullmatch(secret) for secret in secrets)
    assert live.enrol(secrets[-1], transaction_id=secrets[-1][::-1]).certificate


@pytest.mark.rfc("P-58")
def test_a_bound_challenge(live, scep):
    """--subject and --san bind it; anything else is refused and does not burn it."""
    arguments = ["--subject", "cn=dev1, O=Example", "--san", "dev1.example", "--san", "192.0.2.1"]
    status, out, err = scep("admin", "challenge", "new", "--dir", live.directory, *arguments)
    assert (status, err) == (0, "challenge for 1h, for cn=dev1, O=Example only\n")
    secret = out.strip()
    how = {"transaction_id": secret[::-1]}
    assert live.enrol(secret, subject="CN=dev2,O=Example", **how).refusal == REFUSAL
    subject = "O=Example,CN=dev1"
    assert live.enrol(secret, subject=subject, sans=["a.example"], **how).refusal == REFUSAL
    sans = ["ip:192.0.2.1", "dns:DEV1.example"]
    assert live.enrol(secret, subject=subject, sans=sans, **how).certificate


@pytest.mark.rfc("S-7.3-3")
def test_a_challenge_expires(live, scep, challenges):
    """--expires is how long it can be used."""
    _, out, _ = scep("admin", "challenge", "new", "--dir", live.directory, "--expires", "1h30m")
    found = _stored(live, out.strip())
    assert found.expires_at - found.created_at == timedelta(minutes=90)
    past = datetime.now(UTC) - timedelta(hours=1)
    (expired,) = challenges(live.directory, now=past, lifetime=timedelta(minutes=59))
    assert live.enrol(expired, transaction_id=expired[::-1]).refusal == REFUSAL


def _stored(live, secret):
    import hmac

    from scepkit.store import Store

    key = bytes.fromhex((live.directory / "challenge.key").read_text())
    with Store.open(f"sqlite:///{live.directory / 'scep.db'}") as store:
        return store.find_challenge("default", hmac.digest(key, secret.encode(), "sha256"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--expires", "tomorrow"], "'tomorrow' is not a duration"),
        (["--expires", "0h"], "'0h' is not a duration"),
        (["--expires", "-1h"], "'-1h' is not a duration"),
        (["--count", "0"], "--count"),
        (["--subject", "device"], "'device' is not a subject"),
        (["--san", "a.example"], "subject"),
        (["--subject", "CN=a", "--san", "a b"], "'a b' is not a subject alternative name"),
    ],
)
def test_a_challenge_that_cannot_be_made(directory, scep, arguments, words):
    """A mistake is one line and a hint; nothing is on stdout."""
    path = directory()
    status, out, err = scep("admin", "challenge", "new", "--dir", path, *arguments)
    assert (status, out) == (2, "")
    message, hint = err.splitlines()
    assert message.startswith("error: ")
    assert words in message
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("command", [("challenge", "new"), ("list",)])
def test_no_server_there(tmp_path, scep, command):
    """A directory without a server is not made one of."""
    for path in (tmp_path, tmp_path / "missing"):
        status, out, err = scep("admin", *command, "--dir", path)
        assert (status, out) == (2, "")
        assert err.splitlines()[0] == f"error: {path} holds no SCEP server"
    assert list(tmp_path.iterdir()) == []
    # That of a device has a ca.pem, too.
    device = {"ca.pem", "cert.pem", "chain.pem", "enrolment.json", "key.pem"}
    (tmp_path / "device").mkdir()
    for name in device:
        (tmp_path / "device" / name).touch()
    status, out, err = scep("admin", *command, "--dir", tmp_path / "device")
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == f"error: {tmp_path / 'device'} holds no SCEP server"
    assert {path.name for path in (tmp_path / "device").iterdir()} == device
    (tmp_path / "file").touch()
    status, out, err = scep("admin", *command, "--dir", tmp_path / "file")
    assert (status, out) == (2, "")
    assert err == f"error: {tmp_path / 'file'} is not a directory\nhint: choose another --dir\n"


def test_list(directory, scep, challenges, serve):
    """What was issued, newest first: a table for people, JSON lines for programs."""
    path = directory()
    assert scep("admin", "list", "--dir", path) == (0, "", "no certificate was issued yet\n")
    assert scep("admin", "list", "--json", "--dir", path) == (0, "", "")
    server = serve(path)
    subjects = ["CN=one", "CN=two,O=Example", "CN=evil"]
    replies = [
        server.enrol(secret, subject=subject, transaction_id=subject[:6])
        for secret, subject in zip(challenges(path, 3), subjects, strict=True)
    ]
    # On a running server, by the real command.
    done = process("admin", "list", "--json", "--dir", path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["serial"] for row in rows] == [
        show_serial(r.x509.serial_number) for r in replies[::-1]
    ]
    for row, reply in zip(rows, replies[::-1], strict=True):
        columns = {"serial", "endpoint", "subject", "issued", "not_after", "status"}
        assert set(row) == columns | {"names", "issuer_key", "cursor"}
        assert row["endpoint"] == "default"
        assert row["subject"] == reply.x509.subject.rfc4514_string()
        assert datetime.fromisoformat(row["not_after"]) == reply.x509.not_valid_after_utc
        assert row["status"] == "valid"
    # Nothing like it is issued any more, but it may be in a database of before.
    with closing(sqlite3.connect(path / "scep.db")) as connection, connection:
        for table in ("certificates", "requests"):
            connection.execute(
                f"UPDATE {table} SET subject = ? WHERE subject = 'CN=evil'", ("CN=evil \u202e",)
            )
    status, out, err = scep("admin", "list", "--dir", path, "--limit", 2)
    heading, first, second = out.splitlines()
    assert (status, err) == (0, f"go on with --after {rows[1]['cursor']}\n")
    assert heading.split() == ["SERIAL", "SUBJECT", "ISSUED", "NOT_AFTER", "STATUS"]
    assert "\u202e" not in first
    assert "evil \\u202e" in first
    assert second.split()[1] == "CN=two,O=Example"


def test_the_key_of_the_challenges_is_kept(directory, scep):
    """Challenges of before a restart are good after it; none is shown a second time."""
    path = directory()
    _, out, _ = scep("admin", "challenge", "new", "--dir", path)
    secret = out.strip().encode()
    assert not any(secret in file.read_bytes() for file in path.iterdir())


@pytest.mark.rfc("S-2.4-2", "S-7.3-2")
def test_spent_once(live, challenge):
    """A challenge is good for one certificate, over the wire too."""
    assert live.enrol(challenge, transaction_id=challenge[::-1]).certificate
    other = live.enrol(challenge, transaction_id="other", subject="CN=other")
    assert other.refusal == REFUSAL
    again = live.enrol(challenge, transaction_id=challenge[::-1])
    assert again.certificate
    assert devices.NAMES
