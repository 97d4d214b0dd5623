"""kill -9 at any instant loses no answered certificate and burns no unanswered challenge."""

from __future__ import annotations

import pytest

from forms import short_and_long
from scepkit.store import Store
from stored import CA


def run_and_kill(child, answered):
    """What it has said until it was killed, after so many lines."""
    printed = [child.stdout.readline() for _ in range(answered)]
    child.kill()
    printed += child.stdout.readlines()
    child.wait()
    return printed


@pytest.mark.parametrize("role", ["record for ever", "approve for ever"])
@pytest.mark.parametrize("answered", short_and_long(1, 50, of=[1, 50, 300]))
def test_kill_9(url, spawn, sql, role, answered):
    printed = run_and_kill(spawn(role), answered)
    with Store.open(url) as store:
        missing = [line for line in printed if store.certificate(int(line, 16)) is None]
        assert missing == []
        assert len(printed) >= answered
        store.ping()
    certificates = sql("SELECT serial FROM certificates ORDER BY serial")
    issued = "SELECT serial FROM requests WHERE status = 'issued' ORDER BY serial"
    assert sql(issued) == certificates
    spent = "SELECT spent_serial FROM challenges WHERE spent_at IS NOT NULL ORDER BY spent_serial"
    assert sql(spent) == certificates
    if url.startswith("sqlite"):
        assert sql("PRAGMA integrity_check") == [("ok",)]
        assert sql("PRAGMA foreign_key_check") == []


def test_a_crl_number_is_never_given_twice(url, spawn):
    """Neither by eight threads at once nor after a kill; the newest CRL has the highest number."""
    numbers = [int(line) for line in run_and_kill(spawn("sign for ever"), 100)]
    assert len(set(numbers)) == len(numbers)
    with Store.open(url) as store:
        assert store.crl(CA).number >= max(numbers)
        assert store.reserve_crl_number(CA) > store.crl(CA).number
