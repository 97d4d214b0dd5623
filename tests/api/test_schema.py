"""What the API says of itself holds: schemathesis asks it whatever its description allows, and not.

The long form asks more.
"""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.desk import API, Clock
from scepkit.server.api.application import OPENAPI, create
from scepkit.server.api.front import Front
from scepkit.server.api.service import Service
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store

schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
GenerationMode = schemathesis.GenerationMode

LINE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)
WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
SUBJECT = st.lists(WORD, min_size=1, max_size=3).map(
    lambda words: ",".join(
        f"{kind}={word}" for kind, word in zip(("CN", "O", "OU"), words, strict=False)
    )
)
for name, strategy in {
    "rfc4514": SUBJECT,
    "san": st.one_of(WORD.map("dns:{}.example".format), st.just("ip:192.0.2.1")),
    "lifetime": st.integers(1, 9999).map("{}m".format),
    "label": LINE.filter(str.strip),
    "line": LINE,
    "data": LINE,
}.items():
    schemathesis.openapi.format(name, strategy)


@pytest.fixture(scope="module")
def served(made, tmp_path_factory):
    """The API for as many requests as there are, and a token."""
    import shutil

    path = shutil.copytree(made, tmp_path_factory.mktemp("schema") / "data")
    home = data_directory.open_records(path)
    many = home.settings.model_copy(
        update={"api_requests_per_minute": 1_000_000, "api_wrong_tokens_per_minute": 100_000}
    )
    object.__setattr__(home, "settings", many)
    with open_store(home.settings, "api") as store:
        service = Service(home, store, data_directory.utc_now)
        app = create(service)
        api = API(service, Front(app, has_tls=True), Clock())
        token = api.new_token()
        assert api.post({}, token).status == 201
        yield app, token


OPERATIONS = [
    f"{method.upper()} {path}"
    for path, methods in create(None).openapi()["paths"].items()
    for method in methods
]


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        (operation, mode)
        for operation in OPERATIONS
        for mode in GenerationMode
        # That takes nothing that could be wrong.
        if not (operation.endswith("/health") and mode is GenerationMode.NEGATIVE)
    ],
)
def test_it_does_what_it_says(served, operation, mode):
    """Of what may be asked, and of what may not."""
    app, token = served
    method, _, path = operation.partition(" ")
    asked = schemathesis.openapi.from_asgi(OPENAPI, app)[path][method]
    # Else hardly any endpoint would be one that the token is good at.
    places = {"endpoint": "default", "number": 1} if mode is GenerationMode.POSITIVE else {}
    named = {name: value for name, value in places.items() if f"{{{name}}}" in path}

    @settings(suppress_health_check=[*HealthCheck], deadline=None)
    @given(asked.as_strategy(generation_mode=mode, path_parameters=named or None))
    def ask(case):
        if mode is GenerationMode.POSITIVE and "Idempotency-Key" in case.headers:
            # A new one for each request: that one was used before is no fault of the description.
            case.headers["Idempotency-Key"] = uuid4().hex
        answer = case.call_and_validate(headers={"Authorization": f"Bearer {token}"})
        if mode is GenerationMode.POSITIVE:
            statuses.add(answer.status_code)

    statuses = set()
    ask()
    # What is right is answered, and not refused for something else each time.
    assert mode is GenerationMode.NEGATIVE or statuses & {200, 201}, statuses
