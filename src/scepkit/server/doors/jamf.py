"""POST /scep/NAME/challenge/jamf: the webhook SCEPChallenge of Jamf Pro and of Fleet.

The answer is the challenge as plain text, without a line end: Fleet takes every octet of it.
"""

from __future__ import annotations

import re
from datetime import timedelta

from scepkit.enrolment.challenges.orders import MAX_DATA, MAX_LABEL, ChallengeOrder, MintedChallenge
from scepkit.errors import BoundReached, HTTPRefused, TooManyPending, UsageError
from scepkit.operations.challenges import mint
from scepkit.protocol.scep.http import TEXT, HTTPResponse
from scepkit.server.doors import jamf_event
from scepkit.server.doors.front import DoorFront, Unauthorized, credential_of
from scepkit.server.doors.jamf_event import ChallengeEvent
from scepkit.server.doors.opened import JamfDoor
from scepkit.server.endpoints.served import ServedEndpoint
from scepkit.server.http.exchange import NO_STORE, Exchange, not_allowed
from scepkit.store import Door

PROBE_ANSWER = "no-device-and-so-no-challenge"
"""The answer to an event about no device, where that is wanted; no certificate is issued for it."""

# What people find a challenge by: the first of them that is known.
_LABELS = ("serial_number", "udid", "uuid")
_METHODS = ("POST",)
_PATH = re.compile(r"/scep/([a-z0-9-]{1,32})/challenge/jamf/?")
_MOST_OFF = timedelta(hours=1)
_RETRY_SECONDS = 60


class JamfFront(DoorFront[JamfDoor]):
    """Answers at the webhooks SCEPChallenge of all endpoints; arguments as for `DoorFront`."""

    protocol = "Jamf"

    def _name(self, path: str) -> str:
        found = _PATH.fullmatch(path)
        return found[1] if found else ""

    def _door(self, served: ServedEndpoint) -> JamfDoor | None:
        return served.jamf

    def _check_method(self, method: str) -> None:
        if method not in _METHODS:
            raise not_allowed(_METHODS)

    async def _open(self, exchange: Exchange, name: str, door: JamfDoor) -> HTTPResponse:
        await self._check_credential(exchange, name, door)
        body = await exchange.body(jamf_event.MAX_BODY)
        event = jamf_event.read(body, exchange.head.header(b"content-type").decode("latin-1"))
        self._check_time(event)
        missing = [one for one in door.settings.needed if one not in event.device]
        if missing:
            return self._without(exchange, event, missing, door)
        order = _order(event, door)
        self._check_rate(name, "", door.settings.per_minute)
        minted = await self._minted(door, order)
        exchange.facts |= {"outcome": "minted", "challenge_id": minted.id}
        if minted.order.label:
            exchange.facts["challenge_label"] = minted.order.label
        return HTTPResponse(200, minted.secret.encode("ascii"), TEXT, NO_STORE)

    async def _check_credential(self, exchange: Exchange, name: str, door: JamfDoor) -> None:
        """Refuse a request without the door's credential.

        Raises:
            Unauthorized: so it is; the same answer whatever is wrong.
            BoundReached: too many were wrong from this address.
        """
        scheme = door.scheme.capitalize()
        refused = Unauthorized(
            f"the {scheme} credential of this webhook is needed: [endpoint.{name}.jamf]",
            f'{scheme} realm="SCEP challenges of {name}"',
        )
        credential = credential_of(exchange.head)
        if credential is None:
            raise refused
        self._wrong.check(exchange.network)
        if not door.admits(*credential):
            raise await self._refuse_credential(exchange.network, name, refused)

    def _check_time(self, event: ChallengeEvent) -> None:
        """Refuse an event of another time, which somebody may have recorded.

        Raises:
            HTTPRefused: it is one; HTTP 400.
        """
        if event.at is not None and abs(self._now() - event.at) > _MOST_OFF:
            raise HTTPRefused(
                400, "eventTimestamp is more than an hour off: set the clocks of both servers"
            )

    def _without(
        self, exchange: Exchange, event: ChallengeEvent, missing: list[str], door: JamfDoor
    ) -> HTTPResponse:
        """Answer an event that does not say enough of its device: no challenge is made.

        Raises:
            HTTPRefused: it is no probe, or probes are not answered; HTTP 422.
        """
        if door.settings.answer_probes and not event.device:
            exchange.facts["outcome"] = "probe"
            return HTTPResponse(200, PROBE_ANSWER.encode("ascii"), TEXT, NO_STORE)
        raise HTTPRefused(
            422,
            "a challenge is bound to its device here, and the event does not say, says twice, or "
            f"says with characters that no name or list can show: {', '.join(missing)}",
        )

    async def _minted(self, door: JamfDoor, order: ChallengeOrder) -> MintedChallenge:
        try:
            with self._limit:
                return await self._workers.run(self._mint, door, order)
        except TooManyPending as error:
            raise BoundReached(
                503,
                "too many challenges are not spent yet, try again later",
                bound="unspent challenges of the webhook jamf",
                retry_after=_RETRY_SECONDS,
                hint=error.hint,
            ) from error

    def _mint(self, door: JamfDoor, order: ChallengeOrder) -> MintedChallenge:
        by = f"jamf:{door.settings.user}" if door.settings.user else "jamf"
        (minted,) = mint(door.challenges, [order], door=Door.JAMF, by=by, now=self._now())
        return minted


def _order(event: ChallengeEvent, door: JamfDoor) -> ChallengeOrder:
    """Return the order for a device's challenge.

    Raises:
        HTTPRefused: something that is said of it cannot be in a name; HTTP 422.
    """
    needed = [one for one in (*door.settings.needed, *_LABELS) if one in event.device]
    # More than a challenge may have; what is needed comes first.
    names = [*dict.fromkeys((*needed, *event.device))][:MAX_DATA]
    device = {name: event.device[name] for name in names}
    label = next((device[one] for one in _LABELS if one in device), "")
    try:
        return door.settings.order(device, label=label if 0 < len(label) <= MAX_LABEL else None)
    except UsageError as error:
        raise HTTPRefused(422, f"the device cannot be in the names: {error.message}") from error
