"""The pytest plugin behind the tests with real peers, that writes what came out of them.

    pytestmark = [
        pytest.mark.peer("strongSwan pki 5.9.8", role="client", note="..."),
        pytest.mark.cannot(crl="pki has no such operation"),
    ]

    @pytest.mark.does("enrol")
    def test_enrols(): ...

`pytest tests/interop --compatibility=docs/compatibility.md` runs them and writes the page: a
peer's operation passed when every test of it did. With --collect-only it only shows its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import workers

# What a peer may be able to do, in the order of the page, and how the page calls it.
OPERATIONS = {
    "caps": "GetCACaps",
    "ca": "GetCACert",
    "enrol": "enrol",
    "refusal": "refusal",
    "retry": "lost reply",
    "poll": "pending, poll",
    "renew": "renew",
    "rekey": "rekey",
    "cert": "GetCert",
    "crl": "GetCRL",
    "next": "GetNextCACert",
}

_MEANING = """\
**refusal**: a FAILURE and its failInfo reach the user;
**lost reply**: the same request again gets the certificate that was issued the first time;
**renew**: a new certificate for the same key, **rekey**: for a new one, both signed with the
present certificate.
"""

_HEAD = """\
# Compatibility

SCEP programs that others wrote, run against scepkit over HTTP by `tests/interop`.
That run writes this page (`make compatibility`): an operation *passed* when every test of it did,
with each layout of the CA that the tests name; what a peer cannot do is said with the reason.
Programs without a distribution's name are built from these versions by `make peers`, which also
fetches those of Debian 13.

