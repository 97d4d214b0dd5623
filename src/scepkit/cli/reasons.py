"""The reasons of a revocation, as options of the commands."""

from __future__ import annotations

from enum import StrEnum

from scepkit.errors import UsageError
from scepkit.protocol.crl import Reason


class ReasonName(StrEnum):
    """The reasons by their names in RFC 5280 section 5.3.1; all but removeFromCRL."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"

    @property
    def reason(self) -> Reason:
        """The CRLReason of that name."""
        return Reason[self.value]


def read_reason(text: str) -> ReasonName:
    """Read a reason, in upper or lower case.

    Raises:
        UsageError: there is no such reason.
    """
    found = {name.lower(): name for name in ReasonName}.get(text.lower())
    if found is None:
        raise UsageError(f"--reason {text}: no such reason", hint=f"one of {', '.join(ReasonName)}")
    return found


def reason_name(code: int | None) -> str:
    """Return the name of a CRLReason code; nothing for none."""
    return "" if code is None else Reason(code).name
