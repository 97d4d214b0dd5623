"""Which bounds apply to connections."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from scepkit.server.bounds import Bounds
from scepkit.server.settings import load


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
