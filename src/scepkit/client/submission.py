"""The submission of a request from a directory: key and request are kept before anything is sent.

The same request with another challenge is another one to the CA. So that the one that was begun
does not wait in vain, that is asked for first, which takes no challenge.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from scepkit.client import clock, keys
from scepkit.client.client import CA, Client
from scepkit.client.events import (
    KeyStays,
    OthersCanWrite,
    OutputsChanged,
    ReplyUnlikely,
    RequestContinued,
    RequestOver,
    RequestPrepared,
    RequestReplaced,
    RequestStays,
    Tell,
)
from scepkit.client.folder import Folder, place
from scepkit.client.folder.outputs import Outputs
from scepkit.client.folder.record import Record
from scepkit.client.folder.waiting import WaitingRequest
from scepkit.client.prepared_request import PreparedRequest
from scepkit.errors import (
    BadReply,
    FailInfo,
    Hint,
    RequestRefused,
    StillPending,
    TransportError,
    UnverifiedCertificate,
)
from scepkit.protocol.algorithms import PrivateKey
from scepkit.protocol.scep import exchange, flow
from scepkit.protocol.scep.attributes import MessageType, TransactionID
from scepkit.protocol.scep.transaction import Issued

# Refusals of one message, such as for this machine's clock, that say nothing of the transaction.
_ABOUT_THE_MESSAGE = frozenset({FailInfo.badAlg, FailInfo.badMessageCheck, FailInfo.badTime})
_FIRST_CHALLENGE = (
    "the answer is encrypted with the challenge that the request was begun with: give that one"
)


class Submission:
    """Gets a certificate into a locked directory, after an interruption too.

    Args:
        folder: the directory.
        client: for the CA's server.
        ca: the CA.
        message_type: of a renewal; by what the CA can do unless given.
        following: the CA that follows `ca`, if that one is to issue.
        tell: takes the events.
    """

    def __init__(
        self,
        folder: Folder,
        client: Client,
        ca: CA,
        *,
        message_type: MessageType | None = None,
        following: CA | None = None,
        tell: Tell,
    ) -> None:
        self._folder = folder
        self._client = client
        self._ca = ca
        self._message_type = message_type
        self._following = following
        self._tell = tell
        key, record = folder.unfinished_key(), folder.unfinished_record()
        self._key = key
        # The request that waits in the directory: its key may be certified yet.
        is_begun = key and record and record.transaction_id
        self._begun = (key, record) if key and record and is_begun else None
        self._waiting = folder.waiting_request() if is_begun else None

    def key(self, wanted: str | PrivateKey) -> PrivateKey:
        """Return the key of the request that was begun in the directory, or a new one.

        Args:
            wanted: its kind, such as `rsa:2048`; or the key itself.
        """
        if self._key is not None and _is_wanted(self._key, wanted):
            return self._key
        return keys.generate_key(wanted) if isinstance(wanted, str) else wanted

    def submit(self, request: PreparedRequest, key: PrivateKey, record: Record) -> Issued:
        """Keep a request, send it, and install the certificate.

        Args:
            request: what is asked for.
            key: the key to be certified.
            record: how it is got.
        """
        record = replace(record, wanted=request.wanted)
        begun = self._begun[1] if self._begun else None
        issued = None
        if key is self._key:
            self._tell(self._of_kept_key(request, record))
        if begun and not _is_of(begun, request) and begun.asks_like(record):
            earlier = replace(request, transaction_id=TransactionID(begun.transaction_id.encode()))
            self._keep(earlier, key, record, begun)
            try:
                issued = self._resume(earlier)
            except RequestRefused as error:
                if error.failure.fail_info in _ABOUT_THE_MESSAGE:
                    raise
                self._tell(RequestOver(begun.transaction_id, error.message))
                self._begun = None
        if issued is None:
            self._keep(request, key, record, begun)
            issued = self._send(request)
        self._folder.install(issued)
        return issued

    def _of_kept_key(
        self, request: PreparedRequest, record: Record
    ) -> RequestContinued | RequestReplaced:
        """Return the event of a request for the key that is in the directory already."""
        begun = self._begun[1] if self._begun else None
        if begun is None or _is_of(begun, request) or begun.asks_like(record):
            return RequestContinued(self._folder.unfinished)
        waiting = self._waiting.request if self._waiting else None
        return RequestReplaced(self._folder.unfinished, begun.transaction_id, waiting, request)

    def resume(self, request: PreparedRequest) -> Issued:
        """Ask for the request that waits, without its challenge, and install the certificate.

        The key stays whatever the CA says: who has the challenge may send the request again.

        Args:
            request: the one that waits.
        """
        issued = self._resume(request)
        if issued is None:
            raise StillPending(
                "the CA does not say what became of the request",
                hint=Hint.REQUEST_LOST,
            )
        self._folder.install(issued)
        return issued

    def _keep(
        self, request: PreparedRequest, key: PrivateKey, record: Record, begun: Record | None
    ) -> None:
        now = clock.now()
        waiting = WaitingRequest.of(request, self._ca.certificates.anchor)
        self._folder.begin(key, record.requested(str(request.transaction_id), now, begun), waiting)

    def _resume(self, request: PreparedRequest) -> Issued | None:
        """Ask for what was begun.

        Returns:
            What was issued; None when the CA does not say, because it does not do CertPoll.

        Raises:
            RequestRefused: the CA refused it, knows nothing of it, or did not take the question.
        """
        with exchange.about(request.transaction_id), self._key_stays():
            try:
                return self._client.resume(self._ca, request, following=self._following)
            except TransportError as error:
                if error.status is None or flow.is_busy(error):
                    raise
                return None
            except BadReply as error:
                # What was read was read with the right challenge.
                if isinstance(error, UnverifiedCertificate) or keys.can_decrypt(request.signer.key):
                    raise
                raise BadReply(error.message, hint=_FIRST_CHALLENGE) from error

    def _send(self, request: PreparedRequest) -> Issued:
        """Send a request, and keep its key or forget it.

        What the CA says of this message may say nothing of the request that was begun: that comes
        back.
        """
        try:
            with exchange.about(request.transaction_id), self._key_stays():
                self._tell(RequestPrepared(request))
                return self._client.submit(
                    self._ca, request, message_type=self._message_type, following=self._following
                )
        except RequestRefused as error:
            is_over = error.failure.fail_info not in _ABOUT_THE_MESSAGE
            if self._begun is None or (is_over and _is_of(self._begun[1], request)):
                self._folder.give_up()
            else:
                self._folder.begin(*self._begun, self._waiting)
                self._tell(RequestStays(self._begun[1].transaction_id, self._folder.unfinished))
            raise

    @contextmanager
    def _key_stays(self) -> Iterator[None]:
        """Say that the key stays, unless the CA has said no; keep what cannot be verified."""
        try:
            yield
        except RequestRefused:
            raise
        except BaseException as error:
            # The CA may issue the certificate yet, or have issued it already.
            self._tell(KeyStays(self._folder.unfinished))
            if isinstance(error, UnverifiedCertificate):
                raise self._unverified(error) from error
            raise

    def _unverified(self, error: UnverifiedCertificate) -> UnverifiedCertificate:
        """Keep what the CA gave, for a person to look at: the challenge behind it may be spent."""
        path = self._folder.keep_unverified(error.certificates)
        look = f"look at it: openssl x509 -in {path} -noout -text; and show it to the CA's operator"
        return UnverifiedCertificate(
            f"{error.message}; nothing is installed, and what the CA gave is kept in {path}",
            hint=f"{error.hint}; {look}" if error.hint else look,
            certificates=error.certificates,
        )


def change_outputs(folder: Folder, record: Record, tell: Tell) -> None:
    """Write further files that are named anew, unless they come with a certificate.

    Args:
        folder: the directory, locked.
        record: with the further files that are wanted.
        tell: takes the event.
    """
    # Of what another program enrolled there is none.
    kept = folder.record() or replace(record, outputs=Outputs())
    if kept.outputs == record.outputs or folder.unfinished.exists():
        return
    folder.change_outputs(replace(kept, outputs=record.outputs))
    before, now = {*kept.outputs.paths.values()}, {*record.outputs.paths.values()}
    tell(OutputsChanged(tuple(sorted(now)), tuple(sorted(before - now))))


def warn_of_exposed(folder: Folder, outputs: Outputs, tell: Tell) -> None:
    """Tell of each directory of a further file in which others can replace it.

    Args:
        folder: of the device; its own directory is not looked at.
        outputs: the further files.
        tell: takes the events.
    """
    directories = {path.parent for path in outputs.paths.values()} - {folder.path.absolute()}
    for one in sorted(directories):
        exposed = place.writable_by_others(one)
        if exposed is not None:
            tell(OthersCanWrite(one, exposed))


def warn_unless_readable(signing: PrivateKey, challenge: str | None, tell: Tell) -> None:
    """Tell of a reply that may not be possible (RFC 8894 section 3.1).

    Args:
        signing: the key that signs the request, and that the reply is encrypted to.
        challenge: the challengePassword.
        tell: takes the event.
    """
    if challenge is None and not keys.can_decrypt(signing):
        tell(ReplyUnlikely(keys.kind(signing)))


def _is_of(begun: Record, request: PreparedRequest) -> bool:
    """Say whether the request that was begun and this one are the same transaction."""
    return begun.transaction_id == str(request.transaction_id)


def _is_wanted(key: PrivateKey, wanted: str | PrivateKey) -> bool:
    """Say whether a key is of a kind, or the same as another one."""
    if isinstance(wanted, str):
        return keys.kind(key) == wanted
    return keys.spki(key) == keys.spki(wanted)
