"""The bounds of one exchange with a server: the connections on which it ends in time.

A time-out of a socket is for one wait: it begins anew with each octet that comes, so that a server
which sends an octet now and then, or one `100 Continue` after the other, holds a client for ever.
Here every wait is given what is left of the exchange's time: connecting to each address of a host,
TLS and a proxy's tunnel, sending, the answer's head and its body. What comes before the body is
bounded in octets as well.

One wait cannot be bounded: looking up the host's name is the system's, and has its own limits.

`_new_conn` and `_dns_host` of urllib3 are not its public interface (its own SOCKS support replaces
the former as well); so its next major version is excluded, and a test tells if it is not used.
All else is: `ConnectionCls`, `pool_classes_by_scheme`, and `SSLContext.sslsocket_class` of ssl.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeAlias

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from scepkit.client import http_policy
from scepkit.client.http_policy import MAX_HEAD

# Seconds. A socket takes no more than the system's time_t.
_LONGEST = 1e8

_Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


class ExchangeBounds:
    """The bounds of an exchange: a request and its answer, redirects included.

    Args:
        timeout: seconds for all of it.
    """

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout
        self._head: int | None = None

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, _LONGEST)

    def head(
        self, manager: urllib3.PoolManager, method: str, url: str, **how: Any
    ) -> urllib3.BaseHTTPResponse:
        """Send a request, and read the answer up to its body; redirects are answers.

        Args:
            manager: as `bound` returns one.
            method: of the request.
            url: where it goes.
            how: its body and headers.
        """
        self._head = MAX_HEAD
        response = manager.request(
            method,
            url,
            timeout=self.left(),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            **how,
        )
        self._head = None
        return response

    def count(self, octets: int) -> None:
        """Count received octets.

        Raises:
            TransportError: it is too much for what comes before the body.
        """
        if self._head is None:
            return
        self._head -= octets
        if self._head < 0:
            raise http_policy.head_too_long()


# Connections outlive an exchange, and urllib3 hands nothing through to them: each one asks for the
# exchange of its own thread.
_current: ContextVar[ExchangeBounds | None] = ContextVar("bounds", default=None)


@contextmanager
def begun(timeout: float) -> Iterator[ExchangeBounds]:
    """Begin an exchange, whose bounds the connections that are used inside of the block keep.

    Args:
        timeout: seconds for all of it.
    """
    bounds = ExchangeBounds(timeout)
    token = _current.set(bounds)
    try:
        yield bounds
    finally:
        _current.reset(token)


def bound_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let the TLS connections of a context obey the exchange, and return it."""
    context.sslsocket_class = _TLSSocket
    return context


def bound(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Let the connections of a manager obey the exchange, and return it."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    return manager


class _Socket(socket.socket):
    """A socket each of whose waits ends with the exchange."""

    def recv(self, *args: Any, **how: Any) -> bytes:
        _set_time(self)
        return _counted(super().recv(*args, **how))

    def recv_into(self, *args: Any, **how: Any) -> int:
        _set_time(self)
        octets = super().recv_into(*args, **how)
        _count(octets)
        return octets

    def send(self, *args: Any, **how: Any) -> int:
        _set_time(self)
        return super().send(*args, **how)

    def sendall(self, *args: Any, **how: Any) -> None:
        _set_time(self)
        super().sendall(*args, **how)


class _TLSSocket(_Socket, ssl.SSLSocket):
    """The same with TLS on it."""

    def do_handshake(self, *args: Any, **how: Any) -> None:
        _set_time(self)
        super().do_handshake(*args, **how)


def _set_time(sock: socket.socket) -> None:
    bounds = _current.get()
    if bounds is not None:
        sock.settimeout(bounds.left())


def _count(octets: int) -> None:
    bounds = _current.get()
    if bounds is not None:
        bounds.count(octets)


def _counted(data: bytes) -> bytes:
    _count(len(data))
    return data


class _Lines(io.BufferedReader):
    """The octets of a connection, and the last line of them that was read."""

    last = b""

    def readline(self, *args: Any) -> bytes:
        self.last = super().readline(*args)
        return self.last


class _Response(http.client.HTTPResponse):
    """An answer; http.client takes the end of the connection for the end of its head."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._lines = self.fp = _Lines(self.fp.detach())

    def begin(self) -> None:
        super().begin()
        if not self._lines.last:
            raise http.client.RemoteDisconnected("the connection ended within the answer's head")


class _Connection(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        try:
            # Not `host`: the dot at a name's end, which keeps the search list out, is only here.
            name = self._dns_host.strip("[]")
            found = socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
            return _connect(found, self.socket_options or ())
        except (socket.gaierror, UnicodeError) as error:
            # The latter: no name can be like that.
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "timed out") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def _connect(found: Sequence[_Address], options: Sequence[tuple[Any, ...]]) -> socket.socket:
    """Connect to the first address that answers.

    Each gets its share of the time that is left, so that a dead one does not use up the others'.

    Raises:
        OSError: none does; this is what was wrong with the last.
    """
    failure = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        try:
            return _attempt(_Socket(family, kind, protocol), address, len(found) - number, options)
        except OSError as error:
            failure = error
    raise failure


def _attempt(
    sock: _Socket, address: Any, share: int, options: Sequence[tuple[Any, ...]]
) -> socket.socket:
    try:
        for option in options:
            sock.setsockopt(*option)
        bounds = _current.get()
        sock.settimeout(bounds.left() / share if bounds is not None else None)
        sock.connect(address)
    except BaseException:
        with suppress(OSError):
            sock.close()
        raise
    return sock
