"""Connections to Intune: one for each app registration, whichever endpoints use it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from scepkit.ca.profiles.extras import needed
from scepkit.enrolment.secret_box import SecretBox
from scepkit.enrolment.third_parties import ThirdParties, Verdict
from scepkit.server.directory.endpoint_files import intune_secret
from scepkit.server.intune.client import IntuneClient
from scepkit.server.intune.kept_requests import KeptRequests
from scepkit.server.intune.notification import Notification
from scepkit.server.intune.registration import Registration
from scepkit.server.intune.single_flight import SingleFlight
from scepkit.server.intune.validation import Validation
from scepkit.server.settings.authorization import IntuneRule
from scepkit.server.webhooks.circuit import Circuit
from scepkit.server.webhooks.posting import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scepkit.server.directory.data_directory import Home
    from scepkit.server.settings import Settings
    from scepkit.store import Store


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection to Intune; for one event loop.

    Attributes:
        client: calls it.
        circuit: leaves it alone where it fails again and again.
        validations: those under way.
        notifications: those under way.
        requests: keeps what it has validated.
    """

    client: IntuneClient
    circuit: Circuit
    validations: SingleFlight[Verdict]
    notifications: SingleFlight[Verdict]
    requests: KeptRequests

    def parties(self, *, waits: bool) -> ThirdParties:
        """Return the third parties of an endpoint that uses it.

        Args:
            waits: whether certificates wait for the success notification.
        """
        validation = Validation(
            client=self.client,
            circuit=self.circuit,
            requests=self.requests,
            calls=self.validations,
        )
        notification = Notification(
            client=self.client,
            circuit=self.circuit,
            requests=self.requests,
            calls=self.notifications,
            waits=waits,
        )
        return ThirdParties(referee=validation, teller=notification, observer=notification)


class Connections:
    """The connections of a server, each made when an endpoint first needs it; for one event loop.

    Args:
        home: its data directory.
        store: its database.
        now: its clock.
    """

    def __init__(self, home: Home, store: Store, now: Callable[[], datetime]) -> None:
        self._home = home
        self._store = store
        self._now = now
        self._made: dict[str, Connection] = {}

    def parties_of(self, endpoint: str) -> ThirdParties | None:
        """Return the third parties of an endpoint; None where it does not ask Intune.

        Raises:
            SettingsError: a file cannot be used, or the package for HTTP is not installed.
        """
        rule = rule_of(self._home.settings, endpoint)
        if rule is None:
            return None
        if rule.registration not in self._made:
            self._made[rule.registration] = self._connect(rule.registration, endpoint)
        return self._made[rule.registration].parties(waits=rule.wait_for_success_notification)

    def _connect(self, name: str, endpoint: str) -> Connection:
        needed("aiohttp", "a rule of kind intune")
        settings = self._home.settings
        found, most = settings.intune[name], settings.max_waiting
        files = (self._home.files or {})[endpoint]
        circuit = Circuit(found.failures, timedelta(seconds=found.pause_seconds), self._now)
        box = SecretBox(self._home.challenge_key)
        return Connection(
            client=IntuneClient(registration_of(settings, name, files.intune)),
            circuit=circuit,
            validations=SingleFlight(most),
            notifications=SingleFlight(most),
            requests=KeptRequests(name, self._store, box, self._now),
        )


def rule_of(settings: Settings, endpoint: str) -> IntuneRule | None:
    """Return the rule by which an endpoint asks Intune; None where it does not."""
    rules = settings.endpoint[endpoint].rules
    return next((one for one in rules if isinstance(one, IntuneRule)), None)


def in_use(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    """Return the endpoints that use each app registration, by its name."""
    found: dict[str, tuple[str, ...]] = {}
    for endpoint in settings.endpoint:
        rule = rule_of(settings, endpoint)
        if rule is not None:
            found[rule.registration] = (*found.get(rule.registration, ()), endpoint)
    return found


def registration_of(settings: Settings, name: str, secret: str = "") -> Registration:
    """Return an app registration as the settings have it.

    Args:
        settings: the server's.
        name: the registration's.
        secret: its client secret; "" to read its file.

    Raises:
        SettingsError: a file cannot be used.
    """
    found = settings.intune[name]
    ca = None if found.ca_file is None else str(settings.directory / found.ca_file)
    return Registration(
        name=name,
        tenant=found.tenant,
        client_id=found.client_id,
        secret=secret or intune_secret(settings, name),
        authority_url=found.authority_url.rstrip("/"),
        graph_url=found.graph_url.rstrip("/"),
        resource_url=found.resource_url.rstrip("/") + "/",
        seconds=found.seconds,
        proxy=found.proxy,
        context=None if ca is None else tls_context(ca, None, None),
        secret_expires=found.secret_expires,
    )
