"""The CAs of a server for people to look at: every generation, its key's place, its chain."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scepkit.ca.directory import paths, requesting
from scepkit.errors import SettingsError, UsageError
from scepkit.keys.pem import is_encrypted, read_certificate, read_certificates


class KeyState(StrEnum):
    """How the private key of a CA is in its file."""

    CLEAR = "in clear"
    ENCRYPTED = "encrypted"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class CAGeneration:
    """One generation of a CA.

    Attributes:
        name: the CA's.
        state: `current`, `next` or `old/N`.
        certificate: its own.
        above: the certificates over it, from its issuer up, as far as they are known.
        key_file: where its private key is.
        key_state: how it is there.
    """

    name: str
    state: str
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...]
    key_file: Path
    key_state: KeyState

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Return its certificate and those above it."""
        return (self.certificate, *self.above)


def generations(directories: Mapping[str, Path]) -> Iterator[CAGeneration]:
    """Yield the generations of all CAs; of each CA the current one, the next, and those of before.

    Args:
        directories: of the CAs, by their names; those without a CA are left out.

    Raises:
        SettingsError: a certificate cannot be read.
    """
    for name, directory in directories.items():
        if paths.exists(directory):
            for state, place in _places(directory):
                yield _read(name, state, place)


def requests(
    directories: Mapping[str, Path],
) -> Iterator[tuple[str, x509.CertificateSigningRequest]]:
    """Yield the requests for CA certificates that wait, each with the name of its CA.

    Args:
        directories: as for `generations`.

    Raises:
        SettingsError: one cannot be read.
    """
    for name, directory in directories.items():
        csr = requesting.find_csr(directory)
        if csr is not None:
            yield name, csr


def check_name(name: str, known: Collection[str], *, otherwise: str = "") -> None:
    """Refuse a name that no CA has.

    Args:
        name: what was given.
        known: the names of the CAs.
        otherwise: what to do where the name is right.

    Raises:
        UsageError: it is none of them.
    """
    if name not in known:
        similar = get_close_matches(name, known, n=1)
        meant = f"did you mean {similar[0]}? " if similar else ""
        hint = f"{meant}there are: {', '.join(known)}{'; ' if otherwise else ''}{otherwise}"
        raise UsageError(f"there is no CA {name!r}", hint=hint)


def generation(directories: Mapping[str, Path], name: str, state: str) -> CAGeneration:
    """Return one generation of a CA.

    Args:
        directories: as for `generations`.
        name: the CA's.
        state: as in `CAGeneration`.

    Raises:
        UsageError: there is no such CA, or no such generation.
        SettingsError: a certificate cannot be read.
    """
    check_name(name, directories)
    paths.require(directories[name])
    found = dict(_places(directories[name]))
    if state not in found:
        raise UsageError(
            f"the CA {name!r} has no generation {state!r}", hint=f"one of {', '.join(found)}"
        )
    return _read(name, state, found[state])


def fingerprints(certificate: x509.Certificate) -> dict[str, str]:
    """Return the fingerprints of a certificate as devices show them, in hex, by their names."""
    kinds: Sequence[tuple[str, hashes.HashAlgorithm]] = (
        ("sha256", hashes.SHA256()),
        ("sha1", hashes.SHA1()),  # noqa: S303 - to compare, as old devices show it
        ("md5", hashes.MD5()),  # noqa: S303
    )
    return {name: certificate.fingerprint(kind).hex() for name, kind in kinds}


def _places(directory: Path) -> Iterator[tuple[str, Path]]:
    yield "current", paths.in_force(directory)
    if paths.has_next(directory):
        yield "next", paths.in_force(directory / paths.NEXT)
    for number, place in paths.numbered(directory / paths.OLD):
        yield f"old/{number}", place


def _read(name: str, state: str, place: Path) -> CAGeneration:
    chain = place / paths.CHAIN
    key_file = place / paths.CA_KEY
    return CAGeneration(
        name=name,
        state=state,
        certificate=read_certificate(place / paths.CA_CERTIFICATE),
        above=read_certificates(chain) if chain.exists() else (),
        key_file=key_file,
        key_state=_key_state(key_file),
    )


def _key_state(path: Path) -> KeyState:
    try:
        if not path.exists():
            return KeyState.MISSING
        return KeyState.ENCRYPTED if is_encrypted(path) else KeyState.CLEAR
    except (OSError, SettingsError):
        return KeyState.UNREADABLE
