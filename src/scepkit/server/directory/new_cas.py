"""The CAs of a server that are new are made at its start, and those that are there are compared.

What an operator chose of a CA counts when it is made. Later it cannot be changed by a setting or an
option; so what they say then has to be so.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from scepkit.ca import checks
from scepkit.ca.directory import founding, paths, rollover, rotation
from scepkit.ca.directory.material import Material
from scepkit.errors import SettingsError
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import read_certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.server.settings import DEFAULT, Settings


def check(settings: Settings, layout: str | None) -> None:
    """Refuse what contradicts itself about CAs that are to be made, before anything is made.

    Args:
        settings: the server's.
        layout: as for `make`.

    Raises:
        UsageError: the layout of a CA does not go with its key.
    """
    for name in settings.issuing:
        if not paths.exists(settings.authority_directory(name)):
            settings.new_authority(name).keys(_layout_of(name, settings, layout))


def make(
    settings: Settings,
    layout: str | None,
    now: datetime,
    passphrase: Passphrase | None,
    *,
    is_first: bool = False,
) -> tuple[str, ...]:
    """Make the CAs that are new, and of the others what has expired.

    Args:
        settings: the server's.
        layout: the key layout of the CA `default`, where an option names it.
        now: the time, aware.
        passphrase: what the keys are encrypted under, or are to be.
        is_first: whether nothing has been served from the directory before.

    Returns:
        The names of those that are new. What waits for its certificate from elsewhere is left
        alone, unless it is the CA `default`: without that one there is no server.

    Raises:
        SettingsError: the CA `default` waits for its certificate, one is another one than the
            settings say, or the file system refuses.
    """
    if is_first:
        for name in settings.issuing:
            _complete(settings.authority_directory(name), now, passphrase)
    return tuple(
        name for name in settings.issuing if _make(name, settings, layout, now, passphrase)
    )


def _complete(path: Path, now: datetime, passphrase: Passphrase | None) -> None:
    """Make the RA of a CA whose files somebody has put there, if it cannot do without one.

    Only before the first start: later an RA that is not there was lost, and devices know it.
    """
    if paths.exists(path) and not paths.has_ra(path):
        certificate = read_certificate(paths.in_force(path) / paths.CA_CERTIFICATE)
        if not checks.may_be_alone(certificate):
            rotation.make_ra(path, now=now, passphrase=passphrase)


def _make(
    name: str,
    settings: Settings,
    layout: str | None,
    now: datetime,
    passphrase: Passphrase | None,
) -> bool:
    """Make a CA if it is new, or what of it has expired; return whether it is new."""
    chosen, new = _layout_of(name, settings, layout), settings.new_authority(name)
    path = settings.authority_directory(name)
    is_new = not paths.exists(path)
    if is_new and paths.has_request(path):
        if name == DEFAULT:
            paths.require(path)
        return False
    if not is_new:
        _replace_expired_ra(path, settings, now, passphrase)
    material = founding.load_or_create(path, chosen, now=now, new=new, passphrase=passphrase)
    _check_layout(material, chosen, name)
    if new.subject is not None:
        _check_subject(path, new.subject, name)
    # Where it cannot be written the CA answers OCSP itself, and the background task says why.
    with suppress(SettingsError):
        rotation.rotate_ocsp(path, now=now, passphrase=passphrase)
    return is_new


def _layout_of(name: str, settings: Settings, layout: str | None) -> str | None:
    """Return the layout that is wanted for a CA: as the option says, or else as the settings do."""
    return layout if name == DEFAULT and layout else settings.authority_layout(name)


def _replace_expired_ra(
    path: Path, settings: Settings, now: datetime, passphrase: Passphrase | None
) -> None:
    """Make a server start again that was down while its RA's certificate came to its end."""
    # Where that cannot be done, a directory may just be read-only; else the loading says why.
    with suppress(SettingsError):
        before = timedelta(days=settings.ra_rotation_days)
        rotation.rotate_ra(path, now=now, before=before, passphrase=passphrase)


def _check_layout(material: Material, wanted: str | None, name: str) -> None:
    actual = material.layout
    if wanted in (None, actual):
        return
    if name == DEFAULT:
        raise SettingsError(
            f"this server's CA has the key layout {actual!r}, not {wanted!r}",
            hint="leave --layout and the setting `layout` out, or make another server with --dir",
        )
    raise SettingsError(
        f"the CA {name!r} has the key layout {actual!r}, not {wanted!r}",
        hint="leave the layout of its endpoint out, or name another CA with ca",
    )


def _check_subject(path: Path, wanted: x509.Name, name: str) -> None:
    """Refuse a name that the CA has not; one that it had before a rollover stays right.

    Raises:
        SettingsError: neither this generation nor an earlier one has it.
    """
    if rollover.is_used(path, wanted):
        return
    actual = rollover.status(path).current.ca.subject
    raise SettingsError(
        f'the CA {name!r} is called "{Name.of(actual)}", not "{Name.of(wanted)}"',
        hint=f"leave --ca-subject, or subject in [ca.{name}], out: only a rollover changes it",
    )
