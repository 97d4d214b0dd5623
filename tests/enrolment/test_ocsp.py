"""The answers of OCSP: what is so at this moment, and who signs it."""

from __future__ import annotations

import threading
import tracemalloc
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as library

import der
import keys
from enrolment.world import CA
from ocsp import asking
from scepkit.ca import ocsp as ca_ocsp
from scepkit.ca.authority import Authority
from scepkit.ca.directory.founding import ca_name, self_signed
from scepkit.ca.ocsp import Delegate, OCSPResponder, OCSPResponders
from scepkit.ca.profiles.profile import Profile
from scepkit.services import ocsp
from scepkit.services.ocsp import OCSPService
from waiting import PATIENCE

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
SUCCESSFUL = library.OCSPResponseStatus.SUCCESSFUL
BY_NAME = {one.name.lower(): one for one in library.OCSPCertStatus}


def delegate_of(authority, at=keys.NOW, **how):
    key = keys.ec_key("ocsp")
    return Delegate(ca_ocsp.issue(authority, key, now=at, **how), key)


def authority(name, at=keys.NOW):
    key = keys.ec_key(name)
    return Authority(self_signed(key, ca_name(name), now=at, decrypts=False), key)


class Site:
    """A service, and certificates that it knows.

    Args:
        world: the database and the clock.
        others: further CAs.
    """

    def __init__(self, world, *others):
        self.world = world
        cas = [CA, *others]
        self.responders = OCSPResponders(
            OCSPResponder(one, delegate_of(one), [keys.ra().x509]) for one in cas
        )
        self.open()

    def open(self):
        self.service = OCSPService(self.responders, self.world.store, lambda: self.world.now, HOUR)

    def ask(self, certificate, ca=CA.certificate, **how):
        """Ask about one certificate and read the answer."""
        answer = self.service.answer(asking.library(certificate, ca, **how))
        return answer, asking.verified(answer.der, ca)

    def outcome(self, certificate, **how):
        """Return what the client reads, which must be what the log says."""
        answer, found = self.ask(certificate, **how)
        assert found.certificate_status is BY_NAME[answer.outcome]
        assert answer.serials == (certificate.serial_number,)
        return answer.outcome

    def revoke(self, certificate, reason=1):
        world = self.world
        world.store.revoke(certificate.serial_number, reason=reason, by="test", now=world.now)


@pytest.fixture
def site(world):
    return Site(world)


@pytest.fixture
def device(world):
    return world.enrolled().x509


def refused(answer):
    """Return the name of an unsigned answer; it must not be kept by anybody."""
    assert answer.lasting_until is None
    status = library.load_der_ocsp_response(answer.der).response_status
    assert status is not SUCCESSFUL
    assert status.name.lower().replace("_", "") == answer.outcome.lower()
    return answer.outcome


@pytest.mark.parametrize("nonce", [None, b"n" * 32], ids=["plain", "nonce"])
def test_good_then_revoked(site, world, device, nonce):
    assert site.outcome(device, nonce=nonce) == "good"
    world.now += MINUTE
    site.revoke(device, reason=4)
    world.now += MINUTE
    answer, found = site.ask(device, nonce=nonce)
    assert answer.outcome == "revoked"
    assert found.revocation_time_utc == world.now - MINUTE
    assert found.revocation_reason.name == "superseded"
    assert (found.this_update_utc, found.next_update_utc) == (world.now, world.now + HOUR)
    assert [one.value.nonce for one in found.extensions] == ([nonce] if nonce else [])


def test_after_its_end(world):
    """Whoever has an old signature to judge may ask; it goes when the database forgets it."""
    world.use(profile=Profile(validity=HOUR))
    site, device = Site(world), world.enrolled().x509
    world.now = device.not_valid_after_utc + HOUR
    assert site.outcome(device) == "good"


def test_only_what_was_issued_is_good(site, device):
    """A certificate that the CA's key made and the database does not know may be a thief's."""
    forged = keys.certify("thief", keys.ec_key("thief"), keys.ca()).x509
    assert site.outcome(forged) == "unknown"
    assert site.outcome(device) == "good"


