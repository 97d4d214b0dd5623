"""kill -9 and a full disk, with devices asking all the while: nothing that was answered is lost."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509

from enrolment import devices
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.scep.messages import Success
from server.live import scep_here
from waiting import PATIENCE, wait_until

THREADS, EACH = 6, 30


def listed(directory):
    done = scep_here("admin", "list", "--json", "--dir", directory)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_kill_9_under_load(directory, serve, challenges):
    """Every certificate that was received is stored; every challenge without an answer is good."""
    path = directory()
    server = serve(path)
    secrets = challenges(path, THREADS * EACH)
    messages = {
        secret: devices.pkcs_req(
            secret, to=server.ra, transaction_id=f"tx-{number}", subject=f"CN=dev-{number}"
        )
        for number, secret in enumerate(secrets)
    }
    received, lock = {}, threading.Lock()
    enough, killed = threading.Event(), threading.Event()

    def device(mine):
        for secret in mine:
            # The kill comes before all are through, however long it takes to come.
            if len(received) >= len(secrets) // 2:
                assert killed.wait(PATIENCE)
            try:
                answer = server.post(messages[secret])
            except (OSError, http.client.HTTPException):
                return
            with lock:
                received[secret] = server.read(answer).certificate
                if len(received) >= len(secrets) // 4:
                    enough.set()

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(device, secrets[at::THREADS]) for at in range(THREADS)]
        assert enough.wait(PATIENCE)
        server.process.kill()
        killed.set()
        for one in running:
            one.result(PATIENCE)
    server.process.wait()
    assert len(secrets) // 4 <= len(received) < len(secrets)
    # What was answered is there, before anybody starts the server again.
    serials = {row["serial"] for row in listed(path)}
    serial_of = {
        secret: show_serial(x509.load_der_x509_certificate(certificate).serial_number)
        for secret, certificate in received.items()
    }
    assert set(serial_of.values()) <= serials
    # Everybody asks again; nobody is refused, and nobody gets a second certificate.
    again = serve(path)
    assert again.fingerprint == server.fingerprint
    with ThreadPoolExecutor(THREADS) as pool:
        answers = dict(zip(secrets, pool.map(again.post, messages.values()), strict=True))
    replies = {secret: again.read(answer) for secret, answer in answers.items()}
    assert all(isinstance(reply.rep, Success) for reply in replies.values())
    assert all(replies[secret].certificate == der for secret, der in received.items())
    rows = listed(path)
    assert len(rows) == len(secrets)
    assert serials <= {row["serial"] for row in rows}
    assert {row["subject"] for row in rows} == {f"CN=dev-{n}" for n in range(len(secrets))}
    assert again.stop() == 0


def test_the_process_that_commits_is_killed_under_load(directory, serve, challenges):
    """Every certificate that was received is stored; who got none asks again, and gets one."""
    path = directory()
    server = serve(path, "--workers", "2")
    first = wait_until(lambda: len(server.workers) == 2 and server.committer, "the processes")
    secrets = challenges(path, THREADS * EACH)
    messages = {
        secret: devices.pkcs_req(secret, to=server.ra, transaction_id=f"tx-{number}")
        for number, secret in enumerate(secrets)
    }
    received, refused, enough = {}, [], threading.Event()

    def device(mine):
        for secret in mine:
            while (answer := server.post(messages[secret])).status == 503:
                refused.append(secret)
            received[secret] = server.read(answer).certificate
            if len(received) >= len(secrets) // 4:
                enough.set()

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(device, secrets[at::THREADS]) for at in range(THREADS)]
        for _ in range(2):
            assert enough.wait(PATIENCE)
            os.kill(first, signal.SIGKILL)
            gone = first
            first = wait_until(
                lambda gone=gone: server.committer not in (None, gone) and server.committer,
                "the next one",
            )
        for one in running:
            one.result(PATIENCE)
    line = server.logged(event="the process that commits ended and is replaced")
    assert line["status"] == -signal.SIGKILL
    # Nobody has a second certificate, and what was received is what is stored.
    serials = {row["serial"] for row in listed(path)}
    got = {
        show_serial(x509.load_der_x509_certificate(certificate).serial_number)
        for certificate in received.values()
    }
    assert serials == got
    assert len(got) == len(secrets)
    assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.rfc("P-78")
def test_a_full_disk(directory, serve, challenges):
    """While nothing can be written: 503 and a /healthz that says so; afterwards all is well."""
    path = directory()
    server = serve(path)
    first, second = challenges(path, 2)
    assert server.enrol(first).certificate
    message = devices.pkcs_req(second, to=server.ra, transaction_id="b")
    size = (path / "scep.db-wal").stat().st_size
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, hard))
    answer = server.post(message)
    assert (answer.status, answer.body) == (503, b"try again later\n")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["cache-control"] == "no-store"
    # What needs no writing is answered all the same.
    assert server.read(server.post(devices.cert_poll(to=server.ra))).certificate
    assert server.logged(outcome="HTTP 503")["reason"].startswith("cannot store the certificate")
    ill = wait_until(lambda: (a := server.ask("/healthz")).status == 503 and a, "a fault")
    assert ill.text == '{"status":"failing"}'
    line = server.logged(event="health", status="failing")
    assert line["reason"].startswith("cannot use the database")
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert len(listed(path)) == 1
    wait_until(lambda: server.ask("/healthz").status == 200, "health")
    server.logged(event="health", status="ok")
    assert server.read(server.post(message)).certificate
    assert server.stop() == 0


def test_a_database_without_its_tables(directory, serve, challenges):
    """/healthz tells a fault by 503, and the server lives on."""
    import sqlite3
    from contextlib import closing

    path = directory()
    server = serve(path)
    assert server.ask("/healthz").text == '{"status":"ok"}'

    def rename(one, other):
        with closing(sqlite3.connect(path / "scep.db")) as connection, connection:
            connection.execute(f"ALTER TABLE {one} RENAME TO {other}")

    message = devices.pkcs_req(challenges(path)[0], to=server.ra)
    rename("alembic_version", "gone")
    rename("requests", "lost")
    # An answer stands for a second.
    ill = wait_until(lambda: (a := server.ask("/healthz")).status == 503 and a, "a fault")
    assert ill.text == '{"status":"failing"}'
    assert server.post(message).status == 503
    rename("gone", "alembic_version")
    rename("lost", "requests")
    wait_until(lambda: server.ask("/healthz").status == 200, "health")
    assert server.read(server.post(message)).certificate
