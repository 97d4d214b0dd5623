"""Building of peers: whole or not at all, bounded, and what cannot be built is said."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from interop import building


class Peer:
    """A peer that is built of one file."""

    needs = (Path(sys.executable).name,)
    where = "nowhere"

    def __init__(self, id_, *, fault=None):
        self.id = id_
        self.fault = fault
        self.builds = 0

    def build(self, directory):
        self.builds += 1
        (directory / "program").write_text(self.id)
        if self.fault is not None:
            raise self.fault


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Keep what is built in the test's directory."""
    monkeypatch.setenv("SCEPKIT_PEERS", str(tmp_path / "peers"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.delenv("CI", raising=False)
    return tmp_path / "peers"


@pytest.fixture
def main(monkeypatch, capsys):
    """Build peers and return the status and what was said."""

    def main(*peers):
        monkeypatch.setattr(building, "PEERS", peers)
        status = building.main()
        return status, capsys.readouterr().out

    return main


def test_it_is_built_once(cache, main):
    peer = Peer("peer-1")
    assert main(peer)[0] == main(peer)[0] == 0
    assert peer.builds == 1
    assert [path.name for path in cache.iterdir()] == ["peer-1"]
    assert (cache / "peer-1" / "program").read_text() == "peer-1"


def test_a_build_that_fails_leaves_nothing(cache, main):
    """The other peers are built all the same, and the next call tries again."""
    broken = Peer("broken-1", fault=subprocess.CalledProcessError(2, ["go"]))
    status, said = main(broken, Peer("peer-1"))
    assert status == 1
    assert "broken-1: failed: Command '['go']' returned non-zero exit status 2.\n" in said
    assert [path.name for path in cache.iterdir()] == ["peer-1"]
    broken.fault = None
    assert main(broken)[0] == 0


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_without_the_tools(main, monkeypatch, ci, status):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", ci)
    found, said = main(building.STEP_CA)
    assert found == status
    assert said == f"{building.STEP_CA.id}: skipped, there is no go (https://go.dev/dl)\n"


def test_a_build_is_bounded(monkeypatch, tmp_path):
    """It is killed with its children when its time is over."""
    monkeypatch.setattr(building, "BOUND", 0.2)
    with pytest.raises(subprocess.TimeoutExpired):
        building._run(sys.executable, "-c", "import time; time.sleep(600)", cwd=tmp_path)


def test_a_changed_driver_is_another_peer(tmp_path):
    driver = tmp_path / "Device.java"
    driver.write_text("class Device {}")
    before = dataclasses.replace(building.JSCEP, sources=tmp_path).id
    driver.write_text("class Device { int changed; }")
    assert dataclasses.replace(building.JSCEP, sources=tmp_path).id != before


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("SCEPKIT_PEERS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert building.cache() == tmp_path / "scepkit" / "peers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert building.cache() == Path.home() / ".cache" / "scepkit" / "peers"
