"""A service that is asked by webhook, on a real socket of 127.0.0.1: it checks who asks.

    with Service(lambda asked: (200, {}, {"allow": True})) as service:
        ...

Nothing here was tried against a live service.
"""

from __future__ import annotations

import base64
import hmac
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = b"shared by the server and the service"
SECRET = base64.b64encode(KEY).decode()
HANG, DROP = object(), object()


def signed(headers, body):
    """Say whether a request is signed, in whichever dialect."""
    if "X-Smallstep-Signature" in headers:
        wanted = hmac.digest(KEY, body, "sha256").hex()
        return hmac.compare_digest(headers["X-Smallstep-Signature"], wanted)
    parts = dict(one.split("=", 1) for one in headers["Scepkit-Signature"].split(","))
    wanted = hmac.digest(KEY, parts["t"].encode() + b"." + body, "sha256").hex()
    return hmac.compare_digest(parts["v1"], wanted)


class Service:
    """A service that runs while the `with` block does.

    Args:
        answer: from what was asked to status, headers and body, `HANG` or `DROP`.
        tls: its certificate and key, as the path of a PEM file.
        clients: the CA of those who may ask, as the path of a PEM file.

    Attributes:
        asked: what it was asked, each with `headers`.
    """

    def __init__(self, answer, tls=None, clients=None):
        self.answer = answer
        self.asked = []
        self._stopping = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            if clients:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(clients)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._http.server_port}/scep"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(service):  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked = json.loads(body)
                service.asked.append(asked | {"headers": dict(self.headers)})
                if not signed(self.headers, body):
                    self._send(401, {}, {"allow": False, "reason": "not signed"})
                    return
                found = service.answer(asked)
                if found is HANG:
                    service._stopping.wait()
                    return
                if found is DROP:
                    self.close_connection = True
                    return
                self._send(*found)

            def _send(self, status, headers, body):
                octets = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(octets)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(octets)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        return Handler
