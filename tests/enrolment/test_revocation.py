"""Revoking, holding, releasing: what the CRL says of it, and what else follows at the endpoint."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography import x509

import keys
from enrolment import devices
from enrolment.world import CA
from scepkit.errors import UsageError
from scepkit.operations import revocation
from scepkit.protocol import cmp
from scepkit.protocol.crl import Reason
from scepkit.protocol.scep.messages import Pending
from scepkit.store import Action, Recorded, SignerRevoked

DAY = timedelta(days=1)
REFUSED = ("badRequest", "the certificate that signed was revoked")
NAME = CA.certificate.subject.public_bytes()
# removeFromCRL is for CRLs that only say what changed.
REVOKING = [one for one in Reason if one is not Reason.removeFromCRL]


@pytest.fixture
def device(world):
    return world.enrolled()


def revoke(world, holder, reason=Reason.keyCompromise, **more):
    how = {"by": "alice", "now": world.now, **more}
    return revocation.revoke(world.store, holder.x509.serial_number, reason=reason, **how)


def hold(world, holder):
    return revocation.hold(world.store, holder.x509.serial_number, by="alice", now=world.now)


def release(world, holder):
    return revocation.release(world.store, holder.x509.serial_number, by="bob", now=world.now)


def crl(world):
    row = revocation.current_crl(world.store, CA, now=world.now, lifetime=DAY)
    found = x509.load_der_x509_crl(row.der)
    assert found.is_signature_valid(CA.certificate.public_key())
    return found


def entry_of(world, holder):
    return crl(world).get_revoked_certificate_by_serial_number(holder.x509.serial_number)


def test_the_names_are_the_same_everywhere():
    """An operator and a certificate's owner give the same reasons."""
    assert cmp.Reason is Reason
    assert [x509.ReasonFlags(one.name) for one in Reason]


@pytest.mark.parametrize("reason", REVOKING, ids=lambda reason: reason.name)
def test_each_reason_is_in_the_crl(world, device, reason):
    assert revoke(world, device, reason).is_new
    entry = entry_of(world, device)
    assert entry.revocation_date_utc == world.now.replace(microsecond=0)
    if reason is Reason.unspecified:
        assert len(entry.extensions) == 0  # SHOULD be left out (RFC 5280 section 5.3.1)
    else:
        found = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        assert found is x509.ReasonFlags(reason.name)


def test_the_invalidity_date_is_in_the_crl(world, device):
    stolen = (world.now - 3 * DAY).replace(microsecond=0)
    revoke(world, device, invalidity_date=stolen)
    entry = entry_of(world, device)
    found = entry.extensions.get_extension_for_class(x509.InvalidityDate).value
    assert found.invalidity_date_utc == stolen


def test_an_invalidity_date_ahead_is_now(world, device):
    """A device with a wrong clock must not fail to get its certificate revoked."""
    change = revoke(world, device, invalidity_date=world.now + DAY)
    assert change.certificate.invalidity_date == world.now


def test_a_hold_is_in_the_crl_until_it_is_released(world, device):
    hold(world, device)
    reason = entry_of(world, device).extensions.get_extension_for_class(x509.CRLReason).value
    assert reason.reason is x509.ReasonFlags.certificate_hold
    assert release(world, device).is_new
    assert entry_of(world, device) is None
    lines = world.store.revocation_history(device.x509.serial_number)
    assert [(one.action, Reason(one.reason), one.by) for one in lines] == [
        (Action.HOLD, Reason.certificateHold, "alice"),
        (Action.RELEASE, Reason.removeFromCRL, "bob"),
    ]


def test_a_hold_that_becomes_a_revocation_keeps_its_date(world, device):
    first = world.now
    hold(world, device)
    world.now += DAY
    assert revoke(world, device).is_new
    entry = entry_of(world, device)
    assert entry.revocation_date_utc == first.replace(microsecond=0)
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is (
        x509.ReasonFlags.key_compromise
    )


def test_what_cannot_be(world, device):
    with pytest.raises(UsageError, match="removeFromCRL revokes nothing"):
        revoke(world, device, Reason.removeFromCRL)
    assert not release(world, device).is_new
    revoke(world, device)
    with pytest.raises(UsageError, match="is revoked for good"):
        release(world, device)
    assert not hold(world, device).is_new
    assert revocation.release(world.store, 4711, by="bob", now=world.now) is None
    assert revocation.hold(world.store, 4711, by="bob", now=world.now) is None


