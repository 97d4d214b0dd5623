"""Get certificates for several devices at once: python enrol_async.py URL FINGERPRINT CHALLENGE."""

import asyncio
import sys

from scepkit import CA, AsyncClient, generate_key


async def enrol(client: AsyncClient, ca: CA, name: str, challenge: str) -> None:
    key = await asyncio.to_thread(generate_key, "rsa:2048")
    issued = await client.enrol(ca, key, f"CN={name}", challenge=challenge)
    print(issued.certificate.subject_name, issued.certificate.not_after)


async def main(url: str, fingerprint: str, challenge: str) -> None:
    async with AsyncClient(url) as client:
        ca = await client.get_ca(fingerprint)
        names = [f"device{number}" for number in range(1, 6)]
        await asyncio.gather(*(enrol(client, ca, name, challenge) for name in names))


asyncio.run(main(*sys.argv[1:]))
