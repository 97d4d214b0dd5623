"""GetCert and GetCRL: who gets what, how often, and where the CRL comes from."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography import x509

import keys
from enrolment import devices
from enrolment.world import CA
from scepkit.enrolment.rules import GetCertRule
from scepkit.errors import HTTPRefused, StoreError
from scepkit.operations import revocation
from scepkit.store import Store

NOT_FOUND = ("badCertId", "there is no such certificate")
NAME = CA.certificate.subject.public_bytes()
HOUR = timedelta(hours=1)


def get_cert(world, holder, serial, issuer=NAME):
    message = devices.get_cert(to=world.ra, signer=holder, serial=serial, issuer=issuer)
    return world.ask(message, holder)


def get_crl(world, holder=None, issuer=NAME):
    return world.ask(devices.get_crl(to=world.ra, signer=holder, issuer=issuer), holder)


def crl(reply):
    (der,) = reply.rep.crls
    assert reply.rep.certificates == ()
    found = x509.load_der_x509_crl(der)
    assert found.is_signature_valid(CA.certificate.public_key())
    return found


@pytest.mark.rfc("S-2.6-1", "S-3.3.2.1-3", "S-4.5.1-1")
def test_the_own_certificate(world):
    """Whoever has a certificate's key, or the next certificate of its subject, may fetch it."""
    device = world.enrolled()
    serial = device.x509.serial_number
    assert get_cert(world, device, serial).x509 == device.x509
    assert get_cert(world, keys.device(), serial).x509 == device.x509
    renewed = world.renew(device, key=keys.rsa_key("next"))
    newer = keys.Holder(keys.rsa_key("next"), renewed.x509)
    assert get_cert(world, newer, serial).x509 == device.x509


@pytest.mark.rfc("S-2.6-1", "P-76", "S-3.3.2.2-1")
def test_others_certificates(world):
    """What is somebody else's, or does not exist, or is of another CA, is the same badCertId."""
    device, other = world.enrolled(), world.enrolled("stranger")
    serial = device.x509.serial_number
    imitation = keys.certify(
        "device", keys.device("stranger").key, issuer_name=CA.certificate.subject
    )
    for holder in (other, keys.device("stranger"), imitation):
        assert get_cert(world, holder, serial).refusal == NOT_FOUND
    assert get_cert(world, device, 4711).refusal == NOT_FOUND
    stranger = keys.name("Somebody's CA").public_bytes()
    assert get_cert(world, device, serial, issuer=stranger).refusal == NOT_FOUND


def test_another_endpoints_certificates(world):
    """Endpoints that share a CA do not give out each other's certificates, nor to each other's."""
    device = world.enrolled()
    world.store.close()
    world.sql("UPDATE certificates SET endpoint = 'other'")
    world.use(get_cert=GetCertRule.ALL)
    assert get_cert(world, device, device.x509.serial_number).refusal == NOT_FOUND
    world.use(get_cert=GetCertRule.OWN)
    mine = world.enrolled("stranger", subject="CN=device").x509
    assert get_cert(world, device, mine.serial_number).refusal == NOT_FOUND


@pytest.mark.parametrize("rule", [GetCertRule.OWN, GetCertRule.ALL])
def test_a_revoked_certificate_fetches_no_other(world, rule):
    """A revoked certificate does not stand for its subject any more, nor for anybody."""
    world.use(get_cert=rule)
    device = world.enrolled()
    renewed = world.renew(device, key=keys.rsa_key("next"))
    world.store.revoke(device.x509.serial_number, reason=1, by="test", now=world.now)
    assert get_cert(world, device, renewed.x509.serial_number).refusal == NOT_FOUND


@pytest.mark.rfc("S-7.8-1", "S-2.9-4")
def test_by_setting(world):
    """GetCert is answered for everybody, for owners or not at all, GetCRL or not, by setting."""
    device, other = world.enrolled(), world.enrolled("stranger")
    serial = device.x509.serial_number
    world.use(get_cert=GetCertRule.ALL)
    assert get_cert(world, other, serial).x509 == device.x509
    world.use(get_cert=GetCertRule.OFF, get_crl=False)
    assert get_cert(world, device, serial).refusal == (
        "badRequest",
        "this server does not answer GetCert",
    )
    assert get_crl(world).refusal == ("badRequest", "this server does not answer GetCRL")


@pytest.mark.rfc("S-7.8-1", "P-60", "P-49")
def test_too_many(world):
    """Beyond so many a minute the answer is HTTP 429, before any private-key operation."""
    world.use(retrievals_per_minute=2)
    message = devices.get_crl(to=world.ra, issuer=NAME)
    for _ in range(2):
        world.ask(message)
    with pytest.raises(HTTPRefused) as refused:
        world.ask(message)
    assert refused.value.status == 429
    world.now += timedelta(seconds=31)
    crl(world.ask(message))


