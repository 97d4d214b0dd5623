"""README, guide and the ways to install, typed by root on a bare Debian 12.

It takes packages from a mirror and an index, and some three minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from interop.pages import Page
from ports import free_port
from walk.debian import Debian
from walk.terminal import Terminal
from walk.walking import walk

ROOT = Path(__file__).parents[2]
CHECKOUT = "root/scepkit"

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("debian")]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A bare Debian with the files of the repository in /root/scepkit."""
    if os.geteuid() or not shutil.which("debootstrap"):
        reason = "needs root and debootstrap (apt-get install debootstrap)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    directory = tmp_path_factory.mktemp("debian")
    debian = Debian.bootstrapped(directory / "bare")
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).exists():
            (debian.root / CHECKOUT / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, debian.root / CHECKOUT / name)
    yield debian
    shutil.rmtree(debian.root)


@pytest.fixture
def machine(bare, tmp_path):
    """A Debian that a test may change."""
    debian = bare.copied(tmp_path / "debian")
    yield debian
    shutil.rmtree(debian.root)


def follow(machine, page, *, section=None, skipped=None):
    """Walk a page in the checkout."""
    port = free_port()
    names = {
        "--host 0.0.0.0 --port 8080": f"--host 127.0.0.1 --port {port}",
        "pki.example.com:8080": f"pki.example.com:{port}",
        "http://127.0.0.1:8080": f"http://127.0.0.1:{port}",
        ":8080/": f":{port}/",
    }
    terminal = Terminal(
        machine.root,
        machine.root / "root/.terminal",
        machine.environment | {"SCEP_PORT": str(port)},
        outside=machine.outside,
        inside="/root/.terminal",
    )
    with terminal:
        terminal.type(f"cd /{CHECKOUT}")
        walk(Page(ROOT / page, names, section), terminal, machine.root / CHECKOUT, skipped=skipped)


def test_the_guide_and_then_the_readme(machine):
    follow(machine, "docs/guide.md")
    for made in ("scep-data", "router1"):
        shutil.rmtree(machine.root / CHECKOUT / made)
    follow(machine, "README.md", skipped="make test")


@pytest.mark.parametrize("section", ["With pipx", "With uv"])
def test_another_way_to_install(machine, section):
    terminal = Terminal(
        machine.root,
        machine.root / "root/.terminal",
        machine.environment,
        outside=machine.outside,
        inside="/root/.terminal",
    )
    terminal.type("apt-get update")
    follow(machine, "docs/how-to/installing.md", section=section)
