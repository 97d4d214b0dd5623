"""Notifications: events of the outbox are delivered, by one process, at least once."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest

import postgresql
from examples_of import load
from forms import short_and_long
from scepkit.errors import SettingsError, ThirdPartyFailed
from scepkit.server import settings as server_settings
from scepkit.server.notifications import delivering
from scepkit.server.notifications.channels import channels_of
from scepkit.server.notifications.delivering import (
    LEASE_TIME,
    Notifier,
    doubled,
    pause_after,
    sample,
)
from scepkit.server.notifications.failing import FailingRules
from scepkit.server.notifications.upkeep import Upkeep
from scepkit.server.web import metrics
from scepkit.server.webhooks.circuit import Circuit
from scepkit.store import Event, EventType, FailedTry, Store, Subscription
from server.test_webhooks import tls  # noqa: F401 - a fixture
from server.webhook_service import DROP, HANG, KEY, SECRET, Service
from stored import make_issuance
from waiting import wait_until

TAKEN = (204, {}, b"")
receiving = load("notification_receiver")


def now():
    return datetime.now(UTC)


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/scep.db", node="test/1") as opened:
        opened.subscribe([Subscription("siem", frozenset(EventType))])
        yield opened


@pytest.fixture
def configured(tmp_path):
    """Settings with a notification `siem`, or with other ones."""

    def configured(url="http://127.0.0.1:1/", text="", **more):
        values = {"url": url, "secret_file": "siem.key"} | more
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
        (tmp_path / "scep.toml").write_text(text or f"[notification.siem]\n{lines}\n")
        for name, secret in (("siem.key", SECRET), ("old.key", OTHER)):
            (tmp_path / name).write_text(f"{secret}\n")
            (tmp_path / name).chmod(0o600)
        return server_settings.load(tmp_path)

    return configured


OTHER_KEY = b"another one that was before"
OTHER = base64.b64encode(OTHER_KEY).decode()


@contextmanager
def notifying(store, settings, authorities=None, channels=None):
    """Deliver while the block runs."""
    channels = channels_of(settings, None) if channels is None else channels
    upkeep = Upkeep(store, lambda: settings, lambda: authorities or {})
    notifier = Notifier(store, channels, upkeep, FailingRules(store, dict), now)
    notifier.start()
    try:
        yield notifier
    finally:
        notifier.close()
        assert not notifier._thread.is_alive()


def tell(store, count=1, kind=EventType.TEST):
    store.announce(*(Event(kind, now(), "", {"n": n}) for n in range(count)))


def waiting(store):
    return store.queues().get("siem", (0,))[0]


def send(channel):
    asyncio.run(channel.send(sample("siem", now()), now()))


# --- what is sent ---------------------------------------------------------------------------------


def test_an_event_is_delivered_and_gone(store, configured):
    with Service(lambda _: TAKEN) as service, notifying(store, configured(service.url)):
        store.record(make_issuance(now=now())).result()
        wait_until(lambda: store.queues() == {}, "it is delivered")
    (asked,) = service.asked
    headers = asked.pop("headers")
    assert headers["Scepkit-Delivery"] == asked["id"]
    assert headers["Scepkit-Event"] == asked["event"] == "issued"
    assert headers["Content-Type"] == "application/json"
    assert asked["certificate"]["subject"] == "CN=device"


def test_a_bearer_token_and_a_proxy_of_nobody(store, configured, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "token").chmod(0o600)
    with Service(lambda _: TAKEN) as service:
        send(channels_of(configured(service.url, bearer_file="token"), None)["siem"])
    assert service.asked[0]["headers"]["Authorization"] == "Bearer t0ken"


def test_mutual_tls(configured, tls):  # noqa: F811
    ca, server, client = tls
    with Service(lambda _: TAKEN, tls=server, clients=ca) as service:
        shown = {"ca_file": ca, "tls_certificate": client, "tls_key": client}
        send(channels_of(configured(service.url, **shown), None)["siem"])
        for lacking in ({"ca_file": ca}, {"tls_certificate": client, "tls_key": client}):
            with pytest.raises(ThirdPartyFailed):
                send(channels_of(configured(service.url, **lacking), None)["siem"])
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        TAKEN,
        (200, {}, b"<html>thanks</html>"),
        (202, {"Content-Length": str(100 << 20)}, b" " * (1 << 20)),
        (200, {"Content-Encoding": "gzip"}, b"no gzip"),
    ],
)
def test_what_takes_an_event(store, configured, answer):
    with Service(lambda _: answer) as service:
        send(channels_of(configured(service.url), None)["siem"])
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}, b"<html>"), "HTTP 500"),
        ((302, {"Location": "/elsewhere"}, b""), "a redirect, which is not followed"),
        ((404, {}, b""), "HTTP 404"),
        ((503, {"Content-Length": str(100 << 20)}, b" " * (1 << 20)), "HTTP 503"),
        (DROP, "no answer from 127.0.0.1"),
        (HANG, r"in 0\.2 s"),
    ],
)
def test_what_takes_none(store, configured, answer, said):
    with Service(lambda _: answer) as service, pytest.raises(ThirdPartyFailed, match=said):
        send(channels_of(configured(service.url, seconds=0.2), None)["siem"])
    assert len(service.asked) == 1


def test_what_fails_stays_with_the_reason_and_its_id_is_the_same_again(
    store, configured, monkeypatch
):
    monkeypatch.setattr(delivering, "_FIRST", timedelta())
    answers = iter([(500, {}, b""), (500, {}, b"")])
    tell(store)
    with (
        Service(lambda _: next(answers, TAKEN)) as service,
        notifying(store, configured(service.url)),
    ):
        wait_until(lambda: waiting(store) == 0, "the third try")
    assert len({one["id"] for one in service.asked}) == 1
    assert [one["headers"]["Scepkit-Delivery"] for one in service.asked] == [
        service.asked[0]["id"]
    ] * 3


def test_a_receiver_that_fails_rests_and_the_others_get_theirs(store, configured, logged):
    store.subscribe([Subscription(one, frozenset(EventType)) for one in ("siem", "cmdb")])
    tell(store, 100)
    with Service(lambda _: (500, {}, b"no")) as bad, Service(lambda _: TAKEN) as good:
        both = "".join(
            f'[notification.{name}]\nurl = "{url}"\nsecret_file = "siem.key"\n'
            for name, url in (("siem", bad.url), ("cmdb", good.url))
        )
        with notifying(store, configured(text=both)):
            wait_until(lambda: "cmdb" not in store.queues(), "the good one has all")
            wait_until(lambda: any(one.tries for one in store.deliveries()), "the bad one is tried")
    assert len({one["id"] for one in good.asked}) == 100
    assert len(bad.asked) <= delivering.BATCH
    assert waiting(store) == 100
    tried = next(one for one in store.deliveries() if one.tries)
    assert tried.error.endswith("answers HTTP 500")
    assert tried.due_at > tried.tried_at
    told = [line for line in logged if line["event"] == "a notification was not delivered"]
    assert len(told) == 1


def test_pauses_are_doubled_up_to_the_longest_and_left_to_chance():
    hour = timedelta(hours=1)
    for tries, most in ((0, 10), (1, 20), (2, 40), (7, 1280), (8, 1800), (10**6, 1800)):
        pauses = {pause_after(tries) for _ in range(50)}
        assert len(pauses) > 1
        assert timedelta(seconds=most / 2) <= min(pauses)
        assert max(pauses) <= timedelta(seconds=most)
    assert doubled(hour, 0, hour) <= hour


# --- the secret -----------------------------------------------------------------------------------


def test_while_the_secret_is_exchanged_both_fit(configured):
    headers = {}

    class Poster:
        async def deliver(self, body, given):
            headers.update(given, body=body)

    channel = channels_of(configured(previous_secret_file="old.key"), None)["siem"]
    send(type(channel)("siem", channel.settings, Poster(), channel.keys))
    for key in (KEY, OTHER_KEY):
        assert receiving.is_signed(
            headers["Scepkit-Signature"], headers["body"], key, now().timestamp()
        )
    for key, at, body in (
        (b"a third one", now().timestamp(), headers["body"]),
        (KEY, now().timestamp() + 301, headers["body"]),
        (KEY, now().timestamp(), headers["body"] + b" "),
    ):
        assert not receiving.is_signed(headers["Scepkit-Signature"], body, key, at)


def test_a_secret_that_was_exchanged_signs_what_waited_before(
    store, configured, tmp_path, monkeypatch
):
    """The receiver refuses the old one; after a reload it takes the same event."""
    monkeypatch.setattr(delivering, "_FIRST", timedelta())
    monkeypatch.setattr(delivering, "_REST", timedelta())
    tell(store)
    with Service(lambda _: TAKEN) as service:
        settings = configured(service.url)
        (tmp_path / "siem.key").write_text(f"{OTHER}\n")
        with notifying(store, settings) as notifier:
            wait_until(lambda: len(service.asked) > 1, "refused")
            (tmp_path / "siem.key").write_text(f"{SECRET}\n")
            notifier.use(channels_of(settings, None))
            wait_until(lambda: waiting(store) == 0, "taken")
    assert len({one["id"] for one in service.asked}) == 1


# --- which ones, and who --------------------------------------------------------------------------


def test_one_that_is_switched_off_writes_nothing_and_sends_nothing(store, configured):
    tell(store)
    with Service(lambda _: TAKEN) as service:
        off = configured(service.url, disabled=True)
        assert off.subscriptions == []
        assert channels_of(off, None) == {}
        store.subscribe(off.subscriptions)
        tell(store)
        with notifying(store, off) as notifier:
            assert store.take_lease("outbox", "another", now=now(), until=now())
            assert waiting(store) == 1
            assert service.asked == []
            # Switched on again, what waited is sent.
            notifier.use(channels_of(configured(service.url), None))
            wait_until(lambda: waiting(store) == 0, "sent")
    assert len(service.asked) == 1


def test_one_of_two_processes_delivers(store, configured):
    tell(store, 30)
    with Service(lambda _: TAKEN) as service:
        settings = configured(service.url)
        with notifying(store, settings) as first, notifying(store, settings) as second:
            wait_until(lambda: waiting(store) == 0, "all are delivered")
            holders = [one for one in (first, second) if one._held_until is not None]
            assert len(holders) == 1
            # It goes, and gives the lease back: the other one takes over.
            holders[0].close()
            (other,) = {first, second} - set(holders)
            tell(store)
            other._wake()
            wait_until(lambda: waiting(store) == 0, "the other one delivers")
    assert len(service.asked) == len({one["id"] for one in service.asked}) == 31


def by_clock(store, settings, clock):
    """Return a notifier that looks when it is told to, by a clock that is set."""
    return Notifier(
        store,
        channels_of(settings, None),
        Upkeep(store, lambda: settings, dict),
        FailingRules(store, dict),
        lambda: clock[0],
    )


def test_who_comes_after_a_crash_waits_for_the_end_of_the_lease(store, configured):
    at = now()
    assert store.take_lease("outbox", "the dead", now=at, until=at + LEASE_TIME)
    tell(store)
    with Service(lambda _: TAKEN) as service:
        clock = [at]
        notifier = by_clock(store, configured(service.url), clock)
        asyncio.run(notifier._look())
        assert service.asked == []
        clock[0] = at + LEASE_TIME

        async def later():
            await notifier._look()
            await notifier._lines["siem"].task

        asyncio.run(later())
        assert len(service.asked) == 1


def test_a_clock_that_was_ahead_and_is_set_back_holds_nothing_up(store, configured):
    """A receiver that rested by it, the upkeep, and the lease that others may have."""
    clock = [now() + timedelta(days=365)]
    answers = chain([(500, {}, b"")] * 3, iter(lambda: TAKEN, None))
    with Service(lambda _: next(answers)) as service:
        notifier = by_clock(store, configured(service.url), clock)

        async def look():
            await notifier._look()
            await notifier._lines["siem"].task

        async def ahead_and_back():
            for _ in range(3):
                store.announce(Event(EventType.TEST, clock[0], "", {}))
                await look()
            assert notifier._lines["siem"].rests_until > clock[0]
            clock[0] = now()
            await look()

        asyncio.run(ahead_and_back())
    assert waiting(store) == 0
    assert notifier._upkeep_at <= clock[0] + timedelta(minutes=1)
    # Whoever comes after it waits for a lease of now.
    then = clock[0] + LEASE_TIME
    assert store.take_lease("outbox", "another", now=then, until=then + LEASE_TIME)


# --- kill -9 --------------------------------------------------------------------------------------

STEPS = ("put", "sent", "settled")
_CHILD = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from scepkit.server import settings
from scepkit.server.notifications import delivering
from scepkit.server.notifications.channels import channels_of
from scepkit.server.notifications.delivering import Notifier
from scepkit.server.notifications.failing import FailingRules
from scepkit.server.notifications.upkeep import Upkeep
from scepkit.store import Store
from stored import make_issuance

url, directory, step = sys.argv[1:]
loaded = settings.load(Path(directory))
store = Store.open(url, node="child/1")
store.subscribe(loaded.subscriptions)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


if step == "put":
    store.record(make_issuance(now=datetime.now(UTC))).result()
    print("told", flush=True)
    die()
settle = store.settle


def settling(*what):
    if step == "sent":
        die()
    settle(*what)
    if step == "settled":
        die()


store.settle = settling
now = lambda: datetime.now(UTC)
Notifier(
    store,
    channels_of(loaded, None),
    Upkeep(store, lambda: loaded, dict),
    FailingRules(store, dict),
    now,
).start()
signal.pause()
"""


