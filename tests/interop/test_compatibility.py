"""docs/compatibility.md is what the tests with real peers know, and what came out of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PEER = """
import pytest

pytestmark = [
    pytest.mark.peer("peer 1.0", role="client", note="A note."),
    pytest.mark.cannot(crl="it has no GetCRL"),
]

@pytest.mark.does("enrol")
@pytest.mark.parametrize("layout", ["a", "b"])
def test_enrols(layout):
    assert layout in ENROLS

@pytest.mark.does("poll")
def test_polls():
    pytest.skip("not here")
"""


@pytest.fixture
def page(pytester, monkeypatch):
    """Run tests of a peer and return the page's lines, and how the run ended."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))

    def page(source, *options):
        pytester.makepyfile(source)
        # The workers import the plugin themselves.
        begin = pytester.runpytest_subprocess if options else pytester.runpytest_inprocess
        run = begin("-p", "compatibility", "--compatibility=page.md", *options)
        written = Path("page.md")
        return (written.read_text("utf-8").splitlines() if written.exists() else []), run

    return page


def test_outcomes(page):
    lines, _ = page(PEER.replace("ENROLS", "'ab'"))
    shown = "[test_enrols](../test_outcomes.py)"
    assert f"| enrol | passed | {shown} |" in lines
    assert "| pending, poll | not run | [test_polls](../test_outcomes.py) |" in lines
    assert "| GetCRL | cannot: it has no GetCRL |  |" in lines
    assert "| renew | untested |  |" in lines
    assert "A note." in lines
    (whole,) = [line for line in lines if line.startswith("| peer 1.0 |")]
    assert whole.split(" | ")[2:7] == ["untested", "passed", "untested", "untested", "not run"]
    assert whole.split(" | ")[-2:] == ["-", "untested |"]


def test_one_failure_is_the_outcome(page):
    lines, run = page(PEER.replace("ENROLS", "'a'"))
    run.assert_outcomes(passed=1, failed=1, skipped=1)
    assert any(line.startswith("| enrol | failed |") for line in lines)


@pytest.mark.long
@pytest.mark.parametrize("enrols", ["'ab'", "'a'"], ids=["passed", "failed"])
def test_workers_write_the_same_page(page, enrols):
    """What several processes found is one page, which the last of them does not overwrite."""
    source = PEER.replace("ENROLS", enrols)
    alone, _ = page(source)
    Path("page.md").unlink()
    together, _ = page(source, "-n2")
    assert together == alone
    assert any(line.startswith("| enrol | ") for line in together)


@pytest.mark.long
def test_marks_that_make_no_sense_in_workers(page):
    """The fault is said once, and no test is run."""
    _, run = page(f"{PEER}\n@pytest.mark.does('enroll')\ndef test_more():\n    pass\n", "-n2")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*test_more: enroll is none of caps, ca, enrol*"])


def test_a_fixture_that_fails_is_a_failure(page):
    source = PEER.replace("ENROLS", "'ab'").replace(
        "def test_enrols(layout)", "def test_enrols(layout, no_such_fixture)"
    )
    assert any(line.startswith("| enrol | failed |") for line in page(source)[0])


def test_a_test_may_be_of_two_peers(page):
    both = "\n@pytest.mark.peer('peer 2.0', role='server')\n@pytest.mark.does('poll')\n"
    lines, _ = page(f"{PEER.replace('ENROLS', repr('ab'))}{both}def test_both():\n    pass\n")
    assert (
        "| pending, poll | passed | [test_both](../test_a_test_may_be_of_two_peers.py) |" in lines
    )
    assert any(line.startswith("| pending, poll | not run | ") for line in lines)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("@pytest.mark.does('enroll')", "enroll is none of caps, ca, enrol"),
        ("@pytest.mark.does('crl')", "test_more does what peer 1.0 cannot: crl"),
        ("@pytest.mark.cannot(crll='no')", "crll is none of caps"),
    ],
)
def test_marks_that_make_no_sense(page, line, fault):
    lines, run = page(f"{PEER}\n{line}\ndef test_more():\n    pass\n")
    assert lines == []
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*{fault}*"])


def test_a_test_of_no_peer(page):
    _, run = page("import pytest\n\n@pytest.mark.does('crl')\ndef test_more():\n    pass\n")
    run.stderr.fnmatch_lines(["*test_more does something, but names no peer*"])


@pytest.mark.long
def test_the_page_has_the_rows_that_the_tests_know(tmp_path):
    """What is in it passed, or cannot be; and nothing was left out."""
    known = tmp_path / "known.md"
    command = ("-m", "pytest", "--collect-only", "-q", "--long", "tests/interop")
    shown = f"--compatibility={known}"
    subprocess.run(
        [sys.executable, *command, shown], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    wanted = known.read_text("utf-8")
    assert "untested" not in wanted
    written = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
    assert re.sub(r"\bnot run\b", "passed", wanted) == written, "run make compatibility"
