"""agent.toml: what it says, and who may have written it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from datetime import timedelta
from fractions import Fraction

import pytest

from scepkit.client.agent import events, settings
from scepkit.client.agent.result import Verdict
from scepkit.client.agent.settings import AgentSettings
from scepkit.client.folder.outputs import Outputs
from scepkit.client.renewer import Renewer
from scepkit.errors import SettingsError, UsageError


@pytest.fixture
def read(tmp_path):
    def read(text, usual=None):
        (tmp_path / settings.NAME).write_text(text)
        (tmp_path / settings.NAME).chmod(0o644)
        return settings.of_directory(tmp_path, usual or AgentSettings())

    return read


def test_what_it_says_goes_before_what_is_usual(read):
    usual = AgentSettings(at=Fraction(1, 2), hooks=(("a",),))
    assert read("", usual) == usual
    found = read('at = "2/3"\ndeploy_hook = "systemctl reload nginx"\nhook_timeout = 5', usual)
    assert found.at == Fraction(2, 3)
    assert found.hooks == (("systemctl", "reload", "nginx"),)
    assert found.hook_timeout == timedelta(seconds=5)
    assert read("timeout = 2.5\nmin_interval = 60").timeout == 2.5
    several = read("""deploy_hook = ["a 'b c'", "d"]""")
    assert several.hooks == (("a", "b c"), ("d",))
    assert read("deploy_hook = []", usual).hooks == ()


@pytest.mark.parametrize(
    "text",
    [
        'at = "3/2"',
        "at = 1",
        "at = true",
        'at = "1/0"',
        'at = ""',
        'at = "1e99999999"',
        'at = "1e-99999999"',
        "hook_timeout = 0",
        "hook_timeout = -1",
        "hook_timeout = nan",
        "hook_timeout = inf",
        'min_interval = "1h"',
        'deploy_hook = ""',
        'deploy_hook = "\'"',
        "deploy_hook = [1]",
        "deploy_hook = {}",
        'deploy_hok = "x"',
        "at = ",
        "\x00",
        "a = " + "[" * 5000,
    ],
)
def test_what_cannot_be_meant(read, text):
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert settings.NAME in caught.value.message


@pytest.mark.parametrize("text", ["2/3", "66%", "0.66", " 99 % "])
def test_points_of_a_life(text):
    from scepkit.client.agent import schedule

    assert 0 < schedule.read_point(text) < 1


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(tmp_path, read, mode):
    read("")
    (tmp_path / settings.NAME).chmod(mode)
    with pytest.raises(SettingsError, match="others can write"):
        settings.of_directory(tmp_path, AgentSettings())


def test_so_is_one_in_a_directory_that_others_can_write(tmp_path, read):
    read("")
    tmp_path.chmod(0o777)
    with pytest.raises(SettingsError, match="others can write"):
        settings.of_directory(tmp_path, AgentSettings())


def test_so_is_one_of_another_user(tmp_path, read, monkeypatch):
    read("")
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    if tmp_path.stat().st_uid == 0:
        pytest.skip("root's files are everybody's to trust")
    with pytest.raises(SettingsError, match="others can write"):
        settings.of_directory(tmp_path, AgentSettings())


def test_so_is_a_link(tmp_path):
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / settings.NAME).symlink_to("elsewhere")
    with pytest.raises(SettingsError, match="symbolic link"):
        settings.of_directory(tmp_path, AgentSettings())


def test_then_it_is_renewed_and_no_hook_runs(site, enrolled, look, time, told, tmp_path):
    folder, log = enrolled(site), tmp_path / "log"
    (folder.path / settings.NAME).write_text(f'deploy_hook = "touch {log}"')
    (folder.path / settings.NAME).chmod(0o666)
    time.jump(days=22)
    old = folder.certificate()
    seen = look(folder, hooks=(("touch", str(log)),))
    assert seen.verdict is Verdict.FAILED
    assert folder.certificate() != old
    assert not log.exists()
    assert events.SettingsRefused in [type(one) for one in told]
    (folder.path / settings.NAME).chmod(0o644)
    assert look(folder).verdict is Verdict.WELL
    assert log.exists()


def test_commands_of_the_command_line():
    with pytest.raises(UsageError):
        settings.read_commands([" "])


def recorded(folder, **changes):
    folder.remember(replace(folder.record(), **changes))
    return folder.path / "enrolment.json"


@pytest.mark.parametrize("place", ["file", "directory"])
@pytest.mark.parametrize(
    "changes",
    [
        {"passphrase": "command:touch {log}"},
        {"tls_passphrase": "command:touch {log}"},
        {"outputs": Outputs(fullchain="{log}")},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_record_that_others_can_write_commands_nothing(
    site, enrolled, look, time, tmp_path, changes, place
):
    """Neither a command nor a file outside: as root that would be anything."""
    folder, log = enrolled(site), tmp_path / "log"
    filled = {
        name: replace(value, fullchain=str(log))
        if isinstance(value, Outputs)
        else value.format(log=log)
        for name, value in changes.items()
    }
    path = recorded(folder, **filled)
    exposed = path if place == "file" else folder.path
    mode = exposed.stat().st_mode
    exposed.chmod(mode | 0o022)
    time.jump(days=22)
    seen = look(folder)
    assert seen.verdict is Verdict.FAILED
    assert "others can write" in seen.state.said
    assert not log.exists()
    exposed.chmod(mode)
    look(folder)
    assert log.exists() == ("tls_passphrase" not in changes)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("place", ["file", "directory"])
def test_nor_does_one_of_another_user(site, enrolled, look, time, tmp_path, place):
    """A file that root writes for them, wherever they name it, would be theirs to fill."""
    folder, log = enrolled(site), tmp_path / "ld.so.preload"
    path = recorded(folder, outputs=Outputs(fullchain=str(log), owner="nobody"))
    os.chown(path if place == "file" else folder.path, 65534, -1)
    time.jump(days=22)
    seen = look(folder)
    assert "others can write" in seen.state.said
    assert not log.exists()


def test_a_record_that_is_exchanged_after_a_look_is_looked_at_again(
    site, enrolled, look, time, tmp_path, monkeypatch
):
    """Whoever can write it has seconds for that, while the agent talks to the server."""
    folder, log = enrolled(site), tmp_path / "log"
    folder.path.chmod(0o777)

    def exchange(self, *given):
        path, kept = folder.path / "enrolment.json", folder.record()
        path.write_text(json.dumps(asdict(replace(kept, passphrase=f"command:touch {log}"))))
        return renew(self, *given)

    renew = Renewer.renew
    monkeypatch.setattr(Renewer, "renew", exchange)
    time.jump(days=22)
    seen = look(folder)
    assert "others can write" in seen.state.said
    assert not log.exists()
