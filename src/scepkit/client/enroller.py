"""The first certificate of a directory: lock, trust the CA, ask, resume, install.

    enroller = Enroller(Client(url), Folder(Path("device1")), by_fingerprint("sha256:5a1f…"))
    issued = enroller.enrol("CN=device1", challenge="…")

After an interruption, or to ask again while the request waits for approval, the same call goes on
with the same request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from scepkit.client import clock, events, keys, prepared_request
from scepkit.client.client import CA, Client, Connection
from scepkit.client.events import Tell
from scepkit.client.folder import Folder, place
from scepkit.client.folder.files import NAMES
from scepkit.client.folder.outputs import Outputs
from scepkit.client.folder.record import Record
from scepkit.client.prepared_request import PreparedRequest
from scepkit.client.secret_source import NOWHERE
from scepkit.client.submission import Submission, warn_of_exposed, warn_unless_readable
from scepkit.client.tls import ClientCertificate
from scepkit.client.trust import ChooseAnchor
from scepkit.errors import Hint, SettingsError, UsageError
from scepkit.keys.pem import key_pem
from scepkit.protocol.algorithms import Legacy, PrivateKey
from scepkit.protocol.certificate_template import certificate_template, named_template
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.extensions import purpose_name, read_purposes
from scepkit.protocol.general_name import parse_san
from scepkit.protocol.rfc4514 import parse_subject
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.transaction import Issued


@dataclass(frozen=True, slots=True)
class _Asked:
    """The contents of a request; see `Enroller.enrol`."""

    subject: x509.Name | None
    names: tuple[x509.GeneralName, ...]
    purposes: tuple[x509.ObjectIdentifier, ...]
    template: str
    key: str | PrivateKey
    csr: bytes | CertificationRequest | None

    def __post_init__(self) -> None:
        """Refuse what cannot be asked for."""
        if isinstance(self.key, str):
            keys.check_spec(self.key)
        if self.template:
            certificate_template(self.template)
        if self.csr is None:
            if self.subject is None:
                raise UsageError("there is no subject to ask for")
            return
        if isinstance(self.key, str):
            raise UsageError(
                "there is no key to the PKCS#10: it signs the message, and reads the answer",
                hint=Hint.KEY_OF_REQUEST,
            )
        if self.subject is not None or self.names or self.purposes or self.template:
            raise UsageError(
                "what is asked for is in the PKCS#10, which is signed and cannot be added to",
                hint="leave subject, names, purposes and template out",
            )

    def prepared(
        self, key: PrivateKey, challenge: str | None, allowed: frozenset[Legacy]
    ) -> PreparedRequest:
        """Return the request, ready to be sent."""
        if self.csr is not None:
            if challenge is not None:
                raise UsageError(
                    "the PKCS#10 is signed, and no challenge can be added to it",
                    hint="write it with the challenge in it (challengePassword)",
                )
            return prepared_request.of_csr(key, self.csr, allowed=allowed, now=clock.now())
        # It has one, or `__post_init__` had refused it.
        subject = self.subject or x509.Name([])
        return prepared_request.prepare(
            key,
            subject,
            names=self.names,
            purposes=self.purposes,
            extensions=[certificate_template(self.template)] if self.template else [],
            challenge=challenge,
            now=clock.now(),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of an enrolment: its request, and the files that it would write.

    Attributes:
        ca: the CA, with the algorithms that would be used.
        request: what would be asked for; its key is one of many where a new one is to be made.
        files: the files that would be written, by what they are.
    """

    ca: CA
    request: PreparedRequest
    files: Mapping[str, Path]