def test_what_the_ca_issued_for_the_server_itself(site):
    assert site.outcome(keys.ra().x509) == "good"


@pytest.mark.parametrize("digest", ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"])
def test_every_hash(site, device, digest):
    assert site.outcome(device, digest=getattr(hashes, digest)()) == "good"


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()], ids=lambda one: one.name)
def test_a_hash_without_parameters(site, device, digest):
    """RFC 5754 section 2: they may be NULL or missing, and are repeated as they came."""
    names = asking.names(CA.certificate, digest)
    oid, serial = asking.OIDS[digest.name], device.serial_number
    asked = asking.raw_cert_id(oid, *names, serial, parameters=b"")
    answer = site.service.answer(asking.request(asked))
    assert answer.outcome == "good"
    assert asked in asking.verified(answer.der, CA.certificate).tbs_response_bytes


@pytest.mark.parametrize(
    "cert_id",
    [
        asking.cert_id(keys.customer().x509, 1),
        asking.raw_cert_id("1.2.840.113549.2.5", *asking.names(CA.certificate, hashes.SHA256()), 1),
        asking.raw_cert_id(asking.OIDS["sha1"], *asking.names(CA.certificate, hashes.SHA256()), 1),
        asking.raw_cert_id(
            asking.OIDS["sha256"],
            asking.names(CA.certificate, hashes.SHA256())[0],
            b"k" * 32,
            1,
        ),
        asking.raw_cert_id(asking.OIDS["sha256"], b"", b"", 1),
    ],
    ids=["foreign", "unknown hash", "another hash", "same name", "nothing"],
)
def test_a_foreign_issuer(site, cert_id):
    """Unsigned: about others' certificates nobody shall believe us anything."""
    assert refused(site.service.answer(asking.request(cert_id))) == "unauthorized"


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"garbage",
        asking.request(),
        asking.request(asking.cert_id(CA.certificate, 1), extensions=[asking.nonce(b"")]),
        asking.request(asking.cert_id(CA.certificate, 1), extensions=[asking.nonce(b"n" * 129)]),
        asking.request(*(asking.cert_id(CA.certificate, number) for number in range(101))),
        b"0" * 10_000_000,
    ],
    ids=["nothing", "garbage", "nobody", "nonce of 0", "nonce of 129", "101", "10 MB"],
)
def test_what_is_no_request(site, request_):
    assert refused(site.service.answer(request_)) == "malformedRequest"


@pytest.mark.parametrize("serial", [0, -1, -77, 2**159])
def test_serial_numbers_that_nobody_has(site, serial):
    answer = site.service.answer(asking.request(asking.cert_id(CA.certificate, serial)))
    assert answer.outcome == "unknown"
    assert asking.verified(answer.der, CA.certificate).serial_number == serial


def test_a_hundred_in_one(site, device):
    serials = [device.serial_number, *range(1, 98), keys.ra().x509.serial_number]
    ids = [asking.cert_id(CA.certificate, one) for one in serials]
    foreign = asking.cert_id(keys.customer().x509, device.serial_number)
    answer = site.service.answer(asking.request(foreign, *ids))
    assert answer.outcome == "several"
    found = list(library.load_der_ocsp_response(answer.der).responses)
    assert [one.serial_number for one in found] == [device.serial_number, *serials]
    assert [one.certificate_status.name for one in found] == [
        *("UNKNOWN", "GOOD"),
        *["UNKNOWN"] * 97,
        "GOOD",
    ]


def test_the_same_twice(site, device):
    one = asking.cert_id(CA.certificate, device.serial_number)
    answer = site.service.answer(asking.request(one, one))
    found = list(library.load_der_ocsp_response(answer.der).responses)
    assert [one.certificate_status.name for one in found] == ["GOOD", "GOOD"]


