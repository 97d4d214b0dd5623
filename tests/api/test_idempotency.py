"""The same request with the same Idempotency-Key gets the same challenges, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from api.desk import CHALLENGES, problem
from scepkit.enrolment.challenges.orders import ChallengeOrder
from scepkit.operations.minting import IdempotencyKey, KeyReused, mint_once
from scepkit.store import Door
from waiting import PATIENCE

BULK = f"{CHALLENGES}/bulk"


def keyed(api, body, token, key="order-17", target=CHALLENGES):
    return api.post(body, token, target=target, headers=[("idempotency-key", key)])


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (CHALLENGES, {"subject": "CN=a"}),
        (BULK, {"orders": [{"subject": f"CN={n}"} for n in "abc"]}),
    ],
)
def test_a_replay(api, token, target, body):
    first = keyed(api, body, token, target=target)
    assert first.status == 201
    assert "idempotency-replayed" not in first.headers
    count = len(list(api.service.store.challenges()))
    api.clock.pass_by(hours=23)
    again = keyed(api, body, token, target=target)
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(list(api.service.store.challenges())) == count
    actions = [one.members["action"] for one in api.service.store.audit_records(limit=10)]
    assert sum("minted" in one for one in actions) == 1


def test_the_same_order_written_otherwise(api, token):
    first = keyed(api, {"subject": "CN=a", "expires": "60m"}, token)
    again = keyed(api, {"expires": "1h", "subject": "CN=a", "label": None}, token)
    assert again.body == first.body


def test_another_request_with_the_same_key(api, token):
    keyed(api, {"subject": "CN=a"}, token)
    for body, target in (
        ({"subject": "CN=b"}, CHALLENGES),
        ({"subject": "CN=a", "uses": 2}, CHALLENGES),
        ({"orders": [{"subject": "CN=a"}] * 2}, BULK),
    ):
        answer = keyed(api, body, token, target=target)
        assert answer.status == 422
        told = problem(answer, "idempotency-key-reused")
        assert told["hint"] == "use a new key for each new request"
    both = api.new_token(endpoints=("default", "wifi"))
    assert keyed(api, {}, both).status == 201
    answer = keyed(api, {}, both, target="/api/v1/endpoints/wifi/challenges")
    problem(answer, "idempotency-key-reused")


def test_keys_of_other_tokens_are_others(api, token):
    one, two = keyed(api, {}, token), keyed(api, {}, api.new_token())
    assert (one.status, two.status) == (201, 201)
    assert json.loads(one.body)["challenge"] != json.loads(two.body)["challenge"]


def test_a_key_can_be_used_anew_after_a_day(api):
    token = api.new_token(lifetime=9 * api.clock.DAY)
    first = json.loads(keyed(api, {"expires": "9d"}, token).body)
    api.clock.pass_by(hours=24, seconds=1)
    answer = keyed(api, {"expires": "9d"}, token)
    assert "idempotency-replayed" not in answer.headers
    second = json.loads(answer.body)
    assert (first["id"], first["challenge"]) != (second["id"], second["challenge"])


def test_nothing_readable_is_stored(api, token, directory):
    made = json.loads(keyed(api, {"subject": "CN=a"}, token, "a-key-of-my-own").body)
    stored = b"".join(path.read_bytes() for path in directory.glob("scep.db*"))
    for secret in (made["challenge"], "a-key-of-my-own", token):
        assert secret.encode() not in stored
    assert b"CN=a" in stored


def test_without_the_token_nobody_works_a_secret_out(api, token):
    """Not even who has the database, the server's key and the Idempotency-Key."""
    keyed(api, {"subject": "CN=a"}, token)
    (kept,) = api.service.store.tokens()
    orders = [ChallengeOrder(timedelta(hours=1), "CN=a")]
    how = {"door": Door.REST, "by": "a thief", "now": api.clock()}
    for secret, is_found in ((token, True), (kept.prefix, False), (kept.digest.hex(), False)):
        key = IdempotencyKey("order-17", kept.id, secret)
        with contextlib.nullcontext() if is_found else pytest.raises(KeyReused, match="are gone"):
            mint_once(api.service.challenges_of("default"), orders, key, **how)


def test_a_challenge_that_was_taken_back_is_still_the_answer(api, token):
    """Who asks again learns what the key stands for; the challenge is void all the same."""
    first = keyed(api, {}, token)
    number = json.loads(first.body)["id"]
    api.ask(f"{CHALLENGES}/{number}/void", "POST", token=token)
    assert keyed(api, {}, token).body == first.body
    assert api.service.store.challenge(int(number)).voided_at


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "caf\xe9"])
def test_a_key_that_is_none(api, token, key):
    answer = keyed(api, {}, token, key)
    assert answer.status == 422
    problem(answer, "invalid")


def test_two_at_once(open_api):
    """In two processes' stead: each has its own connections to the database."""
    one, two = open_api(), open_api()
    token = one.new_token()
    start, answers = threading.Barrier(2), []

    def ask(api):
        start.wait()
        answers.append(keyed(api, {"orders": [{}] * 50}, token, target=BULK))

    threads = [threading.Thread(target=ask, args=(api,)) for api in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].body == answers[1].body
    assert len(list(one.service.store.challenges())) == 50


KILLED = """
import os, signal, sys
from pathlib import Path
from api.desk import CHALLENGES, opened
from scepkit.store.challenges import mintings, records

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

directory, token, where = sys.argv[1:]
api = opened(Path(directory))
if where == "answered":
    kept = api.service.store.add_challenges
    api.service.store.add_challenges = lambda *a, **m: (kept(*a, **m), die())
elif where == "challenges":
    records._minted = die
else:
    kept = mintings.add
    mintings.add = lambda *a: (kept(*a), die())
api.post({"orders": [{"subject": "CN=a"}, {}]}, token, target=CHALLENGES + "/bulk",
         headers=[("idempotency-key", "order-17")])
"""


@pytest.mark.parametrize(
    ("where", "is_stored"), [("key", False), ("challenges", False), ("answered", True)]
)
def test_killed_between_every_two_steps(open_api, directory, where, is_stored):
    """And asked again: the same secrets if any were made, and never any twice."""
    token = open_api().new_token()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, directory, token, where],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    api = open_api()
    stored = list(api.service.store.challenges())
    assert len(stored) == (2 if is_stored else 0)
    orders = {"orders": [{"subject": "CN=a"}, {}]}
    answer = keyed(api, orders, token, target=BULK)
    assert answer.status == 201
    assert ("idempotency-replayed" in answer.headers) == is_stored
    made = json.loads(answer.body)["challenges"]
    found = api.service.challenges_of("default")
    stored = {one.id: one.mac for one in api.service.store.challenges()}
    assert stored == {int(one["id"]): found.mac(one["challenge"]) for one in made}
