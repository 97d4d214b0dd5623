"""What an agent does with the certificate in a directory, and what it keeps of it."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from fractions import Fraction

import pytest

from pair import grant
from scepkit.client import renewer
from scepkit.client.agent import events, schedule, state, state_file, visit
from scepkit.client.agent.result import Verdict
from scepkit.client.agent.state import Standing
from scepkit.errors import BadRequest, TransportError
from scepkit.protocol.scep.http import HTTPResponse, Operation
from scepkit.protocol.scep.messages import Pending

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def kinds(told):
    return [type(one) for one in told]


def requests(site):
    return len(site.asked(Operation.PKI_OPERATION))


def test_a_certificate_that_is_not_due_stays(site, enrolled, look):
    folder = enrolled(site)
    before = folder.certificate()
    seen = look(folder)
    assert seen.verdict is Verdict.WELL
    assert seen.state.standing is Standing.VALID
    assert (seen.state.next, seen.state.next_at) == ("renew", seen.state.renew_at)
    assert folder.certificate() == before


def test_it_is_renewed_when_it_is_due_and_not_twice(site, enrolled, look, time, told):
    folder = enrolled(site)
    due = look(folder).state.renew_at
    time.jump(seconds=(due - time()).total_seconds() - 60)
    before = folder.certificate()
    look(folder)
    assert folder.certificate() == before
    time.jump(seconds=61)
    seen = look(folder)
    assert seen.verdict is Verdict.WELL
    assert folder.certificate() != before
    assert events.CertificateInstalled in kinds(told)
    assert seen.state.got_at.replace(microsecond=0) <= time()
    after = folder.certificate()
    assert requests(site) == 2
    look(folder)
    look(folder, eager=True)
    assert folder.certificate() == after
    assert requests(site) == 2


@pytest.mark.parametrize("interval", [None, 3 * HOUR])
def test_never_twice_within_the_minimum_interval(site, enrolled, look, time, interval, monkeypatch):
    """Whatever the schedule and the certificate's notBefore say."""
    monkeypatch.setattr(schedule, "_SPREAD", 0)
    folder = enrolled(site)
    always = {"at": Fraction(1, 10**6), "min_interval": interval}
    time.jump(hours=4)
    look(folder, **always)
    assert requests(site) == 2
    time.jump(minutes=59)
    look(folder, **always)
    assert requests(site) == 2
    time.jump(minutes=2)
    look(folder, **always)
    assert requests(site) == (3 if interval is None else 2)


def test_it_goes_on_after_the_end(serve, enrolled, look, time):
    site = serve(grant, *[BadRequest("no")] * 2, grant)
    folder = enrolled(site)
    time.jump(days=25)
    assert look(folder).state.standing is Standing.REFUSED
    end = folder.certificate().not_after
    time.jump(seconds=(end - time()).total_seconds() + 60)
    seen = look(folder)
    assert seen.verdict is Verdict.FAILED
    assert seen.state.failures == 2
    assert seen.state.retry_at <= time() + schedule.LONGEST_EXPIRED


def test_a_failure_is_tried_again_later_and_later(serve, enrolled, look, time):
    site = serve(grant, *[BadRequest("no")] * 20)
    folder = enrolled(site)
    time.jump(days=22)
    last = timedelta()
    for failures in range(1, 8):
        seen = look(folder)
        assert seen.state.failures == failures
        pause = seen.state.retry_at - time()
        assert schedule.SHORTEST <= pause <= schedule.LONGEST
        assert pause >= last
        asked, last = requests(site), pause
        look(folder)
        assert requests(site) == asked
        time.jump(seconds=pause.total_seconds() + 1)
    assert look(folder, eager=True).state.failures == 8


def test_an_unreachable_server_is_said_with_since_when(serve, enrolled, look, time):
    site = serve(grant, grant)
    folder = enrolled(site)
    record = folder.record()
    folder.remember(type(record)(**{**vars_of(record), "url": "http://127.0.0.1:9/scep"}))
    time.jump(days=22)
    first = look(folder).state
    assert first.standing is Standing.UNREACHABLE
    time.jump(hours=7)
    again = look(folder).state
    assert (again.standing, again.since) == (Standing.UNREACHABLE, first.since)
    assert again.failures == 2
    folder.remember(record)
    time.jump(hours=7)
    assert look(folder).state.standing is Standing.VALID


def vars_of(record):
    return {name: getattr(record, name) for name in record.__slots__}


def test_others_do_not_wait_for_a_server_that_is_away(serve, enrolled, look, time, monkeypatch):
    site = serve(*[grant] * 3)
    folders = [enrolled(site, name) for name in ("a", "b", "c")]
    time.jump(days=22)
    site.next(Operation.GET_CA_CAPS, *[HTTPResponse(503, b"")] * 9)
    asked = []
    real = visit.Renewer.renew

    def renew(self, options):
        asked.append(options)
        if len(asked) == 1:
            raise TransportError("cannot connect")
        return real(self, options)

    monkeypatch.setattr(visit.Renewer, "renew", renew)
    visits = look(*folders)
    assert [one.state.standing for one in visits] == [Standing.UNREACHABLE] * 3
    assert len(asked) == 1


