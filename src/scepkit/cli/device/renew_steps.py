"""The steps of `scep renew`: the time, the CA, and the directory of the new certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography.x509 import ObjectIdentifier

from scepkit.cli import describe, duration, options, terminal
from scepkit.cli.device import next_ca as successor
from scepkit.cli.device import renewable, report, request, trust
from scepkit.client import keys, prepared_request, renewal_time
from scepkit.client.client import CA, Client
from scepkit.client.folder import Folder
from scepkit.client.folder.files import RECORD
from scepkit.client.folder.record import Record
from scepkit.client.renewal_time import Found
from scepkit.errors import Malformed, SettingsError, UsageError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.extensions import purpose_name, read_purposes
from scepkit.protocol.scep.attributes import MessageType

_MESSAGES = {"": None, "renewalreq": MessageType.RENEWAL_REQ, "pkcsreq": MessageType.PKCS_REQ}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The time of a renewal and its request, as the options say.

    Attributes:
        window: how long before a certificate's end; None for as long as is usual.
        key: the kind of the new key; "" for the current one's.
        purposes: to ask for; None for those of the last time.
        message_type: of the request; None for what the CA can do.
        force: renew now.
        same_key: have the current key certified again.
        next_ca: get a certificate from the CA's successor.
    """

    window: timedelta | None
    key: str
    purposes: tuple[ObjectIdentifier, ...] | None
    message_type: MessageType | None
    force: bool
    same_key: bool
    next_ca: bool


def read(
    before: str,
    key: str,
    eku: Iterable[str] | None,
    message: str,
    *,
    force: bool,
    same_key: bool,
    next_ca: bool,
) -> Wanted:
    """Read the text of the options.

    Raises:
        UsageError: one cannot be meant.
    """
    if same_key and key:
        raise UsageError("--same-key and --key exclude each other")
    if key:
        keys.check_spec(key)
    window = duration.read(before) if before else None
    if message.lower() not in _MESSAGES:
        raise UsageError(f"--message {message}: no such message", hint="RenewalReq or PKCSReq")
    asked = None if eku is None else options.read_purposes(eku)
    return Wanted(window, key, asked, _MESSAGES[message.lower()], force, same_key, next_ca)


def has_to_ask(wanted: Wanted, folder: Folder) -> bool:
    """Say whether there is anything to do that the CA has to be asked for."""
    return _is_due(wanted, folder) or wanted.next_ca or folder.ahead.path.exists()


def report_not_yet(wanted: Wanted, folder: Folder, revocation: str, *, as_json: bool) -> None:
    """Say when the certificate will be renewed.

    Args:
        wanted: when to renew, as the options say.
        folder: with the certificate.
        revocation: whether the certificate is revoked, as `revoked.check` says it.
        as_json: for programs.
    """
    certificate, start = renewable.certificate(folder), _start(wanted, folder)
    report.warn_if_early(certificate)
    if as_json:
        when = {"renewed": False, "renew_from": describe.timestamp(start)}
        terminal.json_data({**when, "revocation": revocation, **describe.summary(certificate)})
        return
    terminal.say(
        f"not yet: {describe.subject(certificate)} is valid until "
        f"{certificate.not_after:%Y-%m-%d %H:%M} UTC; "
        f"renewal is due from {start:%Y-%m-%d %H:%M} UTC on (--force renews now)"
    )


