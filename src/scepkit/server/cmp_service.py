"""Putting CMP together for an endpoint: the signers of its answers, and its view of the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca import checks
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.secret_box import Passphrases
from scepkit.keys.pem import PrivateKey
from scepkit.protocol import chain, cmp
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.cms.enveloped import Credential
from scepkit.server.ca_loading import HeldCA
from scepkit.services.cmp import CMPService
from scepkit.store import Store


def cmp_service(
    name: str,
    ca: HeldCA,
    *,
    issuers: Issuers,
    rules: Rules,
    store: Store,
    passphrases: Passphrases,
    now: Callable[[], datetime],
) -> CMPService:
    """Return the CMP service of an endpoint.

    Args:
        name: the endpoint's.
        ca: its CA.
        issuers: all generations of that.
        rules: what the endpoint allows.
        store: the database.
        passphrases: what revokes a certificate without its key.
        now: the clock.
    """
    return CMPService(
        endpoint=name,
        signers=tuple(signers(ca)),
        issuers=issuers,
        rules=rules,
        store=store,
        passphrases=passphrases,
        random=os.urandom,
        now=now,
    )


def signers(ca: HeldCA) -> Iterator[cmp.Signer]:
    """Yield the signers of answers, the current RA first.

    A client that has a certificate of an earlier CA trusts nobody else's RA. Where that RA has
    expired, the earlier CA signs itself.
    """
    material = ca.material
    coming = [] if material.next is None else [material.next.ra]
    for ra in (material.ra, *coming, *material.retired):
        yield _signer(ca, ra.certificate, ra.private_key)
    for earlier in material.previous:
        # As `openssl cmp` wants it of who signs.
        if checks.has_key_usage(earlier.certificate, "digital_signature"):
            yield _signer(ca, earlier.certificate, earlier.private_key)


def _signer(ca: HeldCA, certificate: x509.Certificate, key: PrivateKey) -> cmp.Signer:
    """Return a signer with the certificates that lie between it and the root, which clients have.

    `openssl cmp` does not find them elsewhere.
    """
    authorities = (one.certificate for one in ca.generations)
    own = Certificate.of(certificate)
    between = [
        one
        for one in (*authorities, *ca.above)
        if one.subject != one.issuer and (one in ca.above or chain.issued(Certificate.of(one), own))
    ]
    return cmp.Signer(
        Credential(key, own),
        chain=tuple(one.public_bytes(Encoding.DER) for one in between),
    )
