"""What a server does when nobody asks."""

from __future__ import annotations

import errno
import fcntl
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509

import minted
from enrolment import devices
from scepkit.ca.directory import material, rotation
from scepkit.enrolment.third_parties import ThirdParties
from scepkit.errors import SettingsError, StoreError
from scepkit.operations.purging import purge
from scepkit.operations.revocation import current_crl
from scepkit.operations.selection import Moment
from scepkit.protocol.certificate import Certificate
from scepkit.server import app
from scepkit.server.background import housekeeping as sweeping
from scepkit.server.background.clock_jumps import ClockJumps
from scepkit.server.background.housekeeping import Sweep, Sweeper
from scepkit.server.directory import data_directory
from scepkit.server.endpoints import assembly
from scepkit.server.settings import EndpointSettings
from scepkit.store import Assent, Status, Store
from waiting import PATIENCE, wait_until

DAY = timedelta(days=1)


class Swept:
    """A data directory, its store, and a clock that tests move."""

    def __init__(self, path, **settings):
        self.now = datetime.now(UTC)
        self.path = path
        endpoint = {"default": settings} if settings else None
        self.home = data_directory.prepare(path, now=self.now, endpoint=endpoint)
        self.store = Store.open(self.home.settings.database_url)
        self.sweep = Sweep(self.home.settings, self.store, lambda: self.now)
        self.endpoint = assembly.assemble(self.home, self.store, now=lambda: self.now)[
            "default"
        ].scep
        self.ra = Certificate.of(self.home.material.ra.certificate)

    def challenge(self):
        (secret,) = minted.secrets(
            data_directory.challenges_of(self.home, self.store), now=self.now, lifetime=DAY
        )
        return secret

    def enrol(self, challenge=None, **how):
        message = devices.pkcs_req(challenge, to=self.ra, **how)
        return devices.read(self.endpoint.respond(message), self.ra)

    def revoke(self, serial):
        return self.store.revoke(serial, reason=1, by="test", now=self.now)


@pytest.fixture
def swept(directory):
    made = []

    def swept(**settings):
        made.append(Swept(directory(), **settings))
        return made[-1]

    yield swept
    for one in made:
        one.store.close()


@pytest.mark.rfc("P-48")
def test_requests_expire(swept, logged):
    """What nobody decided in pending_days is refused, and the log says how many."""
    world = swept(approval="manual", pending_days=3)
    world.enrol()
    world.now += 2 * DAY
    world.sweep.run()
    assert [row.status for row in world.store.requests(status=None)] == [Status.PENDING]
    world.now += 2 * DAY
    world.sweep.run()
    (row,) = world.store.requests(status=None)
    assert row.status is Status.EXPIRED
    assert [one["count"] for one in logged if "expired" in one["event"]] == [1]


@pytest.mark.rfc("P-48")
def test_old_records_are_deleted(swept, logged):
    """After retention_days, and not before; what waits is never deleted."""
    world = swept()
    world.enrol(world.challenge())
    world.challenge()
    world.now += 80 * DAY
    world.sweep.run()
    assert not any("deleted" in one["event"] for one in logged)
    world.now += 12 * DAY
    world.sweep.run()
    (line,) = [one for one in logged if "deleted" in one["event"]]
    # Of the challenges, the one that nobody spent.
    assert (line["requests"], line["transactions"], line["challenges"]) == (1, 1, 1)
    assert line["certificates"] == 0
    assert len([*world.store.certificates()]) == 1
    world.now += 366 * DAY
    world.sweep.run()
    assert [*world.store.certificates()] == []


def test_what_can_be_renewed_is_kept(swept):
    """A certificate whose end is past stays as long as renewal_grace_days let it be renewed."""
    world = swept(renewal_grace_days=180)
    world.enrol(world.challenge())
    (certificate,) = world.store.certificates()
    for days, kept in ((179, 1), (181, 0)):
        world.now = certificate.not_after + days * DAY
        world.sweep.run()
        assert len([*world.store.certificates()]) == kept


