"""The pytest plugin behind `@pytest.mark.rfc("S-3.2.1.5-3", ...)`.

Every id has to be one of the checklist's, and the test's docstring is the published statement.
`pytest --collect-only --conformance=docs/conformance.md` writes the page of what is proved, or says
what is missing and writes nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

import workers
from rfc8894.answers import PREFIXES, Answers, Proof, answers, faults, path
from rfc8894.checklist import Row, rows

_HEAD = """\
# Conformance

Every row of the project's checklist of RFC 8894, of older drafts and of the field:
what is asked, what scepkit does, where in the code, and the tests that prove it.
`S-` ids are the RFC's, `P-` are what practice needs, `L-` is older behaviour,
`A-` are decisions where the RFC is silent.

{proved} of {all} rows are proved by tests; each of the other {rest} says why it is not.
A sentence with a link after it is what that test shows; a test fails when it is no longer so.
After "But" comes what is asked and not done, or done otherwise on purpose.
This page is written by `make conformance` from the tests and `tests/rfc8894/answers.toml`;
`make test` fails when it is out of date, or when a row has neither a test nor a reason.
"""
_TABLE = """
## {title}

| id | who | level | asked | what scepkit does | where |
|---|---|---|---|---|---|
"""
_CHAPTERS = {
    "S-2": "RFC 8894 section 2: SCEP overview",
    "S-3": "RFC 8894 section 3: message format",
    "S-4": "RFC 8894 section 4: transport",
    "S-5": "RFC 8894 section 5: transactions",
    "S-6": "RFC 8894 section 6: registries",
    "S-7": "RFC 8894 section 7: security",
    "P": "What practice needs",
    "L": "Older behaviour",
    "A": "Where the RFC is silent",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rfc(*ids): ids of the conformance checklist")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", metavar="PAGE", help="write the conformance page")


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    wrong = _wrong(items)
    page = config.getoption("--conformance")
    if page and not wrong and workers.is_first(config):
        proofs, given = _proofs(items), answers()
        if not (wrong := faults([row.id for row in _wanted()], given, proofs)):
            Path(page).write_text(_page(proofs, given), "utf-8")
    workers.refuse(session, items, wrong)


def _wrong(items: Sequence[pytest.Item]) -> list[str]:
    known = rows()
    wrong = []
    for item in items:
        for marker in item.iter_markers("rfc"):
            test = _test(item).rpartition("::")[2]
            unknown = [one for one in marker.args if one not in known]
            wrong += [f"{test} names {one}, which is not in the checklist" for one in unknown]
            if not _statement(item):
                wrong.append(f"{test} proves {', '.join(marker.args)} but has no docstring")
    return wrong


def _test(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _statement(item: pytest.Item) -> str:
    """Return a test's docstring as one line: its first paragraph."""
    doc = inspect.cleandoc(getattr(getattr(item, "function", None), "__doc__", None) or "")
    return " ".join(doc.partition("\n\n")[0].split())


def _proofs(items: Sequence[pytest.Item]) -> dict[str, list[Proof]]:
    """Return each proved id with its tests; parameters of one test are one proof."""
    proofs: dict[str, set[tuple[str, str]]] = {}
    for item in items:
        for marker in item.iter_markers("rfc"):
            for one in marker.args:
                proofs.setdefault(one, set()).add((_test(item), _statement(item)))
    return {one: [Proof(*pair) for pair in sorted(found)] for one, found in proofs.items()}


def _wanted() -> list[Row]:
    return [row for row in rows().values() if row.id.startswith(PREFIXES)]


def _page(proofs: dict[str, list[Proof]], given: Answers) -> str:
    wanted = _wanted()
    proved = sum(row.id in proofs for row in wanted)
    parts = [_HEAD.format(proved=proved, all=len(wanted), rest=len(wanted) - proved)]
    for chapter, group in groupby(wanted, _chapter):
        parts.append(_TABLE.format(title=_CHAPTERS[chapter]))
        parts += [_line(row, proofs.get(row.id, []), given) for row in group]
    return "".join(parts)


def _chapter(row: Row) -> str:
    return row.id[:3] if row.id.startswith("S-") else row.id[0]


def _line(row: Row, proofs: Sequence[Proof], given: Answers) -> str:
    done = [f"{_text(one.statement)} {_link(one.test)}" for one in proofs]
    if row.id in given.remarks:
        done.append(f"**But:** {given.remarks[row.id]}")
    modules = given.modules.get(row.id, ())
    cells = [
        row.id,
        row.who,
        row.level,
        row.text,
        "<br>".join(done) or given.reasons[row.id],
        "<br>".join(f"[{module}](../{path(module)})" for module in modules) or "-",
    ]
    return f"| {' | '.join(cells)} |\n"


def _link(test: str) -> str:
    return f"([{test.rpartition('::')[2]}](../{test.partition('::')[0]}))"


def _text(statement: str) -> str:
    """Return a docstring so that neither a table nor a link is seen in it."""
    for special in "|[]<>*":
        statement = statement.replace(special, f"\\{special}")
    return statement
