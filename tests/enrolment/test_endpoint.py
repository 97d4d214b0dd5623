"""One request, one answer: what is repeated, what is refused, and what stays untouched by it."""

from __future__ import annotations

import ipaddress
import resource
from contextlib import contextmanager
from datetime import timedelta

import pytest
from cryptography import x509

import forge
import keys
from enrolment import devices
from enrolment.test_challenges import REFUSAL
from scepkit.enrolment.challenges import NoChallenge
from scepkit.enrolment.rules import RenewalRules
from scepkit.errors import Malformed, SettingsError, StoreError
from scepkit.protocol.scep.messages import Pending, Success
from scepkit.store import AlreadyAnswered, Status, StoredOutcome
from waiting import PATIENCE

OTHER_KEY = ("badRequest", "this transactionID belongs to another key")
STRANGER = "stranger"


# --- the answer to a good request -----------------------------------------------------------------


@pytest.mark.rfc("S-4.3.1-1", "P-53", "S-3.3.2.1-1")
def test_a_certificate(world):
    """A PKCSReq with a good challenge is granted: the CA issues, the RA answers."""
    secret = world.challenge()
    message = devices.pkcs_req(
        secret, to=world.ra, subject="CN=device,O=Example", nonce=b"0123456789abcdef"
    )
    reply = world.ask(message)
    assert reply.transaction_id == "a"
    assert reply.recipient_nonce == b"0123456789abcdef"
    assert len(reply.sender_nonce) == 16
    certificate = reply.x509
    certificate.verify_directly_issued_by(keys.ca().x509)
    assert certificate.public_key() == keys.device().key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=device,O=Example"
    row = next(world.store.certificates())
    assert row.der == reply.certificate
    assert row.serial == certificate.serial_number
    assert row.subject == "CN=device,O=Example"
    assert row.issued_at == world.now
    assert (world.issued, world.spent) == (1, 1)
    assert world.sql("SELECT spent_serial FROM challenges") == [(f"{row.serial:x}",)]


def test_what_is_kept_of_the_request(world):
    """Subject, key and extensions are kept; the challengePassword and the signature are not."""
    secret = world.challenge()
    wanted = devices.request(secret, sans=["dns:device.example"])
    assert world.enrol(secret, sans=["dns:device.example"]).certificate
    ((kept,),) = world.sql("SELECT csr FROM requests")
    found = x509.load_der_x509_csr(kept)
    assert found.subject.public_bytes() == wanted.subject.der
    assert found.public_key() == wanted.public_key
    assert [one.value.public_bytes() for one in found.extensions] == [
        one.value for one in wanted.extensions
    ]
    assert found.signature == b""
    assert secret.encode() not in kept


@pytest.mark.rfc("S-4.4-5")
def test_transactions_of_one_subject(world):
    """Several transactions with one subject and one key are told apart by their transactionID."""
    replies = [world.enrol(world.challenge(), transaction_id=one) for one in "abc"]
    assert len({reply.certificate for reply in replies}) == 3
    for one, reply in zip("abc", replies, strict=True):
        assert world.poll(transaction_id=one).certificate == reply.certificate


@pytest.mark.parametrize("subject", ["CN=Test CA", "CN=test  ca", "CN=Test RA"])
def test_the_names_of_the_server_itself(world, subject):
    """Whoever had a certificate with such a name would be taken for the CA or its RA."""
    own = ("badRequest", "the subject is that of the CA or of its RA")
    secret = world.challenge()
    assert world.enrol(secret, subject=subject).refusal == own
    assert (world.issued, world.spent) == (0, 0)
    device = keys.Holder(keys.device().key, world.enrol(secret, subject="CN=Test").x509)
    world.use(renewal=RenewalRules(new_names=True), approval=True)
    assert world.renew(device, subject=subject).refusal == own
    assert world.enrol(subject=subject, transaction_id="b").refusal == own
    assert list(world.store.requests()) == []


