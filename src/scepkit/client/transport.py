"""The carrier of requests: anything with this one method.

The protocol says what is asked and answered; a transport of your own may go through whatever your
program already talks HTTP with.
"""

from __future__ import annotations

from typing import Protocol

from scepkit.protocol.scep.http import HTTPRequest, HTTPResponse


class Transport(Protocol):
    """Carries one HTTP request to a server and its answer back."""

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        """Send a request.

        Args:
            url: the server's, without the request's query.
            request: what to send.

        Returns:
            The answer, whatever its status.

        Raises:
            TransportError: no answer came that could be used.
        """
