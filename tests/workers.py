"""Where a plugin of ours runs: in a process that runs all tests, or in a worker of pytest-xdist.

Only the controller writes pages and decides how the run ends, and only the workers collect and run
tests. What a worker knows reaches the controller by `tell`, when the worker ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process is one of several that run the tests."""
    return hasattr(config, "workerinput")


def is_first(config: pytest.Config) -> bool:
    """Return whether this process is the one to do what is done once, by whoever collects."""
    return not is_worker(config) or config.workerinput["workerid"] == "gw0"


def tell(config: pytest.Config, what: str, value: Any) -> None:
    """Leave a JSON value for the controller, from `pytest_sessionfinish` of a worker."""
    config.workeroutput[what] = json.dumps(value)


def told(node: Any, what: str) -> Any:
    """Return the JSON value that a worker left; None when it ended before it could."""
    value = getattr(node, "workeroutput", {}).get(what)
    return None if value is None else json.loads(value)


def refuse(session: pytest.Session, items: list[pytest.Item], faults: Iterable[str]) -> None:
    """End the run before a test is run, if there are faults in what was collected.

    Raises:
        pytest.UsageError: outside a worker. Of a worker's the controller would not say the text, so
            it gets a report of a collection that failed.
    """
    text = "\n".join(sorted(set(faults)))
    if not text:
        return
    if not is_worker(session.config):
        raise pytest.UsageError(text)
    session.ihook.pytest_collectreport(report=pytest.CollectReport("tests", "failed", text, []))
    items.clear()