@pytest.mark.rfc("P-45")
def test_a_new_request_on_the_same_transaction(world):
    """Another request of the same key on its own transactionID is a new one, not the old one."""
    first = world.enrol(world.challenge())
    second = world.enrol(world.challenge(), subject="CN=device,OU=renewed")
    assert first.certificate != second.certificate
    assert world.poll().certificate == second.certificate


@pytest.mark.parametrize("transaction_id", ["a b", "x" * 255, "\x00\x1b[2J\n", "é", "'; DROP--"])
def test_odd_transaction_ids(world, transaction_id):
    """A transactionID is opaque: it comes back as it came, and is found again."""
    # What is not PrintableString goes as UTF8String here.
    encoded = transaction_id.encode("latin-1")
    knobs = {"scep": {"transaction_id": forge.tlv(0x0C, encoded)}}
    message = forge.request(forge.csr(attributes=[forge.challenge(world.challenge())]), **knobs)
    first = world.ask(message)
    assert first.transaction_id == transaction_id
    assert world.ask(message).certificate == first.certificate


# --- the same request again -----------------------------------------------------------------------


@pytest.mark.rfc("P-43", "P-44", "S-7.4-1", "L-09", "S-5.2-4")
def test_a_lost_reply(world):
    """The same request again gets the same certificate, also after its challenge is spent."""
    secret = world.challenge()
    message = devices.pkcs_req(secret, to=world.ra)
    first = world.ask(message)
    assert world.ask(message).certificate == first.certificate
    anew = devices.pkcs_req(secret, to=world.ra, nonce=b"another nonce ..")
    again = world.ask(anew)
    assert again.certificate == first.certificate
    assert again.recipient_nonce == b"another nonce .."
    assert again.sender_nonce != first.sender_nonce
    world.now += timedelta(days=30)
    world.restart()
    assert world.ask(message).certificate == first.certificate
    assert world.endpoint.decide(message).repeated
    assert world.poll().certificate == first.certificate
    assert (world.issued, world.spent) == (1, 1)


@pytest.mark.rfc("P-43")
def test_a_randomised_signature(world):
    """The signature of the PKCS#10 does not count: it may differ in a retransmission."""
    attributes = [forge.challenge(world.challenge())]
    requests = [forge.csr(attributes=attributes, digest=one) for one in ("sha256", "sha512")]
    assert requests[0] != requests[1]
    first, again = (world.ask(forge.request(one)) for one in requests)
    assert first.certificate == again.certificate


@pytest.mark.rfc("P-46")
def test_a_transaction_belongs_to_its_first_key(world):
    """Another key on the same transactionID gets nothing, whatever challenge it has."""
    assert world.enrol(world.challenge()).certificate
    own = world.challenge()
    stranger = keys.device(STRANGER)
    assert world.enrol(own, signer=stranger).refusal == OTHER_KEY
    assert (world.issued, world.spent) == (1, 1)
    # Its challenge is not burnt by that.
    assert world.enrol(own, signer=stranger, transaction_id="b").certificate


def test_nothing_is_claimed_by_a_refused_request(world):
    """A refused request leaves no trace, so nobody can reserve another's transactionID."""
    assert world.enrol("guessed", signer=keys.device(STRANGER)).refusal == REFUSAL
    assert world.sql("SELECT count(*) FROM transactions") == [(0,)]
    assert world.enrol(world.challenge()).certificate


# --- CertPoll -------------------------------------------------------------------------------------


@pytest.mark.rfc("S-4.4.1-1", "S-5.2-4", "S-3.3.2.1-1")
def test_a_poll_gets_what_is_stored(world):
    """A CertPoll of the first request's key gets the certificate that was issued, none other."""
    first = world.enrol(world.challenge())
    again = world.poll(nonce=b"the poll's nonce")
    assert again.certificate == first.certificate
    assert again.recipient_nonce == b"the poll's nonce"
    world.restart()
    assert world.poll().certificate == first.certificate
    assert world.issued == 1


