"""docs/reference/notifications.md has every kind of event, with the members that are sent."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scepkit.server.directory import data_directory
from scepkit.server.notifications.upkeep import Upkeep
from scepkit.server.settings.authorization import IntuneRule
from scepkit.server.settings.intune import IntuneSettings
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
    with_secret = intune(home.settings, (now + timedelta(days=20)).date())
    upkeep = Upkeep(store, lambda: with_secret, lambda: home.authorities)
    upkeep._secrets(channel, now)
    found = {one.event: json.loads(one.body) for one in store.deliveries()}
    shown = examples()
    assert set(found) == set(shown) == set(EventType)
    for kind, example in shown.items():
        assert members(found[kind]) == members(example), kind


def intune(settings, day):
    """Return settings whose endpoint `laptops` asks Intune with a secret that ends on a day."""
    known = {"tenant": "contoso.example", "client_id": "1", "secret_expires": day}
    rule = IntuneRule(kind="intune", registration="corp")
    endpoint = settings.endpoint["default"].model_copy(update={"authorization": (rule,)})
    update = {
        "intune": {"corp": IntuneSettings(**known)},
        "endpoint": settings.endpoint | {"laptops": endpoint},
    }
    return settings.model_copy(update=update)


@pytest.mark.parametrize(
    ("left", "wanted", "told"),
    [
        (91, {}, []),
        (90, {}, [90]),
        (30, {}, [30]),
        (-1, {}, [7]),
        (30, {"endpoints": ("laptops",)}, [30]),
        (30, {"endpoints": ("default",)}, []),
        (30, {"events": ("issued",)}, []),
    ],
)
def test_a_client_secret_near_its_end_is_told_once(store, made, left, wanted, told):
    now = datetime(2026, 11, 29, tzinfo=UTC)
    home = data_directory.open_existing(made(), now=datetime.now(UTC))
    settings = intune(home.settings, (now + timedelta(days=left)).date())
    how = {"url": "https://siem.example/", "secret_file": "key"}
    channel = FakeChannel("siem", NotificationSettings(**how | wanted))
    upkeep = Upkeep(store, lambda: settings, lambda: home.authorities)
    for _ in range(2):
        upkeep.run([channel], now)
    every = [json.loads(one.body) for one in store.deliveries()]
    found = [one for one in every if one["event"] == "secret-expiring"]
    assert [one["days"] for one in found] == told
    assert all(one["registration"] == "corp" for one in found)


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
