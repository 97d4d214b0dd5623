"""The check that a certificate is one of ours: its own claims are not believed (P-57)."""

from __future__ import annotations

import hmac

from scepkit.ca.authority import Authority
from scepkit.protocol.certificate import Certificate
from scepkit.store import CertificateRow, Store


def stored(certificate: Certificate, authority: Authority, store: Store) -> CertificateRow | None:
    """Return the row of a certificate that was stored, byte for byte, when it was issued.

    Args:
        certificate: whose signature is verified to be the CA's.
        authority: the CA.
        store: where issued certificates are.

    Raises:
        StoreError: the database cannot answer.
    """
    row = store.find_certificate(authority.key_hash, certificate.serial)
    return row if row is not None and hmac.compare_digest(row.der, certificate.der) else None