@pytest.fixture(params=short_and_long("sqlite", of=["sqlite", "postgresql"]))
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/scep.db"
        return
    with postgresql.running() as cluster, cluster.fresh_database() as fresh:
        yield fresh


def test_kill_9_between_every_two_steps_loses_nothing(url, configured, tmp_path):
    """What comes twice has the same id, so that the receiver's file has it once."""
    events = receiving.Events(tmp_path / "events")
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    seen = []

    class Counted:
        def take(self, body):
            seen.append(json.loads(body)["id"])
            return events.take(body)

    http = receiving.receiver(KEY, Counted())
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        settings = configured(f"http://127.0.0.1:{http.server_port}/")
        with Store.open(url, node="test/1") as store:
            for step in STEPS:
                subprocess.run(
                    [sys.executable, "-c", _CHILD, url, str(tmp_path), step],
                    env=os.environ | {"PYTHONPATH": path},
                    check=False,
                    timeout=120,
                )
                store.end_lease("outbox", _holder(store))
            assert [one["event"] for one in lines(tmp_path)] == ["issued"]
            assert waiting(store) == 0
            assert len(seen) == 2  # sent and killed; sent again
            assert len(set(seen)) == 1
            store.subscribe(settings.subscriptions)
            tell(store)
            with notifying(store, settings):
                wait_until(lambda: waiting(store) == 0, "the rest")
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        events.close()
    assert [one["event"] for one in lines(tmp_path)] == ["issued", "test"]


