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

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from scepkit.client.folder import place, record
from scepkit.client.folder.files import (
    CA,
    CERTIFICATE,
    CHAIN,
    INSTALLED,
    KEY,
    NAMES,
    NEXT,
    NEXT_CA,
    RECORD,
    REQUEST,
    REVOCATION,
    UNVERIFIED,
    FolderFiles,
    write_certificates,
)
from scepkit.client.folder.outputs import PKCS12_PASSWORD, Access, Outputs
from scepkit.client.folder.record import Record, RevocationNote
from scepkit.client.folder.waiting import WaitingRequest
from scepkit.client.secret_source import KEY_PASSPHRASE, NOWHERE, SecretSource
from scepkit.errors import SettingsError
from scepkit.keys.files import (
    NOBODY_ELSE,
    read_file,
    refusals,
    remove_unfinished,
    sync_directory,
    write_file,
)
from scepkit.keys.pem import write_key
from scepkit.protocol.algorithms import PrivateKey
from scepkit.protocol.certificate import Certificate, pem
from scepkit.protocol.scep.transaction import Issued

_MADE = 0o700
# Of a directory above, through which others get at what they are to read.
_PASSED = 0o711

__all__ = ["KEY", "REVOCATION", "UNVERIFIED", "Folder"]


class Folder(FolderFiles):
    """A directory with one key and its certificate; it need not exist yet.

    Args:
        path: where.
        secrets: reads the passphrase of an encrypted key from where the record says; without, one
            that has to be typed is refused.
        passphrase: the source of it, in place of the recorded one.
    """

    _made: Sequence[Path] = ()

    @property
    def ahead(self) -> Folder:
        """Return the directory in which key and certificate of the next CA wait."""
        return _Ahead(self.path / NEXT, self._secrets, self.passphrase)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the directory, which is made if need be.

        A directory that was made is removed again if nothing is in it in the end. What a process
        that was killed had half written is removed, too.

        Raises:
            SettingsError: another process holds it, the file system refuses, or there is a
                symbolic link in the place of something.
        """
        with place.locked(self.path, inner=self._is_inner) as made:
            self._made = made
            self.check_links()
            for where in (self.path, self.path / NEXT):
                remove_unfinished(where)
            kept = None if self._is_inner else self._kept()
            if kept is not None:
                kept.outputs.remove_unfinished()
            self._drop_staged()
            yield

    def recover(self) -> bool:
        """Finish an installation that was interrupted.

        Returns:
            Whether there was one.

        Raises:
            SettingsError: the file system refuses.
        """
        if not self._is_installing:
            return False
        self._rename()
        return True

    @property
    def _is_installing(self) -> bool:
        return (self.path / f"{CERTIFICATE}.new").exists()

    def begin(
        self,
        key: PrivateKey,
        made: Record | None = None,
        request: WaitingRequest | None = None,
    ) -> None:
        """Keep the key of a new request, and how to ask for it again.

        Args:
            key: to be certified.
            made: the record of the request.
            request: the first one of the directory; None for a renewal.

        Raises:
            SettingsError: the file system refuses.
        """
        place.make(self.path, inner=self._is_inner)
        outputs = made.outputs if made is not None else Outputs()
        self._drop_staged()
        if made is not None:
            self._prepare(outputs)
            if made.reaches_out:
                place.check_above(self._unfinished_record)
            record.write(self._unfinished_record, made)
        else:
            # Of another request.
            self._unfinished_record.unlink(missing_ok=True)
        if request is not None:
            request.write(self.path / REQUEST)
        else:
            (self.path / REQUEST).unlink(missing_ok=True)
        self._write_key(self.unfinished, key, made)

    def change_outputs(self, made: Record) -> None:
        """Write the further files of a record for the certificate that is here, and keep it.

        No request may be under way: the files then come with its certificate.

        Raises:
            SettingsError: one could not be written, or there is no password for it; everything is
                as it was, or the next `recover` finishes.
        """
        self._prepare(made.outputs)
        if made.reaches_out:
            place.check_above(self.path / RECORD)
        path = self.path / CERTIFICATE
        chain, key = (self.require_certificate(), *self.chain()), self.key()
        with refusals(f"cannot read {path}"):
            certificate = read_file(path)
        self._drop_staged()
        record.write(self._unfinished_record, made)
        self._stage({CERTIFICATE: certificate}, made, chain, lambda: key)
        self._rename()
        coming = self.ahead.record() if self.ahead.path.exists() else None
        if coming is not None:
            self.ahead.remember(replace(coming, outputs=made.outputs))

    def _prepare(self, outputs: Outputs) -> None:
        """Refuse further files that could not be written, before anything is asked for.

        Raises:
            SettingsError: one could not, or there is no password for it.
        """
        if self._is_inner:
            return
        outputs.check(self.path, NAMES)
        if outputs.pkcs12:
            self._password(SecretSource.parse(outputs.pkcs12_password))
        access = outputs.access
        with refusals(f"cannot give away the directory {self.path}"):
            is_ours = access.owner != NOBODY_ELSE and self.path.stat().st_mode & 0o777 == _MADE
            if is_ours and not any(self.path.iterdir()):
                # Just made: nothing is in it yet.
                os.chown(self.path, -1, access.owner[1])
                self.path.chmod(access.directory_mode)
                for above in self._made[1:]:
                    above.chmod(_PASSED)

    def _drop_staged(self) -> None:
        """Remove further files that wait, since they may hold a key, unless they are to be renamed.

        They are those of the record that is coming: so before that is replaced or removed.

        Raises:
            SettingsError: a record cannot be used.
        """
        kept = None if self._is_inner or self._is_installing else self._kept()
        if kept is not None:
            kept.outputs.remove_staged()

    def _password(self, source: SecretSource) -> str:
        return self._secrets.read(source, PKCS12_PASSWORD)

    def _write_key(self, path: Path, key: PrivateKey, made: Record | None) -> None:
        access = made.outputs.access if made is not None else Access()
        source = SecretSource.parse(made.passphrase) if made and made.passphrase else NOWHERE
        passphrase = None
        if source != NOWHERE:
            passphrase = self._secrets.passphrase(source, KEY_PASSPHRASE)
        write_key(path, key, passphrase, mode=access.key_mode, owner=access.owner)

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
        self._drop_staged()
        with refusals(f"cannot remove {self.unfinished}"):
            self.unfinished.unlink(missing_ok=True)
            self._unfinished_record.unlink(missing_ok=True)
            (self.path / REQUEST).unlink(missing_ok=True)

    def install(self, issued: Issued) -> None:
        """Replace everything by a new certificate and the key that was kept by `begin`.

        Raises:
            SettingsError: the file system refuses; the old files are untouched, or the next
                `recover` finishes.
        """
        # It may have waited for days.
        place.check_directory(self.path, inner=self._is_inner)
        place.check_files((self.unfinished, self._unfinished_record))
        chain = [pem(one.der).encode("ascii") for one in issued.chain]
        texts = {CA: chain[-1], CHAIN: b"".join(chain)}
        texts[CERTIFICATE] = pem(issued.certificate.der).encode("ascii")
        kept = self.unfinished_record()
        self._stage(texts, kept, (issued.certificate, *issued.chain), self._unfinished_key)
        self._rename()

    def _stage(
        self,
        texts: Mapping[str, bytes],
        kept: Record | None,
        chain: Sequence[Certificate],
        key: Callable[[], PrivateKey],
    ) -> None:
        """Write what is coming beside its place; the certificate last: with it, it counts.

        Args:
            texts: the files of the directory, by name, beside the key.
            kept: the record that comes with them.
            chain: the certificate and those above it.
            key: returns the key.
        """
        outputs = kept.outputs if kept is not None else Outputs()
        access = outputs.access
        if not self._is_inner:
            outputs.stage(key, chain, self._password)
        for name, text in texts.items():
            path = self.path / f"{name}.new"
            write_file(path, text, mode=access.mode, owner=access.owner)

    def _unfinished_key(self) -> PrivateKey:
        key = self.unfinished_key()
        if key is None:
            raise SettingsError(f"there is no {self.unfinished}", hint="run the command again")
        return key

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
        kept, key = coming.record(), coming.key()
        self._drop_staged()
        self._write_key(self.unfinished, key, kept)
        if kept is not None:
            record.write(self._unfinished_record, kept)
        chain = (coming.require_certificate(), *coming.chain())
        self._stage(public, kept, chain, lambda: key)
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
            (self.path / REQUEST).unlink(missing_ok=True)
            for coming, path in self._renamings():
                coming.replace(path)
                if path.parent != self.path:
                    sync_directory(path.parent)
            sync_directory(self.path)

    def _kept(self) -> Record | None:
        """Return the record of what is coming, or else of what is there."""
        return record.read(self._unfinished_record) or self.record()

    def _renamings(self) -> list[tuple[Path, Path]]:
        """Return what is there to be renamed, in that order, and to what.

        After an interruption some are there under their own names already.
        """
        own = [(self.path / f"{name}.new", self.path / name) for name in INSTALLED]
        kept = self._kept()
        further = [] if self._is_inner or kept is None else [*kept.outputs.renamings()]
        *others, certificate = [pair for pair in own if pair[0].exists()]
        return [*others, *further, certificate]


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
