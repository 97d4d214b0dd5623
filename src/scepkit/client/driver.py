"""The sync driver: runs a flow of the protocol over a transport."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from scepkit.client.transport import Transport
from scepkit.errors import TransportError
from scepkit.protocol.scep.transaction import Flow, Wait

T = TypeVar("T")

Pause: TypeAlias = Callable[[Wait], None]


def sleep(wait: Wait) -> None:
    """Wait as long as a flow asks, and show nothing."""
    time.sleep(wait.seconds)


def run(flow: Flow[T], transport: Transport, url: str, pause: Pause = sleep) -> T:
    """Run a flow to its end.

    Args:
        flow: what to do.
        transport: how to reach the server.
        url: where the server is.
        pause: called for every wait; returns when the time is over. The place for a progress
            display, and for a program's own way to sleep or to give up (by raising).

    Returns:
        What the flow returns.

    Raises:
        ScepError: what the flow raises.
    """
    try:
        step = next(flow)
        while True:
            if isinstance(step, Wait):
                pause(step)
                step = flow.send(None)
                continue
            try:
                response = transport.send(url, step)
            except TransportError as error:
                # The flow knows whether that is worth another attempt.
                step = flow.throw(error)
            else:
                step = flow.send(response)
    except StopIteration as stop:
        result: T = stop.value
        return result
