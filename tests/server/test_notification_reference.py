"""docs/reference/notifications.md has every kind of event, with the members that are sent."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scepkit.server import data_directory
from scepkit.server.notifications.upkeep import Upkeep
from scepkit.server.settings.notification import NotificationSettings
from scepkit.store import Event, EventType, Refusal, Store, Subscription
from stored import make_issuance, make_queued

PAGE = Path(__file__).parents[2] / "docs/reference/notifications.md"


def examples():
    found = {}
    for block in re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        event = json.loads(block)
        found.setdefault(event["event"], event)
    return found


def members(value):
    return {
        name: members(inner) if isinstance(inner, dict) else None for name, inner in value.items()
    }


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/scep.db", node="test/1") as opened:
        opened.subscribe([Subscription("siem", frozenset(EventType))])
        yield opened


def test_every_event_has_the_members_of_its_example(store, made):
    now = datetime.now(UTC)
    row = make_issuance(now=now, not_after=now + timedelta(days=10))
    store.record(row).result()
    store.queue(make_queued(now=now)).result()
    store.revoke(row.serial, reason=6, by="alice", now=now)
    store.release(row.serial, by="alice", now=now)
    kept = Future()
    refusal = Refusal(
        endpoint="main",
        is_entitled=True,
        transaction_id="t",
        message_type="PKCS_REQ",
        at=now,
        fail_info=2,
        reason="no",
    )
    store.keep_refusals([refusal], kept, most=10)
    kept.result()
    wanted = Subscription("siem", frozenset(EventType))
    store.announce_expiring(wanted, timedelta(days=30), now)
    store.announce(
        Event(EventType.RULE_FAILING, now, "main", {"rule": "webhook mdm", "reason": "no answer"}),
        Event(EventType.RULE_RECOVERED, now, "main", {"rule": "webhook mdm"}),
        Event(EventType.LOST, now, "", {"count": 1}),
        Event(EventType.TEST, now, "", {}),
    )
    home = data_directory.open_existing(made(), now=now)
    settings = NotificationSettings(
        url="https://siem.example/", secret_file="key", ca_expiring_days=1000
    )
    channel = FakeChannel("siem", settings)
    upkeep = Upkeep(store, lambda: home.settings, lambda: home.authorities)
    for _ in range(2):  # once
        upkeep._endings(channel, now + timedelta(days=3000))
    assert [one.event for one in store.deliveries()].count("ca-expiring") == 2
    found = {one.event: json.loads(one.body) for one in store.deliveries()}
    shown = examples()
    assert set(found) == set(shown) == set(EventType)
    for kind, example in shown.items():
        assert members(found[kind]) == members(example), kind


class FakeChannel:
    """A way that nothing is sent on."""

    def __init__(self, name, settings):
        self.name = name
        self.settings = settings
        self.subscription = settings.subscription(name)


def test_every_key_is_documented():
    text = PAGE.read_text("utf-8")
    for name in NotificationSettings.model_fields:
        assert f"`{name}`" in text, name
