"""README, guide and how-to pages, typed as they stand, one command after another.

What makes a machine (packages, `make`) is for test_debian.py. The guide is walked first; every
other page goes on where it ended, as the guide says.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from interop.pages import Page
from interop.programs import require
from ports import free_port
from walk.terminal import Terminal
from walk.walking import walk

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to"

# What other tests run, or nobody can run without the device itself.
ELSEWHERE = {
    "devices.md": "configurations of devices",
    "installing.md": "tests/walk/test_debian.py",
    "other-clients.md": "the tests of tests/interop",
    "stolen-laptop.md": "tests/interop/test_stolen_laptop.py",
}
# Pages that still begin with what no step of theirs made; each that is mended leaves this list.
NOT_YET = {"renewing.md", "revocation.md", "revoking.md", "rollover.md", "running.md"}
MAKES_A_MACHINE = r"apt-get |make |\. \.venv/|echo 127\.0\.0\.1 |useradd |pipx? |uv |cd "


class Bench:
    """A directory with a terminal in which `scep` is this environment's.

    Args:
        directory: where pages are walked.
        port: of the server.
    """

    def __init__(self, directory, port):
        self.directory = directory / "walk"
        self.port = port
        programs = directory / "bin"
        programs.mkdir()
        for name, command in (("scep", f"{sys.executable} -m scepkit"), ("python", sys.executable)):
            (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (programs / name).chmod(0o755)
        self._kept = directory / "terminal"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SCEP_")
        } | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}

    def terminal(self, **variables):
        """Return a terminal here, with variables set."""
        return Terminal(self.directory, self._kept, self._environment | variables)

    def page(self, path):
        """Return a page with the server's address for the one in the page."""
        here = f"127.0.0.1:{self.port}"
        return Page(
            path,
            {
                "--host 0.0.0.0 --port 8080": f"--host 127.0.0.1 --port {self.port}",
                "http://pki.example.com:8080": f"http://{here}",
                "http://127.0.0.1:8080": f"http://{here}",
                "port = 8080": f"port = {self.port}",
                ":8080/": f":{self.port}/",
            },
        )


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    """The guide, walked to its end, and the server stopped."""
    require("jq", "openssl", "sqlite3")
    directory = tmp_path_factory.mktemp("guide")
    (directory / "walk").mkdir()
    bench = Bench(directory, free_port())
    with bench.terminal() as terminal:
        walk(bench.page(ROOT / "docs/guide.md"), terminal, bench.directory, skipped=MAKES_A_MACHINE)
    return bench


def test_the_guide(guided):
    assert (guided.directory / "router1/cert.pem").exists()


def test_the_readme(tmp_path):
    (tmp_path / "walk").mkdir()
    bench = Bench(tmp_path, free_port())
    with bench.terminal(SCEP_PORT=str(bench.port)) as terminal:
        walk(bench.page(ROOT / "README.md"), terminal, bench.directory, skipped=MAKES_A_MACHINE)


@pytest.mark.parametrize(
    "page", sorted({page.name for page in HOW_TO.glob("*.md")} - set(ELSEWHERE) - NOT_YET)
)
def test_a_how_to(guided, tmp_path, page):
    shutil.copytree(guided.directory, tmp_path / "walk")
    bench = Bench(tmp_path, guided.port)
    with bench.terminal(SCEP_DIR=str(bench.directory / "scep-data")) as terminal:
        terminal.type("scep serve")
        walk(bench.page(HOW_TO / page), terminal, bench.directory, skipped=MAKES_A_MACHINE)
