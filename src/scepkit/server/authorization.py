"""The rules of endpoints, put together of settings and files: who may have a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepkit.enrolment.challenges import ChallengeRule, NoChallenge
from scepkit.enrolment.challenges.selection import Selected, Selection
from scepkit.enrolment.challenges.static import StaticChallenge, StaticChallenges
from scepkit.server.data_directory import challenges_of
from scepkit.server.settings.authorization import (
    ChallengeRuleSettings,
    OneTimeRule,
    challenge_rules,
)

if TYPE_CHECKING:
    from scepkit.server.data_directory import Home
    from scepkit.server.endpoint_files import EndpointFiles
    from scepkit.store import Store


def rules_of(
    name: str, home: Home, store: Store, files: EndpointFiles
) -> tuple[ChallengeRule, Selection | None]:
    """Return the rule of an endpoint for challenges, and which one it is where that depends.

    Args:
        name: the endpoint's.
        home: the data directory.
        store: its database.
        files: the contents of the files that the endpoint names.
    """
    settings = home.settings.endpoint[name]
    found = [
        (one.pattern, Selected(_challenge_rule(name, one, home, store, files), one.waits))
        for one in challenge_rules(settings.rules)
    ]
    if not found:
        return NoChallenge(), None
    return found[0][1].challenges, Selection(tuple(found)) if settings.authorization else None


def _challenge_rule(
    name: str, rule: ChallengeRuleSettings, home: Home, store: Store, files: EndpointFiles
) -> ChallengeRule:
    if isinstance(rule, OneTimeRule):
        return challenges_of(home, store, name)
    return StaticChallenges(
        tuple(
            StaticChallenge(files.challenges[one.file], one.name, one.start, one.end)
            for one in rule.secrets
        )
    )