def _holder(store):
    from sqlalchemy import text

    with store._reading() as connection:
        return connection.scalar(text("SELECT holder FROM leases")) or ""


def lines(directory):
    return [json.loads(line) for line in (directory / "events").read_text().splitlines()]


# --- upkeep ---------------------------------------------------------------------------------------


def keep_up(store, settings, at, authorities=None):
    upkeep = Upkeep(store, lambda: settings, lambda: authorities or {})
    upkeep.run(channels_of(settings, None).values(), at)


def test_a_receiver_that_is_dead_for_weeks_fills_no_disk(store, configured, logged):
    settings = configured(most=100, give_up_hours=24, keep_days=7)
    tell(store, 150)
    at = now()
    keep_up(store, settings, at)
    # That some were lost is one more.
    assert store.queues()["siem"][:2] == (101, 0)
    assert store.queues()["siem"].lost == 50
    tried = [FailedTry(one.id, "HTTP 500", at) for one in store.deliveries(limit=20)]
    store.settle([], tried, at)
    keep_up(store, settings, at + timedelta(hours=25))
    queue = store.queues()["siem"]
    assert (queue.waiting, queue.dead) == (82, 19)
    keep_up(store, settings, at + timedelta(days=9))
    assert sum(store.queues()["siem"][:2]) <= 2
    assert store.queues()["siem"].lost >= 150
    said = {line["event"] for line in logged}
    assert "notifications could not be delivered and were given up" in said
    assert "notifications were dropped: too many waited, or for too long" in said


