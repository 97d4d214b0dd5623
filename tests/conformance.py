"""The pytest plugin behind `@pytest.mark.rfc("S-3.2.1.5-3", ...)`.

Every id has to be one of the checklist's, and the test's docstring is the published statement.
"""

from __future__ import annotations

import pytest

from rfc8894.checklist import rows


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