def test_what_never_ends_is_never_over(swept):
    """A certificate that was imported may end with the year 9999; no grace comes after that."""
    world = swept(renewal_grace_days=180)
    world.enrol(world.challenge())
    (certificate,) = world.store.certificates()
    endless = replace(certificate, not_after=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    for days, is_over in ((179, False), (181, True)):
        moment = Moment(certificate.not_after + days * DAY, world.home.settings.renewal_graces)
        assert moment.is_over(certificate) is is_over
        assert not moment.is_over(endless)


def test_a_crl_after_its_end_lists_a_revoked_certificate(swept):
    """Whatever is kept how long: the next one may be signed months later (RFC 5280 section 3.3)."""
    world = swept()
    settings = world.home.settings.model_copy(update={"retention_days": 1, "crl_hours": 24 * 366})
    sweep = replace(world.sweep, settings=settings)
    world.enrol(world.challenge())
    (certificate,) = world.store.certificates()
    world.now = certificate.not_after - DAY
    world.revoke(certificate.serial)
    authority, lifetime = world.home.material.ca, timedelta(hours=settings.crl_hours)

    def listed():
        row = current_crl(world.store, authority, now=world.now, lifetime=lifetime)
        return [one.serial_number for one in x509.load_der_x509_crl(row.der)]

    assert listed() == [certificate.serial]
    # The next one is due after three quarters of the year.
    world.now += 280 * DAY
    sweep.run()
    assert listed() == [certificate.serial]
    world.now += 280 * DAY
    sweep.run()
    assert listed() == []
    assert [*world.store.certificates()] == []


def test_what_a_purge_would_delete(swept):
    """A dry run counts exactly what is deleted then, and deletes nothing."""
    world = swept()
    for name in "abc":
        world.enrol(world.challenge(), transaction_id=name, subject=f"CN={name}")
    world.challenge()
    for age in (80, 100, 500):
        moment = Moment(world.now + age * DAY, world.home.settings.renewal_graces)
        how = {"keep": 90 * DAY, "crl_lifetime": DAY, "by": "alice"}
        would = purge(world.store, moment, **how, dry_run=True)
        assert would == purge(world.store, moment, **how, dry_run=True)
        assert would == purge(world.store, moment, **how)
    assert would.certificates == 3


def test_the_ra_rotates(swept, logged):
    """ra_rotation_days before its end the RA is replaced; the old one can still be encrypted to."""
    world = swept()
    end = world.home.material.ra.certificate.not_valid_after_utc
    world.now = end - 31 * DAY
    world.sweep.run()
    before = world.home.material.ra.certificate
    assert material.load(world.path, now=world.now).ra.certificate == before
    world.now = end - 29 * DAY
    world.sweep.run()
    held = material.load(world.path, now=world.now)
    assert held.ra.certificate != before
    assert [one.certificate for one in held.retired] == [before]
    assert [one["ca"] for one in logged if one["event"].startswith("the RA")] == ["default"]
    world.sweep.run()
    assert material.load(world.path, now=world.now).ra.certificate == held.ra.certificate
    assert len([one for one in logged if one["event"].startswith("the RA")]) == 1


def test_a_server_that_was_down_when_its_ra_expired(directory):
    """It starts again, with a new RA."""
    path = directory()
    now = datetime.now(UTC)
    before = data_directory.prepare(path, now=now).material.ra.certificate
    later = before.not_valid_after_utc + DAY
    assert data_directory.prepare(path, now=later).material.ra.certificate != before


def test_a_part_that_fails(swept, monkeypatch, logged):
    """It is logged with its name, and the other parts are done."""
    world = swept()
    world.now = world.home.material.ra.certificate.not_valid_after_utc - DAY

    def broken(*_arguments):
        raise StoreError("the disk is on fire", hint="leave the building")

    monkeypatch.setattr(Store, "expire", broken)
    monkeypatch.setattr(sweeping, "purge", lambda *_a, **_k: 1 // 0)
    world.sweep.run()
    fault, bug = [one for one in logged if one["log_level"] == "error"]
    assert (fault["task"], fault["error"]) == ("expire", "the disk is on fire")
    assert bug["event"] == "bug in scepkit; please report it"
    assert [one["ca"] for one in logged if one["event"].startswith("the RA")] == ["default"]


ASSENT = Assent(endpoint="default", transaction_id=b"a", signer_key=bytes(32), csr_digest=bytes(32))


class Broken:
    """A store some of whose methods fail; notes the others that are called."""

    def __init__(self, store, *broken):
        self._store, self._broken, self.done = store, broken, set()

    def __getattr__(self, name):
        if name in self._broken:
            raise StoreError(f"{name} is on fire")
        self.done.add(name)
        return getattr(self._store, name)


CHORES = {"expire", "undelivered", "forget_assents", "purge"}


@pytest.mark.parametrize("broken", sorted(CHORES))
def test_a_chore_that_fails_stops_no_other(swept, logged, broken):
    world = swept()
    store = Broken(world.store, broken)
    Sweep(world.home.settings, store, lambda: world.now).run()
    assert store.done >= CHORES - {broken}
    (line,) = [one for one in logged if one["log_level"] == "error"]
    assert (line["task"], line["error"]) == (broken, f"{broken} is on fire")


def test_what_a_service_said_is_forgotten_after_a_day(swept):
    world = swept()
    world.store.assent(
        ASSENT, {}, service=bytes(32), by="MDM", now=world.now, since=world.now
    ).result()
    for hours, kept in ((23, True), (25, False)):
        begun = world.now
        world.now += timedelta(hours=hours)
        world.sweep.run()
        assert (world.store.answer_to(ASSENT, since=begun) == {}) is kept
        world.now = begun


def test_what_is_signed_and_not_delivered_is_told_of(swept, logged):
    """After an hour, with their number, in every round until it is delivered."""
    world = swept()
    parties = {"default": ThirdParties(teller=Silent())}
    served = assembly.assemble(
        world.home, world.store, now=lambda: world.now, third_parties=parties
    )
    endpoint = served["default"].scep
    signed = endpoint.decide(devices.pkcs_req(world.challenge(), to=world.ra))
    endpoint.record(signed).result(PATIENCE)

    def warned():
        return [one["count"] for one in logged if "were not delivered" in one["event"]]

    for minutes, warnings in ((59, []), (2, [1]), (60, [1, 1])):
        world.now += timedelta(minutes=minutes)
        world.sweep.run()
        assert warned() == warnings
    world.store.deliver(signed.outcome.granted.record.delivery, by="test", now=world.now).result()
    world.sweep.run()
    assert warned() == [1, 1]


class Silent:
    """A teller that is never told."""

    name = "silent"

    async def tell(self, delivery):
        raise AssertionError(delivery)


@pytest.mark.parametrize("part", [(rotation, "rotate_ra"), (rotation, "rotate_ocsp")])
@pytest.mark.parametrize("error", [SettingsError("read-only"), ZeroDivisionError()])
def test_a_ca_that_fails(directory, monkeypatch, logged, part, error):
    """The other CAs' turn comes all the same, and so does what else there is to do for this one."""
    path, done = directory(), []
    home = data_directory.open_records(path)
    authorities = {"default": EndpointSettings(), "vpn": EndpointSettings(ca="lab")}
    settings = home.settings.model_copy(update={"endpoint": authorities})

    def rotate(kind):
        def rotated(place, **_how):
            if (kind, place) == (part[1], path):
                raise error
            done.append((kind, place))

        return rotated

    for module, name in ((rotation, "rotate_ra"), (rotation, "rotate_ocsp")):
        monkeypatch.setattr(module, name, rotate(name))
    with Store.open(settings.database_url) as store:
        Sweep(settings, store, lambda: datetime.now(UTC)).run()
    places = (path, path / "ca-lab")
    wanted = {(name, place) for name in ("rotate_ra", "rotate_ocsp") for place in places}
    assert set(done) == wanted - {(part[1], path)}
    (line,) = [one for one in logged if one["log_level"] == "error"]
    assert line["ca"] == "default"
    if isinstance(error, SettingsError):
        assert (line["task"], line["error"]) == (part[1], "read-only")


class Clock:
    """A clock that is set, and the seconds of one that nobody sets."""

    def __init__(self, path):
        self.now, self.seconds, self.path = datetime(2026, 11, 30, tzinfo=UTC), 0.0, path
        self.start()

    def start(self):
        self.jumps = ClockJumps(self.path, lambda: self.seconds)

    def pass_(self, time):
        self.now += time
        self.seconds += time.total_seconds()

    def is_settled(self):
        return self.jumps.is_settled(self.now)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path / "time")


def test_nothing_is_thought_of_a_day_between_two_rounds(clock):
    assert clock.is_settled()
    clock.pass_(DAY)
    assert clock.is_settled()
    clock.now -= 300 * DAY
    assert clock.is_settled()


def test_a_clock_that_was_ahead_for_half_an_hour(clock, logged):
    """Also where the server starts with it; nobody knows then of how it went on before."""
    assert clock.is_settled()
    clock.now += 365 * DAY
    clock.start()
    assert not clock.is_settled()
    clock.pass_(timedelta(minutes=30))
    assert not clock.is_settled()
    clock.now -= 365 * DAY
    assert clock.is_settled()
    assert len(logged) == 1


def test_a_server_that_was_off_for_a_year(clock, logged):
    """After an hour it does what is due; the hour begins anew where the clock is set."""
    assert clock.is_settled()
    clock.now += 365 * DAY
    assert not clock.is_settled()
    clock.pass_(timedelta(minutes=50))
    clock.now -= 30 * DAY
    assert not clock.is_settled()
    clock.pass_(timedelta(minutes=50))
    assert not clock.is_settled()
    clock.pass_(timedelta(minutes=10))
    assert clock.is_settled()
    clock.pass_(timedelta(minutes=10))
    assert clock.is_settled()
    assert len(logged) == 2


@pytest.mark.parametrize("content", [b"", b"\xff", b"tomorrow", b"2020-01-01T00:00:00"])
def test_a_file_that_says_no_time(clock, content):
    clock.path.write_bytes(content)
    assert clock.is_settled()


def test_nothing_is_lost_by_a_clock_that_is_ahead(swept):
    """Neither a certificate's record, nor a request that waits."""
    world = swept(approval="manual")
    world.enrol()
    jumps = ClockJumps(world.path / sweeping.LOCK)
    sweep = replace(world.sweep, jumps=jumps)
    sweep.run()
    world.now += 500 * DAY
    sweep.run()
    (row,) = world.store.requests(status=None)
    assert row.status is Status.PENDING


def test_the_server_has_an_eye_on_its_clock(directory):
    home = data_directory.open_existing(directory(), now=datetime.now(UTC))
    served = app.create(home)
    assert served.in_force.sweeper._sweep.jumps is not None


# --- the thread -----------------------------------------------------------------------------------


class Counting:
    """A sweep that counts its rounds."""

    def __init__(self, directory):
        self.settings = SimpleNamespace(directory=directory, sweep_minutes=0.0001)
        self.rounds = 0
        self.ran = threading.Event()

    def run(self):
        self.rounds += 1
        self.ran.set()


def test_one_process_at_a_time(tmp_path):
    """Who has the lock sweeps; the next one takes over when that one is gone."""
    one, other = Counting(tmp_path), Counting(tmp_path)
    first = Sweeper(one, first=0)
    first.start()
    assert one.ran.wait(PATIENCE)
    second = Sweeper(other, first=0)
    second.start()
    before = one.rounds
    wait_until(lambda: one.rounds > before + 5, "more rounds")
    assert other.rounds == 0
    first.close()
    assert other.ran.wait(PATIENCE)
    at_the_end = one.rounds
    second.close()
    assert one.rounds == at_the_end
    assert (tmp_path / sweeping.LOCK).stat().st_mode & 0o777 == 0o600


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """NFS may have none: everybody sweeps, as where no lock can be made."""

    def refused(_descriptor, _operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    sweepers = [Sweeper(Counting(tmp_path)) for _ in range(2)]
    assert all(one._is_ours() for one in sweepers)


def test_a_directory_that_cannot_be_written(tmp_path):
    """Where no lock can be made, everybody sweeps: twice is no harm, never is."""
    counting = Counting(tmp_path / "missing")
    sweeper = Sweeper(counting, first=0)
    sweeper.start()
    assert counting.ran.wait(PATIENCE)
    sweeper.close()
