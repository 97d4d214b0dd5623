"""The renewal of the certificate in a directory: when, with which CA, and into which place.

    outcome = Renewer(Folder(Path("device1"))).renew()

Server, CA and algorithms are those that the directory records. The old key and certificate stay
until the new ones are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from cryptography.x509 import ObjectIdentifier

from scepkit.client import (
    clock,
    events,
    keys,
    prepared_request,
    renewal_advice,
    revocation_check,
    rollover,
)
from scepkit.client.client import CA, Client, Connection
from scepkit.client.events import Tell
from scepkit.client.folder import Folder, place
from scepkit.client.folder.files import RECORD
from scepkit.client.folder.outputs import OutputChanges
from scepkit.client.folder.record import Record, ServerChanges
from scepkit.client.prepared_request import AskedExtension
from scepkit.client.renewal_info import RenewalAdvice
from scepkit.client.renewal_time import RenewalTime, due
from scepkit.client.revocation_check import RevocationState
from scepkit.client.rollover import FoundCA
from scepkit.client.secret_source import NOWHERE
from scepkit.client.submission import (
    Submission,
    change_outputs,
    warn_of_exposed,
    warn_unless_readable,
)
from scepkit.client.trust import ChooseAnchor
from scepkit.errors import CertificateRevoked, Hint, Malformed, Remote, SettingsError, UsageError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.certificate_template import certificate_template
from scepkit.protocol.extensions import purpose_name, read_purposes
from scepkit.protocol.scep.attributes import MessageType
from scepkit.protocol.scep.transaction import Issued

# What is learnt from the server while nothing is renewed.
_LOOKS = ("checked_at", "advised_at", "advise_again_at", "explanation")


@dataclass(frozen=True, slots=True)
class RenewalOptions:
    """The time of a renewal, and its request.

    Attributes:
        before: how long before a certificate's end; None for as long as is usual.
        key: the kind of the new key; "" for the current one's.
        purposes: to ask for; None for those of the last time.
        message_type: of the request; None for what the CA can do.
        force: renew now.
        same_key: have the current key certified again.
        next_ca: get a certificate from the CA's successor.
        advised: ask the server whether it wants the renewal sooner (RFC 9773); it can never put it
            off.
    """

    before: timedelta | None = None
    key: str = ""
    purposes: tuple[ObjectIdentifier, ...] | None = None
    message_type: MessageType | None = None
    force: bool = False
    same_key: bool = False
    next_ca: bool = False
    advised: bool = True


@dataclass(frozen=True, slots=True)
class Renewed:
    """There is a new certificate.

    Attributes:
        issued: the certificate, its chain, and what differs from the request.
        folder: where it is: in the directory, or in that of the next CA inside of it.
        is_ahead: whether it is one of the next CA, and waits until that is in force.
    """

    issued: Issued
    folder: Folder
    is_ahead: bool


@dataclass(frozen=True, slots=True)
class NotDue:
    """It is not time yet.

    Attributes:
        certificate: the current one.
        renew_from: when it will be.
        standing: whether the certificate is revoked.
        advice: of the server, where `renew_from` is so early because of it; None where it is the
            time by the own schedule.
    """

    certificate: Certificate
    renew_from: datetime
    standing: RevocationState
    advice: RenewalAdvice | None = None


@dataclass(frozen=True, slots=True)
class WaitsAhead:
    """There is a certificate of the next CA already, which is not in force yet.

    Attributes:
        folder: where it waits.
    """

    folder: Folder


Outcome: TypeAlias = Renewed | NotDue | WaitsAhead


class Renewer:
    """Renews the certificate in a directory, and changes over to the next CA.

    Args:
        folder: the directory.
        connection: how the server is reached.
        server: what is said anew of the server; all the rest is as it was the last time.
        outputs: what is said anew of the further files; they are changed at once, or with the
            new certificate where one is got.
        trust: chooses the CA certificate to trust in place of the directory's.
        tell: takes the events.
    """

    def __init__(
        self,
        folder: Folder,
        connection: Connection | None = None,
        *,
        server: ServerChanges | None = None,
        outputs: OutputChanges | None = None,
        trust: ChooseAnchor | None = None,
        tell: Tell = events.ignore,
    ) -> None:
        self._folder = folder
        self._connection = connection or Connection()
        self._server = server or ServerChanges()
        self._outputs = outputs or OutputChanges()
        self._trust = trust
        self._tell = tell

    def renew(
        self,
        options: RenewalOptions | None = None,
        *,
        challenge: str | Callable[[], str | None] | None = None,
    ) -> Outcome:
        """Do what is due: change over to the next CA, renew, renew ahead, or nothing yet.

        A server that gives advice is asked when it wants the certificate renewed, which can bring
        that forward. A certificate that is not due is checked for revocation, if it names a place
        that says so, and its CA is asked for its successor once a day.

        Args:
            options: when, and what to ask for.
            challenge: the challengePassword, for a CA that wants one here too, or a function that
                returns it.

        Raises:
            SettingsError: the directory cannot be used, or holds no certificate.
            CertificateRevoked: the certificate was revoked, or is on hold.
            UsageError, UntrustedCA, RequestRefused, StillPending, UnverifiedCertificate, BadReply,
            LegacyRefused, TransportError: see `Client.renew`.
        """
        options = options or RenewalOptions()
        if options.key:
            keys.check_spec(options.key)
        with self._opened():
            record = self._record()
            with self._connection.client(record) as client:
                return self._with_client(client, record, options, challenge)

    def _record(self) -> Record:
        """Return the record of server and further files, with what is said anew."""
        found = self._folder.server(self._server)
        found = replace(found, outputs=self._outputs.of(found.outputs))
        warn_of_exposed(self._folder, found.outputs, self._tell)
        return found

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Lock the directory, which has to be there, with a certificate that may be renewed."""
        folder = self._folder
        folder.check_exists()
        exposed = place.writable_by_others(folder.path)
        if exposed is not None:
            self._tell(events.OthersCanWrite(folder.path, exposed))
        with folder.locked():
            if folder.recover():
                self._tell(events.InstallationFinished(folder.path))
            note = folder.revocation()
            if note is not None and note.forbids_renewal:
                raise CertificateRevoked(
                    f"the certificate in {folder.path} was revoked, and cannot be renewed",
                    hint=Hint.NEW_CERTIFICATE,
                )
            yield

    def _advised(self, current: Certificate, record: Record, options: RenewalOptions) -> Record:
        """Return the record with the server's advice, which is asked for where it matters."""
        own = RenewalTime(due(current, options.before))
        matters = options.advised and not (options.next_ca or self._is_due(own, options))
        if not (matters and renewal_advice.is_time(record, record.advise_again)):
            return record
        record = record.advised(*renewal_advice.ask(record, current, self._connection, self._tell))
        self._keep_looks(record)
        return record

    def _time(self, current: Certificate, record: Record, options: RenewalOptions) -> RenewalTime:
        advice = record.advice if options.advised else None
        got_at = self._folder.got_at(clock.now())
        return RenewalTime.of(current, got_at, advice, options.before)

    def _is_due(self, time: RenewalTime, options: RenewalOptions) -> bool:
        is_wanted = options.force or self._folder.unfinished.exists()
        return is_wanted or clock.now() >= time.at

    def _not_due(self, current: Certificate, record: Record, time: RenewalTime) -> NotDue:
        """Look after a certificate that is not due: its files, and whether it was revoked."""
        self._folder.check_key()
        if self._trust is None:
            self._folder.check_ca()
        standing = revocation_check.check(
            self._folder, current, self._connection, record.allowed, self._tell
        )
        change_outputs(self._folder, record, self._tell)
        return NotDue(current, time.at, standing, time.advice)

    def _with_client(
        self,
        client: Client,
        record: Record,
        options: RenewalOptions,
        challenge: str | Callable[[], str | None] | None,
    ) -> Outcome:
        """Find out what is due, and do it."""
        folder = self._folder
        current = folder.require_certificate()
        record = self._advised(current, record, options)
        time = self._time(current, record, options)
        must = options.next_ca or self._is_due(time, options)
        if not (must or folder.ahead.path.exists()):
            outcome = self._not_due(current, record, time)
            rollover.look_ahead(client, folder, record, self._tell)
            return outcome
        password = challenge() if callable(challenge) else challenge
        try:
            found = self._find(client, record)
        except Remote as error:
            if must:
                raise
            self._tell(events.NextCAUnknown(error))
            return self._not_due(current, record, time)
        return self._with_ca(client, found, record, time, options, password)

    def _with_ca(
        self,
        client: Client,
        found: FoundCA,
        record: Record,
        time: RenewalTime,
        options: RenewalOptions,
        challenge: str | None,
    ) -> Outcome:
        """Follow a rollover of the CA, then renew if it is time."""
        folder, tell = self._folder, self._tell
        # Before changing over: a successor that was given up for another one must not be changed
        # to.
        following, record = rollover.learn(
            client, folder, record, found, tell, must=options.next_ca
        )
        self._keep_looks(record)
        if rollover.switch(folder, found, tell):
            # That is a new certificate; another one is not wanted before its time.
            options = replace(options, force=False)
            time = RenewalTime(due(folder.require_certificate(), options.before))
        record = replace(record, capabilities=tuple(sorted(found.ca.capabilities)))
        current = folder.require_certificate()
        renewal = _Renewal(folder, current, client, found, record, options, challenge, tell)
        if options.next_ca:
            change_outputs(folder, record, self._tell)
            return renewal.ahead(following)
        if not self._is_due(time, options):
            return self._not_due(current, record, time)
        if time.advice is not None and clock.now() >= time.at:
            tell(events.RenewalAdvised(time.advice))
        outcome = renewal.into(folder)
        if found.rolled_over and found.has_issued(outcome.issued):
            # Else the CA before it answered a request of before: the next renewal changes over.
            folder.forget_ahead()
        return outcome

    def _find(self, client: Client, record: Record) -> FoundCA:
        """Ask the server, and find the CA of the folder again, its successor, or the chosen one."""
        information = client.ask()
        anchor = self._trust(information) if self._trust is not None else None
        seen = record.seen(record.url, record.ca_id)
        found = rollover.find(client, information, self._folder, seen, anchor)
        self._tell(events.CATrusted(found.ca))
        return found

    def _keep_looks(self, record: Record) -> None:
        """Keep what was learnt from the server and when, whatever becomes of the renewal.

        Nothing else of the record is kept before there is a certificate that was got so.
        """
        kept = self._folder.record()
        if kept is None or (kept.url, kept.ca_id) != (record.url, record.ca_id):
            return
        fresh = replace(kept, **{name: getattr(record, name) for name in _LOOKS})
        if fresh != kept:
            self._folder.remember(fresh)


