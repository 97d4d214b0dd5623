"""Real peers over loopback: foreign clients against `scep serve`, `scep enroll` against scepserver.

What is missing on this machine is skipped, with the line that installs it; in CI it is a failure.
"""

from __future__ import annotations

import contextlib
import os
from functools import cache

import pytest

from interop import judge
from interop.programs import Daemon, require, run
from interop.serving import SCEP, Server, Tap


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No variable changes what `scep` does; a failure shows what daemons said during the test."""
    for daemon in Daemon.running:
        daemon.mark()
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in [one for one in os.environ if one.startswith("SCEP_")]:
        monkeypatch.delenv(name)


def pytest_itemcollected(item):
    """Every peer meets a server of the layout `default`; the other layouts are the long form."""
    layout = getattr(item, "callspec", None) and item.callspec.params.get("layout")
    if layout in ("single", "ec"):
        item.add_marker(pytest.mark.long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        said = [(f"log of {d.name}", d.lately()) for d in Daemon.running]
        report.sections += [section for section in said if section[1]]
    return report


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Return the server with a layout and legacy algorithms; each is started once."""
    with contextlib.ExitStack() as stack:

        @cache
        def servers(layout, legacy):
            made = Server(tmp_path_factory.mktemp(f"server-{layout}"), layout, legacy)
            stack.callback(made.stop)
            return made

        yield servers


@pytest.fixture
def server(servers):
    """Return the server with a layout and legacy algorithms; its log begins with this test."""

    @cache
    def server(layout, legacy=""):
        found = servers(layout, legacy)
        found.new_chapter()
        return found

    return server


@pytest.fixture
def tap():
    """Tap the wire to a server for the time of a test."""
    with contextlib.ExitStack() as stack:

        def tap(upstream):
            made = Tap(upstream)
            stack.callback(made.close)
            return made

        yield tap


@pytest.fixture
def openssl(tmp_path):
    """Return openssl as the judge of certificates and messages."""
    (program,) = require("openssl")
    return judge.OpenSSL(program, tmp_path)


@pytest.fixture
def enroll(tmp_path):
    """Run `scep enroll` and return what it left behind."""

    def enroll(url, fingerprint, challenge, *options):
        return run(
            *(
                *SCEP,
                "enroll",
                url,
                "--subject",
                "CN=device,O=Interop",
                "--out",
                tmp_path / "device",
            ),
            *("--fingerprint", fingerprint, "--san", "device.example", *options),
            cwd=tmp_path,
            SCEP_CHALLENGE=challenge,
        )

    return enroll


@pytest.fixture
def renew(tmp_path):
    """Run `scep renew` on what `enroll` left, long before it would be time."""

    def renew(*options, challenge=""):
        secret = ("--challenge", challenge) if challenge else ()
        where = tmp_path / "device"
        return run(*SCEP, "renew", where, "--force", *secret, *options, cwd=tmp_path)

    return renew
