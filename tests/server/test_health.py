"""/healthz answers within a bound, with one thread, and every change of state is one line."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from scepkit.server import monitoring
from scepkit.server.web import health
from scepkit.server.web.health import Health, State, Word
from server import socketless
from waiting import PATIENCE, wait_until

LATE = State(Word.DEGRADED, "the CRL is late")
GONE = State(Word.FAILING, "the database is gone")


@pytest.fixture
def looking():
    """Start what looks at a server, and end it."""
    started = []

    def start(find, **how):
        one = Health(find, **how)
        one.start()
        started.append(one)
        return one

    yield start
    for one in started:
        one.close()
        one._thread.join(PATIENCE)
        assert not one._thread.is_alive()


def asked(one):
    answer = asyncio.run(socketless.ask(one, "/healthz"))
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("states", "answer"),
    [
        ([], (200, b'{"status":"ok"}')),
        ([LATE], (200, b'{"status":"degraded"}')),
        ([GONE], (503, b'{"status":"failing"}')),
        ([LATE, GONE, LATE], (503, b'{"status":"failing"}')),
    ],
)
def test_the_worst_state_is_the_word_and_no_reason_is_told(looking, states, answer):
    assert asked(looking(lambda: states)) == answer


def test_a_database_that_never_answers_holds_one_thread(looking, monkeypatch, logged):
    """Everybody is answered all the same, with what is known: that it does not answer."""
    monkeypatch.setattr(health, "BOUND", 0.05)
    answers = threading.Event()
    looks = []

    def find():
        looks.append(threading.get_ident())
        assert answers.wait(PATIENCE)
        return []

    one = looking(find)
    before = threading.active_count()
    for _ in range(10):
        assert asked(one) == (503, b'{"status":"failing"}')
    assert one.states()[0].reason.startswith("the database does not answer")
    assert len(looks) == 1
    assert threading.active_count() == before
    assert [line["status"] for line in logged] == ["failing"]
    monkeypatch.setattr(health, "BOUND", PATIENCE)
    answers.set()
    wait_until(lambda: asked(one) == (200, b'{"status":"ok"}'), "an answer")
    assert [line["status"] for line in logged] == ["failing", "ok"]


def test_each_change_is_one_line(looking, monkeypatch, logged):
    monkeypatch.setattr(health, "STANDS", 0)
    states = []
    one = looking(lambda: states)
    for now in ([], [LATE], [LATE], [LATE, GONE], [LATE, GONE], [LATE], [], []):
        states[:] = now
        assert one.states() == tuple(now)
    assert [(one["log_level"], one["status"], one.get("reason")) for one in logged] == [
        ("warning", "degraded", "the CRL is late"),
        ("warning", "failing", "the database is gone"),
        ("info", "ok", None),
    ]


def test_it_looks_without_being_asked(looking, monkeypatch, logged):
    monkeypatch.setattr(health, "STANDS", 0)
    looking(lambda: [GONE])
    wait_until(lambda: logged, "a line")
    assert logged[0]["reason"] == GONE.reason


def test_a_bug_in_looking_is_told_and_is_not_the_end_of_it(looking, monkeypatch, logged):
    monkeypatch.setattr(health, "STANDS", 0)
    states = iter([ZeroDivisionError()])

    def find():
        for error in states:
            raise error
        return []

    one = looking(find)
    assert wait_until(lambda: not one.states(), "a good look")
    assert logged[0]["event"] == "bug in scepkit; please report it"


# --- several processes ----------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def test_what_a_worker_finds_is_known_to_its_parent(shared, monkeypatch):
    (unknown,) = monitoring.shared(shared)
    assert unknown.word is Word.DEGRADED
    monitoring.share((LATE, GONE))
    assert monitoring.shared(shared) == (LATE, GONE)
    monitoring.share(())
    assert monitoring.shared(shared) == ()
    # Of a process that is gone nothing counts.
    gone = shared / "health-999999999.json"
    gone.write_text(json.dumps({"states": [{"state": "failing", "reason": "gone"}]}))
    assert monitoring.shared(shared) == ()
    # One that hangs is known by its silence.
    monkeypatch.setattr(monitoring, "_SILENT", -1)
    (silent,) = monitoring.shared(shared)
    assert silent.word is Word.FAILING
    assert "has not looked at itself" in silent.reason


def test_a_directory_that_cannot_be_written(shared, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(shared / "none"))
    monitoring.share((GONE,))
