"""A new CA: its names and first certificates, and how its files get into a directory.

A directory holds a CA if and only if ca.pem is there:

1. All files are made in the subdirectory `.new-ca`, ca.pem last.
2. They are moved up, ca.pem last.

Whoever finds `.new-ca` therefore knows what to do: with ca.pem inside it is complete and is moved
up; without, nobody has ever seen those keys and it is dropped. A kill at any instant is healed by
the next `create` or `load_or_create`. Key files without `.new-ca` came from elsewhere: they may be
somebody's only copy, so they are never overwritten.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from scepkit.ca import checks
from scepkit.ca.authority import Authority, random_serial
from scepkit.ca.directory import paths, replacing
from scepkit.ca.directory.layouts import USUAL, Keys, NewCA, kinds
from scepkit.ca.directory.material import Material, load
from scepkit.ca.directory.paths import CA_CERTIFICATE, FILES, exists
from scepkit.ca.extensions import key_usage
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.profile import BACKDATE, Profile
from scepkit.ca.subject_rules import certified_subject
from scepkit.errors import BadRequest, SettingsError, UsageError
from scepkit.keys import ownership
from scepkit.keys.files import make_directory, refusals, remove, sync_directory
from scepkit.keys.pem import generate, signature_hash, write_certificate, write_key
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.extensions import NO_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from scepkit.keys.passphrase import Passphrase
    from scepkit.keys.pem import PrivateKey

CA_VALIDITY = timedelta(days=3652)
"""Ten years."""

RA_VALIDITY = timedelta(days=730)
"""Two years, as NDES has it, cut where the CA ends: short enough that a new RA is nothing that
happens once, long enough for a server that nobody starts for a while."""

# No extendedKeyUsage: none is registered for SCEP, and devices stumble over those made up.
_RA_PROFILE = Profile(default_eku=())

_RA = " RA"

STAGE = ".new-ca"
"""Where the files of a new CA are made."""


def create(
    directory: Path,
    layout: str | None,
    *,
    now: datetime,
    common_name: str | None = None,
    organization: str | None = None,
    new: NewCA = USUAL,
    passphrase: Passphrase | None = None,
) -> Material:
    """Make a new CA in a directory, which is made (mode 0700) if it is not there.

    Args:
        directory: where to.
        layout: a key of `LAYOUTS`; None for the one that goes with the key of `new`.
        now: the time, aware.
        common_name: of the CA, at most 61 octets; "scepkit CA" and 8 random hex digits unless
            given, so that the CAs of two servers differ.
        organization: of the CA, at most 64 octets.
        new: what else is chosen; its subject wins over the two before.
        passphrase: what its keys are encrypted under; None leaves them in clear.

    Raises:
        UsageError: an unknown layout, or one that does not go with the key; or a name that cannot
            be one.
        SettingsError: there is a CA already, or half of one, or the file system refuses.
    """
    keys = new.keys(layout)
    name = new.subject or ca_name(common_name or f"scepkit CA {secrets.token_hex(4)}", organization)
    with replacing.locked(directory):
        heal(directory)
        check_vacant(directory)
        stage_ca(directory / STAGE, keys, name, now, passphrase, new)
        heal(directory)
    return load(directory, now=now, passphrase=passphrase)


def load_or_create(
    directory: Path,
    layout: str | None,
    *,
    now: datetime,
    new: NewCA = USUAL,
    passphrase: Passphrase | None = None,
) -> Material:
    """Read the CA of a directory, or make one if there is none.

    Of several processes at once, one makes the CA and the others read it.

    Args:
        directory: where.
        layout: a key of `LAYOUTS`, for a new CA, or None as for `create`; that of a CA which is
            there stays as it is.
        now: the time, aware.
        new: what else is chosen of a new CA.
        passphrase: what its keys are encrypted under; None leaves those of a new CA in clear.

    Raises:
        UsageError: an unknown layout.
        SettingsError: as `load` and `create`.
    """
    if layout is not None:
        kinds(layout)
    # Without the lock first: the directory may be read-only, as a mounted secret is.
    if not exists(directory):
        try:
            return create(directory, layout, now=now, new=new, passphrase=passphrase)
        except SettingsError:
            if not exists(directory):
                raise
    # What a kill left is read right all the same, so a directory that refuses is no reason to stop.
    with suppress(SettingsError):
        _heal_rollover(directory)
    return load(directory, now=now, passphrase=passphrase)


def _heal_rollover(directory: Path) -> None:
    if replacing.is_interrupted(directory):
        # Whoever has the lock is at work on it.
        with replacing.locked(directory, wait=False):
            replacing.heal(directory)


def heal(directory: Path) -> None:
    """Finish or drop the new CA that a killed process left; under the lock.

    Raises:
        SettingsError: the file system refuses.
    """
    stage = directory / STAGE
    with refusals(f"cannot use the directory {directory}"):
        if (stage / CA_CERTIFICATE).exists():
            _move_up(stage, directory)
        if stage.exists():
            remove(stage)
            sync_directory(directory)


def _move_up(stage: Path, directory: Path) -> None:
    staged = [name for name in FILES if (stage / name).exists()]
    # A rename leaves no copy behind: what is in both places came from somebody else meanwhile.
    check_vacant(directory, staged)
    ownership.give_all(stage, directory)
    for name in staged:
        (stage / name).rename(directory / name)
        # One by one: the order must hold on the disk too.
        sync_directory(directory)


def check_vacant(directory: Path, names: Sequence[str] = FILES) -> None:
    """Refuse a directory with files of a CA in it.

    Raises:
        SettingsError: there are some.
    """
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


def stage_ca(
    stage: Path,
    keys: Keys,
    name: x509.Name,
    now: datetime,
    passphrase: Passphrase | None,
    new: NewCA = USUAL,
) -> None:
    """Write the files of a new CA into a directory, which is made; ca.pem comes last.

    Raises:
        SettingsError: the file system refuses.
    """
    with refusals(f"cannot make {stage}"):
        make_directory(stage)
    key = generate(keys.ca)
    certificate = self_signed(
        key,
        name,
        now=now,
        decrypts=keys.ra is None,
        validity=new.validity,
        path_length=new.path_length,
    )
    write_key(stage / paths.CA_KEY, key, passphrase)
    if keys.ra is not None:
        stage_ra(stage, Authority(certificate, key), keys.ra, now, RA_VALIDITY, passphrase)
    write_certificate(stage / paths.CA_CERTIFICATE, certificate)


def stage_ra(
    stage: Path,
    ca: Authority,
    kind: str,
    now: datetime,
    validity: timedelta,
    passphrase: Passphrase | None,
) -> None:
    """Write the key and the certificate of a new RA into a directory.

    Raises:
        SettingsError: the file system refuses, or the CA is not valid now.
    """
    key = generate(kind)
    certificate = ra_certificate(ca, key, now=now, validity=validity)
    write_key(stage / paths.RA_KEY, key, passphrase)
    write_certificate(stage / paths.RA_CERTIFICATE, certificate)


def ca_name(common_name: str, organization: str | None = None) -> x509.Name:
    """Build the name of a CA.

    Raises:
        UsageError: empty or longer than RFC 5280 allows; " RA" must still fit.
    """
    with _refusals(common_name):
        x509.NameAttribute(NameOID.COMMON_NAME, _ra_common_name(common_name))
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if organization is not None:
            attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        name = x509.Name(attributes)
        certified_subject(Name.of(name))
    return name


def renamed(name: x509.Name, common_name: str) -> x509.Name:
    """Put another common name into the name of a CA; the rest stays.

    Raises:
        UsageError: empty or longer than RFC 5280 allows; " RA" must still fit.
    """
    with _refusals(common_name):
        x509.NameAttribute(NameOID.COMMON_NAME, _ra_common_name(common_name))
        common = x509.NameAttribute(NameOID.COMMON_NAME, common_name)
        rest = [one for one in name if one.oid != NameOID.COMMON_NAME]
        renamed = x509.Name([*rest, common])
        certified_subject(Name.of(renamed))
    return renamed


def self_signed(
    key: PrivateKey,
    name: x509.Name,
    *,
    now: datetime,
    decrypts: bool,
    validity: timedelta | None = None,
    path_length: int = 0,
) -> x509.Certificate:
    """Issue a CA certificate to itself (RFC 5280 section 4.2.1).

    Args:
        key: the CA's.
        name: the CA's.
        now: the time, aware.
        decrypts: this key is the RA's too, so keyUsage has keyEncipherment.
        validity: how long from now on; None for `CA_VALIDITY`.
        path_length: of CAs below it.
    """
    # digitalSignature always: RFC 8894 section 2.1.2, and macOS 10.13.4 refused CAs without it.
    usages = {"key_cert_sign", "crl_sign", "digital_signature"}
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(random_serial())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + (validity or CA_VALIDITY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(
            key_usage(usages | ({"key_encipherment"} if decrypts else set())), critical=True
        )
        .add_extension(ski, critical=False)
        .add_extension(aki, critical=False)
        .sign(key, signature_hash(key))
    )


def ra_certificate(
    ca: Authority, key: PrivateKey, *, now: datetime, validity: timedelta = RA_VALIDITY
) -> x509.Certificate:
    """Issue the certificate of the RA, which decrypts requests and signs replies.

    Args:
        ca: the issuer.
        key: the RA's, RSA.
        now: the time, aware.
        validity: how long from now on; the CA's end cuts it.

    Raises:
        SettingsError: the CA is not valid now, or its name constraints do not allow the RA's name.
    """
    subject = Name.of(ra_name(ca.certificate.subject))
    ca.limits.check_own(subject)
    issued = ca.certify(
        Order(
            subject=subject,
            public_key=key.public_key(),
            requested=NO_EXTENSIONS,
            profile=replace(_RA_PROFILE, validity=validity),
            now=now,
        )
    )
    return x509.load_der_x509_certificate(issued.der)


def check_name(name: x509.Name) -> None:
    """Refuse a name that a CA cannot have.

    Raises:
        UsageError: it has no common name, or one that leaves no room for that of its RA.
    """
    common_names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not common_names:
        raise UsageError(f"'{Name.of(name)}' has no common name", hint="begin with CN=")
    renamed(name, str(common_names[0].value))


@contextmanager
def _refusals(common_name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, BadRequest) as error:
        raise UsageError(
            f"{common_name!r} cannot name a CA", hint="1 to 61 octets for the CN"
        ) from error


def ra_name(name: x509.Name) -> x509.Name:
    """Return the name of the RA of a CA, which may come from elsewhere: any name but the CA's."""
    if not name.get_attributes_for_oid(NameOID.COMMON_NAME):
        return x509.Name([*name, x509.NameAttribute(NameOID.COMMON_NAME, "RA")])
    return x509.Name(
        [
            x509.NameAttribute(attribute.oid, checks.marked(str(attribute.value), _RA))
            if attribute.oid == NameOID.COMMON_NAME
            else attribute
            for attribute in name
        ]
    )


def _ra_common_name(common_name: str) -> str:
    return f"{common_name}{_RA}"
