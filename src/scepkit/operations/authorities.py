"""A CA under somebody else's: requested, installed and imported, as an operator's actions.

The keys are files, so an action cannot be one with its audit record: that is written directly
after. Before the first start of a server there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepkit.ca import suitability
from scepkit.ca.directory import adoption, material, paths, requesting, rollover, rotation
from scepkit.ca.directory.adoption import Place
from scepkit.ca.directory.layouts import USUAL, NewCA
from scepkit.ca.directory.requesting import CARequest
from scepkit.errors import Hint, SettingsError
from scepkit.keys.passphrase import Passphrase
from scepkit.keys.pem import KINDS, PrivateKey, kind, read_certificate
from scepkit.operations.audit import record_done
from scepkit.operations.early_renewal import AFTER_ROLLOVER
from scepkit.operations.rollover import event, put_into_force
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.distinguished_name import Name
from scepkit.store import AuditAction, AuditEvent, Store


@dataclass(frozen=True, slots=True)
class Installed:
    """The outcome for a CA certificate from elsewhere.

    Attributes:
        certificate: the CA's.
        place: where it has come.
        is_in_force: whether it is the CA from now on.
        has_root: whether the chain above it is known up to a root.
        doubts: what strict verifiers miss in it, which is no reason to refuse it.
    """

    certificate: x509.Certificate
    place: Place
    is_in_force: bool
    has_root: bool
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever does something to a CA, and with what.

    Attributes:
        by: who it is, for the audit record.
        ca: the CA's name.
        directory: where the CA's files are.
        store: the server's database; None before its first start.
        passphrase: what the keys are encrypted under, where they are.
        now: the time, aware.
        new: what a CA of this name is to be, where it is made.
        layout: the layout of its keys that the settings name, if they do.
        has_endpoint: whether an endpoint has this CA.
    """

    by: str
    ca: str
    directory: Path
    store: Store | None
    passphrase: Passphrase | None
    now: datetime
    new: NewCA = USUAL
    layout: str | None = None
    has_endpoint: bool = True


def request(
    operator: Operator, *, subject: x509.Name, key: str, path_length: int | None
) -> CARequest:
    """Make the key of a CA and its PKCS#10, or return those that wait already.

    Args:
        operator: who does it, and for which CA.
        subject: the CA's name; none that a CA here has or had.
        key: its kind, as `generate` takes it.
        path_length: of CAs below it; None for no bound.

    Raises:
        UsageError: no such kind of key.
        SettingsError: the name has been used, another request waits, or the file system refuses.
        StoreError: the audit record cannot be written; the request is made.
    """
    _check_subject(operator, subject)
    if paths.exists(operator.directory):
        rollover.check_unused(operator.directory, subject)
    made = requesting.make(
        operator.directory,
        subject=subject,
        key=key,
        path_length=path_length,
        passphrase=operator.passphrase,
    )
    _record_request(operator, subject)
    return made


def key_of_successor(operator: Operator) -> str:
    """Return the kind of key, as `generate` takes it, for a CA that is to follow the one in force.

    It is that of scep.toml or of the layout where these say one, or else that of the CA in force.

    Raises:
        UsageError: the key and the layout do not go together.
        SettingsError: the certificate of the CA in force cannot be read.
    """
    usual = operator.new.keys(operator.layout).ca
    is_chosen = operator.new.key is not None or operator.layout is not None
    if is_chosen or not paths.exists(operator.directory):
        return usual
    place = paths.in_force(operator.directory)
    found = kind(read_certificate(place / paths.CA_CERTIFICATE).public_key())
    return found if found in KINDS else usual


def request_again(operator: Operator, *, path_length: int | None) -> CARequest:
    """Return a PKCS#10 for the key and the name of the CA in force, for a longer life of it.

    Raises:
        SettingsError: there is no CA, or its files cannot be read.
        StoreError: the audit record cannot be written.
    """
    paths.require(operator.directory)
    place = paths.in_force(operator.directory)
    subject = read_certificate(place / paths.CA_CERTIFICATE).subject
    key = material.key_of(place, paths.CA_KEY, operator.passphrase)
    _record_request(operator, subject)
    return requesting.sign(key, subject, path_length)


