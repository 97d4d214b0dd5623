"""An HTTP relay between devices and a server, on which all kinds of things go wrong."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Relay:
    """Passes requests on to a server.

    Attributes:
        fate: of each request from now on: well, busy, slow, away; for the answers to a
            PKIOperation lost and another's.
        operations: how many of those were passed on.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.fate = "well"
        self.operations = 0
        self.before: bytes = b""
        self._ended = threading.Event()
        handler = type("Handler", (_Handler,), {"relay": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/scep"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method, path, body, headers):
        """Return status, media type and body; None to break the connection off."""
        if self.fate == "away":
            return None
        if self.fate == "slow":
            self._ended.wait(60)
            return None
        if self.fate == "busy":
            return 503, "text/plain", b""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        kind = {"Content-Type": headers.get("Content-Type", "")}
        connection.request(method, path, body, kind)
        response = connection.getresponse()
        found = response.status, response.headers.get("content-type", ""), response.read()
        connection.close()
        if method != "POST" or "PKIOperation" not in path:
            return found
        self.operations += 1
        if self.fate == "lost":
            return None
        before, self.before = self.before, found[2]
        return (*found[:2], before) if self.fate == "another's" else found


class _Handler(BaseHTTPRequestHandler):
    relay: Relay

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = self.relay.answer(self.command, self.path, body, self.headers)
        if found is None:
            self.close_connection = True
            return
        status, kind, content = found
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer

    def log_message(self, *_words):
        pass
