"""Certificates that a CA of this server issued elsewhere, taken over with their state.

Revocations come first (CRLs, then indexes), and the certificates after them, so that nothing that
is revoked is good for a moment. What is done stays done: the same import again does the rest.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from scepkit.errors import Malformed
from scepkit.operations import certificate_files, foreign_crl, openssl_index
from scepkit.operations.certificate_files import CERTIFICATE, CRL, Fault, Piece
from scepkit.operations.openssl_index import Entry
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate, listed_names, show_serial
from scepkit.store import (
    AuditAction,
    AuditEvent,
    CertificateKey,
    ForeignCertificate,
    ForeignRevocation,
    Import,
    Revocation,
    Store,
)
from scepkit.store.values import MAX_SERIAL_BITS

# Rows in one transaction, and seconds until the next one, so that devices that enrol meanwhile get
# their turn (SQLite has no queue).
_CHUNK = 200
_PAUSE = 0.01

_MOST_OF_CRL = 1 << 28
_LOOKED_AT = 50  # files beside an index, to find whose it is

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ForeignIssuer:
    """A generation of a CA of this server that may have issued elsewhere.

    Attributes:
        certificate: its own.
        endpoint: the endpoint that renews what it issued.
    """

    certificate: Certificate
    endpoint: str


@dataclass(slots=True)
class Imported:
    """The counts of an import.

    Attributes:
        certificates: stored now.
        known: stored before.
        revocations: taken over now.
        left_out: pieces of files that are something else, such as keys and the CA's own.
        skipped: pieces that are named, and were not taken over.
        digest: SHA-256 over the certificates that are stored now, in hex, as they came.
    """

    certificates: int = 0
    known: int = 0
    revocations: int = 0
    left_out: int = 0
    skipped: int = 0
    digest: str = ""


class CertificateImport:
    """An import of certificates.

    Args:
        store: where they come.
        issuers: the CAs whose certificates are taken.
        by: who does it, for the records.
        note: why, for the same.
        clock: returns the time, aware.
        tell: is told what is skipped.
        advance: is told how many certificates or revocations were looked at since the last time.
    """

    def __init__(
        self,
        store: Store,
        issuers: Sequence[ForeignIssuer],
        *,
        by: str,
        note: str = "",
        clock: Callable[[], datetime],
        tell: Callable[[Fault], None],
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._issuers = tuple(issuers)
        self._by = by
        self._note = note
        self._clock = clock
        self._tell = tell
        self._advance = advance
        self._counts = Imported()
        self._digest = hashlib.sha256()
        self._is_first = True

    def run(
        self, files: Sequence[Path], crls: Sequence[Path] = (), stdin: IO[bytes] | None = None
    ) -> Imported:
        """Take over what these hold; the audit record says how much, also where it ends too early.

        Args:
            files: with certificates, or directories of them, or indexes of openssl.
            crls: of the CAs.
            stdin: certificates, too.

        Raises:
            StoreError: the database cannot be used; what is done stays done.
        """
        is_whole = False
        try:
            indexes = [*self._indexes(files)]
            owners = {path: self._owner(path) for path in indexes}
            self._take_revocations(self._of_crls(crls))
            for path, owner in owners.items():
                if owner is not None:
                    self._take_revocations(self._of_index(path, owner))
            self._take_certificates(self._certificates(files, indexes, stdin))
            for path, owner in owners.items():
                if owner is not None:
                    self._look_for_missing(path, owner)
            is_whole = True
        finally:
            self._counts.digest = self._digest.hexdigest()
            self._record(files, crls, is_whole=is_whole)
        return self._counts

    # --- revocations ------------------------------------------------------------------------------

    def _of_crls(self, crls: Iterable[Path]) -> Iterator[ForeignRevocation | Fault]:
        own = [one.certificate for one in self._issuers]
        for path in crls:
            found = False
            for piece in _pieces(path, _MOST_OF_CRL):
                if isinstance(piece, Fault):
                    yield piece
                elif piece.label in ("", CRL):
                    found = True
                    yield from foreign_crl.read(piece, own, self._clock())
            if not found:
                yield Fault(str(path), "there is no CRL in it that can be read")

    def _of_index(self, path: Path, owner: ForeignIssuer) -> Iterator[ForeignRevocation | Fault]:
        for entry in _lines(path):
            if isinstance(entry, Fault):
                yield entry
            elif not _is_possible(entry.serial):
                yield Fault(entry.place, f"{_NO_SERIAL} {show_serial(entry.serial)}")
            elif entry.revocation is not None:
                at, reason, invalid = entry.revocation
                known = Revocation(min(at, self._clock()), reason, invalid)
                yield ForeignRevocation(_key(entry, owner), known, entry.not_after)

    def _take_revocations(self, found: Iterable[ForeignRevocation | Fault]) -> None:
        for chunk in _chunks(self._without_faults(found)):
            self._breathe()
            results = self._store.import_revocations(
                chunk, by=self._by, note=self._note, now=self._clock()
            )
            self._counts.revocations += results.count(Import.NEW)
            self._advance(len(chunk))

    # --- certificates -----------------------------------------------------------------------------

    def _certificates(
        self, files: Iterable[Path], indexes: Sequence[Path], stdin: IO[bytes] | None
    ) -> Iterator[tuple[str, ForeignCertificate] | Fault]:
        for place in _places(files, indexes):
            for file in certificate_files.walk(place) if place.is_dir() else [place]:
                yield from self._of_file(_pieces(file), str(file))
        if stdin is not None:
            yield from self._of_file(certificate_files.read(stdin, "-"), "-")

    def _of_file(
        self, pieces: Iterable[Piece | Fault], name: str
    ) -> Iterator[tuple[str, ForeignCertificate] | Fault]:
        is_empty = True
        for piece in pieces:
            is_empty = False
            if isinstance(piece, Fault):
                yield piece
            elif piece.label not in ("", CERTIFICATE):
                self._counts.left_out += 1
            else:
                found = self._read(piece)
                if found is None:
                    self._counts.left_out += 1
                else:
                    yield found if isinstance(found, Fault) else (piece.place, found)
        if is_empty:
            yield Fault(name, "there is no certificate in it")

    def _read(self, piece: Piece) -> ForeignCertificate | Fault | None:
        """Return a certificate with all that is stored of it; None for one of a CA's own."""
        try:
            found = Certificate.read(piece.der)
            start, end = found.validity
        except Malformed as error:
            return Fault(piece.place, f"the certificate is damaged: {error.message}")
        if any(found.key_hash == one.certificate.key_hash for one in self._issuers):
            return None
        subject = str(found.subject_name)
        issuer = self._issuer_of(found)
        if isinstance(issuer, str):
            return Fault(piece.place, f'"{subject}": {issuer}')
        if not _is_possible(found.serial):
            return Fault(piece.place, f'"{subject}": {_NO_SERIAL} {show_serial(found.serial)}')
        return ForeignCertificate(
            key=CertificateKey(found.serial, issuer.certificate.key_hash),
            endpoint=issuer.endpoint,
            subject=subject,
            der=piece.der,
            not_before=start,
            not_after=end,
            public_key=found.key_hash,
            names=listed_names(piece.der),
            subject_digest=found.subject_name.digest,
        )

    def _issuer_of(self, found: Certificate) -> ForeignIssuer | str:
        """Return the CA that issued a certificate, or why there is none."""
        for one in self._issuers:
            if chain.issued(one.certificate, found):
                return one
        name = found.issuer_name
        if any(one.certificate.subject_name.matches(name) for one in self._issuers):
            return f'the key of "{name}" did not sign it, or with an algorithm that is not accepted'
        return f'issued by "{name}", which is not one of the CAs here'

    def _take_certificates(self, found: Iterable[tuple[str, ForeignCertificate] | Fault]) -> None:
        for chunk in _chunks(self._without_faults(found)):
            self._breathe()
            results = self._store.import_certificates(
                [one for _, one in chunk], by=self._by, note=self._note, now=self._clock()
            )
            for (place, one), result in zip(chunk, results, strict=True):
                if result is Import.NEW:
                    self._counts.certificates += 1
                    self._digest.update(one.der)
                elif result is Import.KNOWN:
                    self._counts.known += 1
                else:
                    serial = show_serial(one.key.serial)
                    why = f"another certificate of this CA has the serial number {serial}"
                    self._skip(Fault(place, f'"{one.subject}": {why}'))
            self._advance(len(chunk))

    # --- indexes ----------------------------------------------------------------------------------

    def _indexes(self, files: Iterable[Path]) -> Iterator[Path]:
        for path in files:
            if path.is_dir():
                yield from certificate_files.walk(path, {openssl_index.NAME})
            elif certificate_files.is_regular(path):
                try:
                    if openssl_index.is_index(path):
                        yield path
                except OSError:
                    continue  # told when its certificates are looked for

    def _owner(self, path: Path) -> ForeignIssuer | None:
        """Find the CA that an index is of: it issued what lies beside it, or is the only one."""
        if len(self._issuers) == 1:
            return self._issuers[0]
        by_key = {one.certificate.key_hash: one for one in self._issuers}
        files = (file for folder in _beside(path) for file in certificate_files.walk(folder))
        for file in islice(files, _LOOKED_AT):
            for piece in _pieces(file):
                found = None if isinstance(piece, Fault) else self._read(piece)
                if isinstance(found, ForeignCertificate):
                    return by_key[found.key.issuer]
        why = f"it cannot be told which of {len(self._issuers)} CAs this is the index of"
        self._skip(Fault(str(path), f"{why}; name one"))
        return None

    def _look_for_missing(self, path: Path, owner: ForeignIssuer) -> None:
        """Tell of the certificates of an index that are valid, and of which only that is known."""
        now = self._clock()
        valid = (
            entry
            for entry in _lines(path)
            if isinstance(entry, Entry)
            and entry.revocation is None
            and entry.not_after > now
            and _is_possible(entry.serial)
        )
        for chunk in _chunks(valid):
            keys = [_key(entry, owner) for entry in chunk]
            stored = self._store.stored_among(keys)
            for entry, key in zip(chunk, keys, strict=True):
                if key not in stored:
                    serial = show_serial(entry.serial)
                    self._skip(Fault(entry.place, f"the certificate {serial} is not at hand"))

    # --- all of them ------------------------------------------------------------------------------

    def _without_faults(self, found: Iterable[_T | Fault]) -> Iterator[_T]:
        for one in found:
            if isinstance(one, Fault):
                self._skip(one)
            else:
                yield one

    def _skip(self, fault: Fault) -> None:
        self._counts.skipped += 1
        self._tell(fault)

    def _breathe(self) -> None:
        if not self._is_first:
            time.sleep(_PAUSE)
        self._is_first = False

    def _record(self, files: Sequence[Path], crls: Sequence[Path], *, is_whole: bool) -> None:
        details: Mapping[str, object] = {
            **asdict(self._counts),
            "files": [str(path) for path in (*files, *crls)],
            "complete": "yes" if is_whole else "no",
        }
        event = AuditEvent(
            AuditAction.CERTIFICATES_IMPORTED,
            self._by,
            self._clock(),
            reason=self._note,
            details=details,
        )
        self._store.write_audit(event)


