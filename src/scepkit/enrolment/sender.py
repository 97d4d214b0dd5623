"""The sender of a request for a certificate: the key that signed it, and its rights.

Anybody can take a captured envelope and sign it anew (checklist P-55). So all of this is decided
before anything inside the PKCS#10 but its key is looked at, and it says whether the sender may be
told what is wrong in there.

Nothing that a certificate says of itself is believed: its signature is verified to a CA of this
endpoint, and it has to be, byte for byte, one that was stored when it was issued (checklist P-57).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from scepkit.ca.authority import Authority
from scepkit.enrolment.issuers import Issuers, stored_certificate
from scepkit.enrolment.rules import RenewalRules, Rules
from scepkit.errors import BadReply, BadRequest, FailInfoError, Malformed
from scepkit.protocol import chain
from scepkit.protocol.algorithms import RSA_KEY, Digest
from scepkit.protocol.certificate import Certificate, dated
from scepkit.protocol.cms.enveloped import undecryptable
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.general_name import GeneralName
from scepkit.protocol.value import once, value
from scepkit.store import CertificateKey, Store


@dataclass(frozen=True)
class RenewedCertificate:
    """A certificate that the holder of its key may renew.

    Attributes:
        certificate: the certificate.
        key: the name under which it is stored; None for another CA's.
        began: when the first certificate of its renewal chain was issued; None for another CA's.
    """

    certificate: Certificate
    key: CertificateKey | None
    began: datetime | None = None

    @property
    def serial(self) -> int | None:
        """Return the serial number under which it is stored."""
        return None if self.key is None else self.key.serial

    @property
    def asserts_key_agreement(self) -> bool:
        """Say whether it is a stored certificate of ours whose keyUsage has keyAgreement.

        An RSA key cannot do it, whatever its certificate says, which is not read then.
        """
        if self.key is None or isinstance(self.certificate.public_key, RSA_KEY):
            return False
        return self.certificate.asserts_key_agreement

    @once
    def names(self) -> tuple[GeneralName, ...]:
        """Return its subject alternative names; where they cannot be read, none."""
        try:
            return self.certificate.alternative_names
        except Malformed:
            return ()


class RevokedSigner(BadRequest):
    """The signer's certificate is revoked: it entitles to nothing."""


