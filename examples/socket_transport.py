"""Carry SCEP over a plain socket: python socket_transport.py URL."""

import socket
import sys
from http.client import HTTPException
from http.client import HTTPResponse as Answer
from urllib.parse import urlsplit

from scepkit import Client, HTTPRequest, HTTPResponse, TransportError

LONGEST = 1_000_000


class Socket:
    """A connection for each request, HTTP/1.0, at most ten seconds for each wait."""

    def send(self, url: str, request: HTTPRequest) -> HTTPResponse:
        parts = urlsplit(url)
        lines = (
            f"{request.method} {parts.path}?{request.query.decode('ascii')} HTTP/1.0",
            f"Host: {parts.netloc}",
            f"Content-Type: {request.content_type or 'text/plain'}",
            f"Content-Length: {len(request.body)}",
        )
        head = "\r\n".join((*lines, "", "")).encode("ascii")
        try:
            address = (parts.hostname or "", parts.port or 80)
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(head + request.body)
                answer = Answer(connection)
                answer.begin()
                body = answer.read(LONGEST)
        except (OSError, HTTPException) as error:
            raise TransportError(f"no answer from {parts.netloc}: {error}") from error
        kind = answer.headers.get_content_type()
        return HTTPResponse(answer.status, body, kind, dict(answer.headers))


client = Client(sys.argv[1], transport=Socket())
print(*sorted(client.get_capabilities()))