@dataclass(frozen=True, slots=True)
class _Renewal:
    """One renewal, in place or ahead of a new CA."""

    folder: Folder
    certificate: Certificate
    client: Client
    found: FoundCA
    record: Record
    options: RenewalOptions
    challenge: str | None = field(repr=False)
    tell: Tell

    def ahead(self, following: CA | None) -> Outcome:
        """Get a certificate from the CA's successor before that is in force (section 5.1)."""
        if following is None:
            raise UsageError("the next CA is in force already", hint=Hint.NEXT_CA_IN_FORCE)
        ahead = self.folder.ahead
        if ahead.certificate() is not None and not self.options.force:
            return WaitsAhead(ahead)
        return self.into(ahead, following)

    def into(self, target: Folder, following: CA | None = None) -> Renewed:
        """Renew, and install the new certificate in the folder or ahead of it."""
        options, certificate, current = self.options, self.certificate, self.folder.key()
        if not certificate.asserts_key_agreement:
            warn_unless_readable(current, self.challenge, self.tell)
        submission = Submission(
            target,
            self.client,
            self.found.ca,
            message_type=options.message_type,
            following=following,
            tell=self.tell,
        )
        keeps = options.same_key or (self.record.same_key and not options.key)
        new = current if keeps else submission.key(options.key or keys.kind(current))
        asked = self._purposes()
        request = prepared_request.prepare_renewal(
            current,
            certificate,
            new,
            purposes=asked,
            extensions=self._template(),
            challenge=self.challenge,
            issuers=self.folder.chain(),
        )
        record = replace(
            self.record,
            key=keys.kind(new),
            purposes=tuple(map(purpose_name, asked)),
            same_key=self.record.same_key and not options.key,
            passphrase=self._passphrase(),
        ).advised(None, None)
        issued = submission.submit(request, new, record)
        return Renewed(issued, target, is_ahead=following is not None)

    def _template(self) -> list[AskedExtension]:
        template = self.record.template
        return [certificate_template(template)] if template else []

    def _passphrase(self) -> str:
        """Return the source of the new key's passphrase: as the last time, unless one is given."""
        given = self.folder.passphrase
        if given is None:
            return self.record.passphrase
        return "" if given == NOWHERE else str(given)

    def _purposes(self) -> tuple[ObjectIdentifier, ...]:
        """Return the purposes to ask for: as the last time, unless the options say otherwise.

        Of what another program enrolled only the certificate tells which they were.
        """
        if self.options.purposes is not None:
            return self.options.purposes
        kept = self.folder.record()
        if kept is not None:
            try:
                return read_purposes(kept.purposes)
            except UsageError as error:
                raise SettingsError(
                    f"{self.folder.path / RECORD}: {error.message}", hint=Hint.NAME_PURPOSES
                ) from error
        try:
            return self.certificate.extensions.extended_key_usage or ()
        except Malformed:
            return ()
