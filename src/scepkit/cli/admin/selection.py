"""The certificates that `scep admin revoke` and `release` work on, and the question before.

They are told of by serial number, subject, file or a list, and along their renewal chains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scepkit.cli import terminal
from scepkit.cli.admin import input_file
from scepkit.cli.admin import revocation_report as report
from scepkit.cli.admin.server_directory import parse_serial
from scepkit.errors import UsageError
from scepkit.protocol import serial_number

if TYPE_CHECKING:
    from scepkit.operations.selection import Moment
    from scepkit.server.data_directory import Home
    from scepkit.store import CertificateRow, Store

_MAX_FILE = 64 * 1024  # octets of a certificate
_MAX_LIST = 64 * 1024 * 1024  # octets of a list, a million serial numbers or so
_SHOWN = 5  # lines of a list that are named when they are wrong


@dataclass(frozen=True, slots=True)
class Selection:
    """The certificates that an operator means.

    Attributes:
        rows: all that the command is about, whether it changes them or not.
        over: what is in their chains, has expired and renews nothing any more: it is left alone.
        is_search: whether they were looked for, by subject or along renewals, so that more may be
            there than somebody thought of, and more may come at this very moment.
    """

    rows: Sequence[CertificateRow]
    over: Sequence[CertificateRow] = ()
    is_search: bool = False


def select(
    home: Home,
    store: Store,
    *,
    serials: Sequence[str],
    subject: str | None = None,
    file: Path | None = None,
    batch: Path | None = None,
    and_renewals: bool = False,
) -> Selection:
    """Find the certificates that an operator means.

    Args:
        home: the server's directory.
        store: where issued certificates are.
        serials: their serial numbers, or
        subject: the whole subject of all of them, or
        file: a file with one of them, or
        batch: a file with their serial numbers.
        and_renewals: whether their whole renewal chains are meant.

    Raises:
        UsageError: they are told in no way or in several, or one cannot be found.
        StoreError: the database cannot be read.
    """
    if sum(map(bool, (serials, subject, file, batch))) != 1:
        raise UsageError(
            "name the certificates in exactly one way",
            hint="by SERIAL…, --subject, --file or --batch",
        )
    moment = this_moment(home)
    if subject is not None:
        rows = by_subject(store, subject, moment)
    elif file is not None:
        rows = [by_file(store, file)]
    elif batch is not None:
        rows = by_list(store, batch)
    else:
        rows = by_serial(store, serials)
    if not and_renewals:
        return Selection(rows, is_search=subject is not None)
    return _along_renewals(store, rows, moment)


def _along_renewals(store: Store, rows: Sequence[CertificateRow], moment: Moment) -> Selection:
    from scepkit.operations import selection

    chains = selection.along_renewals(store, rows)
    return Selection(
        [row for row in chains if row.revoked_at is not None or not moment.is_over(row)],
        [row for row in chains if row.revoked_at is None and moment.is_over(row)],
        is_search=True,
    )


def this_moment(home: Home) -> Moment:
    """Return the time, and how long the endpoints of a server renew what has expired."""
    from scepkit.operations.selection import Moment
    from scepkit.server.data_directory import utc_now

    days = {name: one.renewal_grace_days for name, one in home.settings.endpoint.items()}
    return Moment(utc_now(), {name: timedelta(days=count) for name, count in days.items()})


def ask(
    rows: Sequence[CertificateRow],
    *,
    what: str,
    question: str,
    look: str,
    yes: bool,
    many_only: bool,
) -> None:
    """Show certificates and ask whether they are meant.

    Args:
        rows: those that would change.
        what: what would be done with them, to follow "would be".
        question: what is asked.
        look: how to see them first, for who cannot be asked.
        yes: whether it is answered already.
        many_only: whether one certificate goes through where nobody can be asked.

    Raises:
        UsageError: nobody is there to ask.
        Abort: they are not meant.
    """
    if yes or not rows:
        return
    if not terminal.can_ask():
        if many_only and len(rows) == 1:
            return
        raise UsageError(
            f"{report.certificates(len(rows))} would be {what}, and there is no terminal to ask at",
            hint=f"{look}, then give --yes",
        )
    for row in rows[: report.FEW]:
        until = f"{row.not_after:%Y-%m-%d %H:%M} UTC"
        terminal.say(f"  {serial_number.show(row.serial)}, {row.subject}, until {until}")
    if len(rows) > report.FEW:
        terminal.say(f"  and {len(rows) - report.FEW} more")
    if not terminal.confirm(question):
        raise typer.Abort


def by_serial(store: Store, serials: Iterable[str]) -> list[CertificateRow]:
    """Return the certificates with these serial numbers.

    Raises:
        UsageError: one is no serial number, or no certificate has it.
    """
    return [_issued(store, text, parse_serial(text)) for text in serials]


def by_subject(store: Store, text: str, moment: Moment) -> list[CertificateRow]:
    """Return the certificates with exactly this subject that can be used, newest first.

    Raises:
        UsageError: it is no subject, or there is no such certificate.
    """
    from scepkit.operations import selection
    from scepkit.protocol.rfc4514 import parse_subject

    found = selection.by_subject(store, parse_subject(text), moment)
    if not found:
        raise UsageError(
            f"no certificate for {text} is valid",
            hint="give the whole subject; scep admin list --subject TEXT finds parts of it",
        )
    return found


def by_file(store: Store, path: Path) -> CertificateRow:
    """Return the certificate that is in a file, PEM or DER.

    Raises:
        UsageError: it cannot be read, is none, or is not one that this server issued.
    """
    import hmac

    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    content = input_file.read(path, _MAX_FILE)
    is_pem = b"-----BEGIN" in content
    try:
        load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
        certificate = load(content)
    except ValueError as error:
        raise UsageError(
            f"{path} is not a certificate", hint="give a certificate in PEM or DER"
        ) from error
    row = store.certificate(certificate.serial_number)
    der = certificate.public_bytes(Encoding.DER)
    if row is None or not hmac.compare_digest(row.der, der):
        raise UsageError(
            f"the certificate in {path} was not issued by this server",
            hint="scep admin list shows its certificates",
        )
    return row


def by_list(store: Store, path: Path) -> list[CertificateRow]:
    """Return the certificates whose serial numbers a file lists, one a line; - is stdin.

    Blank lines, and what follows a #, do not count; a number that comes again counts once.

    Raises:
        UsageError: it cannot be read, or a line is wrong.
    """
    found: dict[int, CertificateRow] = {}
    wrong = []
    for number, text in _lines(input_file.read(path, _MAX_LIST), path):
        try:
            (row,) = by_serial(store, [text])
        except UsageError as error:
            wrong.append(f"line {number}: {error.message}")
            continue
        found[row.serial] = row
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise UsageError(
            f"{path}: {'; '.join(wrong[:_SHOWN])}{more}",
            hint="correct the file or take the lines out; nothing was changed",
        )
    if not found:
        raise UsageError(f"{path} lists no serial number", hint="write one a line, in hex")
    return [*found.values()]


def _issued(store: Store, text: str, serial: int) -> CertificateRow:
    row = store.certificate(serial)
    if row is None:
        raise UsageError(
            f"no certificate with the serial number {text} was issued",
            hint="scep admin list shows them; nothing was changed",
        )
    return row


def _lines(content: bytes, path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text", hint="write one serial number a line") from error
    for number, line in enumerate(text.splitlines(), 1):
        wanted = line.split("#", 1)[0].strip()
        if wanted:
            yield number, wanted
