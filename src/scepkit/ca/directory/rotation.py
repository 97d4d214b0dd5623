"""The RA and the key of the OCSP responder are replaced before their certificates end.

The old key and certificate of an RA go to `old-ra/N/`: devices that have not asked again encrypt
to it. The old key of a responder is dropped: a response carries the certificate that verifies it.
A responder's two files are put in place one after the other, not at once as those of an RA are:
whoever finds only the first takes neither, and the CA's own key signs until the next call has made
both anew.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepkit.ca import checks, ocsp
from scepkit.ca.authority import Authority
from scepkit.ca.directory import paths, replacing
from scepkit.ca.directory.founding import RA_VALIDITY, stage_ra
from scepkit.ca.directory.material import chain_of, key_of, read_delegate
from scepkit.errors import UsageError
from scepkit.keys import ownership
from scepkit.keys.files import refusals, sync_directory
from scepkit.keys.pem import generate, read_certificate, write_certificate, write_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from scepkit.keys.passphrase import Passphrase
    from scepkit.keys.pem import PrivateKey

    # Of the CA's certificate and the RA's.
    _Judge: TypeAlias = Callable[[x509.Certificate, x509.Certificate], bool]

OCSP_BEFORE = timedelta(days=10)
"""The time before its end at which a certificate is replaced."""

_DAY = timedelta(days=1)
_SIZES = (2048, 3072, 4096)
_NEW_RA = "rsa:2048"
_OF_RA = (paths.RA_KEY, paths.RA_CERTIFICATE)


def rotate_ra(
    directory: Path,
    *,
    now: datetime,
    before: timedelta,
    validity: timedelta = RA_VALIDITY,
    passphrase: Passphrase | None = None,
) -> bool:
    """Make a new RA if the certificate of the old one, or of the next CA's, ends soon.

    Of several processes at once, one does it. An RA that has expired is replaced too, and one that
    was made while the clock was ahead and is not valid yet, so call it before `load`. Where there
    is no RA, or where the CA itself ends and a new RA would not live longer, there is nothing to
    do. Unless there is, nothing is written, nor does the directory have to be writable.

    Args:
        directory: the CA's.
        now: the time, aware.
        before: how long before its end; at least a day less than `validity`.
        validity: of the new certificate; the CA's end cuts it.
        passphrase: what the CA's keys are encrypted under, and the new one.

    Returns:
        Whether this call made a new one.

    Raises:
        UsageError: `before` is too long: each new RA would be due at once.
        SettingsError: there is no CA, or its files cannot be read or written.
    """
    if before > validity - _DAY:
        raise UsageError(
            f"an RA that lives {validity.days} days cannot be replaced {before.days} days "
            "before its end",
            hint="at least a day must be between the two",
        )
    paths.require(directory)
    is_due = partial(_is_due, now=now, before=before, validity=validity)
    if not any(paths.steadily(directory, partial(_due, directory, is_due))):
        return False
    with replacing.locked(directory):
        replacing.heal(directory)
        due = _due(directory, is_due)
        for place in due:
            _rotate(directory, place, now, validity, passphrase)
    return bool(due)


def _due(directory: Path, is_due: _Judge) -> list[Path]:
    return [place for place in _in_use(directory) if _place_is_due(paths.in_force(place), is_due)]


def _in_use(directory: Path) -> list[Path]:
    return [directory, *([directory / paths.NEXT] if paths.has_next(directory) else [])]


def _place_is_due(place: Path, is_due: _Judge) -> bool:
    return paths.has_ra(place) and is_due(
        read_certificate(place / paths.CA_CERTIFICATE),
        read_certificate(place / paths.RA_CERTIFICATE),
    )


def _is_due(
    ca: x509.Certificate,
    ra: x509.Certificate,
    *,
    now: datetime,
    before: timedelta,
    validity: timedelta,
) -> bool:
    if not ca.not_valid_before_utc <= now < ca.not_valid_after_utc:
        # It cannot issue; `load` says so.
        return False
    if now < ra.not_valid_before_utc:
        return True
    # A certificate has whole seconds.
    end = min((now + validity).replace(microsecond=0), ca.not_valid_after_utc)
    return ra.not_valid_after_utc - now <= before and end > ra.not_valid_after_utc


def _rotate(
    directory: Path,
    place: Path,
    now: datetime,
    validity: timedelta,
    passphrase: Passphrase | None,
) -> None:
    certificate, key = _pair(place, paths.CA_CERTIFICATE, paths.CA_KEY, passphrase)
    kind = _kind(_pair(place, paths.RA_CERTIFICATE, paths.RA_KEY, passphrase)[0])
    replacing.archive(directory, place, _OF_RA, paths.OLD_RA)
    ca = Authority(certificate, key, above=chain_of(place))
    _put_ra(directory, place, ca, kind, now, validity, passphrase)


def _put_ra(
    directory: Path,
    place: Path,
    ca: Authority,
    kind: str,
    now: datetime,
    validity: timedelta,
    passphrase: Passphrase | None,
) -> None:
    """Give a generation a new RA, in the place of whatever is there of one; under the lock."""
    stage = replacing.scratch(directory, "rotation")
    replacing.copy(place, stage, [name for name in paths.FILES if name not in _OF_RA])
    stage_ra(stage, ca, kind, now, validity, passphrase)
    replacing.replace(directory, place, stage)


def make_ra(
    directory: Path,
    *,
    now: datetime,
    validity: timedelta = RA_VALIDITY,
    passphrase: Passphrase | None = None,
) -> tuple[x509.Certificate, ...]:
    """Make an RA for a CA, and for the next one, where it needs one that is missing or half lost.

    Args:
        directory: the CA's.
        now: the time, aware.
        validity: of the new certificate; the CA's end cuts it.
        passphrase: what the CA's keys are encrypted under, and the new one.

    Returns:
        The certificates of the new RAs.

    Raises:
        SettingsError: there is no CA, or its files cannot be read or written.
    """
    paths.require(directory)
    with replacing.locked(directory):
        replacing.heal(directory)
        lacking = [place for place in _in_use(directory) if _lacks_ra(place)]
        for place in lacking:
            pair = _pair(place, paths.CA_CERTIFICATE, paths.CA_KEY, passphrase)
            ca = Authority(*pair, above=chain_of(place))
            _put_ra(directory, place, ca, _NEW_RA, now, validity, passphrase)
    return tuple(read_certificate(place / paths.RA_CERTIFICATE) for place in lacking)


def _lacks_ra(place: Path) -> bool:
    if paths.has_ra(place):
        # One half of it is no use without the other.
        return not all((place / name).exists() for name in _OF_RA)
    return checks.needs_ra(read_certificate(place / paths.CA_CERTIFICATE))


def _pair(
    place: Path, certificate: str, key: str, passphrase: Passphrase | None
) -> tuple[x509.Certificate, PrivateKey]:
    # What is broken is to be repaired, not to be put aside.
    found = read_certificate(place / certificate), key_of(place, key, passphrase)
    checks.check_key(*found)
    return found


def _kind(ra: x509.Certificate) -> str:
    # As large as the one before, which the operator may have chosen.
    key = ra.public_key()
    bits = key.key_size if isinstance(key, rsa.RSAPublicKey) else 0
    return f"rsa:{next((size for size in _SIZES if size >= bits), _SIZES[-1])}"


def rotate_ocsp(
    directory: Path,
    *,
    now: datetime,
    before: timedelta = OCSP_BEFORE,
    validity: timedelta = ocsp.OCSP_VALIDITY,
    passphrase: Passphrase | None = None,
) -> bool:
    """Make a key for OCSP where there is none that is fit, or where its certificate ends soon.

    For the CA, the next one, and those before that are still valid. Of several processes at once,
    one does it. Unless something is due, nothing is written, nor does the directory have to be
    writable.

    Args:
        directory: the CA's.
        now: the time, aware.
        before: how long before its end; less than `validity`.
        validity: of the new certificate; the CA's end cuts it.
        passphrase: what the CA's keys are encrypted under, and the new one.

    Returns:
        Whether this call made one.

    Raises:
        SettingsError: there is no CA, or its files cannot be read or written.
    """
    paths.require(directory)
    due = partial(_responders_due, directory, now, before, validity, passphrase)
    if not paths.steadily(directory, due):
        return False
    with replacing.locked(directory):
        replacing.heal(directory)
        places = due()
        for place in places:
            _make_responder(directory, place, now, validity, passphrase)
    return bool(places)


def _responders_due(
    directory: Path,
    now: datetime,
    before: timedelta,
    validity: timedelta,
    passphrase: Passphrase | None,
) -> list[Path]:
    return [
        place
        for place in paths.generations(directory)
        if _responder_is_due(place, now, before, validity, passphrase)
    ]


def _responder_is_due(
    place: Path,
    now: datetime,
    before: timedelta,
    validity: timedelta,
    passphrase: Passphrase | None,
) -> bool:
    ca = read_certificate(place / paths.CA_CERTIFICATE)
    if not ca.not_valid_before_utc <= now < ca.not_valid_after_utc:
        return False
    delegate = read_delegate(place, passphrase)
    if delegate is None or not ocsp.is_fit(delegate, ca, now):
        return True
    end = delegate.certificate.not_valid_after_utc
    # A certificate has whole seconds. Where the CA ends, a new one would live no longer.
    longest = min((now + validity).replace(microsecond=0), ca.not_valid_after_utc)
    return end - now <= before and longest > end


def _make_responder(
    directory: Path,
    place: Path,
    now: datetime,
    validity: timedelta,
    passphrase: Passphrase | None,
) -> None:
    certificate = read_certificate(place / paths.CA_CERTIFICATE)
    ca_key = key_of(place, paths.CA_KEY, passphrase)
    checks.check_key(certificate, ca_key)
    key = generate("ec:p256" if isinstance(ca_key, ec.EllipticCurvePrivateKey) else "rsa:2048")
    authority = Authority(certificate, ca_key, above=chain_of(place))
    made = ocsp.issue(authority, key, now=now, validity=validity)
    stage = replacing.scratch(directory, "ocsp")
    write_key(stage / paths.OCSP_KEY, key, passphrase)
    write_certificate(stage / paths.OCSP_CERTIFICATE, made)
    with refusals(f"cannot write {place / paths.OCSP_CERTIFICATE}"):
        ownership.give_all(stage, place)
        for name in (paths.OCSP_KEY, paths.OCSP_CERTIFICATE):
            (stage / name).replace(place / name)
            sync_directory(place)
    replacing.heal(directory)
