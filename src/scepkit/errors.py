"""Every exception that scepkit raises on purpose.

The first question about a failure is whose it is, so the tree splits there:

    ScepError
    ├── Local                  this side: arguments, settings, files, trust decisions
    │   ├── UsageError         called in a way that cannot work
    │   ├── TooManyPending     as many challenges as may be wait to be spent
    │   ├── SettingsError      a file, a directory or a setting that cannot be used
    │   ├── StoreError         the database cannot be used
    │   │   ├── NewerDatabase  written by a newer scepkit
    │   │   └── EmptyDatabase  nothing is in it, where something was
    │   ├── ThirdPartyFailed   a service outside gave no answer; worth trying again
    │   ├── UntrustedCA        the CA certificate is not (yet) one that the operator trusts
    │   ├── LegacyRefused      the peer needs an algorithm that was not allowed by name
    │   ├── CertificateRevoked the certificate that is to be renewed was revoked
    │   └── ReloadRefused      a server keeps its settings, or there is none to read them again
    └── Remote                 the peer: what it sent, or that it sent nothing
        ├── Malformed          bytes that are not the structure they should be; HTTP 400
        ├── HTTPRefused        an HTTP request that no SCEP answer can be given to
        │   └── BoundReached   as much as may be is asked for, or held, already
        ├── BadReply           a reply that must not be believed (client)
        ├── TransportError     no usable HTTP answer; worth trying again
        │   └── NoSuccessor    the CA has no next CA, as is usual; no sooner worth asking again
        ├── RequestRefused     the server answered FAILURE (client)
        ├── StillPending       the limits of polling were reached; worth asking again later
        └── FailInfoError      one class for each failInfo of RFC 8894 section 3.2.1.4
            ├── BadAlg
            ├── BadMessageCheck
            ├── BadRequest
            ├── BadTime
            └── BadCertId

Nothing in a message is secret: no key, no challengePassword.
A `hint` says what to do next; where that is to use something that each interface calls otherwise,
it is one of `Hint`.
Each can be copied and pickled with all that it carries.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import ClassVar, Protocol


class FailInfo(IntEnum):
    """The failInfo of a FAILURE (RFC 8894 section 3.2.1.4)."""

    badAlg = 0
    badMessageCheck = 1
    badRequest = 2
    badTime = 3
    badCertId = 4


WELL_FORMED = "well-formed"
"""The rule that what stands in a certificate is as RFC 5280 has it, whatever the profile says."""


class Hint(StrEnum):
    """The hints for which an interface has words of its own, such as the name of an option.

    The value is the hint for everybody else.
    """

    # To an operator.
    MAKE_CA = "is it the right directory? The first start of a server makes a new CA"
    PREPARE_CA = "prepare a next CA"
    NOTHING_TO_CANCEL = "there is nothing to give up"
    END_ROLLOVER = "put it into force, or give it up"
    WAITING_REQUESTS = "look at the list of waiting requests"
    CHALLENGES = "look at the list of challenges; nothing was changed"
    SERIAL_NUMBER = "it is hex"
    ISSUER = "say which CA, by the first digits of the SHA-256 of its public key"
    EARLY_RENEWALS = "look at the list of calls for early renewals; nothing was changed"
    CERTIFICATES = "look at the list of certificates; nothing was changed"
    TOKENS = "give the number or the prefix of one in the list of tokens; nothing was changed"
    DELIVERIES = "give more of the id of one in the list of deliveries"
    CHOSEN_DELIVERIES = "by their ids, or all that were given up"
    NDES_ACCOUNT = "look at the list of NDES accounts"
    KNOWN_NDES_ACCOUNT = "have its password replaced"
    OWN_CERTIFICATES = "look at the list of the server's certificates"
    MAKE_RA = "so it needs an RA: make one, or restore ra.pem and ra-key.pem beside it"
    REQUEST_CA = "make a PKCS#10 for it, and install the certificate that comes back"
    CA_REQUEST_WAITS = "install its certificate, or give the request up"
    KEY_PROTECTION = (
        "tell the server what the CA's keys were encrypted under, and have it read its settings "
        "again"
    )
    # To a device's owner.
    FINGERPRINT = "give sha256: and 64 hex digits"
    REPLACED_CA = "the CA may have been replaced; ask its operator for the new one's fingerprint"
    OPERATOR_KNOWS = "the CA's operator, or its log, can say more; asking again is a new request"
    NO_DIRECTORY = "check its name, or get a first certificate"
    FIRST_CERTIFICATE = "get a first one"
    NEW_CERTIFICATE = "get a new one"
    NAME_SERVER = "name the server"
    KEY_OF_REQUEST = "give its key, too"
    NAME_PURPOSES = "correct it, or say what to ask for from now on"
    NEXT_CA_IN_FORCE = "renew with it, as ever"
    OCCUPIED = "choose another directory, renew the certificate, or replace it"
    OCCUPIED_BY_KEY = "choose another directory, or replace the key"
    DAMAGED_RECORD = "remove it, and name the server again"
    DAMAGED_REQUEST = "remove it, and send a request again"
    REQUEST_LOST = "send the request again, with the challenge"
    NO_FLEET = "name the directory in which the fleet was begun"
    TLS_CA_FILE = "name the PEM file of the CA behind the server's TLS certificate"
    TLS_FAILED = (
        "does the server speak HTTPS at this port? If not, the URL starts with http://. It may "
        "also want to see a TLS client certificate"
    )
    UNTRUSTED_TLS = "trust the CA that issued it, or check the host name in the URL"
    PROXY = "check the proxy, and http_proxy, https_proxy and no_proxy in the environment"
    SLOW = "allow it more time, if the network is slow"
    NO_ANSWER = "check the URL and the firewalls on the way, or allow it more time"
    CMP_UNKNOWN = "name its URL, such as http://ca.example/cmp/default"
    CMP_UNRECORDED = "name the URL of its CA's CMP service"
    CMP_NOT_FOUND = "name the right URL; the CA may not offer CMP at all: then ask its operator"
    CMP_URL = "check the URL of the CMP service"


class ScepError(Exception):
    """The root: never raised itself.

    Args:
        message: what went wrong, one line, no secrets.
        hint: what to do next, for a human.

    Attributes:
        transaction_id: under which the CA knows the request that this is about (RFC 8894 section
            3.2.1.1); "" where it is about none.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.transaction_id = ""

    def __reduce__(self) -> tuple[object, ...]:
        """Keep what the arguments of each class do not: Python would call it with the message."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[ScepError], arguments: tuple[object, ...], state: dict[str, object]
) -> ScepError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class Local(ScepError):
    """Something on this side has to change before it can work."""


class UsageError(Local):
    """The call cannot work as it was written."""


class TooManyPending(Local):
    """As many challenges as an endpoint allows are neither spent, void nor expired; none was made.

    Args:
        message: which ones.
        hint: what to do next.
        pending: how many there are.
        most: how many there may be.
    """

    def __init__(self, message: str, *, hint: str = "", pending: int = 0, most: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.pending = pending
        self.most = most


class SettingsError(Local):
    """A file, a directory or a setting cannot be used."""


class DirectoryBusy(SettingsError):
    """Another process is at work in a device's directory."""


