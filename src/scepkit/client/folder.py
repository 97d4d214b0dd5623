"""The directory that `--out` names: one key, its certificate, and what it chains to.

    key.pem          the private key, PKCS#8, mode 0600 from its first byte
    cert.pem         the certificate
    chain.pem        the certificates from its issuer to the trusted CA
    ca.pem           the trusted CA certificate
    enrolment.json   how it was got: see `record`
    revocation.json  that it was revoked: see `revocation_note`
    next-ca.pem      the next CA's certificates, which the trusted CA vouched for
    next/            key and certificate of the next CA, like the above, until they are needed

What is coming is called `….new`. While a request is under way there are `key.pem.new` and
`enrolment.json.new`; once the certificate is here the others are written, `cert.pem.new` last, and
then all are renamed, `cert.pem` last. So until everything new is safely on the disk nothing old is
touched, and a `cert.pem.new` means that renaming was interrupted and can be finished.

A process that changes something holds the directory's lock, so that two cannot at once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca.certificates import CERTIFICATE_MODE, read_certificate
from scepkit.ca.files import make_directory, refusals, sync_directory, write_file
from scepkit.ca.keys import write_key
from scepkit.client import keys, record, revocation_note
from scepkit.client.record import Record
from scepkit.client.revocation_note import RevocationNote
from scepkit.errors import SettingsError
from scepkit.protocol.algorithms import PrivateKey
from scepkit.protocol.transaction import Issued

KEY, CERTIFICATE, CHAIN, CA = "key.pem", "cert.pem", "chain.pem", "ca.pem"
RECORD, NEXT_CA, NEXT = "enrolment.json", "next-ca.pem", "next"
REVOCATION = "revocation.json"

# In the order in which they are renamed.
_FILES = (CA, CHAIN, RECORD, KEY, CERTIFICATE)


class Folder:
    """A directory with one key and its certificate; it need not exist yet.

    Args:
        path: where.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    # what is there

    @property
    def unfinished(self) -> Path:
        """Where the key of a request that is under way is kept."""
        return self._new(KEY)

    @property
    def ahead(self) -> Folder:
        """Where key and certificate of the next CA wait."""
        return Folder(self.path / NEXT)

    def files(self) -> dict[str, Path]:
        """Return the paths of `key`, `cert`, `chain` and `ca`."""
        names = (KEY, CERTIFICATE, CHAIN, CA)
        return {name.removesuffix(".pem"): self.path / name for name in names}

    def certificate(self) -> x509.Certificate | None:
        """Return the certificate; None when there is none.

        Raises:
            SettingsError: the file cannot be used.
        """
        path = self.path / CERTIFICATE
        return read_certificate(path) if path.exists() else None

    def key(self) -> PrivateKey:
        """Return the key of the certificate.

        Raises:
            SettingsError: there is none, the file cannot be used, or it is another one's key.
        """
        found, certificate = keys.read_key(self.path / KEY), self.certificate()
        if certificate is not None and certificate.public_key() != found.public_key():
            raise SettingsError(
                f"{self.path / KEY} is not the key of {self.path / CERTIFICATE}",
                hint="restore the one that is wrong from a backup, or enrol anew",
            )
        return found

    def ca(self) -> x509.Certificate:
        """Return the trusted CA certificate.

        Raises:
            SettingsError: there is none, or the file cannot be used.
        """
        return read_certificate(self.path / CA)

    def next_ca(self) -> tuple[x509.Certificate, ...]:
        """Return the next CA's certificates; none when none is known.

        Raises:
            SettingsError: the file cannot be used.
        """
        return _read_certificates(self.path / NEXT_CA)

    def chain(self) -> tuple[x509.Certificate, ...]:
        """Return the certificates from the issuer up; none when there are none.

        Raises:
            SettingsError: the file cannot be used.
        """
        return _read_certificates(self.path / CHAIN)

    def record(self) -> Record | None:
        """Return how the certificate was got; None when that is not known.

        Raises:
            SettingsError: the file cannot be used.
        """
        return record.read(self.path / RECORD)

    def revocation(self) -> RevocationNote | None:
        """Return that the certificate was revoked; None when nothing is known of that.

        Raises:
            SettingsError: a file cannot be used.
        """
        found, certificate = revocation_note.read(self.path / REVOCATION), self.certificate()
        if found is None or certificate is None:
            return None
        # A note on the certificate that was here before says nothing of this one.
        return found if found.serial == f"{certificate.serial_number:x}" else None

    def unfinished_record(self) -> Record | None:
        """Return how the request that is under way is asked for; None when that is not known.

        Raises:
            SettingsError: the file cannot be used.
        """
        return record.read(self._new(RECORD)) if self.unfinished.exists() else None

    def unfinished_key(self) -> PrivateKey | None:
        """Return the key of a request that was begun and not finished.

        Raises:
            SettingsError: the file cannot be used.
        """
        return keys.read_key(self.unfinished) if self.unfinished.exists() else None

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
            if is_good and now < certificate.not_valid_after_utc:
                until = certificate.not_valid_after_utc.date()
                raise SettingsError(
                    f"{path} is there already, valid until {until}",
                    hint="choose another directory, renew it (scep renew), "
                    "or replace it with --force",
                )
        elif (self.path / KEY).exists():
            raise SettingsError(
                f"{self.path / KEY} is there already, without a certificate",
                hint="choose another directory, or replace it with --force",
            )

    # what changes it

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the directory, which is made if need be.

        The lock is the kernel's, on the directory itself: it leaves no file, and ends with the
        process.

        Raises:
            SettingsError: another process holds it, or the file system refuses.
        """
        with refusals(f"cannot make the directory {self.path}"):
            make_directory(self.path)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _lock(descriptor, self.path)
            yield
        finally:
            os.close(descriptor)

    def recover(self) -> bool:
        """Finish an installation that was interrupted.

        Returns:
            Whether there was one.

        Raises:
            SettingsError: the file system refuses.
        """
        if not self._new(CERTIFICATE).exists():
            return False
        self._rename()
        return True

    def begin(self, key: PrivateKey, made: Record | None = None) -> None:
        """Keep the key of a new request, and how to ask for it again.

        Raises:
            SettingsError: the file system refuses.
        """
        with refusals(f"cannot make the directory {self.path}"):
            make_directory(self.path)
        if made is not None:
            record.write(self._new(RECORD), made)
        else:
            # Of another request.
            self._new(RECORD).unlink(missing_ok=True)
        write_key(self.unfinished, key)

    def remember(self, made: Record) -> None:
        """Keep how the certificate is got.

        Raises:
            SettingsError: the file system refuses.
        """
        record.write(self.path / RECORD, made)

    def note_revocation(self, note: RevocationNote) -> None:
        """Keep that the certificate was revoked.

        Raises:
            SettingsError: the file system refuses.
        """
        revocation_note.write(self.path / REVOCATION, note)

    def give_up(self) -> None:
        """Forget a request that was refused.

        Raises:
            SettingsError: the file system refuses.
        """
        with refusals(f"cannot remove {self.unfinished}"):
            self.unfinished.unlink(missing_ok=True)
            self._new(RECORD).unlink(missing_ok=True)

    def install(self, issued: Issued) -> None:
        """Replace everything by a new certificate and the key that was kept by `begin`.

        Raises:
            SettingsError: the file system refuses; the old files are untouched, or the next
                `recover` finishes.
        """
        self._write(self._new(CA), [issued.chain[-1]])
        self._write(self._new(CHAIN), issued.chain)
        self._write(self._new(CERTIFICATE), [issued.certificate])
        self._rename()

    def keep_next_ca(self, certificates: Sequence[x509.Certificate]) -> None:
        """Keep the next CA's certificates; none forgets them.

        Raises:
            SettingsError: the file system refuses.
        """
        path = self.path / NEXT_CA
        if certificates:
            self._write(path, certificates)
            return
        with refusals(f"cannot remove {path}"):
            path.unlink(missing_ok=True)

    def switch(self) -> None:
        """Install what waits in `ahead`.

        Raises:
            SettingsError: the file system refuses; the old files are untouched, or the next
                `recover` finishes.
        """
        coming = self.ahead
        with refusals(f"cannot read {coming.path}"):
            public = {
                name: (coming.path / name).read_bytes()
                for name in (CA, CHAIN, RECORD, CERTIFICATE)
                if (coming.path / name).exists()
            }
        write_key(self.unfinished, coming.key())
        for name, content in public.items():
            write_file(self._new(name), content, mode=CERTIFICATE_MODE)
        self._rename()
        self.forget_ahead()

    def forget_ahead(self) -> None:
        """Remove what waits in `ahead`, and the next CA with it.

        Raises:
            SettingsError: the file system refuses.
        """
        self.keep_next_ca(())
        with refusals(f"cannot remove {self.ahead.path}"):
            if self.ahead.path.exists():
                shutil.rmtree(self.ahead.path)

    def _write(self, path: Path, certificates: Sequence[x509.Certificate]) -> None:
        pem = b"".join(c.public_bytes(Encoding.PEM) for c in certificates)
        write_file(path, pem, mode=CERTIFICATE_MODE)

    def _rename(self) -> None:
        with refusals(f"cannot replace the files in {self.path}"):
            for name in _FILES:
                # Some may be there under their own names already, after an interruption.
                if self._new(name).exists():
                    self._new(name).replace(self.path / name)
            sync_directory(self.path)

    def _new(self, name: str) -> Path:
        return self.path / f"{name}.new"


def _read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    if not path.exists():
        return ()
    with refusals(f"cannot read {path}"):
        pem = path.read_bytes()
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise SettingsError(
            f"{path} holds no certificates in PEM",
            hint="it should start with -----BEGIN CERTIFICATE-----",
        ) from error


def _lock(descriptor: int, path: Path) -> None:
    # Here, since only POSIX has it, and only this needs it.
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingsError(
            f"another scep is at work in {path}", hint="wait until it has ended, or stop it"
        ) from error
    except OSError:
        # Some network file systems have no locks; there one run at a time is the user's business.
        return