def drop_request(operator: Operator) -> bool:
    """Give up the request that waits, and its key for ever; return whether there was one.

    Raises:
        SettingsError: the file system refuses.
    """
    return requesting.drop(operator.directory)


def install(
    operator: Operator, certificates: Sequence[x509.Certificate], *, at_once: bool = False
) -> Installed:
    """Put the certificate into force that a CA above has issued for a request, or anew.

    A CA that has issued stays the CA: the new one becomes the next, for a rollover. One that has
    issued nothing makes room.

    Args:
        operator: who does it, and for which CA.
        certificates: the CA's, and those above it that are known, in any order.
        at_once: whether to roll over now, whatever devices have learnt of it.

    Raises:
        SettingsError: none of them is for a key that is here, or it cannot be a CA's.
        StoreError: the audit record cannot be written; the certificate is installed.
    """
    certificate, key = _for_a_key_here(operator, certificates)
    above = [one for one in certificates if one != certificate]
    return _take(
        operator, certificate, key, above, action=AuditAction.CA_INSTALLED, at_once=at_once
    )


def bring_in(
    operator: Operator,
    certificate: x509.Certificate,
    key: PrivateKey,
    above: Sequence[x509.Certificate],
    *,
    at_once: bool = False,
) -> Installed:
    """Take over a CA that has been elsewhere, with its key; the rest as in `install`.

    Raises:
        SettingsError: it cannot be a CA's here.
        StoreError: the audit record cannot be written; the CA is brought in.
    """
    return _take(operator, certificate, key, above, action=AuditAction.CA_IMPORTED, at_once=at_once)


def make_ra(operator: Operator) -> tuple[x509.Certificate, ...]:
    """Make an RA where a CA needs one that is missing or half lost; return what was made.

    Raises:
        SettingsError: there is no CA, or its files cannot be read or written.
        StoreError: the audit record cannot be written; the RA is made.
    """
    made = rotation.make_ra(operator.directory, now=operator.now, passphrase=operator.passphrase)
    for one in made:
        _record(operator, AuditAction.RA_REPLACED, one, "the RA is made")
    return made


def _take(
    operator: Operator,
    certificate: x509.Certificate,
    key: PrivateKey,
    above: Sequence[x509.Certificate],
    *,
    action: AuditAction,
    at_once: bool,
) -> Installed:
    """Take a CA certificate and its key over; see `install`.

    Args:
        operator: who does it, and for which CA.
        certificate: the CA's.
        key: its private key.
        above: the certificates over it that are known, in any order.
        action: what the audit record says.
        at_once: whether to roll over now.

    Raises:
        SettingsError: it cannot be a CA's here.
        StoreError: the audit record cannot be written; the certificate is installed.
    """
    directory, now, passphrase = operator.directory, operator.now, operator.passphrase
    _check_subject(operator, certificate.subject)
    _check_layout(operator, certificate)
    chain = suitability.check(certificate, key, above, now)
    # What is above a CA stays known when its certificate, or the next CA's, comes alone.
    chain = suitability.continued(certificate, chain, adoption.known_above(directory))
    place = adoption.adopt(directory, certificate, key, chain, now=now, passphrase=passphrase)
    # Also one that was the next already: a kill may have come between the two steps.
    is_next = place in (Place.NEXT, Place.NEXT_RENEWED)
    rolls = is_next and (at_once or not _has_issued(operator))
    if rolls:
        if operator.store is None:
            rollover.activate(directory, now=now, passphrase=passphrase)
        else:
            put_into_force(
                *(operator.store, directory),
                renew_within=AFTER_ROLLOVER,
                by=operator.by,
                now=now,
                passphrase=passphrase,
            )
    rotation.rotate_ocsp(directory, now=now, passphrase=passphrase)
    waiting = requesting.find(directory, passphrase)
    if waiting is not None and waiting.spki == _spki(certificate):
        requesting.drop(directory)
    _record(operator, action, certificate, "the CA's certificate is installed")
    return Installed(
        certificate,
        place,
        is_in_force=rolls or place in (Place.FIRST, Place.RENEWED),
        has_root=suitability.is_self_issued((certificate, *chain)[-1]),
        doubts=tuple(suitability.doubts(certificate)),
    )


