"""A request for a certificate on its way: its key, and what becomes of that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from scepkit.cli import terminal
from scepkit.client import keys
from scepkit.errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepkit.client.folder import Folder
    from scepkit.client.orders import Order
    from scepkit.client.record import Record
    from scepkit.protocol.algorithms import PrivateKey
    from scepkit.protocol.transaction import Issued


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


def fulfil(
    order: Order, used: PrivateKey, record: Record, folder: Folder, send: Callable[[Order], Issued]
) -> Issued:
    """Keep a request, send it, and install what was issued.

    Args:
        order: what is asked for.
        used: the key to be certified.
        record: how it is got.
        folder: where all of that goes.
        send: sends the order and returns what was issued.
    """
    begun, now = folder.unfinished_record(), datetime.now(UTC)
    folder.begin(used, record.requested(str(order.transaction_id), now, begun))
    issued = _sent(order, folder, send)
    folder.install(issued)
    return issued


def _sent(order: Order, folder: Folder, send: Callable[[Order], Issued]) -> Issued:
    """Send a request, and keep its key or forget it."""
    try:
        return send(order)
    except RequestRefused:
        folder.give_up()
        raise
    except BaseException:
        # The CA may issue the certificate yet, or have issued it already.
        terminal.say(f"the key stays in {folder.unfinished}: the same command asks again")
        raise