def test_where_nothing_is_due_a_server_that_is_away_is_no_failure(serve, enrolled, look, told):
    """It is asked once in a pass; the next one asks for another directory."""
    site = serve(*[grant] * 2)
    folders = [enrolled(site, name) for name in ("a", "b")]
    site.__exit__(None, None, None)
    for _ in range(2):
        assert [one.verdict for one in look(*folders)] == [Verdict.WELL] * 2
    warned = [one.directory for one in told if isinstance(one, events.RenewerSaid)]
    assert warned == [one.path for one in folders]


def test_a_busy_server_says_when(serve, enrolled, look, time):
    site = serve(grant, grant)
    folder = enrolled(site)
    time.jump(days=22)
    busy = HTTPResponse(503, b"", headers={"Retry-After": "900"})
    site.next(Operation.PKI_OPERATION, *[busy] * 2)
    seen = look(folder).state
    assert seen.standing is Standing.UNREACHABLE
    assert seen.retry_at - time() > timedelta(seconds=890)


def test_a_request_that_waits_holds_up_no_other(serve, enrolled, look, time, told):
    site = serve(grant, grant, Pending(), grant, Pending(), grant)
    slow, other = enrolled(site, "a"), enrolled(site, "b")
    old = slow.certificate()
    time.jump(days=22)
    first, second = look(slow, other)
    assert (first.verdict, second.verdict) == (Verdict.WAITS, Verdict.WELL)
    assert first.state.standing is Standing.WAITING
    assert first.state.next == "ask again"
    assert slow.certificate() == old
    key = slow.unfinished.read_bytes()
    time.jump(hours=1)
    assert look(slow).state.standing is Standing.WAITING
    assert slow.unfinished.read_bytes() == key
    time.jump(hours=1)
    seen = look(slow)
    assert seen.state.standing is Standing.VALID
    assert slow.certificate() != old
    assert seen.state.failures == 0


@pytest.mark.parametrize("years", [-2, 2])
def test_a_clock_that_jumps_and_comes_back(serve, enrolled, look, time, years):
    """What was noted in the wrong time neither blocks for ever nor makes a loop."""
    site = serve(grant, *[BadRequest("no")] * 50)
    folder = enrolled(site)
    look(folder)
    time.jump(days=365 * years)
    look(folder)
    look(folder)
    time.jump(days=-365 * years)
    seen = look(folder)
    asked = requests(site)
    for _ in range(5):
        look(folder)
    assert requests(site) == asked
    if seen.state.retry_at is not None:
        assert seen.state.retry_at <= time() + schedule.LONGEST
    # And the next renewal is not missed.
    time.jump(days=26)
    look(folder)
    assert requests(site) > asked


def test_a_time_that_is_not_past_yet_counts_as_now(site, enrolled, look, time, monkeypatch):
    monkeypatch.setattr(schedule, "_SPREAD", 0)
    folder = enrolled(site)
    time.jump(days=22)
    look(folder)
    assert requests(site) == 2
    time.jump(days=-1)
    always = {"at": Fraction(1, 10**6)}
    for _ in range(3):
        time.jump(minutes=15)
        look(folder, **always)
    assert requests(site) == 2
    time.jump(minutes=50)
    look(folder, **always)
    assert requests(site) == 3


def test_a_damaged_state_is_set_aside(site, enrolled, look, told):
    folder = enrolled(site)
    look(folder)
    (folder.path / state_file.NAME).write_text('{"standing": 7}')
    assert look(folder).verdict is Verdict.WELL
    assert (folder.path / state_file.DAMAGED).read_text() == '{"standing": 7}'
    assert events.StateDamaged in kinds(told)
    assert json.loads((folder.path / state_file.NAME).read_text())["standing"] == "valid"


def test_a_long_redirect_does_not_damage_the_state(site, enrolled, look, time, told, tmp_path):
    """Nor does a failure that is noted run the hook again, or end the pauses."""
    folder = enrolled(site)
    log = tmp_path / "log"
    (tmp_path / "hook").write_text(f"#!/bin/sh\necho ran >>{log}\n")
    (tmp_path / "hook").chmod(0o755)
    time.jump(days=22)
    place = "ftp://x/" + "é" * 20_000
    for operation in Operation:
        site.next(operation, *[HTTPResponse(302, b"", headers={"Location": place})] * 9)
    seen = [look(folder, hooks=((str(tmp_path / "hook"),),)) for _ in range(3)]
    assert [one.state.failures for one in seen] == [1, 1, 1]
    assert "redirects to ftp://x/" in seen[-1].state.said
    assert events.StateDamaged not in kinds(told)
    assert log.read_text() == "ran\n"


