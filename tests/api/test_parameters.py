"""The parameters of a query: a route refuses those that it has not."""

from __future__ import annotations

import json

import pytest

from api.desk import CHALLENGES, problem
from scepkit.server.api.application import PREFIX, create

ROUTES = [
    (method.upper(), path.format(endpoint="default", number=1))
    for path, methods in create(None).openapi()["paths"].items()
    for method in methods
    if path != f"{PREFIX}/health"
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("query", ["limitt=1", "LIMIT=1", "a&b=", "=1", "%00%0a=x", "%ff"])
def test_a_parameter_that_no_route_has_is_refused(api, token, method, path, query):
    """A misspelt one that is passed over widens a list."""
    body = {} if method == "POST" else None
    made = api.post({}, token)
    answer = api.ask(f"{path}?{query}", method, body, token)
    assert answer.status == 422
    told = problem(answer, "invalid")
    assert "there is no such parameter here" in told["detail"]
    assert told["errors"][0]["field"].startswith("query.")
    # Nothing was made, or taken back.
    (stored,) = api.service.store.challenges()
    assert (str(stored.id), stored.voided_at) == (json.loads(made.body)["id"], None)


def test_its_name_is_told_and_those_that_there_are(api, token):
    told = problem(api.ask(f"{CHALLENGES}?unspend=true", token=token), "invalid")
    assert told["detail"] == "query 'unspend': there is no such parameter here"
    assert told["hint"] == "the parameters are unspent, label, subject, after, limit"
    long = problem(api.ask(f"{CHALLENGES}?{'x' * 5000}", token=token), "invalid")
    assert len(json.dumps(long)) < 600


def test_a_parameter_that_comes_twice_is_refused(api, token):
    """Which of the two counts would be anybody's guess."""
    told = problem(api.ask(f"{CHALLENGES}?label=a&limit=1&label=b", token=token), "invalid")
    assert told["detail"] == "query 'label': it is there 2 times"


def test_who_has_no_token_is_told_so_first(api):
    problem(api.ask(f"{CHALLENGES}?limitt=1"), "token-missing")


@pytest.mark.parametrize("path", ["health", "openapi.json"])
def test_what_needs_no_token_looks_at_no_parameter(api, path):
    """Programs that watch a server add some, so that nobody answers from a cache."""
    assert api.ask(f"{PREFIX}/{path}?_=1700000000").status == 200
