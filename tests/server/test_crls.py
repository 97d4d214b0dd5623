"""The CRLs that a server makes and keeps in memory; the thread that does it is stepped by hand."""

from __future__ import annotations

import errno
import fcntl
import threading
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepkit.ca.directory import rollover
from scepkit.ca.directory.material import load
from scepkit.ca.extensions import ca_id
from scepkit.errors import SettingsError, StoreError
from scepkit.operations import revocation
from scepkit.server.background import crl_signing as module
from scepkit.server.background.crl_signing import LOCK, CRLs
from scepkit.store import Issuance, Store, engine
from waiting import PATIENCE, wait_until

HOUR = timedelta(hours=1)
LIFETIME = 24 * HOUR


class World:
    """A CA, its database, and clocks that tests move."""

    def __init__(self, path):
        self.path = path
        self.now = datetime.now(UTC)
        self.seconds = 0.0
        self.material = load(path, now=self.now)
        self.ca = self.material.ca
        self.name = ca_id(self.ca.key_hash)
        self.url = f"sqlite:///{path / 'scep.db'}"
        self.store = Store.open(self.url)
        self.serials = count(1)
        self.crls = self.another()

    def another(self, store=None):
        """Return what another process would have."""
        made = CRLs(
            store or self.store,
            lifetime=LIFETIME,
            lock=self.path / LOCK,
            now=lambda: self.now,
            monotonic=lambda: self.seconds,
        )
        made.use([self.ca])
        return made

    def issue(self):
        return self.issue_many(1)[0]

    def issue_many(self, number):
        issued = [self._issuance(next(self.serials)) for _ in range(number)]
        # The store takes a thousand at a time.
        for start in range(0, number, 1000):
            for future in [self.store.record(one) for one in issued[start : start + 1000]]:
                future.result(PATIENCE)
        return [one.serial for one in issued]

    def _issuance(self, serial):
        return Issuance(
            endpoint="default",
            transaction_id=str(serial).encode(),
            signer_key=bytes(32),
            fingerprint=serial.to_bytes(32, "big"),
            message_type=19,
            csr=b"",
            csr_digest=bytes(32),
            certificate=b"",
            serial=serial,
            subject=f"CN={serial}",
            issuer=self.ca.key_hash,
            not_before=self.now,
            not_after=self.now + 365 * LIFETIME,
            public_key=bytes(32),
            challenge_id=None,
            now=self.now,
        )

    def revoke(self, serial):
        self.store.revoke(serial, reason=1, by="test", now=self.now)

    def look(self, crls=None):
        """Let the thread look, long after the last time."""
        self.seconds += 1000
        (crls or self.crls).look()

    def number(self, crls=None):
        served = (crls or self.crls).crl(self.name)
        if served is None:
            return None
        read = x509.load_der_x509_crl(served.body)
        assert read.is_signature_valid(self.ca.certificate.public_key())
        return read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    def listed(self, crls=None):
        served = (crls or self.crls).crl(self.name)
        return [one.serial_number for one in x509.load_der_x509_crl(served.body)]


@pytest.fixture
def world(directory, monkeypatch):
    # Nothing here is about power cuts, and ten thousand commits wait half a minute for the disk.
    hasty = [one.replace("synchronous=FULL", "synchronous=OFF") for one in engine.PRAGMAS]
    monkeypatch.setattr(engine, "PRAGMAS", hasty)
    made = World(directory())
    yield made
    made.store.close()


def refuse(monkeypatch, error, name="put_crl"):
    def refused(*_arguments, **_options):
        raise error

    monkeypatch.setattr(Store, name, refused)


def test_a_crl_without_anybody_asking(world):
    """It is there from the start, and is made anew for a revocation and before it ends."""
    assert world.number() is None
    world.look()
    assert world.number() == 1
    world.look()
    assert world.number() == 1
    serial = world.issue()
    world.revoke(serial)
    world.look()
    assert (world.number(), world.listed()) == (2, [serial])
    world.now += 17 * HOUR
    world.look()
    assert world.number() == 2
    world.now += 2 * HOUR
    world.look()
    assert world.number() == 3


def test_what_others_made_is_served(world):
    """`scep admin revoke`, another worker, GetCRL: whoever made it, and the very same octets."""
    world.look()
    world.revoke(world.issue())
    made = revocation.current_crl(world.store, world.ca, now=world.now, lifetime=LIFETIME)
    world.crls.look()
    assert world.crls.crl(world.name).body == made.der
    other = world.another()
    other.start()
    other.close()
    assert other.crl(world.name).body == made.der


