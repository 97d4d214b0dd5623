"""The NDES page: who gets a challenge, by which way, and how often."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import threading
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1

from enrolment import devices
from scepkit.errors import SettingsError
from scepkit.operations import ndes_accounts
from scepkit.protocol.scep.messages import Failure, Success
from scepkit.server import settings
from scepkit.server.directory import data_directory
from scepkit.server.doors import front, ndes, ndes_page
from scepkit.server.doors.wrong_passwords import PER_MINUTE, RightPasswords
from scepkit.server.endpoints.assembly import assemble
from scepkit.store import Store
from server import socketless
from server.door_knocking import (
    ACCOUNT,
    PASSWORD,
    add_account,
    basic,
    bounded,
    by_tls,
    endpoint,
    knock,
    stored_challenges,
)
from server.test_app import PKI_OPERATION, recipient, run

PAGE = "/certsrv/mscep_admin/"


@pytest.fixture
def opened(app):
    """Return a server with the page, whose one account is there, and its directory."""

    def opened(**how):
        server, path = app(endpoint=endpoint(**{"ndes": True} | how))
        add_account(path)
        return server, path

    return opened


@pytest.fixture
def quick(monkeypatch):
    """Compare passwords without hashing them: many are tried."""
    monkeypatch.setattr(ndes_accounts, "hashed", lambda password: f"${password}")
    monkeypatch.setattr(
        ndes_accounts,
        "matches",
        lambda password, stored: hmac.compare_digest(f"${password.decode()}", stored),
    )
    ndes._of_nobody.cache_clear()
    yield
    ndes._of_nobody.cache_clear()


def challenge_of(answer):
    """Return the challenge on a page."""
    assert answer.status == 200, answer.body
    found = re.search("password is: <B> ([0-9A-F]+) </B>", answer.body.decode("utf-16"))
    return found[1]


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [16, 32])
def test_a_device_enrols_with_the_challenge_of_the_page(opened, length):
    server, path = opened(ndes_length=length)
    (answer,) = run(server, knock(PAGE, basic()))
    challenge = challenge_of(answer)
    assert re.fullmatch(rf"[0-9A-F]{{{length}}}", challenge)
    assert answer.headers["content-type"] == "text/html; charset=utf-16"
    assert answer.headers["cache-control"] == "no-store"
    assert [one.state(datetime.now(UTC)) for one in stored_challenges(path)] == ["unspent"]


def test_its_challenge_is_good_for_one_certificate(opened):
    server, path = opened()
    ra = recipient(path)

    async def session():
        async with socketless.lifespan(server):
            secret = challenge_of(await socketless.ask(server, **knock(PAGE, basic())))
            first = devices.pkcs_req(secret, to=ra, transaction_id="a")
            again = devices.pkcs_req(secret, to=ra, transaction_id="b")
            # By the path that NDES has for SCEP.
            target = "/certsrv/mscep/mscep.dll?operation=PKIOperation"
            return [await socketless.ask(server, target, "POST", body) for body in (first, again)]

    first, again = asyncio.run(session())
    assert isinstance(devices.read(first.body, ra).rep, Success)
    assert isinstance(devices.read(again.body, ra).rep, Failure)


def test_each_page_has_another_challenge(opened):
    server, _ = opened()
    answers = run(server, *[knock(PAGE, basic())] * 3)
    assert len({challenge_of(one) for one in answers}) == 3


def test_head_never_mints(opened):
    server, path = opened()
    head, page = run(server, knock(PAGE, basic(), method="HEAD"), knock(PAGE, basic()))
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == page.headers["content-length"]
    assert len(stored_challenges(path)) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_other_methods_are_refused(opened, method):
    server, path = opened()
    (answer,) = run(server, knock(PAGE, basic(), method=method))
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert not stored_challenges(path)


def test_the_page_in_utf_8(opened):
    server, _ = opened(ndes_page_encoding="utf-8")
    (answer,) = run(server, knock(PAGE, basic()))
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"The enrollment challenge password is: <B> " in answer.body


def test_the_thumbprint_is_that_of_the_ca(opened):
    server, path = opened()
    (bare,) = run(server, knock(f"{PAGE}?operation=NDESGetCACertThumbprint", basic()))
    ca = x509.load_pem_x509_certificate((path / "ca.pem").read_bytes())
    assert bare.body.decode() == ca.fingerprint(SHA1()).hex().upper()
    assert not stored_challenges(path)


def test_the_operations_of_a_policy_module_answer_bare_words(opened):
    server, path = opened()
    target = f"{PAGE.rstrip('/')}?operation=NDESGenerateChallenge&keyUsage=0xa0&Params="
    (answer,) = run(server, knock(target, basic()))
    assert re.fullmatch(rb"[0-9A-F]{16}", answer.body)
    assert answer.headers["content-type"] == "text/plain"
    assert len(stored_challenges(path)) == 1


@pytest.mark.parametrize("query", ["operation=GetCACert", "operation=x", "&".join("abc" * 20)])
def test_an_operation_that_there_is_not_mints_nothing(opened, query):
    server, path = opened()
    (answer,) = run(server, knock(f"{PAGE}?{query}", basic()))
    assert answer.status == 400
    assert not stored_challenges(path)


# --- where it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/scep/default/mscep_admin",
        "/scep/default/mscep_admin/",
        "/certsrv/mscep_admin",
        "/certsrv/mscep_admin/",
        "/CertSrv/mscep_admin/",
        "/certsrv/MSCEP_admin/",
    ],
)
def test_the_places_of_the_page(opened, target):
    server, _ = opened()
    (answer,) = run(server, knock(target, basic()))
    assert challenge_of(answer)


@pytest.mark.parametrize(
    "target",
    [
        "/certsrv/mscep/mscep.dll",
        "/certsrv/mscep/mscep.dll/",
        "/certsrv/mscep/mscep.dll/pkiclient.exe",
        "/CertSrv/mscep/mscep.dll",
    ],
)
def test_the_places_of_scep(opened, target):
    server, _ = opened()
    (answer,) = run(server, {"target": f"{target}?operation=GetCACaps"})
    assert b"POSTPKIOperation" in answer.body


def test_without_the_setting_there_is_no_page(app):
    server, path = app()
    add_account(path)
    targets = (PAGE, "/scep/default/mscep_admin/", "/certsrv/mscep/mscep.dll?operation=GetCACaps")
    answers = run(server, *(knock(one, basic()) for one in targets))
    assert [one.status for one in answers] == [404, 404, 404]


def test_mscep_admin_opens_the_page_of_an_endpoint_alone(opened):
    server, _ = opened(ndes=False, mscep_admin=True)
    own, below = run(server, knock("/scep/default/mscep_admin/", basic()), knock(PAGE, basic()))
    assert (own.status, below.status) == (200, 404)


# --- by which way ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("127.0.0.1", []),
        ("::1", []),
        ("127.0.0.1", by_tls()),
        ("127.0.0.1", [("x-forwarded-for", "203.0.113.9"), ("X-Forwarded-Proto", "HTTPS")]),
    ],
)
def test_tls_and_this_machine_are_private(opened, peer, headers):
    server, _ = opened()
    (answer,) = run(server, {"target": PAGE, "peer": peer, "headers": headers + basic()})
    assert challenge_of(answer)


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("203.0.113.9", []),
        # Not listed, so not believed.
        ("203.0.113.9", by_tls()),
        ("203.0.113.9", by_tls("127.0.0.1")),
        ("127.0.0.1", by_tls(proto="http")),
        ("127.0.0.1", by_tls(proto="https, http")),
        ("127.0.0.1", [*by_tls(), ("X-Forwarded-Proto", "http")]),
        ("127.0.0.1", [("X-Forwarded-For", "203.0.113.9")]),
        # It does not say for whom it asks, and all would be one address.
        ("127.0.0.1", [("X-Forwarded-Proto", "https")]),
        ("127.0.0.1", [("Via", "1.1 proxy")]),
        ("127.0.0.1", [("Forwarded", "for=203.0.113.9;proto=https")]),
    ],
)
def test_what_somebody_could_read_gets_nothing(opened, peer, headers):
    server, path = opened()
    (answer,) = run(server, {"target": PAGE, "peer": peer, "headers": headers + basic()})
    assert answer.status == 403
    assert b"by TLS only" in answer.body
    assert not stored_challenges(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('host = "0.0.0.0"\n', "the server listens on 0.0.0.0 in plain HTTP"),
        ('host = "0.0.0.0"\nproxies = []\n', "the server listens on 0.0.0.0 in plain HTTP"),
        ('host = "192.0.2.1"\nproxies = ["*"]\n', "believes anybody"),
    ],
)
def test_a_server_that_others_reach_in_plain_http_does_not_start_with_it(tmp_path, text, said):
    (tmp_path / "scep.toml").write_text(f"{text}[endpoint.default]\nndes = true\n")
    with pytest.raises(SettingsError) as refused:
        settings.load(tmp_path)
    assert said in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        'host = "::1"\n',
        'host = "localhost"\n',
        'host = "0.0.0.0"\nproxies = ["192.0.2.10"]\n',
    ],
)
def test_a_server_behind_a_proxy_starts_with_it(tmp_path, text):
    (tmp_path / "scep.toml").write_text(f"{text}[endpoint.default]\nndes = true\n")
    assert settings.load(tmp_path).endpoint["default"].ndes


def test_one_endpoint_alone_is_below_certsrv(tmp_path):
    (tmp_path / "scep.toml").write_text(
        "[endpoint.default]\nndes = true\n[endpoint.phones]\nndes = true\n"
    )
    with pytest.raises(SettingsError, match=r"\(line 4\)") as refused:
        settings.load(tmp_path)
    assert "set mscep_admin = true here" in refused.value.message


RULES = '[[endpoint.default.authorization]]\nkind = "one-time"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('challenge = "none"\napproval = "manual"\n', "no rule judges these"),
        (f'{RULES}match = {{ length = 32, form = "base32" }}\n', "16 characters in upper-case hex"),
        (f"{RULES}match = {{ length = 32 }}\n", "length = [16, 32]"),
    ],
)
def test_a_page_whose_challenges_no_rule_takes_is_refused(tmp_path, text, said):
    (tmp_path / "scep.toml").write_text(f"[endpoint.default]\nndes = true\n{text}")
    with pytest.raises(SettingsError) as refused:
        settings.load(tmp_path)
    assert said in refused.value.message


def test_a_rule_of_several_that_takes_both_forms_will_do(tmp_path):
    (tmp_path / "scep.toml").write_text(
        f"[endpoint.default]\nndes = true\n{RULES}"
        'match = { length = [16, 32], form = "alphanumeric" }\n'
    )
    assert settings.load(tmp_path).endpoint["default"].ndes


def test_certificates_that_take_the_place_of_others_need_bound_challenges(directory):
    path = directory()
    (path / "scep.toml").write_text(
        '[endpoint.default]\nndes = true\nprofile = "one"\n'
        '[profile.one]\nextends = "device"\nsame_subject = "replace"\n'
    )
    home = data_directory.prepare(path, now=datetime.now(UTC))
    with (
        Store.open(home.settings.database_url) as store,
        pytest.raises(SettingsError, match="the NDES page knows no subject"),
    ):
        assemble(home, store)


# --- for whom -------------------------------------------------------------------------------------


def test_basic_is_offered_to_who_has_no_credential(opened):
    server, path = opened()
    tried = ([], [("Authorization", "NTLM TlRMTVNTUAABAAAA")], [("Authorization", "Basic")])
    for answer in run(server, *(knock(PAGE, headers) for headers in tried)):
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith('Basic realm="')
        assert answer.headers["cache-control"] == "no-store"
    assert not stored_challenges(path)


@pytest.mark.parametrize(
    "header",
    [
        *basic(password="other-password"),
        *basic("nobody"),
        *basic("MDM"),
        *basic("mdm\0"),
        *basic(""),
        *basic("mdm", ""),
        ("Authorization", "Basic !!!"),
        ("Authorization", "Basic bWRt"),
        ("Authorization", "Bearer bWRtOld1Y2h0Z2VzY2hvc3MtMTc="),
        ("Authorization", "Basic \xe4"),
    ],
)
def test_every_wrong_credential_gets_the_same_answer(opened, header):
    server, path = opened()
    wrong, none = run(server, knock(PAGE, [header]), knock(PAGE))
    assert (wrong.status, wrong.body) == (401, none.body)
    assert not stored_challenges(path)


def test_an_account_of_windows_and_a_password_beyond_ascii(app):
    server, path = app(endpoint=endpoint(ndes=True))
    add_account(path, "EXAMPLE\\svc", "Wüchtgeschoß-17")
    pair = "EXAMPLE\\svc:Wüchtgeschoß-17"
    sent = [base64.b64encode(pair.encode(one)).decode() for one in ("utf-8", "latin-1")]
    answers = run(server, *(knock(PAGE, [("Authorization", f"basic {one}")]) for one in sent))
    assert all(map(challenge_of, answers))


def test_an_account_of_another_endpoint_has_no_permission(app):
    server, path = app(
        endpoint={**endpoint(ndes=True), "phones": endpoint(mscep_admin=True)["default"]}
    )
    add_account(path, endpoints=("phones",))
    other, own = run(server, knock(PAGE, basic()), knock("/scep/phones/mscep_admin/", basic()))
    assert other.status == 200
    assert ndes_page.NO_PERMISSION in other.body.decode("utf-16")
    assert challenge_of(own)
    assert [one.endpoint for one in stored_challenges(path)] == ["phones"]


def test_a_full_cache_is_told_on_the_page(opened, logged):
    server, path = opened(authorization=bounded(max_pending=2))
    *good, full = run(server, *[knock(PAGE, basic())] * 3)
    assert all(map(challenge_of, good))
    assert full.status == 200
    assert ndes_page.FULL in full.body.decode("utf-16")
    assert len(stored_challenges(path)) == 2
    (warning,) = [one for one in logged if one["event"] == "a bound is reached"]
    assert "max_pending" in warning["hint"]


def test_the_record_and_the_log_say_who_got_it(opened, logged):
    server, path = opened()
    (answer,) = run(server, knock(PAGE, basic()))
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        (record,) = [
            one.members
            for one in store.audit_records()
            if one.members["action"] == "challenge-minted"
        ]
    assert record["actor"] == "ndes:mdm"
    assert record["details"]["door"] == "ndes"
    (line,) = [one for one in logged if one["event"] == "ndes"]
    assert (line["account"], line["outcome"], line["peer"]) == ("mdm", "minted", "203.0.113.9")
    assert line["challenge_id"] == record["challenge"]
    assert challenge_of(answer) not in str(logged)
    assert PASSWORD not in str(logged)


def test_what_was_right_is_wrong_once_the_account_changes(opened):
    """That a password is not hashed twice lets nobody in who was let in before."""
    server, path = opened()

    async def session():
        async with socketless.lifespan(server):
            before = await socketless.ask(server, **knock(PAGE, basic()))
            add_account(path, password="Hebelarm-am-Turm", replaces=True)
            changed = await socketless.ask(server, **knock(PAGE, basic()))
            other = await socketless.ask(server, **knock(PAGE, basic(password="Hebelarm-am-Turm")))
            with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
                store.remove_ndes_account(ACCOUNT, by="test", now=datetime.now(UTC))
            gone = await socketless.ask(server, **knock(PAGE, basic(password="Hebelarm-am-Turm")))
            return [one.status for one in (before, changed, other, gone)]

    assert asyncio.run(session()) == [200, 401, 200, 401]


def test_a_reload_opens_and_closes_the_page(opened):
    server, path = opened()
    closed = data_directory.prepare(path, now=datetime.now(UTC))
    other = data_directory.prepare(path, now=datetime.now(UTC), endpoint=endpoint(mscep_admin=True))

    async def statuses():
        answers = [
            await socketless.ask(server, **knock(target, basic()))
            for target in (PAGE, "/scep/default/mscep_admin/")
        ]
        return [one.status for one in answers]

    async def session():
        async with socketless.lifespan(server):
            found = [await statuses()]
            for home in (closed, other):
                server.in_force.prepare(home)
                server.in_force.switch()
                found.append(await statuses())
            return found

    assert asyncio.run(session()) == [[200, 200], [404, 404], [404, 200]]


# --- how often ------------------------------------------------------------------------------------


def test_a_thousand_wrong_passwords_lock_nobody_out(opened):
    server, path = opened()
    wrong = [
        knock(PAGE, basic(password=f"wrong-password-{number}"), peer="198.51.100.1")
        for number in range(1000)
    ]
    right = [knock(PAGE, basic(), peer=peer) for peer in ("198.51.100.1", "203.0.113.9")]
    *answers, same, elsewhere = run(server, *wrong, *right)
    statuses = [one.status for one in answers]
    assert statuses[:PER_MINUTE] == [401] * PER_MINUTE
    assert statuses.count(429) > 900
    # Else the answer would tell which one is right.
    assert (same.status, same.headers["retry-after"]) == (429, "60")
    assert challenge_of(elsewhere)
    assert len(stored_challenges(path)) == 1


def test_a_thousand_addresses_lock_nobody_out(opened, monkeypatch, logged, quick):
    held = []

    async def wait(_self):
        held.append(len(held))

    monkeypatch.setattr(front.RefusalDelay, "wait", wait)
    server, _ = opened()
    wrong = [
        knock(PAGE, basic(password="wrong-password"), peer=f"10.0.{number // 250}.{number % 250}")
        for number in range(1000)
    ]
    *answers, right = run(server, *wrong, knock(PAGE, basic()))
    assert {one.status for one in answers} == {401}
    assert challenge_of(right)
    assert len(held) > 800
    assert front.OF_ALL in {one.get("bound") for one in logged}


def test_challenges_of_an_account_are_bounded_in_a_minute(opened):
    server, path = opened(ndes_per_minute=2)
    answers = run(server, *[knock(PAGE, basic())] * 4)
    assert [one.status for one in answers] == [200, 200, 429, 429]
    assert len(stored_challenges(path)) == 2


def test_a_short_challenge_cannot_be_guessed(opened):
    """64 bits are many for a few guesses a minute, and few for a million a second."""
    server, path = opened(wrong_challenges_per_minute=3)
    ra = recipient(path)
    guesses = [
        {
            "target": PKI_OPERATION,
            "method": "POST",
            "body": devices.pkcs_req(f"{number:016X}", to=ra, transaction_id=f"{number}"),
        }
        for number in range(5)
    ]
    answers = run(server, *guesses)
    assert [one.status for one in answers] == [200, 200, 200, 429, 429]


def test_long_challenges_are_not_bounded(opened):
    server, path = opened(ndes_length=32, wrong_challenges_per_minute=1)
    ra = recipient(path)
    guesses = [
        {
            "target": PKI_OPERATION,
            "method": "POST",
            "body": devices.pkcs_req(f"{number:032X}", to=ra, transaction_id=f"{number}"),
        }
        for number in range(3)
    ]
    assert [one.status for one in run(server, *guesses)] == [200, 200, 200]


def test_who_guesses_holds_up_neither_devices_nor_who_was_right_before(opened, monkeypatch):
    """Passwords are hashed in a thread of their own."""
    server, _ = opened()
    entered, go = threading.Event(), threading.Event()

    def slow(password, stored):
        entered.set()
        assert go.wait(60)
        return False

    async def session():
        async with socketless.lifespan(server):
            first = await socketless.ask(server, **knock(PAGE, basic()))
            monkeypatch.setattr(ndes_accounts, "matches", slow)
            guess = asyncio.create_task(
                socketless.ask(server, **knock(PAGE, basic(password="wrong-password")))
            )
            await asyncio.to_thread(entered.wait)
            caps = await socketless.ask(server, "/scep?operation=GetCACaps")
            again = await socketless.ask(server, **knock(PAGE, basic()))
            assert not guess.done()
            go.set()
            return first, caps, again, await guess

    first, caps, again, guess = asyncio.run(session())
    assert challenge_of(first) != challenge_of(again)
    assert caps.status == 200
    assert guess.status == 401


def test_only_so_many_wait_to_be_judged(opened, monkeypatch):
    monkeypatch.setattr(ndes, "_MOST_HASHED", 2)
    server, _ = opened()
    entered, go = threading.Event(), threading.Event()

    def slow(password, stored):
        entered.set()
        assert go.wait(60)
        return False

    monkeypatch.setattr(ndes_accounts, "matches", slow)

    async def session():
        async with socketless.lifespan(server):
            asked = [
                asyncio.create_task(
                    socketless.ask(server, **knock(PAGE, basic(), peer=f"10.0.0.{number}"))
                )
                for number in range(4)
            ]
            waiting = set(asked)
            while len(waiting) > 2:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused = [one.result().status for one in asked if one not in waiting]
            go.set()
            await asyncio.wait(waiting)
            return refused, [one.result().status for one in waiting]

    assert asyncio.run(session()) == ([503, 503], [401, 401])


def test_of_many_right_passwords_the_oldest_is_forgotten(monkeypatch):
    monkeypatch.setattr("scepkit.server.doors.wrong_passwords._MOST_KNOWN", 2)
    known = RightPasswords()
    for number in range(3):
        known.remember(b"%d" % number, "$hash")
    assert [known.knows(b"%d" % number, "$hash") for number in range(3)] == [False, True, True]
    assert not known.knows(b"2", "$other")
