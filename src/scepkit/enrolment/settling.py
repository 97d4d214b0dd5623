"""The outcome that stands after the commit: what was decided, or what was there first."""

from __future__ import annotations

from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment import issuing, same_subject
from scepkit.enrolment.challenges.one_time import refused_as_spent
from scepkit.enrolment.request import Granted, Outcome, Queued, Refused, Repeated, repeated
from scepkit.enrolment.sender import revoked
from scepkit.store import (
    AlreadyAnswered,
    Answer,
    ChallengeSpent,
    OtherOwner,
    QueueFull,
    Recorded,
    SignerRevoked,
    SubjectTaken,
)


def settle(decided: Granted | Queued, answer: Answer, profile: Profile) -> Outcome:
    """Return the outcome that stands after the commit.

    Args:
        decided: what was to be stored.
        answer: what the store says: it is, or what stood in its way.
        profile: what the endpoint issues.

    Raises:
        BoundReached: too many requests wait already.
    """
    challenge, renews = decided.challenge, decided.renews
    match answer:
        case Recorded():
            return decided
        case AlreadyAnswered(outcome=standing):
            return Repeated(standing, challenge, renews)
        case OtherOwner():
            return repeated(answer, challenge, renews)
        case ChallengeSpent():
            return Refused(refused_as_spent(), challenge, renews)
        case SignerRevoked():
            return Refused(revoked(), challenge, renews)
        case SubjectTaken():
            return Refused(same_subject.taken(profile), challenge, renews)
        case QueueFull():
            raise issuing.queue_full(answer)
