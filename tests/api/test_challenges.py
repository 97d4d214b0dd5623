"""Challenges by REST: made, listed, taken back."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import datetime, timedelta

import pytest

from api.desk import CHALLENGES, problem
from scepkit.enrolment.challenges import batch
from scepkit.server.directory import data_directory
from scepkit.store import AuditAction, Door
from server import socketless

BULK = f"{CHALLENGES}/bulk"
ORDER = {
    "subject": "CN=dev1,O=Example",
    "sans": ["dns:dev1.example"],
    "expires": "2h",
    "label": "order-17",
    "uses": 2,
    "data": {"owner": "alice"},
}


def test_a_challenge_is_made_as_it_was_ordered(api, token):
    answer = api.post(ORDER, token)
    assert (answer.status, answer.headers["cache-control"]) == (201, "no-store")
    made = json.loads(answer.body)
    assert made.keys() == {"id", "challenge", "expires_at"}
    assert datetime.fromisoformat(made["expires_at"]) == api.clock() + timedelta(hours=2)
    assert answer.headers["location"] == f"{CHALLENGES}/{made['id']}"
    stored = api.service.store.challenge(int(made["id"]))
    assert (stored.subject, stored.sans) == ("CN=dev1,O=Example", ("dns:dev1.example",))
    assert (stored.label, stored.data, stored.endpoint) == (
        "order-17",
        {"owner": "alice"},
        "default",
    )
    assert (stored.uses, stored.door) == (2, "rest")
    # It is the secret of that one.
    challenges = data_directory.challenges_of(api.service.home, api.service.store)
    assert api.service.store.find_challenge("default", challenges.mac(made["challenge"])) == stored


@pytest.mark.parametrize("order", [{}, dict.fromkeys(ORDER)])
def test_what_is_left_out_or_null(api, token, order):
    made = json.loads(api.post(order, token).body)
    assert datetime.fromisoformat(made["expires_at"]) == api.clock() + timedelta(hours=1)
    stored = api.service.store.challenge(int(made["id"]))
    assert (stored.subject, stored.sans, stored.label, stored.data) == (None, (), None, {})


def test_the_record_has_the_tokens_name(api, token, logged):
    made = json.loads(api.post(ORDER, token).body)
    record = next(api.service.store.audit_records(limit=1)).members
    prefix = token.rpartition("_")[0]
    assert (record["action"], record["actor"]) == (
        AuditAction.CHALLENGE_MINTED,
        f"token mdm, {prefix}",
    )
    (line,) = [one for one in logged if one["event"] == "api"]
    assert (line["token"], line["status"]) == (f"token mdm, {prefix}", 201)
    assert (line["endpoint"], line["challenge"]) == ("default", int(made["id"]))
    assert made["challenge"] not in str(logged)
    assert token not in str(logged)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"subject": "dev1"}, "subject: 'dev1' is not a subject"),
        ({"subject": ""}, "subject: it is empty"),
        ({"subject": 1}, "subject: it has to be text"),
        ({"sans": ["dns:dev1.example"]}, "sans: names alone"),
        ({"subject": "CN=a", "sans": "dns:a.example"}, "sans: it has to be a list"),
        ({"expires": "soon"}, "expires: 'soon' is not a duration"),
        ({"expires": 3600}, "expires: it has to be text"),
        ({"label": "x" * 101}, "label: the label has 101"),
        ({"data": {"Owner": "a"}}, "data: data cannot be called 'Owner'"),
        ({"data": []}, "data: it has to be an object"),
        ({"label": " "}, "label: it is empty"),
        ({"uses": 0}, "uses: a challenge is good for 1"),
        ({"uses": 1.5}, "uses: it has to be a whole number"),
        ({"uses": "2"}, "uses: it has to be a whole number"),
        ({"sujbect": "CN=a"}, "unknown field 'sujbect'"),
        ([], "the body is no object"),
        ("CN=a", "the body is no object"),
    ],
)
def test_an_order_that_cannot_be_used(api, token, order, said):
    answer = api.post(order, token)
    assert answer.status == 422
    assert said in problem(answer, "invalid")["detail"]
    assert list(api.service.store.challenges()) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff{}", b"[" * 100_000, b'{"subject": NaN}', b'{"label": "a", "label": "b"}'],
)
def test_a_body_that_is_no_json(api, token, body):
    answer = api.post(body, token, headers=[("content-type", "application/json")])
    assert answer.status == 400
    problem(answer, "not-json")


def test_a_body_has_to_say_that_it_is_json(api, token):
    for headers in ((), [("content-type", "text/plain")]):
        answer = api.post(b"{}", token, headers=headers)
        assert answer.status == 415
        assert problem(answer, "other-media-type")["hint"] == "send Content-Type: application/json"
    with_parameter = [("content-type", "application/json; charset=utf-8")]
    assert api.post(b"{}", token, headers=with_parameter).status == 201


@pytest.mark.parametrize("said", [True, False])
def test_a_body_is_bounded(api, token, said):
    body = b'{"label": "' + b"x" * 300_000 + b'"}'
    headers = [("content-type", "application/json")]
    if said:
        headers.append(("content-length", str(len(body))))
    answer = api.post(body, token, headers=headers)
    assert answer.status == 413
    assert "262144 octets" in problem(answer, "too-large")["detail"]


@pytest.mark.parametrize("target", [CHALLENGES, f"{CHALLENGES}/1/void"])
def test_no_more_of_a_body_is_held_than_its_route_takes(api, token, target):
    """Its length is not said, and its end never comes."""

    async def begin():
        stalled = asyncio.Event()
        headers = [("content-type", "application/json"), ("authorization", f"Bearer {token}")]
        how = {"peer": "127.0.0.1", "stalled": stalled}
        asked = asyncio.ensure_future(
            socketless.ask(api, target, "POST", [b" " * 300_000], headers, **how)
        )
        waits = asyncio.ensure_future(stalled.wait())
        done, rest = await asyncio.wait({asked, waits}, return_when=asyncio.FIRST_COMPLETED)
        for one in rest:
            one.cancel()
        assert done == {asked}
        return await asked

    assert "262144 octets" in problem(asyncio.run(begin()), "too-large")["detail"]


def test_a_body_larger_than_any_route_takes(api, token):
    headers = [("content-type", "application/json"), ("content-length", str(10**9))]
    answer = api.post(b"{}", token, target=BULK, headers=headers)
    assert answer.status == 413
    assert str(batch.MAX_OCTETS) in problem(answer, "too-large")["detail"]


def test_many_at_once(api, token):
    orders = [{"subject": f"CN=dev{number}"} for number in range(30)]
    answer = api.post({"orders": orders}, token, target=BULK)
    assert answer.status == 201
    made = json.loads(answer.body)["challenges"]
    assert len({one["challenge"] for one in made}) == 30
    subjects = [api.service.store.challenge(int(one["id"])).subject for one in made]
    assert subjects == [one["subject"] for one in orders]
    assert api.ask(f"{CHALLENGES}?limit=1", token=token).status == 200


def test_of_many_all_are_made_or_none(api, token):
    orders = [{"subject": "CN=good"}, {"subject": "bad"}]
    answer = api.post({"orders": orders}, token, target=BULK)
    assert answer.status == 422
    told = problem(answer, "invalid")
    assert told["detail"].startswith("orders.1: subject: 'bad'")
    assert told["hint"].endswith("no challenge was made")
    assert list(api.service.store.challenges()) == []


@pytest.mark.parametrize(
    "body",
    [{}, {"orders": []}, {"orders": {}}, {"orders": [{}], "more": 1}, {"orders": [[]]}, []],
)
def test_many_that_are_none(api, token, body):
    answer = api.post(body, token, target=BULK)
    assert answer.status == 422
    problem(answer, "invalid")


def test_one_more_than_may_be_asked_for_at_once(api, token):
    answer = api.post({"orders": [{}] * 100_001}, token, target=BULK)
    assert answer.status == 422
    told = problem(answer, "invalid")
    assert told["detail"] == "100001 orders, 1 to 100000 are taken at once"
    assert told["hint"] == "send several requests"
    told = problem(api.post({"orders": []}, token, target=BULK), "invalid")
    assert told["detail"] == "0 orders, 1 to 100000 are taken at once"
    assert told["hint"] == "name at least one order"
    assert list(api.service.store.challenges()) == []


@pytest.mark.parametrize("part", ["[]", "{}"])
def test_a_body_of_many_small_parts_is_not_read(api, token, part):
    """Each part takes 20 times its octets of memory; 64 MiB of them stopped all other requests."""
    body = f'{{"orders": [{",".join([part] * 1_000_000)}]}}'.encode()
    answer = api.post(body, token, target=BULK, headers=[("content-type", "application/json")])
    assert answer.status == 413
    assert "1000000 lists and objects" in problem(answer, "too-large")["detail"]


def test_large_requests_at_once_are_bounded(api, token):
    """The memory of each is a stranger's to fill, if one that has a token."""
    bulks, asked = api.service.bulks, {"orders": [{}]}
    with bulks.taken(-1):
        with bulks.taken(-2):
            answer = api.post(asked, token, target=BULK)
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            # The log has nothing of it, so the answer says why.
            assert "large requests" in problem(answer, "unavailable")["detail"]
            # Nothing of it is read while others are: who sends 64 MiB waits with them.
            headers = [("content-type", "application/json")]
            assert api.post(b"{", token, target=BULK, headers=headers).status == 503
        assert api.post(asked, token, target=BULK).status == 201
    # What cannot be used leaves its place as well.
    assert api.post({"orders": 1}, token, target=BULK).status == 422
    assert api.post(asked, token, target=BULK).status == 201