def test_each_ca_answers_for_its_own(world, device):
    """A serial number is one CA's: the same one of another CA is another certificate."""
    other = authority("Other CA")
    site = Site(world, other)
    mine = asking.cert_id(CA.certificate, device.serial_number)
    theirs = asking.cert_id(other.certificate, device.serial_number)
    assert site.service.answer(asking.request(mine)).outcome == "good"
    answer = site.service.answer(asking.request(theirs))
    assert answer.outcome == "unknown"
    asking.verified(answer.der, other.certificate)
    both = site.service.answer(asking.request(theirs, mine))
    found = library.load_der_ocsp_response(both.der)
    found.certificates[0].verify_directly_issued_by(other.certificate)
    assert [one.certificate_status.name for one in found.responses] == ["UNKNOWN", "UNKNOWN"]
    both = site.service.answer(asking.request(mine, theirs))
    found = library.load_der_ocsp_response(both.der)
    found.certificates[0].verify_directly_issued_by(CA.certificate)
    assert [one.certificate_status.name for one in found.responses] == ["GOOD", "UNKNOWN"]


# --- what is kept -----------------------------------------------------------------------------


def kept(site, device, **how):
    return site.ask(device, **how)[0].was_kept


def test_signed_once_while_nothing_changes(site, world, device):
    first, _ = site.ask(device)
    world.now += HOUR / 2 - SECOND
    again, _ = site.ask(device)
    assert (again.der, again.was_kept, first.was_kept) == (first.der, True, False)
    assert again.lasting_until == first.lasting_until == keys.NOW + HOUR
    world.now += SECOND
    later, found = site.ask(device)
    assert not later.was_kept
    assert found.this_update_utc == world.now
    assert kept(site, device)


def test_what_was_signed_while_the_clock_was_ahead_goes_when_it_is_back(site, world, device):
    """Nobody who has the right time would believe it."""
    right = world.now
    world.now = right + MINUTE
    site.ask(device)
    assert kept(site, device)
    world.now = right
    answer, found = site.ask(device)
    assert not answer.was_kept
    assert found.this_update_utc == right
    assert kept(site, device)


def test_a_nonce_is_answered_anew(site, device):
    site.ask(device)
    answer, found = site.ask(device, nonce=b"n" * 16)
    assert (answer.was_kept, answer.lasting_until) == (False, None)
    assert found.extensions[0].value.nonce == b"n" * 16
    _, found = site.ask(device)
    assert len(found.extensions) == 0


def test_what_is_unknown_is_not_kept(site, world, device):
    """A database that is restored knows it the next moment."""
    forged = keys.certify("thief", keys.ec_key("thief"), keys.ca()).x509
    answer, _ = site.ask(forged)
    assert answer.lasting_until is None
    assert not kept(site, forged)


def test_never_good_after_the_revocation(site, world, device):
    """Also when another process revoked it: the database is asked each time."""
    assert site.outcome(device) == "good"
    assert kept(site, device)
    world.sql(
        "UPDATE certificates SET revoked_at = '2026-01-01 00:00:00.000000', revocation_reason = 1"
    )
    assert site.outcome(device) == "revoked"
    assert kept(site, device)


def test_after_a_hold_nothing_of_before_it_is_shown(site, world, device):
    site.ask(device)
    site.revoke(device, reason=6)
    world.now += SECOND
    answer, found = site.ask(device)
    assert found.revocation_reason.name == "certificate_hold"
    world.sql("UPDATE certificates SET revoked_at = NULL, revocation_reason = NULL")
    world.now += SECOND
    answer, found = site.ask(device)
    assert (answer.outcome, answer.was_kept) == ("good", False)
    assert found.this_update_utc == world.now


def test_another_reason_is_another_answer(site, world, device):
    site.revoke(device, reason=6)
    site.ask(device)
    world.sql("UPDATE certificates SET revocation_reason = 1")
    assert site.ask(device)[1].revocation_reason.name == "key_compromise"


def test_only_so_many_are_kept(site, world, monkeypatch):
    monkeypatch.setattr(ocsp, "MAX_KEPT", 2)
    one, two, three = (world.enrolled(name).x509 for name in ("one", "two", "three"))
    site.ask(one)
    site.ask(two)
    assert kept(site, one)
    site.ask(three)
    assert [kept(site, each) for each in (three, one, two)] == [True, True, False]


