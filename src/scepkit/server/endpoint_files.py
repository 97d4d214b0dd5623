"""The files that the settings of endpoints name: static challenges, and the CAs of others.

They are read together with scep.toml, and what was read belongs to the settings in force: a file
that is edited later counts when the settings are read again, in all worker processes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca.profiles.key_rules import read_blocklist
from scepkit.errors import SettingsError
from scepkit.keys.files import refusals
from scepkit.keys.pem import read_certificates
from scepkit.server.challenge_secrets import read_static
from scepkit.server.settings import Settings


@dataclass(frozen=True, slots=True)
class EndpointFiles:
    """The contents of the files that one endpoint names.

    Attributes:
        challenge: the static challenge; empty where there is none. Secret.
        anchors: the certificates of `renewal_anchors`, DER.
        blocked: the hashes in the profile's `key.blocklist`.
    """

    challenge: str = field(default="", repr=False)
    anchors: tuple[bytes, ...] = ()
    blocked: frozenset[bytes] = field(default=frozenset(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "challenge": self.challenge,
            "anchors": [one.hex() for one in self.anchors],
            "blocked": [one.hex() for one in sorted(self.blocked)],
        }

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> EndpointFiles:
        """Return it from what `to_json` gave."""
        return cls(
            value["challenge"],
            tuple(map(bytes.fromhex, value["anchors"])),
            frozenset(map(bytes.fromhex, value["blocked"])),
        )


def read_all(settings: Settings) -> Mapping[str, EndpointFiles]:
    """Read the files of all endpoints.

    Args:
        settings: the server's.

    Returns:
        Their contents by endpoint.

    Raises:
        SettingsError: one of them cannot be used.
    """
    return {name: _read(settings, name) for name in settings.endpoint}


def challenges(files: Mapping[str, EndpointFiles] | None) -> Mapping[str, str]:
    """Return the static challenges by endpoint."""
    return {name: one.challenge for name, one in (files or {}).items() if one.challenge}


def _read(settings: Settings, name: str) -> EndpointFiles:
    endpoint = settings.endpoint[name]
    challenge = ""
    if endpoint.challenge == "static" and endpoint.challenge_file is not None:
        challenge = read_static(settings.directory / endpoint.challenge_file)
    anchors = [
        one.public_bytes(Encoding.DER)
        for path in (endpoint.renewal_anchors if endpoint.renewal else ())
        for one in read_certificates(settings.directory / path)
    ]
    return EndpointFiles(challenge, tuple(anchors), blocked_keys(settings, name))


def blocked_keys(settings: Settings, name: str) -> frozenset[bytes]:
    """Read the blocked keys of an endpoint.

    Args:
        settings: the server's.
        name: the endpoint.

    Raises:
        SettingsError: the file cannot be used.
    """
    named = settings.profile_of(name).key.blocklist
    if named is None:
        return frozenset()
    path = settings.directory / named
    with refusals(f"cannot read {path}"):
        text = path.read_text("ascii", errors="replace")
    try:
        return read_blocklist(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error.message}", hint=error.hint) from error
