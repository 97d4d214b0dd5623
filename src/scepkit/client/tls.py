"""The certificate that this machine shows to a server by HTTPS, where the server wants one.

It has nothing to do with the one that is enrolled, though a renewal may show that.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from scepkit.client.secret_source import ASKED, Secrets, SecretSource
from scepkit.errors import SettingsError

PASSPHRASE = "passphrase of the TLS key"  # noqa: S105 - its name


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The files of a TLS client certificate, PEM; they are read when a connection is prepared.

    Attributes:
        certificate: file of the certificate, with its chain after it.
        key: file of its key; None where that is in the same file.
        passphrase: the source of the key's passphrase.
        secrets: reads that.
    """

    certificate: Path
    key: Path | None = None
    passphrase: SecretSource | None = None
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)

    def load(self, context: ssl.SSLContext) -> None:
        """Let a client show the certificate.

        Raises:
            SettingsError: a file cannot be used, or its passphrase is another one.
        """
        for path in filter(None, (self.certificate, self.key)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise SettingsError(
                    f"cannot read {path}: {error.strerror}",
                    hint="name the PEM files of the TLS client certificate and of its key",
                ) from error
        try:
            context.load_cert_chain(self.certificate, self.key, password=self._passphrase)
        except ssl.SSLError as error:
            both = f"{self.certificate} and {self.key}" if self.key else str(self.certificate)
            why = _REASONS.get(error.reason or "", _NOT_READ)
            raise SettingsError(
                f"{both} cannot be used as a TLS client certificate: {why}",
                hint="openssl verify and openssl pkey -noout -text show what they are",
            ) from error

    def _passphrase(self) -> str:
        return self.secrets.read(self.passphrase or ASKED, PASSPHRASE)


_NOT_READ = "what is in there is not PEM, or the passphrase of the key is another one"
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key is another one's",
    "EE_KEY_TOO_SMALL": "the key is too small",
}