def renew(
    client: Client,
    whom: trust.Whom,
    wanted: Wanted,
    secret: Callable[[], str | None],
    record: Record,
    folder: Folder,
    standing: Callable[[], str],
    *,
    as_json: bool,
) -> None:
    """Do what is to be done with the CA: change over to the next one, renew, renew ahead.

    Args:
        client: for the CA's server.
        whom: whom to trust in place of the CA of the folder.
        wanted: what to ask for.
        secret: reads the challenge, or asks for it.
        record: how to reach the CA.
        folder: with the certificate.
        standing: checks the certificate for revocation, if it is not due for renewal.
        as_json: for programs.
    """
    password = secret()
    found = _found(client, whom, record, folder)
    # Before changing over: a successor that was given up for another one must not be changed to.
    following, record = successor.learn(client, folder, record, found, must=wanted.next_ca)
    _keep_when_asked(record, folder)
    if successor.switch(folder, found):
        # That is a new certificate; another one is not wanted before its time.
        wanted = replace(wanted, force=False)
    seen = replace(record, capabilities=tuple(sorted(found.ca.capabilities)))
    renewal = _Renewal(client, found, folder, seen, wanted, password)
    if wanted.next_ca:
        _renew_ahead(renewal, following, as_json=as_json)
    elif _is_due(wanted, folder):
        _renew_into(renewal, folder, as_json=as_json)
        if found.rolled_over:
            folder.forget_ahead()
    else:
        report_not_yet(wanted, folder, standing(), as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Renewal:
    """The common part of a renewal in place and of one ahead of a new CA."""

    client: Client
    found: Found
    folder: Folder
    record: Record
    wanted: Wanted
    password: str | None = field(repr=False)


def _start(wanted: Wanted, folder: Folder) -> datetime:
    return renewal_time.due(renewable.certificate(folder), wanted.window)


def _is_due(wanted: Wanted, folder: Folder) -> bool:
    is_time = datetime.now(UTC) >= _start(wanted, folder)
    return is_time or wanted.force or folder.unfinished.exists()


def _found(client: Client, whom: trust.Whom, record: Record, folder: Folder) -> Found:
    """Ask the server, and find the CA of the folder again, its successor, or whom one trusts."""
    information = client.ask()
    anchor = trust.choose(information, whom) if whom.is_given else None
    seen = record.seen(record.url, record.ca_id)
    found = renewal_time.find(client, information, folder, seen, anchor)
    trust.warn_of_weakness(found.ca)
    return found


def _keep_when_asked(record: Record, folder: Folder) -> None:
    """Keep when the CA was asked for its successor, whatever becomes of the renewal.

    Nothing else of the record is kept before there is a certificate that was got so.
    """
    kept = folder.record()
    if kept is None or kept.checked_at == record.checked_at:
        return
    if (kept.url, kept.ca_id) == (record.url, record.ca_id):
        folder.remember(replace(kept, checked_at=record.checked_at))


def _renew_ahead(renewal: _Renewal, following: CA | None, *, as_json: bool) -> None:
    """Get a certificate from the CA's successor before that is in force (RFC 8894 section 5.1)."""
    ahead = renewal.folder.ahead
    if following is None:
        raise UsageError(
            "the next CA is in force already", hint="leave --next-ca out to renew with it"
        )
    if ahead.certificate() is not None and not renewal.wanted.force:
        terminal.say(
            f"{ahead.path} already has a certificate of the next CA, which is not in force yet"
        )
        return
    _renew_into(renewal, ahead, following, as_json=as_json)
    terminal.say("It is installed by scep renew once the next CA is in force.")


def _renew_into(
    renewal: _Renewal, target: Folder, following: CA | None = None, *, as_json: bool
) -> None:
    """Renew, and install the new certificate in the folder or ahead of it."""
    wanted, current = renewal.wanted, renewal.folder.key()
    certificate = renewable.certificate(renewal.folder)
    if not certificate.asserts_key_agreement:
        request.warn_unless_readable(current, renewal.password)
    new = current if wanted.same_key else request.key(target, wanted.key or keys.kind(current))
    asked = _purposes(wanted, renewal.folder, certificate)
    order = prepared_request.prepare_renewal(
        current,
        certificate,
        new,
        purposes=asked,
        challenge=renewal.password,
        issuers=renewal.folder.chain(),
    )
    issued = request.fulfil(
        order,
        new,
        replace(renewal.record, key=keys.kind(new), purposes=tuple(map(purpose_name, asked))),
        target,
        request.Way(renewal.client, renewal.found.ca, wanted.message_type, following),
    )
    report.issued(
        issued, target, as_json=as_json, more={"renewed": True}, ahead=following is not None
    )


def _purposes(
    wanted: Wanted, folder: Folder, certificate: Certificate
) -> tuple[ObjectIdentifier, ...]:
    """Return the purposes to ask for: as the last time, unless an option says otherwise.

    Of what another program enrolled only the certificate tells which they were.
    """
    if wanted.purposes is not None:
        return wanted.purposes
    kept = folder.record()
    if kept is not None:
        try:
            return read_purposes(kept.purposes)
        except UsageError as error:
            raise SettingsError(
                f"{folder.path / RECORD}: {error.message}",
                hint="correct it, or say what to ask for from now on: --eku LIST",
            ) from error
    try:
        return certificate.extensions.extended_key_usage or ()
    except Malformed:
        return ()