def test_what_is_no_more_in_the_settings_is_kept_for_a_month(store, configured):
    tell(store, 3)
    settings = configured(text="port = 0\n")
    keep_up(store, settings, now() + timedelta(days=29))
    assert waiting(store) == 3
    keep_up(store, settings, now() + timedelta(days=31))
    assert waiting(store) == 0


def test_ends_that_come_near(store, configured):
    at = now()
    row = make_issuance(not_before=at, not_after=at + timedelta(days=10))
    store.record(row).result()
    settings = configured(expiring_days=[14, 30], events=["expiring"])
    store.subscribe(settings.subscriptions)
    for _ in range(2):
        keep_up(store, settings, at)
    found = [json.loads(one.body) for one in store.deliveries() if one.event == "expiring"]
    assert [one["days"] for one in found] == [14, 30]


def test_with_half_of_the_outbox_full_ends_wait(store, configured):
    at = now()
    store.record(make_issuance(not_before=at, not_after=at + timedelta(days=10))).result()
    tell(store, 60)
    settings = configured(most=100)
    keep_up(store, settings, at)
    assert not [one for one in store.deliveries() if one.event == "expiring"]
    store.drop([one.id for one in store.deliveries()], by="alice", now=at)
    keep_up(store, settings, at)
    assert [one.event for one in store.deliveries()] == ["expiring"]


