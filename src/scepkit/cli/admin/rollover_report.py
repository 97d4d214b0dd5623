"""The report on a step of a rollover that cannot be taken back, shown before it is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepkit.cli import terminal
from scepkit.protocol.distinguished_name import Name

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.ca.directory.rollover import Generation


def say_what_activate_does(current: Generation, following: Generation) -> None:
    """Report the change of CAs, and its consequences for devices, the RA and OCSP.

    Args:
        current: the CA in force.
        following: the one that would be.
    """
    from scepkit.keys.pem import sha256_fingerprint

    terminal.say("This puts the next CA into force, and cannot be taken back:")
    terminal.fields(
        [
            ("old CA", _certificate(current.ca)),
            ("next CA", _certificate(following.ca)),
            ("prepared", _prepared(following)),
            ("fingerprint", sha256_fingerprint(following.ca)),
            ("RA", _ra(current, following)),
        ]
    )
    for line in (
        "Devices that have fetched the next CA since then (GetNextCACert) renew by themselves.",
        "All other devices refuse the next CA until they are given its fingerprint or certificate.",
        "Until then they can neither renew nor enrol, though their certificates stay valid.",
        "The old CA's certificates can be renewed and revoked, and its CRL goes on being signed.",
        "GetCACert shows the next CA and its RA; requests to the old RA are still answered.",
        "OCSP answers for the certificates of each CA, with a responder of that CA.",
        "Programs that check certificates (web servers) need the next CA and its CRL beforehand.",
    ):
        terminal.say(line)


def say_what_cancel_does(following: Generation) -> None:
    """Report the CA that is dropped, and the consequences.

    Args:
        following: the next CA.
    """
    terminal.say("This drops the next CA with its keys, and cannot be taken back:")
    terminal.fields([("next CA", _certificate(following.ca)), ("prepared", _prepared(following))])
    terminal.say("Certificates that it has issued can no longer be revoked, and no CRL is signed.")


def _certificate(one: x509.Certificate) -> str:
    return f"{Name.of(one.subject)}, until {one.not_valid_after_utc:%Y-%m-%d}"


def _prepared(following: Generation) -> str:
    from scepkit.ca.profile import BACKDATE
    from scepkit.cli import duration
    from scepkit.server.data_directory import utc_now

    # The CA's validity begins that much before it was made.
    since = following.ca.not_valid_before_utc + BACKDATE
    return f"{since:%Y-%m-%d %H:%M} UTC, {duration.show(utc_now() - since)} ago"


def _ra(current: Generation, following: Generation) -> str:
    before, after = (
        str(Name.of(one.ra.subject)) if one.ra is not None else "the CA itself"
        for one in (current, following)
    )
    return f"{before}; then {after}"
