"""The files of a CA in its directory, and how they get there.

    ca-key.pem 0600 · ca.pem 0644 · ra-key.pem 0600 · ra.pem 0644     (`single` has no RA files)

A directory holds a CA if and only if ca.pem is there:

1. All files are made in the subdirectory `.new-ca`, ca.pem last.
2. They are moved up, ca.pem last.

Whoever finds `.new-ca` therefore knows what to do: with ca.pem inside it is complete and is moved
up; without, nobody has ever seen those keys and it is dropped. A kill at any instant is healed by
the next `create` or `load_or_create`. Key files without `.new-ca` came from elsewhere: they may be
somebody's only copy, so they are never overwritten.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.ca import checks, founding
from scepkit.ca.authority import Authority
from scepkit.ca.certificates import read_certificate, write_certificate
from scepkit.ca.files import make_directory, refusals, sync_directory
from scepkit.ca.keys import generate, read_key, write_key
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from scepkit.ca.keys import PrivateKey

CA_KEY, CA_CERTIFICATE = "ca-key.pem", "ca.pem"
RA_KEY, RA_CERTIFICATE = "ra-key.pem", "ra.pem"

# The order of moving up: what makes the directory a CA comes last.
_FILES = (CA_KEY, RA_KEY, RA_CERTIFICATE, CA_CERTIFICATE)
_STAGE = ".new-ca"
_LOCK = ".ca.lock"


@dataclass(frozen=True, slots=True)
class _Keys:
    ca: str
    ra: str | None


LAYOUTS = {
    "default": _Keys("rsa:3072", "rsa:2048"),
    "ec": _Keys("ec:p256", "rsa:2048"),
    "single": _Keys("rsa:2048", None),
}
"""The kinds of keys, as `generate` takes them; without an RA the CA's own key is the RA's."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An RSA key that decrypts requests and signs replies, with its certificate."""

    certificate: x509.Certificate
    private_key: rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that a SCEP server needs to have at hand, parsed.

    Attributes:
        ca: issues certificates.
        ra: decrypts requests and signs replies; the CA's own key and certificate in `single`.
        chain: what GetCACert publishes: the RA first and then the CA, or the CA alone.
    """

    ca: Authority
    ra: Credential
    chain: tuple[x509.Certificate, ...]


def create(
    directory: Path,
    layout: str,
    *,
    now: datetime,
    common_name: str | None = None,
    organization: str | None = None,
) -> Material:
    """Make a new CA in a directory, which is made (mode 0700) if it is not there.

    Args:
        directory: where to.
        layout: a key of `LAYOUTS`.
        now: the time, aware.
        common_name: of the CA, at most 61 octets; "scepkit CA" and 8 random hex digits unless
            given, so that the CAs of two servers differ.
        organization: of the CA, at most 64 octets.

    Raises:
        UsageError: an unknown layout, or a name that cannot be one.
        SettingsError: there is a CA already, or half of one, or the file system refuses.
    """
    kinds = _kinds(layout)
    name = founding.ca_name(common_name or f"scepkit CA {secrets.token_hex(4)}", organization)
    with _locked(directory):
        _heal(directory)
        _check_vacant(directory)
        _stage(directory / _STAGE, kinds, name, now)
        _heal(directory)
    return load(directory, now=now)


def load(directory: Path, *, now: datetime) -> Material:
    """Read a CA; without RA files its own key is the RA's. Writes nothing.

    Raises:
        SettingsError: something is missing, cannot be read, does not belong together, has
            expired, or lacks a keyUsage that its role needs (RFC 8894 section 2.1.2).
    """
    ca_certificate = _read_ca_certificate(directory)
    ca_key = read_key(directory / CA_KEY)
    checks.check_is_ca(ca_certificate)
    _check_fit(ca_certificate, ca_key, checks.CA_NEEDS, now)
    ca = Authority(ca_certificate, ca_key)
    if not _has_ra(directory):
        _check_alone(ca_certificate)
        return Material(ca, _credential(ca_certificate, ca_key), (ca_certificate,))
    ra_certificate = read_certificate(directory / RA_CERTIFICATE)
    ra_key = read_key(directory / RA_KEY)
    _check_fit(ra_certificate, ra_key, checks.RA_NEEDS, now)
    checks.check_issued_by(ra_certificate, ca_certificate)
    return Material(ca, _credential(ra_certificate, ra_key), (ra_certificate, ca_certificate))


def load_or_create(directory: Path, layout: str, *, now: datetime) -> Material:
    """Read the CA of a directory, or make one if there is none.

    Of several processes at once, one makes the CA and the others read it.

    Args:
        directory: where.
        layout: a key of `LAYOUTS`, for a new CA; that of a CA which is there stays as it is.
        now: the time, aware.

    Raises:
        UsageError: an unknown layout.
        SettingsError: as `load` and `create`.
    """
    _kinds(layout)
    # Without the lock first: the directory may be read-only, as a mounted secret is.
    if not exists(directory):
        try:
            return create(directory, layout, now=now)
        except SettingsError:
            if not exists(directory):
                raise
    return load(directory, now=now)


def exists(directory: Path) -> bool:
    """Tell whether the directory holds a CA, complete by construction.

    Raises:
        SettingsError: the directory cannot be searched.
    """
    with refusals(f"cannot look into {directory}"):
        return (directory / CA_CERTIFICATE).exists()


def _kinds(layout: str) -> _Keys:
    kinds = LAYOUTS.get(layout)
    if kinds is None:
        raise UsageError(f"there is no layout {layout!r}", hint=f"one of {', '.join(LAYOUTS)}")
    return kinds


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    # The lock dies with the process; the file stays, as to delete it would be a race.
    with refusals(f"cannot use the directory {directory}"):
        make_directory(directory)
        lock = os.fdopen(os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600))
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        yield


def _stage(stage: Path, kinds: _Keys, name: x509.Name, now: datetime) -> None:
    with refusals(f"cannot make {stage}"):
        make_directory(stage)
    ca_key = generate(kinds.ca)
    ca_certificate = founding.self_signed(ca_key, name, now=now, decrypts=kinds.ra is None)
    write_key(stage / CA_KEY, ca_key)
    if kinds.ra is not None:
        ra_key = generate(kinds.ra)
        ca = Authority(ca_certificate, ca_key)
        write_key(stage / RA_KEY, ra_key)
        write_certificate(stage / RA_CERTIFICATE, founding.ra_certificate(ca, ra_key, now=now))
    write_certificate(stage / CA_CERTIFICATE, ca_certificate)


def _heal(directory: Path) -> None:
    stage = directory / _STAGE
    with refusals(f"cannot use the directory {directory}"):
        if (stage / CA_CERTIFICATE).exists():
            _move_up(stage, directory)
        if stage.exists():
            shutil.rmtree(stage)
            sync_directory(directory)


def _move_up(stage: Path, directory: Path) -> None:
    staged = [name for name in _FILES if (stage / name).exists()]
    # A rename leaves no copy behind: what is in both places came from somebody else meanwhile.
    _check_vacant(directory, staged)
    for name in staged:
        (stage / name).rename(directory / name)
        # One by one: the order must hold on the disk too.
        sync_directory(directory)


def _check_vacant(directory: Path, names: Sequence[str] = _FILES) -> None:
    found = [name for name in names if (directory / name).exists()]
    if CA_CERTIFICATE in found:
        raise SettingsError(
            f"there is a CA in {directory} already", hint="use it, or name another directory"
        )
    if found:
        raise SettingsError(
            f"{directory} has {', '.join(found)} but no {CA_CERTIFICATE}: half a CA",
            hint=f"restore {CA_CERTIFICATE}, or move the rest away to start anew",
        )


def _read_ca_certificate(directory: Path) -> x509.Certificate:
    if not exists(directory):
        raise SettingsError(
            f"there is no CA in {directory}: no {CA_CERTIFICATE}",
            hint="is it the right directory? `scep serve --dir DIR` makes a new CA",
        )
    return read_certificate(directory / CA_CERTIFICATE)


def _has_ra(directory: Path) -> bool:
    # Either of them: a lost one must be reported, not taken for `single`.
    return (directory / RA_CERTIFICATE).exists() or (directory / RA_KEY).exists()


def _check_fit(
    certificate: x509.Certificate, key: PrivateKey, needs: tuple[str, ...], now: datetime
) -> None:
    checks.check_key(certificate, key)
    checks.check_validity(certificate, now)
    checks.check_key_usage(certificate, *needs)


def _check_alone(ca: x509.Certificate) -> None:
    checks.check_key_usage(
        ca,
        *checks.RA_NEEDS,
        hint=f"so it needs an RA: restore {RA_CERTIFICATE} and {RA_KEY} beside it",
    )


def _credential(certificate: x509.Certificate, key: PrivateKey) -> Credential:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(
            "the key that decrypts requests is not RSA",
            hint="SCEP encrypts to RSA keys; give the CA an RSA RA",
        )
    return Credential(certificate, key)