class Served:
    """An endpoint whose rules ask a service."""

    def __init__(self):
        self.circuit = Circuit(2, timedelta(), now)
        self.services = (SimpleNamespace(name="webhook mdm", circuit=self.circuit),)

    def ask(self, *, fails):
        with suppress(ThirdPartyFailed), self.circuit.attempt():
            if fails:
                raise ThirdPartyFailed("no answer")


def test_a_rule_whose_service_fails_is_told_once_by_however_many_processes(store, configured):
    settings = configured()
    store.subscribe(settings.subscriptions)
    channels = [*channels_of(settings, None).values()]
    served = [Served(), Served()]
    looking = [FailingRules(store, lambda one=one: {"default": one}) for one in served]

    def ask(*fails):
        for one, fail in zip(served, fails, strict=True):
            if fail is not None:
                one.ask(fails=fail)
        for one in looking:
            one.look(channels, now())
        return [json.loads(one.body) for one in store.deliveries()][before[0] :]

    before = [0]
    assert ask(True, True) == []
    failing, *more = ask(True, True)
    assert more == []
    assert (failing["event"], failing["endpoint"]) == ("rule-failing", "default")
    assert (failing["rule"], failing["reason"]) == ("webhook mdm", "no answer")
    before = [1]
    assert ask(True, None) == []
    (recovered,) = ask(False, None)
    assert (recovered["event"], recovered["rule"]) == ("rule-recovered", "webhook mdm")
    before = [2]
    assert ask(False, False) == []
    ask(True, None)
    assert [one["event"] for one in ask(True, None)] == ["rule-failing"]


def test_who_wants_no_failures_is_told_none(store, configured):
    channels = [*channels_of(configured(events=["rule-recovered"]), None).values()]
    one = Served()
    looking = FailingRules(store, lambda: {"default": one})
    for fails in (True, True, False):
        one.ask(fails=fails)
        looking.look(channels, now())
    assert [*store.deliveries()] == []


def test_metrics_of_the_outbox(store, configured):
    tell(store, 2)
    text = metrics.render(metrics.RecordMetrics(lambda: store))[0].decode()
    assert 'scep_outbox_length{notification="siem",state="waiting"} 2.0' in text
    assert 'scep_outbox_length{notification="siem",state="dead"} 0.0' in text
    assert "scep_outbox_oldest_timestamp_seconds{" in text


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": "http://siem.example/"}, "it has to be an https URL"),
        ({"url": "https://u:p@siem.example/"}, "no user, password or fragment"),
        ({"events": ["issued", "isued"]}, "events"),
        ({"events": ["test"]}, "it is a list of pending, issued"),
        ({"events": []}, "a list of at least 1"),
        ({"endpoints": ["vpn"]}, "there is no endpoint 'vpn'"),
        ({"expiring_days": [0]}, "at least 1"),
        ({"tls_key": "a.pem"}, "belong together"),
        ({"color": "red"}, "color"),
    ],
)
def test_what_is_no_notification(configured, more, said):
    with pytest.raises(SettingsError, match=said):
        configured(**more)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("short", 0o600, "does not hold at least 16 octets in base64"),
        (SECRET, 0o644, "can be read by others"),
        (None, 0o600, "is missing"),
    ],
)
def test_what_is_no_secret(configured, tmp_path, text, mode, said):
    settings = configured()
    path = tmp_path / "siem.key"
    path.unlink()
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(SettingsError, match=said) as refused:
        channels_of(settings, None)
    assert SECRET not in str(refused.value)


def test_one_number_of_days_is_a_list_of_one(configured):
    one = configured(expiring_days=14).notification["siem"]
    assert one.expiring_days == (14,)
    assert set(chain(one.events)) == set(EventType) - {EventType.LOST, EventType.TEST}
