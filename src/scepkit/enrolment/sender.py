"""The sender of a PKCSReq or RenewalReq: the key that signed it, and its rights.

Anybody can take a captured envelope and sign it anew (checklist P-55). So all of this is decided
before anything inside the PKCS#10 but its key is looked at, and it says whether the sender may be
told what is wrong in there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scepkit.ca.authority import Authority
from scepkit.enrolment import renewal
from scepkit.enrolment.issuers import Issuers
from scepkit.enrolment.renewal import Renewed
from scepkit.enrolment.rules import RenewalRules, Rules
from scepkit.errors import BadRequest, FailInfoError
from scepkit.protocol.cms.enveloped import undecryptable
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.scep.attributes import MessageType
from scepkit.protocol.scep.pkimessage import PKIMessage, VerifiedMessage
from scepkit.store import Store


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of a request for a certificate.

    Attributes:
        is_own: whether the key that is to be certified signed the pkiMessage as well.
        renewed: the certificate that signed, where it is one that may be renewed.
        failure: why the certificate that signed may not be renewed, where it is not a first one.
    """

    is_own: bool
    renewed: Renewed | None = None
    failure: FailInfoError | None = None

    @property
    def may_be_told(self) -> bool:
        """Say whether the sender may read what is wrong inside the PKCS#10.

        The same key signed both, or a stored, unrevoked certificate of ours signed a renewal.
        """
        return self.is_own or (self.renewed is not None and self.renewed.serial is not None)

    def told(self, error: FailInfoError) -> FailInfoError:
        """Return the answer to an error inside the PKCS#10."""
        if self.may_be_told:
            return error
        if self.renewed is not None:
            # What a request with other names gets: the one good answer that a stranger could see.
            return renewal.other_subject(error.message)
        return undecryptable(error.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """Identifies the senders of requests to one endpoint. Threads may share it.

    Attributes:
        endpoint: the endpoint's name in the store.
        issuers: its CAs.
        rules: what it allows.
        store: where issued certificates are.
    """

    endpoint: str
    issuers: Issuers
    rules: Rules
    store: Store

    def identify(
        self,
        received: PKIMessage,
        verified: VerifiedMessage,
        csr: CertificationRequest,
        now: datetime,
    ) -> Sender:
        """Return the sender of a request, and refuse one that has no right at all.

        Args:
            received: the message, whose certificates may hold the signer's chain.
            verified: the same, verified.
            csr: the PKCS#10 in there.
            now: an aware datetime.

        Raises:
            FailInfoError: the request is refused whatever is in it.
            StoreError: the database cannot answer.
        """
        is_own = csr.key_hash == verified.certificate.key_hash
        rules, signer = self.rules.renewal, self.issuers.issuer_of(verified.certificate)
        is_renewal = verified.message_type is MessageType.RENEWAL_REQ
        if rules is None and is_renewal:
            raise BadRequest("this server does not renew certificates")
        if rules is None or not (is_renewal or signer is not None):
            return self._first(is_own, None)
        try:
            renewed = self._renewed(received, verified, signer, rules, now)
        except FailInfoError as error:
            if is_renewal or isinstance(error, renewal.Revoked):
                raise
            return self._first(is_own, error)
        return Sender(is_own, renewed)

    def _first(self, is_own: bool, failure: FailInfoError | None) -> Sender:  # noqa: FBT001
        """Return the sender of what can only be a first enrolment.

        A captured envelope signed anew by a stranger must not get the stranger a certificate, nor
        burn the challenge in it (checklist P-55).
        """
        if not is_own and not self.rules.separate_keys:
            raise failure or other_key()
        return Sender(is_own, failure=failure)

    def _renewed(
        self,
        received: PKIMessage,
        verified: VerifiedMessage,
        signer: Authority | None,
        rules: RenewalRules,
        now: datetime,
    ) -> Renewed:
        if signer is not None:
            return renewal.stored(verified, signer, self.store, self.endpoint)
        if not rules.anchors:
            raise renewal.unknown()
        embedded = received.signed.certificates
        return renewal.foreign(verified, embedded, rules.anchors, self.store, now)


def other_key() -> BadRequest:
    """Return the refusal for a first enrolment that another key signed."""
    return BadRequest("the request was signed by another key than it is for")