"""

_ROLES = {
    "client": "Clients, with `scep serve`",
    "server": "Servers, with `scep`",
    "rebuilt": "Devices that cannot run here, rebuilt by our own tests from what is known of them",
}


@dataclass
class _Cell:
    """One operation of one peer.

    Attributes:
        cannot: why the peer has no such operation; empty when it has.
        tests: node ids.
    """

    cannot: str = ""
    tests: set[str] = field(default_factory=set)

    def outcome(self, outcomes: Mapping[str, str]) -> str:
        """Return `passed`, `failed`, `not run`, `untested` or `cannot: REASON`.

        Args:
            outcomes: of tests by node id, as far as they were run.
        """
        if self.cannot:
            return f"cannot: {self.cannot}"
        found = {outcomes.get(one, "not run") for one in self.tests}
        worst = [one for one in ("failed", "not run", "passed") if one in found]
        return worst[0] if worst else "untested"


@dataclass
class _Peer:
    role: str
    note: str
    cells: dict[str, _Cell] = field(default_factory=lambda: {one: _Cell() for one in OPERATIONS})


class Table:
    """What the collected tests know of peers, and how the tests came out."""

    def __init__(self) -> None:
        self.faults: set[str] = set()
        self._peers: dict[str, _Peer] = {}
        self._outcomes: dict[str, str] = {}

    def collect(self, item: pytest.Item) -> None:
        """Take what a test says about a peer."""
        does = {one for marker in item.iter_markers("does") for one in marker.args}
        cannot = {k: v for marker in item.iter_markers("cannot") for k, v in marker.kwargs.items()}
        for unknown in (does | cannot.keys()) - OPERATIONS.keys():
            self.faults.add(f"{item.nodeid}: {unknown} is none of {', '.join(OPERATIONS)}")
            return
        peers = list(item.iter_markers("peer"))
        if does and not peers:
            self.faults.add(f"{item.nodeid} does something, but names no peer")
        for marker in peers:
            self._collect(marker, does, cannot, item.nodeid)

    def _collect(
        self, peer: pytest.Mark, does: set[str], cannot: dict[str, str], node: str
    ) -> None:
        name = peer.args[0]
        known = self._peers.setdefault(
            name, _Peer(peer.kwargs["role"], peer.kwargs.get("note", ""))
        )
        for operation, reason in cannot.items():
            known.cells[operation].cannot = reason
        for operation in does:
            known.cells[operation].tests.add(node)
            if known.cells[operation].cannot:
                self.faults.add(f"{node} does what {name} cannot: {operation}")

    def record(self, report: pytest.TestReport) -> None:
        """Take the outcome of a phase of a test."""
        if report.failed:
            self._outcomes[report.nodeid] = "failed"
        elif report.when == "call" and report.passed:
            self._outcomes[report.nodeid] = "passed"

    def as_json(self) -> dict:
        """Return what is known of peers, to be taken by `add_json` of another process."""
        return {
            name: {
                "role": peer.role,
                "note": peer.note,
                "cells": {
                    operation: {"cannot": cell.cannot, "tests": sorted(cell.tests)}
                    for operation, cell in peer.cells.items()
                },
            }
            for name, peer in self._peers.items()
        }

    def add_json(self, other: dict) -> None:
        """Take what another process collected of peers."""
        for name, said in other.items():
            known = self._peers.setdefault(name, _Peer(said["role"], said["note"]))
            for operation, cell in said["cells"].items():
                known.cells[operation].cannot = cell["cannot"]
                known.cells[operation].tests.update(cell["tests"])

    def page(self) -> str:
        """Return the page, as Markdown."""
        parts = [_HEAD]
        for role, title in _ROLES.items():
            peers = {name: peer for name, peer in self._peers.items() if peer.role == role}
            parts.append(f"## {title}\n\n")
            if role != "rebuilt":
                parts += [*self._overview(peers), "\n"]
            parts += [_MEANING, "\n"] * (role == "client")
            for name, peer in sorted(peers.items()):
                parts += self._details(name, peer)
        return "".join(parts).rstrip("\n") + "\n"

    def _overview(self, peers: dict[str, _Peer]) -> Iterator[str]:
        yield f"| | {' | '.join(OPERATIONS.values())} |\n"
        yield f"|---|{'---|' * len(OPERATIONS)}\n"
        for name, peer in sorted(peers.items()):
            cells = [cell.outcome(self._outcomes).partition(":")[0] for cell in peer.cells.values()]
            shown = ["-" if outcome == "cannot" else outcome for outcome in cells]
            yield f"| {name} | {' | '.join(shown)} |\n"

    def _details(self, name: str, peer: _Peer) -> Iterator[str]:
        yield f"### {name}\n\n"
        if peer.note:
            yield f"{peer.note}\n\n"
        yield "| operation | outcome | shown by |\n|---|---|---|\n"
        for operation, cell in peer.cells.items():
            if peer.role == "rebuilt" and not cell.tests:
                continue  # it does no more than its tests
            outcome = cell.outcome(self._outcomes)
            yield f"| {OPERATIONS[operation]} | {outcome} | {_tests(cell.tests)} |\n"
        yield "\n"


def _tests(nodes: Iterable[str]) -> str:
    tests = sorted({node.partition("[")[0] for node in nodes})
    return "<br>".join(f"[{one.rpartition('::')[2]}](../{one.partition('::')[0]})" for one in tests)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compatibility", metavar="PAGE", help="write the compatibility page")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "peer(name, role, note): the foreign program that is run")
    config.addinivalue_line("markers", "does(*operations): what the peer does in this test")
    config.addinivalue_line("markers", "cannot(**reasons): operations that the peer has not")
    if config.getoption("--compatibility"):
        config.pluginmanager.register(_Writer(config), "compatibility-writer")


class _Writer:
    """Follows the run, and writes the page at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._page = Path(config.rootpath, config.getoption("--compatibility"))
        self._table = Table()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        for item in items:
            self._table.collect(item)
        workers.refuse(session, items, self._table.faults)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._table.record(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node) -> None:
        """Take what a worker collected; the outcomes are known here already."""
        self._table.add_json(workers.told(node, "compatibility") or {})

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if workers.is_worker(self._config):
            workers.tell(self._config, "compatibility", self._table.as_json())
        elif exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            self._page.write_text(self._table.page(), "utf-8")
