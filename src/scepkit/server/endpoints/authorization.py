"""The rules of endpoints, put together of settings and files: who may have a certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from scepkit.enrolment.challenges import ChallengeRule, NoChallenge
from scepkit.enrolment.challenges.devices import DeviceList, ListedKeys, Narrowed
from scepkit.enrolment.challenges.selection import ANY, Selected, Selection
from scepkit.enrolment.challenges.service import ServiceChallenge
from scepkit.enrolment.challenges.static import StaticChallenge, StaticChallenges
from scepkit.server.directory.data_directory import challenges_of
from scepkit.server.settings.authorization import (
    ChallengeRuleSettings,
    DevicesRule,
    IntuneRule,
    OneTimeRule,
    RuleSettings,
    WebhookRule,
    challenge_rules,
    unchallenged_rules,
)
from scepkit.server.webhooks.circuit import Circuit
from scepkit.server.webhooks.dialects import Dialect, Scepkit, Smallstep
from scepkit.server.webhooks.referee import Webhook
from scepkit.server.webhooks.services import key_of, poster_of

if TYPE_CHECKING:
    from scepkit.ca.profiles.profile import Profile
    from scepkit.server.directory.data_directory import Home
    from scepkit.server.directory.endpoint_files import EndpointFiles
    from scepkit.store import DeviceColumn, Store

    _Lists: TypeAlias = Callable[[tuple[DeviceColumn, ...]], DeviceList]


def rules_of(
    name: str,
    home: Home,
    store: Store,
    profile: Profile,
    files: EndpointFiles,
    now: Callable[[], datetime],
) -> tuple[ChallengeRule, Selection | None]:
    """Return the rule of an endpoint for challenges, and which one it is where that depends.

    Args:
        name: the endpoint's.
        home: the data directory.
        store: its database.
        profile: what the endpoint issues.
        files: the contents of the files that the endpoint names.
        now: returns the time as an aware datetime.

    Raises:
        SettingsError: a file for a webhook cannot be used, or a package for it is not installed.
    """
    settings = home.settings.endpoint[name]
    listed = partial(DeviceList, store, name, profile)
    found = [
        (
            one.pattern,
            Selected(
                _narrowed(_challenge_rule(name, one, home, store, files), one.devices, listed),
                one.waits,
                _webhook(one, home, files, now) if isinstance(one, WebhookRule) else None,
            ),
        )
        for one in challenge_rules(settings.rules)
    ]
    without = _unchallenged(settings.rules, listed)
    if not found:
        if without is None:
            return NoChallenge(), None
        # Some devices send a challenge where none is asked for: it makes no difference.
        return without.challenges, Selection(((ANY, without),), without)
    selection = Selection(tuple(found), without) if settings.authorization else None
    return found[0][1].challenges, selection


def _unchallenged(rules: Sequence[RuleSettings], listed: _Lists) -> Selected | None:
    """Return the rule for requests without a challenge, where it looks at them."""
    for rule in unchallenged_rules(rules):
        if isinstance(rule, DevicesRule):
            return Selected(ListedKeys(listed(rule.by)))
        if rule.devices:
            return Selected(_narrowed(NoChallenge(), rule.devices, listed), waits=True)
    return None


def _narrowed(rule: ChallengeRule, by: tuple[DeviceColumn, ...], listed: _Lists) -> ChallengeRule:
    return Narrowed(rule, listed(by)) if by else rule


def services_of(selection: Selection | None) -> tuple[Webhook, ...]:
    """Return the services that the rules of an endpoint ask."""
    if selection is None:
        return ()
    found = (selected.referee for _, selected in selection.rules)
    return tuple(one for one in found if isinstance(one, Webhook))


def _challenge_rule(
    name: str, rule: ChallengeRuleSettings, home: Home, store: Store, files: EndpointFiles
) -> ChallengeRule:
    if isinstance(rule, OneTimeRule):
        return challenges_of(home, store, name)
    if isinstance(rule, WebhookRule | IntuneRule):
        return ServiceChallenge()
    return StaticChallenges(
        tuple(
            StaticChallenge(files.challenges[one.file], one.name, one.start, one.end)
            for one in rule.secrets
        )
    )


def _webhook(
    rule: WebhookRule, home: Home, files: EndpointFiles, now: Callable[[], datetime]
) -> Webhook:
    """Return the object that asks the service of a rule.

    Raises:
        SettingsError: a file cannot be used, or the package for HTTP is not installed.
    """
    key = key_of(rule.secret_file, files.secrets, f"the webhook {rule.name!r}")
    dialect: Dialect = (
        Scepkit(key) if rule.dialect == "scepkit" else Smallstep(key, rule.webhook_id or rule.name)
    )
    poster = poster_of(rule, home.settings.directory, files.secrets, "a rule of kind webhook")
    circuit = Circuit(rule.failures, timedelta(seconds=rule.pause_seconds), now)
    return Webhook(f"webhook {rule.name}", dialect, poster, circuit, now)
