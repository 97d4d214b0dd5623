"""AsyncClient and a real `scep serve`: a certificate's life, and many devices at once."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from scepkit import (
    AsyncClient,
    Limits,
    Reason,
    RequestRefused,
    StillPending,
    generate_key,
    prepared_request,
)
from scepkit.client.aio_http import AsyncHTTPTransport
from server.conftest import new_challenges
from server.live import Server, scep_here
from waiting import PATIENCE, wait_until

PATIENT = Limits(retries=0, poll_interval=0.01)


@pytest.fixture
def site(tmp_path, made):
    """A server with an endpoint that decides at once, and one whose operator does."""
    data = shutil.copytree(made("default"), tmp_path / "server")
    (data / "scep.toml").write_text(
        '[endpoint.default]\n[endpoint.slow]\napproval = "manual"\n', "utf-8"
    )
    with Server(data) as server:
        yield server


def admin(site, *arguments):
    done = scep_here("admin", *arguments, "--dir", site.directory)
    assert done.returncode == 0, done.stderr
    return done.stdout


def announces(site):
    return "GetNextCACert" in site.ask("/scep?operation=GetCACaps").text.split()


async def approve(site):
    """Approve what waits."""
    listed = await asyncio.to_thread(admin, site, "list", "--pending", "--json")
    rows = [json.loads(line) for line in listed.splitlines() if line.startswith("{")]
    for row in rows:
        await asyncio.to_thread(admin, site, "approve", str(row["id"]))


def test_the_life_of_a_certificate(site):
    """Enrolment, renewal, what the CA says of it, the next CA, revocation by its owner."""

    async def live():
        async with AsyncClient(site.url, limits=PATIENT) as client:
            assert "renewal" in await client.get_capabilities()
            ca = await client.get_ca(site.fingerprint)
            key, new = generate_key(), generate_key()
            (challenge,) = new_challenges(site.directory)
            first = await client.enrol(ca, key, "CN=dev1", names=["dev1"], challenge=challenge)
            second = await client.renew(ca, key, first.certificate, new)
            assert second.certificate.serial != first.certificate.serial
            assert second.certificate.alternative_names == first.certificate.alternative_names
            assert await client.get_cert(ca, new, second.certificate) == second.certificate
            crl = await client.get_crl(ca, new, second.certificate)
            assert crl.issuer == second.certificate.x509().issuer

            await asyncio.to_thread(admin, site, "rollover", "prepare")
            await asyncio.to_thread(wait_until, lambda: announces(site), "the announcement")
            following = await client.get_next_ca(ca)
            third = await client.renew(ca, new, second.certificate, new, following=following)
            assert third.chain[-1] == following.certificates.anchor

            done = await client.revoke(ca, new, second.certificate, reason=Reason.superseded)
            again = await client.revoke(ca, new, second.certificate)
            assert (done.was_before, again.was_before) == (False, True)
            with pytest.raises(RequestRefused):
                await client.renew(ca, new, second.certificate, generate_key())

    asyncio.run(live())


def test_a_request_that_waits(site):
    """It is polled; one that is not waited for is asked for later."""
    waits = []

    async def pause(wait):
        waits.append(wait)
        await approve(site)

    async def live():
        slow = f"{site.url}/slow"
        async with AsyncClient(slow, limits=PATIENT, pause=pause) as client:
            ca = await client.get_ca(site.fingerprint)
            issued = await client.enrol(ca, generate_key(), "CN=dev1")
            assert str(issued.certificate.subject_name) == "CN=dev1"
        assert [wait.pending for wait in waits] == [True]
        async with AsyncClient(slow, limits=Limits(max_polls=0)) as client:
            prepared = prepared_request.prepare(generate_key(), "CN=dev2")
            with pytest.raises(StillPending) as caught:
                await client.submit(ca, prepared)
            assert caught.value.transaction_id == str(prepared.transaction_id)
            await approve(site)
            assert (await client.resume(ca, prepared)).transaction_id == prepared.transaction_id

    asyncio.run(live())


def test_two_hundred_devices_at_once(site):
    """Each gets its own certificate; never more connections than allowed are open."""
    number, most = 200, 20
    key = generate_key()
    secrets = new_challenges(site.directory, number)
    open_now = [0]

    class Counted(AsyncHTTPTransport):
        async def send(self, url, request):
            response = await super().send(url, request)
            connector = self._session.connector
            kept = sum(map(len, connector._conns.values()))
            open_now.append(kept + len(connector._acquired))
            return response

    async def live():
        async with (
            Counted(max_connections=most, timeout=PATIENCE) as transport,
            AsyncClient(site.url, transport=transport) as client,
        ):
            ca = await client.get_ca(site.fingerprint)
            return await asyncio.gather(
                *(
                    client.enrol(ca, key, f"CN=dev{n}", challenge=secret)
                    for n, secret in enumerate(secrets)
                )
            )

    issued = asyncio.run(live())
    names = [str(one.certificate.subject_name) for one in issued]
    assert names == [f"CN=dev{n}" for n in range(number)]
    assert len({one.certificate.serial for one in issued}) == number
    assert 1 < max(open_now) <= most
