"""Which bounds apply to connections."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack

import pytest
from structlog.testing import capture_logs

from scepkit.server.http.bounds import Bounds
from scepkit.server.settings import load
from server.live import read_answer
from waiting import PATIENCE, wait_until


@pytest.mark.parametrize(("files", "connections", "lines"), [(65536, 4096, 0), (1024, 896, 1)])
def test_connections_fit_under_the_limit_of_files(tmp_path, files, connections, lines):
    with capture_logs() as logged:
        applied = Bounds.of(load(tmp_path), files)
    assert applied.connections == connections
    assert len(logged) == lines


def test_settings_apply(tmp_path):
    (tmp_path / "scep.toml").write_text(
        "max_connections = 99\nmax_connections_per_address = 9\nmax_pipelined = 3\n"
        'request_seconds = 1.5\nresponse_seconds = 2\nproxies = ["192.0.2.0/24"]\n'
    )
    applied = Bounds.of(load(tmp_path), 65536)
    assert (applied.connections, applied.per_address, applied.pipelined) == (99, 9, 3)
    assert (applied.request_seconds, applied.response_seconds) == (1.5, 2.0)
    assert applied.proxies.include("192.0.2.9")
    assert not applied.proxies.include("127.0.0.1")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_address_over_all_workers(directory, serve, workers):
    """What one address may have, it may have of all worker processes together."""
    server = serve(directory(), SCEP_WORKERS=workers, SCEP_MAX_CONNECTIONS_PER_ADDRESS="4")
    with ExitStack() as stack:

        def connect(source):
            address = ("127.0.0.1", server.port)
            connection = socket.create_connection(address, PATIENCE, source_address=(source, 0))
            return stack.enter_context(connection)

        def is_served(connection):
            connection.sendall(b"GET /scep?operation=GetCACaps HTTP/1.1\r\nHost: a\r\n\r\n")
            return read_answer(connection).status == 200

        held = [connect("127.0.0.2") for _ in range(30)]
        wait_until(lambda: len(_open(held)) <= 4, "the end of what is too much")
        elsewhere = [connect(f"127.0.1.{n}") for n in range(1, 6)]
        assert all(map(is_served, elsewhere))
        left = _open(held)
        assert len(left) <= 4
        newest = connect("127.0.0.2")
        # Where another worker has those that wait, the new one is told to come back.
        assert is_served(newest) or workers == "2"
    assert "a bound is reached" in server.log


def _open(connections):
    """Return the connections that were not closed by the other side."""
    ready, _, _ = select.select(connections, [], [], 0)
    return [one for one in connections if one not in ready]
