"""The CAs that a server holds, read from their directories: at the start, and when they change.

Beside the files of scepkit.ca.directory.paths an intermediate CA may have

    chain.pem     the certificates above ca.pem, from its issuer up, for GetCACert (P-28)
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
from scepkit.keys.pem import read_certificates
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
    """

    name: str
    directory: Path
    material: Material
    above: tuple[x509.Certificate, ...] = ()

    @property
    def generations(self) -> tuple[Authority, ...]:
        """Return all CAs that have issued certificates: the current one, the next, earlier ones."""
        coming = () if self.material.next is None else (self.material.next.ca,)
        return (self.material.ca, *coming, *self.material.previous)


def load_all(
    settings: Settings, *, now: datetime, passphrase: Passphrase | None = None
) -> Mapping[str, LoadedCA]:
    """Read all CAs of a server.

    Args:
        settings: which there are.
        now: the time, aware.
        passphrase: what the keys are encrypted under, where they are.

    Raises:
        SettingsError: a file is missing or cannot be used.
    """
    return {name: _load(name, settings, now, passphrase) for name in settings.authorities}


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
        return LoadedCA(name, directory, material, _above(directory, material.ca.certificate))

    # Else another CA may come into force between the two.
    return paths.steadily(directory, read)


def _above(directory: Path, certificate: x509.Certificate) -> tuple[x509.Certificate, ...]:
    path = paths.in_force(directory) / paths.CHAIN
    if not path.exists():
        return ()
    above = read_certificates(path)
    for issuer in above:
        if not chain.issued(Certificate.of(issuer), Certificate.of(certificate)):
            raise SettingsError(
                f"{path}: {Name.of(issuer.subject)} did not issue {Name.of(certificate.subject)}",
                hint="it holds the certificates above ca.pem, each the issuer of the one before",
            )
        certificate = issuer
    return above