@pytest.mark.rfc("P-77", "S-4.4.1-1")
@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (StoredOutcome(Status.PENDING), "PENDING"),
        (StoredOutcome(Status.REJECTED, reason="not today"), "badRequest: not today"),
        (StoredOutcome(Status.REJECTED, fail_info=4), "badCertId: the request was refused"),
        (StoredOutcome(Status.EXPIRED), "badRequest: the request was refused"),
    ],
)
def test_outcomes_other_than_issued(world, monkeypatch, outcome, name):
    """Whatever the store says of a request is what its device is told."""
    monkeypatch.setattr(type(world.store), "poll", lambda *_, now: outcome)
    monkeypatch.setattr(type(world.store), "lookup", lambda *_, now: outcome)
    message = devices.pkcs_req(world.challenge(), to=world.ra)
    meanwhile = world.endpoint.conclude(world.endpoint.decide(message), AlreadyAnswered(outcome))
    replies = [world.poll(), world.enrol("spent"), devices.read(meanwhile.reply, world.ra)]
    for reply in replies:
        assert (str(reply.rep) if name != "PENDING" else name) == name
        assert isinstance(reply.rep, Pending) is (name == "PENDING")
    assert (world.issued, world.spent) == (0, 0)


@pytest.mark.rfc("S-4.4-3", "P-48", "P-76", "A-04", "S-3.3.2.2-1")
def test_a_poll_for_nothing(world):
    """A CertPoll that matches no request is answered badCertId."""
    assert world.poll().refusal[0] == "badCertId"
    assert world.enrol("guessed").refusal == REFUSAL
    assert world.poll().refusal[0] == "badCertId"


@pytest.mark.rfc("P-47")
def test_a_poll_by_another_key(world):
    """A guessed transactionID is of no use: the poll has to be signed by the request's key."""
    first = world.enrol(world.challenge())
    assert world.poll(signer=keys.device(STRANGER)).refusal == OTHER_KEY
    assert world.poll().certificate == first.certificate


# --- what is refused before anything is looked at -------------------------------------------------


@pytest.mark.rfc("P-75", "S-4.5.1-1")
@pytest.mark.parametrize(
    "write",
    [
        lambda secret, ra: devices.renewal_req(secret, to=ra),
        lambda secret, _: forge.request(
            forge.csr(attributes=[forge.challenge(secret)]), scep={"message_type": "3"}
        ),
    ],
    ids=["RenewalReq", "CertRep"],
)
def test_messages_that_this_server_does_not_take(world, write):
    """They are answered with a signed FAILURE and never with an issue."""
    secret = world.challenge()
    reply = world.ask(write(secret, world.ra))
    assert reply.refusal[0] == "badRequest"
    assert (world.issued, world.spent) == (0, 0)
    assert world.enrol(secret).certificate


@pytest.mark.rfc("P-49")
def test_ids_of_queries_are_nobodys(world):
    """A GetCert or GetCRL claims no transactionID: clients use one and the same for all of them."""
    stranger = keys.device(STRANGER)
    for write in (devices.get_cert, devices.get_crl, devices.get_cert):
        reply = world.ask(write(to=world.ra, signer=stranger), stranger)
        assert reply.transaction_id == "a"
    assert world.enrol(world.challenge()).certificate
    assert world.ask(devices.get_cert(to=world.ra, signer=stranger), stranger).refusal
    assert world.sql("SELECT count(*) FROM transactions") == [(1,)]


@pytest.mark.rfc("S-2.4-6")
def test_a_renewal_signed_by_nobody(world):
    """A self-signed certificate in the CA's or a customer's name renews nothing."""
    assert world.enrol(world.challenge()).certificate
    impostors = [
        keys.certify("Test CA", keys.rsa_key(STRANGER)),
        keys.certify("device", keys.rsa_key(STRANGER), issuer_name=keys.ca().x509.subject),
    ]
    for impostor in impostors:
        message = devices.renewal_req(to=world.ra, signer=impostor, transaction_id="b")
        assert world.ask(message, impostor).refusal[0] == "badRequest"
    assert world.issued == 1


