"""Messages for faults on the way to a server: one line, and a hint what to look at."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from urllib3 import exceptions

from scepkit.errors import Hint, TransportError


def explain(
    error: Exception, url: str, timeout: float, *, has_begun: bool = False
) -> TransportError:
    """Return the error to raise for one of urllib3's.

    Args:
        error: what urllib3 raised.
        url: what was asked for; only its host is named.
        timeout: seconds, for the whole exchange.
        has_begun: whether the head of the answer was here already.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    match error:
        case exceptions.ProxyError():
            return TransportError(
                f"the proxy on the way to {host} failed: {_innermost(error)}",
                hint=Hint.PROXY,
            )
        case exceptions.NameResolutionError():
            return TransportError(
                f"the host name {parts.hostname} is not known",
                hint="check the URL, and the DNS of this machine",
            )
        case exceptions.NewConnectionError():
            return _not_connected(error, host)
        case _ if _is_timeout(error):
            return _too_slow(host, timeout, has_begun=has_begun)
        case exceptions.SSLError():
            return _tls(error, host)
    return TransportError(
        f"the connection to {host} broke off: {_innermost(error)}",
        hint="check the URL: does a web server answer there?",
    )


def _is_timeout(error: BaseException) -> bool:
    # One with a number is the operating system's, which has given the connection up.
    inner = _source(error)
    is_ours = isinstance(inner, TimeoutError) and inner.errno is None
    return is_ours or isinstance(error, exceptions.TimeoutError)


def _too_slow(host: str, timeout: float, *, has_begun: bool) -> TransportError:
    if has_begun:
        return TransportError(
            f"the answer from {host} was not complete within {timeout:g} seconds",
            hint=Hint.SLOW,
        )
    return TransportError(f"no answer from {host} within {timeout:g} seconds", hint=Hint.NO_ANSWER)


def _not_connected(error: exceptions.NewConnectionError, host: str) -> TransportError:
    if isinstance(error.__cause__, ConnectionRefusedError):
        return TransportError(
            f"nothing listens at {host}: connection refused",
            hint="check the host and the port, and that the server is running",
        )
    return TransportError(
        f"cannot connect to {host}: {_innermost(error)}", hint="check the URL and the network"
    )


def _tls(error: exceptions.SSLError, host: str) -> TransportError:
    inner = error.args[0] if error.args else None
    if isinstance(inner, ssl.SSLCertVerificationError):
        return TransportError(
            f"the TLS certificate of {host} is not trusted: {inner.verify_message}",
            hint=Hint.UNTRUSTED_TLS,
        )
    reason = (isinstance(inner, ssl.SSLError) and inner.reason) or str(inner)
    return TransportError(
        f"TLS with {host} failed: {reason.replace('_', ' ').lower()}",
        hint="does the server speak HTTPS at this port? If not, the URL starts with http://",
    )


def _innermost(error: BaseException) -> str:
    """Return the operating system's own words, rather than those of each layer above it."""
    error = _source(error)
    said = (isinstance(error, OSError) and error.strerror) or str(error)
    return " ".join(said.split()) or type(error).__name__


def _source(error: BaseException) -> BaseException:
    while (cause := _cause(error)) is not None:
        error = cause
    return error


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return next((arg for arg in error.args if isinstance(arg, BaseException)), None)
