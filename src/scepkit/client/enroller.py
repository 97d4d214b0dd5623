"""The first certificate of a directory: lock, trust the CA, ask, resume, install.

    enroller = Enroller(Client(url), Folder(Path("device1")), by_fingerprint("sha256:5a1f…"))
    issued = enroller.enrol("CN=device1", challenge="…")

After an interruption, or to ask again while the request waits for approval, the same call goes on
with the same request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from scepkit.client import clock, events, keys, prepared_request
from scepkit.client.client import CA, Client
from scepkit.client.events import Tell
from scepkit.client.folder import Folder, place
from scepkit.client.folder.record import Record
from scepkit.client.submission import Submission, warn_unless_readable
from scepkit.client.trust import ChooseAnchor
from scepkit.protocol.extensions import purpose_name, read_purposes
from scepkit.protocol.general_name import parse_san
from scepkit.protocol.rfc4514 import parse_subject
from scepkit.protocol.scep.transaction import Issued


@dataclass(frozen=True, slots=True)
class _Asked:
    """The contents of a request; see `Enroller.enrol`."""

    subject: x509.Name
    names: tuple[x509.GeneralName, ...]
    purposes: tuple[x509.ObjectIdentifier, ...]
    key: str


class Enroller:
    """Gets the first certificate into a directory, however often it is interrupted.

    Args:
        client: for the CA's server.
        folder: where key and certificate go.
        trust: chooses the CA certificate to trust: `by_fingerprint`, or a function of your own.
        tls_ca: file of the certificates that the client checks HTTPS with; kept for renewals.
        tell: takes the events.
    """

    def __init__(
        self,
        client: Client,
        folder: Folder,
        trust: ChooseAnchor,
        *,
        tls_ca: Path | None = None,
        tell: Tell = events.ignore,
    ) -> None:
        self._client = client
        self._folder = folder
        self._trust = trust
        self._tls_ca = tls_ca
        self._tell = tell

    def enrol(
        self,
        subject: str | x509.Name,
        *,
        names: Iterable[str | x509.GeneralName] = (),
        purposes: Iterable[str | x509.ObjectIdentifier] = (),
        key: str = keys.DEFAULT_KEY,
        challenge: str | Callable[[], str | None] | None = None,
        force: bool = False,
    ) -> Issued:
        """Get a certificate for a new key, or go on with the request that was begun.

        Args:
            subject: a name, or RFC 4514 text such as `CN=dev1,O=Example`.
            names: subject alternative names, or text such as `dns:dev1.example`.
            purposes: for extendedKeyUsage; none leaves them to the CA.
            key: the kind of the key, as `generate_key` takes it.
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
        keys.check_spec(key)
        asked = _Asked(
            parse_subject(subject) if isinstance(subject, str) else subject,
            tuple(parse_san(name) if isinstance(name, str) else name for name in names),
            read_purposes(purposes),
            key,
        )
        # A new folder is claimed late: where there is nothing to ask for, nothing is made.
        place.check_makeable(self._folder.path)
        is_new = not self._folder.path.exists()
        with ExitStack() as claim:
            if not is_new:
                claim.enter_context(self._claimed(force=force, is_new=False))
            password = challenge() if callable(challenge) else challenge
            ca = self._trusted(is_new=is_new)
            if is_new:
                claim.enter_context(self._claimed(force=force, is_new=True))
            return self._submit(ca, asked, password)

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
        warn_unless_readable(key, challenge, self._tell)
        request = prepared_request.prepare(
            key,
            asked.subject,
            names=asked.names,
            purposes=asked.purposes,
            challenge=challenge,
            now=clock.now(),
        )
        record = Record(
            url=client.url,
            ca_id=client.identifier,
            legacy=tuple(sorted(client.allowed)),
            key=asked.key,
            purposes=tuple(map(purpose_name, asked.purposes)),
            tls_ca=str(self._tls_ca.absolute()) if self._tls_ca else "",
            capabilities=tuple(sorted(ca.capabilities)),
        )
        return submission.submit(request, key, record)
