"""Answers to who asks when a certificate is best renewed (RFC 9773 section 4).

Anybody may ask, so a question costs some look-ups by indexes. The answer says nothing that
the certificate does not, but for when it is to be renewed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from scepkit.ca.extensions import key_identifier
from scepkit.enrolment import renewal_window
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.rules import RenewalRules
from scepkit.errors import HTTPRefused, Malformed
from scepkit.operations.selection import is_held
from scepkit.protocol.scep.renewal_info import CertID, RenewalInfo
from scepkit.store import CertificateRow, Store
from scepkit.store.values import MAX_SERIAL_BITS

_MOST_OFTEN, _LEAST_OFTEN = timedelta(hours=1), timedelta(hours=6)
_QUESTIONS = 20  # in the life of a certificate at least, if that is not too often


class RenewalTimes:
    """The times at which the certificates of an endpoint are renewed. Threads may share it.

    Args:
        issuers: the endpoint's CAs, of all generations.
        rules: its rules; None: nothing is renewed.

    Attributes:
        rules: as given.
    """

    def __init__(self, issuers: Issuers, rules: RenewalRules | None) -> None:
        self.rules = rules
        self._issuers = {
            key_identifier(one.certificate): one.key_hash for one in issuers.authorities
        }

    def issuer(self, authority: bytes) -> bytes | None:
        """Return SHA-256 of the key of the CA that an authorityKeyIdentifier names, if it is here.

        Args:
            authority: the keyIdentifier.
        """
        return self._issuers.get(authority)


@dataclass(frozen=True, slots=True)
class RenewalAnswer:
    """The answer about a certificate.

    Attributes:
        info: its window.
        serial: its serial number.
        endpoint: the name of the endpoint that issued it.
        again_after: when to ask again.
    """

    info: RenewalInfo
    serial: int
    endpoint: str
    again_after: timedelta


def answer(endpoints: Mapping[str, RenewalTimes], store: Store, name: str) -> RenewalAnswer:
    """Say when a certificate is best renewed.

    Args:
        endpoints: of the server, by their names.
        store: where issued certificates are.
        name: of the certificate, as RFC 9773 section 4.1 has it.

    Raises:
        HTTPRefused: the name is none (400), or that of no certificate here that can be renewed
            (404).
        StoreError: the database cannot be read.
    """
    try:
        named = CertID.read(name)
    except Malformed as error:
        raise HTTPRefused(400, error.message) from error
    row = _find(endpoints.values(), store, named)
    if row is None:
        raise HTTPRefused(404, "this server knows no such certificate")
    if row.revoked_at is not None and not is_held(row):
        raise HTTPRefused(404, "the certificate was revoked, and cannot be renewed")
    times = endpoints.get(row.endpoint)
    pulls = store.pulls(row)
    window = times and times.rules and renewal_window.best(row, times.rules, pulls)
    if not window:
        raise HTTPRefused(404, "the certificate cannot be renewed")
    why = next((one.explanation for one in pulls if one.explanation), "")
    life = row.not_after - row.not_before
    return RenewalAnswer(
        RenewalInfo(window.start, window.end, why),
        row.serial,
        row.endpoint,
        min(max(life / _QUESTIONS, _MOST_OFTEN), _LEAST_OFTEN),
    )


def _find(endpoints: Iterable[RenewalTimes], store: Store, named: CertID) -> CertificateRow | None:
    number = named.serial_number
    if not 0 < number < 1 << MAX_SERIAL_BITS:
        return None
    # Hardly ever more than one: their keys would have to have one identifier.
    issuers = {one.issuer(named.authority) for one in endpoints} - {None}
    rows = (store.find_certificate(one, number) for one in issuers if one is not None)
    return next((row for row in rows if row is not None), None)
