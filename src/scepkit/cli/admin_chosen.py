"""Which certificates an operator means: by serial number, subject, file, or a list of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scepkit.ca import file_errors, ownership
from scepkit.cli import identity
from scepkit.cli.admin_home import parse_serial
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.store import CertificateRow, Store

_MAX_FILE = 64 * 1024  # octets of a certificate
_MAX_LIST = 64 * 1024 * 1024  # octets of a list, a million serial numbers or so
_SHOWN = 5  # lines of a list that are named when they are wrong
_WORD = re.compile(r"[A-Za-z0-9]+")


def by_serial(store: Store, serials: Iterable[str]) -> list[CertificateRow]:
    """Return the certificates with these serial numbers.

    Raises:
        UsageError: one is no serial number, or no certificate has it.
    """
    return [_issued(store, text, parse_serial(text)) for text in serials]


def by_subject(store: Store, text: str) -> list[CertificateRow]:
    """Return the certificates with exactly this subject that have not expired, newest first.

    Raises:
        UsageError: it is no subject, or there is no such certificate.
    """
    from scepkit.protocol.certificate import Certificate
    from scepkit.protocol.distinguished_name import Name
    from scepkit.protocol.names import parse_subject
    from scepkit.server.assembly import utc_now

    asked, now = parse_subject(text), utc_now()
    subject = Name.of(asked)
    found = [
        row
        for row in store.certificates(subject=_longest_word(asked))
        if row.not_after >= now and Certificate.read(row.der).subject_name.matches(subject)
    ]
    if not found:
        raise UsageError(
            f"no certificate for {text} is valid",
            hint="it has to be the whole subject; scep admin list --subject TEXT looks for parts",
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

    content = _read(path, _MAX_FILE)
    is_pem = b"-----BEGIN" in content
    try:
        load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
        certificate = load(content)
    except ValueError as error:
        raise UsageError(f"{path} is not a certificate", hint="PEM or DER is read") from error
    row = store.certificate(certificate.serial_number)
    der = certificate.public_bytes(Encoding.DER)
    if row is None or not hmac.compare_digest(row.der, der):
        raise UsageError(
            f"the certificate in {path} was not issued by this server",
            hint="scep admin list shows what was",
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
    for number, text in _lines(_read(path, _MAX_LIST), path):
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


def _longest_word(subject: x509.Name) -> str | None:
    """Return a piece of a subject to look for; what is found is compared with all of it."""
    words: Sequence[str] = [
        word for attribute in subject for word in _WORD.findall(str(attribute.value))
    ]
    return max(words, key=len, default=None)


def _read(path: Path, most: int) -> bytes:
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(most + 1)
        else:
            with open(_opened(path), "rb") as file:
                content = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=_hint(error)) from error
    if len(content) > most:
        raise UsageError(f"{path} has more than {most} octets", hint="cut it in pieces")
    return content


def _opened(path: Path) -> int:
    """Open what may be a pipe, without waiting for somebody to write to it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


def _hint(error: OSError) -> str:
    user = identity.stands_in()
    if user and isinstance(error, PermissionError):
        return f"{user} has to be able to read it; or put - in its place, and <FILE behind it all"
    return ownership.hint(error) or file_errors.hint(error)


def _lines(content: bytes, path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text", hint="write one serial number a line") from error
    for number, line in enumerate(text.splitlines(), 1):
        wanted = line.split("#", 1)[0].strip()
        if wanted:
            yield number, wanted
