"""The directory of a device, and its changes; for its files see `files`.

What is coming is called `….new`. While a request is under way there are `key.pem.new` and
`enrolment.json.new`; once the certificate is here the others are written, `cert.pem.new` last, and
then all are renamed, `cert.pem` last. So until everything new is safely on the disk nothing old is
touched, and a `cert.pem.new` means that renaming was interrupted and can be finished.

A process that changes something holds the directory's lock, so that two cannot at once. As it
begins it refuses symbolic links. A link that is planted meanwhile is replaced, where something is
written; in place of the key that waits, of its record and of a directory, it is refused again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scepkit.client.folder import place, record
from scepkit.client.folder.files import (
    CA,
    CERTIFICATE,
    CHAIN,
    INSTALLED,
    KEY,
    NEXT,
    NEXT_CA,
    RECORD,
    REVOCATION,
    UNVERIFIED,
    FolderFiles,
    write_certificates,
)
from scepkit.client.folder.record import Record, RevocationNote
from scepkit.keys.files import (
    read_file,
    refusals,
    remove_unfinished,
    sync_directory,
    write_file,
)
from scepkit.keys.pem import CERTIFICATE_MODE, write_key
from scepkit.protocol.algorithms import PrivateKey
from scepkit.protocol.certificate import Certificate, pem
from scepkit.protocol.scep.transaction import Issued

__all__ = ["KEY", "REVOCATION", "UNVERIFIED", "Folder"]


class Folder(FolderFiles):
    """A directory with one key and its certificate; it need not exist yet.

    Args:
        path: where.
    """

    @property
    def ahead(self) -> Folder:
        """Return the directory in which key and certificate of the next CA wait."""
        return _Ahead(self.path / NEXT)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the directory, which is made if need be.

        A directory that was made is removed again if nothing is in it in the end. What a process
        that was killed had half written is removed, too.

        Raises:
            SettingsError: another process holds it, the file system refuses, or there is a
                symbolic link in the place of something.
        """
        with place.locked(self.path, inner=self._is_inner):
            self.check_links()
            for where in (self.path, self.path / NEXT):
                remove_unfinished(where)
            yield

    def recover(self) -> bool:
        """Finish an installation that was interrupted.

        Returns:
            Whether there was one.

        Raises:
            SettingsError: the file system refuses.
        """
        if not (self.path / f"{CERTIFICATE}.new").exists():
            return False
        self._rename()
        return True

    def begin(self, key: PrivateKey, made: Record | None = None) -> None:
        """Keep the key of a new request, and how to ask for it again.

        Raises:
            SettingsError: the file system refuses.
        """
        place.make(self.path, inner=self._is_inner)
        if made is not None:
            record.write(self._unfinished_record, made)
        else:
            # Of another request.
            self._unfinished_record.unlink(missing_ok=True)
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
        record.write_note(self.path / REVOCATION, note)

    def forget_revocation(self) -> None:
        """Forget that the certificate was revoked: it was on hold, and is not any more.

        Raises:
            SettingsError: the file system refuses.
        """
        path = self.path / REVOCATION
        with refusals(f"cannot remove {path}"):
            path.unlink(missing_ok=True)

    def give_up(self) -> None:
        """Forget a request that was refused.

        Raises:
            SettingsError: the file system refuses.
        """
        with refusals(f"cannot remove {self.unfinished}"):
            self.unfinished.unlink(missing_ok=True)
            self._unfinished_record.unlink(missing_ok=True)

    def install(self, issued: Issued) -> None:
        """Replace everything by a new certificate and the key that was kept by `begin`.

        Raises:
            SettingsError: the file system refuses; the old files are untouched, or the next
                `recover` finishes.
        """
        # It may have waited for days.
        place.check_directory(self.path, inner=self._is_inner)
        place.check_files((self.unfinished, self._unfinished_record))
        chain = [pem(one.der) for one in issued.chain]
        # The certificate last: with it the installation counts.
        texts = {CA: chain[-1], CHAIN: "".join(chain), CERTIFICATE: pem(issued.certificate.der)}
        for name, text in texts.items():
            write_file(self.path / f"{name}.new", text.encode("ascii"), mode=CERTIFICATE_MODE)
        self._rename()

    def keep_unverified(self, certificates: Sequence[bytes]) -> Path:
        """Keep the certificates of a CA that could not be verified; change nothing else.

        Args:
            certificates: DER, or what came in its place.

        Returns:
            Where it is, until a certificate is installed.

        Raises:
            SettingsError: the file system refuses.
        """
        path = self.path / UNVERIFIED
        write_certificates(path, certificates)
        return path

    def keep_next_ca(self, certificates: Sequence[Certificate]) -> None:
        """Keep the next CA's certificates.

        When it is another CA than before, that one was given up: what waits in `ahead` is of it,
        and goes.

        Raises:
            SettingsError: the file system refuses.
        """
        if _authorities(certificates) != _authorities(self.next_ca()):
            self._remove_ahead()
        write_certificates(self.path / NEXT_CA, (one.der for one in certificates))

    def switch(self) -> None:
        """Install the files that wait in `ahead`.

        Raises:
            SettingsError: the file system refuses; the old files are untouched, or the next
                `recover` finishes.
        """
        coming = self.ahead
        coming.check_links()
        with refusals(f"cannot read {coming.path}"):
            public = {
                name: read_file(coming.path / name)
                for name in (CA, CHAIN, RECORD, CERTIFICATE)
                if (coming.path / name).exists()
            }
        write_key(self.unfinished, coming.key())
        for name, content in public.items():
            write_file(self.path / f"{name}.new", content, mode=CERTIFICATE_MODE)
        self._rename()
        self.forget_ahead()

    def forget_ahead(self) -> None:
        """Remove the files that wait in `ahead`, and the next CA with them.

        Raises:
            SettingsError: the file system refuses.
        """
        path = self.path / NEXT_CA
        with refusals(f"cannot remove {path}"):
            path.unlink(missing_ok=True)
        self._remove_ahead()

    def _remove_ahead(self) -> None:
        path = self.path / NEXT
        place.check_directory(path, inner=True)
        with refusals(f"cannot remove {path}"):
            if path.exists():
                # What makes it a certificate that waits goes first: half of it never does.
                (path / CERTIFICATE).unlink(missing_ok=True)
                shutil.rmtree(path)

    def _rename(self) -> None:
        with refusals(f"cannot replace the files in {self.path}"):
            # There is a better one now.
            (self.path / UNVERIFIED).unlink(missing_ok=True)
            for name in INSTALLED:
                # Some may be there under their own names already, after an interruption.
                coming = self.path / f"{name}.new"
                if coming.exists():
                    coming.replace(self.path / name)
            sync_directory(self.path)


class _Ahead(Folder):
    """The directory inside of another one: nobody has a reason to make a link of it."""

    _is_inner = True

    def give_up(self) -> None:
        super().give_up()
        with suppress(OSError):
            # Nobody has anything else in there.
            self.path.rmdir()


def _authorities(certificates: Sequence[Certificate]) -> set[Certificate]:
    # An RA's certificate is there too, and is replaced while the CA stays.
    return {one for one in certificates if one.is_ca}
