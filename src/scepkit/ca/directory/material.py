"""A CA in memory: the keys and certificates of its directory, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepkit.ca import checks, ocsp
from scepkit.ca.authority import Authority
from scepkit.ca.directory import paths
from scepkit.errors import Hint, SettingsError
from scepkit.keys.pem import (
    EncryptedKey,
    is_encrypted,
    read_certificate,
    read_certificates,
    read_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from scepkit.keys.passphrase import Passphrase
    from scepkit.keys.pem import PrivateKey


@dataclass(frozen=True, slots=True)
class RACredential:
    """A key that requests are encrypted to and that signs replies, with its certificate.

    A CA's own may be EC. That decrypts nothing, so requests come with a password (RFC 8894 section
    3.1); whether it is known depends on the endpoint.
    """

    certificate: x509.Certificate
    private_key: PrivateKey


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that a SCEP server needs to have at hand, parsed.

    Attributes:
        ca: issues certificates.
        ra: decrypts requests and signs replies; the CA's own key and certificate in `single`.
        chain: what GetCACert publishes: the RA first and then the CA, or the CA alone.
        retired: RAs of before whose certificates are still valid, newest first: devices that
            have not asked again encrypt to them.
        previous: CAs of before whose certificates are still valid, newest first.
        next: the CA to come, whose `chain` GetNextCACert publishes; None unless prepared.
    """

    ca: Authority
    ra: RACredential
    chain: tuple[x509.Certificate, ...]
    retired: tuple[RACredential, ...] = ()
    previous: tuple[Authority, ...] = ()
    next: Material | None = None

    @property
    def layout(self) -> str:
        """Return the name of the key layout: `default`, `ec` or `single`."""
        if len(self.chain) == 1:
            return "single"
        return "ec" if isinstance(self.ca.private_key, ec.EllipticCurvePrivateKey) else "default"


def load(directory: Path, *, now: datetime, passphrase: Passphrase | None = None) -> Material:
    """Read a CA; without RA files its own key is the RA's. Writes nothing.

    The first time that a process reads a key costs 0.04 s for RSA-2048 and 0.13 s for RSA-3072, as
    the primes are checked; later times cost a millisecond or two altogether. Safe while another
    process changes the files.

    Args:
        directory: the CA's.
        now: the time, aware.
        passphrase: what its keys are encrypted under, where they are.

    Raises:
        SettingsError: something is missing, cannot be read, does not belong together, has
            expired, or lacks a keyUsage that its role needs (RFC 8894 section 2.1.2). What
            expired among `retired`, `previous` and `next` is left out instead, and so is a `next`
            that is not valid yet.
    """
    return paths.steadily(directory, partial(_read, directory, now, passphrase))


def load_authorities(
    directory: Path, *, now: datetime, passphrase: Passphrase | None = None
) -> tuple[Authority, ...]:
    """Read the CAs alone, which sign CRLs whatever became of their RAs. Writes nothing.

    Args:
        directory: the CA's.
        now: the time, aware.
        passphrase: as for `load`.

    Returns:
        The current one, the next if there is one, and those of before, newest first. Of the last
        two kinds what expired is left out.

    Raises:
        SettingsError: as `load`, for the CAs' own files.
    """
    return paths.steadily(directory, partial(_read_authorities, directory, now, passphrase))


def load_generation(
    place: Path, *, now: datetime, passphrase: Passphrase | None = None
) -> Material:
    """Read a CA and its RA alone, without those before and after; arguments as for `load`.

    Raises:
        SettingsError: as `load`.
    """
    paths.require(place)
    place = paths.in_force(place)
    ca = _authority(place, now, passphrase)
    if not paths.has_ra(place):
        _check_alone(ca.certificate)
        own = RACredential(ca.certificate, ca.private_key)
        return Material(ca, own, (ca.certificate,))
    ra = _ra(place, now, passphrase)
    checks.check_issued_by(ra.certificate, ca.certificate)
    return Material(ca, ra, (ra.certificate, ca.certificate))


