"""The files that the settings of endpoints name: static challenges, and the CAs of others.

They are read together with scep.toml, and what was read belongs to the settings in force: a file
that is edited later counts when the settings are read again, in all worker processes at once.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca.profiles.blocklist import MOST, Blocklist, lines_of
from scepkit.errors import SettingsError
from scepkit.keys.files import plain_file, read_file, refusals
from scepkit.keys.pem import read_certificates
from scepkit.server.directory.challenge_secrets import read_secret, read_static
from scepkit.server.settings import Settings
from scepkit.server.settings.authorization import (
    ChallengeRuleSettings,
    IntuneRule,
    WebhookRule,
    challenge_rules,
)
from scepkit.server.settings.intune import credential
from scepkit.server.settings.profiles.format import ProfileSettings


@dataclass(frozen=True, slots=True)
class EndpointFiles:
    """The contents of the files that one endpoint names.

    Attributes:
        challenges: the static challenges, by the names of their files in the settings. Secret.
        anchors: the certificates of `renewal_anchors`, DER.
        blocked: the keys on the profile's `key.blocklist`.
        secrets: what is shared with services and MDMs, by the names of the files in the settings.
            Secret.
        intune: the client secret of the app registration; "" where Intune is not asked. Secret.
    """

    challenges: Mapping[Path, str] = field(default_factory=dict, repr=False)
    anchors: tuple[bytes, ...] = ()
    blocked: Blocklist | None = None
    secrets: Mapping[Path, str] = field(default_factory=dict, repr=False)
    intune: str = field(default="", repr=False)


def to_json(files: Mapping[str, EndpointFiles]) -> dict[str, Any]:
    """Return the files of all endpoints as JSON has them: a list that several name is there once.

    Args:
        files: by endpoint.
    """
    lists = {one.blocked.name: one.blocked for one in files.values() if one.blocked is not None}
    return {
        "blocklists": {name: b64encode(one.octets).decode() for name, one in lists.items()},
        "endpoints": {
            name: {
                "challenges": {str(path): text for path, text in one.challenges.items()},
                "anchors": [anchor.hex() for anchor in one.anchors],
                "secrets": {str(path): text for path, text in one.secrets.items()},
                "intune": one.intune,
                "blocked": None if one.blocked is None else one.blocked.name,
            }
            for name, one in files.items()
        },
    }


def of_json(value: Mapping[str, Any]) -> Mapping[str, EndpointFiles]:
    """Return them from what `to_json` gave."""
    lists = {name: Blocklist(name, b64decode(one)) for name, one in value["blocklists"].items()}
    return {
        name: EndpointFiles(
            {Path(path): text for path, text in one["challenges"].items()},
            tuple(map(bytes.fromhex, one["anchors"])),
            lists.get(one["blocked"]),
            {Path(path): text for path, text in one["secrets"].items()},
            one["intune"],
        )
        for name, one in value["endpoints"].items()
    }


def read_all(
    settings: Settings, key: Callable[[], bytes] | None = None
) -> Mapping[str, EndpointFiles]:
    """Read the files of all endpoints.

    Args:
        settings: the server's.
        key: returns the key of its challenges, for static ones that are sealed.

    Returns:
        Their contents by endpoint.

    Raises:
        SettingsError: one of them cannot be used.
    """
    lists = BlocklistFiles(settings)
    return {
        name: _read(settings, name, lists.of(settings.profile_of(name)), key)
        for name in settings.endpoint
    }


def challenges(
    files: Mapping[str, EndpointFiles] | None,
) -> Mapping[str, Mapping[Path, str]]:
    """Return the static challenges by endpoint."""
    return {name: one.challenges for name, one in (files or {}).items() if one.challenges}


def _read(
    settings: Settings,
    name: str,
    blocked: Blocklist | None,
    key: Callable[[], bytes] | None,
) -> EndpointFiles:
    endpoint = settings.endpoint[name]
    challenges = {
        path: _static(settings.directory / path, rule, key)
        for rule in challenge_rules(endpoint.rules)
        for path in rule.files
    }
    anchors = [
        one.public_bytes(Encoding.DER)
        for path in (endpoint.renewal_anchors if endpoint.renews else ())
        for one in read_certificates(settings.directory / path)
    ]
    secrets = {
        path: read_secret(settings.directory / path, "file of a webhook", _MAKE_KEY)
        for rule in endpoint.rules
        if isinstance(rule, WebhookRule)
        for path in rule.secret_files
    }
    if endpoint.jamf is not None:
        path = endpoint.jamf.secret_file
        secrets[path] = read_secret(settings.directory / path, "file for jamf", _MAKE_CREDENTIAL)
    rules = [one for one in endpoint.rules if isinstance(one, IntuneRule)]
    intune = intune_secret(settings, rules[0].registration) if rules else ""
    return EndpointFiles(challenges, tuple(anchors), blocked, secrets, intune)


def intune_secret(settings: Settings, name: str) -> str:
    """Read the client secret of an app registration.

    Args:
        settings: the server's.
        name: of the registration.

    Raises:
        SettingsError: there is none, or it cannot be read.
    """
    named, path = settings.intune[name].secret_file, credential(name)
    if named is not None:
        return read_secret(settings.directory / named, "secret_file of Intune", _MAKE_FILE)
    if path is None:
        raise SettingsError(
            f"nothing says where the client secret of [intune.{name}] is",
            hint="set its secret_file, or LoadCredential=scep-intune-"
            f"{name}:FILE in the systemd unit",
        )
    # systemd sees to it that nobody else reads it, whatever its mode says.
    with refusals(f"cannot read {path}"):
        octets = read_file(path)
    try:
        return octets.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError:
        # Not `from`: the exception holds what is in the file.
        raise SettingsError(f"{path} is not text in UTF-8", hint=_MAKE_FILE) from None


_MAKE_FILE = "write the Value of the client secret into it: (umask 077; cat > FILE)"
_MAKE_CREDENTIAL = "make one: (umask 077; openssl rand -hex 20 > FILE)"
_MAKE_KEY = "for secret_file, make one: (umask 077; openssl rand -base64 32 > FILE)"


def _static(path: Path, rule: ChallengeRuleSettings, key: Callable[[], bytes] | None) -> str:
    """Read a static challenge that its rule takes.

    Raises:
        SettingsError: it cannot be used, or no request with it would reach the rule.
    """
    secret = read_static(path, key)
    if not rule.pattern.takes(secret):
        raise SettingsError(
            f"the challenge in {path} has another shape than match of its rule has",
            hint="make one that fits, or change match",
        )
    return secret


class BlocklistFiles:
    """The files with blocked keys that profiles name; each is read once.

    Args:
        settings: the server's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lists: dict[Path, Blocklist] = {}

    def of(self, profile: ProfileSettings) -> Blocklist | None:
        """Return the keys that get no certificate of a profile.

        Raises:
            SettingsError: its file cannot be used, or all have too many keys together.
        """
        named = profile.key.blocklist
        if named is None:
            return None
        path = self._settings.directory / named
        if path not in self._lists:
            with refusals(f"cannot read {path}"), plain_file(path) as file:
                self._lists[path] = Blocklist.read(str(path), lines_of(file))
            if sum(map(len, self._lists.values())) > MOST:
                raise SettingsError(
                    f"the blocklists of all profiles have more than {MOST} keys",
                    hint="shorten them",
                )
        return self._lists[path]
