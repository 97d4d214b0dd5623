"""A receiver of notifications: it checks who sends, and takes each event once.

    python examples/notification_receiver.py SECRET_FILE EVENTS_FILE [PORT]

Every new event becomes one line of EVENTS_FILE. The standard library is enough.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

FRESH = 300  # seconds that the clocks may differ by
MOST = 1 << 20  # octets of an event


def is_signed(header: str, body: bytes, key: bytes, now: float) -> bool:
    """Say whether one of the signatures of an event is ours, and no older than some minutes."""
    parts = [one.partition("=")[::2] for one in header.split(",")]
    times = [value for name, value in parts if name == "t" and value.isdecimal()]
    if len(times) != 1 or abs(now - int(times[0])) > FRESH:
        return False
    wanted = hmac.digest(key, times[0].encode() + b"." + body, "sha256").hex()
    given = [value for name, value in parts if name == "v1" and value.isascii()]
    # While the secret is exchanged, there are two.
    return any(hmac.compare_digest(wanted, value) for value in given)


class Events:
    """The events that have come, in a file: one line each, and none twice.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+", encoding="utf-8")
        self._file.seek(0)
        self._known = {json.loads(line)["id"] for line in self._file}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def take(self, body: bytes) -> bool:
        """Keep an event, unless it is known; say whether it was new."""
        event = json.loads(body)
        if event["id"] in self._known:
            return False
        self._file.write(f"{json.dumps(event)}\n")
        self._file.flush()
        # Only then is it taken: the sender forgets an event that was answered with 2xx.
        os.fsync(self._file.fileno())
        self._known.add(event["id"])
        return True


def receiver(key: bytes, events: Events, port: int = 0) -> HTTPServer:
    """Return an HTTP server on this machine that takes events.

    Args:
        key: of the signatures.
        events: where they are kept.
        port: 0 for a free one.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MOST:
                self.send_error(413)
                return
            body = self.rfile.read(int(length))
            if not is_signed(self.headers.get("Scepkit-Signature", ""), body, key, time.time()):
                self.send_error(401)
                return
            events.take(body)
            self.send_response(204)
            self.end_headers()

    return HTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    secret, path, *port = sys.argv[1:]
    found = base64.b64decode(Path(secret).read_text("ascii").split("\n", 1)[0])
    receiver(found, Events(Path(path)), int(port[0]) if port else 9000).serve_forever()
