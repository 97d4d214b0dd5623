"""POST to a service: bounded in time and octets, no redirects, no proxy unless one is named."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from scepkit.ca.profiles.extras import needed
from scepkit.errors import SettingsError, ThirdPartyFailed
from scepkit.server.webhooks.circuit import RequestNotTaken

MAX_ANSWER = 64 * 1024
"""The octets that an answer may have."""

_CHUNK = 16 * 1024
_SHOWN = 200  # characters of what is wrong
_SUCCESS = range(200, 300)
_REDIRECT = range(300, 400)
# The statuses that are about what was sent, and not about who sent it, how often, or the service.
_NOT_TAKEN = frozenset({400, 404, 406, 409, 410, 413, 415, 422})


@asynccontextmanager
async def asked(
    aiohttp: Any,
    method: str,
    url: str,
    body: bytes | Mapping[str, str] | None,
    headers: Mapping[str, str],
    context: ssl.SSLContext | None,
    proxy: str,
) -> AsyncIterator[Any]:
    """Ask a service, on a connection of its own, and lend the answer, whose body is yet to be read.

    Args:
        aiohttp: the package.
        method: of HTTP.
        url: of the service.
        body: octets, or the fields of a form.
        headers: beside the usual ones.
        context: the TLS settings; None for the usual ones.
        proxy: the URL of an HTTP proxy; "" for none.
    """
    own = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "scepkit"}
    connector = aiohttp.TCPConnector(
        ssl=True if context is None else context,
        force_close=True,
        use_dns_cache=False,
        resolver=aiohttp.ThreadedResolver(),
    )
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session,
        session.request(
            method,
            url,
            data=body,
            headers={**own, **headers},
            allow_redirects=False,
            proxy=proxy or None,
        ) as answer,
    ):
        yield answer


@dataclass(frozen=True, slots=True)
class Poster:
    """Posts JSON to one URL, each time on a connection of its own.

    Attributes:
        url: the URL.
        context: its TLS settings; None where the URL has no TLS.
        seconds: for a whole exchange.
        proxy: the URL of an HTTP proxy; "" for none.
        authorization: the Authorization header; "" for none. Secret.
        use: what needs it, as a sentence begins.
    """

    url: str
    context: ssl.SSLContext | None
    seconds: float
    proxy: str = ""
    authorization: str = field(default="", repr=False)
    use: str = "a rule of kind webhook"

    def __post_init__(self) -> None:
        needed("aiohttp", self.use)

    async def post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return the body of the answer.

        Args:
            body: JSON.
            headers: more headers.

        Raises:
            ThirdPartyFailed: there is no answer, or none that says yes or no.
        """
        return await self._asked(body, headers, reads=True)

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Post what needs no answer: a status of 2xx takes it, and no octet behind it is read.

        Args:
            body: JSON.
            headers: more headers.

        Raises:
            ThirdPartyFailed: it was not taken, or nobody knows.
        """
        await self._asked(body, headers, reads=False)

    async def _asked(self, body: bytes, headers: Mapping[str, str], *, reads: bool) -> bytes:
        import aiohttp

        try:
            async with asyncio.timeout(self.seconds):
                return await self._exchange(aiohttp, body, headers, reads=reads)
        except TimeoutError as error:
            raise ThirdPartyFailed(f"no answer from {self._host} in {self.seconds:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ThirdPartyFailed(fault_of(error, self._host)) from error

    async def _exchange(
        self, aiohttp: Any, body: bytes, headers: Mapping[str, str], *, reads: bool
    ) -> bytes:
        own = {"Content-Type": "application/json"}
        if self.authorization:
            own["Authorization"] = self.authorization
        async with asked(
            aiohttp, "POST", self.url, body, {**own, **headers}, self.context, self.proxy
        ) as answer:
            self._check(answer)
            return await self._body(answer) if reads else b""

    def _check(self, answer: Any) -> None:
        if answer.status not in _SUCCESS:
            redirect = ", a redirect, which is not followed" if answer.status in _REDIRECT else ""
            failed = RequestNotTaken if answer.status in _NOT_TAKEN else ThirdPartyFailed
            raise failed(f"{self._host} answers HTTP {answer.status}{redirect}")

    async def _body(self, answer: Any) -> bytes:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > MAX_ANSWER:
                raise ThirdPartyFailed(f"{self._host} answers more than {MAX_ANSWER} octets")
        return bytes(body)

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc


def fault_of(error: Exception, host: str) -> str:
    """Return what is wrong with an exchange, in one line, for log and outbox.

    aiohttp's text of an answer that it cannot use ends in a URL: that of the service, whose query
    may have a token, or that of the proxy with its password.

    Args:
        error: what aiohttp or the system raised.
        host: who was asked, with the port.
    """
    import aiohttp

    match error:
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy on the way to {host} failed: {_system(error.os_error)}"
        case aiohttp.ClientConnectorDNSError():
            return f"the host name {_shown(error.host)} is not known"
        case aiohttp.ClientConnectorCertificateError():
            found = error.certificate_error
            reason = getattr(found, "verify_message", "") or str(found)
            return f"the TLS certificate of {host} is not trusted: {_shown(reason)}"
        case aiohttp.ClientConnectorSSLError():
            reason = getattr(error.os_error, "reason", "") or str(error.os_error)
            return f"TLS with {host} failed: {_shown(reason).replace('_', ' ').lower()}"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return f"nothing listens at {host}: connection refused"
        case aiohttp.ClientConnectorError():
            return f"cannot connect to {host}: {_system(error.os_error)}"
        case aiohttp.ClientResponseError():
            text = f"{error.status}, {error.message}"
        case aiohttp.InvalidURL():
            text = "the URL cannot be used"
        case _:
            text = str(error) or type(error).__name__
    return f"no answer from {host}: {_shown(text)}"


def _system(error: OSError) -> str:
    """Return the system's words for an error; asyncio's have the address in them."""
    return _shown(os.strerror(error.errno).lower() if error.errno else str(error))


def _shown(text: str) -> str:
    shown = " ".join(text.split())[:_SHOWN]
    return "".join(one if one.isprintable() else "?" for one in shown)


def tls_context(ca: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """Return the TLS settings for a service.

    Args:
        ca: the file with the certificates to trust, PEM; None for the system's.
        certificate: the file with the certificate to show, and what is above it; None for none.
        key: the file with its key.

    Raises:
        SettingsError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            # Nobody is there to be asked for a password.
            context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        # An SSLError is an OSError.
        files = ", ".join(one for one in (ca, certificate, key) if one)
        raise SettingsError(
            f"the TLS files of a webhook cannot be used ({files}): {error}",
            hint="they have to be PEM, the key unencrypted and that of the certificate",
        ) from error
    return context