class StoreError(Local):
    """The database cannot be used."""


class NewerDatabase(StoreError):
    """The database was written by a newer scepkit than this one."""


class EmptyDatabase(StoreError):
    """The database is empty, or not there, though one was in use before."""


class ThirdPartyFailed(Local):
    """A service outside that has a word on a certificate failed or gave no answer in time."""


class UntrustedCA(Local):
    """The CA's certificate is not one that the operator said to trust (RFC 8894 section 2.2)."""


class LegacyRefused(Local):
    """The peer can only do algorithms that nobody allowed by name (RFC 8894 section 2.9).

    Args:
        message: what went wrong.
        hint: what to do next.
        names: all names that have to be allowed for it, those that were already among them; none
            where that would not help.
    """

    def __init__(self, message: str, *, hint: str = "", names: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.names = names


class CertificateRevoked(Local):
    """The certificate that is to be renewed was revoked, for good or for a while."""


class ReloadRefused(Local):
    """A running server keeps its settings, or no server runs that could read them again."""


class Remote(ScepError):
    """The peer sent something that cannot be used, or nothing."""


class Malformed(Remote):
    """Bytes that are not the structure they should be; no CertRep can answer them."""


class HTTPRefused(Remote):
    """An HTTP request that no SCEP answer can be given to (RFC 8894 section 4).

    Args:
        status: the HTTP status to answer with.
        message: why, one line; it is the body of the answer.
        allow: the methods for the Allow header of a 405.
    """

    def __init__(self, status: int, message: str, *, allow: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.allow = allow


class BoundReached(HTTPRefused):
    """A bound on requests is reached; FAILURE would make devices give up for good.

    Args:
        status: the HTTP status to answer with: 429 where it is the sender's own share that is used
            up, 503 where it is everybody's.
        message: why, one line; it is the body of the answer.
        bound: its name for log and metrics.
        retry_after: seconds that are to pass before the next attempt.
        hint: what the operator may do.
    """

    def __init__(
        self, status: int, message: str, *, bound: str, retry_after: int, hint: str = ""
    ) -> None:
        super().__init__(status, message)
        self.bound = bound
        self.retry_after = retry_after
        self.hint = hint


class BadReply(Remote):
    """A reply that must not be believed: signature, nonce, transactionID, key or chain.

    Args:
        message: why.
        hint: what to do next.
        final: whether the same question would get no better one, so that it is not asked again.
    """

    def __init__(self, message: str, *, hint: str = "", final: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.final = final


class UnverifiedCertificate(BadReply):
    """A CA's reply that is authentic, with certificates none of which could be verified as ours.

    The challenge behind it may be spent, so they are not thrown away; nor are they trusted.

    Args:
        message: which check failed.
        hint: what to do next.
        certificates: those of the reply, DER; those for the key of the request come first.
    """

    def __init__(self, message: str, *, hint: str = "", certificates: tuple[bytes, ...]) -> None:
        super().__init__(message, hint=hint, final=True)
        self.certificates = certificates


class TransportError(Remote):
    """No usable HTTP answer came.

    Args:
        message: what happened.
        status: the HTTP status, if there was one.
        hint: what to do next.
        retry_after: seconds that the server asks to wait, if it does.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


class NoSuccessor(TransportError):
    """The CA announces no next CA, as most do most of the time (RFC 8894 section 4.7).

    RFC 8894 knows no way to say so but an HTTP error.
    """


class FailureReply(Protocol):
    """A FAILURE as this file needs it; `protocol.messages.Failure` is one."""

    @property
    def fail_info(self) -> FailInfo | None:
        """Return the failInfo; None where the server sent none that RFC 8894 defines."""

    @property
    def text(self) -> str:
        """Return the failInfoText."""

    @property
    def hresult(self) -> str:
        """Return the Windows error code that NDES adds."""


class RequestRefused(Remote):
    """The server answered FAILURE (RFC 8894 section 3.3.2.2).

    Args:
        failure: the reply.
        hint: what to do next.
    """

    def __init__(self, failure: FailureReply, *, hint: str = "") -> None:
        super().__init__(str(failure), hint=hint)
        self.failure = failure

    @property
    def fail_info(self) -> FailInfo | None:
        """Return the failInfo; None where the server sent none that RFC 8894 defines."""
        return self.failure.fail_info

    @property
    def fail_info_text(self) -> str:
        """Return the failInfoText, the server's own words for a human; "" where it sent none."""
        return self.failure.text


class StillPending(Remote):
    """The request waits for approval and the limits of polling were reached."""


class FailInfoError(Remote):
    """A request that is answered with FAILURE (RFC 8894 section 3.2.1.4).

    `fail_info` is the code, `text` what the peer may read (failInfoText) and `message` what the
    operator reads in the log; they differ where the truth would help an attacker.

    Args:
        message: the reason, for the log.
        text: the failInfoText for the peer; the reason itself when empty.
        hint: what to do next, for the operator.
        rule: the rule that is not followed, for the operator: a key of the profile, a setting of
            the endpoint, or the name of a rule that is always there; "" where it has no name.
        attribute: the part of the request that does not follow it, such as `CN` or `dns`.
        length: the length of that, where it is what is wrong, in characters or octets.
    """

    fail_info: ClassVar[FailInfo]

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        hint: str = "",
        rule: str = "",
        attribute: str = "",
        length: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.text = text or message
        self.rule = rule
        self.attribute = attribute
        self.length = length


class BadAlg(FailInfoError):
    """An algorithm is unknown, unsupported or not allowed here.

    Args:
        message: the reason, for the log.
        text: the failInfoText for the peer; the reason itself when empty.
        hint: what to do next, for the operator.
        legacy: the names that would have to be allowed for it, if that is all that is missing.
    """

    fail_info = FailInfo.badAlg

    def __init__(
        self, message: str, *, text: str = "", hint: str = "", legacy: tuple[str, ...] = ()
    ) -> None:
        # The setting that names what is allowed.
        super().__init__(message, text=text, hint=hint, rule="legacy" if legacy else "")
        self.legacy = legacy


class BadMessageCheck(FailInfoError):
    """The integrity check of the CMS message failed."""

    fail_info = FailInfo.badMessageCheck


class BadRequest(FailInfoError):
    """The transaction is not permitted or not supported."""

    fail_info = FailInfo.badRequest


class BadTime(FailInfoError):
    """The signingTime is too far from the server's clock."""

    fail_info = FailInfo.badTime


class BadCertId(FailInfoError):
    """Nothing matches the given criteria."""

    fail_info = FailInfo.badCertId
