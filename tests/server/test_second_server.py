"""Two servers on one directory are as safe as two worker processes of one.

What has to be decided once is decided by the database, and what has to be made once is made under a
lock on a file, so that it does not matter who started the processes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import keys
from enrolment import devices
from enrolment.test_challenges import REFUSED
from scepkit.ca.directory import rotation
from scepkit.ca.extensions import ca_id
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.scep.messages import Success
from server.live import scep_here
from waiting import PATIENCE, wait_until

ROUNDS = 8


@pytest.fixture
def both(directory, serve):
    """Start two servers on one data directory."""
    path = directory()
    first, second = serve(path), serve(path)
    assert first.fingerprint == second.fingerprint
    return first, second


def at_once(*requests):
    """Send each request to its server at the same moment; return the answers."""
    ready = threading.Barrier(len(requests))

    def send(server, message):
        ready.wait(PATIENCE)
        return server.post(message)

    with ThreadPoolExecutor(len(requests)) as pool:
        sent = [pool.submit(send, *request) for request in requests]
        return [one.result(PATIENCE) for one in sent]


def listed(path):
    done = scep_here("admin", "list", "--json", "--dir", path)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_challenge_is_good_for_one_certificate(both, challenges):
    """Two devices that have the same secret ask both servers at once: one of them gets it."""
    path = both[0].directory
    signers = keys.device("one"), keys.device("two")
    for number, secret in enumerate(challenges(path, ROUNDS)):
        messages = [
            devices.pkcs_req(
                secret,
                to=server.ra,
                signer=signer,
                transaction_id=f"{number}-{at}",
                subject=f"CN={number}-{at}",
            )
            for at, (server, signer) in enumerate(zip(both, signers, strict=True))
        ]
        answers = at_once(*zip(both, messages, strict=True))
        replies = [
            server.read(answer, signer)
            for server, answer, signer in zip(both, answers, signers, strict=True)
        ]
        granted = [one for one in replies if isinstance(one.rep, Success)]
        assert len(granted) == 1
        (refused,) = (one for one in replies if one not in granted)
        assert refused.refusal == ("badRequest", REFUSED)
    assert len(listed(path)) == ROUNDS


def test_one_request_gets_one_certificate(both, challenges):
    """A device asks again, and a load balancer sends that to the other server."""
    path = both[0].directory
    for number, secret in enumerate(challenges(path, ROUNDS)):
        message = devices.pkcs_req(
            secret, to=both[0].ra, transaction_id=str(number), subject=f"CN={number}"
        )
        answers = at_once(*((server, message) for server in both * 2))
        issued = {
            server.read(answer).certificate
            for server, answer in zip(both * 2, answers, strict=True)
        }
        assert len(issued) == 1
    assert len(listed(path)) == ROUNDS


def test_their_crls_are_one(both, challenges):
    """A number is given once, and both servers come to serve the same octets."""
    path = both[0].directory
    ca = x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())
    spki = ca.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    target = f"/crl/{ca_id(hashlib.sha256(spki).digest())}.crl"
    seen = {}

    def served():
        found = [server.ask(target) for server in both]
        if any(one.status != 200 for one in found):
            return None
        for one in found:
            number = number_of(one.body)
            assert seen.setdefault(number, one.body) == one.body
        return found[0].body if found[0].body == found[1].body else None

    wait_until(served, "the first CRL")
    for at, secret in enumerate(challenges(path, 4)):
        server = both[at % 2]
        one = server.enrol(secret, transaction_id=str(at), subject=f"CN={at}").x509
        done = scep_here("admin", "revoke", show_serial(one.serial_number), "--dir", path)
        assert done.returncode == 0, done.stderr
        wait_until(
            lambda serial=one.serial_number: (
                (der := served())
                and x509.load_der_x509_crl(der).get_revoked_certificate_by_serial_number(serial)
            ),
            "the revoked certificate in both CRLs",
        )
    assert len(seen) >= 5


def number_of(der):
    crl = x509.load_der_x509_crl(der)
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_new_ra_is_that_of_both(both, challenges):
    path = both[0].directory
    before = both[0].ra
    days = {"before": timedelta(days=731), "validity": timedelta(days=800)}
    assert rotation.rotate_ra(path, now=datetime.now(UTC), **days)
    wait_until(lambda: all(one.ra_at("/scep").der != before.der for one in both), "the new RA")
    after = both[0].ra_at("/scep")
    assert both[1].ra_at("/scep").der == after.der
    for number, (server, secret) in enumerate(zip(both, challenges(path, 2), strict=True)):
        name = str(number)
        message = devices.pkcs_req(secret, to=after, transaction_id=name, subject=f"CN={name}")
        assert server.read(server.post(message), ra=after).certificate


def test_one_that_stops_leaves_the_other_in_peace(both, challenges):
    """It neither takes the database's WAL with it nor the locks that the other may need."""
    path = both[0].directory
    secrets = challenges(path, 2)
    assert both[0].enrol(secrets[0], transaction_id="a", subject="CN=a").certificate
    assert both[0].stop() == 0
    assert both[1].enrol(secrets[1], transaction_id="b", subject="CN=b").certificate
    assert both[1].ask("/healthz").text == '{"status":"ok"}'
    assert len(listed(path)) == 2
    assert both[1].stop() == 0
