"""The ordering of a certificate from an issuer outside, and what cannot be used of its word."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TypeAlias

from scepkit.ca.issuer import IssuedCertificate, Issuer, Later, Order
from scepkit.enrolment.telling import Next, withdraw
from scepkit.enrolment.third_parties import Awaited, Role
from scepkit.errors import FailInfoError, SettingsError
from scepkit.store import Answer, Challenge

Word: TypeAlias = IssuedCertificate | Later | FailInfoError
"""The answer of an issuer: a certificate, that it takes time, or no."""


def order_from(
    issuer: Issuer,
    order: Order,
    go_on: partial[Next],
    challenge: Challenge | None,
    renews: int | None,
    keep: partial[Answer | None] | None = None,
) -> Next:
    """Ask an issuer: here if it computes, on the event loop if it waits.

    Args:
        issuer: who is asked.
        order: what for.
        go_on: takes its word, and what was kept of it.
        challenge: as in `Awaited`, like the next.
        renews: as in `Awaited`.
        keep: stores its word; None where nothing is stored yet.
    """
    if not inspect.iscoroutinefunction(issuer.certify):
        word: object
        try:
            word = issuer.certify(order)
        except FailInfoError as error:
            word = error
        return go_on(word, None if keep is None else keep(word))
    return Awaited(
        role=Role.ISSUER,
        name=issuer.name,
        ask=partial(issuer.certify, order),
        keep=keep or (lambda _word: None),
        go_on=go_on,
        challenge=challenge,
        renews=renews,
    )


def unusable(issuer: Issuer, certificate: IssuedCertificate) -> Awaited:
    """Withdraw a certificate of another key than was ordered; nothing is sent to the device.

    Args:
        issuer: who made it.
        certificate: the certificate.
    """

    def fail(_word: object, _kept: object) -> Next:
        raise SettingsError(
            f"{issuer.name} has certified another key than it was asked to",
            hint="nothing was sent to the device; look at that CA",
        )

    return withdraw(issuer, certificate, fail)
