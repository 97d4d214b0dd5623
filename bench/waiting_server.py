"""`scep serve` with a referee and a teller that answer nobody until a file is there.

    python bench/waiting_server.py PLACE serve --dir DIR ...

The endpoint `referee` waits before the signature, the endpoint `teller` before the delivery. Each
adds an octet to PLACE/asked for each question, and says yes when PLACE/go is there.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

from scepkit.cli import main
from scepkit.enrolment.third_parties import ThirdParties, Yes
from scepkit.server import app


class Silent:
    """A service that says nothing for a long time.

    Args:
        place: where its files are.
        name: its name.
    """

    def __init__(self, place: Path, name: str) -> None:
        self.name = self.identity = name
        self._asked, self._go = place / "asked", place / "go"
        self._looking: asyncio.Task[None] | None = None

    async def judge(self, _question: Any) -> Yes:
        """Wait, and agree."""
        return await self._word()

    async def tell(self, _delivery: Any) -> Yes:
        """Wait, and agree."""
        return await self._word()

    async def _word(self) -> Yes:
        with self._asked.open("ab") as file:
            file.write(b".")
        # One looks for the file, whatever the number of those that wait: it costs them nothing.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)
        return Yes()

    async def _look(self) -> None:
        while not self._go.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    parties = {
        "referee": ThirdParties(referee=Silent(where, "referee")),
        "teller": ThirdParties(teller=Silent(where, "teller")),
    }
    app.create = partial(app.create, third_parties=parties)
    sys.exit(main(sys.argv[2:]))