def test_ten_thousand_revocations_make_a_few_crls(world):
    """A server that looks every second of them signs one in five, and the last one has them all."""
    world.crls.look()
    serials = world.issue_many(10_000)
    for number, serial in enumerate(serials):
        world.revoke(serial)
        if number % 400 == 0:
            world.seconds += 1
            world.crls.look()
    world.look()
    assert world.number() <= 7
    assert sorted(world.listed()) == serials
    world.look()
    assert world.number() <= 7


def test_the_first_revocation_after_a_quiet_time_is_not_kept_waiting(world):
    world.look()
    world.seconds += module.PAUSE_SECONDS
    serial = world.issue()
    world.revoke(serial)
    world.crls.look()
    assert world.listed() == [serial]
    world.revoke(later := world.issue())
    world.crls.look()
    assert world.listed() == [serial]
    world.seconds += module.PAUSE_SECONDS
    world.crls.look()
    assert world.listed() == [serial, later]


def test_the_pause_is_between_two_crls_whichever_process_makes_them(world):
    """Several workers make no more of them than one."""
    workers = [world.crls, *(world.another() for _ in range(3))]
    for worker in workers:
        worker.look()
    for second in range(1, 21):
        world.seconds = second
        world.revoke(world.issue())
        for worker in workers:
            worker.look()
    assert [world.number(one) for one in workers] == [5] * 4


def test_another_process_s_large_crl_has_a_long_pause_too(world, monkeypatch):
    """As long as the pause after the last one that was made here: they are of one size."""
    other = world.another()
    original = revocation.sign_crl

    def slow(*arguments, **options):
        world.seconds += 20
        return original(*arguments, **options)

    monkeypatch.setattr(revocation, "sign_crl", slow)
    for worker in (world.crls, other):
        world.revoke(world.issue())
        world.look(worker)
    world.crls.look()
    world.revoke(world.issue())
    world.seconds += 199
    world.crls.look()
    assert world.number() == 2
    world.seconds += 1
    world.crls.look()
    assert world.number() == 3


def test_a_large_crl_has_a_long_pause(world, monkeypatch):
    """Ten times as long as it took."""
    original = revocation.sign_crl

    def slow(*arguments, **options):
        world.seconds += 20
        return original(*arguments, **options)

    monkeypatch.setattr(revocation, "sign_crl", slow)
    world.crls.look()
    world.revoke(world.issue())
    world.seconds += 199
    world.crls.look()
    assert world.number() == 1
    world.seconds += 1
    world.crls.look()
    assert world.number() == 2


