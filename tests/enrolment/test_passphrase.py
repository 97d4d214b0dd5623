"""Revocation passphrases: kept only where wanted, encrypted, and found by the certificate."""

from __future__ import annotations

from datetime import timedelta

import pytest

import keys
from enrolment import devices
from scepkit.enrolment.challenges import NoChallenge
from scepkit.enrolment.secret_box import Passphrases, SecretBox
from scepkit.store import Recorded

PASSPHRASE = "the dog ate my key"


@pytest.fixture
def keeping(world):
    world.use(revocation_passphrase=True)
    return world


def passphrase(world, certificate, key=None):
    kept = Passphrases(world.store, SecretBox(key or world.key))
    return kept.of(certificate.serial_number)


def test_off_unless_wanted(world):
    """Without the setting nothing is kept that could be decrypted."""
    device = world.enrolled()
    assert passphrase(world, device.x509) is None
    assert world.sql("SELECT count(*) FROM passphrases") == [(0,)]


def test_it_is_kept_with_the_certificate(keeping):
    secret = keeping.challenge()
    reply = keeping.enrol(secret)
    assert passphrase(keeping, reply.x509) == secret
    assert passphrase(keeping, reply.x509, key=b"another server's key") is None
    assert Passphrases(keeping.store, SecretBox(keeping.key)).of(4711) is None
    keeping.store.close()
    assert not any(secret.encode() in content for content in keeping.files.values())
    keeping.open()


def test_what_several_devices_know_is_none(keeping):
    """Each could revoke the others' certificates."""
    reply = keeping.enrol(keeping.challenge(uses=2))
    assert reply.x509
    assert passphrase(keeping, reply.x509) is None


def test_an_approval_takes_it_over(keeping):
    """A device that an operator lets in brings a passphrase of its own; the queue keeps none."""
    keeping.use(approval=True, rule=NoChallenge())
    keeping.enrol(PASSPHRASE)
    (row,) = keeping.store.requests()
    assert isinstance(keeping.approval.approve(row.id, by="alice", now=keeping.now), Recorded)
    assert passphrase(keeping, keeping.poll().x509) == PASSPHRASE
    assert keeping.sql("SELECT passphrase FROM requests") == [(None,)]


@pytest.mark.parametrize("end", ["reject", "expire"])
def test_who_is_not_let_in_leaves_none(keeping, end):
    keeping.use(approval=True, rule=NoChallenge())
    keeping.enrol(PASSPHRASE)
    (row,) = keeping.store.requests()
    assert keeping.sql("SELECT passphrase IS NULL FROM requests") == [(0,)]
    if end == "reject":
        keeping.approval.reject(row.id, reason="", by="alice", now=keeping.now)
    else:
        assert keeping.store.expire(keeping.now + timedelta(days=30)) == 1
    assert keeping.sql("SELECT passphrase FROM requests") == [(None,)]
    assert keeping.sql("SELECT count(*) FROM passphrases") == [(0,)]


def test_it_goes_on_through_renewals(keeping):
    """A renewal brings none as a rule: the first one stays good, until another comes."""
    keeping.use(rule=NoChallenge(), approval=True)
    keeping.enrol(PASSPHRASE)
    (row,) = keeping.store.requests()
    keeping.approval.approve(row.id, by="alice", now=keeping.now)
    device = keys.Holder(keys.device().key, keeping.poll().x509)
    next_key = keys.rsa_key("next")
    renewed = keeping.renew(device, key=next_key, transaction_id="second")
    assert passphrase(keeping, renewed.x509) == PASSPHRASE
    holder = keys.Holder(next_key, renewed.x509)
    message = devices.renewal_req("another", to=keeping.ra, signer=holder, transaction_id="third")
    again = keeping.ask(message, holder)
    assert passphrase(keeping, again.x509) == "another"
    assert passphrase(keeping, renewed.x509) == PASSPHRASE
