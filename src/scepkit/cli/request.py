"""A request for a certificate on its way: its key, and what becomes of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepkit.cli import terminal
from scepkit.client import keys
from scepkit.errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepkit.client.folder import Folder
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


def submit(send: Callable[[], Issued], folder: Folder) -> Issued:
    """Send a request, and keep its key or forget it.

    Args:
        send: sends it and returns what was issued.
        folder: where its key is kept.
    """
    try:
        return send()
    except RequestRefused:
        folder.give_up()
        raise
    except BaseException:
        # The CA may issue the certificate yet, or have issued it already.
        terminal.say(f"the key stays in {folder.unfinished}: the same command asks again")
        raise
