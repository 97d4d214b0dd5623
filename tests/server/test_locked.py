"""A database that another program has locked: 503 within a bound, and success when asked again."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager

from enrolment import devices
from server import asgi
from server.test_app import post, recipient


@contextmanager
def locked(path):
    """Hold SQLite's write lock; say whether it is held still."""
    with closing(sqlite3.connect(path / "scep.db", isolation_level=None)) as beside:
        beside.execute("BEGIN EXCLUSIVE")
        yield lambda: beside.in_transaction
        beside.execute("ROLLBACK")


def test_enrolments_against_a_locked_database(app, challenges, logged):
    """All at once, more than there are threads: each gets 503 while the lock is held."""
    application, path = app(database_seconds=0.1)
    ra = recipient(path)
    messages = [
        post(devices.pkcs_req(secret, to=ra, transaction_id=str(number), subject=f"CN={number}"))
        for number, secret in enumerate(challenges(path, 12))
    ]

    async def all_at_once():
        return await asyncio.gather(*(asgi.ask(application, **one) for one in messages))

    async def session():
        async with asgi.lifespan(application):
            with locked(path) as is_locked:
                refused = await all_at_once()
                assert is_locked()
            return refused, await all_at_once()

    refused, answers = asyncio.run(session())
    assert [answer.status for answer in refused] == [503] * 12
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    issued = {devices.read(answer.body, ra).certificate for answer in answers}
    assert len(issued) == 12
    assert None not in issued
    reasons = {line["reason"] for line in logged if line.get("outcome") == "HTTP 503"}
    assert all("locked" in reason for reason in reasons), reasons