@pytest.mark.rfc("P-55")
def test_a_rewrapped_envelope(world):
    """Whoever signs a captured envelope anew gets nothing, and the challenge is not burnt."""
    secret = world.challenge()
    envelope = forge.envelope(forge.csr(attributes=[forge.challenge(secret)]))
    stranger = keys.device(STRANGER)
    stolen = forge.request(content=envelope, signer=stranger)
    assert world.ask(stolen, stranger).refusal[0] == "badRequest"
    assert "signed by another key" in world.reason(stolen)
    assert (world.issued, world.spent) == (0, 0)
    assert world.ask(forge.request(content=envelope)).certificate
    # Nor is there anything to get afterwards.
    assert world.ask(stolen, stranger).refusal[0] == "badRequest"
    assert world.poll(signer=stranger, transaction_id=forge.ID).refusal == OTHER_KEY


@pytest.mark.rfc("P-51", "P-73")
def test_a_signer_who_could_not_read_the_reply(world):
    """An EC signer is refused before anything is issued: the reply could not be encrypted."""
    world.use(rule=NoChallenge())
    message = forge.request(
        forge.csr(keys.ec_key(), attributes=[]), keys.certify("device", keys.ec_key())
    )
    assert world.ask(message).refusal[0] == "badAlg"
    assert (world.issued, world.spent) == (0, 0)


LONG = forge.seq(forge.set_(forge.seq(forge.oid("2.5.4.3"), forge.tlv(0x0C, b"a" * 65))))
NETWORK = x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))


@pytest.mark.rfc("P-34", "A-14")
@pytest.mark.parametrize(
    "write",
    [
        lambda secret: devices.request(secret, subject=x509.Name([])).der,
        lambda secret: devices.request(secret, sans=[NETWORK]).der,
        lambda secret: forge.csr(subject=LONG, attributes=[forge.challenge(secret)]),
    ],
    ids=["no name at all", "a network for an address", "a name that is too long"],
)
def test_a_request_that_the_profile_refuses(world, write):
    """A request that no certificate can be made of is refused, and its challenge stays good."""
    secret = world.challenge()
    refusal = world.ask(forge.request(write(secret))).refusal
    assert refusal[0] == "badRequest"
    assert refusal != REFUSAL
    assert (world.issued, world.spent) == (0, 0)
    assert world.enrol(secret).certificate


@pytest.mark.rfc("P-56")
def test_a_request_without_proof_of_possession(world):
    """A PKCS#10 whose own signature is wrong is refused, and its challenge stays good."""
    secret = world.challenge()
    csr = forge.csr(attributes=[forge.challenge(secret)], signature=bytes(256))
    assert world.ask(forge.request(csr)).refusal[0] == "badRequest"
    assert world.spent == 0


def test_nothing_to_answer_to(world):
    """What has no transactionID cannot be answered with a CertRep."""
    for message in (b"", b"0", forge.request(scep={"transaction_id": None})):
        with pytest.raises(Malformed):
            world.endpoint.respond(message)


@pytest.mark.rfc("P-72", "P-60")
def test_nothing_is_believed_before_the_signature(world):
    """A damaged message is refused, before its transactionID is even looked up."""
    secret = world.challenge()
    first = world.enrol(secret)
    message = bytearray(devices.pkcs_req(secret, to=world.ra))
    message[-1] ^= 1
    reply = world.ask(bytes(message))
    assert reply.refusal[0] == "badMessageCheck"
    poll = bytearray(devices.cert_poll(to=world.ra))
    poll[-1] ^= 1
    assert world.ask(bytes(poll)).refusal[0] == "badMessageCheck"
    assert world.poll().certificate == first.certificate


# --- faults of this server ------------------------------------------------------------------------


