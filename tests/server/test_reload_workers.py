"""A supervisor and its workers: what becomes of new settings where one of them fails or hangs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from threading import Thread
from typing import ClassVar

import pytest

from scepkit.errors import ReloadRefused, ScepError, SettingsError
from scepkit.keys.passphrase import Passphrase
from scepkit.server.directory import data_directory, endpoint_files
from scepkit.server.directory.passphrases import PassphraseSource
from scepkit.server.reloading import workers
from scepkit.server.reloading.channel import connect
from scepkit.server.reloading.workers import Received, Supervisor, Workers, decode, encode
from waiting import wait_until


class Worker:
    """A worker that answers as it is told to.

    Args:
        path: where its supervisor listens.
        answers: by what is asked; nothing is said to what is not in it.
    """

    open: ClassVar[list[Worker]] = []

    def __init__(self, path, **answers):
        self.open.append(self)
        self.channel = connect(path)
        self.settings = decode(self.channel.receive(10)["settings"]).settings
        self.asked = []
        self.is_over = False
        self._answers = answers
        Thread(target=self._work, daemon=True).start()

    def _work(self):
        try:
            while True:
                asked = self.channel.receive(None)
                self.asked.append(asked["do"])
                if asked["do"] in self._answers:
                    self.channel.send(self._answers[asked["do"]])
        except OSError:
            self.is_over = True


GOOD = {"prepare": {}, "switch": {}, "drop": {}}


@pytest.fixture
def home(directory):
    home = data_directory.open_existing(directory(), now=datetime.now(UTC))
    return replace(home, files=endpoint_files.read_all(home.settings))


@pytest.fixture
def supervisor(home, tmp_path, monkeypatch):
    """Return a supervisor with little patience, and where it listens."""
    monkeypatch.setattr(workers, "PREPARE_SECONDS", 1.0)
    path = tmp_path / "supervisor"
    supervisor = Workers(home, path)
    supervisor.start()
    yield supervisor, path
    supervisor.close()
    while Worker.open:
        Worker.open.pop().channel.close()


@pytest.fixture
def other(home):
    return replace(home, settings=home.settings.model_copy(update={"crl_hours": 7}))


def test_all_switch(supervisor, other):
    """First all prepare, then all switch; who starts later begins with the new settings."""
    processes, path = supervisor
    several = [Worker(path, **GOOD) for _ in range(3)]
    assert processes.replace(other) == 3
    assert [one.asked for one in several] == [["prepare", "switch"]] * 3
    assert Worker(path).settings.crl_hours == 7


def test_settings_that_were_inherited_count_until_there_are_others(supervisor, home, other):
    processes, path = supervisor
    inherited = Received.of(home)
    first = Supervisor(path, inherited)
    assert first.received is inherited
    first.close()
    Worker(path, **GOOD)
    processes.replace(other)
    second = Supervisor(path, inherited)
    assert second.received.settings.crl_hours == 7
    second.close()


def test_one_cannot(supervisor, other):
    """Then none switches, and who starts later begins with the old settings."""
    processes, path = supervisor
    good = Worker(path, **GOOD)
    Worker(path, **GOOD | {"prepare": {"error": "no such file", "hint": "find it"}})
    with pytest.raises(SettingsError) as refused:
        processes.replace(other)
    assert (refused.value.message, refused.value.hint) == ("no such file", "find it")
    processes.drop(refused.value)
    assert good.asked == ["prepare", "drop"]
    assert Worker(path).settings.crl_hours == 24


def test_one_hangs(supervisor, other):
    """None switches; the one that hangs is let go, to be replaced, and the next try succeeds."""
    processes, path = supervisor
    good, hanging = Worker(path, **GOOD), Worker(path)
    with pytest.raises(ReloadRefused, match="1 of 2 worker processes"):
        processes.replace(other)
    processes.drop(ScepError("it hangs"))
    wait_until(lambda: hanging.is_over)
    assert good.asked == ["prepare", "drop"]
    assert processes.replace(other) == 1


def test_one_ends_before_it_switches(supervisor, other):
    """Its successor has the new settings, so the others go on."""
    processes, path = supervisor
    good = Worker(path, **GOOD)
    ending = Worker(path, prepare={})
    ending._answers = _Ending(ending)
    assert processes.replace(other) == 1
    assert good.asked == ["prepare", "switch"]


class _Ending(dict):
    """Answers `prepare`, and ends the connection at `switch`."""

    def __init__(self, worker):
        super().__init__(prepare={}, switch={})
        self._worker = worker

    def __getitem__(self, name):
        if name == "switch":
            self._worker.channel.close()
            raise ConnectionError
        return super().__getitem__(name)


def test_none_is_there(supervisor, other):
    """Nobody has tried the settings, so they are not taken over."""
    processes, path = supervisor
    with pytest.raises(ReloadRefused, match="no worker process"):
        processes.replace(other)
    assert Worker(path).settings.crl_hours == 24


def test_one_that_cannot_start_is_not_waited_for(supervisor, other):
    """It hangs up; the settings may be what it lacks."""
    processes, path = supervisor
    Worker(path).channel.close()
    assert processes.replace(other) == 0
    good = Worker(path, **GOOD)
    assert good.settings.crl_hours == 7
    Worker(path).channel.close()
    assert processes.replace(other) == 1


def test_the_passphrase_reaches_the_workers(home):
    """Nobody can ask in a worker process, nor need the file be readable there."""
    passphrases = PassphraseSource(known=Passphrase("correct horse", rounds=1))
    received = decode(json.loads(json.dumps(encode(replace(home, passphrases=passphrases)))))
    assert received.passphrases.find().text == "correct horse"
    assert decode(encode(home)).passphrases.find() is None
