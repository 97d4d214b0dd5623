"""`scep renew`: get a certificate in place of one before that ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scepkit.cli import options, terminal
from scepkit.cli import renew_options as wanted
from scepkit.cli.help import Command
from scepkit.errors import ScepError, SettingsError, UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.client.client import CA, Client
    from scepkit.client.folder import Folder
    from scepkit.client.record import Record
    from scepkit.client.renewing import Found
    from scepkit.protocol.attributes import MessageType

_EPILOG = """
\b
Example, for a daily timer:
  scep renew /etc/www

\b
Exit status:
  0  renewed, or not yet time      2  wrong usage, or a file cannot be used
  1  refused, or it failed         3  waiting for approval: run it again
"""

# How often a CA is asked for its successor when there is nothing else to ask.
_LOOK_AHEAD = timedelta(days=1)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "renew",
        cls=Command,
        short_help="Renew the certificate in a directory when it is time.",
        epilog=_EPILOG,
    )(renew)


def renew(
    directory: options.Directory,
    *,
    before: wanted.Before = "",
    force: wanted.Force = False,
    same_key: wanted.SameKey = False,
    key: wanted.Key = "",
    next_ca: wanted.NextCA = False,
    message: wanted.Message = "",
    challenge: wanted.Challenge = None,
    challenge_file: options.ChallengeFile = None,
    fingerprint: options.Fingerprint = "",
    ca_file: options.CaFile = None,
    legacy: wanted.LegacyList = None,
    poll_interval: options.PollInterval = 60,
    max_wait: options.MaxWait = 86400,
    url: wanted.Url = "",
    ca_id: wanted.CaId = None,
    tls_ca: options.TlsCa = None,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Renew the certificate in a directory when it is time; before, only say when that will be.

    The same names are asked for. The old key and certificate stay until the new ones are there.
    Everything else is as it was when the directory was made, unless an option says otherwise.
    """
    from scepkit.cli import challenge as challenges
    from scepkit.cli import connection, duration, trust
    from scepkit.client import keys, renewing
    from scepkit.client.folder import Folder

    # What can be wrong with the options is said before anything happens.
    if same_key and key:
        raise UsageError("--same-key and --key exclude each other")
    if key:
        keys.check_spec(key)
    trust.check_options(fingerprint, ca_file=ca_file)
    window, kind = duration.read(before) if before else None, _message_type(message)
    limits = connection.limits(poll_interval, max_wait)
    folder = Folder(directory)
    _check_there(folder)
    with folder.locked():
        if folder.recover():
            terminal.say(f"finished the installation in {folder.path} that was interrupted")
        _check_not_revoked(folder)
        record = _record(folder, url=url, ca_id=ca_id, legacy=legacy, tls_ca=tls_ca)
        client = connection.client(
            record.url,
            ca_id=record.ca_id,
            tls_ca=Path(record.tls_ca) if record.tls_ca else None,
            timeout=timeout,
            proxy=proxy,
            allowed=options.read_legacy(",".join(record.legacy)),
            limits=limits,
        )
        start, now = renewing.due(_certificate(folder), window), datetime.now(UTC)
        due = force or now >= start or folder.unfinished.exists()
        if not (due or next_ca or folder.ahead.path.exists()):
            _look_ahead(client, folder, record, now)
            _not_yet(_certificate(folder), start, as_json=as_json)
            return

        # One that enrolled the device is still in many an environment, and is spent.
        password = challenges.read(challenge, challenge_file, environment=False)
        information = client.ask()
        anchor = None
        if fingerprint or ca_file:
            anchor = trust.choose(information, fingerprint, ca_file=ca_file)
        seen = record.seen(record.url, record.ca_id)
        found = renewing.find(client, information, folder, seen, anchor)
        trust.warn_of_weakness(found.ca)
        if _switched(folder, found, now):
            start = renewing.due(_certificate(folder), window)
            due = now >= start
        job = _Job(
            client=client,
            folder=folder,
            record=replace(record, capabilities=tuple(sorted(found.ca.capabilities))),
            ca=found.ca,
            password=password,
            message_type=kind,
            key=key,
            same_key=same_key,
            as_json=as_json,
        )
        if next_ca:
            _renew_ahead(job, found, force=force)
        elif due:
            _learn(client, folder, found)
            _renew(job, folder)
            if found.rolled_over:
                folder.forget_ahead()
        else:
            _not_yet(_certificate(folder), start, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is the same for a renewal in place and for one ahead of a new CA."""

    client: Client
    folder: Folder
    record: Record
    ca: CA
    password: str | None = field(repr=False)
    message_type: MessageType | None
    key: str
    same_key: bool
    as_json: bool


def _renew(job: _Job, target: Folder, following: CA | None = None) -> None:
    """Renew, and install the new certificate in the folder or ahead of it."""
    from scepkit.cli import report, request
    from scepkit.client import keys, orders

    current, certificate = job.folder.key(), _certificate(job.folder)
    new = current if job.same_key else request.key(target, job.key or keys.kind(current))
    order = orders.renewal(current, certificate, new, challenge=job.password)
    record = replace(job.record, key=keys.kind(new))
    begun, now = target.unfinished_record(), datetime.now(UTC)
    target.begin(new, record.requested(str(order.transaction_id), now, begun))
    issued = request.submit(
        lambda: job.client.submit(
            job.ca, order, message_type=job.message_type, following=following
        ),
        target,
    )
    target.install(issued)
    report.issued(issued, target, as_json=job.as_json, more={"renewed": True})


def _renew_ahead(job: _Job, found: Found, *, force: bool) -> None:
    """Get a certificate from the CA's successor before that is in force (RFC 8894 section 5.1)."""
    ahead = job.folder.ahead
    if found.rolled_over:
        raise UsageError(
            "the next CA is in force already", hint="leave --next-ca out to renew with it"
        )
    waiting = ahead.certificate()
    if waiting is not None and not force:
        terminal.say(
            f"{ahead.path} has a certificate of the next CA already, for when that is in force"
        )
        return
    following = _learn(job.client, job.folder, found, must=True)
    _renew(job, ahead, following)
    terminal.say("It is installed by scep renew once the next CA is in force.")


def _learn(client: Client, folder: Folder, found: Found, *, must: bool = False) -> CA | None:
    """Keep the certificates of the CA's successor, when it has one, and trust it.

    Args:
        client: for the CA's server.
        folder: where they are kept.
        found: the CA.
        must: raise what goes wrong, in place of saying it.
    """
    from scepkit.cli import describe
    from scepkit.client import renewing

    if not must and (found.rolled_over or not renewing.announces(found.ca)):
        return None
    try:
        certificates = client.get_next_certificates(found.ca)
        following = client.trust_next(found.ca, certificates)
    except ScepError as error:
        if must:
            raise
        terminal.warn(f"the CA's successor cannot be trusted: {error.message}")
        return None
    if folder.next_ca() != certificates:
        folder.keep_next_ca(certificates)
        anchor = following.certificates.anchor
        terminal.say(
            f"the CA announces its successor: {describe.subject(anchor)}, "
            f"valid from {anchor.not_valid_before_utc:%Y-%m-%d}"
        )
    return following


def _look_ahead(client: Client, folder: Folder, record: Record, now: datetime) -> None:
    """Ask for the CA's successor now and then, while the CA that could vouch for it is there."""
    from scepkit.client import renewing

    if record.checked_at and now - datetime.fromisoformat(record.checked_at) < _LOOK_AHEAD:
        return
    try:
        found = renewing.find(client, client.ask(), folder, record.seen(record.url, record.ca_id))
    except ScepError as error:
        terminal.warn(f"the CA could not be asked for its successor: {error.message}")
        return
    _learn(client, folder, found)
    folder.remember(
        replace(
            record,
            capabilities=tuple(sorted(found.ca.capabilities)),
            checked_at=now.isoformat(timespec="seconds"),
        )
    )


def _switched(folder: Folder, found: Found, now: datetime) -> bool:
    """Install the certificate of the next CA when it is time."""
    from scepkit.client import renewing

    if not renewing.may_switch(folder, now, rolled_over=found.rolled_over):
        return False
    folder.switch()
    terminal.say("the next CA is in force: installed the certificate that was got from it ahead")
    return True


def _not_yet(certificate: x509.Certificate, start: datetime, *, as_json: bool) -> None:
    from scepkit.cli import describe

    if as_json:
        when = start.isoformat(timespec="seconds")
        terminal.json_data({"renewed": False, "renew_from": when, **describe.summary(certificate)})
        return
    terminal.say(
        f"not yet: {describe.subject(certificate)} is valid until "
        f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; "
        f"time to renew is from {start:%Y-%m-%d %H:%M} UTC on (--force renews now)"
    )


def _check_there(folder: Folder) -> None:
    if not folder.path.is_dir():
        raise SettingsError(
            f"there is no directory {folder.path}", hint="get a first certificate: scep enroll"
        )


def _check_not_revoked(folder: Folder) -> None:
    found = folder.revocation()
    if found is not None and found.is_final:
        raise SettingsError(
            f"the certificate in {folder.path} was revoked, and cannot be renewed",
            hint="get a new one: scep enroll",
        )


def _certificate(folder: Folder) -> x509.Certificate:
    found = folder.certificate()
    if found is None:
        raise SettingsError(
            f"there is no certificate in {folder.path} that could be renewed",
            hint="get a first one: scep enroll",
        )
    return found


def _record(
    folder: Folder, *, url: str, ca_id: str | None, legacy: str | None, tls_ca: Path | None
) -> Record:
    """Return how to reach the CA: as the last time, but for what the options say."""
    from scepkit.client.record import Record

    kept = folder.record()
    if kept is None:
        if not url:
            _certificate(folder)
            raise SettingsError(
                f"how the certificate in {folder.path} was got is not known",
                hint="name the server: scep renew DIR --url URL",
            )
        kept = Record(url)
    allowed = kept.legacy if legacy is None else tuple(sorted(options.read_legacy(legacy)))
    return replace(
        kept,
        url=url or kept.url,
        ca_id=kept.ca_id if ca_id is None else ca_id,
        legacy=allowed,
        tls_ca=str(tls_ca.absolute()) if tls_ca else kept.tls_ca,
        # What was seen of another CA says nothing of this one.
        capabilities=kept.capabilities if (url or kept.url) == kept.url else (),
    )


def _message_type(text: str) -> MessageType | None:
    from scepkit.protocol.attributes import MessageType

    kinds = {"": None, "renewalreq": MessageType.RENEWAL_REQ, "pkcsreq": MessageType.PKCS_REQ}
    if text.lower() not in kinds:
        raise UsageError(f"--message {text}: no such message", hint="RenewalReq or PKCSReq")
    return kinds[text.lower()]