def test_one_process_makes_it(world):
    """The others leave it to the one that has the lock, and serve what it made."""
    other = world.another()
    with (world.path / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        world.look(other)
        assert other.crl(world.name) is None
        assert other.problems() == []
    world.look()
    world.look(other)
    assert (world.number(), world.number(other)) == (1, 1)


def test_the_lock_is_given_once(tmp_path):
    """To one at a time, and to the next when that one is done."""
    path = tmp_path / LOCK
    with module._locked(path) as first, module._locked(path) as second:
        assert (first, second) == (True, False)
    with module._locked(path) as third:
        assert third


def test_the_lock_is_nobody_elses(world):
    world.look()
    assert (world.path / LOCK).stat().st_mode & 0o777 == 0o600


def test_where_no_lock_can_be_made(world):
    """A directory that is mounted read-only still has CRLs."""
    world.crls._lock = world.path / "missing" / LOCK
    world.look()
    assert world.number() == 1


def test_a_file_system_without_locks(world, monkeypatch):
    """NFS may have none: nobody is kept away, and there are CRLs."""

    def refused(_descriptor, _operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    world.look()
    assert world.number() == 1
    assert world.crls.problems() == []


def test_a_disk_that_is_full(world, monkeypatch, logged):
    """The last good CRL is served, it is said once, and all is well when there is room again."""
    world.look()
    serial = world.issue()
    world.revoke(serial)
    refuse(monkeypatch, StoreError("the disk is full", hint="make room"))
    for _ in range(3):
        world.look()
    assert world.number() == 1
    (problem,) = world.crls.problems()
    assert "is served: the disk is full" in problem
    (line,) = [one for one in logged if one["log_level"] == "error"]
    assert (line["error"], line["hint"]) == ("the disk is full", "make room")
    world.now += 25 * HOUR
    world.look()
    assert world.number() == 1
    (problem,) = world.crls.problems()
    assert "ended at" in problem
    monkeypatch.undo()
    world.look()
    assert world.crls.problems() == []
    assert world.listed() == [serial]
    assert [one["event"] for one in logged][-2:] == ["the CRL is current again", "a CRL was signed"]


def test_a_crl_that_nobody_makes_is_late(world):
    """Another process has the lock, for instance, and is stopped: nothing has failed here."""
    world.look()
    world.now += 19 * HOUR
    assert world.crls.problems() == []
    world.now += 2 * HOUR
    (problem,) = world.crls.problems()
    assert "is late" in problem
    world.look()
    assert world.crls.problems() == []


def test_sqlite_without_room_for_the_crl(world):
    """SQLite itself says so, in the transaction that would store the CRL."""
    world.look()
    for serial in world.issue_many(1000):
        world.revoke(serial)
    with world.store._writing("limit the database") as connection:
        (pages,) = connection.exec_driver_sql("PRAGMA page_count").one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    world.look()
    assert world.number() == 1
    assert "full" in world.crls.problems()[0]
    # A connection that failed is not used again, and a new one has no such limit.
    world.look()
    assert world.crls.problems() == []
    assert len(world.listed()) == 1000


def test_a_database_that_is_away(world, monkeypatch):
    """Its file is not even looked at for an answer."""
    world.look()
    refuse(monkeypatch, StoreError("the database does not answer"), "crl_state")
    world.look()
    assert world.number() == 1
    assert "the database does not answer" in world.crls.problems()[0]
    monkeypatch.undo()
    world.look()
    assert world.crls.problems() == []


def test_no_crl_at_all(world, monkeypatch):
    """Strict relying parties refuse everything then."""
    refuse(monkeypatch, SettingsError("no cRLSign"), "reserve_crl_number")
    assert world.crls.problems() == []
    world.look()
    (problem,) = world.crls.problems()
    assert problem.startswith("no CRL of")
    assert world.crls.crl(world.name) is None


def test_a_bug_is_told_once(world, monkeypatch, logged):
    refuse(monkeypatch, ZeroDivisionError())
    for _ in range(3):
        world.look()
    events = [one["event"] for one in logged if one["log_level"] == "error"]
    assert sorted(events) == [
        "bug in scepkit; please report it",
        "no new CRL; the last one is served",
    ]
    assert "ZeroDivisionError" in world.crls.problems()[0]


def test_one_ca_that_fails_does_not_keep_the_others_from_theirs(world, monkeypatch):
    rollover.prepare(world.path, now=world.now)
    coming = load(world.path, now=world.now).next.ca
    world.crls.use([world.ca, coming])
    original = Store.put_crl

    def refused(store, issuer, *arguments):
        if issuer == world.ca.key_hash:
            raise StoreError("no")
        original(store, issuer, *arguments)

    monkeypatch.setattr(Store, "put_crl", refused)
    world.look()
    assert world.crls.crl(world.name) is None
    assert world.crls.crl(ca_id(coming.key_hash)) is not None
    assert world.ca.certificate.subject.rfc4514_string() in world.crls.problems()[0]


def test_every_generation_has_its_own(world):
    """Through a rollover, under URLs that stay; and no CA is served that is not there."""
    world.look()
    first = world.crls.crl(world.name)
    rollover.prepare(world.path, now=world.now)
    rollover.activate(world.path, now=world.now)
    material = load(world.path, now=world.now)
    world.crls.use([material.ca, *material.previous])
    assert world.crls.crl(world.name) is first
    world.look()
    newer = ca_id(material.ca.key_hash)
    assert world.crls.crl(newer).body != first.body
    for one in (material.ca, *material.previous):
        served = world.crls.certificate(ca_id(one.key_hash))
        assert served.body == one.certificate.public_bytes(Encoding.DER)
    world.crls.use([material.ca])
    with pytest.raises(KeyError):
        world.crls.crl(world.name)
    with pytest.raises(KeyError):
        world.crls.certificate(world.name)


def test_the_thread(world, monkeypatch):
    """It looks again and again, makes what is due, and ends when it is told to."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    world.crls.start()
    wait_until(lambda: world.number() == 1, "the first CRL")
    world.revoke(world.issue())
    wait_until(lambda: world.number() == 2, "the second CRL")
    world.crls.close()
    assert "scepkit-crls" not in {one.name for one in threading.enumerate()}
