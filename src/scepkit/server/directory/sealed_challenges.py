"""Static challenges that are sealed in their files: encrypted under the key of the challenges.

They have to be read again, since a request or a reply may be encrypted with one (RFC 8894 section
3.1). Whoever has the files but not `challenge.key`, or not its passphrase, reads none.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

from scepkit.enrolment.secret_box import SecretBox
from scepkit.errors import SettingsError

_MARK = "sealed:v1:"
_CONTEXT = b"static challenge"


def is_sealed(text: str) -> bool:
    """Say whether the first line of a file is a sealed challenge."""
    return text.startswith(_MARK)


def seal(challenge: str, key: bytes) -> str:
    """Return a challenge as a line that only this server can open (AES-256-GCM).

    Args:
        challenge: the challengePassword.
        key: the key of the server's challenges.
    """
    return _MARK + b64encode(SecretBox(key).hide(challenge, _CONTEXT)).decode("ascii")


def unseal(text: str, key: Callable[[], bytes] | None, path: Path) -> str:
    """Return the challenge of a sealed line; another line as it is.

    Args:
        text: the line.
        key: returns the key of the server's challenges; None where it is not at hand.
        path: the file that it is from, for errors.

    Raises:
        SettingsError: it cannot be opened.
    """
    if not is_sealed(text):
        return text
    if key is None:
        raise SettingsError(
            f"the challenge in {path} is sealed, and the key of the challenges is not at hand",
            hint="use it with the server's directory",
        )
    try:
        hidden = b64decode(text.removeprefix(_MARK), validate=True)
    except ValueError:
        hidden = b""
    challenge = SecretBox(key()).reveal(hidden, _CONTEXT)
    if challenge is None:
        raise SettingsError(
            f"the challenge in {path} is damaged, or was sealed under another challenge.key",
            hint=f"write the challenge into it again, then run scep admin challenge seal {path}",
        )
    return challenge
