"""The bench works: each part once, tiny. What it measures is not looked at, only that it does."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from interop import building

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
SMALLEST = ("--layouts", "single", "--databases", "sqlite", "--no-peers")
PARTS = [
    pytest.param(("enrolment", *SMALLEST), {"enrolment single sqlite"}, id="enrolment"),
    pytest.param(
        ("enrolment",),
        {
            "enrolment single sqlite",
            "enrolment default sqlite",
            "enrolment ec sqlite",
            "enrolment single postgresql",
        },
        id="every enrolment",
        marks=pytest.mark.long,
    ),
    pytest.param(("renewal",), {"renewal single sqlite"}, id="renewal", marks=pytest.mark.long),
    pytest.param(
        ("stored",),
        {"stored single sqlite", "stored single postgresql"},
        id="stored",
        marks=pytest.mark.long,
    ),
    pytest.param(("ocsp",), {"ocsp"}, id="OCSP", marks=pytest.mark.long),
    pytest.param(("memory", "help"), {"memory", "help"}, id="idle", marks=pytest.mark.long),
]

# The scripts of parts that are measured rarely, as small as they go; a line of what they print.
SCRIPTS = [
    pytest.param(script, arguments, line, id=script, marks=pytest.mark.long)
    for script, arguments, line in (
        (
            "abuse",
            "silent --seconds 1 --rest 1 --workers 1",
            r"\| silent \| \d+ / \d+ / \d+",
        ),
        ("api", "--seconds 0.2 --together 2", r"10000 a request: \d+ challenges a second"),
        ("audit", "--rounds 1 --together 2", r"ratio +[\d.]+"),
        ("crl", "100 --layout ec", r"│ made +│"),
        (
            "intune",
            "--rounds 1 --devices 4 --seconds 0.2 --each 10 --connections 2",
            r"4 devices of Intune had their certificates",
        ),
        (
            "ndes",
            "--seconds 0.2 --together 2 --workers 1",
            r"beside wrong passwords: \d+ challenges",
        ),
        ("profile_cost", "", r"the profile +[\d.]+ microseconds"),
        (
            "waiting_step",
            "--rounds 1 --waiting 4 --each 10 --connections 2",
            r"\| 4 for a teller \| [\d.]+ \|",
        ),
        (
            "webhook",
            "--rounds 1 --waiting 4 --each 10 --connections 2",
            r"\| one-time, beside those that wait \| \d+ \|",
        ),
    )
]


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report():
    return loaded("report")


@pytest.mark.parametrize(("arguments", "names"), PARTS)
def test_a_part_has_numbers(report, tmp_path, arguments, names):
    """Every column but that of refusals, of every server."""
    results = tmp_path / "results.json"
    command = [sys.executable, BENCH / "run.py", *arguments, "--quick", "--json", results]
    places = {"XDG_CACHE_HOME": str(tmp_path), "SCEPKIT_PEERS": str(building.cache())}
    subprocess.run(command, check=True, env=os.environ | places, timeout=900)
    found = {one.name: one for one in report.tables(json.loads(results.read_text()))}
    assert set(found) - {"conditions"} == names
    for name in names:
        table = found[name]
        assert table.rows
        for row in table.rows:
            cells = dict(zip(table.columns, row, strict=True))
            refused = cells.pop("refused", cells.pop("failed", "none"))
            # Others may refuse under load.
            assert refused == "none" or not row[0].startswith("scepkit"), (name, refused)
            assert all(re.search("[a-zA-Z0-9]", cell) for cell in cells.values()), (name, cells)


@pytest.mark.parametrize(("script", "arguments", "line"), SCRIPTS)
def test_a_script_works(script, arguments, line):
    """It measures something, and prints it."""
    command = [sys.executable, BENCH / f"{script}.py", *arguments.split()]
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(
        command, check=True, env=environment, timeout=300, stdout=subprocess.PIPE, text=True
    )
    assert re.search(line, done.stdout), done.stdout


def test_an_idle_connection_that_is_closed_counts_for_nothing():
    """Servers close what is kept too long, also while others are being answered."""
    load = loaded("load")
    body = b"0\x03\x0a\x01\x00\xa0"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        loop = load.Loop(listener.getsockname()[1], "/", load.KINDS["ocsp"], 3)
        stack.enter_context(closing(loop))
        connections = [stack.enter_context(listener.accept()[0]) for _ in range(3)]
        posting = pool.submit(loop.post, iter([(7, b"a question")]))
        (asked,), _, _ = select.select(connections, [], [])
        for one in connections:
            if one is not asked:
                one.close()
        for _ in range(2):  # it has noticed once it is back
            stack.enter_context(listener.accept()[0])
        asked.sendall(answer)
        assert posting.result(60)["counts"] == {"SUCCESS": 1}


def test_the_page_has_the_tables_of_its_results(report):
    """No number on it was typed by hand."""
    page = report.PAGE.read_text()
    assert "<!-- bench: enrolment single sqlite -->" in page
    assert report.rendered(page, json.loads(report.RESULTS.read_text())) == page


def test_the_page_has_tables_of_several_runs(report):
    """A run of another name has tables of its own; what no run has measured says so."""
    help_ = [{"program": "scep", "cpu": 0.2, "least": 0.1, "beyond": 0.05}]
    page = "".join(
        f"<!-- bench: {name} -->\nold\n<!-- bench end -->\n"
        for name in ("help", "noifma help", "noifma memory")
    )
    written = report.rendered(page, {"": {"help": []}, "noifma": {"help": help_}})
    first, second, third = written.split("<!-- bench end -->\n")[:3]
    assert "scep" not in first
    assert "| scep | 0.200 | 0.100 | 0.050 |" in second
    assert third == "<!-- bench: noifma memory -->\n\nNot measured yet.\n\n"
    assert "old" not in written


def test_stages(tmp_path):
    """A stage for what it names, in the sources that it runs with."""
    results = tmp_path / "stages.json"
    command = [sys.executable, BENCH / "stages.py", "enrolment", "--times", "20"]
    subprocess.run([*command, "--json", results], check=True, timeout=300)
    found = json.loads(results.read_text())["enrolment"]["microseconds"]
    stages = {"parse", "verify", "open", "PKCS#10", "admission", "certify", "answer", "look-ups"}
    assert stages <= found.keys()
    assert all(value > 0 for value in found.values())


def test_forgetting():
    """A row for each thing that may happen between two decisions."""
    command = [sys.executable, BENCH / "forgetting.py", "--rounds", "1"]
    done = subprocess.run(command, check=True, timeout=300, stdout=subprocess.PIPE, text=True)
    rows = done.stdout.splitlines()[2:]
    assert rows[0].startswith("| no private keys | ")
    assert rows[0].endswith(" | 1.00 |")
    assert len(rows) == 10


def test_counts():
    command = [sys.executable, BENCH / "counts.py", "--functions", "1"]
    done = subprocess.run(command, check=True, timeout=300, stdout=subprocess.PIPE, text=True)
    first, function, last = done.stdout.splitlines()
    assert first.startswith("enrolment: ")
    assert "cut" in function
    assert last.startswith("an entry of a commit of 8: ")


def test_the_oracle_knows_one_answer_to_each_way_to_fail():
    """How long each takes is for `make oracle`, and for a machine that does nothing else."""
    oracle = loaded("oracle")
    samples, answers = oracle.measure(2)
    assert {len(one) for one in samples.values()} == {2}
    assert [len(one) for one in answers.values()] == [1, 1]
