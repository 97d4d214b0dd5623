"""Whoever wants a certificate revoked by CMP, in the world of `enrolment.world`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import keys
from scepkit.enrolment.secret_box import Passphrases, SecretBox
from scepkit.protocol import cmp
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates
from scepkit.services.cmp import CMPService


def service(world, signers=None, **how):
    """Return what answers CMP in a world."""
    return CMPService(
        **{
            "endpoint": "default",
            "signers": signers or [cmp.Signer(keys.ra().credential)],
            "issuers": world.issuers,
            "rules": world.rules,
            "store": world.store,
            "passphrases": Passphrases(world.store, SecretBox(world.key)),
            "random": os.urandom,
            "now": lambda: world.now,
        }
        | how
    )


def request(holder, reason=None, *, of=None, now=keys.NOW, secret=None, random=os.urandom, **more):
    """Return an rr for a certificate, signed by a holder's key or protected by a secret.

    `more` are fields of the RevocationRequest.
    """
    of = Certificate.of(of or holder.x509)
    wanted = replace(cmp.RevocationRequest.of(of, reason), **more)
    if secret is None:
        protector = cmp.Signer(holder.credential)
    else:
        protector = cmp.SharedSecret.new(secret, b"reference", of.subject, os.urandom)
    return cmp.make_request(wanted, protector, recipient=of.issuer, now=now, random=random)


@dataclass(frozen=True)
class Said:
    """An answer that the sender believes, and what the log says."""

    verdict: str
    text: str
    answer: object

    @property
    def outcome(self):
        return self.answer.outcome


def ask(serving, sent, ca=None):
    """Send an rr; return the answer as its sender reads it."""
    answer = serving.answer(sent.der)
    ca = Certificate.of(ca or keys.ca().x509)
    trusted = ca_certificates.trust([ca, keys.ra().certificate], ca, keys.NOW)
    try:
        believed = cmp.read_response(answer.der, sent, trusted, now=keys.NOW)
    except cmp.RevocationRefused as refused:
        status = refused.status
        (failure,) = status.failures
        return Said(failure.name, status.text, answer)
    assert (believed.signer is None) == (sent.secret is not None)
    return Said(believed.status.status.name, believed.status.text, answer)