def test_a_state_that_cannot_be_written_is_said_and_remembered(
    serve, enrolled, look, time, told, monkeypatch
):
    """A full disk: the renewal goes on as far as it can, and a failure is not tried at once."""
    site = serve(grant, *[BadRequest("no")] * 20)
    folder = enrolled(site)
    time.jump(days=22)
    (folder.path / state_file.NAME).mkdir()
    agent_visits = [visit_with_one_agent(folder, told) for _ in range(1)]
    first, second = next(iter(agent_visits))
    assert first.state.standing is Standing.REFUSED
    assert second.state.failures == 1
    assert requests(site) == 2
    assert kinds(told).count(events.StateNotKept) >= 1


def visit_with_one_agent(folder, told):
    from scepkit.client.agent.agent import Agent

    agent = Agent(tell=told.append)
    return [next(agent.once([folder.path])) for _ in range(2)]


def test_a_certificate_that_is_gone(site, enrolled, look):
    folder = enrolled(site)
    look(folder)
    (folder.path / "cert.pem").unlink()
    seen = look(folder)
    assert seen.verdict is Verdict.FAILED
    assert seen.state.standing is Standing.MISSING
    assert "cert.pem is missing" in seen.state.said


def test_a_key_that_is_gone_and_comes_back(site, enrolled, look, told):
    folder = enrolled(site)
    look(folder)
    key = folder.path / "key.pem"
    key.rename(folder.path / "elsewhere")
    seen = look(folder)
    assert seen.verdict is Verdict.FAILED
    assert "key.pem is missing" in seen.state.said
    assert events.DirectoryUnusable in kinds(told)
    (folder.path / "elsewhere").rename(key)
    assert look(folder).verdict is Verdict.WELL


def test_somebody_else_renewed_it(site, enrolled, look, time):
    folder = enrolled(site)
    look(folder)
    time.jump(days=22)
    renewer.Renewer(folder).renew()
    os.utime(folder.path / "cert.pem", (time().timestamp(),) * 2)
    seen = look(folder)
    assert seen.state.standing is Standing.VALID
    assert requests(site) == 2


def test_an_installation_that_was_interrupted_is_finished(site, enrolled, look, time, monkeypatch):
    folder = enrolled(site)
    look(folder)
    time.jump(days=22)
    old = folder.certificate()
    with monkeypatch.context() as killed:
        killed.setattr(type(folder), "_rename", lambda _self: None)
        look(folder)
    assert folder.certificate() == old
    assert (folder.path / "cert.pem.new").exists()
    seen = look(folder)
    assert folder.certificate() != old
    assert seen.state.standing is Standing.VALID
    assert requests(site) == 2


def test_another_agent_is_at_work(site, enrolled, look, told):
    from scepkit.client.agent import places

    folder = enrolled(site)
    with places.locked(folder.path):
        seen = look(folder)
    assert seen.verdict is Verdict.BUSY
    assert kinds(told) == [events.AnotherAtWork]
    with folder.locked():
        seen = look(folder)
    assert seen.verdict is Verdict.BUSY


def test_a_state_that_a_later_release_wrote(site, enrolled, look):
    folder = enrolled(site)
    look(folder)
    path = folder.path / state_file.NAME
    found = json.loads(path.read_text()) | {"news": 1}
    path.write_text(json.dumps(found))
    assert look(folder).verdict is Verdict.WELL
    assert not (folder.path / state_file.DAMAGED).exists()
    assert state.parse(json.dumps(found).encode()).standing is Standing.VALID


def test_the_reply_of_another_device(serve, enrolled, look, time):
    """It is not believed, and the key stays for the next attempt."""
    site = serve(*[grant] * 9)
    folder, other = enrolled(site, "a"), enrolled(site, "b")
    time.jump(days=22)
    look(other)
    real = site.scep.handle
    kept = []

    def handle(request):
        answer = real(request)
        if Operation.PKI_OPERATION.value.encode() in request.query:
            kept.append(answer)
            return kept[0]
        return answer

    site.scep.handle = handle
    os.utime(other.path / "cert.pem")
    renewer.Renewer(other).renew(renewer.RenewalOptions(force=True))
    old = folder.certificate()
    seen = look(folder)
    assert seen.verdict is Verdict.FAILED
    assert folder.certificate() == old
    folder.key()
    assert folder.unfinished.exists()
    site.scep.handle = real
    assert look(folder, eager=True).state.standing is Standing.VALID
    assert folder.certificate() != old


def test_a_server_that_hangs(serve, enrolled, look, time):
    from httpd import HANG

    site = serve(*[grant] * 3)
    folder = enrolled(site)
    (folder.path / "agent.toml").write_text("timeout = 0.5")
    (folder.path / "agent.toml").chmod(0o644)
    time.jump(days=22)
    site.next(Operation.PKI_OPERATION, HANG, HANG)
    seen = look(folder)
    assert seen.state.standing is Standing.UNREACHABLE
    assert look(folder, eager=True).state.standing is Standing.VALID
