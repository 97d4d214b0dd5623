"""A request for a certificate on its way, and its key."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from scepkit.cli import terminal
from scepkit.cli.device import hints
from scepkit.client import keys
from scepkit.errors import BadReply, FailInfo, RequestRefused, TransportError, UnverifiedCertificate
from scepkit.protocol.scep import flow
from scepkit.protocol.scep.attributes import TransactionID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepkit.client.client import CA, Client
    from scepkit.client.folder import Folder
    from scepkit.client.folder.record import Record
    from scepkit.client.prepared_request import PreparedRequest
    from scepkit.protocol.algorithms import PrivateKey
    from scepkit.protocol.scep.attributes import MessageType
    from scepkit.protocol.scep.transaction import Issued


def key(folder: Folder, kind: str) -> PrivateKey:
    """Return the key of the request that was begun in a directory, or a new one.

    Args:
        folder: the directory.
        kind: such as `rsa:2048`.
    """
    begun = folder.unfinished_key()
    if begun is not None and keys.kind(begun) == kind:
        terminal.say(f"continuing the request of {folder.unfinished}; delete it to start anew")
        return begun
    return keys.generate_key(kind)


def warn_unless_readable(signing: PrivateKey, password: str | None) -> None:
    """Warn of a reply that may not be possible (RFC 8894 section 3.1).

    Args:
        signing: the key that signs the request, and that the reply is encrypted to.
        password: the challenge.
    """
    if password is None and not keys.can_decrypt(signing):
        terminal.warn(
            f"few CAs can answer to a key of kind {keys.kind(signing)} without a challenge: "
            "there is nothing to encrypt the answer with"
        )


def recover(folder: Folder) -> None:
    """Finish an installation that was interrupted, and say so. Only under the folder's lock."""
    if folder.recover():
        terminal.say(f"finished the installation in {folder.path} that was interrupted")


# Refusals of one message, such as for this machine's clock, that say nothing of the transaction.
_ABOUT_THE_MESSAGE = frozenset({FailInfo.badAlg, FailInfo.badMessageCheck, FailInfo.badTime})
_FIRST_CHALLENGE = (
    "the answer is encrypted with the challenge that the request was begun with: give that one"
)


@dataclass(frozen=True, slots=True)
class Way:
    """The way of an order to a CA; see `Client.submit`."""

    client: Client
    ca: CA
    message_type: MessageType | None = None
    following: CA | None = None

    def send(self, order: PreparedRequest) -> Issued:
        """Ask for a certificate."""
        return self.client.submit(
            self.ca, order, message_type=self.message_type, following=self.following
        )

    def resume(self, order: PreparedRequest) -> Issued:
        """Ask for the certificate that was asked for earlier."""
        return self.client.resume(self.ca, order, following=self.following)


@dataclass(frozen=True, slots=True)
class _Begun:
    """The request that waits in the directory: its key may be certified yet."""

    key: PrivateKey
    record: Record

    def is_of(self, order: PreparedRequest) -> bool:
        """Say whether an order is the same transaction."""
        return self.record.transaction_id == str(order.transaction_id)

    def survives(self, error: RequestRefused, order: PreparedRequest) -> bool:
        """Say whether it may be granted yet, though an order was refused."""
        return not self.is_of(order) or error.failure.fail_info in _ABOUT_THE_MESSAGE


def fulfil(
    order: PreparedRequest, used: PrivateKey, record: Record, folder: Folder, way: Way
) -> Issued:
    """Keep a request, send it, and install the certificate.

    The same with another challenge is another request to the CA. So that the one that was begun
    does not wait in vain, that is asked for first, which takes no challenge.

    Args:
        order: what is asked for.
        used: the key to be certified.
        record: how it is got.
        folder: where all of that goes.
        way: how it gets to the CA.
    """
    record = replace(record, wanted=order.wanted)
    begun = _begun(folder)
    issued = None
    if begun is not None and not begun.is_of(order) and begun.record.asks_like(record):
        before = replace(order, transaction_id=_id(begun.record))
        folder.begin(used, _requested(before, record, folder))
        try:
            issued = _resumed(before, folder, way)
        except RequestRefused as error:
            if error.failure.fail_info in _ABOUT_THE_MESSAGE:
                raise
            terminal.say(f"the request {before.transaction_id} is over: {error.message}")
            begun = None
    if issued is None:
        folder.begin(used, _requested(order, record, folder))
        issued = _sent(order, begun, folder, way)
    folder.install(issued)
    return issued


def _begun(folder: Folder) -> _Begun | None:
    key, record = folder.unfinished_key(), folder.unfinished_record()
    return _Begun(key, record) if key and record and record.transaction_id else None


def _id(record: Record) -> TransactionID:
    return TransactionID(record.transaction_id.encode())


def _requested(order: PreparedRequest, record: Record, folder: Folder) -> Record:
    return record.requested(
        str(order.transaction_id), datetime.now(UTC), folder.unfinished_record()
    )


def _resumed(order: PreparedRequest, folder: Folder, way: Way) -> Issued | None:
    """Ask for what was begun.

    Returns:
        What was issued; None when the CA does not say, because it does not do CertPoll.

    Raises:
        RequestRefused: the CA refused it, knows nothing of it, or did not take the question.
    """
    with _kept(folder):
        try:
            return way.resume(order)
        except TransportError as error:
            if error.status is None or flow.is_busy(error):
                raise
            return None
        except BadReply as error:
            # What was read was read with the right challenge.
            if keys.can_decrypt(order.signer.key) or isinstance(error, UnverifiedCertificate):
                raise
            raise BadReply(error.message, hint=_FIRST_CHALLENGE) from error


def _sent(order: PreparedRequest, begun: _Begun | None, folder: Folder, way: Way) -> Issued:
    """Send a request, and keep its key or forget it.

    What the CA says of this message may say nothing of the request that was begun: that comes back.
    """
    try:
        with _kept(folder), hints.fitting(order):
            return way.send(order)
    except RequestRefused as error:
        if begun is None or not begun.survives(error, order):
            folder.give_up()
        else:
            folder.begin(begun.key, begun.record)
            terminal.say(
                f"the request {begun.record.transaction_id} of {folder.unfinished} stays: "
                "the command that began it asks again"
            )
        raise


@contextmanager
def _kept(folder: Folder) -> Iterator[None]:
    """Say that the key stays, unless the CA has said no; keep a certificate that is no good yet."""
    try:
        yield
    except RequestRefused:
        raise
    except BaseException as error:
        # The CA may issue the certificate yet, or have issued it already.
        terminal.say(f"the key stays in {folder.unfinished}: the same command asks again")
        if isinstance(error, UnverifiedCertificate):
            raise _unverified(error, folder) from error
        raise


def _unverified(error: UnverifiedCertificate, folder: Folder) -> UnverifiedCertificate:
    """Keep what the CA gave, for a person to look at: the challenge behind it may be spent."""
    path = folder.keep_unverified(error.certificates)
    look = f"look at it: openssl x509 -in {path} -noout -text; and show it to the CA's operator"
    return UnverifiedCertificate(
        f"{error.message}; nothing is installed, and what the CA gave is kept in {path}",
        hint=f"{error.hint}; {look}" if error.hint else look,
        certificates=error.certificates,
    )
