"""The client of Intune, against the stand-in: tokens, places, calls, and what goes wrong."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest

from enrolment import devices
from scepkit.errors import ThirdPartyFailed
from scepkit.server.intune import client, codes, discovery, tokens
from scepkit.server.intune.client import IntuneClient, Issued
from scepkit.server.intune.discovery import CONNECTOR, VALIDATION, NoService
from scepkit.server.intune.exchange import Rejected, Reply, Unreachable
from scepkit.server.intune.registration import Registration
from scepkit.server.intune.tokens import NoToken
from scepkit.server.intune.trial import roles_of
from scepkit.server.webhooks.circuit import Circuit
from server.intune import Running, program

ISSUED = Issued(
    thumbprint="AB" * 20,
    serial="7F01",
    not_after=datetime(2027, 11, 28, 3, tzinfo=UTC),
    issuer="CN=Example CA",
    endpoint="windows",
)


@pytest.fixture(scope="module")
def standing():
    with Running() as intune:
        yield intune


@pytest.fixture
def intune(standing):
    """Return a stand-in without memory."""
    standing.forget()
    return standing


def request(intune, *, subject="CN=device", **wanted):
    challenge = intune.it.challenge({"subject": "CN=device"} | wanted)
    return devices.request(challenge, subject=subject).der


def run(client, *calls):
    """Make calls one after the other in one event loop; an error counts as an answer."""

    async def all_of_them():
        found = []
        for call in calls:
            try:
                found.append(await call(client))
            except ThirdPartyFailed as error:
                found.append(error)
        return found

    return asyncio.run(all_of_them())


def validate(csr, transaction_id="tx"):
    return lambda client: client.validate(transaction_id, csr)


def test_a_request_is_validated_and_told_of_as_microsofts_clients_do(intune):
    csr = request(intune)
    said = run(
        IntuneClient(intune.registration()),
        validate(csr),
        lambda one: one.notify_success("tx", csr, ISSUED),
        lambda one: one.notify_failure("tx", csr, codes.h_result("Unknown"), "a\nb" * 200),
    )
    assert [one.code for one in said] == ["Success"] * 3
    scopes = [one["scope"] for one in intune.asked("token")]
    assert scopes == [f"{intune.url}/graph/.default", f"{intune.url}/resource//.default"]
    assert len(intune.asked("discovery")) == 1
    encoded = base64.b64encode(csr).decode()
    validated, success, failure = intune.asked("validate", "success", "failure")
    caller = validated["body"]["request"]["callerInfo"]
    assert caller.startswith("scepkit/")
    assert validated["body"] == {
        "request": {"transactionId": "tx", "certificateRequest": encoded, "callerInfo": caller}
    }
    assert validated["path"].endswith("/ScepActions/validateRequest")
    headers = validated["headers"]
    assert (headers["api-version"], headers["UserAgent"]) == ("2018-02-20", caller)
    ids = {one["headers"]["client-request-id"] for one in (validated, success, failure)}
    assert len(ids) == 3
    assert success["body"] == {
        "notification": {
            "transactionId": "tx",
            "certificateRequest": encoded,
            "certificateThumbprint": "AB" * 20,
            "certificateSerialNumber": "7F01",
            "certificateExpirationDateUtc": "2027-11-28T03:00:00.000Z",
            "issuingCertificateAuthority": "CN=Example CA",
            "callerInfo": caller,
            "caConfiguration": "windows",
            "certificateAuthority": "CN=Example CA",
        }
    }
    told = failure["body"]["notification"]
    assert told["hResult"] == -0x5FFC0000
    assert len(told["errorDescription"]) == 255
    assert "\n" not in told["errorDescription"]


@pytest.mark.parametrize("code", [*codes.MEANINGS, "SomethingNew", "success", "SUCCESS"])
def test_only_success_written_so_is_a_yes(intune, code):
    intune.fault("validate", f"code:{code}")
    (said,) = run(IntuneClient(intune.registration()), validate(request(intune)))
    assert (said.code, said.is_success) == (code, code == "Success")
    assert codes.meaning(code).startswith(code)
    assert -(1 << 31) <= codes.h_result(code) < 0


def test_microsofts_codes_are_25_and_their_numbers_differ():
    assert len(codes.MEANINGS) == 25
    every = [*codes.MEANINGS, codes.ISSUING_FAILED, codes.UNANSWERED]
    assert len({codes.h_result(one) for one in every}) == 27


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("status:500", "answers HTTP 500"),
        ("status:302", "answers HTTP 302"),
        ("status:403", "answers HTTP 403"),
        ("html", "is no JSON object"),
        ("no-code", "has no code"),
        ("other", "is about another transaction"),
    ],
)
def test_an_answer_that_is_no_word_is_none(intune, fault, said):
    intune.fault("validate", fault)
    first, second = run(IntuneClient(intune.registration()), *[validate(request(intune))] * 2)
    assert isinstance(first, Rejected)
    assert said in first.message
    assert second.is_success


def test_a_service_that_is_silent_or_hangs_up_gives_no_word(intune):
    intune.fault("validate", "drop")
    (said,) = run(IntuneClient(intune.registration()), validate(request(intune)))
    assert isinstance(said, Unreachable)
    intune.fault("validate", "hang")
    client = IntuneClient(intune.registration(seconds=0.3))
    (said,) = run(client, validate(request(intune)))
    assert "in 0.3 s" in said.message


def test_a_token_is_renewed_once_after_a_401(intune):
    csr = request(intune)
    intune.fault("validate", "expired")
    assert run(IntuneClient(intune.registration()), validate(csr))[0].is_success
    assert len(intune.asked("token")) == 3
    intune.fault("validate", "status:401", -1)
    (said,) = run(IntuneClient(intune.registration()), validate(csr))
    assert "HTTP 401" in said.message
    assert "scep_challenge_provider" in said.hint
    assert len(intune.asked("validate")) == 4


def test_a_token_is_kept_until_five_minutes_before_its_end(intune):
    now = [0.0]
    client = IntuneClient(intune.registration(), lambda: now[0])

    def at(moment):
        def call(one):
            now[0] = moment
            return one.validate("tx", csr)

        return call

    csr = request(intune)
    assert all(one.is_success for one in run(client, at(0.0), at(3298.0), at(3300.0)))
    assert len(intune.asked("token")) == 3  # that for Graph is needed once


def test_many_calls_at_once_ask_for_one_token_and_one_list(intune):
    client, csr = IntuneClient(intune.registration()), request(intune)

    async def together():
        return await asyncio.gather(*(client.validate("tx", csr) for _ in range(20)))

    assert all(one.is_success for one in asyncio.run(together()))
    assert (len(intune.asked("token")), len(intune.asked("discovery"))) == (2, 1)


def test_a_service_that_has_moved_is_found_again(intune):
    client, csr = IntuneClient(intune.registration()), request(intune)

    def move(one):
        intune.it.moves += 1
        return one.validate("tx", csr)

    first, second = run(client, validate(csr), move)
    assert first.is_success
    assert second.is_success
    assert len(intune.asked("discovery")) == 2


def test_a_list_without_the_service_says_what_to_look_at(intune):
    intune.fault("discovery", f"without:{program.VALIDATION}")
    first, second = run(IntuneClient(intune.registration()), *[validate(request(intune))] * 2)
    assert isinstance(first, NoService)
    assert "licence" in first.hint
    assert second.is_success


@pytest.mark.parametrize(
    ("how", "said", "hint"),
    [
        ({"secret": "wrong"}, "AADSTS7000215", "copy the Value, not the Secret ID"),
        ({"client_id": "x"}, "AADSTS700016", "Application (client) ID"),
        ({"tenant": "elsewhere.example"}, "AADSTS90002", "Directory (tenant) ID"),
    ],
)
def test_entra_says_why_it_gives_no_token(intune, how, said, hint):
    (error,) = run(IntuneClient(intune.registration(**how)), validate(request(intune)))
    assert isinstance(error, NoToken)
    assert said in error.message
    assert hint in error.hint


@pytest.mark.parametrize("fault", ["status:500", "html", "no-code", "drop"])
def test_a_token_endpoint_that_is_down_gives_no_word(intune, fault):
    intune.fault("token", fault)
    (error,) = run(IntuneClient(intune.registration()), validate(request(intune)))
    assert isinstance(error, NoToken | Unreachable)


@pytest.mark.parametrize(
    ("role", "hint"),
    [
        (program.INTUNE_ROLE, "Application.Read.All, and Grant admin consent"),
        (program.GRAPH_ROLE, "scep_challenge_provider, and Grant admin consent"),
    ],
)
def test_a_permission_without_consent_is_named(intune, role, hint):
    intune.it.roles = (role,)
    (error,) = run(IntuneClient(intune.registration()), validate(request(intune)))
    assert hint in error.hint


@pytest.mark.parametrize(
    ("wanted", "subject", "code"),
    [
        ({}, "CN=other", "SubjectNameMismatch"),
        ({"names": ["dns:a.example"]}, "CN=device", "SubjectAltNameMissing"),
        ({"bits": 4096}, "CN=device", "KeyLengthMismatch"),
        ({"expires": 0}, "CN=device", "ChallengeExpired"),
    ],
)
def test_the_stand_in_judges_what_it_has_ordered(intune, wanted, subject, code):
    csr = request(intune, subject=subject, **wanted)
    (said,) = run(IntuneClient(intune.registration()), validate(csr))
    assert said.code == code


def test_the_stand_in_lets_a_challenge_serve_one_transaction_or_any(intune):
    csr = request(intune)
    calls = [validate(csr, "a"), validate(csr, "a"), validate(csr, "b")]
    said = run(IntuneClient(intune.registration()), *calls)
    assert [one.is_success for one in said] == [True, True, False]
    intune.it.once = False
    assert all(one.is_success for one in run(IntuneClient(intune.registration()), *calls))


def test_what_a_service_says_does_not_hold_a_secret(intune):
    registration = intune.registration()
    assert registration.secret not in repr(registration)


@pytest.mark.parametrize(
    ("status", "counts"),
    [(400, False), (413, False), (422, False), (401, True), (403, True), (429, True), (500, True)],
)
def test_a_request_that_intune_does_not_take_is_no_failure_of_its(intune, status, counts):
    """Else a stranger who sends such a one again and again would have it left alone."""
    circuit = Circuit(2, timedelta(seconds=30), lambda: datetime.now(UTC))
    csr = request(intune)

    async def attempt(one):
        with circuit.attempt():
            return await one.validate("tx", csr)

    client = IntuneClient(intune.registration())
    intune.fault("validate", f"status:{status}", times=-1)
    said = run(client, *[attempt] * 4)
    assert bool(circuit.is_failing) is counts
    assert ("left alone" in said[-1].message) is counts
    if not counts:
        # Nor is it looked for anew.
        assert len(intune.asked("discovery")) == 1


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        (b'{"roles": ["a", 1, "b\\n"]}', ("a", "b")),
        (b"{}", ()),
        (b'{"roles": null}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 9000, None),
    ],
)
def test_the_permissions_in_a_token_are_read_or_not_known(claims, roles):
    token = f"a.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c"
    assert roles_of(token) == roles
    assert roles_of(token.replace(".", "")) is None


@pytest.fixture
def answering(monkeypatch):
    """Return a function that makes a client to whom Microsoft's services answer so."""
    found = f'{{"value": [{{"providerName": "{VALIDATION}", "uri": "https://a.example"}}, '
    found += f'{{"providerName": "{CONNECTOR}", "uri": "https://b.example"}}]}}'

    def answering(answer, seconds="3599"):
        async def exchange(_registration, _method, url, _headers, _body=None):
            if "oauth2" in url:
                body = f'{{"access_token": "t", "expires_in": {seconds}}}'
            else:
                body = found if "servicePrincipals" in url else answer
            return Reply("a.example", 200, body.encode())

        for module in (client, discovery, tokens):
            monkeypatch.setattr(module, "exchange", exchange)
        registration = Registration(name="n", tenant="t", client_id="c", secret="s")
        return IntuneClient(registration, lambda: 0.0)

    return answering


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"code": "Success"}', True),
        ('{"code": "Success", "errorDescription": null, "transactionId": null}', True),
        ('{"code": "Success", "transactionId": "tx", "more": {"a": [null]}}', True),
        ('\ufeff{"code": "Success"}', True),
        ('{"code": "Success", "transactionId": "ty"}', None),
        ('{"code": "Success", "transactionId": 1}', None),
        ('{"code": null}', None),
        ('{"Code": "Success"}', None),
        ('{"code": "Success", "code": "Success"}', None),
    ],
)
def test_a_member_that_is_null_says_nothing(answering, answer, said):
    """Where a transactionId of null counted as another one, nobody got a certificate."""
    (word,) = run(answering(answer), validate(b""))
    assert (None if isinstance(word, Rejected) else word.is_success) is said