def _for_a_key_here(
    operator: Operator, certificates: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, PrivateKey]:
    """Return the certificate for a key that is here, and the key.

    Raises:
        SettingsError: there is none, or there is no key here at all.
    """
    keys = _keys(operator)
    for certificate in certificates:
        if key := keys.get(_spki(certificate)):
            return certificate, key
    if not paths.has_request(operator.directory):
        raise SettingsError(
            f"no request for a CA certificate waits for the CA {operator.ca!r}, and none of the "
            "certificates is for its key",
            hint=Hint.REQUEST_CA,
        )
    raise SettingsError(
        f"none of the {len(certificates)} certificates is for the key of the request that waits"
        if len(certificates) > 1
        else "the certificate is for another key than that of the request that waits",
        hint="it must be issued from the PKCS#10 that was printed last",
    )


def _keys(operator: Operator) -> dict[bytes, PrivateKey]:
    """Return the keys that a certificate may be for: of the request, of the CA and of the next."""
    directory = operator.directory
    found: dict[bytes, PrivateKey] = {}
    waiting = requesting.find(directory, operator.passphrase)
    if waiting is not None:
        found[waiting.spki] = waiting.key
    places = [directory, *([directory / paths.NEXT] if paths.has_next(directory) else [])]
    for place in map(paths.in_force, places if paths.exists(directory) else []):
        certificate = read_certificate(place / paths.CA_CERTIFICATE)
        found[_spki(certificate)] = material.key_of(place, paths.CA_KEY, operator.passphrase)
    return found


def _check_subject(operator: Operator, subject: x509.Name) -> None:
    """Refuse a name that the settings do not allow: the next start would fail of it.

    Raises:
        SettingsError: they have another one, which no generation of the CA has.
    """
    wanted = operator.new.subject
    if wanted is None or rollover.is_same(wanted, subject):
        return
    if not (paths.exists(operator.directory) and rollover.is_used(operator.directory, wanted)):
        raise SettingsError(
            f'scep.toml calls the CA {operator.ca!r} "{Name.of(wanted)}", not "{Name.of(subject)}"',
            hint=f"correct subject in [ca.{operator.ca}] there, or leave it out",
        )


def _check_layout(operator: Operator, certificate: x509.Certificate) -> None:
    """Refuse a CA with another layout of keys than the settings have: the next start would fail.

    Raises:
        SettingsError: so it is.
    """
    directory, layout = operator.directory, adoption.layout_of(certificate)
    if paths.exists(directory) and adoption.is_for(directory, certificate):
        return  # its RA stays
    if operator.layout not in (None, layout):
        raise SettingsError(
            f"scep.toml wants the key layout {operator.layout!r} for the CA {operator.ca!r}; "
            f"with this certificate it is {layout!r}",
            hint=f"leave layout out of the endpoints with the CA {operator.ca!r}",
        )


def _has_issued(operator: Operator) -> bool:
    if operator.store is None:
        return False
    current = read_certificate(paths.in_force(operator.directory) / paths.CA_CERTIFICATE)
    return operator.store.has_issued(Certificate.of(current).key_hash)


def _record(
    operator: Operator, action: AuditAction, certificate: x509.Certificate, done: str
) -> None:
    if operator.store is not None:
        told = event(action, certificate, ca=operator.ca, by=operator.by, now=operator.now)
        record_done(operator.store, told, done)


def _record_request(operator: Operator, subject: x509.Name) -> None:
    if operator.store is not None:
        told = AuditEvent(
            AuditAction.CA_REQUESTED,
            operator.by,
            operator.now,
            subject=str(Name.of(subject)),
            details={"ca": operator.ca},
        )
        record_done(operator.store, told, "the request is made")


def _spki(certificate: x509.Certificate) -> bytes:
    """Return the SubjectPublicKeyInfo; empty for a kind of key that is unknown here."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