def _read(directory: Path, now: datetime, passphrase: Passphrase | None) -> Material:
    current = load_generation(directory, now=now, passphrase=passphrase)
    coming = _next(directory, now, passphrase)
    earlier = list(_earlier(directory, now, passphrase))
    # Once each: a kill may have left a copy of a CA that was in force still, or is.
    previous = {authority.certificate: authority for authority, _ in earlier}
    previous.pop(current.ca.certificate, None)
    issuers = [current.ca, *([coming.ca] if coming else []), *previous.values()]
    return Material(
        current.ca,
        current.ra,
        current.chain,
        retired=tuple(_retired(directory, issuers, current, coming, earlier, now, passphrase)),
        previous=tuple(previous.values()),
        next=coming,
    )


def _read_authorities(
    directory: Path, now: datetime, passphrase: Passphrase | None
) -> tuple[Authority, ...]:
    paths.require(directory)
    current, *others = paths.generations(directory)
    found = [_authority(current, now, passphrase)]
    coming = paths.in_force(directory / paths.NEXT)
    for place in others:
        certificate = read_certificate(place / paths.CA_CERTIFICATE)
        if place == coming and not _is_valid(certificate, now):
            continue
        # Once each: a kill may have left a copy.
        if not _expired(certificate, now) and certificate not in [a.certificate for a in found]:
            found.append(_authority(place, now, passphrase))
    return tuple(found)


def _next(directory: Path, now: datetime, passphrase: Passphrase | None) -> Material | None:
    if not paths.has_next(directory):
        return None
    place = paths.in_force(directory / paths.NEXT)
    files = [paths.CA_CERTIFICATE, *([paths.RA_CERTIFICATE] if paths.has_ra(place) else [])]
    if not all(_is_valid(read_certificate(place / file), now) for file in files):
        # No reason to stop: nothing depends on it yet. `rollover.status` shows it.
        return None
    return load_generation(directory / paths.NEXT, now=now, passphrase=passphrase)


def _earlier(
    directory: Path, now: datetime, passphrase: Passphrase | None
) -> Iterator[tuple[Authority, RACredential | None]]:
    for _, place in paths.numbered(directory / paths.OLD):
        if _expired(read_certificate(place / paths.CA_CERTIFICATE), now):
            continue
        ca = _authority(place, now, passphrase)
        yield ca, _earlier_ra(place, ca, now, passphrase)


def _earlier_ra(
    place: Path, ca: Authority, now: datetime, passphrase: Passphrase | None
) -> RACredential | None:
    if paths.has_ra(place):
        return _unless_expired(place, now, passphrase)
    # `single`: devices encrypted to the CA itself.
    is_ra = checks.may_be_alone(ca.certificate)
    return RACredential(ca.certificate, ca.private_key) if is_ra else None


def _retired(
    directory: Path,
    issuers: list[Authority],
    current: Material,
    coming: Material | None,
    earlier: list[tuple[Authority, RACredential | None]],
    now: datetime,
    passphrase: Passphrase | None,
) -> Iterator[RACredential]:
    rotated = [
        _unless_expired(place, now, passphrase)
        for _, place in paths.numbered(directory / paths.OLD_RA)
    ]
    cancelled = [
        read_certificate(place / paths.CA_CERTIFICATE).subject
        for _, place in paths.numbered(directory / paths.CANCELLED)
    ]
    seen = {current.ra.certificate, *([coming.ra.certificate] if coming else [])}
    for credential in (*rotated, *(ra for _, ra in earlier)):
        if credential is not None and credential.certificate not in seen:
            if credential.certificate.issuer in cancelled:
                # An RA that a next CA had before it was cancelled: nobody is to trust it.
                continue
            _check_issued_by_one_of(credential.certificate, issuers)
            seen.add(credential.certificate)
            yield credential


def _check_issued_by_one_of(certificate: x509.Certificate, issuers: list[Authority]) -> None:
    # Names differ between generations; a name that is nobody's fails at the newest.
    fitting = [one for one in issuers if one.certificate.subject == certificate.issuer]
    checks.check_issued_by(certificate, (fitting or issuers)[0].certificate)


def _unless_expired(
    place: Path, now: datetime, passphrase: Passphrase | None
) -> RACredential | None:
    certificate = read_certificate(place / paths.RA_CERTIFICATE)
    if _expired(certificate, now):
        return None
    # One of a clock that was ahead is not valid yet, and devices encrypt to it all the same.
    return _ra(place, max(now, certificate.not_valid_before_utc), passphrase)


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now and not _expired(certificate, now)