def test_an_expired_certificate_leaves_after_one_more_crl(world, device):
    """RFC 5280 section 3.3: each revocation is in at least one CRL after the certificate's end."""
    revoke(world, device)
    world.now = device.x509.not_valid_after_utc - timedelta(hours=1)
    assert entry_of(world, device) is not None
    world.now += DAY
    assert entry_of(world, device) is not None
    world.now += DAY
    assert entry_of(world, device) is None


@pytest.mark.parametrize("is_held", [False, True], ids=["revoked", "held"])
def test_all_follows(world, device, is_held):
    """It cannot renew, poll, or get certificates of others; after a release it can."""
    other = keys.Holder(keys.rsa_key("next"), world.renew(device, key=keys.rsa_key("next")).x509)
    get_cert = devices.get_cert(
        to=world.ra, signer=device, serial=other.x509.serial_number, issuer=NAME
    )
    poll = {"transaction_id": "first device", "signer": device}
    assert world.poll(**poll).x509 == device.x509
    hold(world, device) if is_held else revoke(world, device)
    assert world.renew(device, transaction_id="second").refusal == REFUSED
    assert world.poll(**poll).refusal == REFUSED
    assert world.ask(get_cert, device).refusal[0] == "badCertId"
    if is_held:
        release(world, device)
        assert world.poll(**poll).x509 == device.x509
        assert world.ask(get_cert, device).x509 == other.x509
        assert world.renew(device, transaction_id="second").x509


def test_a_renewal_that_waits_is_not_approved_after_the_revocation(world, device):
    """The operator revokes what a waiting request is signed with: it gets nothing."""
    world.use(approval=True)
    message = devices.pkcs_req(to=world.ra, transaction_id="new")
    assert isinstance(world.ask(message).rep, Pending)
    world.store.close()
    named = f"renews = '{device.x509.serial_number:x}', renews_issuer = issuer"
    world.sql(f"UPDATE requests SET {named} WHERE serial IS NULL")
    world.open()
    revoke(world, device)
    (row,) = world.store.requests()
    assert world.approval.approve(row.id, by="bob", now=world.now) == SignerRevoked()


def test_a_renewal_and_a_hold_come_in_one_order(world, device):
    """Whichever is first: a renewal is in the record before the hold, or it is refused."""
    for number in range(5):
        decision = world.endpoint.decide(
            devices.renewal_req(to=world.ra, signer=device, transaction_id=f"at once {number}")
        )
        with ThreadPoolExecutor(2) as pool:
            renewing = pool.submit(lambda d=decision: world.endpoint.record(d).result())
            holding = pool.submit(hold, world, device)
            recorded, change = renewing.result(), holding.result()
        assert change.is_new
        assert isinstance(recorded, Recorded | SignerRevoked)
        reply = devices.read(world.endpoint.conclude(decision, recorded).reply, world.ra, device)
        if isinstance(recorded, SignerRevoked):
            assert reply.refusal == REFUSED
        assert release(world, device).is_new


def test_a_shorter_life(world):
    """What crl_hours is lowered to counts at once, not when the long CRL ends."""
    long = revocation.current_crl(world.store, CA, now=world.now, lifetime=365 * DAY)
    short = revocation.current_crl(world.store, CA, now=world.now, lifetime=DAY)
    assert (short.number, short.next_update) == (long.number + 1, world.now + DAY)


def test_a_crl_of_a_clock_that_was_ahead(world):
    """Nobody believes it, so it is made anew; a few minutes are two servers' clocks."""
    ahead = revocation.current_crl(world.store, CA, now=world.now + DAY, lifetime=DAY)
    found = revocation.best_crl(world.store, CA, now=world.now, lifetime=DAY)
    assert (found.number, found.this_update) == (ahead.number + 1, world.now)
    a_little = world.now - timedelta(minutes=4)
    assert revocation.best_crl(world.store, CA, now=a_little, lifetime=DAY) == found


def test_who_fetches_waits_for_nobody(world):
    """While a CRL is made, and for seconds after, the last one is given out."""
    first = revocation.best_crl(world.store, CA, now=world.now, lifetime=DAY)
    world.store.revoke(world.enrolled().x509.serial_number, reason=1, by="test", now=world.now)

    def number(seconds):
        now = world.now + timedelta(seconds=seconds)
        return revocation.best_crl(world.store, CA, now=now, lifetime=DAY).number

    assert number(4) == first.number
    with revocation._making:
        assert number(6) == first.number
    assert number(6) == first.number + 1