@pytest.mark.rfc("S-2.7-3", "S-3.3.2.1-4", "S-4.6.1-1", "S-3.4-2")
def test_the_crl(world):
    """GetCRL is answered with the current CRL of the CA and no certificate."""
    device = world.enrolled()
    assert len(crl(get_crl(world))) == 0
    world.store.revoke(device.x509.serial_number, reason=4, by="test", now=world.now)
    world.now += timedelta(seconds=5)
    (entry,) = crl(get_crl(world))
    assert entry.serial_number == device.x509.serial_number
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.superseded


@pytest.mark.rfc("P-76", "S-3.3.2.2-1")
def test_the_crl_of_another_ca(world):
    """The CRL of a CA that is not this endpoint's is badCertId."""
    stranger = keys.name("Somebody's CA").public_bytes()
    assert get_crl(world, issuer=stranger).refusal == (
        "badCertId",
        "there is no CA with this name",
    )


def test_a_crl_is_kept_while_it_is_good(world):
    """A CRL is made anew near its end, or when something was revoked since; numbers only grow."""
    device = world.enrolled()

    def number():
        found = crl(get_crl(world))
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    first = number()
    world.now += HOUR
    assert number() == first
    world.store.revoke(device.x509.serial_number, reason=0, by="test", now=world.now)
    second = number()
    assert second > first
    assert number() == second
    world.now += 20 * HOUR
    assert number() > second


def test_revoked_while_a_crl_is_made(world, monkeypatch):
    """What is revoked after the list was read is in the next CRL, which is then due."""
    device = world.enrolled()
    original = revocation.sign_crl

    def slow(authority, revoked, **options):
        listed = list(revoked)
        world.store.revoke(device.x509.serial_number, reason=1, by="test", now=world.now)
        return original(authority, listed, **options)

    monkeypatch.setattr(revocation, "sign_crl", slow)
    assert len(crl(get_crl(world))) == 0
    monkeypatch.undo()
    world.now += timedelta(seconds=5)
    assert len(crl(get_crl(world))) == 1


def test_the_last_crl_while_no_new_one_can_be_made(world, monkeypatch):
    """As long as it is good; then the device is told to come back later."""
    device = world.enrolled()
    last = crl(get_crl(world))

    def refused(*_arguments, **_options):
        raise StoreError("the disk is full")

    monkeypatch.setattr(Store, "put_crl", refused)
    world.store.revoke(device.x509.serial_number, reason=0, by="test", now=world.now)
    assert crl(get_crl(world)) == last
    world.now += 25 * HOUR
    with pytest.raises(StoreError):
        get_crl(world)
    monkeypatch.undo()
    assert len(crl(get_crl(world))) == 1


def test_what_expired_leaves_after_one_more_crl(world):
    """RFC 5280 section 3.3: it is in one CRL that was made after its end."""
    device = world.enrolled()
    world.store.revoke(device.x509.serial_number, reason=0, by="test", now=world.now)
    world.now = device.x509.not_valid_after_utc - HOUR
    assert len(crl(get_crl(world))) == 1
    world.now += 25 * HOUR
    assert len(crl(get_crl(world))) == 1
    world.now += 25 * HOUR
    assert len(crl(get_crl(world))) == 0


def test_many_ask_at_once_for_a_new_crl(world):
    """Of threads that find the CRL outdated, one makes a new one."""
    device = world.enrolled()
    first = world.store.reserve_crl_number(CA.key_hash)
    world.store.revoke(device.x509.serial_number, reason=0, by="test", now=world.now)
    everybody = threading.Barrier(8)

    def ask(_number):
        everybody.wait()
        return revocation.current_crl(world.store, CA, now=world.now, lifetime=24 * HOUR).number

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {first + 1}


def looked_for(world, message):
    """Return what the log says of a request: serial number, subject, reason."""
    decision = world.endpoint.decide(message)
    return decision.serial, decision.subject, decision.reason


def test_the_log_names_what_was_asked_for(world):
    """Whether it was found, may not be had or does not exist; its subject where it is known."""
    device, other = world.enrolled(), world.enrolled("stranger")
    serial = device.x509.serial_number
    to = {"to": world.ra, "issuer": NAME}
    of = functools.partial(devices.get_cert, **to)
    subject = "CN=device"
    assert looked_for(world, of(signer=device, serial=serial)) == (serial, subject, "")
    told = looked_for(world, of(signer=other, serial=serial))
    assert told == (serial, subject, "the signer of the request may not have this certificate")
    assert looked_for(world, of(signer=device, serial=4711)) == (4711, "", NOT_FOUND[1])
    asked = devices.get_crl(signer=device, serial=serial, **to)
    assert looked_for(world, asked) == (serial, subject, "")
    asked = devices.get_crl(signer=device, serial=4711, **to)
    assert looked_for(world, asked) == (4711, "", "")


@pytest.mark.parametrize("serial", [-1, 1 << 160, 1 << 10_000])
def test_a_number_that_no_certificate_has_is_not_logged(world, serial):
    device = world.enrolled()
    asked = devices.get_cert(to=world.ra, signer=device, serial=serial, issuer=NAME)
    assert looked_for(world, asked) == (None, "", NOT_FOUND[1])
