"""Ports for programs that cannot be told to take any free one and say which."""

from __future__ import annotations

import random
import socket

# Below the range out of which systems choose when they are asked for any port, so that nothing
# else on this machine is given it before the program has it: not another worker's server either.
_PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def is_free(port: int) -> bool:
    """Say whether a server could listen on a port of 127.0.0.1."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
