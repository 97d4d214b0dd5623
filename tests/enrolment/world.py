"""An endpoint with a real CA, a real database and a clock that tests move."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import keys
import minted
from enrolment import devices
from scepkit.ca.authority import Authority
from scepkit.ca.profiles.profile import Profile
from scepkit.enrolment.admission import Admission
from scepkit.enrolment.challenges.one_time import OneTimeChallenges
from scepkit.enrolment.consultation import Consultation
from scepkit.enrolment.issuers import Issuers, IssuingCA
from scepkit.enrolment.rules import Rules
from scepkit.enrolment.secret_box import SecretBox
from scepkit.operations.approval import Approval
from scepkit.protocol.scep.responder import Responder
from scepkit.services.scep import SCEPService
from scepkit.store import Store

HOUR = timedelta(hours=1)
CA = Authority(keys.ca().x509, keys.ca().key)
NAME = "default"


class World:
    """What a server has, without its HTTP.

    Args:
        directory: for the database.
        database: a database to begin with; an empty one when None.
        rules: what the endpoint allows.
    """

    def __init__(
        self, directory: Path, database: Path | None = None, rules: Rules | None = None
    ) -> None:
        self.directory = directory
        self.path = directory / "scep.db"
        if database is not None:
            shutil.copy(database, self.path)
        self.now = keys.NOW
        self.key = b"the key of the challenges' MACs."
        self.ra_holder = keys.ra()
        self.rules = rules or Rules()
        self.profile = Profile()
        self.rule = None  # another ChallengeRule than one-time challenges
        self.issuers = Issuers([IssuingCA(CA, (keys.ra().credential,))])
        self.responding = {}  # more arguments of Responder
        self.tries = None  # what bounds wrong challenges
        self.parties = None  # the third parties
        self.selection = None  # makes the Selection from the one-time challenges
        self.open()

    def open(self) -> None:
        self.store = Store.open(f"sqlite:///{self.path}")
        self.challenges = OneTimeChallenges(store=self.store, endpoint=NAME, key=self.key)
        self.ra, ra = self.ra_holder.certificate, self.ra_holder.credential
        responder = Responder(
            **{
                "signer": ra,
                "credentials": [ra],
                "random": os.urandom,
                "now": lambda: self.now,
                **self.responding,
            }
        )
        admission = Admission(
            endpoint=NAME,
            issuers=self.issuers,
            profile=self.profile,
            rules=self.rules,
            store=self.store,
            challenges=self.rule or self.challenges,
            secret_box=SecretBox(self.key),
            now=lambda: self.now,
            tries=self.tries,
            selection=self.selection and self.selection(self.challenges),
            consultation=self.parties
            and Consultation(
                self.parties, self.issuers, self.store, self.rules, self.profile, lambda: self.now
            ),
        )
        self.endpoint = SCEPService(responder, admission)

    def use(self, **changes) -> None:
        """Change `rules` (its fields by name), `profile`, `issuers` and what else is named here."""
        parts = ("rule", "profile", "issuers", "responding", "ra_holder", "tries", "parties")
        for name in (*parts, "selection"):
            if name in changes:
                setattr(self, name, changes.pop(name))
        self.rules = replace(self.rules, **changes)
        self.restart()

    @property
    def approval(self) -> Approval:
        return Approval(NAME, self.issuers, self.profile, self.store)

    def restart(self) -> None:
        """Close the database and open it again, with everything that was built upon it."""
        self.store.close()
        self.open()

    def challenge(self, **bound) -> str:
        """Return a new challenge, good for an hour unless told otherwise."""
        (secret,) = minted.secrets(self.challenges, **{"now": self.now, "lifetime": HOUR, **bound})
        return secret

    def ask(self, message: bytes, signer=None, peer="") -> devices.Reply:
        """Give a pkiMessage to the endpoint and read the CertRep."""
        return devices.read(self.endpoint.respond(message, peer), self.ra, signer)

    def enrol(self, challenge=None, **how) -> devices.Reply:
        """Send a PKCSReq and read the answer."""
        message = devices.pkcs_req(challenge, to=self.ra, **how)
        return self.ask(message, how.get("signer"))

    def renew(self, holder, **how) -> devices.Reply:
        """Send a RenewalReq signed with a certificate and read the answer."""
        return self.ask(devices.renewal_req(to=self.ra, signer=holder, **how), holder)

    def enrolled(self, name="device", **how) -> keys.Holder:
        """Get a first certificate for the key of that name."""
        signer = keys.device(name)
        how = {"subject": f"CN={name}", "transaction_id": f"first {name}", **how}
        reply = self.enrol(self.challenge(), signer=signer, **how)
        return keys.Holder(signer.key, reply.x509)

    def poll(self, **how) -> devices.Reply:
        return self.ask(devices.cert_poll(to=self.ra, **how), how.get("signer"))

    def reason(self, message: bytes) -> str:
        """Return what the log says about a refused message; its rule is the one that it names."""
        decision = self.endpoint.decide(message)
        named = re.search(r"\(([\w.-]+) of the profile", decision.reason)
        if named is not None:
            assert decision.outcome.error.rule == named[1]
        return decision.reason

    def sql(self, statement: str) -> list[tuple]:
        """Run SQL over a connection of its own: it sees what is committed only."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement).fetchall()

    @property
    def issued(self) -> int:
        return self.sql("SELECT count(*) FROM certificates")[0][0]

    @property
    def spent(self) -> int:
        return self.sql("SELECT count(*) FROM challenges WHERE spent_at IS NOT NULL")[0][0]

    @property
    def files(self) -> dict[str, bytes]:
        """Every file beside the database, by its name."""
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}
