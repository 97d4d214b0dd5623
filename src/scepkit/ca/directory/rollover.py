"""One CA follows another (RFC 8894 sections 4.7 and 5.1).

    prepare    next/ is made; GetNextCACert offers it, and requests that are encrypted to it are
               certified by it
    activate   it becomes the CA; the one of before goes to old/N/ and stays good for what it issued
    cancel     next/ is dropped, its key for ever

Each step is done or not done, whenever the process is killed; see `replacing`.
Generations differ in their keys and in their names: by the issuer's name peers tell them apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from scepkit.ca import checks, suitability
from scepkit.ca.directory import founding, material, paths, replacing
from scepkit.ca.directory.founding import stage_ca
from scepkit.ca.directory.layouts import USUAL, NewCA, kinds
from scepkit.errors import Hint, SettingsError, UsageError
from scepkit.keys.pem import KINDS, kind, read_certificate
from scepkit.protocol.distinguished_name import Name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from scepkit.ca.directory.material import Material
    from scepkit.keys.passphrase import Passphrase

_MARK = re.compile(r" G([1-9][0-9]{0,3})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Generation:
    """The certificates of one generation.

    Attributes:
        ca: the CA's.
        ra: the RA's; None where the CA does its work.
        number: of its directory in old/; None for the one in force and the next.
    """

    ca: x509.Certificate
    ra: x509.Certificate | None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Generations:
    """Every generation that there is, expired or not.

    Attributes:
        current: in force.
        next: prepared, if it is.
        old: those of before, newest first.
        retired: RAs that were rotated out, newest first.
    """

    current: Generation
    next: Generation | None
    old: tuple[Generation, ...]
    retired: tuple[x509.Certificate, ...]


def prepare(
    directory: Path,
    *,
    now: datetime,
    layout: str | None = None,
    common_name: str | None = None,
    new: NewCA = USUAL,
    passphrase: Passphrase | None = None,
) -> Material:
    """Make the next CA and keep it beside the current one, in `next/`.

    Args:
        directory: the CA's.
        now: the time, aware.
        layout: a key of `LAYOUTS`; the same as now, with the same kind of key, unless given.
        common_name: of the next CA, at most 61 octets; that of the current one and a mark, as in
            "Mill CA G2", unless given. The rest of the name stays.
        new: its life and its path length; what it is called and its keys are as above.
        passphrase: what its keys are encrypted under, those of the next CA too.

    Returns:
        the whole CA, with `next`.

    Raises:
        UsageError: an unknown layout, or a name that cannot be one or has been used.
        SettingsError: there is no CA, or a next one already, or the file system refuses.
    """
    if layout is not None:
        kinds(layout)
    paths.require(directory)
    with replacing.locked(directory):
        replacing.heal(directory)
        current = material.load(directory, now=now, passphrase=passphrase)
        if paths.has_next(directory):
            raise SettingsError(f"{directory} has a next CA already", hint=Hint.END_ROLLOVER)
        if not suitability.is_self_issued(current.ca.certificate):
            raise SettingsError(
                f"{checks.label(current.ca.certificate)} is no root: the next CA has to be "
                "certified by the CA above, too",
                hint=Hint.REQUEST_CA,
            )
        name = _next_name(directory, common_name)
        stage = replacing.scratch(directory, paths.NEXT)
        keys = kinds(layout) if layout else replace(kinds(current.layout), ca=_key_kind(current))
        stage_ca(stage, keys, name, now, passphrase, new)
        replacing.move(stage, directory / paths.NEXT)
        replacing.heal(directory)
    return material.load(directory, now=now, passphrase=passphrase)


def activate(directory: Path, *, now: datetime, passphrase: Passphrase | None = None) -> Material:
    """Make the next CA the current one; that one goes to `old/`.

    Args:
        directory: the CA's.
        now: the time, aware.
        passphrase: what its keys are encrypted under, where they are.

    Returns:
        the whole CA as it is now.

    Raises:
        SettingsError: there is no next CA, or it is not fit, or the file system refuses.
    """
    paths.require(directory)
    with replacing.locked(directory):
        before = read_certificate(directory / paths.CA_CERTIFICATE)
        replacing.heal(directory)
        current = read_certificate(directory / paths.CA_CERTIFICATE)
        if before != current:
            # A killed process had begun it, and asked again it is done.
            return material.load(directory, now=now, passphrase=passphrase)
        _require_next(directory, current, Hint.PREPARE_CA)
        # Whatever is not fit would be found by every worker at once.
        material.load_generation(directory / paths.NEXT, now=now, passphrase=passphrase)
        replacing.archive(directory, directory, paths.FILES, paths.OLD)
        replacing.replace(directory, directory, directory / paths.NEXT)
    return material.load(directory, now=now, passphrase=passphrase)


def cancel(directory: Path) -> x509.Certificate:
    """Drop the next CA and its key: certificates that it has issued can no longer be revoked.

    Returns:
        the certificate of the CA that is no more; its name will not be used again.

    Raises:
        SettingsError: there is no next CA, or the file system refuses.
    """
    paths.require(directory)
    with replacing.locked(directory):
        replacing.heal(directory)
        current = read_certificate(directory / paths.CA_CERTIFICATE)
        _require_next(directory, current, Hint.NOTHING_TO_CANCEL)
        place = directory / paths.NEXT
        certificate = read_certificate(place / paths.CA_CERTIFICATE)
        replacing.archive(directory, place, (paths.CA_CERTIFICATE,), paths.CANCELLED)
        replacing.drop(directory, place)
    return certificate


def status(directory: Path) -> Generations:
    """Return all generations, expired or not. Reads certificates, no keys.

    Raises:
        SettingsError: there is no CA, or a certificate cannot be read.
    """
    return paths.steadily(directory, partial(_status, directory))


def _status(directory: Path) -> Generations:
    paths.require(directory)
    current = _generation(paths.in_force(directory))
    coming = paths.has_next(directory)
    return Generations(
        current=current,
        next=_generation(paths.in_force(directory / paths.NEXT)) if coming else None,
        old=tuple(
            generation
            for number, place in paths.numbered(directory / paths.OLD)
            if (generation := _generation(place, number)).ca != current.ca
        ),
        retired=tuple(
            certificate
            for _, place in paths.numbered(directory / paths.OLD_RA)
            if (certificate := read_certificate(place / paths.RA_CERTIFICATE)) != current.ra
        ),
    )


def _generation(place: Path, number: int | None = None) -> Generation:
    ra = place / paths.RA_CERTIFICATE
    return Generation(
        ca=read_certificate(place / paths.CA_CERTIFICATE),
        ra=read_certificate(ra) if paths.has_ra(place) else None,
        number=number,
    )


def _key_kind(current: Material) -> str:
    """Return the kind of key for a CA that follows: that of the one in force.

    An EC key without an RA, which comes from elsewhere only, is followed by one that decrypts.
    """
    found, usual = kind(current.ca.private_key), kinds(current.layout).ca
    is_usual = found.partition(":")[0] == usual.partition(":")[0]
    return found if found in KINDS and is_usual else usual


def _require_next(directory: Path, current: x509.Certificate, hint: Hint) -> None:
    if not paths.has_next(directory):
        raise SettingsError(
            f"{directory} has no next CA: {checks.label(current)} is the CA since "
            f"{current.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC",
            hint=hint,
        )


def is_same(name: x509.Name, other: x509.Name) -> bool:
    """Say whether two names of CAs are one to devices: upper or lower case makes no difference."""
    return _folded(name) == _folded(other)


def is_used(directory: Path, name: x509.Name) -> bool:
    """Say whether a CA here is or was called so.

    Raises:
        SettingsError: a certificate cannot be read.
    """
    return _folded(name) in {_folded(one) for one in _names(directory)}


def check_unused(directory: Path, name: x509.Name) -> None:
    """Refuse the name of a CA that is or was here: peers tell generations apart by it.

    Raises:
        SettingsError: it has been used.
    """
    if is_used(directory, name):
        raise SettingsError(
            f'"{Name.of(name)}" is or was the name of a CA here, with another key',
            hint="devices tell CAs apart by their names: take another name; for a longer life with "
            "the name that it has, the CA keeps its key",
        )


def _next_name(directory: Path, common_name: str | None) -> x509.Name:
    current, *others = _names(directory)
    used = {_folded(name) for name in (current, *others)}
    if common_name is not None:
        name = founding.renamed(current, common_name)
        if _folded(name) in used:
            raise UsageError(
                f"{common_name!r} is or was the name of a CA here",
                hint="devices tell CAs apart by their names; choose another",
            )
        return name
    return _marked(current, used)


def _marked(current: x509.Name, used: set[str]) -> x509.Name:
    old = checks.common_name_of(current)
    mark = _MARK.search(old)
    number, stem = (int(mark[1]), old[: mark.start()]) if mark else (1, old)
    while True:
        number += 1
        name = founding.renamed(current, f"{stem} G{number}")
        if _folded(name) not in used:
            return name


def _names(directory: Path) -> Iterator[x509.Name]:
    yield read_certificate(directory / paths.CA_CERTIFICATE).subject
    for others in (paths.OLD, paths.CANCELLED):
        for _, place in paths.numbered(directory / others):
            yield read_certificate(place / paths.CA_CERTIFICATE).subject


def _folded(name: x509.Name) -> str:
    # RFC 5280 section 7.1: names that differ in case alone are the same name.
    return name.rfc4514_string().casefold()
