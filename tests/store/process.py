"""What a second process does in the tests: ``python process.py URL ROLE ...``.

A role says "ready" and then waits for a line, so that the test can start several at once.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from conftest import make_issuance, put_challenge
from scepkit.store import Store


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


def record_for_ever(url):
    store = Store.open(url)

    def loop(_):
        while True:
            issuance = make_issuance(challenge_id=put_challenge(store).id)
            store.record(issuance).result()
            say(f"{issuance.serial:x}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(loop, range(8)))


if __name__ == "__main__":
    {"open": open_at_once, "spend": spend, "record": record_for_ever}[sys.argv[2]](
        sys.argv[1], *sys.argv[3:]
    )