class Enroller:
    """Gets the first certificate into a directory, however often it is interrupted.

    Args:
        client: for the CA's server.
        folder: where key and certificate go.
        trust: chooses the CA certificate to trust: `by_fingerprint`, or a function of your own.
        tls_ca: file of the certificates that the client checks HTTPS with; kept for renewals.
        client_certificate: what the client shows by HTTPS; kept for renewals, too.
        outputs: further files to write, now and at each renewal, and whose all of them are.
        tell: takes the events.
    """

    def __init__(
        self,
        client: Client,
        folder: Folder,
        trust: ChooseAnchor,
        *,
        tls_ca: Path | None = None,
        client_certificate: ClientCertificate | None = None,
        outputs: Outputs | None = None,
        tell: Tell = events.ignore,
    ) -> None:
        self._client = client
        self._folder = folder
        self._trust = trust
        self._tls_ca = tls_ca
        self._client_certificate = client_certificate
        self._outputs = outputs or Outputs()
        self._tell = tell

    def enrol(
        self,
        subject: str | x509.Name | None = None,
        *,
        names: Iterable[str | x509.GeneralName] = (),
        purposes: Iterable[str | x509.ObjectIdentifier] = (),
        template: str = "",
        key: str | PrivateKey = keys.DEFAULT_KEY,
        csr: bytes | CertificationRequest | None = None,
        challenge: str | Callable[[], str | None] | None = None,
        force: bool = False,
    ) -> Issued:
        """Get a certificate for a key, or go on with the request that was begun.

        Args:
            subject: a name, or RFC 4514 text such as `CN=dev1,O=Example`.
            names: subject alternative names, or text such as `dns:dev1.example`.
            purposes: for extendedKeyUsage; none leaves them to the CA.
            template: the name of one of the CA's certificate templates, or its OID; see
                `certificate_template`. Renewals name it again.
            key: the kind of the key to be made, as `generate_key` takes it; or the key to be
                certified, of which a copy is kept. Renewals are for that one, too.
            csr: a PKCS#10 of somebody's, PEM or DER, in place of all of the above but `key`.
            challenge: the challengePassword, if the CA wants one, or a function that returns it:
                that is called once the directory is known to be usable.
            force: replace a certificate that is still good.

        Raises:
            SettingsError: the directory cannot be used, or holds a certificate that is still good.
            UsageError: an argument cannot be written into a request.
            UntrustedCA: the server's CA is not the one to trust.
            RequestRefused, StillPending, UnverifiedCertificate, BadReply, LegacyRefused,
            TransportError: see `Client.enrol`.
        """
        # What cannot be asked for is said before anything happens.
        asked = _asked(subject, names, purposes, template, key, csr)
        self._check_files(key)
        # A new folder is claimed late: where there is nothing to ask for, nothing is made.
        is_new = not self._folder.path.exists()
        with ExitStack() as claim:
            if not is_new:
                claim.enter_context(self._claimed(force=force, is_new=False))
            password = challenge() if callable(challenge) else challenge
            ca = self._trusted(is_new=is_new)
            if is_new:
                claim.enter_context(self._claimed(force=force, is_new=True))
            return self._submit(ca, asked, password)

    def plan(
        self,
        subject: str | x509.Name | None = None,
        *,
        names: Iterable[str | x509.GeneralName] = (),
        purposes: Iterable[str | x509.ObjectIdentifier] = (),
        template: str = "",
        key: str | PrivateKey = keys.DEFAULT_KEY,
        csr: bytes | CertificationRequest | None = None,
        challenge: str | Callable[[], str | None] | None = None,
        force: bool = False,
    ) -> Plan:
        """Ask the server what it can do and who its CA is, and return what `enrol` would do.

        No request is sent, and nothing is written; arguments and errors are those of `enrol`.
        """
        asked = _asked(subject, names, purposes, template, key, csr)
        self._check_files(key)
        folder = self._folder
        if not force:
            folder.check_free(clock.now())
        password = challenge() if callable(challenge) else challenge
        ca = self._trusted(is_new=not folder.path.exists())
        made = keys.generate_key(asked.key) if isinstance(asked.key, str) else asked.key
        request = asked.prepared(made, password, self._client.allowed)
        warn_unless_readable(made, request.request.csr.challenge_password, self._tell)
        return Plan(ca, request, folder.files() | self._outputs.paths)

    def _check_files(self, key: str | PrivateKey) -> None:
        """Refuse a directory, further files and a key that could not be written.

        Raises:
            SettingsError: the file system would refuse.
            UsageError: the key cannot be exported, or an owner or a mode is none.
        """
        place.check_makeable(self._folder.path)
        self._outputs.check(self._folder.path, NAMES)
        if isinstance(key, str):
            return
        try:
            key_pem(key)
        except Exception as error:
            # Whatever a key of somebody else's says.
            raise UsageError(
                "the key cannot be exported, and a copy of it cannot be kept in a directory",
                hint="Client.enrol wants nothing of a key but to sign and to decrypt",
            ) from error

    @contextmanager
    def _claimed(self, *, force: bool, is_new: bool) -> Iterator[None]:
        """Lock the directory, and refuse to replace what is good in it.

        Only once it is locked: until then another process may put a certificate there.
        """
        with self._folder.locked():
            if self._folder.recover():
                self._tell(events.InstallationFinished(self._folder.path))
            if not force:
                self._folder.check_free(clock.now())
            exposed = None if is_new else place.writable_by_others(self._folder.path)
            if exposed is not None:
                self._tell(events.OthersCanWrite(self._folder.path, exposed))
            warn_of_exposed(self._folder, self._outputs, self._tell)
            yield

    def _trusted(self, *, is_new: bool) -> CA:
        """Ask the server, and trust its CA; what that could do once it can still do (P-61)."""
        client, folder = self._client, self._folder
        information = client.ask()
        before = None if is_new else folder.unfinished_record() or folder.record()
        ca = client.trust(
            information,
            self._trust(information),
            before.seen(client.url, client.identifier) if before else frozenset(),
        )
        self._tell(events.CATrusted(ca))
        return ca

    def _submit(self, ca: CA, asked: _Asked, challenge: str | None) -> Issued:
        client = self._client
        submission = Submission(self._folder, client, ca, tell=self._tell)
        key = submission.key(asked.key)
        request = asked.prepared(key, challenge, client.allowed)
        csr = request.request.csr
        warn_unless_readable(key, csr.challenge_password, self._tell)
        asked_purposes = asked.purposes or csr.extensions.extended_key_usage or ()
        passphrase = self._folder.passphrase
        record = Record(
            url=client.url,
            ca_id=client.identifier,
            legacy=tuple(sorted(client.allowed)),
            key=keys.kind(key),
            purposes=tuple(map(purpose_name, asked_purposes)),
            template=asked.template or _template(csr),
            same_key=not isinstance(asked.key, str),
            passphrase="" if passphrase in (None, NOWHERE) else str(passphrase),
            tls_ca=str(self._tls_ca.absolute()) if self._tls_ca else "",
            capabilities=tuple(sorted(ca.capabilities)),
            outputs=self._outputs,
        )
        return submission.submit(request, key, record.showing(self._client_certificate))


