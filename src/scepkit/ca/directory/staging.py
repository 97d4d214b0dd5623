"""New keys and certificates of a generation, written where nobody looks yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepkit.ca.authority import Authority
from scepkit.ca.directory import founding, paths
from scepkit.errors import UsageError
from scepkit.keys.files import make_directory, refusals
from scepkit.keys.pem import generate, write_certificate, write_key

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Keys:
    """The kinds of keys of a layout, as `generate` takes them.

    Attributes:
        ca: the CA's.
        ra: the RA's; None: the CA's own key is the RA's.
    """

    ca: str
    ra: str | None


LAYOUTS = {
    "default": Keys("rsa:3072", "rsa:2048"),
    "ec": Keys("ec:p256", "rsa:2048"),
    "single": Keys("rsa:2048", None),
}


def kinds(layout: str) -> Keys:
    """Look a layout up.

    Raises:
        UsageError: there is none of that name.
    """
    found = LAYOUTS.get(layout)
    if found is None:
        raise UsageError(f"there is no layout {layout!r}", hint=f"one of {', '.join(LAYOUTS)}")
    return found


def stage_ca(stage: Path, keys: Keys, name: x509.Name, now: datetime) -> None:
    """Write the files of a new CA into a directory, which is made; ca.pem comes last.

    Raises:
        SettingsError: the file system refuses.
    """
    with refusals(f"cannot make {stage}"):
        make_directory(stage)
    key = generate(keys.ca)
    certificate = founding.self_signed(key, name, now=now, decrypts=keys.ra is None)
    write_key(stage / paths.CA_KEY, key)
    if keys.ra is not None:
        stage_ra(stage, Authority(certificate, key), keys.ra, now, founding.RA_VALIDITY)
    write_certificate(stage / paths.CA_CERTIFICATE, certificate)


def stage_ra(stage: Path, ca: Authority, kind: str, now: datetime, validity: timedelta) -> None:
    """Write the key and the certificate of a new RA into a directory.

    Raises:
        SettingsError: the file system refuses, or the CA is not valid now.
    """
    key = generate(kind)
    certificate = founding.ra_certificate(ca, key, now=now, validity=validity)
    write_key(stage / paths.RA_KEY, key)
    write_certificate(stage / paths.RA_CERTIFICATE, certificate)
