"""The limits that a CA's certificate, and those above it, set to what the CA issues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from scepkit.ca.checks import label
from scepkit.errors import BadRequest, Malformed, SettingsError
from scepkit.protocol.asn1 import x509 as _x509
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.name_constraints import NameConstraints


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one CA.

    Attributes:
        not_before: what is issued is valid from then on at the earliest.
        not_after: and until then at the latest.
        constraints: what its names have to keep to; none for most CAs.
        fault: why nothing may be issued at all; "" where something may.
    """

    not_before: datetime
    not_after: datetime
    constraints: tuple[NameConstraints, ...] = ()
    fault: str = ""

    @classmethod
    def of(cls, certificate: x509.Certificate, above: Sequence[x509.Certificate] = ()) -> Limits:
        """Return the limits of a CA.

        Args:
            certificate: the CA's own.
            above: the certificates over it, from its issuer up, as far as they are known.

        Raises:
            SettingsError: they cannot be read.
        """
        chain = (certificate, *above)
        return cls(
            max(one.not_valid_before_utc for one in chain),
            min(one.not_valid_after_utc for one in chain),
            tuple(one for one in map(constraints_of, chain) if one is not None),
            _path_length_fault(above),
        )

    def check(self, subject: Name, names: Sequence[GeneralName]) -> None:
        """Refuse the names of a certificate that are not allowed.

        Raises:
            BadRequest: see `NameConstraints.check`.
        """
        for one in self.constraints:
            one.check(subject, names)

    def check_own(self, name: Name) -> None:
        """Refuse a name that the CA is to certify for the server itself: of its RA, for OCSP.

        Raises:
            SettingsError: it is not allowed.
        """
        try:
            self.check(name, ())
        except BadRequest as error:
            raise SettingsError(
                f'"{name}", which the server needs a certificate for, is not allowed: '
                f"{error.message}",
                hint="let the permitted subtree of directoryName end above the CA's CN",
            ) from error


def constraints_of(certificate: x509.Certificate) -> NameConstraints | None:
    """Return the name constraints of a certificate; None if it has none.

    Raises:
        SettingsError: it has some that cannot be read, by us or by the library.
    """
    found = Certificate.of(certificate)
    try:
        constraints = NameConstraints.of(found)
        if constraints is not None:
            _x509.check(found.der)
    except Malformed as error:
        raise SettingsError(
            f"the name constraints of {label(certificate)} cannot be read: {error.message}",
            hint="nobody could verify what it issues; have it issued anew",
        ) from error
    return constraints


def _path_length_fault(above: Sequence[x509.Certificate]) -> str:
    """Say which certificate allows no CA of this depth (RFC 5280 section 4.2.1.9)."""
    for below, one in enumerate(above, 1):
        longest = path_length(one)
        if longest is not None and longest < below:
            return f"{label(one)} has a path length of {longest}: {below} CAs are below it"
    return ""


def path_length(certificate: x509.Certificate) -> int | None:
    """Return how many CAs a CA may have below it; None for any number."""
    try:
        return certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        ).value.path_length
    except x509.ExtensionNotFound:
        return None
