"""The life of requests and certificates against a model: approval, expiry, renewal, revocation."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import keys
from enrolment import devices
from enrolment.test_endpoint import OTHER_KEY
from enrolment.test_retrieval import NAME
from enrolment.world import World
from scepkit.enrolment.challenges import NoChallenge
from scepkit.enrolment.rules import Rules
from scepkit.protocol.scep.messages import Pending, Success
from scepkit.store import Recorded

SIGNERS = st.sampled_from(["device", "stranger"])
TRANSACTIONS = st.sampled_from("abc")
LIFETIME = timedelta(days=7)
REVOKED = ("badRequest", "the certificate that signed was revoked")
UNKNOWN = ("badCertId", "no request with this transactionID is known")


@dataclass
class Waiting:
    """What the model knows of one request."""

    until: datetime
    status: str = "pending"
    certificate: bytes = b""

    def at(self, now: datetime) -> str:
        return "expired" if self.status == "pending" and self.until <= now else self.status


@dataclass(frozen=True)
class Message:
    """A request as it was sent, and whose certificate, if any, signed it."""

    transaction: str
    signer: str
    subject: str
    bytes: bytes = field(repr=False, compare=False)
    renews: bytes = field(default=b"", repr=False)


class LifecycleMachine(RuleBasedStateMachine):
    """The model: what each request became, who owns which transactionID, what was revoked."""

    empty_database: Path
    messages = Bundle("messages")
    issued = Bundle("issued")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="scep-model-"))
        rules = Rules(approval=True, pending_lifetime=LIFETIME, retrievals_per_minute=10_000)
        self.world = World(self.directory, self.empty_database, rules)
        self.world.use(rule=NoChallenge())
        self.requests: dict[Message, Waiting] = {}
        self.owner: dict[str, str] = {}
        self.newest: dict[str, Message] = {}
        self.revoked: set[int] = set()

    def teardown(self) -> None:
        self.world.store.close()
        shutil.rmtree(self.directory)

    def matches(self, reply, message: Message) -> None:
        """Compare an answer with what the model knows of its request."""
        waiting = self.requests[message]
        match waiting.at(self.world.now):
            case "pending":
                assert isinstance(reply.rep, Pending)
            case "issued":
                assert reply.certificate == waiting.certificate
            case "rejected":
                assert reply.refusal == ("badRequest", "no")
            case "expired":
                assert reply.refusal[0] == "badRequest"

    def took(self, message: Message, waiting: Waiting) -> None:
        self.requests[message] = waiting
        self.owner[message.transaction] = message.signer
        self.newest[message.transaction] = message

    def send(self, message: Message) -> None:
        reply = self.world.ask(message.bytes, keys.device(message.signer))
        if self.owner.get(message.transaction, message.signer) != message.signer:
            assert reply.refusal == OTHER_KEY
        elif message in self.requests:
            self.matches(reply, message)
        else:
            assert isinstance(reply.rep, Pending)
            self.took(message, Waiting(self.world.now + LIFETIME))

    @rule(
        target=messages,
        transaction=TRANSACTIONS,
        signer=SIGNERS,
        subject=st.sampled_from(["CN=one", "CN=two"]),
    )
    def enrol(self, transaction, signer, subject):
        written = devices.pkcs_req(
            to=self.world.ra,
            signer=keys.device(signer),
            subject=subject,
            transaction_id=transaction,
        )
        message = Message(transaction, signer, subject, written)
        self.send(message)
        return message

    @rule(message=messages)
    def resend(self, message):
        """The reply was lost."""
        self.send(message)

    @rule(transaction=TRANSACTIONS, signer=SIGNERS)
    def poll(self, transaction, signer):
        reply = self.world.poll(transaction_id=transaction, signer=keys.device(signer))
        if transaction not in self.owner:
            assert reply.refusal == UNKNOWN
        elif self.owner[transaction] != signer:
            assert reply.refusal == OTHER_KEY
        else:
            self.matches(reply, self.newest[transaction])

    def row(self, message: Message):
        """Find a request in the queue, decided or not; None for one that was never stored."""
        key = keys.device(message.signer).certificate.key_hash
        outcome = self.world.store.poll("default", message.transaction.encode(), key)
        return getattr(outcome, "request_id", None)

    @rule(target=issued, transaction=TRANSACTIONS)
    def approve(self, transaction):
        if transaction not in self.newest:
            return multiple()
        message = self.newest[transaction]
        waiting = self.requests[message]
        status = waiting.at(self.world.now)
        answer = self.world.approval.approve(self.row(message), by="model", now=self.world.now)
        if status != "pending":
            assert answer.outcome.status == status
            return multiple()
        assert isinstance(answer, Recorded)
        waiting.status, waiting.certificate = "issued", answer.outcome.certificate
        return message.signer, message.subject, waiting.certificate

    @rule(transaction=TRANSACTIONS)
    def reject(self, transaction):
        if transaction not in self.newest:
            return
        message = self.newest[transaction]
        waiting = self.requests[message]
        status = waiting.at(self.world.now)
        stands = self.world.approval.reject(
            self.row(message), reason="no", by="model", now=self.world.now
        )
        if status == "pending":
            waiting.status = "rejected"
        assert stands.status == ("rejected" if status == "pending" else status)

    @rule(target=issued, held=issued, transaction=TRANSACTIONS, kind=st.sampled_from([17, 19]))
    def renew(self, held, transaction, kind):
        signer, subject, certificate = held
        loaded = x509.load_der_x509_certificate(certificate)
        holder = keys.Holder(keys.device(signer).key, loaded)
        written = devices.renewal_req(
            to=self.world.ra,
            signer=holder,
            subject=subject,
            transaction_id=transaction,
            kind=kind,
        )
        message = Message(transaction, signer, f"{subject} {kind}", written, certificate)
        reply = self.world.ask(written, holder)
        if loaded.serial_number in self.revoked:
            assert reply.refusal == REVOKED
            return multiple()
        if self.owner.get(transaction, signer) != signer:
            assert reply.refusal == OTHER_KEY
            return multiple()
        if message in self.requests:
            self.matches(reply, message)
            return multiple()
        assert isinstance(reply.rep, Success)
        known = {waiting.certificate for waiting in self.requests.values()}
        assert reply.certificate not in known
        self.took(message, Waiting(self.world.now, "issued", reply.certificate))
        return signer, subject, reply.certificate

    @rule(held=issued)
    def revoke(self, held):
        serial = x509.load_der_x509_certificate(held[2]).serial_number
        change = self.world.store.revoke(serial, reason=1, by="model", now=self.world.now)
        assert change.certificate.revoked_at is not None
        self.revoked.add(serial)

    @rule(held=consumes(issued))
    def get_cert(self, held):
        signer, _, certificate = held
        serial = x509.load_der_x509_certificate(certificate).serial_number
        for other in ("device", "stranger"):
            reply = self.world.ask(
                devices.get_cert(
                    to=self.world.ra, signer=keys.device(other), serial=serial, issuer=NAME
                ),
                keys.device(other),
            )
            assert isinstance(reply.rep, Success) is (other == signer)

    @rule(hours=st.integers(1, 120))
    def wait(self, hours):
        self.world.now += timedelta(hours=hours)

    @rule()
    def sweep(self):
        """The background task runs."""
        self.world.store.expire(self.world.now)

    @rule()
    def restart(self):
        self.world.restart()

    @rule()
    def crl(self):
        # Who asks sooner gets the last one again.
        self.world.now += timedelta(seconds=5)
        reply = self.world.ask(devices.get_crl(to=self.world.ra, issuer=NAME))
        (der,) = reply.rep.crls
        assert {one.serial_number for one in x509.load_der_x509_crl(der)} == self.revoked

    @invariant()
    def nothing_else_was_issued(self):
        known = [one for one in self.requests.values() if one.status == "issued"]
        assert self.world.issued == len(known)


@pytest.mark.rfc("P-43", "P-45", "P-46", "P-47", "P-48", "P-57", "S-2.5-6")
def test_model(empty_database):
    """Approvals, expiry, renewals, revocations, lost replies and restarts: as the model says."""
    LifecycleMachine.empty_database = empty_database
    examples = settings.default.max_examples // 2
    run_state_machine_as_test(
        LifecycleMachine, settings=settings(max_examples=examples, stateful_step_count=30)
    )