_NO_SERIAL = "no certificate here can have the serial number"


def _key(entry: Entry, owner: ForeignIssuer) -> CertificateKey:
    return CertificateKey(entry.serial, owner.certificate.key_hash)


def _is_possible(serial: int) -> bool:
    return serial > 0 and serial.bit_length() <= MAX_SERIAL_BITS


def _beside(index: Path) -> list[Path]:
    """Return the directories beside an index where its certificates are."""
    folders = (index.parent / name for name in openssl_index.NEW_CERTIFICATES)
    return [one for one in folders if one.is_dir()]


def _places(files: Iterable[Path], indexes: Sequence[Path]) -> list[Path]:
    """Return where certificates are, each file once: no directory that is in another."""
    found = [one for path in files for one in (_beside(path) if path in indexes else [path])]
    whole = {one: one.resolve() for one in dict.fromkeys(found)}
    folders = {path for path in whole.values() if path.is_dir()}
    return [one for one, path in whole.items() if folders.isdisjoint(path.parents)]


def _chunks(found: Iterable[_T]) -> Iterator[list[_T]]:
    rest = iter(found)
    while chunk := [*islice(rest, _CHUNK)]:
        yield chunk


def _pieces(path: Path, most: int = certificate_files.MOST_OCTETS) -> Iterator[Piece | Fault]:
    try:
        with certificate_files.open_file(path) as file:
            yield from certificate_files.read(file, str(path), most)
    except OSError as error:
        yield Fault(str(path), f"it cannot be read: {error.strerror}")


def _lines(path: Path) -> Iterator[Entry | Fault]:
    try:
        yield from openssl_index.read(path)
    except OSError as error:
        yield Fault(str(path), f"it cannot be read: {error.strerror}")
