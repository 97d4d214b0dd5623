"""The server's half of the page about Intune, typed against the stand-in that operators have."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from interop.pages import Page
from interop.programs import require
from ports import free_port
from walk.test_pages import HOW_TO, ROOT, Bench
from walk.walking import walk


@pytest.fixture
def bench(tmp_path):
    require("jq", "openssl")
    (tmp_path / "walk").mkdir()
    bench = Bench(tmp_path, free_port())
    yield bench
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((bench.directory / "stand-in.pid").read_text()), signal.SIGTERM)


@pytest.mark.long
def test_a_rehearsal(bench):
    """A device gets its certificate, two do not, and one that is wiped loses it."""
    here = f"127.0.0.1:{free_port()}"
    page = Page(
        HOW_TO / "intune.md",
        {
            "examples/intune_stand_in.py": ROOT / "examples/intune_stand_in.py",
            "127.0.0.1:8400": here,
            "--port 8400": f"--port {here.partition(':')[2]}",
            "127.0.0.1:8080": f"127.0.0.1:{bench.port}",
            "--port 8080": f"--port {bench.port}",
        },
        section="Rehearse it",
    )
    with bench.terminal() as terminal:
        walk(page, terminal, bench.directory)
