"""The directory of a certificate that is to be renewed: what has to be there, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from scepkit.cli import options, request
from scepkit.client.folder import Folder
from scepkit.client.record import Record
from scepkit.client.url import normalize
from scepkit.errors import SettingsError


@contextmanager
def opened(directory: Path) -> Iterator[Folder]:
    """Lock a directory whose certificate may be renewed.

    Raises:
        SettingsError: there is no such directory, or the certificate was revoked.
    """
    folder = Folder(directory)
    if not directory.is_dir():
        raise SettingsError(
            f"there is no directory {directory}", hint="get a first certificate: scep enroll"
        )
    with folder.locked():
        request.recover(folder)
        found = folder.revocation()
        if found is not None and found.is_final:
            raise SettingsError(
                f"the certificate in {directory} was revoked, and cannot be renewed",
                hint="get a new one: scep enroll",
            )
        yield folder


def certificate(folder: Folder) -> x509.Certificate:
    """Return the certificate.

    Raises:
        SettingsError: there is none.
    """
    found = folder.certificate()
    if found is None:
        raise SettingsError(
            f"there is no certificate in {folder.path} that could be renewed",
            hint="get a first one: scep enroll",
        )
    return found


def record(
    folder: Folder, *, url: str, ca_id: str | None, legacy: str | None, tls_ca: Path | None
) -> Record:
    """Return how to reach the CA: as the last time, but for what the options say.

    Raises:
        UsageError: an option cannot be meant.
        SettingsError: nothing says where the CA is.
    """
    kept = folder.record()
    if kept is None:
        if not url:
            certificate(folder)
            raise SettingsError(
                f"how the certificate in {folder.path} was got is not known",
                hint="name the server: scep renew DIR --url URL",
            )
        kept = Record(url)
    # Versions before this one kept the URL as it was typed.
    kept = replace(kept, url=normalize(kept.url))
    found = replace(
        kept,
        url=normalize(url) if url else kept.url,
        ca_id=kept.ca_id if ca_id is None else ca_id,
        legacy=kept.legacy if legacy is None else options.recorded_legacy(legacy),
        tls_ca=options.recorded_path(tls_ca) or kept.tls_ca,
    )
    if (found.url, found.ca_id) == (kept.url, kept.ca_id):
        return found
    # What was seen of another CA says nothing of this one, which was not asked for its successor.
    return replace(found, capabilities=(), checked_at="")
