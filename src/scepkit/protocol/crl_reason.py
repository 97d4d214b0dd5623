"""The reasons of a revocation (RFC 5280 section 5.3.1)."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """CRLReason, with the names that RFC 5280 spells; there is no 7."""

    unspecified = 0
    keyCompromise = 1
    cACompromise = 2
    affiliationChanged = 3
    superseded = 4
    cessationOfOperation = 5
    certificateHold = 6
    removeFromCRL = 8
    privilegeWithdrawn = 9
    aACompromise = 10
