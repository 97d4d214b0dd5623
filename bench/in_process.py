"""A server in this process, without its HTTP: its private keys remember what they did.

This is imported before anything of scepkit, since it replaces how keys are loaded.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

KINDS = ("enrolment", "renewal", "poll", "ocsp")
# Longer than the files of a database are looked at one by one after a change of their directory.
_SETTLED_SECONDS = 3.5

# --- private keys ---------------------------------------------------------------------------------


class Recorded:
    """A private key that gives the results of an earlier round back."""

    is_recording = True

    def __init__(self, key: Any) -> None:
        self._key = key
        self._results: dict[bytes, bytes] = {}
        self._public = key.public_key()
        self._length = (key.key_size + 7) // 8

    @property
    def key_size(self) -> int:
        return int(self._key.key_size)

    def public_key(self) -> Any:
        return self._public

    def private_bytes(self, *arguments: Any) -> bytes:
        return bytes(self._key.private_bytes(*arguments))

    def private_numbers(self) -> Any:
        return self._key.private_numbers()

    def decrypt(self, ciphertext: bytes, padding: Any) -> bytes:
        """Decrypt, or remember."""
        return self._result(bytes(ciphertext), lambda: self._key.decrypt(ciphertext, padding))

    def sign(self, data: bytes, *arguments: Any) -> bytes:
        """Sign, or give any signature of this key: what is signed is new every time."""
        return self._result(b"", lambda: self._key.sign(data, *arguments))

    def exchange(self, *arguments: Any) -> bytes:
        return bytes(self._key.exchange(*arguments))

    def _result(self, name: bytes, compute: Callable[[], bytes]) -> bytes:
        if Recorded.is_recording or name not in self._results:
            self._results[name] = compute()
        return self._results[name]


class RecordedRSA(Recorded, rsa.RSAPrivateKey):
    """An RSA key."""


class RecordedEC(Recorded, ec.EllipticCurvePrivateKey):
    """An EC key."""

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._key.curve


for _class in (RecordedRSA, RecordedEC):  # what newer releases add is not asked for
    _class.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]

_load = serialization.load_pem_private_key


def _load_recorded(*arguments: Any, **named: Any) -> Any:
    key = _load(*arguments, **named)
    if isinstance(key, rsa.RSAPrivateKey):
        return RecordedRSA(key)
    return RecordedEC(key) if isinstance(key, ec.EllipticCurvePrivateKey) else key


# Before anything of scepkit is imported, which takes the function by its name.
serialization.load_pem_private_key = _load_recorded


# --- requests -------------------------------------------------------------------------------------


class Server:
    """A server without its HTTP, and one request of each kind for it.

    Args:
        directory: where its data goes.
        layout: the kinds of its keys.
    """

    def __init__(self, directory: Path, layout: str) -> None:
        try:
            from scepkit.server.directory import data_directory
            from scepkit.server.directory.database import open_store
            from scepkit.server.endpoints.assembly import assemble
        except ImportError:  # a scepkit of before, to compare with
            from scepkit.server.assembly import assemble

            from scepkit.server import data_directory

            try:
                from scepkit.server.database import open_store
            except ImportError:  # and one of before that
                from scepkit.server.data_directory import open_store

        self._now = datetime.now(UTC)
        # The keys of a first start come from the generator, those of a second from files.
        data_directory.prepare(directory, now=self._now, layout=layout)
        self.home = data_directory.prepare(directory, now=self._now)
        self.store = open_store(self.home.settings, "1")
        self.served = assemble(self.home, self.store)["default"]
        self._challenges = data_directory.challenges_of(self.home, self.store)
        self._last = b""

    def challenges(self, count: int) -> list[str]:
        """Mint challenges."""
        from enrolments import minted

        return minted(self._challenges, count, now=self._now)

    def send(self, _url: str, request: Any) -> Any:
        """Answer a request of our client, and keep its message."""
        from scepkit.protocol.scep import http

        asked = http.read_request(request)
        if asked.operation is not http.Operation.PKI_OPERATION:
            return self.served.publication.answer(asked.operation)
        self._last = asked.message
        return http.HTTPResponse(200, self.served.scep.respond(asked.message), http.PKI_MESSAGE)

    def way(self) -> Way | None:
        """Return the way to a committer and back; None where this scepkit has none."""
        try:
            from scepkit.store.committing.committer import Committer
        except ImportError:
            return None
        return Way(self.store, Committer)

    def request(self, kind: str) -> Callable[[], Any]:
        """Return what puts a request of that kind to the server, as one that runs for a while."""
        asked = self._request(kind)
        time.sleep(_SETTLED_SECONDS)
        return asked

    def _request(self, kind: str) -> Callable[[], Any]:
        if kind == "ocsp":
            question = self._question()
            return lambda: self.served.ocsp.answer(question)
        message = self._message(kind)
        return lambda: self.served.scep.decide(message, "192.0.2.7")

    def decisions(self, count: int) -> list[Any]:
        """Decide on so many new requests; nothing is recorded."""
        client, ca, key = self._device()
        decided = []
        for number, challenge in enumerate(self.challenges(count)):
            with contextlib.suppress(_Kept), self._keeping():
                client.enrol(ca, key, f"CN=device{number},O=Bench", challenge=challenge)
            decided.append(self.served.scep.decide(self._last, "192.0.2.7"))
        return decided

    def _device(self) -> tuple[Any, Any, Any]:
        """Return our client, the CA as it sees it, and a key."""
        from scepkit import Client, generate_key

        client = Client("http://localhost/scep", transport=self)
        return client, client.get_ca(self._fingerprint()), generate_key("rsa:2048")

    def _fingerprint(self) -> Any:
        from scepkit.protocol.certificate import fingerprint

        der = serialization.Encoding.DER
        return fingerprint(self.home.material.ca.certificate.public_bytes(der))

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        """Keep a message in place of answering it."""
        respond = type(self.served.scep).respond

        def keep(*_: Any) -> bytes:
            raise _Kept

        type(self.served.scep).respond = keep
        try:
            yield
        finally:
            type(self.served.scep).respond = respond

    def _message(self, kind: str) -> bytes:
        from scepkit import generate_key

        client, ca, key = self._device()
        first, second = self.challenges(2)
        issued = client.enrol(ca, key, "CN=device1,O=Bench", challenge=first)
        if kind == "poll":  # the same again, for which the certificate is there already
            return self._last
        with contextlib.suppress(_Kept), self._keeping():
            if kind == "renewal":
                client.renew(ca, key, issued.certificate, generate_key("rsa:2048"))
            else:
                client.enrol(ca, key, "CN=device2,O=Bench", challenge=second)
        return self._last

    def _question(self) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA1
        from cryptography.x509 import ocsp

        client, ca, key = self._device()
        (challenge,) = self.challenges(1)
        issued = client.enrol(ca, key, "CN=device1,O=Bench", challenge=challenge)
        one = ocsp.OCSPRequestBuilder().add_certificate(
            issued.certificate.x509(), self.home.material.ca.certificate, SHA1()
        )
        return one.build().public_bytes(serialization.Encoding.DER)


class Way:
    """The way of entries to the committer, onto the disk and back, all of it in this thread.

    Args:
        store: where they are written.
        committer: the class.
    """

    def __init__(self, store: Any, committer: Any) -> None:
        from scepkit.store import Store
        from scepkit.store.committing import remote_writer

        listener = socket.create_server(("127.0.0.1", 0))
        with mock.patch.object(remote_writer, "Thread"):
            self._writer = remote_writer.RemoteWriter(
                lambda: socket.create_connection(listener.getsockname())
            )
        self._committer = committer(listener, store)
        self._committer._look(1)  # noqa: SLF001 - and what follows: without their threads
        # As much of a store as `record` uses.
        near = SimpleNamespace(_writer=self._writer, _dialect=store._engine.dialect.name)  # noqa: SLF001
        self._record = functools.partial(Store.record, near)

    def go(self, issuances: Sequence[Any]) -> None:
        """Have them written in one commit, and hear of it."""
        for _ in issuances:
            self._writer.begin_request()
        promises = [Promise() for _ in issuances]
        for issuance, promise in zip(issuances, promises, strict=True):
            self._record(issuance, promise)
            self._writer.end_request()
        while len(self._committer._waiting) < len(issuances):  # noqa: SLF001
            self._committer._look(1)  # noqa: SLF001
        self._committer._commit()  # noqa: SLF001
        while not (frames := self._writer._channel.receive()):  # noqa: SLF001
            pass
        for _, _, body in frames:
            self._writer._settle(*pickle.loads(body))  # noqa: SLF001
        if any(type(one.answer).__name__ != "Recorded" for one in promises):
            raise RuntimeError("something stood in the way")


class Promise:
    """Takes an answer."""

    answer: object = None

    def set_running_or_notify_cancel(self) -> bool:
        return True

    def set_result(self, answer: object) -> None:
        self.answer = answer

    set_exception = set_result


class _Kept(Exception):
    """A message was kept, and not answered."""