@pytest.mark.parametrize(
    ("seconds", "held"),
    [
        ("3599", 3299),
        ('"3599"', 3299),
        ("3599.0", 3299),
        ("60", 30),
        ("1" + "0" * 400, 86100),
        ("1e999", 86100),
        ('"' + "9" * 50 + '"', 86100),
        *[(one, 0) for one in ("0", "-1", "NaN", "null", "true", '"soon"', "[]")],
    ],
)
def test_a_token_lives_as_long_as_is_said_and_a_day_at_most(answering, seconds, held):
    one = answering('{"code": "Success"}', seconds)
    (word,) = run(one, validate(b""))
    assert word.is_success
    assert one.tokens._held[one.registration.intune_scope].good_until == held


@pytest.mark.parametrize("answer", ['{"value": []}', '{"value": null}', '{"value": [null]}'])
def test_an_empty_queue_is_one(answering, answer):
    assert run(answering(answer), lambda one: one.revocation_requests()) == [[]]
    (said,) = run(answering("{}"), lambda one: one.revocation_requests())
    assert "is no list" in said.message


def test_the_revocation_queue_is_taken_and_answered(intune):
    row = {"requestContext": "c1", "serialNumber": "7F", "issuerName": None}
    intune.it.revocations["c1"] = row
    result = {"requestContext": "c1", "succeeded": True, "errorCode": "0", "errorMessage": ""}
    client = IntuneClient(intune.registration())
    calls = [
        lambda one: one.revocation_requests(5),
        lambda one: one.upload_revocations([result]),
        lambda one: one.revocation_requests(),
    ]
    assert run(client, *calls) == [[row], None, []]
    asked = intune.asked("download")[0]
    assert asked["body"] == {"downloadParameters": {"maxRequests": 5, "issuerName": None}}
    assert asked["headers"]["api-version"] == "5019-05-05"
