"""The checklist is data: its ids are what `@pytest.mark.rfc` may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfc8894.answers import Answers, Proof, answers, faults
from rfc8894.answers import parse as parse_answers
from rfc8894.checklist import Row, parse, rows
from rfc8894.mutants import mutants

TABLE = """
| id | section | who | level | requirement |
|---|---|---|---|---|
| S-3.2.1.5-3 | 3.2.1.5 | client | MUST | Compare \\| reject. |

text

| id | situation | answer |
|---|---|---|
| P-70 | not CMS | HTTP 400 |
"""


def test_rows_are_read_by_the_header_of_their_table():
    assert parse(TABLE) == {
        "S-3.2.1.5-3": Row("S-3.2.1.5-3", "3.2.1.5", "client", "MUST", r"Compare \| reject."),
        "P-70": Row("P-70", "", "", "", "not CMS → HTTP 400"),
    }


def test_an_id_may_occur_only_once():
    with pytest.raises(ValueError, match="P-70 occurs twice"):
        parse(TABLE + "| P-70 | again | HTTP 400 |\n")


def test_the_whole_checklist_is_read():
    kinds = {kind: sum(one.startswith(kind) for one in rows()) for kind in "SPLEAN"}
    assert kinds == {"S": 177, "P": 73, "L": 26, "E": 5, "A": 16, "N": 12}


def test_an_unknown_id_fails_the_collection(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.rfc("S-1.2.3-4")
        def test_it():
            "What it says."
        """
    )
    result = pytester.runpytest_inprocess("-p", "conformance")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it names S-1.2.3-4, which is not in the checklist*"])


def test_a_clause_without_its_statement_fails_the_collection(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.rfc("S-2.2-1")
        def test_it():
            pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "conformance")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it proves S-2.2-1 but has no docstring*"])


# --- the answers ----------------------------------------------------------------------------------

PROOF = Proof("tests/test_it.py::test_it", "It does.")
PROVED = {"P-70": [PROOF]}


def answered(modules=None, reasons=None, remarks=None):
    modules = {"P-70": ["protocol.scep.http"]} if modules is None else modules
    return Answers(modules, reasons or {}, remarks or {})


def test_a_row_is_answered_by_a_module_and_a_test():
    assert faults(["P-70"], answered(), PROVED) == []


def test_a_row_may_have_a_remark_beside_its_test():
    assert faults(["P-70"], answered(remarks={"P-70": "Half."}), PROVED) == []


def test_a_row_may_be_answered_by_a_reason():
    assert faults(["P-70"], answered(reasons={"P-70": "It is nobody's."}), {}) == []
    assert faults(["P-70"], answered({}, {"P-70": "It is nobody's."}), {}) == []


@pytest.mark.parametrize(
    ("given", "proofs", "fault"),
    [
        (answered(), {}, "P-70 has neither a test nor a reason"),
        (answered({}), PROVED, "P-70 has no module"),
        (answered({"P-70": []}), PROVED, "P-70 has no module"),
        (
            answered({"P-70": ["protocol.nothing"]}),
            PROVED,
            "P-70 names the module protocol.nothing, which is not there",
        ),
        (answered(reasons={"P-70": "No."}), PROVED, "P-70 has a test, so it needs no reason"),
        (answered(reasons={"P-71": "No."}), PROVED, "P-71 is answered, but not in the checklist"),
        (answered(remarks={"P-71": "No."}), PROVED, "P-71 is answered, but not in the checklist"),
        (
            answered(reasons={"P-70": "No."}, remarks={"P-70": "Half."}),
            {},
            "P-70 has a remark, but nothing that it is a remark on",
        ),
        (
            answered({"P-70": ["protocol.scep.http"], "P-71": ["protocol.scep.http"]}),
            PROVED,
            "P-71 is answered, but not in the checklist",
        ),
    ],
)
def test_what_is_missing_is_said(given, proofs, fault):
    assert faults(["P-70"], given, proofs) == [fault]


def test_a_reason_or_remark_is_a_sentence():
    given = answers()
    for one, reason in (*given.reasons.items(), *given.remarks.items()):
        assert reason[0].isupper() or reason[0] == "`", one
        assert reason.endswith("."), one
        assert "\n" not in reason, one
        assert "|" not in reason, one


def test_the_answers_are_toml():
    text = '[modules]\n"P-70" = ["protocol.scep.http"]\n[reasons]\n"P-71" = "No."\n'
    text += '[remarks]\n"P-70" = "Half."\n'
    expected = Answers({"P-70": ["protocol.scep.http"]}, {"P-71": "No."}, {"P-70": "Half."})
    assert parse_answers(text) == expected


def test_a_page_with_an_empty_row_is_not_written(pytester, tmp_path):
    pytester.makepyfile("def test_it(): pass")
    page = tmp_path / "page.md"
    command = ["-p", "conformance", "--collect-only", f"--conformance={page}"]
    result = pytester.runpytest_inprocess(*command)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*S-2.9-1 has neither a test nor a reason*"])
    assert not page.exists()


# --- the mutants ----------------------------------------------------------------------------------


def test_every_must_has_been_broken_once():
    """What breaks the code for each row that says MUST is in mutants.toml; mutants.py runs it."""
    wanted = {
        row.id for row in rows().values() if row.id.startswith("S-") and "MUST" in row.level
    } - answers().reasons.keys()
    assert {row for mutant in mutants() for row in mutant["rows"]} == wanted


def test_every_mutant_finds_its_text_once():
    """A text that went with a change of the code would leave its row unbroken."""
    source = Path(__file__).parents[2] / "src/scepkit"
    lost = [
        (mutant["file"], mutant["old"])
        for mutant in mutants()
        if (source / mutant["file"]).read_text("utf-8").count(mutant["old"]) != 1
    ]
    assert lost == []
