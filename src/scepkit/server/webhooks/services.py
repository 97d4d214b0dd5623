"""The parts of a webhook that its settings name: the key, and what sends."""

from __future__ import annotations

import ssl
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path

from scepkit.errors import SettingsError
from scepkit.server.settings.service import ServiceSettings
from scepkit.server.webhooks.posting import Poster, tls_context

_LEAST_KEY = 16  # octets


def key_of(file: Path, secrets: Mapping[Path, str], of: str) -> bytes:
    """Return the key of the signatures that is in a file.

    Args:
        file: its name in the settings.
        secrets: the contents of files, by their names in the settings. Secret.
        of: whose it is, for the message.

    Raises:
        SettingsError: there is none in it.
    """
    try:
        key = b64decode(secrets[file], validate=True)
    except ValueError:
        # Not `from`: the exception holds what is in the file.
        key = b""
    if len(key) < _LEAST_KEY:
        raise SettingsError(
            f"the secret_file {file} of {of} does not hold at least {_LEAST_KEY} octets in base64",
            hint="make one: (umask 077; openssl rand -base64 32 > FILE)",
        )
    return key


def poster_of(
    service: ServiceSettings, directory: Path, secrets: Mapping[Path, str], of: str
) -> Poster:
    """Return what sends to a service.

    Args:
        service: its settings.
        directory: that its files are relative to.
        secrets: as in `key_of`.
        of: what sends to it, for the message.

    Raises:
        SettingsError: a file cannot be used, or the package for HTTP is not installed.
    """
    bearer = "" if service.bearer_file is None else f"Bearer {secrets[service.bearer_file]}"
    if not (bearer.isascii() and bearer.isprintable()):
        raise SettingsError(f"{service.bearer_file} holds no token", hint="it has to be one line")
    return Poster(service.url, _tls(service, directory), service.seconds, service.proxy, bearer, of)


def _tls(service: ServiceSettings, directory: Path) -> ssl.SSLContext | None:
    if service.url.startswith("http://"):
        return None
    ca, certificate, key = (
        None if one is None else str(directory / one)
        for one in (service.ca_file, service.tls_certificate, service.tls_key)
    )
    return tls_context(ca, certificate, key)
