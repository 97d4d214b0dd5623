"""Who may use the API: each request that may not be answered says what to do."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from api.desk import CHALLENGES, problem
from scepkit.errors import StoreError
from scepkit.operations import tokens
from scepkit.operations.tokens import Scope

ANY = f"{CHALLENGES}?limit=1"


def test_without_a_token(api):
    answer = api.ask(ANY)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in problem(answer, "token-missing")["hint"]
    basic = api.ask(ANY, headers=[("authorization", "Basic YTpi")])
    problem(basic, "token-missing")


@pytest.mark.parametrize("wrong", ["x", "scep_aaaaaaaa_" + "a" * 52, "é", "a" * 60_000])
def test_a_wrong_token(api, wrong):
    answer = api.ask(ANY, token=wrong)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert wrong not in problem(answer, "token-wrong")["detail"]


def test_an_expired_token(api):
    token = api.new_token(lifetime=timedelta(hours=1))
    api.clock.pass_by(hours=1, seconds=-1)
    assert api.ask(ANY, token=token).status == 200
    api.clock.pass_by(seconds=1)
    answer = api.ask(ANY, token=token)
    assert answer.status == 401
    assert "expired at" in problem(answer, "token-expired")["detail"]


def test_a_void_token_is_refused_at_once(api):
    token = api.new_token()
    assert api.ask(ANY, token=token).status == 200
    store = api.service.store
    tokens.void(store, store.tokens(), by="bob", now=api.clock())
    answer = api.ask(ANY, token=token)
    assert answer.status == 401
    assert "was taken back at" in problem(answer, "token-void")["detail"]


@pytest.mark.parametrize(
    ("scope", "method", "target", "missing"),
    [
        (Scope.CHALLENGES_READ, "POST", CHALLENGES, "challenges:write"),
        (Scope.CHALLENGES_READ, "POST", f"{CHALLENGES}/bulk", "challenges:write"),
        (Scope.CHALLENGES_READ, "POST", f"{CHALLENGES}/1/void", "challenges:write"),
        (Scope.CHALLENGES_WRITE, "GET", CHALLENGES, "challenges:read"),
        (Scope.CHALLENGES_WRITE, "GET", f"{CHALLENGES}/1", "challenges:read"),
    ],
)
def test_a_token_without_the_scope(api, scope, method, target, missing):
    answer = api.ask(target, method, {} if method == "POST" else None, api.new_token(scope))
    assert answer.status == 403
    told = problem(answer, "scope-missing")
    assert told["detail"].endswith(f"has not the scope {missing}")
    assert f"--scope {missing}" in told["hint"]
    assert list(api.service.store.challenges()) == []


@pytest.mark.parametrize("endpoint", ["wifi", "nowhere"])
def test_a_token_of_another_endpoint(api, endpoint):
    """It is not told whether that one is there."""
    answer = api.ask(f"/api/v1/endpoints/{endpoint}/challenges", token=api.new_token())
    assert answer.status == 403
    told = problem(answer, "other-endpoint")
    assert told["detail"].endswith("is not good at this endpoint")
    assert told["hint"].startswith("it is good at default;")


def test_an_endpoint_that_is_gone(api):
    token = api.new_token(endpoints=("gone",))
    answer = api.ask("/api/v1/endpoints/gone/challenges", token=token)
    assert answer.status == 404
    assert problem(answer, "not-found")["hint"] == "put [endpoint.gone] back into scep.toml"


def test_who_has_no_token_is_not_listened_to(api):
    """A body that never ends is not waited for."""
    for body in (b"{", b"x" * 70_000_000):
        answer = api.ask(CHALLENGES, "POST", body, headers=[("content-type", "application/json")])
        problem(answer, "token-missing")


def test_wrong_tokens_of_an_address_are_bounded(api):
    """And lock nobody out: not other addresses, and not the right token of the same one."""
    token = api.new_token()
    most = api.service.home.settings.api_wrong_tokens_per_minute
    statuses = [api.ask(ANY, token="wrong").status for _ in range(most + 1)]
    assert statuses == [401] * most + [429]
    answer = api.ask(ANY, token="wrong")
    assert answer.headers["retry-after"] == "60"
    problem(answer, "too-many-requests")
    assert api.ask(ANY, token=token).status == 200
    assert api.ask(ANY, token="wrong", peer="192.0.2.9").status == 401
    api.clock.pass_by(minutes=1)
    assert api.ask(ANY, token="wrong").status == 401


def test_the_requests_of_a_token_are_bounded(api):
    settings = api.service.home.settings.model_copy(update={"api_requests_per_minute": 3})
    object.__setattr__(api.service.home, "settings", settings)
    token, other = api.new_token(), api.new_token()
    assert [api.ask(ANY, token=token).status for _ in range(4)] == [200, 200, 200, 429]
    answer = api.ask(ANY, token=token)
    assert "api_requests_per_minute" in problem(answer, "too-many-requests")["hint"]
    assert api.ask(ANY, token=other).status == 200
    api.clock.pass_by(seconds=20)
    assert [api.ask(ANY, token=token).status for _ in range(2)] == [200, 429]


def test_the_last_use_is_noted(api):
    token = api.new_token()
    assert api.service.store.tokens()[0].last_used_at is None
    api.ask(ANY, token=token)
    assert api.service.store.tokens()[0].last_used_at == api.clock()


def test_that_a_use_cannot_be_noted_is_no_reason_not_to_answer(api, monkeypatch, logged):
    token = api.new_token()

    def fail(*_):
        raise StoreError("cannot write", hint="look at the disk")

    monkeypatch.setattr(api.service.store, "note_use", fail)
    assert api.ask(ANY, token=token).status == 200
    assert next(one["event"] for one in logged) == "the use of a token was not noted"


def test_a_database_that_does_not_answer(api, monkeypatch):
    token = api.new_token()

    def fail(*_args, **_more):
        raise StoreError("the database is locked", hint="end the other program")

    monkeypatch.setattr(api.service.store, "add_challenges", fail)
    answer = api.post({}, token)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "locked" not in problem(answer, "unavailable")["detail"]


def test_a_fault_of_ours(api, monkeypatch, logged):
    token = api.new_token()
    monkeypatch.setattr(api.service.store, "add_challenges", lambda *_, **__: 1 / 0)
    answer = api.post({}, token)
    assert answer.status == 500
    problem(answer, "internal-error")
    assert "bug in scepkit; please report it" in [one["event"] for one in logged]


@pytest.mark.parametrize("path", ["/", "/api/v1", "/docs", "/scep", f"{CHALLENGES}/x", "/metrics"])
def test_a_path_that_leads_nowhere(api, path):
    answer = api.ask(path)
    assert answer.status == 404
    problem(answer, "not-found")


def test_a_method_that_is_not_allowed(api):
    answer = api.ask(CHALLENGES, "DELETE")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    problem(answer, "method-not-allowed")
    assert api.ask(f"{CHALLENGES}/bulk", "HEAD").headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/openapi.json", CHALLENGES])
def test_the_head_of_what_a_get_answers(api, token, path):
    """Programs that watch a server ask for no more (RFC 9110 section 9.3.2)."""
    whole, head = api.ask(path, token=token), api.ask(path, "HEAD", token=token)
    assert (head.status, head.body) == (200, b"")
    assert head.headers == whole.headers
    problem(api.ask(CHALLENGES), "token-missing")
    assert api.ask(CHALLENGES, "HEAD").status == 401


def test_health_needs_no_token(api, monkeypatch):
    answer = api.ask("/api/v1/health")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})

    def fail():
        raise StoreError("the disk is full")

    monkeypatch.setattr(api.service.store, "ping", fail)
    # It stands for a while: anybody may ask.
    assert api.ask("/api/v1/health").status == 200
    api.service._looked = float("-inf")
    answer = api.ask("/api/v1/health")
    assert answer.status == 503
    problem(answer, "unavailable")


class TestInClear:
    """Without TLS of its own: on the machine itself, or behind a proxy that is listed."""

    @pytest.fixture
    def api(self, open_api):
        return open_api(has_tls=False)

    def test_from_the_machine_itself(self, api):
        assert api.ask("/api/v1/health").status == 200
        assert api.ask("/api/v1/health", peer="::1").status == 200

    def test_from_elsewhere(self, api):
        answer = api.ask("/api/v1/health", peer="192.0.2.7")
        assert answer.status == 403
        assert "void" in problem(answer, "in-clear")["hint"]

    def test_what_the_proxy_itself_was_sent(self, api):
        for_whom = ("x-forwarded-for", "192.0.2.7")
        for scheme, status in (("https", 200), ("http", 403)):
            headers = [for_whom, ("x-forwarded-proto", scheme)]
            assert api.ask("/api/v1/health", headers=headers).status == status
        assert api.ask("/api/v1/health", headers=[for_whom]).status == 403
