"""The NDES page: a one-time challenge for each GET, for MDMs that scrape it.

It is at /scep/NAME/mscep_admin/, and for one endpoint at /certsrv/mscep_admin/, where NDES has it;
that endpoint answers SCEP at /certsrv/mscep/mscep.dll too. IIS ignores the case of a path.
"""

from __future__ import annotations

import re
from functools import cache
from urllib.parse import parse_qsl

from scepkit.enrolment.challenges.orders import MintedChallenge
from scepkit.errors import HTTPRefused, TooManyPending
from scepkit.operations import ndes_accounts
from scepkit.operations.challenges import mint
from scepkit.protocol.scep.http import TEXT, HTTPResponse
from scepkit.server.doors import ndes_page
from scepkit.server.doors.front import DoorFront, Unauthorized, credential_of
from scepkit.server.doors.opened import NDESDoor
from scepkit.server.doors.wrong_passwords import RightPasswords
from scepkit.server.endpoints.served import Endpoints, ServedEndpoint
from scepkit.server.http.exchange import NO_STORE, Exchange, not_allowed
from scepkit.server.web.executors import Executor
from scepkit.server.web.worker_pool import ConcurrencyLimit, WorkerPool
from scepkit.store import Door, NDESAccount, Store

_METHODS = ("GET", "HEAD")
_PATH = re.compile(r"/scep/([a-z0-9-]{1,32})/mscep_admin/?")
_CERTSRV = re.compile(r"/certsrv/mscep_admin/?", re.IGNORECASE)
_MINT, _THUMBPRINT = "ndesgeneratechallenge", "ndesgetcacertthumbprint"

# Passwords that wait to be hashed: some seconds of work.
_MOST_HASHED = 128


class NDESFront(DoorFront[NDESDoor]):
    """Answers at the NDES pages of all endpoints.

    Args:
        endpoints: those in service.
        executor: threads for what waits for the database.
        hashing: a thread for passwords, so that whoever guesses holds nobody else up.
        store: where accounts and challenges are kept.
    """

    protocol = "NDES"

    def __init__(
        self, endpoints: Endpoints, executor: Executor, hashing: Executor, store: Store
    ) -> None:
        super().__init__(endpoints, executor, store)
        self._hashing = WorkerPool(hashing, store)
        self._hashed = ConcurrencyLimit(_MOST_HASHED)
        self._right = RightPasswords()

    def _name(self, path: str) -> str:
        if found := _PATH.fullmatch(path):
            return found[1]
        return self._endpoints.at_certsrv() if _CERTSRV.fullmatch(path) else ""

    def _door(self, served: ServedEndpoint) -> NDESDoor | None:
        return served.ndes

    def _check_method(self, method: str) -> None:
        if method not in _METHODS:
            raise not_allowed(_METHODS)

    async def _open(self, exchange: Exchange, name: str, door: NDESDoor) -> HTTPResponse:
        account = await self._account(exchange, name)
        exchange.facts["account"] = account.name
        operation = _operation(exchange.head.query)
        if name not in account.endpoints:
            exchange.facts["outcome"] = "no permission"
            return _page(ndes_page.error_page(ndes_page.NO_PERMISSION), door)
        if operation == _THUMBPRINT:
            exchange.facts["outcome"] = "thumbprint"
            return HTTPResponse(200, door.thumbprint.encode("ascii"), TEXT, NO_STORE)
        if exchange.head.method == "HEAD":
            # Of the length that the page would have; a challenge is made for a GET alone.
            exchange.facts["outcome"] = "head"
            return self._shown("0" * door.order.form.length, operation, door)
        self._check_rate(name, account.name, door.per_minute)
        return await self._minted(exchange, account, operation, door)

    async def _minted(
        self, exchange: Exchange, account: NDESAccount, operation: str, door: NDESDoor
    ) -> HTTPResponse:
        try:
            with self._limit:
                minted = await self._workers.run(self._mint, door, account.name)
        except TooManyPending as error:
            self._alarms.ring(
                "unspent challenges of the NDES page",
                endpoint=exchange.facts["endpoint"],
                hint=error.hint,
            )
            exchange.facts |= {"outcome": "full", "reason": error.message}
            return _page(ndes_page.error_page(ndes_page.FULL), door)
        exchange.facts |= {"outcome": "minted", "challenge_id": minted.id}
        return self._shown(minted.secret, operation, door)

    def _mint(self, door: NDESDoor, account: str) -> MintedChallenge:
        by = f"ndes:{account}"
        (minted,) = mint(door.challenges, [door.order], door=Door.NDES, by=by, now=self._now())
        return minted

    def _shown(self, challenge: str, operation: str, door: NDESDoor) -> HTTPResponse:
        if operation == _MINT:
            return HTTPResponse(200, challenge.encode("ascii"), TEXT, NO_STORE)
        minutes = int(door.order.lifetime.total_seconds() // 60)
        return _page(ndes_page.challenge_page(challenge, door.thumbprint, minutes), door)

    async def _account(self, exchange: Exchange, name: str) -> NDESAccount:
        """Return the account whose name and password a request has.

        Raises:
            Unauthorized: it has none, or wrong ones; the same answer for both.
            BoundReached: too many were wrong from this address, or too many wait to be judged.
        """
        refused = Unauthorized(
            "name and password of an account are needed: scep admin ndes-account add",
            f'Basic realm="SCEP challenges of {name}", charset="UTF-8"',
        )
        credential = credential_of(exchange.head)
        if credential is None or credential.scheme != "basic":
            raise refused
        network = exchange.network
        self._wrong.check(network)
        user, _, password = credential.octets.partition(b":")
        with self._limit:
            account = await self._workers.run(self._find, user.decode("utf-8"))
        if account is not None and self._right.knows(password, account.password):
            return account
        with self._hashed:
            is_right = await self._hashing.run(self._is_right, network, account, password)
        if not is_right or account is None:
            raise await self._refuse_credential(network, name, refused)
        self._right.remember(password, account.password)
        return account

    def _find(self, user: str) -> NDESAccount | None:
        # No longer name was ever stored, nor one with a NUL, which PostgreSQL would not take.
        return self._store.ndes_account(user) if ndes_accounts.is_name(user) else None

    def _is_right(self, network: str, account: NDESAccount | None, password: bytes) -> bool:
        """Hash a password, as long for an account that there is not; in a thread of its own."""
        # Again: those that waited before it may have been wrong.
        self._wrong.check(network)
        stored = _of_nobody() if account is None else account.password
        return ndes_accounts.matches(password, stored)


@cache
def _of_nobody() -> str:
    """Return the hash of a password that nobody knows."""
    return ndes_accounts.hashed(ndes_accounts.new_password())


def _operation(query: bytes) -> str:
    """Return the operation that a query asks for, in lower case; "" for the page.

    Raises:
        HTTPRefused: there is no such operation; HTTP 400.
    """
    try:
        pairs = dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise HTTPRefused(400, "the query cannot be read") from None
    operation = pairs.get("operation", "").lower()
    if operation not in ("", _MINT, _THUMBPRINT):
        raise HTTPRefused(400, "operation is NDESGenerateChallenge or NDESGetCACertThumbprint here")
    return operation


def _page(text: str, door: NDESDoor) -> HTTPResponse:
    body, media_type = ndes_page.encoded(text, door.encoding)
    return HTTPResponse(200, body, media_type, NO_STORE)
