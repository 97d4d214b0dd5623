"""Loading what worker processes are made of, before they are forked: one memory for all of them.

What is loaded after a fork writes to what is there already, and is memory of that process alone.
"""

from __future__ import annotations

from contextlib import suppress

from cryptography.hazmat.primitives.serialization import load_pem_private_key

import scepkit.server.processes.committing
import scepkit.server.processes.worker  # noqa: F401
from scepkit.keys.pem import generate, key_pem
from scepkit.server.directory.database import open_store
from scepkit.server.settings import Settings


def load(settings: Settings) -> None:
    """Load all that workers need, in the process that they are forked from; but no key of theirs.

    Args:
        settings: the server's.

    Raises:
        StoreError: the database cannot be used.
    """
    with suppress(ImportError):  # as `serving.run`
        import uvloop  # noqa: F401
    # With the driver of the database.
    open_store(settings).close()
    # With what OpenSSL makes when it reads the first key: this one is nobody's.
    load_pem_private_key(key_pem(generate("ec:p256")), None)
