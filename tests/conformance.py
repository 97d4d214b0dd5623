"""The pytest plugin behind `@pytest.mark.rfc("S-3.2.1.5-3", ...)`.

Every id has to be one of the checklist's, and the test's docstring is the published statement.
`pytest --collect-only --conformance=docs/conformance.md` writes the page of what is proved.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rfc8894.checklist import Row, rows

_HEAD = """\
# Conformance

Every row of the project's checklist of RFC 8894, of older drafts and of the field,
and the tests that prove it.
`S-` ids are the RFC's, `P-` are what practice needs, `L-` is older behaviour,
`A-` are decisions where the RFC is silent.

{proved} of {all} rows are proved by tests; a row without a test is not claimed.
This page is written by `make conformance`.

| id | section | who | level | requirement | proved by |
|---|---|---|---|---|---|
"""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rfc(*ids): ids of the conformance checklist")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known = rows()
    faults = set()
    for item in items:
        for marker in item.iter_markers("rfc"):
            test = item.nodeid.partition("[")[0].rpartition("::")[2]
            faults.update(
                f"{test} names {one}, which is not in the checklist"
                for one in marker.args
                if one not in known
            )
            if not getattr(getattr(item, "function", None), "__doc__", None):
                faults.add(f"{test} proves {', '.join(marker.args)} but has no docstring")
    if faults:
        raise pytest.UsageError("\n".join(sorted(faults)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", metavar="PAGE", help="write the conformance page")


def pytest_collection_finish(session: pytest.Session) -> None:
    if page := session.config.getoption("--conformance"):
        Path(page).write_text(_page(session.items), "utf-8")


def _page(items: list[pytest.Item]) -> str:
    proofs: dict[str, set[str]] = {}
    for item in items:
        for marker in item.iter_markers("rfc"):
            for one in marker.args:
                proofs.setdefault(one, set()).add(item.nodeid.partition("[")[0])
    wanted = [row for row in rows().values() if row.id.startswith(("S-", "P-", "L-", "A-"))]
    lines = [_line(row, sorted(proofs.get(row.id, ()))) for row in wanted]
    proved = sum(row.id in proofs for row in wanted)
    return _HEAD.format(proved=proved, all=len(wanted)) + "".join(lines)


def _line(row: Row, tests: list[str]) -> str:
    shown = "<br>".join(
        f"[{test.rpartition('::')[2]}](../{test.partition('::')[0]})" for test in tests
    )
    return f"| {row.id} | {row.section} | {row.who} | {row.level} | {row.text} | {shown or '-'} |\n"
