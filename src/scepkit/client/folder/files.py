"""The contents of the directory of a device: a key, its certificate, and the chain.

    key.pem          the private key, PKCS#8, mode 0600 from its first byte; encrypted where there
                     is a passphrase
    cert.pem         the certificate
    chain.pem        the certificates from its issuer to the trusted CA
    ca.pem           the trusted CA certificate
    enrolment.json   how it was got: see `record`
    revocation.json  that it was revoked: see `record`
    next-ca.pem      the next CA's certificates, which the trusted CA vouched for
    next/            key and certificate of the next CA, like the above, until they are needed
    request.pem.new  the first request, as long as it waits: see `waiting`
    cert.unverified.pem  what a CA gave and nobody could verify: for a person to look at

What is coming is beside them as `….new`; how they get there: see `Folder`.

Certificates are read as leniently as those that peers send: what was installed has to load again,
and what a CA issues is not always what the library takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from scepkit.client import keys
from scepkit.client.folder import place, record, waiting
from scepkit.client.folder.record import Record, RevocationNote, ServerChanges
from scepkit.client.folder.waiting import WaitingRequest
from scepkit.client.secret_source import ASKED, KEY_PASSPHRASE, NOWHERE, Secrets, SecretSource
from scepkit.errors import Hint, Malformed, SettingsError
from scepkit.keys.files import refusals, write_file
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import KEY_MODE, read_certificate_file, read_spki
from scepkit.protocol import certificate
from scepkit.protocol.algorithms import PrivateKey
from scepkit.protocol.asn1 import textual
from scepkit.protocol.certificate import Certificate, show_serial
from scepkit.protocol.cms import signed

_MODE = 0o644


def read_certificate(path: Path) -> Certificate:
    """Read the one certificate of a PEM file.

    Raises:
        SettingsError: missing, unreadable, or not exactly one certificate.
    """
    found = read_certificates(path)
    if len(found) != 1:
        # To ignore the others silently would leave the user wondering which one is used.
        raise SettingsError(f"{path} holds {len(found)} certificates, not one")
    return found[0]


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """Read the certificates of a PEM file, one or more.

    Raises:
        SettingsError: missing, unreadable, or without any certificate.
    """
    text = read_certificate_file(path)
    try:
        found = tuple(map(Certificate.read, textual.pem(text, signed.MAX_CERTIFICATES)))
        for one in found:
            # Asked for here, so that nobody has to expect later that it cannot be read.
            _ = one.validity
    except Malformed as error:
        raise SettingsError(f"{path} holds a certificate that cannot be read: {error}") from error
    if not found:
        kind = textual.kind(text)
        is_other = kind not in ("", "a certificate")
        raise SettingsError(
            f"{path} is {kind}, not a certificate"
            if is_other
            else f"{path} is not a certificate in PEM",
            hint="it should start with -----BEGIN CERTIFICATE-----",
        )
    return found


def write_certificates(path: Path, certificates: Iterable[bytes]) -> None:
    """Write certificates as PEM, mode 0644, atomically and durably.

    Args:
        path: where.
        certificates: DER, or what is to be looked at in its place.

    Raises:
        SettingsError: the file system refuses.
    """
    text = "".join(map(certificate.pem, certificates))
    write_file(path, text.encode("ascii"), mode=_MODE)


KEY, CERTIFICATE, CHAIN, CA = "key.pem", "cert.pem", "chain.pem", "ca.pem"
RECORD, NEXT_CA, NEXT = "enrolment.json", "next-ca.pem", "next"
REVOCATION, UNVERIFIED = "revocation.json", "cert.unverified.pem"
REQUEST = "request.pem.new"

INSTALLED = (CA, CHAIN, RECORD, KEY, CERTIFICATE)
"""The files that are replaced together, in the order of renaming."""


NAMES = frozenset(
    {
        *(*INSTALLED, *(f"{one}.new" for one in INSTALLED)),
        *(NEXT_CA, NEXT, REVOCATION, UNVERIFIED, REQUEST),
    }
)
"""All names that files of a directory have, and that nothing else can have in there."""


class FolderFiles:
    """The files of such a directory, to read; it need not exist yet.

    Args:
        path: where.
        secrets: reads the passphrase of an encrypted key from where the record says.
        passphrase: the source of it, in place of the recorded one.

    Attributes:
        unfinished: the file with the key of a request that is under way.
        passphrase: the source of the passphrase that was given; `NOWHERE` for keys in clear.
    """

    _is_inner = False

    def __init__(
        self,
        path: Path,
        secrets: Secrets | None = None,
        passphrase: SecretSource | None = None,
    ) -> None:
        self.path = path
        self._secrets = secrets or Secrets()
        self.passphrase = passphrase
        self.unfinished = path / f"{KEY}.new"
        self._unfinished_record = path / f"{RECORD}.new"

    def check_links(self) -> None:
        """Refuse symbolic links in place of the directory and of what is in it: see `place`.

        Raises:
            SettingsError: there is one.
        """
        names = sorted(NAMES - {NEXT})
        inner = self.path / NEXT
        place.check_directory(self.path, inner=self._is_inner)
        place.check_directory(inner, inner=True)
        place.check_files(where / name for where in (self.path, inner) for name in names)

    def files(self) -> dict[str, Path]:
        """Return the paths of `key`, `cert`, `chain` and `ca`, and of the further files."""
        names = (KEY, CERTIFICATE, CHAIN, CA)
        own = {name.removesuffix(".pem"): self.path / name for name in names}
        kept = None if self._is_inner else self.record()
        return own | (kept.outputs.paths if kept else {})

    def certificate(self) -> Certificate | None:
        """Return the certificate; None when there is none.

        Raises:
            SettingsError: the file cannot be used.
        """
        path = self.path / CERTIFICATE
        return read_certificate(path) if path.exists() else None

    def check_exists(self) -> None:
        """Refuse a directory that is not there, and symbolic links in the place of something.

        Raises:
            SettingsError: it is not, or there is one.
        """
        self.check_links()
        if not self.path.is_dir():
            raise SettingsError(
                f"{self.path} is not a directory"
                if self.path.exists()
                else f"there is no directory {self.path}",
                hint=Hint.NO_DIRECTORY,
            )

    def require_certificate(self, use: str = "that could be renewed") -> Certificate:
        """Return the certificate.

        Args:
            use: what it is wanted for, as the error says it.

        Raises:
            SettingsError: there is none, or the file cannot be used.
        """
        found = self.certificate()
        if found is None:
            raise SettingsError(
                f"there is no certificate in {self.path} {use}", hint=Hint.FIRST_CERTIFICATE
            )
        return found

    def got_at(self, now: datetime) -> datetime:
        """Return when the certificate was got: now, if its file says that it is yet to come.

        Args:
            now: an aware datetime.

        Raises:
            SettingsError: the file cannot be looked at.
        """
        path = self.path / CERTIFICATE
        with refusals(f"cannot look at {path}"):
            return min(datetime.fromtimestamp(path.stat().st_mtime, UTC), now)

    def server(self, changes: ServerChanges, use: str = "that could be renewed") -> Record:
        """Return the record of the CA's server, with the changes that are given.

        Args:
            changes: what is said anew.
            use: what the certificate is wanted for, as the error says it where there is none.

        Raises:
            UsageError: the URL is none.
            SettingsError: nothing says where the CA is, or the file cannot be used.
        """
        kept = self.record()
        if kept is None and not changes.url:
            self.require_certificate(use)
            raise self._unrecorded()
        return (kept or Record(changes.url)).changed(changes)

    def key(self) -> PrivateKey:
        """Return the key of the certificate.

        Raises:
            SettingsError: there is none, the file cannot be used, or it is another one's key.
        """
        found, certificate = self._read_key(self.path / KEY, self.record()), self.certificate()
        if certificate is not None and certificate.canonical_spki != keys.spki(found):
            raise self._other_key()
        return found

    def check_renewable(self) -> None:
        """Refuse files with which no renewal could work, as far as this user may look.

        Raises:
            SettingsError: one is missing, damaged, or another one's.
        """
        self.check_key()
        if not (self.path / RECORD).exists():
            raise self._unrecorded()
        self.check_ca()

    def check_key(self) -> None:
        """Refuse a key that is seen not to be that of the certificate.

        Nobody is asked for a passphrase: of an encrypted key nothing is seen.

        Raises:
            SettingsError: it is missing, damaged, or another one's.
        """
        path = self.path / KEY
        if not path.exists():
            raise SettingsError(f"{path} is missing", hint=Hint.NEW_CERTIFICATE)
        # Another process may replace both at the first look.
        if os.access(path, os.R_OK) and not (self._may_fit() or self._may_fit()):
            raise self._other_key()

    def _may_fit(self) -> bool:
        found, certificate = read_spki(self.path / KEY), self.certificate()
        if found is None or certificate is None or (self.path / f"{CERTIFICATE}.new").exists():
            return True
        return found == certificate.canonical_spki

    def check_ca(self) -> None:
        """Refuse a trusted CA certificate that cannot be used, if this user may look at it.

        Raises:
            SettingsError: it is missing or damaged.
        """
        path = self.path / CA
        if os.access(path, os.R_OK) or not path.exists():
            self.ca()

    def _unrecorded(self) -> SettingsError:
        return SettingsError(
            f"the server of the certificate in {self.path} is not recorded", hint=Hint.NAME_SERVER
        )

    def _other_key(self) -> SettingsError:
        return SettingsError(
            f"{self.path / KEY} is not the key of {self.path / CERTIFICATE}",
            hint="restore the one that is wrong from a backup, or enrol anew",
        )

    def ca(self) -> Certificate:
        """Return the trusted CA certificate.

        Raises:
            SettingsError: there is none, or the file cannot be used.
        """
        return read_certificate(self.path / CA)

    def next_ca(self) -> tuple[Certificate, ...]:
        """Return the next CA's certificates; none when none is known.

        Raises:
            SettingsError: the file cannot be used.
        """
        return _certificates(self.path / NEXT_CA)

    def chain(self) -> tuple[Certificate, ...]:
        """Return the certificates from the issuer up; none when there are none.

        Raises:
            SettingsError: the file cannot be used.
        """
        return _certificates(self.path / CHAIN)

    def record(self) -> Record | None:
        """Return the record of the certificate's enrolment; None when there is none.

        Raises:
            SettingsError: the file cannot be used.
        """
        return record.read(self.path / RECORD)

    def revocation(self) -> RevocationNote | None:
        """Return the note that the certificate was revoked; None when there is none.

        Raises:
            SettingsError: a file cannot be used.
        """
        found = record.read_note(self.path / REVOCATION)
        certificate = self.certificate() if found is not None else None
        if found is None or certificate is None:
            return None
        # A note on the certificate that was here before says nothing of this one.
        return found if found.serial == show_serial(certificate.serial) else None

    def unfinished_record(self) -> Record | None:
        """Return the record of the request that is under way; None when there is none.

        Raises:
            SettingsError: the file cannot be used.
        """
        return record.read(self._unfinished_record) if self.unfinished.exists() else None

    def waiting_request(self) -> WaitingRequest | None:
        """Return the first request if it waits; None when none is under way that was kept.

        Raises:
            SettingsError: the file cannot be used.
        """
        return waiting.read(self.path / REQUEST) if self.unfinished.exists() else None

    def unfinished_key(self) -> PrivateKey | None:
        """Return the key of a request that was begun and not finished.

        Raises:
            SettingsError: the file cannot be used.
        """
        if not self.unfinished.exists():
            return None
        return self._read_key(self.unfinished, self.unfinished_record())

    def _read_key(self, path: Path, kept: Record | None) -> PrivateKey:
        most = kept.outputs.access.key_mode if kept else KEY_MODE
        return keys.read_key(path, partial(self._opening, kept), most=most)

    def _opening(self, kept: Record | None) -> Passphrase:
        """Return the passphrase of a key that is encrypted."""
        source = self.passphrase
        if source is None or source == NOWHERE:
            source = SecretSource.parse(kept.passphrase) if kept and kept.passphrase else ASKED
        return self._secrets.passphrase(source, KEY_PASSPHRASE)

    def check_free(self, now: datetime) -> None:
        """Refuse to replace a key or a certificate that is still good.

        Args:
            now: an aware datetime.

        Raises:
            SettingsError: there is one, or a file that cannot be read.
        """
        path = self.path / CERTIFICATE
        certificate = self.certificate()
        if certificate is not None:
            revoked = self.revocation()
            is_good = revoked is None or not revoked.is_final
            if is_good and now < certificate.not_after:
                until = certificate.not_after.date()
                raise SettingsError(
                    f"{path} is there already, valid until {until}",
                    hint=Hint.OCCUPIED,
                )
        elif (self.path / KEY).exists():
            raise SettingsError(
                f"{self.path / KEY} is there already, without a certificate",
                hint=Hint.OCCUPIED_BY_KEY,
            )


def _certificates(path: Path) -> tuple[Certificate, ...]:
    return read_certificates(path) if path.exists() else ()
