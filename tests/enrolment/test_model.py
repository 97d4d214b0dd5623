"""The endpoint against a model of a few lines: whatever happens, in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from enrolment.test_endpoint import OTHER_KEY
from enrolment.world import World

SIGNERS = st.sampled_from(["device", "stranger"])
TRANSACTIONS = st.sampled_from("abc")
SUBJECTS = st.sampled_from(["CN=one", "CN=two"])
UNKNOWN = ("badCertId", "no request with this transactionID is known")


class EndpointMachine(RuleBasedStateMachine):
    """The model: who owns which transaction, what each request got, which challenges are good."""

    empty_database: Path
    secrets = Bundle("secrets")
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="scep-model-"))
        self.world = World(self.directory, self.empty_database)
        self.good = {}  # secret -> (subject or None, until); spent ones are gone
        self.owner = {}  # transactionID -> signer
        self.answers = {}  # (transactionID, signer, challenge, subject) -> certificate
        self.newest = {}  # transactionID -> certificate

    def teardown(self) -> None:
        self.world.store.close()
        shutil.rmtree(self.directory)

    def expected(self, transaction, signer, secret, subject):
        """Return a refusal, a certificate, or None for a new one."""
        if self.owner.get(transaction, signer) != signer:
            return OTHER_KEY
        if (transaction, signer, secret, subject) in self.answers:
            return self.answers[transaction, signer, secret, subject]
        bound, until = self.good.get(secret, (None, self.world.now))
        if until <= self.world.now or bound not in (None, subject):
            return REFUSAL
        return None

    def send(self, message, request):
        transaction, signer, secret, subject = request
        expected = self.expected(*request)
        reply = self.world.ask(message, keys.device(signer))
        if isinstance(expected, tuple):
            assert reply.refusal == expected
            return
        assert expected in (None, reply.certificate)
        if expected is None:
            assert reply.certificate not in self.answers.values()
            assert reply.x509.subject.rfc4514_string() == subject
            assert reply.x509.public_key() == keys.device(signer).key.public_key()
            self.answers[request] = self.newest[transaction] = reply.certificate
            self.owner[transaction] = signer
            del self.good[secret]

    def write(self, request):
        transaction, signer, secret, subject = request
        return devices.pkcs_req(
            secret,
            to=self.world.ra,
            signer=keys.device(signer),
            subject=subject,
            transaction_id=transaction,
        )

    @initialize(target=secrets)
    def guess(self):
        return "a guess"

    @rule(target=secrets, hours=st.integers(1, 3), subject=st.none() | SUBJECTS)
    def issue_challenge(self, hours, subject):
        lifetime = timedelta(hours=hours)
        secret = self.world.challenge(lifetime=lifetime, subject=subject)
        self.good[secret] = subject, self.world.now + lifetime
        return secret

    @rule(
        target=messages, transaction=TRANSACTIONS, signer=SIGNERS, secret=secrets, subject=SUBJECTS
    )
    def enrol(self, transaction, signer, secret, subject):
        request = transaction, signer, secret, subject
        message = self.write(request)
        self.send(message, request)
        return message, request

    @rule(sent=messages)
    def replay(self, sent):
        self.send(*sent)

    @rule(sent=messages)
    def ask_again_with_a_new_nonce(self, sent):
        self.send(self.write(sent[1]), sent[1])

    @rule(sent=consumes(messages), signer=SIGNERS)
    def ask_again_with_a_key(self, sent, signer):
        request = (sent[1][0], signer, *sent[1][2:])
        self.send(self.write(request), request)

    @rule(transaction=TRANSACTIONS, signer=SIGNERS)
    def poll(self, transaction, signer):
        reply = self.world.poll(transaction_id=transaction, signer=keys.device(signer))
        if transaction not in self.owner:
            assert reply.refusal == UNKNOWN
        elif self.owner[transaction] != signer:
            assert reply.refusal == OTHER_KEY
        else:
            assert reply.certificate == self.newest[transaction]

    @rule(minutes=st.integers(1, 90))
    def wait(self, minutes):
        self.world.now += timedelta(minutes=minutes)

    @precondition(lambda self: self.answers)
    @rule()
    def restart(self):
        self.world.restart()

    @invariant()
    def nothing_else_was_stored(self):
        assert (self.world.issued, self.world.spent) == (len(self.answers), len(self.answers))


@pytest.mark.rfc("P-43", "P-44", "P-46", "P-47", "P-50", "P-58")
def test_model(empty_database):
    """Retransmissions, polls, other keys, spent and bound challenges: as the model says."""
    EndpointMachine.empty_database = empty_database
    examples = settings.default.max_examples // 2
    run_state_machine_as_test(
        EndpointMachine, settings=settings(max_examples=examples, stateful_step_count=25)
    )
