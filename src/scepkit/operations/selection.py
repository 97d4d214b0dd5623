"""The certificates that an operator means: by number, subject, file or list, and their renewals."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.errors import Hint, UsageError
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.crl import Reason
from scepkit.protocol.distinguished_name import Name
from scepkit.store import CertificateKey, CertificateRow, RequestRow, Status, Store

_SERIAL = re.compile(r"(?:0x)?([0-9a-f]{1,40})")
_ISSUER = re.compile(r"[0-9a-f]{4,64}")
_ISSUER_SHOWN = 8  # digits that are enough to tell the CAs of one server apart
_SHOWN = 5  # lines of a list that are named when they are wrong
_WORD = re.compile(r"[A-Za-z0-9]+")
_NONE = timedelta()


@dataclass(frozen=True, slots=True)
class Moment:
    """The present time, and the time after its end in which a certificate can be renewed.

    Attributes:
        now: the time, aware.
        graces: by endpoint, how long after its end a certificate still renews; not at all where
            nothing is said.
    """

    now: datetime
    graces: Mapping[str, timedelta] = field(default_factory=dict)

    def is_over(self, row: CertificateRow) -> bool:
        """Say whether a certificate has ended and renews nothing any more.

        One that has ended but still renews is as dangerous in a thief's hands as a valid one.
        """
        return row.not_after < self.now - self.graces.get(row.endpoint, _NONE)


@dataclass(frozen=True, slots=True)
class Selection:
    """The certificates that an operator means.

    Attributes:
        rows: all that the operation is about, whether it changes them or not.
        over: what is in their chains, has expired and renews nothing any more: it is left alone.
        is_search: whether they were looked for, by subject or along renewals, so that more may be
            there than somebody thought of, and more may come at this very moment.
    """

    rows: Sequence[CertificateRow]
    over: Sequence[CertificateRow] = ()
    is_search: bool = False

    def revocable(self, reason: Reason) -> list[CertificateRow]:
        """Return those that revoking with a reason changes: the first reason stands."""
        may_follow = reason is not Reason.certificateHold
        return [row for row in self.rows if row.revoked_at is None or (may_follow and is_held(row))]

    def held(self) -> list[CertificateRow]:
        """Return those that are on hold."""
        return [row for row in self.rows if is_held(row)]


def is_held(row: CertificateRow) -> bool:
    """Say whether a certificate is on hold."""
    return row.revocation_reason == Reason.certificateHold


def certificate_status(row: CertificateRow, now: datetime, *, is_signed: bool = False) -> str:
    """Return `valid`, `signed`, `revoked`, `held` or `expired`.

    Args:
        row: the certificate; on hold it is listed as revoked, too.
        now: the time, aware.
        is_signed: whether a service has still to agree to its delivery.
    """
    if row.revoked_at is not None:
        return "held" if is_held(row) else "revoked"
    if now > row.not_after:
        return "expired"
    return "signed" if is_signed else "valid"


def request_status(row: RequestRow) -> str:
    """Return `pending`, `signed`, `issued`, `rejected`, or `lapsed` where nobody decided."""
    return "lapsed" if row.status is Status.EXPIRED else row.status.value


def parse_serial(text: str) -> int:
    """Read a serial number in hex, with or without colons.

    Raises:
        UsageError: it is none.
    """
    match = _SERIAL.fullmatch(text.strip().lower().replace(":", ""))
    if match is None:
        raise UsageError(f"{text!r} is not a serial number", hint=Hint.SERIAL_NUMBER)
    return int(match[1], 16)


def parse_named(text: str) -> tuple[int, str]:
    """Read the name of a certificate: its serial number, and `@` and a CA where that is said.

    Returns:
        The serial number, and the first digits of the SHA-256 of the CA's public key; "" for any.

    Raises:
        UsageError: it is none.
    """
    number, _, issuer = text.strip().lower().partition("@")
    if "@" in text and not _ISSUER.fullmatch(issuer):
        raise UsageError(f"{text!r} names no CA behind the @", hint=Hint.ISSUER)
    return parse_serial(number), issuer


def by_serial(store: Store, serials: Iterable[str]) -> list[CertificateRow]:
    """Return the certificates with these serial numbers.

    Args:
        store: where issued certificates are.
        serials: each a serial number, or a serial number, @, and the first digits of the SHA-256 of
            its CA's public key: several CAs may have issued the same one.

    Raises:
        UsageError: one is no serial number, or there is none or more than one such certificate.
        StoreError: the database cannot be read.
    """
    return [_named(store, text) for text in serials]


def _named(store: Store, text: str) -> CertificateRow:
    number, issuer = parse_named(text)
    rows = store.certificates_with(number)
    found = [row for row in rows if row.issuer.hex().startswith(issuer)]
    if not found:
        raise UsageError(
            f"no certificate with the serial number {text} was issued", hint=Hint.CERTIFICATES
        )
    if len(found) > 1:
        names = ", ".join(f"{_with_issuer(row)} ({row.subject})" for row in found[:_SHOWN])
        shown = show_serial(number)
        raise UsageError(
            f"{len(found)} CAs have issued a certificate with the serial number {shown}: {names}",
            hint=Hint.ISSUER,
        )
    return found[0]


def _with_issuer(row: CertificateRow) -> str:
    return f"{show_serial(row.serial)}@{row.issuer.hex()[:_ISSUER_SHOWN]}"


def by_subject(store: Store, subject: x509.Name, moment: Moment) -> list[CertificateRow]:
    """Return the certificates with exactly this subject that are not over, newest first.

    Names are compared as everywhere (`Name.matches`); those that are revoked are among them.

    Args:
        store: where issued certificates are.
        subject: the whole subject.
        moment: when it is.

    Raises:
        StoreError: the database cannot be read.
    """
    wanted = Name.of(subject)
    return [
        row
        for row in store.certificates(subject=_longest_word(subject))
        if not moment.is_over(row) and Certificate.read(row.der).subject_name.matches(wanted)
    ]


def by_certificate(store: Store, content: bytes, name: str) -> CertificateRow:
    """Return the certificate that is in a file, PEM or DER.

    Args:
        store: where issued certificates are.
        content: of the file.
        name: of the file.

    Raises:
        UsageError: it is none, or not one that this server issued.
        StoreError: the database cannot be read.
    """
    is_pem = b"-----BEGIN" in content
    try:
        load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
        certificate = load(content)
    except ValueError as error:
        raise UsageError(
            f"{name} is not a certificate", hint="give a certificate in PEM or DER"
        ) from error
    der = certificate.public_bytes(Encoding.DER)
    rows = store.certificates_with(certificate.serial_number)
    row = next((row for row in rows if hmac.compare_digest(row.der, der)), None)
    if row is None:
        raise UsageError(
            f"the certificate in {name} was not issued by this server",
            hint=Hint.OWN_CERTIFICATES,
        )
    return row


def by_list(store: Store, content: bytes, name: str) -> list[CertificateRow]:
    """Return the certificates whose serial numbers a file lists, one a line.

    Blank lines, and what follows a #, do not count; a number that comes again counts once.

    Args:
        store: where issued certificates are.
        content: of the file.
        name: of the file.

    Raises:
        UsageError: a line is wrong, or there is none.
        StoreError: the database cannot be read.
    """
    found: dict[CertificateKey, CertificateRow] = {}
    wrong = []
    for number, text in _lines(content, name):
        try:
            (row,) = by_serial(store, [text])
        except UsageError as error:
            wrong.append(f"line {number}: {error.message}")
            continue
        found[row.key] = row
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise UsageError(
            f"{name}: {'; '.join(wrong[:_SHOWN])}{more}",
            hint="correct the file or take the lines out; nothing was changed",
        )
    if not found:
        raise UsageError(f"{name} lists no serial number", hint="write one a line, in hex")
    return [*found.values()]


def along_renewals(store: Store, rows: Iterable[CertificateRow], moment: Moment) -> Selection:
    """Select the whole renewal chains that certificates are in, newest first.

    That is, what each of them was renewed from, what was renewed from it, and so on in both
    directions; what is revoked is among them.

    Raises:
        StoreError: the database cannot be read.
    """
    selected: list[CertificateRow] = []
    over: list[CertificateRow] = []
    for row in reversed(store.renewal_chains([row.key for row in rows])):
        is_left = row.revoked_at is None and moment.is_over(row)
        (over if is_left else selected).append(row)
    return Selection(selected, over, is_search=True)


def _longest_word(subject: x509.Name) -> str | None:
    """Return the longest word of a subject, to look for; finds are compared with all of it."""
    words = [word for attribute in subject for word in _WORD.findall(str(attribute.value))]
    return max(words, key=len, default=None)


def _lines(content: bytes, name: str) -> Iterator[tuple[int, str]]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not text", hint="write one serial number a line") from error
    for number, line in enumerate(text.splitlines(), 1):
        wanted = line.split("#", 1)[0].strip()
        if wanted:
            yield number, wanted
