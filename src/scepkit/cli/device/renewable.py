"""The directory of a certificate to renew: the files that it needs, and its record."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scepkit.cli import options
from scepkit.cli.device import reenrol_hint, request, writers
from scepkit.client.folder import Folder
from scepkit.client.folder.record import Record
from scepkit.client.trust import normalize_url
from scepkit.errors import CertificateRevoked, SettingsError
from scepkit.protocol.certificate import Certificate


def existing(directory: Path) -> Folder:
    """Return a directory that has to be there, with a warning if others can write to it.

    Raises:
        SettingsError: it is not, or there is a symbolic link in the place of something.
    """
    folder = Folder(directory)
    folder.check_links()
    if not directory.is_dir():
        is_there = directory.exists()
        raise SettingsError(
            f"{directory} is not a directory" if is_there else f"there is no directory {directory}",
            hint=f"check its name, or get a first certificate: {reenrol_hint.FIRST}"
            f"{'NEW' if is_there else shlex.quote(str(directory))}",
        )
    writers.warn(directory)
    return folder


@contextmanager
def opened(directory: Path) -> Iterator[Folder]:
    """Lock a directory whose certificate may be renewed.

    Raises:
        SettingsError: there is no such directory.
        CertificateRevoked: the certificate was revoked, as a note in the directory says.
    """
    folder = existing(directory)
    with folder.locked():
        request.recover(folder)
        found = folder.revocation()
        if found is not None and found.forbids_renewal:
            raise CertificateRevoked(
                f"the certificate in {directory} was revoked, and cannot be renewed",
                hint=f"get a new one: {reenrol_hint.command(folder)}",
            )
        yield folder


def certificate(folder: Folder, use: str = "that could be renewed") -> Certificate:
    """Return the certificate.

    Args:
        folder: where it is.
        use: what it is wanted for, as the error says it.

    Raises:
        SettingsError: there is none.
    """
    found = folder.certificate()
    if found is None:
        raise SettingsError(
            f"there is no certificate in {folder.path} {use}",
            hint=f"get a first one: {reenrol_hint.command(folder)}",
        )
    return found


def record(
    folder: Folder,
    *,
    url: str,
    ca_id: str | None,
    legacy: str | None,
    tls_ca: Path | None,
    command: str = "scep renew DIR --url URL",
    use: str = "that could be renewed",
) -> Record:
    """Return the record of the CA: that of the last time, changed by the options.

    Args:
        folder: of the last time.
        url: the server's; "" for the one of the last time.
        ca_id: likewise; None for the one of the last time, as for the others.
        legacy: the legacy algorithms to allow.
        tls_ca: file of the certificates to check HTTPS with.
        command: that names the server, for the hint.
        use: what the certificate is wanted for, as the error says it where there is none.

    Raises:
        UsageError: an option cannot be meant.
        SettingsError: nothing says where the CA is.
    """
    kept = folder.record()
    if kept is None:
        if not url:
            certificate(folder, use)
            raise SettingsError(
                f"the server of the certificate in {folder.path} is not recorded",
                hint=f"name the server: {command}",
            )
        kept = Record(url)
    # Versions before this one kept the URL as it was typed.
    kept = replace(kept, url=normalize_url(kept.url))
    found = replace(
        kept,
        url=normalize_url(url) if url else kept.url,
        ca_id=kept.ca_id if ca_id is None else ca_id,
        legacy=kept.legacy if legacy is None else options.recorded_legacy(legacy),
        tls_ca=options.recorded_path(tls_ca) or kept.tls_ca,
    )
    if found.legacy != kept.legacy:
        # What could not be read of a successor with those, may be with these.
        found = replace(found, checked_at="")
    if (found.url, found.ca_id) == (kept.url, kept.ca_id):
        return found
    # What was seen of another CA says nothing of this one, which was not asked for its successor.
    return replace(found, capabilities=(), checked_at="")
