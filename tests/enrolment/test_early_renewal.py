"""Renewals before a profile's window: taken where an operator has called for them."""

from __future__ import annotations

from datetime import timedelta

import pytest

import keys
from scepkit.enrolment import renewal_window
from scepkit.enrolment.rules import RenewalRules
from scepkit.operations import early_renewal, planned_revocation
from scepkit.operations.selection import Selection
from scepkit.protocol.crl import Reason
from scepkit.store import Called

DAY = timedelta(days=1)
WINDOW = RenewalRules(window=9 * DAY)


@pytest.fixture
def device(world):
    """A device of a profile whose window is not open yet."""
    world.use(renewal=WINDOW)
    found = world.enrolled()
    world.now += DAY
    return found


def renew(world, device, name="again"):
    return world.renew(device, key=keys.device(name).key, transaction_id=name)


def call(world, **how):
    return early_renewal.call(
        world.store, Called(), **{"within": 7 * DAY, "by": "alice", "now": world.now} | how
    )


def test_it_is_refused_without_a_call(world, device):
    assert renew(world, device).refusal[0] == "badRequest"


def test_it_is_taken_after_a_call_and_not_after_its_end(world, device):
    made = call(world)
    assert renew(world, device).certificate
    early_renewal.cancel(world.store, made.number, by="bob", now=world.now)
    assert renew(world, device, "third").refusal[0] == "badRequest"


def test_once_more_where_the_reply_was_lost(world, device):
    """With a new key, so that it is another request."""
    call(world)
    assert renew(world, device).certificate
    assert renew(world, device, "third").certificate


def test_the_new_certificate_is_not_called(world, device):
    call(world)
    world.now += timedelta(hours=1)
    new = keys.Holder(keys.device("again").key, renew(world, device).x509)
    world.now += timedelta(hours=1)
    assert renew(world, new, "third").refusal[0] == "badRequest"


def test_it_is_taken_where_the_certificate_is_to_be_revoked(world, device):
    row = world.store.certificate(device.x509.serial_number)
    planned = planned_revocation.plan_selected(
        world.store,
        Selection([row]),
        due_at=world.now + 3 * DAY,
        reason=Reason.superseded,
        by="alice",
        clock=lambda: world.now,
    )
    assert [one.key for one in planned] == [row.key]
    assert renew(world, device).certificate
    assert world.store.revoke_due(world.now + 3 * DAY) == 1
    world.now += 4 * DAY
    assert renew(world, device, "third").refusal[0] == "badRequest"


def test_other_rules_stay(world, device):
    """Other names are refused, called or not."""
    call(world)
    reply = world.renew(device, key=keys.device("again").key, subject="CN=other")
    assert reply.refusal[0] == "badRequest"


def test_a_renewal_at_the_suggested_time_is_taken(world, device):
    call(world)
    row = world.store.certificate(device.x509.serial_number)
    window = renewal_window.best(row, WINDOW, world.store.pulls(row))
    assert window.end <= world.now + 7 * DAY
    world.now = max(window.start, world.now)
    assert renew(world, device).certificate


def test_without_a_window_nobody_asks_the_database(world, monkeypatch):
    device = world.enrolled()
    monkeypatch.setattr(world.store, "pulls", None)
    assert renew(world, device).certificate


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"within": timedelta()}, "a year at most"),
        ({"within": -DAY}, "a year at most"),
        ({"within": 366 * DAY}, "a year at most"),
        ({"explanation": "javascript:alert(1)"}, "not the URL"),
        ({"explanation": "https://ca.example/\x1b"}, "not the URL"),
    ],
)
def test_what_cannot_be_meant(world, how, words):
    from scepkit.errors import UsageError

    with pytest.raises(UsageError, match=words):
        call(world, **how)
    assert world.store.early_renewals() == []
