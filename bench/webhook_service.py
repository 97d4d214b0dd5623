"""A service that says yes to every request of a webhook, after a while.

    python bench/webhook_service.py FILE

Prints its port. A question to /SECONDS is answered after so many seconds; FILE gets an octet for
each that has to wait.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path


def _count() -> None:
    with Path(sys.argv[1]).open("ab") as file:
        file.write(b".")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = dict(one.lower().split(": ", 1) for one in lines[1:] if ": " in one)
        asked = json.loads(await reader.readexactly(int(headers["content-length"])))
        if seconds := float(lines[0].split()[1].removeprefix("/")):
            _count()
            await asyncio.sleep(seconds)
        body = json.dumps({"id": asked["id"], "allow": True}).encode()
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(answer.encode() + body)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until it is ended."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
