"""The one-time challenges of an endpoint, without the slow import of its SCEP side."""

from __future__ import annotations

from scepkit.enrolment.challenges.one_time import Challenges
from scepkit.errors import UsageError
from scepkit.server.data_directory import Home
from scepkit.server.settings import DEFAULT, Settings
from scepkit.server.settings.endpoint import EndpointSettings
from scepkit.store import Store


def challenges_of(home: Home, store: Store, name: str = DEFAULT) -> Challenges:
    """Return the one-time challenges of an endpoint.

    Raises:
        UsageError: there is no such endpoint, or it has none.
    """
    rule = endpoint_settings(home.settings, name).challenge
    if rule != "one-time":
        raise UsageError(
            f'the endpoint {name!r} has no one-time challenges: challenge = "{rule}"',
            hint="devices enrol there without one"
            if rule == "none"
            else "all devices use the one in its challenge_file",
        )
    return Challenges(store=store, endpoint=name, key=home.challenge_key)


def endpoint_settings(settings: Settings, name: str) -> EndpointSettings:
    """Return the settings of an endpoint.

    Raises:
        UsageError: there is no such endpoint.
    """
    found = settings.endpoint.get(name)
    if found is None:
        raise UsageError(
            f"there is no endpoint {name!r}", hint=f"one of {', '.join(settings.endpoint)}"
        )
    return found
