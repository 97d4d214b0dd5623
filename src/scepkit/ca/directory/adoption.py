"""A CA certificate from elsewhere comes into a directory: a first one, a next one, a renewed one.

Which it is follows from its key:

    no CA is there       it becomes the CA; its files are made in `.new-ca` and moved up
    the key of the CA    the certificate is renewed: it takes the place of the old one
    another key          it becomes the next CA, in `next/`; see `rollover`

So a CA that has issued is never overwritten. Each of the three is done or not done, whenever the
process is killed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca import checks, ocsp, suitability
from scepkit.ca.authority import Authority
from scepkit.ca.directory import founding, paths, replacing, rollover
from scepkit.ca.directory.founding import RA_VALIDITY, ra_name, stage_ra
from scepkit.ca.directory.material import check_passphrase
from scepkit.ca.limits import Limits
from scepkit.ca.subject_rules import certified_subject
from scepkit.errors import BadRequest, Hint, SettingsError
from scepkit.keys.files import make_directory, refusals, write_file
from scepkit.keys.pem import (
    CERTIFICATE_MODE,
    read_certificate,
    read_certificates,
    write_certificate,
    write_key,
)
from scepkit.protocol.distinguished_name import Name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from scepkit.keys.passphrase import Passphrase
    from scepkit.keys.pem import PrivateKey

_RA_KEY = "rsa:2048"


class Place(StrEnum):
    """Where a CA certificate from elsewhere has come."""

    FIRST = "first"
    RENEWED = "renewed"
    NEXT = "next"
    NEXT_RENEWED = "next-renewed"


def adopt(
    directory: Path,
    certificate: x509.Certificate,
    key: PrivateKey,
    above: Sequence[x509.Certificate],
    *,
    now: datetime,
    passphrase: Passphrase | None = None,
) -> Place:
    """Take a CA certificate and its key into a directory, which is made if need be.

    Args:
        directory: the CA's.
        certificate: from elsewhere.
        key: its private key.
        above: the certificates over it that are known, in any order.
        now: the time, aware.
        passphrase: what the keys there are encrypted under, and become so; None: they are in clear.

    Raises:
        SettingsError: it cannot be a CA's here; see `suitability.check`. Or a next CA is there
            already, or a name has been used, or the file system refuses.
    """
    chain = suitability.check(certificate, key, above, now)
    _check_own_names(certificate, chain)
    with replacing.locked(directory):
        replacing.heal(directory)
        founding.heal(directory)
        if not paths.exists(directory):
            founding.check_vacant(directory)
            _stage(directory / founding.STAGE, certificate, key, chain, now, passphrase)
            founding.heal(directory)
            return Place.FIRST
        check_passphrase(directory, passphrase)
        if is_for(directory, certificate):
            _renew(directory, directory, certificate, chain)
            return Place.RENEWED
        following = directory / paths.NEXT
        if paths.has_next(directory):
            if not is_for(following, certificate):
                raise SettingsError(f"{directory} has a next CA already", hint=Hint.END_ROLLOVER)
            _renew(directory, following, certificate, chain)
            return Place.NEXT_RENEWED
        rollover.check_unused(directory, certificate.subject)
        stage = replacing.scratch(directory, paths.NEXT)
        _stage(stage, certificate, key, chain, now, passphrase)
        replacing.move(stage, following)
        replacing.heal(directory)
    return Place.NEXT


def known_above(directory: Path) -> list[x509.Certificate]:
    """Return the certificates above the CAs of a directory, each before those above it.

    Raises:
        SettingsError: they cannot be read.
    """
    places = map(paths.in_force, (directory, directory / paths.NEXT))
    chains = [place / paths.CHAIN for place in places if (place / paths.CHAIN).exists()]
    return [one for path in chains for one in read_certificates(path)]


def layout_of(certificate: x509.Certificate) -> str:
    """Return the name of the key layout that a CA from elsewhere comes to have."""
    if not checks.needs_ra(certificate):
        return "single"
    return "ec" if isinstance(certificate.public_key(), ec.EllipticCurvePublicKey) else "default"


def _check_own_names(certificate: x509.Certificate, above: Sequence[x509.Certificate]) -> None:
    """Refuse a CA whose name, or whose constraints, leave no name to those who answer for it.

    Raises:
        SettingsError: its RA or its OCSP responder could have no certificate.
    """
    limits = Limits.of(certificate, above)
    of_ra = [ra_name(certificate.subject)] if checks.needs_ra(certificate) else []
    for name in map(Name.of, (*of_ra, ocsp.name_for(certificate.subject))):
        try:
            certified_subject(name)
        except BadRequest as error:
            raise SettingsError(
                f"nobody can be named after {checks.label(certificate)}: {error.message}",
                hint="its RA and its OCSP responder have its name and a mark; RFC 5280 appendix A "
                "has the lengths",
            ) from error
        limits.check_own(name)


def _stage(
    stage: Path,
    certificate: x509.Certificate,
    key: PrivateKey,
    chain: Sequence[x509.Certificate],
    now: datetime,
    passphrase: Passphrase | None,
) -> None:
    """Write the files of a CA into a directory, which is made; ca.pem comes last."""
    with refusals(f"cannot make {stage}"):
        make_directory(stage)
    write_key(stage / paths.CA_KEY, key, passphrase)
    if checks.needs_ra(certificate):
        authority = Authority(certificate, key, above=chain)
        stage_ra(stage, authority, _RA_KEY, now, RA_VALIDITY, passphrase)
    _write_chain(stage, chain)
    write_certificate(stage / paths.CA_CERTIFICATE, certificate)


def _write_chain(stage: Path, chain: Sequence[x509.Certificate]) -> None:
    if chain:
        pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
        write_file(stage / paths.CHAIN, pem, mode=CERTIFICATE_MODE)


def is_for(place: Path, certificate: x509.Certificate) -> bool:
    """Say whether a certificate is for the key of a generation."""
    current = read_certificate(paths.in_force(place) / paths.CA_CERTIFICATE)
    return current.public_key() == certificate.public_key()


def _renew(
    directory: Path,
    place: Path,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
) -> None:
    """Put a certificate for the same key in the place of the one before.

    Raises:
        SettingsError: its name is another one, and what was issued so far names the old one.
    """
    current = read_certificate(place / paths.CA_CERTIFICATE)
    if current.subject != certificate.subject:
        raise SettingsError(
            f"{checks.label(certificate)} is for the key of {checks.label(current)}, whose "
            "certificates name it as their issuer",
            hint="have it issued with the same subject; for another name a CA needs another key",
        )
    stage = replacing.scratch(directory, "renewed")
    kept = [name for name in paths.FILES if name not in (paths.CHAIN, paths.CA_CERTIFICATE)]
    replacing.copy(place, stage, kept)
    _write_chain(stage, chain)
    write_certificate(stage / paths.CA_CERTIFICATE, certificate)
    replacing.replace(directory, place, stage)
