"""The directory that `--out` names: one key, its certificate, and what it chains to.

    key.pem     the private key, PKCS#8, mode 0600 from its first byte
    cert.pem    the certificate
    chain.pem   the certificates from its issuer to the trusted CA
    ca.pem      the trusted CA certificate

What is coming is called `….new`. While a request is under way there is `key.pem.new`; once the
certificate is here the others are written, `cert.pem.new` last, and then all are renamed,
`cert.pem` last. So until everything new is safely on the disk nothing old is touched, and a
`cert.pem.new` means that renaming was interrupted and can be finished.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca.certificates import CERTIFICATE_MODE, read_certificate
from scepkit.ca.files import make_directory, refusals, sync_directory, write_file
from scepkit.ca.keys import read_key, write_key
from scepkit.errors import SettingsError
from scepkit.protocol.transaction import Issued

KEY, CERTIFICATE, CHAIN, CA = "key.pem", "cert.pem", "chain.pem", "ca.pem"

# In the order in which they are renamed.
_FILES = (CA, CHAIN, KEY, CERTIFICATE)


class Folder:
    """A directory with one key and its certificate; it need not exist yet.

    Args:
        path: where.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def unfinished(self) -> Path:
        """Where the key of a request that is under way is kept."""
        return self._new(KEY)

    def files(self) -> dict[str, Path]:
        """Return the paths of `key`, `cert`, `chain` and `ca`."""
        names = (KEY, CERTIFICATE, CHAIN, CA)
        return {name.removesuffix(".pem"): self.path / name for name in names}

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

    def check_free(self, now: datetime) -> None:
        """Refuse to replace a key or a certificate that is still good.

        Args:
            now: an aware datetime.

        Raises:
            SettingsError: there is one, or a file that cannot be read.
        """
        path = self.path / CERTIFICATE
        if path.exists():
            certificate = read_certificate(path)
            if now < certificate.not_valid_after_utc:
                until = certificate.not_valid_after_utc.date()
                raise SettingsError(
                    f"{path} is there already, valid until {until}",
                    hint="choose another directory, or replace it with --force",
                )
        elif (self.path / KEY).exists():
            raise SettingsError(
                f"{self.path / KEY} is there already, without a certificate",
                hint="choose another directory, or replace it with --force",
            )

    def unfinished_key(self) -> rsa.RSAPrivateKey | None:
        """Return the key of a request that was begun and not finished.

        Raises:
            SettingsError: the file cannot be used.
        """
        if not self.unfinished.exists():
            return None
        key = read_key(self.unfinished)
        return key if isinstance(key, rsa.RSAPrivateKey) else None

    def begin(self, key: rsa.RSAPrivateKey) -> None:
        """Keep the key of a new request.

        Raises:
            SettingsError: the file system refuses.
        """
        with refusals(f"cannot make the directory {self.path}"):
            make_directory(self.path)
        write_key(self.unfinished, key)

    def give_up(self) -> None:
        """Forget the key of a request that was refused.

        Raises:
            SettingsError: the file system refuses.
        """
        with refusals(f"cannot remove {self.unfinished}"):
            self.unfinished.unlink(missing_ok=True)

    def install(self, issued: Issued) -> None:
        """Replace everything by a new certificate and the key that was kept by `begin`.

        Raises:
            SettingsError: the file system refuses; the old files are untouched, or the next
                `recover` finishes.
        """
        self._write(CA, issued.chain[-1])
        self._write(CHAIN, *issued.chain)
        self._write(CERTIFICATE, issued.certificate)
        self._rename()

    def _write(self, name: str, *certificates: x509.Certificate) -> None:
        pem = b"".join(c.public_bytes(Encoding.PEM) for c in certificates)
        write_file(self._new(name), pem, mode=CERTIFICATE_MODE)

    def _rename(self) -> None:
        with refusals(f"cannot replace the files in {self.path}"):
            for name in _FILES:
                # Some may be there under their own names already, after an interruption.
                if self._new(name).exists():
                    self._new(name).replace(self.path / name)
            sync_directory(self.path)

    def _new(self, name: str) -> Path:
        return self.path / f"{name}.new"
