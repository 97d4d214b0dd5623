"""The carrier of requests, and the driver that runs a flow of the protocol over it.

The protocol says what is asked and answered; a transport of your own may go through whatever your
program already talks HTTP with.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from scepkit.errors import TransportError
from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse
from scepkit.protocol.scep.transaction import Flow, Wait


class Transport(Protocol):
    """Carries one HTTP request to a server and its answer back."""

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        """Send a request.

        Args:
            url: the server's, without the request's query.
            request: what to send; its own `url` has been looked at already.

        Returns:
            The answer, whatever its status.

        Raises:
            TransportError: no answer came that could be used.
        """


T = TypeVar("T")

Pause: TypeAlias = Callable[[Wait], None]


def sleep(wait: Wait) -> None:
    """Wait as long as a flow asks, and show nothing."""
    time.sleep(wait.seconds)


def run_flow(flow: Flow[T], transport: Transport, url: str, pause: Pause = sleep) -> T:
    """Run a flow to its end.

    Args:
        flow: what to do.
        transport: how to reach the server.
        url: where the server is, for the requests that name no other place.
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
                response = transport.send(step.url or url, step)
            except TransportError as error:
                # The flow knows whether that is worth another attempt.
                step = flow.throw(error)
            else:
                step = flow.send(response)
    except StopIteration as stop:
        result: T = stop.value
        return result
