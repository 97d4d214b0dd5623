"""CAs of a server that no endpoint has any more.

Whoever takes an endpoint out, or gives it another CA, leaves certificates behind that are valid:
their CA issues nothing more, and goes on signing its CRL until it ends. It is told by its files.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from scepkit.ca.directory import paths
from scepkit.server.settings.profiles.values import NAME

PREFIX = "ca-"


def names(directory: Path, issuing: Collection[str]) -> tuple[str, ...]:
    """Return the names of the CAs in a server's directory that are not among those that issue.

    What cannot be looked into holds none: the server needs it for nothing else.

    Args:
        directory: the server's.
        issuing: the names of the CAs that endpoints have.
    """
    found = []
    for place in directory.glob(f"{PREFIX}*"):
        name = place.name.removeprefix(PREFIX)
        with suppress(OSError):
            is_ca = (place / paths.CA_CERTIFICATE).exists()
            if is_ca and NAME.fullmatch(name) and name not in issuing:
                found.append(name)
    return tuple(sorted(found))
