"""What a second process does in the tests: ``python process.py URL ROLE ...``.

A role says "ready" and then waits for a line, so that the test can start several at once.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from time import sleep

from scepkit.server.reloading.channel import listen
from scepkit.store import (
    AuditAction,
    AuditEvent,
    CertificateKey,
    SameSubject,
    SignerRevoked,
    Store,
)
from scepkit.store.committing.committer import Committer
from stored import CA, NOW, make_grant, make_issuance, make_queued, put_challenge


def say(text):
    os.write(1, f"{text}\n".encode())  # one write: whole lines even when killed


def wait():
    say("ready")
    sys.stdin.readline()


def open_at_once(url):
    wait()
    with Store.open(url) as store:
        store.ping()
    say("opened")


def spend(url, *challenge_ids):
    with Store.open(url) as store:
        for challenge_id in challenge_ids:
            wait()
            answer = store.record(make_issuance(challenge_id=int(challenge_id))).result()
            say(type(answer).__name__)


def void(url, *challenge_ids):
    with Store.open(url) as store:
        for challenge_id in map(int, challenge_ids):
            wait()
            (done,) = store.void_challenges([challenge_id], by="alice", now=NOW)
            say("void" if done else "late")


def approve(url, *request_ids):
    with Store.open(url) as store:
        for request_id in map(int, request_ids):
            grant = make_grant(store.request(request_id))
            wait()
            say(type(store.approve(request_id, grant, by="alice")).__name__)


def reject(url, *request_ids):
    with Store.open(url) as store:
        for request_id in map(int, request_ids):
            wait()
            outcome = store.reject(request_id, fail_info=2, reason="no", by="bob", now=NOW)
            say(outcome.status)


def queue(url, times, most):
    with Store.open(url) as store:
        for _ in range(int(times)):
            wait()
            new = make_queued(peer="192.0.2.1", most_of_peer=int(most), most=int(most))
            say(type(store.queue(new).result()).__name__)


def hold_and_release(url, serial, times):
    with Store.open(url) as store:
        wait()
        done = 0
        for _ in range(int(times)):
            done += store.revoke(int(serial), reason=6, by="alice", now=NOW).is_new
            done += store.release(int(serial), by="alice", now=NOW).is_new
    say(done)


def renew(url, serial):
    """Renew the newest certificate until that is refused, and then say which that was."""
    newest = int(serial)
    with Store.open(url) as store:
        wait()
        for _ in range(500):
            new = make_issuance(renews=newest)
            if store.record(new).result() == SignerRevoked():
                break
            if newest == int(serial):
                say("renewed")
            newest = new.serial
            sleep(0.002)  # a device needs longer for a key; others get their turn
    say(f"{newest:x}")


def audit(url, node, times):
    with Store.open(url, node=node) as store:
        wait()
        for _ in range(int(times)):
            store.write_audit(AuditEvent(AuditAction.STARTED, "a", NOW))


def commit(url, place):
    """Commit for others, until killed."""
    Committer(listen(Path(place)), Store.open(url)).serve()


def for_ever(once):
    def run(url, node=None):
        store = Store.open(url, node=node)

        def loop(_):
            while True:
                say(once(store))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(loop, range(8)))

    return run


def record_one(store):
    issuance = make_issuance(challenge_id=put_challenge(store).id)
    store.record(issuance).result()
    return f"{issuance.serial:x}"


def approve_one(store):
    waiting = store.queue(make_queued(challenge_id=put_challenge(store).id)).result()
    row = store.request(waiting.outcome.request_id)
    grant = make_grant(row)
    store.approve(row.id, grant, by="alice")
    return f"{grant.serial:x}"


def replace_one(store):
    digest = os.urandom(32)
    old = make_issuance(subject_digest=digest)
    new = make_issuance(subject_digest=digest, same_subject=SameSubject.REPLACED)
    for one in (old, new):
        store.record(one).result()
    store.replace(CertificateKey(new.serial, new.issuer), now=NOW)
    return f"{old.serial:x} {new.serial:x}"


def one_of_subject(url, times):
    with Store.open(url) as store:
        for number in range(int(times)):
            new = make_issuance(
                subject_digest=bytes([number]) * 32, same_subject=SameSubject.REFUSED
            )
            wait()
            say(type(store.record(new).result()).__name__)


def sign_one(store):
    number = store.reserve_crl_number(CA)
    store.put_crl(CA, number, b"crl", NOW, NOW)
    return f"{number}"


def revoke_due(url):
    """Revoke what is planned, and say each before it is committed."""
    with Store.open(url, node="test/1") as store:
        revoke = store._revoke_planned

        def telling(connection, key, now):
            change = revoke(connection, key, now)
            say(f"{key.serial:x}")
            return change

        store._revoke_planned = telling
        store.revoke_due(NOW + timedelta(days=3))


ROLES = {
    "open": open_at_once,
    "spend": spend,
    "void": void,
    "approve": approve,
    "reject": reject,
    "queue": queue,
    "hold and release": hold_and_release,
    "renew": renew,
    "audit": audit,
    "commit": commit,
    "record for ever": for_ever(record_one),
    "approve for ever": for_ever(approve_one),
    "one of subject": one_of_subject,
    "replace for ever": for_ever(replace_one),
    "revoke due": revoke_due,
    "sign for ever": for_ever(sign_one),
}

if __name__ == "__main__":
    ROLES[sys.argv[2]](sys.argv[1], *sys.argv[3:])