def _expired(certificate: x509.Certificate, now: datetime) -> bool:
    return now >= certificate.not_valid_after_utc


def _authority(place: Path, now: datetime, passphrase: Passphrase | None) -> Authority:
    certificate = read_certificate(place / paths.CA_CERTIFICATE)
    key = key_of(place, paths.CA_KEY, passphrase)
    checks.check_is_ca(certificate)
    _check_fit(certificate, key, checks.CA_NEEDS, now)
    return Authority(certificate, key, above=chain_of(place))


def chain_of(place: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates above a generation's CA, as far as they are known.

    Args:
        place: where the generation's files are.

    Raises:
        SettingsError: they cannot be read.
    """
    path = place / paths.CHAIN
    return read_certificates(path) if path.exists() else ()


def _ra(place: Path, now: datetime, passphrase: Passphrase | None) -> RACredential:
    certificate = read_certificate(place / paths.RA_CERTIFICATE)
    key = key_of(place, paths.RA_KEY, passphrase)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(
            f"the key of the RA, {place / paths.RA_KEY}, is not RSA",
            hint="devices encrypt to an RA; give the CA one with an RSA key, or none",
        )
    _check_fit(certificate, key, checks.RA_NEEDS, now)
    return RACredential(certificate, key)


def _check_fit(
    certificate: x509.Certificate, key: PrivateKey, needs: tuple[str, ...], now: datetime
) -> None:
    checks.check_key(certificate, key)
    checks.check_validity(certificate, now)
    checks.check_key_usage(certificate, *needs)


def _check_alone(ca: x509.Certificate) -> None:
    checks.check_key_usage(
        ca,
        *checks.needs_alone(ca),
        hint=Hint.MAKE_RA,
    )


def key_of(place: Path, name: str, passphrase: Passphrase | None) -> PrivateKey:
    """Read a private key of a generation.

    Args:
        place: where the generation's files are.
        name: of the file.
        passphrase: what it is encrypted under, if it is.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return read_key(place / name, passphrase)
    except EncryptedKey as error:
        raise SettingsError(error.message, hint=Hint.KEY_PROTECTION) from error


def check_passphrase(directory: Path, passphrase: Passphrase | None) -> None:
    """Refuse a passphrase that does not open the key of the CA in force, if that is encrypted.

    What is written beside it belongs under the same one: else no server could read both.

    Raises:
        WrongPassphrase: it is another one.
        SettingsError: there is none, or the key cannot be read.
    """
    place = paths.in_force(directory)
    if is_encrypted(place / paths.CA_KEY):
        key_of(place, paths.CA_KEY, passphrase)


def load_responders(
    directory: Path, material: Material, *, now: datetime, passphrase: Passphrase | None = None
) -> ocsp.OCSPResponders:
    """Read the OCSP responders of a CA and of those before and after it. Writes nothing.

    Args:
        directory: the CA's.
        material: what `load` read from it.
        now: the time, aware.
        passphrase: as for `load`.

    Raises:
        SettingsError: the directory cannot be read; what is wrong with the keys for OCSP is no
            reason.
    """
    found = paths.steadily(directory, partial(_delegates, directory, passphrase))
    issuing = [material] if material.next is None else [material, material.next]
    ras = [one.ra.certificate for one in issuing]
    ras += [one.certificate for one in material.retired]
    return ocsp.OCSPResponders(
        ocsp.OCSPResponder(
            ca, next((one for one in found if ocsp.is_fit(one, ca.certificate, now)), None), ras
        )
        for ca in (*(one.ca for one in issuing), *material.previous)
    )


def read_delegate(place: Path, passphrase: Passphrase | None = None) -> ocsp.Delegate | None:
    """Read a key for OCSP with its certificate; None where it is not there or cannot be used."""
    try:
        certificate = read_certificate(place / paths.OCSP_CERTIFICATE)
        key = key_of(place, paths.OCSP_KEY, passphrase)
        checks.check_key(certificate, key)
    except SettingsError:
        return None
    return ocsp.Delegate(certificate, key)


def _delegates(directory: Path, passphrase: Passphrase | None) -> list[ocsp.Delegate]:
    found = [read_delegate(place, passphrase) for place in paths.generations(directory)]
    return [one for one in found if one is not None]