def test_a_token_holds_one_place_for_large_requests(api, token):
    """However slowly it sends them, the others get theirs."""
    other, asked = api.new_token(name="other"), {"orders": [{}]}

    async def while_one_stalls():
        stalled = asyncio.Event()
        begun = asyncio.ensure_future(slowly(token, stalled))
        await stalled.wait()
        answers = [await slowly(one) for one in (token, other)]
        begun.cancel()
        return answers

    async def slowly(who, stalled=None):
        body = json.dumps(asked).encode()
        headers = [("content-type", "application/json"), ("authorization", f"Bearer {who}")]
        how = {"peer": "127.0.0.1", "stalled": stalled}
        return await socketless.ask(api, BULK, "POST", body, headers, **how)

    of_same, of_other = asyncio.run(while_one_stalls())
    assert of_same.status == 503
    assert "of this token" in problem(of_same, "unavailable")["detail"]
    assert of_other.status == 201
    # What was given up has left its place.
    assert api.post(asked, token, target=BULK).status == 201


def test_a_list_comes_page_by_page(api, token):
    for number in range(5):
        api.post({"label": "odd" if number % 2 else "even", "subject": f"CN=d{number}"}, token)
    seen, query = [], "?limit=2"
    for _ in range(3):
        answer = api.ask(f"{CHALLENGES}{query}", token=token)
        page = json.loads(answer.body)
        seen += [one["subject"] for one in page["challenges"]]
        query = f"?limit=2&after={page['next']}"
    assert page["next"] is None
    assert seen == ["CN=d4", "CN=d3", "CN=d2", "CN=d1", "CN=d0"]
    (one, two) = json.loads(api.ask(f"{CHALLENGES}?label=odd", token=token).body)["challenges"]
    assert (one["subject"], two["subject"]) == ("CN=d3", "CN=d1")
    (one,) = json.loads(api.ask(f"{CHALLENGES}?subject=cn=D3", token=token).body)["challenges"]
    assert one["subject"] == "CN=d3"
    assert "challenge" not in one


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=0",
        "after=99999999999999999",
        "label=a%00b",
        "subject=%00",
    ],
)
def test_a_page_that_cannot_be(api, token, query):
    answer = api.ask(f"{CHALLENGES}?{query}", token=token)
    assert answer.status == 422
    problem(answer, "invalid")


