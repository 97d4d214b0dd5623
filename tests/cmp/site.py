"""A CMP server on a real socket of 127.0.0.1 (RFC 9811)."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from scepkit.protocol import cmp


class Site:
    """A server that runs while the `with` block does.

    Args:
        responder: see `cmp.world`.
        change: changes an answer on its way; given the answer, it returns another.
        status: the HTTP status of all answers.
        content_type: their media type.
    """

    def __init__(self, responder, change=bytes, status=200, content_type=cmp.MEDIA_TYPE):
        self.responder, self.change = responder, change
        self.status, self.content_type = status, content_type
        self.received, self.asked = [], []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self):
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                site.received.append(body)
                site.asked.append((self.requestline, self.headers["content-type"]))
                answer = site.change(site.responder.answer(body))
                self.send_response(site.status)
                self.send_header("Content-Type", site.content_type)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        return Handler
