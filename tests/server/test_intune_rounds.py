"""The background task of Intune: one process at a time does all of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scepkit.enrolment.secret_box import SecretBox
from scepkit.server.background.intune import LEASE, IntuneJob, IntuneRounds
from scepkit.server.directory import data_directory, endpoint_files
from scepkit.server.intune.kept_requests import KeptRequests
from scepkit.store import IntuneName, Store
from server.intune import Running
from server.test_intune_live import SETTINGS
from waiting import wait_until

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
NAME = IntuneName("laptops", b"tx", b"d" * 32)


class Site:
    """A data directory with an endpoint that asks the stand-in, and a clock."""

    def __init__(self, path, intune, store, home):
        self.path, self.intune, self.store, self.home = path, intune, store, home
        self.now = NOW

    def rounds(self):
        return IntuneRounds(lambda: self.home, self.store, lambda: self.now)

    def fail(self):
        """Queue a failure notification."""
        box = SecretBox(self.home.challenge_key)
        kept = KeptRequests("corp", self.store, box, lambda: self.now)
        asyncio.run(kept.keep(NAME, b"the request"))
        kept.queue_failure(NAME, "Unknown", "why").result()

    def count(self, operation):
        return len(self.intune.asked(operation))


@pytest.fixture
def site(directory):
    with Running() as intune:
        path, it = directory(), intune.it
        with (path / "scep.toml").open("a") as file:
            how = {"url": it.url, "tenant": it.tenant, "client_id": it.client_id}
            file.write(SETTINGS.format(**how))
        (path / "intune.secret").write_text(it.secret)
        (path / "intune.secret").chmod(0o600)
        home = data_directory.prepare(path, now=datetime.now(UTC))
        home = replace(home, files=endpoint_files.read_all(home.settings))
        with Store.open(home.settings.database_url) as store:
            yield Site(path, intune, store, home)


def test_a_round_sends_what_waits_and_looks_into_the_queue(site):
    site.fail()
    asyncio.run(site.rounds().run())
    assert (site.count("failure"), site.count("download")) == (1, 1)


def test_the_queue_is_looked_into_every_fifteen_minutes(site):
    rounds = site.rounds()

    async def for_half_an_hour():
        for _ in range(31):
            await rounds.run()
            site.now += timedelta(minutes=1)

    asyncio.run(for_half_an_hour())
    assert site.count("download") == 3


def test_a_clock_that_was_ahead_holds_nothing_up(site):
    """It had a notification wait, and was the clock of a process that is gone."""
    site.now = NOW + timedelta(days=365)
    site.intune.fault("failure", "status:503", 1)
    site.fail()
    asyncio.run(site.rounds().run())
    site.now = NOW
    asyncio.run(site.rounds().run())
    assert site.count("failure") == 2


def test_one_process_at_a_time_works(site):
    site.fail()
    first, second = site.rounds(), site.rounds()
    asyncio.run(first.run())
    asyncio.run(second.run())
    assert site.count("download") == 1
    first.end()
    asyncio.run(second.run())
    assert site.count("download") == 2
    assert site.count("failure") == 1


def test_a_queue_that_cannot_be_worked_off_stops_nothing_else(site):
    site.intune.fault("download", "status:403", -1)
    rounds = site.rounds()
    asyncio.run(rounds.run())
    site.fail()
    asyncio.run(rounds.run())
    assert site.count("failure") == 1


def test_a_server_without_intune_takes_no_lease(site):
    endpoints = {k: v for k, v in site.home.settings.endpoint.items() if k != "laptops"}
    settings = site.home.settings.model_copy(update={"endpoint": endpoints})
    site.home = replace(site.home, settings=settings)
    asyncio.run(site.rounds().run())
    until = NOW + timedelta(minutes=1)
    assert site.store.take_lease(LEASE, "somebody", now=NOW, until=until)


def test_the_job_gives_its_lease_back(site):
    site.fail()
    job = IntuneJob(site.rounds(), pause=0.01)
    job.start()
    wait_until(lambda: site.count("failure"), "the notification")
    job.close()
    until = NOW + timedelta(minutes=1)
    assert site.store.take_lease(LEASE, "somebody", now=NOW, until=until)
