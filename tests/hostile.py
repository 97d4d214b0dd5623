"""A server that does as it likes with its connections, on a real socket of 127.0.0.1.

    with Hostile(drip) as server:
        HTTPTransport(...).send(server.url, ...)

What it does with a connection is a function of the connection and of `pause`, which waits and tells
whether to go on. It runs in a thread, and ends when the peer hangs up or the `with` block does.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading


class Hostile:
    """A server that runs while the `with` block does.

    Args:
        behave: what it does with a connection.
        tls: certificate chain and key for HTTPS, as the path of a PEM file.
    """

    def __init__(self, behave, *, tls=None):
        self._behave = behave
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls)
        self.port = self._listener.getsockname()[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/scep"
        self._open = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *error):
        self._stopping.set()
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        # The first thread makes no more of them from here on.
        self._threads[0].join()
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()

    def pause(self, seconds):
        """Wait, and tell whether the server still runs."""
        return not self._stopping.wait(seconds)

    def _accept(self):
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._talk, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection):
        # What goes wrong is the client's doing: it has hung up.
        with contextlib.suppress(OSError), connection:
            if self._context is None:
                self._behave(connection, self.pause)
                return
            with self._context.wrap_socket(connection, server_side=True) as secured:
                self._open.append(secured)
                self._behave(secured, self.pause)


def read_head(connection):
    """Read a request as far as its head goes."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionResetError
        read += piece
    return read