def test_what_a_question_has_beside_is_not_kept(site, device):
    """Anybody may ask, with extensions of any kind up to 64 KiB, and of many certificates."""
    site.ask(keys.ra().x509)  # whatever is made once is made
    padding = asking.extension("1.2.3", bytes(60_000))
    tracemalloc.start()
    for digest in (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        for parameters in (der.NULL, b""):
            names = asking.names(CA.certificate, digest)
            asked = asking.raw_cert_id(
                asking.OIDS[digest.name], *names, device.serial_number, parameters
            )
            question = asking.request(asked, single_extensions=[padding])
            assert not site.service.answer(question).was_kept
            assert site.service.answer(question).was_kept
    del question
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2 * len(padding)


def test_every_form_of_a_question_finds_what_is_kept(site, device):
    asked = asking.cert_id(CA.certificate, device.serial_number)
    first = site.service.answer(asking.request(asked, extensions=[asking.extension("1.2.3", b"")]))
    for question in (
        asking.request(asked),
        asking.request(asked, single_extensions=[asking.extension("1.2.3", b"")]),
        asking.request(b"\x30\x80" + asked[2:] + b"\0\0"),
        asking.request(asked, version=der.tlv(0xA0, der.integer(0))),
    ):
        found = site.service.answer(question)
        assert (found.der, found.was_kept) == (first.der, True)


def test_what_is_kept_is_found_without_reading_the_question_again(site, device, monkeypatch):
    site.ask(device)
    monkeypatch.setattr(ocsp.ocsp, "read_request", None)
    assert kept(site, device)


def test_signed_ahead(site, world):
    """What was asked for again is signed anew before it is too old; what was not is left alone."""
    popular, once = (world.enrolled(name).x509 for name in ("popular", "once"))
    site.ask(once)
    first, _ = site.ask(popular)
    assert kept(site, popular)
    world.now += HOUR / 2 - 2 * MINUTE
    assert site.service.sign_ahead(MINUTE) == 0
    world.now += MINUTE
    assert site.service.sign_ahead(MINUTE) == 1
    assert site.service.sign_ahead(MINUTE) == 0
    world.now += MINUTE
    second, found = site.ask(popular)
    assert second.was_kept
    assert found.this_update_utc == world.now - MINUTE > first.produced_at
    assert not kept(site, once)


def test_signed_ahead_says_what_is_so(site, world, device):
    """A certificate that was revoked meanwhile is not called good again ahead of a question."""
    site.ask(device)
    assert kept(site, device)
    site.revoke(device)
    world.now += HOUR / 2
    assert site.service.sign_ahead(MINUTE) == 1
    answer, _ = site.ask(device)
    assert (answer.outcome, answer.was_kept) == ("revoked", True)


def test_nothing_lasts_longer_than_who_signed_it(site, world, device):
    responder = OCSPResponder(CA, delegate_of(CA, validity=HOUR / 4))
    site.responders = OCSPResponders([responder])
    site.open()
    answer, found = site.ask(device)
    assert found.next_update_utc == answer.lasting_until == world.now + HOUR / 4
    world.now += HOUR / 4
    answer, found = site.ask(device)
    assert found.certificates == []
    assert found.next_update_utc == world.now + HOUR


def test_a_ca_that_ended_answers_no_more(world, device):
    """Nor could anybody believe it."""
    other = authority("Other CA")
    site = Site(world, other)
    asked = asking.request(asking.cert_id(other.certificate, 1))
    world.now = other.certificate.not_valid_after_utc - SECOND
    assert site.service.answer(asked).outcome == "unknown"
    world.now += SECOND
    assert refused(site.service.answer(asked)) == "unauthorized"


def test_revoked_while_many_ask(site, world, device):
    """Whoever asks after the revocation is on the disk hears of it, whatever others were told."""
    request = asking.library(device, CA.certificate)
    is_revoked = threading.Event()
    after, started = [], threading.Barrier(5)

    def ask():
        started.wait()
        while True:
            was = is_revoked.is_set()
            answer = site.service.answer(request)
            if was:
                after.append(answer.outcome)
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    for _ in range(20):
        site.service.answer(request)
    site.revoke(device)
    is_revoked.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert after == ["revoked"] * 4
