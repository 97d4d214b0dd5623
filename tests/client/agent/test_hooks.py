"""Hooks: a state of its own, with commands that hang, fail, or delete what they are given."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pair import grant
from scepkit.client.agent import deployment, events, hooks, schedule
from scepkit.client.agent.result import Verdict
from scepkit.client.agent.state import Standing
from scepkit.errors import BadRequest
from scepkit.protocol.certificate import show_serial
from waiting import wait_until

MINUTE = timedelta(minutes=1)


def kinds(told):
    return [type(one) for one in told]


@pytest.fixture
def script(tmp_path):
    """Make a program of a shell script; what it appends to `log` shows that it ran."""

    def script(text, name="hook"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return (str(path),)

    return script


def python(text):
    return (sys.executable, "-c", text)


def test_a_hook_runs_once_for_each_certificate(site, enrolled, look, time, told, tmp_path, script):
    folder, log = enrolled(site), tmp_path / "log"
    hook = script(f'echo "$SCEP_SERIAL $SCEP_CERT" >>{log}')
    assert look(folder, hooks=(hook,)).verdict is Verdict.WELL
    first = folder.certificate()
    look(folder, hooks=(hook,))
    time.jump(days=22)
    look(folder, hooks=(hook,))
    look(folder, hooks=(hook,))
    second = folder.certificate()
    path = folder.path / "cert.pem"
    assert log.read_text().splitlines() == [
        f"{show_serial(one.serial)} {path}" for one in (first, second)
    ]
    assert kinds(told).count(events.HooksDone) == 2


def test_its_environment_has_paths_and_no_secrets(site, enrolled, monkeypatch):
    folder = enrolled(site)
    monkeypatch.setenv("SCEP_CHALLENGE", "secret")
    monkeypatch.chdir(folder.path.parent)
    found = hooks.environment(type(folder)(Path("dev1")), folder.certificate())
    assert "SCEP_CHALLENGE" not in found
    assert found["SCEP_DIR"] == str(folder.path)
    assert found["SCEP_KEY"] == str(folder.path / "key.pem")
    assert found["SCEP_SUBJECT"] == "CN=dev1"
    assert found["PATH"] == os.environ["PATH"]


def test_no_shell_sees_its_words(tmp_path, script):
    log = tmp_path / "log"
    command = (*script(f'printf "%s\\n" "$@" >{log}'), "a b", "$(id)", "*")
    assert hooks.run(command, {"PATH": os.environ["PATH"]}, MINUTE) is None
    assert log.read_text().splitlines() == ["a b", "$(id)", "*"]


def test_a_failed_hook_is_tried_again_when_nothing_is_due(
    site, enrolled, look, time, told, tmp_path, script
):
    folder, good = enrolled(site), tmp_path / "good"
    hook = script(f'test -e {good} || {{ echo "no such thing"; exit 7; }}')
    seen = look(folder, hooks=(hook,))
    assert seen.verdict is Verdict.FAILED
    assert seen.state.standing is Standing.VALID
    state = seen.state.hook
    assert (state.failures, state.exit_status, state.output) == (1, 7, ("no such thing",))
    assert seen.state.next == "run the hook"
    look(folder, hooks=(hook,))
    assert kinds(told).count(events.HookBegins) == 1
    good.touch()
    time.jump(minutes=2)
    seen = look(folder, hooks=(hook,))
    assert seen.verdict is Verdict.WELL
    assert seen.state.hook.failures == 0
    assert kinds(told).count(events.HookBegins) == 2


def test_its_pauses_grow_within_bounds(site, enrolled, look, time, script):
    folder, hook = enrolled(site), script("exit 1")
    for failures in range(1, 13):
        seen = look(folder, hooks=(hook,))
        assert seen.state.hook.failures == failures
        pause = seen.state.hook.retry_at - time()
        assert 0.7 * schedule.SHORTEST < pause <= schedule.LONGEST
        time.jump(seconds=pause.total_seconds() + 1)


def test_the_first_of_several_that_fails_ends_them(site, enrolled, look, told, script):
    folder = enrolled(site)
    look(folder, hooks=(script("exit 0", "a"), script("exit 1", "b"), script("exit 0", "c")))
    begun = [Path(one.command[0]).name for one in told if isinstance(one, events.HookBegins)]
    assert begun == ["a", "b"]


def test_a_hook_that_hangs_is_killed_with_what_it_started(tmp_path):
    pids = tmp_path / "pids"
    text = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(999)'],"
        "stdout=subprocess.PIPE)\n"
        "child.stdout.read(1)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(999)\n"
    )
    found = hooks.run(python(text), dict(os.environ), timedelta(seconds=3))
    assert "did not end within 3 s" in found.said
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not _runs(pid), "its end")


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_it_leaves_running_does_not_hold_it_up(script, tmp_path):
    """A daemon that it started keeps its output open."""
    pid = tmp_path / "pid"
    command = script(f"sleep 999 & echo $! >{pid}; echo started")
    try:
        assert hooks.run(command, dict(os.environ), timedelta(minutes=10)) is None
        assert _runs(int(pid.read_text()))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_of_much_output_the_end_is_kept(script):
    found = hooks.run(script("yes | head -c 3000000; seq 30; exit 3"), dict(os.environ), MINUTE)
    assert found.output == tuple(str(n) for n in range(21, 31))


def test_output_that_it_closes_early(script):
    found = hooks.run(script("exec >&- 2>&-; sleep 0.3; exit 4"), dict(os.environ), MINUTE)
    assert found.exit_status == 4


@pytest.mark.parametrize("command", [("no-such-program-here",), ("/dev/null",)])
def test_a_program_that_is_not_there(command):
    assert "there is no program" in hooks.run(command, dict(os.environ), MINUTE).said


def test_a_program_that_others_can_write_is_not_run(script):
    command = script("exit 0")
    Path(command[0]).chmod(0o777)
    assert "others can write" in hooks.run(command, dict(os.environ), MINUTE).said


@pytest.fixture
def places(tmp_path):
    """A program `real/deploy`, links to it, and links to the directory with those."""
    for name in ("real", "links", "more"):
        (tmp_path / name).mkdir()
    program = tmp_path / "real/deploy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "links/deploy").symlink_to("../real/deploy")
    (tmp_path / "more/links").symlink_to(tmp_path / "links")
    (tmp_path / "all").symlink_to("more/links")
    return tmp_path


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
@pytest.mark.parametrize("exposed", ["real", "links", "more"])
def test_a_program_that_others_can_replace_is_not_run(places, exposed, mode):
    command = (str(places / "all/deploy"),)
    assert hooks.run(command, dict(os.environ), MINUTE) is None
    (places / exposed).chmod(mode)
    said = hooks.run(command, dict(os.environ), MINUTE).said
    assert f"others can write to {places / exposed}, and replace" in said
    is_shared = mode == 0o1777
    assert ("move it to a directory" in said) is is_shared
    assert (f"chmod go-w {places / exposed}" in said) is not is_shared
    (places / exposed).chmod(0o755)
    assert hooks.run(command, dict(os.environ), MINUTE) is None


def test_a_directory_above_may_be_shared_if_each_has_his_own_there(places):
    """As /tmp is."""
    command = (str(places / "real/deploy"),)
    places.chmod(0o1777)
    assert hooks.run(command, dict(os.environ), MINUTE) is None
    places.chmod(0o777)
    assert "others can write to" in hooks.run(command, dict(os.environ), MINUTE).said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_a_program_in_a_directory_of_somebody_else_is_not_run(places):
    os.chown(places / "links", 65534, 65534)
    said = hooks.run((str(places / "all/deploy"),), dict(os.environ), MINUTE).said
    assert f"others can write to {places / 'links'}" in said


def test_a_hook_that_deletes_its_certificate(site, enrolled, look, time, told, script):
    folder = enrolled(site)
    hook = script('rm "$SCEP_CERT"')
    seen = look(folder, hooks=(hook,))
    assert seen.verdict is Verdict.FAILED
    assert seen.state.standing is Standing.MISSING
    seen = look(folder, hooks=(hook,))
    assert "cert.pem is missing" in seen.state.said
    assert kinds(told).count(events.HookBegins) == 1


def test_a_hook_that_deletes_all(site, enrolled, look, script):
    folder = enrolled(site)
    look(folder, hooks=(script('rm -r "$SCEP_DIR"'),))
    seen = look(folder)
    assert seen.verdict is Verdict.FAILED
    assert not folder.path.exists()


def test_killed_right_after_the_renewal(site, enrolled, look, time, told, monkeypatch, script):
    """The hook runs at the next look: what is deployed is compared, and not remembered."""
    folder, hook = enrolled(site), script("exit 0")
    look(folder, hooks=(hook,))
    time.jump(days=22)
    with monkeypatch.context() as killed:
        killed.setattr(deployment, "is_deployed", _die)
        with pytest.raises(KeyboardInterrupt):
            look(folder, hooks=(hook,))
    assert kinds(told).count(events.HookBegins) == 1
    seen = look(folder, hooks=(hook,))
    assert kinds(told).count(events.HookBegins) == 2
    assert seen.verdict is Verdict.WELL


def test_killed_over_the_hook(site, enrolled, look, told, monkeypatch, script):
    """It runs again at once, but the second time there is a pause: it may be what kills."""
    folder, hook = enrolled(site), script("exit 0")
    with monkeypatch.context() as killed:
        killed.setattr(hooks, "run", _die)
        for _ in range(4):
            with pytest.raises(KeyboardInterrupt):
                look(folder, hooks=(hook,))
            if len(told) and kinds(told).count(events.HookBegins) == 2:
                break
        look(folder, hooks=(hook,))
        assert kinds(told).count(events.HookBegins) == 2
    assert look(folder, hooks=(hook,), eager=True).verdict is Verdict.WELL


def _die(*_arguments):
    raise KeyboardInterrupt


def test_a_hook_runs_though_the_next_renewal_fails(serve, enrolled, look, time, script, tmp_path):
    site, log = serve(grant, BadRequest("no")), tmp_path / "log"
    folder, hook = enrolled(site), script(f"echo ran >>{log}")
    time.jump(days=22)
    seen = look(folder, hooks=(hook,))
    assert seen.state.standing is Standing.REFUSED
    assert log.read_text() == "ran\n"


def test_hooks_that_are_taken_back(site, enrolled, look, script):
    folder = enrolled(site)
    assert look(folder, hooks=(script("exit 1"),)).verdict is Verdict.FAILED
    assert look(folder).verdict is Verdict.WELL
