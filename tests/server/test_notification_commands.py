"""`scep admin notification` and `scep admin outbox`; and what /healthz says of dead letters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from scepkit.server import settings as server_settings
from scepkit.server.directory.database import open_store
from scepkit.server.web.health import Conditions, Word
from scepkit.store import Event, EventType, FailedTry
from server.live import scep_here
from server.webhook_service import SECRET, Service

TAKEN = (204, {}, b"")


@pytest.fixture
def told(directory):
    """A data directory with a notification `siem`, and a way to name its receiver."""
    path = directory()
    (path / "siem.key").write_text(f"{SECRET}\n")
    (path / "siem.key").chmod(0o600)

    def told(url="http://127.0.0.1:1/", **more):
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in more.items())
        (path / "scep.toml").write_text(
            f'[notification.siem]\nurl = "{url}"\nsecret_file = "siem.key"\n{lines}\n'
        )
        return path

    return told


def dead_letters(path, count):
    """Put events into the outbox that were given up."""
    now = datetime.now(UTC)
    with open_store(server_settings.load(path)) as store:
        store.announce(*(Event(EventType.TEST, now, "", {}) for _ in range(count)))
        rows = store.due("siem", now, 100)
        store.settle([], [FailedTry(one.id, "HTTP 500", now) for one in rows], now)
        store.give_up("siem", before=now + timedelta(days=1), now=now)
        return [one.delivery for one in rows]


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_sample_and_what_came_back(told):
    with Service(lambda _: TAKEN) as service:
        path = told(service.url, disabled=True)
        done = scep_here("admin", "notification", "test", "siem", "--dir", path)
        assert done.returncode == 0
        assert f"{service.url} took the event" in done.stderr + done.stdout
    (asked,) = service.asked
    assert asked["event"] == "test"
    with Service(lambda _: (500, {}, b"")) as service:
        path = told(service.url)
        done = scep_here("admin", "notification", "test", "siem", "--json", "--dir", path)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["result"] == "failed"
    assert found["error"].endswith("answers HTTP 500")
    done = scep_here("admin", "notification", "test", "siam", "--dir", path)
    assert done.returncode == 2
    assert "one of siem" in done.stderr


def test_dead_letters_are_listed_shown_tried_again_and_dropped(told):
    path = told(most=100)
    first, second, third = dead_letters(path, 3)
    listed = lines(scep_here("admin", "outbox", "list", "--dead", "--json", "--dir", path))
    assert [one["id"] for one in listed] == [first, second, third]
    assert {(one["state"], one["error"], one["tries"]) for one in listed} == {
        ("dead", "HTTP 500", "1")
    }
    (row,) = lines(scep_here("admin", "notification", "list", "--json", "--dir", path))
    assert (row["state"], row["waiting"], row["dead"]) == ("enabled", "0", "3")
    shown = scep_here("admin", "outbox", "show", first[:8], "--json", "--dir", path)
    assert json.loads(shown.stdout)["body"]["id"] == first
    assert scep_here("admin", "outbox", "show", first[:3], "--dir", path).returncode == 2
    assert scep_here("admin", "outbox", "retry", "--dir", path).returncode == 2
    done = scep_here("admin", "outbox", "retry", first, "--reason", "is up", "--dir", path)
    assert "1 event will be tried again" in done.stderr + done.stdout
    done = scep_here("admin", "outbox", "retry", first, "--json", "--dir", path)
    assert json.loads(done.stdout) == {"retried": 1}
    refused = scep_here("admin", "outbox", "drop", "--all", "--dir", path)
    assert refused.returncode != 0
    done = scep_here("admin", "outbox", "drop", second, "--json", "--dir", path)
    assert json.loads(done.stdout) == {"dropped": 1}
    done = scep_here("admin", "outbox", "drop", "--all", "--yes", "--dir", path)
    assert "dropped 1 event" in done.stderr + done.stdout
    (left,) = lines(scep_here("admin", "outbox", "list", "--json", "--dir", path))
    assert (left["id"], left["state"]) == (first, "waiting")
    audit = scep_here("admin", "audit", "list", "--json", "--dir", path).stdout
    assert '"outbox-dropped"' in audit
    assert '"outbox-retried"' in audit


def test_the_server_is_degraded_while_there_are_dead_letters(told):
    path = told()
    settings = server_settings.load(path)
    ids = dead_letters(path, 2)
    with open_store(settings) as store:
        conditions = Conditions(
            settings,
            store,
            authorities=dict,
            unreadable=lambda: None,
            crl_problems=list,
            log_is_lost=lambda: False,
            now=lambda: datetime.now(UTC),
        )

        def said():
            return [one for one in conditions.find() if "notifications" in one.reason]

        (state,) = said()
        assert state.word is Word.DEGRADED
        assert state.reason.startswith("2 notifications of 'siem'")
        store.drop([one.id for one in store.deliveries()], by="alice", now=datetime.now(UTC))
        assert said() == []
    assert len(ids) == 2
