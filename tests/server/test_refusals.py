"""Refused requests are kept for the operator: of devices and strangers apart, and so many a second.

Each answer goes out before anything is written, and whatever becomes of that.
"""

from __future__ import annotations

import asyncio
import json

import pytest

import keys
from enrolment import devices
from scepkit.errors import StoreError
from scepkit.protocol.certificate import show_serial
from scepkit.server.web import refusals
from scepkit.store import RefusalFilter, Store
from server import socketless
from server.conftest import new_challenges
from server.live import PKI_OPERATION, scep_here
from server.test_app import recipient
from server.test_bounds import session, times

WRONG = "no-such-challenge-4711"


@pytest.fixture
def vpn(app):
    """A server that wants an O in each subject, and devices and strangers for it."""
    application, path = app(
        profile={"vpn": {"subject": {"O": {"required": True}}}},
        endpoint={"default": {"profile": "vpn"}},
    )
    ra = recipient(path)

    def new(name, challenge=None, subject="", signer=None):
        return devices.pkcs_req(
            challenge,
            to=ra,
            signer=signer or keys.device(name),
            subject=subject or f"CN={name}",
            transaction_id=name,
        )

    return application, path, new


def kept(path, **wanted):
    with Store.open(f"sqlite:///{path / 'scep.db'}") as store:
        return store.refusal_page(RefusalFilter(**wanted), limit=1000)


def test_what_is_refused_is_found(vpn):
    """By its transactionID, in the list, and as JSON; the challenge is in none of them."""
    application, path, new = vpn
    (secret,) = new_challenges(path)
    device, stranger = new("device", secret), new("stranger", WRONG)
    session(application, ("192.0.2.1", device), ("192.0.2.9", stranger), ("192.0.2.2", device))
    shown = scep_here("admin", "show", "device", "--dir", path, "--json")
    found = json.loads(shown.stdout)
    (one,) = found["refusals"]
    assert (one["rule"], one["attribute"]) == ("subject.O.required", "O")
    assert (one["sender"], one["times"], one["peer"]) == ("entitled", 2, "192.0.2.2")
    assert (one["fail_info"], one["subject"]) == ("badRequest", "CN=device")
    assert (one["challenge_id"], one["type"]) == ("1", "PKCS_REQ")
    assert one["key_sha256"] == keys.device("device").certificate.key_hash.hex()
    assert found["status"] == "refused"
    listed = scep_here("admin", "list", "--state", "refused", "--dir", path, "--json")
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    assert {(row["transaction_id"], row["sender"], row["rule"]) for row in rows} == {
        ("device", "entitled", "subject.O.required"),
        ("stranger", "stranger", "challenge"),
    }
    for text in (shown.stdout, listed.stdout):
        assert WRONG not in text
        assert secret not in text


def test_a_refused_renewal_is_shown_with_its_certificate(vpn):
    application, path, new = vpn
    (secret,) = new_challenges(path)
    ra = recipient(path)
    signer = keys.device("device")

    async def run():
        async with socketless.lifespan(application):
            first = new("first", secret, "CN=device,O=Example", signer)
            answer = await socketless.ask(application, PKI_OPERATION, "POST", first)
            holder = keys.Holder(signer.key, devices.read(answer.body, ra, signer).x509)
            renewal = devices.renewal_req(
                to=ra, signer=holder, subject="CN=other,O=Example", transaction_id="renewal"
            )
            await socketless.ask(application, PKI_OPERATION, "POST", renewal)
            return show_serial(holder.x509.serial_number)

    serial = asyncio.run(run())
    shown = json.loads(scep_here("admin", "show", serial, "--dir", path, "--json").stdout)
    (one,) = shown["refusals"]
    assert (one["rule"], one["sender"]) == ("renewal.new_names", "entitled")
    assert one["serial"] == serial
    text = scep_here("admin", "show", serial, "--dir", path).stdout
    assert "a renewal of" in text


def test_strangers_cannot_push_out_a_device(vpn, monkeypatch):
    """However many of them there are in a second, and however long it goes on."""
    application, path, new = vpn
    monkeypatch.setattr(refusals, "MOST", 3)
    monkeypatch.setattr(refusals, "_SECONDS", 0.0)
    monkeypatch.setattr(application.routes["scep"]._refusals, "_most", 2)
    (secret,) = new_challenges(path)
    signer = keys.device("stranger")
    strangers = [("192.0.2.9", new(f"s{n}", WRONG, signer=signer)) for n in range(12)]
    session(application, ("192.0.2.1", new("device", secret)), *strangers)
    names = {row.transaction_id: row.is_entitled for row in kept(path)}
    assert names.pop("device") is True
    assert len(names) <= 2
    assert not any(names.values())


def test_too_many_in_a_second_are_answered_and_told(vpn, monkeypatch, logged):
    application, path, new = vpn
    monkeypatch.setattr(refusals, "MOST", 3)
    # The first write is due when this is over: all of it is one second.
    monkeypatch.setattr(application.routes["scep"]._refusals, "_next", float("inf"))
    before = times("refusals kept a second")
    signer = keys.device("stranger")
    messages = [("192.0.2.9", new(f"s{n}", WRONG, signer=signer)) for n in range(5)]
    answers = session(application, *messages)
    assert [one.status for one in answers] == [200] * 5
    assert times("refusals kept a second") == before + 2
    assert len(kept(path)) == 3
    (warning,) = [line for line in logged if line["event"] == "a bound is reached"]
    assert warning["bound"] == "refusals kept a second"
    assert len([line for line in logged if line["event"] == "scep"]) == 5


@pytest.mark.parametrize("how", ["at once", "later"])
def test_a_refusal_is_answered_whatever_the_store_does(vpn, monkeypatch, logged, how):
    application, path, new = vpn

    def fail(_refused, promise, *, most):
        assert most == 1000
        error = StoreError("the disk is full")
        if how == "at once":
            raise error
        promise.set_exception(error)

    monkeypatch.setattr(application.store, "keep_refusals", fail)
    messages = [("192.0.2.9", new(str(n), WRONG)) for n in range(2)]
    answers = session(application, *messages)
    assert [one.status for one in answers] == [200, 200]
    assert kept(path) == []
    warnings = [line for line in logged if line["event"].startswith("refusals could not be kept")]
    assert [line["error"] for line in warnings] in (["the disk is full"], [])


def test_none_are_kept_where_none_are_wanted(app):
    application, path = app(kept_refusals=0)
    message = devices.pkcs_req(WRONG, to=recipient(path))
    (answer,) = session(application, ("192.0.2.1", message))
    assert answer.status == 200
    assert kept(path) == []
