"""A database that scepkit 0.1 of November 2026 wrote, before keys had one canonical form.

In it are a certificate whose renewal is to come and a request that waits for an operator; how it
was made is in `vectors/PROVENANCE.md`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import der
import forge
import keys
from enrolment import devices
from enrolment.world import World
from scepkit.ca.authority import Authority
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.protocol.scep.messages import Pending

PLACE = Path(__file__).parents[1] / "vectors" / "database-0.1"


def holder(name):
    key = load_pem_private_key((PLACE / f"{name}-key.pem").read_bytes(), None)
    return keys.Holder(key, x509.load_pem_x509_certificate((PLACE / f"{name}.pem").read_bytes()))


@pytest.fixture
def world(tmp_path):
    database = tmp_path / "before.db"
    with sqlite3.connect(database) as connection:
        connection.executescript((PLACE / "database.sql").read_text())
    connection.close()
    world = World(tmp_path, database)
    ca, ra = holder("ca"), holder("ra")
    issuers = Issuers([IssuingCA(Authority(ca.x509, ca.key), (ra.credential,))])
    world.use(issuers=issuers, ra_holder=ra, approval=True)
    yield world
    world.store.close()


def test_a_renewal_that_was_to_come(world):
    """The certificate that was issued then renews, with the same key and with another."""
    device = holder("issued")
    for key in (None, keys.rsa_key("new")):
        reply = world.renew(device, subject="CN=issued", key=key, transaction_id=str(key))
        assert reply.x509.subject == device.x509.subject


def test_a_request_that_waited(world):
    """The same key asks for it, however it writes that key, and gets it once it is approved."""
    device = holder("waiting")
    assert world.poll(signer=device, transaction_id="waiting").rep == Pending()
    (row,) = (one for one in world.store.requests() if one.transaction_id == b"waiting")
    world.approval.approve(row.id, by="me", now=world.now)
    issued = world.poll(signer=device, transaction_id="waiting")
    assert issued.x509.public_key() == device.key.public_key()
    assert der.oid("2.5.4.3") + der.utf8("waiting") in issued.certificate
    assert b"waiting.example" in issued.certificate
    # Without the parameters NULL it is the same key.
    bare = der.seq(
        der.seq(der.oid("1.2.840.113549.1.1.1")), der.parse(keys.spki(device.key))[1].der()
    )
    odd = forge.Odd(device.key, forge.certificate(device.key, spki=bare))
    assert world.poll(signer=odd, transaction_id="waiting").certificate == issued.certificate


def test_the_first_request_again(world):
    """The request that waits is sent again: it is the same one, and no second one."""
    device, waiting = holder("waiting"), len(list(world.store.requests()))
    again = devices.pkcs_req("void-3P9X-Moos", to=world.ra, signer=device, transaction_id="waiting")
    assert world.ask(again, device).refusal[0] == "badRequest"
    assert len(list(world.store.requests())) == waiting
