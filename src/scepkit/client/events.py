"""The events of an enrolment or a renewal: small values that a program prints, logs or ignores.

None of them shows a secret as text; `RequestPrepared` and `RequestReplaced` have the
request, with its key and challenge.
A wait is no event: see `pause` of `scepkit.Client`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from scepkit.client.prepared_request import PreparedRequest
from scepkit.client.renewal_info import RenewalAdvice
from scepkit.client.trust import CA
from scepkit.errors import ScepError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest


@dataclass(frozen=True, slots=True)
class OthersCanWrite:
    """Others can replace the key and the certificates.

    Attributes:
        directory: of the key.
        place: where they can write: the directory itself, or one above it.
    """

    directory: Path
    place: Path


@dataclass(frozen=True, slots=True)
class InstallationFinished:
    """An installation that had been interrupted was finished.

    Attributes:
        directory: where.
    """

    directory: Path


@dataclass(frozen=True, slots=True)
class CATrusted:
    """The CA is trusted from here on.

    Attributes:
        ca: the CA, with the algorithms to use, and with what it does not say any more.
    """

    ca: CA


@dataclass(frozen=True, slots=True)
class RequestContinued:
    """A request was begun earlier, and its key is used again.

    Attributes:
        key_file: where the key waits.
    """

    key_file: Path


@dataclass(frozen=True, slots=True)
class ReplyUnlikely:
    """Few CAs can answer: nothing can be encrypted to the key, and there is no challenge.

    Attributes:
        kind: of the key, such as `ed25519`.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class RequestPrepared:
    """A request is kept in the directory, and goes out.

    Attributes:
        request: the request.
    """

    request: PreparedRequest


@dataclass(frozen=True, slots=True)
class RequestReplaced:
    """A request waits in the directory; another one goes out in its place, with the same key.

    Attributes:
        key_file: where the key waits.
        transaction_id: of the request that waits.
        waiting: what that asks for; None where the directory does not tell, as of a renewal.
        request: the other one.
    """

    key_file: Path
    transaction_id: str
    waiting: CertificationRequest | None
    request: PreparedRequest


@dataclass(frozen=True, slots=True)
class RequestOver:
    """The CA refuses the request that was begun earlier; a new one goes out.

    Attributes:
        transaction_id: of the earlier one.
        reason: why it is over.
    """

    transaction_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RequestStays:
    """The new request was refused; the one that was begun earlier may be granted yet, and stays.

    Attributes:
        transaction_id: of the earlier one.
        key_file: where its key waits.
    """

    transaction_id: str
    key_file: Path


@dataclass(frozen=True, slots=True)
class KeyStays:
    """There is no certificate yet, and the key stays: the same call asks for it again.

    Attributes:
        key_file: where the key waits.
    """

    key_file: Path


@dataclass(frozen=True, slots=True)
class NextCAAnnounced:
    """The CA announces the one that will follow it.

    Attributes:
        certificate: the next CA's.
    """

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class NextCAUnknown:
    """The CA could not be asked for the one that will follow it.

    Attributes:
        error: why not.
    """

    error: ScepError


@dataclass(frozen=True, slots=True)
class NextCAUntrusted:
    """The CA's answer about the one that will follow it cannot be trusted.

    Attributes:
        error: why not.
    """

    error: ScepError


@dataclass(frozen=True, slots=True)
class NextCAInForce:
    """The next CA is in force: the certificate that it issued in advance is installed."""


@dataclass(frozen=True, slots=True)
class RevocationUnknown:
    """No place that the certificate names could say whether it was revoked.

    Attributes:
        reasons: why not, one for each place.
    """

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HoldEnded:
    """The certificate was on hold, and is not any more."""


@dataclass(frozen=True, slots=True)
class RenewalInfoUnknown:
    """The server did not say when the certificate is best renewed.

    Attributes:
        error: why not.
    """

    error: ScepError


@dataclass(frozen=True, slots=True)
class RenewalAdvised:
    """The server wants the certificate to be renewed now, before it would be renewed otherwise.

    Attributes:
        advice: what it says.
    """

    advice: RenewalAdvice


@dataclass(frozen=True, slots=True)
class OutputsChanged:
    """The further files are others than before.

    Attributes:
        written: the files that are written, now and at each renewal.
        left: the files that are not written any more, and stay as they are.
    """

    written: tuple[Path, ...]
    left: tuple[Path, ...]


Event: TypeAlias = (
    OthersCanWrite
    | OutputsChanged
    | InstallationFinished
    | CATrusted
    | RequestContinued
    | RequestReplaced
    | ReplyUnlikely
    | RequestPrepared
    | RequestOver
    | RequestStays
    | KeyStays
    | NextCAAnnounced
    | NextCAUnknown
    | NextCAUntrusted
    | NextCAInForce
    | RevocationUnknown
    | HoldEnded
    | RenewalInfoUnknown
    | RenewalAdvised
)

Tell: TypeAlias = Callable[[Event], None]
"""Takes the events, at the time at which they happen."""


def ignore(_event: Event) -> None:
    """Do nothing with an event."""
