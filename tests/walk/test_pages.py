"""README, guide and how-to pages, typed as they stand, one command after another.

Commands that make a machine (packages, `make`) are for test_debian.py. The guide is walked first;
every other page goes on where it ended, with its values, as the guide says.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from forms import short_and_long
from interop.pages import Page
from interop.programs import require
from ports import free_port
from waiting import wait_until
from walk.terminal import Terminal
from walk.walking import walk

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to"

# Pages that other tests run, or that need the device itself.
ELSEWHERE = {
    "api.md": "a server of its own, below",
    "agent.md": "tests/cli/test_agent.py, and its hooks in tests/interop/test_deploying.py",
    "below-your-own-root.md": "a server of its own, below",
    "devices.md": "configurations of devices",
    "intune.md": "tests/walk/test_intune.py",
    "installing.md": "tests/walk/test_debian.py",
    "moving-from-another-ca.md": "a server of its own, below",
    "notifications.md": "with a receiver, below",
    "other-clients.md": "the tests of tests/interop",
    "running.md": "tests/interop/test_running.py, on a machine of its own",
    "stolen-laptop.md": "tests/interop/test_stolen_laptop.py",
    "which-certificate-for-whom.md": "a server of its own, below",
}
MAKES_A_MACHINE = r"apt-get |make |\. \.venv/|echo 127\.0\.0\.1 |useradd |pipx? |uv |cd "
# Units are judged by systemd itself, where it is, and no other units; they run in tests/interop.
_SYSTEMCTL = """\
[ "$1" = enable ] || exit 0
for unit; do :; done
command -v systemd-analyze >/dev/null || exit 0
exec systemd-analyze verify --recursive-errors=no {units}/"${{unit%.*}}".*
"""
# Neither this machine's TPM nor a key of its own is asked for.
_SYSTEMD_CREDS = """\
PATH=${PATH#*:}
command -v systemd-creds >/dev/null || exit 0
exec systemd-creds --with-key=tpm2-absent "$@"
"""


class Bench:
    """A directory with a terminal in which `scep` is this environment's.

    Args:
        directory: where pages are walked.
        port: of the server.
    """

    def __init__(self, directory, port):
        self.directory = directory / "walk"
        self.port = port
        self.programs = programs = directory / "bin"
        programs.mkdir()
        units = self.directory / "etc/systemd/system"
        for name, command in (
            ("scep", f'exec {sys.executable} -m scepkit "$@"'),
            ("python", f'exec {sys.executable} "$@"'),
            ("systemctl", _SYSTEMCTL.format(units=units)),
            ("systemd-creds", _SYSTEMD_CREDS),
            ("nginx", ":"),
        ):
            (programs / name).write_text(f"#!/bin/sh\n{command}\n")
            (programs / name).chmod(0o755)
        self._kept = directory / "terminal"
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SCEP_")
        } | {
            "PATH": os.pathsep.join((f"{programs}", f"{self.directory}/bin", os.environ["PATH"])),
            "NO_COLOR": "1",
        }

    def terminal(self, **variables):
        """Return a terminal here, with variables set."""
        environment = self._environment | variables
        return Terminal(self.directory, self._kept, environment, after=self._settle)

    def _settle(self, command):
        """Wait until the server, which looks every two seconds, has seen a change of its CA."""
        if command.startswith("scep admin ca install") and self._serves():
            self._wait_for_next(command, (self.directory / "scep-data/next").is_dir())
        if change := re.match(
            r"scep admin rollover (prepare|activate|cancel)(?!.* --ca )", command
        ):
            self._wait_for_next(command, change[1] == "prepare")

    def _wait_for_next(self, command, has_next):
        wait_until(lambda: (b"GetNextCACert" in self._capabilities()) == has_next, command)

    def _serves(self):
        try:
            self._capabilities()
        except OSError:
            return False
        return True

    def _capabilities(self):
        url = f"http://127.0.0.1:{self.port}/scep?operation=GetCACaps"
        with urllib.request.urlopen(url) as answer:
            return answer.read()

    def page(self, path, **more):
        """Return a page with the server's address for the one in the page, and more of the kind."""
        here = f"127.0.0.1:{self.port}"
        for name in ("bin", "etc/systemd/system"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        return Page(
            path,
            more
            | {
                "--host 0.0.0.0 --port 8080": f"--host 127.0.0.1 --port {self.port}",
                "http://pki.example.com:8080": f"http://{here}",
                "http://127.0.0.1:8080": f"http://{here}",
                "port = 8080": f"port = {self.port}",
                ":8080/": f":{self.port}/",
                "127.0.0.1:8080": here,
                "pki.example.com:8080": here,
                "/opt/scepkit/bin": self.programs,
                "/usr/local/bin": self.directory / "bin",
                "/etc/scep": self.directory / "etc/scep",
                "/etc/systemd": self.directory / "etc/systemd",
            },
        )


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    """The guide, walked to its end, and the server stopped."""
    require("jq", "openssl", "sqlite3")
    directory = tmp_path_factory.mktemp("guide")
    (directory / "walk").mkdir()
    bench = Bench(directory, free_port())
    page = bench.page(ROOT / "docs/guide.md")
    with bench.terminal() as terminal:
        bench.shown = walk(page, terminal, bench.directory, skipped=MAKES_A_MACHINE)
    return bench


def test_the_guide(guided):
    assert (guided.directory / "router1/cert.pem").exists()


def test_the_readme(tmp_path):
    (tmp_path / "walk").mkdir()
    bench = Bench(tmp_path, free_port())
    with bench.terminal(SCEP_PORT=str(bench.port)) as terminal:
        walk(bench.page(ROOT / "README.md"), terminal, bench.directory, skipped=MAKES_A_MACHINE)


@pytest.mark.long
@pytest.mark.parametrize("page", ["below-your-own-root.md", "moving-from-another-ca.md"])
def test_a_server_of_its_own(tmp_path, page):
    """Below a root of openssl; or a CA of openssl with devices, which renew here.

    What they have verifies, and what is revoked does not.
    """
    require("openssl")
    (tmp_path / "walk").mkdir()
    bench = Bench(tmp_path, free_port())
    page = bench.page(HOW_TO / page)
    with bench.terminal(SCEP_PORT=str(bench.port)) as terminal:
        walk(page, terminal, bench.directory, skipped=MAKES_A_MACHINE)


@pytest.mark.long
def test_which_certificate_for_whom(tmp_path):
    """From a fresh server to three endpoints with three profiles, and a device on each."""
    require("openssl")
    for package in ("jinja2", "re2"):
        pytest.importorskip(package, reason="pip install 'scepkit[profiles]'")
    (tmp_path / "walk").mkdir()
    bench = Bench(tmp_path, free_port())
    page = bench.page(HOW_TO / "which-certificate-for-whom.md")
    with bench.terminal() as terminal:
        walk(page, terminal, bench.directory)


@pytest.mark.long
def test_the_api(tmp_path):
    """From the server's first start to a token that is void, with curl."""
    require("curl")
    pytest.importorskip("fastapi", reason="pip install 'scepkit[api]'")
    (tmp_path / "walk").mkdir()
    bench = Bench(tmp_path, free_port())
    page = bench.page(HOW_TO / "api.md")
    (bench.directory / "scep-data").mkdir(mode=0o700)
    with bench.terminal(SCEP_PORT=str(bench.port)) as terminal:
        walk(page, terminal, bench.directory, skipped=MAKES_A_MACHINE)


# The page that every change can break is always walked; the others are walked in the long form.
@pytest.mark.parametrize(
    "page",
    short_and_long(
        "renewing.md", of=sorted({page.name for page in HOW_TO.glob("*.md")} - set(ELSEWHERE))
    ),
)
def test_a_how_to(guided, tmp_path, page):
    shutil.copytree(guided.directory, tmp_path / "walk")
    bench = Bench(tmp_path, guided.port)
    with bench.terminal(SCEP_DIR=str(bench.directory / "scep-data")) as terminal:
        terminal.type("scep serve")
        walk(
            bench.page(HOW_TO / page),
            terminal,
            bench.directory,
            skipped=MAKES_A_MACHINE,
            shown=guided.shown,
        )


@pytest.mark.long
def test_telling_others(guided, tmp_path):
    """The receiver of the examples takes events, is away, and comes back."""
    pytest.importorskip("aiohttp", reason="pip install 'scepkit[webhook]'")
    require("jq", "openssl")
    shutil.copytree(guided.directory, tmp_path / "walk")
    (tmp_path / "walk/examples").mkdir()
    shutil.copy(ROOT / "examples/notification_receiver.py", tmp_path / "walk/examples")
    bench, port = Bench(tmp_path, guided.port), free_port()
    names = {":9000": f":{port}", " 9000 ": f" {port} "}
    try:
        with bench.terminal(SCEP_DIR=str(bench.directory / "scep-data")) as terminal:
            terminal.type("scep serve")
            walk(
                bench.page(HOW_TO / "notifications.md", **names),
                terminal,
                bench.directory,
                shown=guided.shown,
            )
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((bench.directory / "receiver.pid").read_text()), signal.SIGTERM)