@value()
class Sender:
    """The sender of a request for a certificate.

    Attributes:
        certificate: the certificate whose key signed the message.
        digest: what that signature is over.
        is_own: whether the key that is to be certified signed the message as well.
        renewed: the certificate that signed, where it is one that may be renewed.
        failure: why the certificate that signed may not be renewed, where it is not a first one.
    """

    certificate: Certificate
    digest: Digest
    is_own: bool
    renewed: RenewedCertificate | None = None
    failure: FailInfoError | None = None

    @property
    def may_be_told(self) -> bool:
        """Say whether the sender may read what is wrong inside the PKCS#10.

        The same key signed both, or a stored, unrevoked certificate of ours signed a renewal.
        """
        return self.is_own or (self.renewed is not None and self.renewed.key is not None)

    def told(self, error: FailInfoError) -> FailInfoError:
        """Return the answer to an error inside the PKCS#10."""
        if self.may_be_told:
            return error
        told: FailInfoError
        if self.renewed is not None:
            # What a request with other names gets: the one good answer that a stranger could see.
            told = other_subject(error.message)
        else:
            told = undecryptable(error.message)
        # The operator has all of it.
        told.rule, told.attribute, told.length = error.rule, error.attribute, error.length
        return told


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
        certificate: Certificate,
        digest: Digest,
        csr: CertificationRequest,
        *,
        is_renewal: bool,
        embedded: Sequence[bytes],
        now: datetime,
    ) -> Sender:
        """Return the sender of a request, and refuse one that has no right at all.

        Args:
            certificate: whose key signed the message.
            digest: what that signature is over.
            csr: the PKCS#10 in there.
            is_renewal: whether it says that it renews that certificate.
            embedded: the certificates that came with it, DER; the signer's chain may be among them.
            now: an aware datetime.

        Raises:
            FailInfoError: the request is refused whatever is in it.
            StoreError: the database cannot answer.
        """
        is_own = csr.key_hash == certificate.key_hash
        rules, authority = self.rules.renewal, self.issuers.issuer_of(certificate)
        if rules is None and is_renewal:
            raise BadRequest("this server does not renew certificates", rule="renewal")
        renewed: RenewedCertificate | None = None
        failure: FailInfoError | None = None
        if rules is not None and (is_renewal or authority is not None):
            try:
                if authority is None:
                    renewed = self._foreign(certificate, embedded, rules, now)
                else:
                    renewed = self._stored(certificate, authority)
            except FailInfoError as error:
                if is_renewal or isinstance(error, RevokedSigner):
                    raise
                failure = error
        if renewed is None and not is_own and not self.rules.separate_keys:
            # It can only be a first enrolment. A captured envelope signed anew by a stranger must
            # not get the stranger a certificate, nor burn the challenge in it (checklist P-55).
            raise failure or other_key()
        return Sender(certificate, digest, is_own, renewed, failure)

    def _stored(self, signer: Certificate, authority: Authority) -> RenewedCertificate:
        """Find the certificate that signed a request among those that this endpoint issued.

        Raises:
            RevokedSigner: it was revoked.
            BadRequest: it was not issued by this endpoint.
            StoreError: the database cannot answer.
        """
        row = stored_certificate(signer, authority, self.store)
        if row is None:
            raise BadRequest(
                "the certificate that signed is not one that this CA has stored",
                hint="was the database restored from an old backup?",
                rule="renewal",
            )
        if row.endpoint != self.endpoint:
            raise BadRequest(
                f"the certificate that signed was issued by the endpoint {row.endpoint}",
                text="the certificate that signed was issued elsewhere",
                rule="renewal",
            )
        if row.revoked_at is not None:
            raise revoked()
        return RenewedCertificate(signer, row.key, row.chain_began or row.issued_at)

    def _foreign(
        self,
        signer: Certificate,
        embedded: Sequence[bytes],
        rules: RenewalRules,
        now: datetime,
    ) -> RenewedCertificate:
        """Accept a certificate of another CA that the operator named (RFC 8894 2.3, case 3).

        Whether that CA has revoked it is not known here, unless this server holds that CA as well.

        Raises:
            RevokedSigner: it was revoked here.
            BadRequest: it chains to none of them (S-2.4-6).
            StoreError: the database cannot answer.
        """
        pool = list(dated(embedded)) if rules.anchors else []
        reasons: dict[str, None] = {}
        for anchor in rules.anchors:
            try:
                way = chain.build(signer, pool, anchor, now, chain.AUTHENTICATION)
            except BadReply as error:
                reasons[error.message] = None
                continue
            issuer = way[min(1, len(way) - 1)]
            row = self.store.find_certificate(issuer.key_hash, signer.serial)
            if row is not None and row.revoked_at is not None:
                raise revoked()
            return RenewedCertificate(signer, None)
        said = "a RenewalReq has to be signed with a certificate of this CA"
        raise BadRequest(
            f"{said} ({'; '.join(reasons)})" if reasons else said,
            text=said,
            hint="a device without one enrols with a PKCSReq",
            rule="renewal",
        )


def revoked() -> RevokedSigner:
    """Return the refusal for a certificate that was revoked, before or in the meantime."""
    return RevokedSigner("the certificate that signed was revoked", rule="revoked")


def other_key() -> BadRequest:
    """Return the refusal for a first enrolment that another key signed."""
    said = "the request was signed by another key than it is for"
    return BadRequest(said, rule="signer", attribute="key")


def other_subject(reason: str) -> BadRequest:
    """Return the refusal for a renewal under another subject.

    Args:
        reason: for the log only.
    """
    return BadRequest(
        reason,
        text="a renewal has to be for the subject of the certificate that signed it",
        rule="renewal.new_names",
        attribute="subject",
    )
