"""kill -9 at any instant loses no answered certificate and burns no unanswered challenge."""

from __future__ import annotations

import pytest

from scepkit.store import Store


@pytest.mark.parametrize("answered", [1, 50, 300])
def test_kill_9(url, spawn, sql, answered):
    child = spawn("record")
    printed = [child.stdout.readline() for _ in range(answered)]
    child.kill()
    printed += child.stdout.readlines()
    child.wait()
    with Store.open(url) as store:
        missing = [line for line in printed if store.certificate(int(line, 16)) is None]
        assert missing == []
        assert len(printed) >= answered
        store.ping()
    certificates = sql("SELECT serial FROM certificates ORDER BY serial")
    assert sql("SELECT serial FROM requests ORDER BY serial") == certificates
    spent = "SELECT spent_serial FROM challenges WHERE spent_at IS NOT NULL ORDER BY spent_serial"
    assert sql(spent) == certificates
    assert sql("PRAGMA integrity_check") == [("ok",)]
    assert sql("PRAGMA foreign_key_check") == []
