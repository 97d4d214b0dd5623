"""Who signs the answers of CMP: somebody whom those who ask can trust."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import keys
from enrolment.revoking import request
from scepkit.ca.authority import Authority
from scepkit.ca.directory.material import Material, RACredential
from scepkit.protocol import cmp
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates
from scepkit.server.directory.ca_loading import LoadedCA
from scepkit.server.endpoints.assembly import signers

CA_USAGE = keys.usage("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")
RA_USAGE = keys.usage("digital_signature", "key_encipherment")


def authority(name, issuer=None, usage=CA_USAGE, key=None):
    return keys.certify(name, key or keys.rsa_key(name), issuer, ca=True, key_usage=usage)


def registrar(name, issuer):
    return keys.certify(name, keys.rsa_key(name), issuer, key_usage=RA_USAGE)


ROOT = authority("Root")
OLD = authority("Old", key=keys.ec_key("old"))
DEAF = authority("Deaf", usage=keys.usage("key_cert_sign", "crl_sign"))
NEXT = authority("Next")
BELOW = authority("Below", ROOT)


def held(ca, ra=None, *, above=(), **more):
    own = ra or ca
    chain = (ca.x509,) if ra is None else (ra.x509, ca.x509)
    material = Material(Authority(ca.x509, ca.key), RACredential(own.x509, own.key), chain, **more)
    return LoadedCA("default", Path("nowhere"), material, tuple(one.x509 for one in above))


def names(ca):
    """Return who signs, with what goes along."""
    return [
        (_common(one.credential.certificate), [_common(_read(der)) for der in one.chain])
        for one in signers(ca)
    ]


def _read(der):
    return Certificate.read(der)


def _common(certificate):
    return certificate.x509().subject.rfc4514_string()[3:]


def as_ra(holder):
    return RACredential(holder.x509, holder.key)


def as_ca(holder):
    return Authority(holder.x509, holder.key)


def test_the_ra_signs():
    """Or the CA where it has none; a root does not go along, as everybody has it."""
    assert names(held(ROOT, registrar("RA", ROOT))) == [("RA", [])]
    assert names(held(ROOT)) == [("Root", [])]


def test_what_is_between_the_signer_and_the_root_goes_along():
    """Openssl looks for it nowhere else."""
    ra = registrar("RA", BELOW)
    assert names(held(BELOW, ra, above=[ROOT])) == [("RA", ["Below"])]
    assert names(held(BELOW, above=[ROOT])) == [("Below", [])]
    lower = authority("Lower", BELOW)
    ca = held(lower, registrar("RA", lower), above=[BELOW, ROOT])
    assert names(ca) == [("RA", ["Lower", "Below"])]


def test_earlier_and_coming_ones():
    """The current RA first; an earlier CA signs itself where its keyUsage lets it."""
    coming = held(NEXT, registrar("Next RA", NEXT)).material
    ca = held(
        ROOT,
        registrar("RA", ROOT),
        next=coming,
        retired=(as_ra(registrar("Old RA", OLD)),),
        previous=(as_ca(OLD), as_ca(DEAF)),
    )
    assert [name for name, _ in names(ca)] == ["RA", "Next RA", "Old RA", "Old"]


@pytest.mark.parametrize("has_ra", [True, False])
def test_an_earlier_ca_is_answered_for_when_its_ra_is_over(has_ra):
    """Who has nothing but the earlier CA's certificate believes the answer."""
    device = keys.certify("device", keys.rsa_key("device"), OLD)
    retired = (as_ra(registrar("Old RA", OLD)),) if has_ra else ()
    ca = held(ROOT, registrar("RA", ROOT), retired=retired, previous=(as_ca(OLD),))
    sent = request(device)
    # As the service chooses: the first of the issuer's name.
    issuer = sent.revocation.issuer
    (signer, *_) = [
        one
        for one in signers(ca)
        if issuer in (one.credential.certificate.issuer, one.credential.certificate.subject)
    ]
    now = keys.NOW + timedelta(seconds=1)
    reply = cmp.seal_response(
        cmp.read_request(sent.der), cmp.ACCEPTED, signer, now=now, random=lambda size: b"r" * size
    )
    trusted = ca_certificates.trust([OLD.certificate], OLD.certificate, now)
    believed = cmp.read_response(reply, sent, trusted, now=now)
    assert _common(believed.signer) == ("Old RA" if has_ra else "Old")
