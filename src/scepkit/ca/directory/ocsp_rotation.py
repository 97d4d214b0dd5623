"""The key of the OCSP responder: made, and made anew before its certificate ends.

Two files are put in place one after the other, not at once as those of an RA are: whoever finds
only the first takes neither, and the CA's own key signs until the next call has made both anew.
The old key is dropped: a response carries the certificate that verifies it.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from scepkit.ca import checks, ocsp
from scepkit.ca.authority import Authority
from scepkit.ca.directory import paths, replacing
from scepkit.keys import ownership
from scepkit.keys.files import refusals, sync_directory
from scepkit.keys.pem import generate, read_certificate, read_key, write_certificate, write_key

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

OCSP_BEFORE = timedelta(days=10)
"""The time before its end at which a certificate is replaced."""


def rotate_ocsp(
    directory: Path,
    *,
    now: datetime,
    before: timedelta = OCSP_BEFORE,
    validity: timedelta = ocsp.OCSP_VALIDITY,
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

    Returns:
        Whether this call made one.

    Raises:
        SettingsError: there is no CA, or its files cannot be read or written.
    """
    paths.require(directory)
    due = partial(_due, directory, now, before, validity)
    if not paths.steadily(directory, due):
        return False
    with replacing.locked(directory):
        replacing.heal(directory)
        places = due()
        for place in places:
            _make(directory, place, now, validity)
    return bool(places)


def _due(directory: Path, now: datetime, before: timedelta, validity: timedelta) -> list[Path]:
    return [
        place
        for place in paths.generations(directory)
        if _is_due(paths.in_force(place), now, before, validity)
    ]


def _is_due(place: Path, now: datetime, before: timedelta, validity: timedelta) -> bool:
    ca = read_certificate(place / paths.CA_CERTIFICATE)
    if not ca.not_valid_before_utc <= now < ca.not_valid_after_utc:
        return False
    delegate = ocsp.read_delegate(place)
    if delegate is None or not ocsp.is_fit(delegate, ca, now):
        return True
    end = delegate.certificate.not_valid_after_utc
    # A certificate has whole seconds. Where the CA ends, a new one would live no longer.
    longest = min((now + validity).replace(microsecond=0), ca.not_valid_after_utc)
    return end - now <= before and longest > end


def _make(directory: Path, place: Path, now: datetime, validity: timedelta) -> None:
    certificate = read_certificate(place / paths.CA_CERTIFICATE)
    ca_key = read_key(place / paths.CA_KEY)
    checks.check_key(certificate, ca_key)
    key = generate("ec:p256" if isinstance(ca_key, ec.EllipticCurvePrivateKey) else "rsa:2048")
    made = ocsp.issue(Authority(certificate, ca_key), key, now=now, validity=validity)
    stage = replacing.scratch(directory, "ocsp")
    write_key(stage / paths.OCSP_KEY, key)
    write_certificate(stage / paths.OCSP_CERTIFICATE, made)
    with refusals(f"cannot write {place / paths.OCSP_CERTIFICATE}"):
        ownership.give_all(stage, place)
        for name in (paths.OCSP_KEY, paths.OCSP_CERTIFICATE):
            (stage / name).replace(place / name)
            sync_directory(place)
    replacing.heal(directory)
