"""What an operator sees of a running server's faults, and what devices are answered meanwhile."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from threading import Thread
from wsgiref.simple_server import make_server

import pytest

from enrolment import devices
from ports import free_port
from scepkit.server import monitoring
from waiting import PATIENCE, wait_until


@pytest.fixture
def watched(directory, serve, tmp_path):
    """Start a server whose metrics have an address of their own; return it and two questions."""

    def watched(workers=1):
        port = free_port()
        shared = tmp_path / "shared"
        shared.mkdir()
        server = serve(
            directory(),
            SCEP_METRICS=f"127.0.0.1:{port}",
            SCEP_WORKERS=str(workers),
            TMPDIR=str(shared),
        )
        if workers > 1:
            # A worker that starts when the files are gone would end the server.
            wait_until(
                lambda: len([*shared.rglob("health-*.json")]) == workers, "a look of each worker"
            )

        def word():
            return json.loads(server.ask("/healthz").text)["status"]

        def details():
            main_port, server.port = server.port, port
            try:
                return server.ask("/healthz")
            finally:
                server.port = main_port

        return server, word, details

    return watched


def test_no_more_connections_than_there_are_places():
    """Each has a thread, in the process that supervises all others."""
    with ExitStack() as stack:
        server = stack.enter_context(
            make_server(
                *("127.0.0.1", 0, monitoring._application(lambda: ())),
                *(monitoring._server("127.0.0.1"), monitoring._Silent),
            )
        )
        Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)

        def connect():
            return stack.enter_context(socket.create_connection(server.server_address, PATIENCE))

        first, *_ = [connect() for _ in range(monitoring.MOST)]
        assert connect().recv(1) == b""
        first.close()

        def answer():
            one = connect()
            one.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            try:
                return one.recv(12)
            except ConnectionError:
                return b""

        wait_until(lambda: answer() == b"HTTP/1.0 200", "a place that is free again")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_key_file_that_is_gone(watched, challenges, workers):
    """Devices enrol as before; that the server could not be started again is told in time."""
    server, word, details = watched(workers)
    wait_until(lambda: word() == json.loads(details().text)["status"] == "ok", "health")
    assert json.loads(details().text) == {"status": "ok", "states": []}
    key = server.directory / "ca-key.pem"
    key.rename(key.with_suffix(".away"))
    (state,) = wait_until(
        lambda: word() == "degraded" and json.loads(details().text)["states"], "a fault"
    )
    assert state["state"] == "degraded"
    assert state["reason"].startswith("the server could not be started again: ")
    assert "ca-key.pem" in state["reason"]
    assert details().status == server.ask("/healthz").status == 200
    assert server.enrol(challenges_without_key(challenges, server, key)).certificate
    key.with_suffix(".away").rename(key)
    wait_until(lambda: word() == json.loads(details().text)["status"] == "ok", "health")
    assert server.stop() == 0


def challenges_without_key(challenges, server, key):
    """Return a new challenge; making it reads the CA's key."""
    key.write_bytes(key.with_suffix(".away").read_bytes())
    key.chmod(0o600)
    try:
        return challenges(server.directory)[0]
    finally:
        key.unlink()


def test_a_database_that_is_taken_away_and_put_back(watched, challenges):
    """Nothing is answered that would be lost, and the same request succeeds afterwards."""
    server, word, details = watched()
    first, second = challenges(server.directory, 2)
    old = devices.pkcs_req(first, to=server.ra, transaction_id="a", subject="CN=a")
    new = devices.pkcs_req(second, to=server.ra, transaction_id="b", subject="CN=b")
    issued = server.read(server.post(old)).certificate
    path = server.directory / "scep.db"
    path.rename(path.with_suffix(".away"))
    # Also what was answered before: who looks there now would not find it.
    for message in (new, old):
        answer = server.post(message)
        assert (answer.status, answer.body) == (503, b"try again later\n")
    assert server.logged(event="server fault")["hint"].startswith("put the file back")
    wait_until(lambda: word() == "failing", "a fault")
    shown = details()
    assert shown.status == 503
    (state,) = json.loads(shown.text)["states"][-1:]
    assert "scep.db was removed under the running server" in state["reason"]
    assert state["hint"].startswith("put the file back")
    path.with_suffix(".away").rename(path)
    assert server.read(server.post(old)).certificate == issued
    assert server.read(server.post(new)).certificate
    wait_until(lambda: word() == "ok", "health")
    assert json.loads(details().text)["states"] == []
    assert server.stop() == 0
