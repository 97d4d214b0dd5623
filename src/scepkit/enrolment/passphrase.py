"""Revocation passphrases: PKCS #9's own meaning of the challengePassword (RFC 2985 section 5.4.1).

Whoever lost a key can still have its certificate revoked with what the request for it said. CMP
computes a MAC with that (RFC 9810 section 5.1.3), which cannot be verified from a hash: so it is
kept, encrypted under a key that is not in the database.
"""

from __future__ import annotations

from dataclasses import dataclass

from scepkit.enrolment.concealment import Concealment
from scepkit.protocol.csr import CertificationRequest
from scepkit.store import Store

_PURPOSE = b"revocation passphrase "


@dataclass(frozen=True, slots=True)
class Passphrases:
    """The passphrases of the certificates in a store. Threads may share it.

    Attributes:
        store: where they are.
        concealment: what they are encrypted with.
    """

    store: Store
    concealment: Concealment

    def to_keep(self, csr: CertificationRequest, renews: int | None) -> bytes | None:
        """Return, encrypted, the passphrase for the certificate of a request.

        Args:
            csr: the request.
            renews: the serial number of the certificate that it renews; its passphrase goes on
                being good where the request brings none.

        Returns:
            None where there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        passphrase = csr.challenge_password
        if passphrase is None and renews is not None:
            passphrase = self.of(renews)
        if passphrase is None:
            return None
        return self.concealment.hide(passphrase, _PURPOSE + csr.key_hash)

    def of(self, serial: int) -> str | None:
        """Return the passphrase that revokes a certificate without its key; None if there is none.

        Raises:
            StoreError: the database cannot be read.
        """
        hidden, row = self.store.passphrase(serial), self.store.certificate(serial)
        if hidden is None or row is None:
            return None
        return self.concealment.reveal(hidden, _PURPOSE + row.public_key)
