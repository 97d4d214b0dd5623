"""One-time challenges: each lets its holder get the one certificate that it stands for.

One may also be made for several certificates: then each costs a use, and it is spent with the last.

A challenge is 160 random bits, where nothing less is ordered, so a keyed digest is enough to store
it (RFC 8894 section 7.3): the server's key and its database together let nobody guess.
Until it is spent it can be voided: to the device it is then like any other that is not right, and
the log says who voided it.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from scepkit.enrolment import binding
from scepkit.enrolment.challenges import MAX_LENGTH, missing, refused
from scepkit.enrolment.challenges.orders import ChallengeOrder, SecretForm
from scepkit.errors import BadRequest
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.store import Challenge, Door, NewChallenge, Store

KEY_SIZE = 32
_SECRET_SIZE = 20
# No challengePassword that is looked for has the same digest as a seed.
_DERIVED = b"\x00derived\x00"

FORM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
"""The characters of a challenge that is made here: base32."""

SECRET_LENGTH = 32
"""Their number."""


@dataclass(frozen=True, slots=True)
class OneTimeChallenges:
    """Makes and judges the one-time challenges of an endpoint. Threads may share it.

    Attributes:
        store: where they are.
        endpoint: the endpoint that accepts them.
        key: 32 secret octets that key the stored digests.
        max_pending: the most of them that may be neither spent, void nor expired, by the door that
            they are asked for at; where none is said there is no bound.
    """

    max_length: ClassVar[int] = MAX_LENGTH
    store: Store
    endpoint: str
    key: bytes = field(repr=False)
    max_pending: Mapping[Door, int] = field(default_factory=dict)
    # With nothing but the key in it, which is hashed once: it is copied for each digest.
    _keyed: hmac.HMAC = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keyed", hmac.new(self.key, digestmod="sha256"))

    def draw(
        self,
        order: ChallengeOrder,
        now: datetime,
        door: Door = Door.COMMAND_LINE,
        secret: str = "",
    ) -> tuple[str, NewChallenge]:
        """Make a challenge that is not stored yet.

        Args:
            order: what is wanted.
            door: the way by which it is asked for.
            now: an aware datetime.
            secret: what `derived` returned; "" for a random one.

        Returns:
            The secret: characters that every device can send (PrintableString); and what is kept of
            it.
        """
        secret = secret or _random(order.form)
        return secret, NewChallenge(
            endpoint=self.endpoint,
            mac=self.mac(secret),
            created_at=now,
            expires_at=now + order.lifetime,
            subject=order.subject,
            sans=order.sans,
            label=order.label,
            data=order.data,
            uses=order.uses,
            door=door,
        )

    def derived(self, seed: bytes) -> str:
        """Return the secret of a seed: whoever has the seed and not the key cannot work it out.

        Args:
            seed: secret octets, never the same for two challenges.
        """
        octets = self._digest(_DERIVED + seed)[:_SECRET_SIZE]
        return base64.b32encode(octets).decode("ascii")

    def judge(self, request: CertificationRequest, now: datetime) -> Challenge:
        """Return the challenge that entitles a request to its certificate.

        Raises:
            BadRequest: there is none; the same text whatever the reason.
            StoreError: the database cannot answer.
        """
        if request.challenge_password is None:
            raise missing(request)
        challenge = self.store.find_challenge(self.endpoint, self.mac(request.challenge_password))
        if challenge is None:
            raise refused("unknown challenge")
        if challenge.spent_at is not None:
            # A breach indicator: somebody else may have read it (RFC 8894 section 7.3).
            raise refused(f"challenge {challenge.id} was spent at {challenge.spent_at}")
        if challenge.voided_at is not None:
            raise refused(
                f"challenge {challenge.id} was voided at {challenge.voided_at} "
                f"by {challenge.voided_by}"
                + (f": {challenge.void_reason}" if challenge.void_reason else "")
            )
        if challenge.expires_at <= now:
            raise refused(f"challenge {challenge.id} expired at {challenge.expires_at}")
        if challenge.subject is not None:
            # Else its holder could be anyone (checklist P-58).
            fault = binding.fault(request, Name.parse(challenge.subject), challenge.sans)
            if fault:
                raise refused(f"challenge {challenge.id} is {fault}")
        return challenge

    def confirm(
        self, request: CertificationRequest, now: datetime, renewed: Name
    ) -> Challenge | None:
        """Judge the challenge that a renewal need not have, but has (checklist P-32).

        The one that the first certificate was issued for is right for ever (RFC 8894 section 2.4);
        any other has to be good for a certificate by itself.

        Args:
            request: a PKCS#10 with a challengePassword.
            now: an aware datetime.
            renewed: the subject of the certificate that signed the renewal.

        Returns:
            The challenge to spend; None when it was used for this device before.

        Raises:
            BadRequest: it is not right; the same text whatever the reason.
            StoreError: the database cannot answer.
        """
        secret = self.mac(request.challenge_password or "")
        challenge = self.store.find_challenge(self.endpoint, secret)
        if challenge is not None and challenge.uses > 1:
            was_here = self.store.was_used_for(challenge.id, renewed.digest)
            return None if was_here else self.judge(request, now)
        if challenge is None or challenge.spent_serial is None:
            return self.judge(request, now)
        first = self.store.certificate(challenge.spent_serial)
        if first is None or not _subject(first.der).matches(renewed):
            raise refused(f"challenge {challenge.id} was spent by somebody else")
        return None

    def password(self, transaction_id: bytes) -> str | None:  # noqa: ARG002
        """Name the password of a password-encrypted request: one of many, so none (P-26)."""
        return None

    def mac(self, secret: str) -> bytes:
        """Return the keyed digest of a secret, by which its challenge is found."""
        return self._digest(secret.encode("utf-8", "surrogatepass"))

    def _digest(self, octets: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(octets)
        return keyed.digest()


def _random(form: SecretForm) -> str:
    match form:
        case SecretForm.BASE32:
            return base64.b32encode(secrets.token_bytes(_SECRET_SIZE)).decode()
        case SecretForm.HEX16:
            return secrets.token_hex(8).upper()
        case SecretForm.HEX32:
            return secrets.token_hex(16).upper()


def refused_as_spent() -> BadRequest:
    """Return the refusal for a challenge that was spent, or voided, in the meantime."""
    return refused("the challenge was spent by another request, or voided, at the same time")


def _subject(der: bytes) -> Name:
    return Certificate.read(der).subject_name