def resume(
    folder: Folder, connection: Connection | None = None, *, tell: Tell = events.ignore
) -> Issued:
    """Ask again for the first certificate of a directory, by what the directory itself holds.

    Args:
        folder: the directory.
        connection: how the server is reached.
        tell: takes the events.

    Raises:
        SettingsError: no request waits there, or the directory cannot be used.
        UntrustedCA: the server's CA is not the one that the request was sent to.
        RequestRefused, StillPending, UnverifiedCertificate, BadReply, LegacyRefused,
        TransportError: see `Client.resume`; the key stays.
    """
    folder.check_exists()
    exposed = place.writable_by_others(folder.path)
    if exposed is not None:
        tell(events.OthersCanWrite(folder.path, exposed))
    with folder.locked():
        key, record = folder.unfinished_key(), folder.unfinished_record()
        waiting = folder.waiting_request()
        if key is None or record is None or waiting is None:
            raise SettingsError(
                f"no request waits in {folder.path} that could be asked for again",
                hint=Hint.FIRST_CERTIFICATE,
            )
        request = waiting.prepared(key, TransactionID(record.transaction_id.encode()))
        if request.wanted != record.wanted:
            raise SettingsError(
                f"the request that waits in {folder.path} is not the recorded one",
                hint=Hint.FIRST_CERTIFICATE,
            )
        with (connection or Connection()).client(record) as client:
            seen = record.seen(client.url, client.identifier)
            ca = client.trust(client.ask(), waiting.anchor, seen)
            return Submission(folder, client, ca, tell=tell).resume(request)


def _template(csr: CertificationRequest) -> str:
    """Return the template that a request names; "" for one that could not be named again."""
    found = named_template(csr.extensions)
    if found:
        try:
            certificate_template(found)
        except UsageError:
            return ""
    return found


def _asked(
    subject: str | x509.Name | None,
    names: Iterable[str | x509.GeneralName],
    purposes: Iterable[str | x509.ObjectIdentifier],
    template: str,
    key: str | PrivateKey,
    csr: bytes | CertificationRequest | None,
) -> _Asked:
    """Return the contents of a request, read.

    Raises:
        UsageError: something cannot be asked for.
    """
    return _Asked(
        parse_subject(subject) if isinstance(subject, str) else subject,
        tuple(parse_san(name) if isinstance(name, str) else name for name in names),
        read_purposes(purposes),
        template,
        key,
        csr,
    )
