"""The reference says what there is: routes, scopes, members and problems."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scepkit.server.api.application import PREFIX
from scepkit.server.api.problems import Kind

PAGE = (Path(__file__).parents[2] / "docs/reference/api.md").read_text("utf-8")


def description(api):
    return json.loads(api.ask(f"{PREFIX}/openapi.json").body)


def test_routes_and_scopes(api):
    found = set()
    for path, methods in description(api)["paths"].items():
        for method, route in methods.items():
            (scopes,) = [one["token"] for one in route.get("security", [{"token": []}])]
            scope = f"`{scopes[0]}`" if scopes else ""
            found.add((f"{method.upper()} {path.removeprefix(PREFIX)}", scope))
    rows = re.findall(
        r"^\| `((?:GET|POST|PUT|DELETE|PATCH) \S+)` \| *(`[\w:]+`)? *\|", PAGE, re.MULTILINE
    )
    assert set(rows) == found


def test_members(api):
    schemas = description(api)["components"]["schemas"]
    for name in (
        "Order",
        "Orders",
        "Reason",
        "Minted",
        "ChallengeView",
        "ChallengePage",
        "Problem",
    ):
        for member in schemas[name]["properties"]:
            assert f"`{member}`" in PAGE, (name, member)


@pytest.mark.parametrize(
    ("member", "of", "order"),
    [
        ("data", "additionalProperties", lambda text: {"data": {"owner": text}}),
        ("sans", "items", lambda text: {"subject": "CN=a", "sans": [text]}),
    ],
)
def test_the_description_has_the_lengths_that_are_refused(api, token, member, of, order):
    said = description(api)["components"]["schemas"]["Order"]["properties"][member]
    found = said.get(of) or said["anyOf"][0][of]
    for length, is_taken in (
        (found["minLength"] - 1, False),
        (found["minLength"], True),
        (found["maxLength"], True),
        (found["maxLength"] + 1, False),
    ):
        answer = api.post(order("x" * length), token)
        assert answer.status == (201 if is_taken else 422), (length, answer.body)


def test_problems():
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", PAGE, re.MULTILINE)
    assert {(name, int(status)) for name, status in rows} == {
        (kind.value.name, kind.value.status) for kind in Kind
    }


def test_each_route_tells_its_problems(api):
    for methods in description(api)["paths"].values():
        for route in methods.values():
            for status, answer in route["responses"].items():
                media_type = "application/json" if status < "300" else "application/problem+json"
                assert list(answer["content"]) == [media_type]
                assert answer["description"]
