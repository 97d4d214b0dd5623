"""The states that /healthz tells of: each is found, and is what the table in the docs says."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scepkit.ca.directory.founding import create
from scepkit.errors import SettingsError
from scepkit.server.directory import data_directory
from scepkit.server.directory.database import open_store
from scepkit.server.web.health import Conditions, Word

DAY = timedelta(days=1)


@pytest.fixture
def conditions(directory):
    """Return a function that makes the conditions of a good server, with what is wrong with it."""
    opened = []

    def conditions(*, later=timedelta(0), layout="ec", several=False, **wrong):
        path = directory(layout)
        now = datetime.now(UTC)
        endpoints = {"default": {}}
        if several:
            endpoints["vpn"] = {"ca": "vpn"}
            # The CA of this one is a year younger.
            create(path / "ca-vpn", "single", now=now - 800 * DAY)
        home = data_directory.prepare(path, now=now, endpoint=endpoints)
        store = open_store(home.settings)
        opened.append(store)
        good = {
            "authorities": lambda: home.authorities,
            "unreadable": lambda: None,
            "crl_problems": list,
            "log_is_lost": lambda: False,
            "now": lambda: now + later,
        }
        return Conditions(home.settings, store, **good | wrong)

    yield conditions
    for store in opened:
        store.close()


def test_nothing_is_wrong_with_a_good_server(conditions):
    assert list(conditions().find()) == []


@pytest.mark.parametrize(
    ("layout", "later", "said"),
    [
        ("ec", 800 * DAY, ["RA of 'default' expired at"]),
        ("ec", 8000 * DAY, ["CA of 'default' expired at", "RA of 'default' expired at"]),
        ("single", 8000 * DAY, ["CA of 'default' expired at"]),
        # The clock is before the CA: it went back, or was ahead when the CA was made.
        ("single", -800 * DAY, ["CA of 'default' is not valid before"]),
        (
            "ec",
            -800 * DAY,
            ["CA of 'default' is not valid before", "RA of 'default' is not valid before"],
        ),
    ],
)
def test_certificates_that_are_not_valid_now_fail_the_server(conditions, layout, later, said):
    found = list(conditions(layout=layout, later=later).find())
    assert [one.word for one in found] == [Word.FAILING] * len(said)
    for one, part in zip(found, said, strict=True):
        assert part in one.reason


def test_one_endpoint_of_several_that_cannot_enrol(conditions):
    """The others can; a load balancer must not take them away."""
    (state,) = conditions(several=True, later=800 * DAY).find()
    assert state.word is Word.DEGRADED
    assert "RA of 'default' expired" in state.reason


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"unreadable": lambda: SettingsError("ca-key.pem is missing")},
            "could not be started again: ca-key",
        ),
        ({"crl_problems": lambda: ["the CRL of CN=x is late"]}, "the CRL of CN=x is late"),
        ({"log_is_lost": lambda: True}, "the log cannot be written"),
        (
            {"unread": lambda: {"lab": "there is no key file"}},
            "the CRL of 'lab', a CA that no endpoint has, is not signed: there is no key file",
        ),
    ],
)
def test_what_does_not_keep_devices_from_enrolling_is_degraded(conditions, wrong, said):
    (state,) = conditions(**wrong).find()
    assert state.word is Word.DEGRADED
    assert said in state.reason


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda path: path.unlink(), "scep.db was removed"),
        (lambda path: Path(shutil.copy(path, f"{path}2")).replace(path), "scep.db was replaced"),
        (lambda path: path.with_name("scep.db-wal").unlink(), "scep.db-wal was removed"),
    ],
)
def test_a_database_that_is_taken_from_under_the_server(conditions, how, said):
    good = conditions()
    how(good.settings.directory / "scep.db")
    (state,) = good.find()
    assert state.word is Word.FAILING
    assert said in state.reason
    assert state.hint


def test_a_state_has_the_hint_of_its_error(conditions):
    fault = SettingsError("ca-key.pem is missing", hint="put it back")
    (state,) = conditions(unreadable=lambda: fault).find()
    assert state.hint == "put it back"
