"""The CAs that a server holds, read from their directories: at the start, and when they change.

Beside the files of scepkit.ca.directory.paths an intermediate CA may have

    chain.pem     the certificates above ca.pem, from its issuer up, for GetCACert (P-28); and in
                  next/ those above the next CA's, for GetNextCACert
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from scepkit.ca.authority import Authority
from scepkit.ca.directory import paths
from scepkit.ca.directory.material import Material, load
from scepkit.errors import SettingsError
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import read_certificate, read_certificates
from scepkit.protocol import chain
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.server.settings import Settings


@dataclass(frozen=True, slots=True)
class LoadedCA:
    """One CA of a server.

    Attributes:
        name: its name in the settings.
        directory: where its files are.
        material: its keys and certificates.
        above: the certificates above its own, from its issuer up; empty for a root.
        above_next: the same of the next CA.
    """

    name: str
    directory: Path
    material: Material
    above: tuple[x509.Certificate, ...] = ()
    above_next: tuple[x509.Certificate, ...] = ()

    @property
    def generations(self) -> tuple[Authority, ...]:
        """Return all CAs that have issued certificates: the current one, the next, earlier ones."""
        coming = () if self.material.next is None else (self.material.next.ca,)
        return (self.material.ca, *coming, *self.material.previous)


def load_all(
    settings: Settings,
    *,
    now: datetime,
    passphrase: Passphrase | None = None,
    unread: dict[str, str] | None = None,
) -> Mapping[str, LoadedCA]:
    """Read all CAs of a server, but for those that are yet to come.

    Of the CAs that no endpoint has any more, one that has expired or cannot be read is left out:
    nobody enrols there.

    Args:
        settings: which there are.
        now: the time, aware.
        passphrase: what the keys are encrypted under, where they are.
        unread: gets, by name, why CAs that no endpoint has are left out that have not expired.

    Raises:
        SettingsError: a file is missing or cannot be used.
    """
    unread = {} if unread is None else unread
    issuing = settings.issuing
    found = {}
    for name in present(settings):
        try:
            if name in issuing or not _is_over(settings.authority_directory(name), now):
                found[name] = _load(name, settings, now, passphrase)
        except SettingsError as error:
            if name in issuing:
                raise
            unread[name] = error.message
    return found


def _is_over(directory: Path, now: datetime) -> bool:
    return _certificate(directory).not_valid_after_utc <= now


def certificates(settings: Settings) -> Mapping[str, x509.Certificate]:
    """Return the certificates of the CAs that endpoints have, by the names of those that are there.

    Raises:
        SettingsError: one cannot be read.
    """
    issuing = (name for name in present(settings) if name in settings.issuing)
    return {name: _certificate(settings.authority_directory(name)) for name in issuing}


def _certificate(directory: Path) -> x509.Certificate:
    return paths.steadily(
        directory, lambda: read_certificate(paths.in_force(directory) / paths.CA_CERTIFICATE)
    )


def present(settings: Settings) -> tuple[str, ...]:
    """Return the names of the CAs that are there, whole or not; the others are yet to come.

    Raises:
        SettingsError: a directory cannot be read.
    """
    return tuple(
        name
        for name in settings.authorities
        if not paths.is_awaited(settings.authority_directory(name))
    )


def stamps(settings: Settings) -> tuple[Hashable, ...]:
    """Return something that changes whenever a file of a CA does.

    Raises:
        SettingsError: a directory cannot be read.
    """
    return tuple(paths.stamp(settings.authority_directory(name)) for name in settings.authorities)


def _load(name: str, settings: Settings, now: datetime, passphrase: Passphrase | None) -> LoadedCA:
    directory = settings.authority_directory(name)

    def read() -> LoadedCA:
        material = load(directory, now=now, passphrase=passphrase)
        coming = material.next
        return LoadedCA(
            *(name, directory, material),
            above=_above(directory, material.ca),
            above_next=() if coming is None else _above(directory / paths.NEXT, coming.ca),
        )

    # Else another CA may come into force between the two.
    return paths.steadily(directory, read)


def _above(place: Path, ca: Authority) -> tuple[x509.Certificate, ...]:
    """Return the certificates above a generation's own, and check that each issued the one below.

    Raises:
        SettingsError: one did not, or the file cannot be read.
    """
    path = paths.in_force(place) / paths.CHAIN
    if not path.exists():
        return ()
    above, certificate = read_certificates(path), ca.certificate
    for issuer in above:
        if not chain.issued(Certificate.of(issuer), Certificate.of(certificate)):
            raise SettingsError(
                f"{path}: {Name.of(issuer.subject)} did not issue {Name.of(certificate.subject)}",
                hint="it holds the certificates above ca.pem, each the issuer of the one before",
            )
        certificate = issuer
    return above