@contextmanager
def full_disk(path):
    """Let no file of this process grow beyond what one file has now, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.rfc("P-78")
def test_a_commit_that_fails(world):
    """A full disk at the commit: StoreError, nothing is issued or spent, and later all is well."""
    secret = world.challenge()
    message = devices.pkcs_req(secret, to=world.ra)
    decision = world.endpoint.decide(message)
    assert isinstance(decision.answer, Success)
    wal = world.path.with_name("scep.db-wal")
    with full_disk(wal):
        pending = world.endpoint.record(decision)
        with pytest.raises(StoreError):
            pending.result(PATIENCE)
        with pytest.raises(StoreError):
            world.endpoint.respond(message)
    assert (world.issued, world.spent) == (0, 0)
    assert world.ask(message).certificate
    assert (world.issued, world.spent) == (1, 1)


@pytest.mark.rfc("P-78")
@pytest.mark.parametrize("table", ["transactions", "challenges", "certificates"])
def test_a_database_that_cannot_be_used(world, table):
    """A fault of the database is no FAILURE: that would make a device give up for good."""
    message = devices.pkcs_req(world.challenge(), to=world.ra)
    world.sql(f"ALTER TABLE {table} RENAME TO elsewhere")
    with pytest.raises(StoreError):
        world.endpoint.respond(message)
    world.sql(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert world.issued == 0
    assert world.ask(message).certificate


@pytest.mark.rfc("P-78")
def test_an_expired_ca(world):
    """A CA that is not valid any more is no fault of the device's."""
    world.now = keys.ca().x509.not_valid_after_utc
    with pytest.raises(SettingsError):
        world.enrol(world.challenge())
    assert world.issued == 0


def test_what_is_answered_after_a_conflict(world):
    """If the same request was stored meanwhile, the stored certificate is sent, not the new one."""
    message = devices.pkcs_req(world.challenge(), to=world.ra)
    decision = world.endpoint.decide(message)
    first = world.ask(message)
    conflict = world.endpoint.record(decision).result()
    assert isinstance(conflict, AlreadyAnswered)
    decided = world.endpoint.conclude(decision, conflict)
    assert devices.read(decided.reply, world.ra).certificate == first.certificate
    assert decided.repeated
    assert world.issued == 1


def test_the_loser_of_a_race_for_a_challenge(world):
    """A challenge that was spent between judgement and commit is refused like any other."""
    secret = world.challenge()
    stranger = keys.device(STRANGER)
    message = devices.pkcs_req(secret, to=world.ra, signer=stranger, transaction_id="b")
    decision = world.endpoint.decide(message)
    assert world.enrol(secret).certificate
    decided = world.endpoint.conclude(decision, world.endpoint.record(decision).result())
    assert devices.read(decided.reply, world.ra, stranger).refusal == REFUSAL
    assert "at the same time" in decided.reason
    assert decided.serial is None  # that certificate does not exist
    assert decided.record is None
    assert (world.issued, world.spent) == (1, 1)


def test_the_loser_of_a_race_for_a_transaction(world):
    """A transactionID that another key took between decision and commit is not shared."""
    stranger = keys.device(STRANGER)
    late = world.challenge()
    decision = world.endpoint.decide(devices.pkcs_req(late, to=world.ra, signer=stranger))
    assert world.enrol(world.challenge()).certificate
    decided = world.endpoint.conclude(decision, world.endpoint.record(decision).result())
    assert devices.read(decided.reply, world.ra, stranger).refusal == OTHER_KEY
    assert (world.issued, world.spent) == (1, 1)


def test_no_decision_writes(world):
    """Deciding alone changes nothing: what is not recorded never happened."""
    message = devices.pkcs_req(world.challenge(), to=world.ra)
    decisions = [world.endpoint.decide(message) for _ in range(3)]
    serials = {decision.record.serial for decision in decisions}
    assert len(serials) == 3
    assert (world.issued, world.spent) == (0, 0)


def test_the_names_that_certificates_are_found_by(world):
    """Those of the certificate: e-mail addresses of the subject are among them."""
    names = ["dns:Host.example", "ip:192.0.2.1"]
    sent = {"subject": "CN=a,1.2.840.113549.1.9.1=a@b.example", "sans": names}
    assert world.enrol(world.challenge(), **sent).certificate
    row = next(world.store.certificates())
    assert set(row.names.split("\n")) == {
        "dns:host.example",
        "ip:192.0.2.1",
        "email:a@b.example",
    }
