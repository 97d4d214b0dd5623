"""Run in `scep serve` before it begins: gives it third parties that are steered by files.

PARTIES       their names
PARTIES_AT    DIRECTORY of the files

A party (`referee`, `issuer`, `teller`) appends what it is asked to DIRECTORY/PARTY.asked, then
waits for DIRECTORY/PARTY.says, which holds `yes` or `no`. Behind `yes` there may be an answer, as
JSON has it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import keys
from scepkit.ca.authority import Authority
from scepkit.enrolment.answers import ServiceAnswer
from scepkit.enrolment.third_parties import No, ThirdParties, Yes
from scepkit.server import app, run


class Party:
    """Notes what it is asked, and waits for its file."""

    def __init__(self, place: Path, name: str) -> None:
        self.name = self.identity = name
        self._asked, self._says = place / f"{name}.asked", place / f"{name}.says"

    async def word(self, what: str):
        with self._asked.open("a") as file:
            file.write(f"{what}\n")
        while not self._says.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        word, _, answer = self._says.read_text().partition(" ")
        if word != "yes":
            return No("the file says no")
        return Yes(ServiceAnswer.read(json.loads(answer))) if answer else Yes()

    async def judge(self, question):
        return await self.word(question.id)

    async def tell(self, delivery):
        return await self.word(f"{delivery.id} {delivery.serial:x}")


class OtherCA(Party):
    """A CA of somebody else's."""

    authority = Authority(keys.ca().x509, keys.ca().key)
    key_hash = authority.key_hash

    async def certify(self, order):
        await self.word(order.id)
        return self.authority.certify(order)

    async def withdraw(self, certificate):
        await self.word(f"withdraw {certificate.serial:x}")


place, parties = Path(os.environ["PARTIES_AT"]), os.environ["PARTIES"].split(",")
made = {name: (OtherCA if name == "issuer" else Party)(place, name) for name in parties}
given = {"default": ThirdParties(**made)}
app.create = partial(app.create, third_parties=given)
run.assemble = partial(run.assemble, third_parties=given)  # what is checked before the start