@pytest.mark.parametrize("digits", [19, 5000])
def test_a_number_of_more_digits_than_python_reads_is_none(api, token, digits):
    answer = api.ask(f"{CHALLENGES}/{'1' * digits}", token=token)
    assert answer.status == 404
    problem(answer, "not-found")
    # Nor is it a fault of the server when a stranger sends it.
    assert api.ask(f"{CHALLENGES}/{'1' * digits}").status == 404


def test_a_challenge_is_taken_back(api, token):
    made = json.loads(api.post(ORDER, token).body)
    url = f"{CHALLENGES}/{made['id']}"
    assert json.loads(api.ask(url, token=token).body)["state"] == "unspent"
    answer = api.post({"reason": "it was lost"}, token, target=f"{url}/void")
    assert answer.status == 200
    shown = json.loads(answer.body)
    prefix = token.rpartition("_")[0]
    assert (shown["state"], shown["void_reason"]) == ("void", "it was lost")
    assert shown["voided_by"] == f"token mdm, {prefix}"
    # Once more, without a body: it stays as it is.
    again = api.ask(f"{url}/void", "POST", token=token)
    assert (again.status, json.loads(again.body)) == (200, shown)
    assert json.loads(api.ask(f"{CHALLENGES}?unspent=true", token=token).body)["challenges"] == []


@pytest.mark.parametrize("body", [{"reason": 1}, {"reason": "a\nb"}, {"because": "x"}, [1]])
def test_a_reason_that_is_none(api, token, body):
    made = json.loads(api.post(ORDER, token).body)
    answer = api.post(body, token, target=f"{CHALLENGES}/{made['id']}/void")
    assert answer.status == 422
    problem(answer, "invalid")


def test_a_challenge_of_another_endpoint_is_not_shown(api):
    both = api.new_token(endpoints=("default", "wifi"))
    made = json.loads(api.post({}, both).body)
    for what, method in ((made["id"], "GET"), (f"{made['id']}/void", "POST"), ("77", "GET")):
        answer = api.ask(f"/api/v1/endpoints/wifi/challenges/{what}", method, token=both)
        assert answer.status == 404
        problem(answer, "not-found")


def test_an_endpoint_without_one_time_challenges(api):
    token = api.new_token(endpoints=("phones",))
    answer = api.post({}, token, target="/api/v1/endpoints/phones/challenges")
    assert answer.status == 409
    assert "has no one-time challenges" in problem(answer, "no-one-time-challenges")["detail"]


def test_those_that_can_be_used_are_bounded_by_door(api, token, monkeypatch):
    home = api.service.home
    challenges = data_directory.challenges_of(home, api.service.store)
    few = dataclasses.replace(challenges, max_pending={Door.REST: 2})
    monkeypatch.setattr(api.service, "challenges_of", lambda _: few)
    assert api.post({}, token).status == 201
    answer = api.post({"orders": [{}] * 2}, token, target=BULK)
    assert answer.status == 409
    assert problem(answer, "too-many-pending")["hint"]
    assert api.post({}, token).status == 201
    assert api.post({}, token).status == 409
    assert len(list(api.service.store.challenges())) == 2
