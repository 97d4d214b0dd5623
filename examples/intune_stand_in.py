"""A stand-in for Entra, Graph and Intune's SCEP services: rehearse without a tenant.

    python examples/intune_stand_in.py serve --port 8400
    python examples/intune_stand_in.py challenge --subject CN=laptop7 > challenge.txt
    python examples/intune_stand_in.py fault success status:500 --times 1
    python examples/intune_stand_in.py revoke 6F03A1
    python examples/intune_stand_in.py log

It is one program with three base URLs, /login, /graph and /fef, and a fourth one for whoever steers
it, /control. It was written after Microsoft's published clients and was compared with no live
service. It keeps everything in memory, and listens on this machine alone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hmac
import json
import os
import sys
import time
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from scepkit.errors import ScepError
from scepkit.protocol import csr
from scepkit.protocol.algorithms import NO_LEGACY
from scepkit.protocol.csr import CertificationRequest

TENANT = "contoso.example"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
SECRET = "stand-in~secret"
INTUNE = "0000000a-0000-0000-c000-000000000000"
VALIDATION = "ScepRequestValidationFEService"
CONNECTOR = "PkiConnectorFEService"
GRAPH_ROLE, INTUNE_ROLE = "Application.Read.All", "scep_challenge_provider"

OPERATIONS = ("token", "discovery", "validate", "success", "failure", "download", "upload")
FAULTS = """\
status:NNN      answer with that HTTP status, and a page of HTML
code:NAME       answer 200 with that code; a code that nobody knows, or success in lower case, too
no-code         answer 200 with JSON that has no code
html            answer 200 with a page of HTML
hang            do not answer
drop            close the connection
late            do the work, and answer HTTP 500 as if it had not been done
expired         answer 401, and forget the token that was shown (validate, success, failure, ...)
other           answer with the word on another transaction
without:NAME    leave a service out of the list (discovery)
"""


@dataclass(slots=True)
class Faults:
    """The faults to come, by operation: what, and how many times; -1 for always."""

    waiting: dict[str, list[list[Any]]] = field(default_factory=dict)

    def add(self, operation: str, what: str, times: int) -> None:
        self.waiting.setdefault(operation, []).append([what, times])

    def next(self, operation: str) -> str:
        row = self.waiting.get(operation)
        if not row:
            return ""
        what = str(row[0][0])
        if row[0][1] > 0:
            row[0][1] -= 1
            if row[0][1] == 0:
                row.pop(0)
        return what


@dataclass(slots=True)
class StandIn:
    """All that the stand-in remembers.

    Attributes:
        url: its own URL.
        tenant: the tenant.
        client_id: the app registration.
        secret: its client secret.
        roles: the permissions that an administrator has consented to.
        once: whether a challenge is good for one transaction alone.
        seconds: that every call to Intune takes.
        lifetime: of a token, in seconds.
    """

    url: str = ""
    tenant: str = TENANT
    client_id: str = CLIENT_ID
    secret: str = SECRET
    roles: tuple[str, ...] = (GRAPH_ROLE, INTUNE_ROLE)
    once: bool = True
    seconds: float = 0.0
    lifetime: int = 3599
    key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    moves: int = 0
    faults: Faults = field(default_factory=Faults)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    spent: dict[str, str] = field(default_factory=dict)
    revocations: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    # --- challenges -------------------------------------------------------------------------------

    def challenge(self, wanted: dict[str, Any]) -> str:
        """Return a challenge as long as Intune's, in which everything is that it will check."""
        known = {"id": str(uuid.uuid4()), "expires": time.time() + 3600, "padding": "x" * 1500}
        body = json.dumps(known | wanted).encode()
        return base64.b64encode(hmac.digest(self.key, body, "sha256") + body).decode()

    def judged(self, asked: dict[str, Any]) -> str:
        """Return the code for a request, one of the 25 that Microsoft's clients know."""
        try:
            wanted = csr.read(base64.b64decode(asked["certificateRequest"]), NO_LEGACY)
        except (ScepError, ValueError):
            return "CertificateRequestDecodingFailed"
        password = wanted.challenge_password
        if not password:
            return "ChallengePasswordMissing"
        try:
            octets = base64.b64decode(password, validate=True)
        except ValueError:
            return "ChallengeDecodingError"
        if not hmac.compare_digest(hmac.digest(self.key, octets[32:], "sha256"), octets[:32]):
            return "ChallengeDecryptionError"
        known = json.loads(octets[32:])
        if known["expires"] < time.time():
            return "ChallengeExpired"
        if code := _compared(known, wanted):
            return code
        holder = self.spent.setdefault(known["id"], asked["transactionId"])
        if self.once and holder != asked["transactionId"]:
            return "BadCertificateRequestIdInChallenge"
        return "Success"

    # --- Entra and Graph --------------------------------------------------------------------------

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = dict(await request.post())
        self._note("token", scope=form.get("scope"))
        fault = await self._faulty(self.faults.next("token"), "token", request, {})
        if fault is not None:
            return fault
        scope = str(form.get("scope", ""))
        graph, intune = f"{self.url}/graph/.default", f"{self.url}/resource"
        # Microsoft's clients send two slashes, others one.
        intune_scopes = (f"{intune}//.default", f"{intune}/.default")
        if request.match_info["tenant"] != self.tenant:
            return _entra(400, "invalid_request", 90002, "Tenant was not found.")
        if form.get("grant_type") != "client_credentials":
            return _entra(400, "unsupported_grant_type", 70003, "The grant type is not supported.")
        if form.get("client_id") != self.client_id:
            text = "Application was not found in the directory."
            return _entra(400, "unauthorized_client", 700016, text)
        if not hmac.compare_digest(str(form.get("client_secret", "")), self.secret):
            return _entra(401, "invalid_client", 7000215, "Invalid client secret provided.")
        if scope != graph and scope not in intune_scopes:
            text = "The provided value for scope is not valid."
            return _entra(400, "invalid_scope", 70011, text)
        what = "graph" if scope == graph else "intune"
        role = GRAPH_ROLE if what == "graph" else INTUNE_ROLE
        token = _jwt({"roles": [one for one in self.roles if one == role]})
        self.tokens[token] = (what, time.monotonic() + self.lifetime)
        return web.json_response(
            {
                "token_type": "Bearer",
                "expires_in": self.lifetime,
                "ext_expires_in": self.lifetime,
                "access_token": token,
            }
        )

    async def endpoints(self, request: web.Request) -> web.StreamResponse:
        self._note("discovery", id=request.headers.get("client-request-id"))
        fault = self.faults.next("discovery")
        is_left_out, left_out = fault.startswith("without:"), fault.removeprefix("without:")
        found = None
        if not is_left_out:
            found = await self._faulty(fault, "discovery", request, {})
        if found is not None:
            return found
        if not self._is_known(request, "graph"):
            return _graph(401, "InvalidAuthenticationToken", "Access token is empty or expired.")
        if GRAPH_ROLE not in self.roles:
            text = "Insufficient privileges to complete the operation."
            return _graph(403, "Authorization_RequestDenied", text)
        services = {
            VALIDATION: "ScepRequestValidationFEService/Gateway/StatelessScepRequestValidation",
            CONNECTOR: "StatelessPkiConnectorService/Gateway/StatelessPkiConnectorService",
        }
        return web.json_response(
            {
                "value": [
                    {"providerName": name, "uri": f"{self.url}/fef/{self.moves}/RACerts/{path}"}
                    for name, path in services.items()
                    if name != left_out
                ]
            }
        )

    # --- Intune -----------------------------------------------------------------------------------

    async def call(self, request: web.Request) -> web.StreamResponse:
        operation = _OPERATIONS.get(request.match_info["call"].rpartition("/")[2], "")
        body = await request.json() if request.can_read_body else {}
        self._note(operation or "unknown", path=request.path, body=body, headers=request.headers)
        if not operation or request.match_info["moves"] != str(self.moves):
            return web.Response(status=404, text=_PAGE, content_type="text/html")
        if not self._is_known(request, "intune"):
            return web.json_response({"error": "the token is not valid"}, status=401)
        if INTUNE_ROLE not in self.roles:
            return web.json_response({"error": "the token has no role for this"}, status=403)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        fault = await self._faulty(self.faults.next(operation), operation, request, body)
        return fault or web.json_response(self._answer(operation, body))

    def _answer(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "validate":
                return _word(self.judged(body["request"]))
            case "download":
                most = body["downloadParameters"]["maxRequests"]
                return {"value": list(self.revocations.values())[:most]}
            case "upload":
                for one in body["results"]:
                    self.revocations.pop(one.get("requestContext", ""), None)
                return {"value": True}
        return _word("Success")

    # --- for whoever steers -----------------------------------------------------------------------

    async def control(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json() if request.can_read_body else {}
        match request.match_info["what"]:
            case "challenge":
                return web.json_response({"challenge": self.challenge(asked)})
            case "fault":
                self.faults.add(asked["operation"], asked["fault"], asked.get("times", 1))
            case "move":
                self.moves += 1
            case "revoke":
                context = str(uuid.uuid4())
                self.revocations[context] = {
                    "requestContext": context,
                    "serialNumber": asked["serial"],
                    "issuerName": asked.get("issuer"),
                    "caConfiguration": asked.get("endpoint"),
                }
            case "log":
                return web.json_response(self.log)
            case _:
                return web.Response(status=404)
        return web.json_response({})

    def _note(self, operation: str, **facts: Any) -> None:
        self.log.append({"operation": operation, **_plain(facts)})

    def _is_known(self, request: web.Request, what: str) -> bool:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        kind, end = self.tokens.get(token, ("", 0.0))
        return kind == what and time.monotonic() < end

    async def _faulty(
        self, fault: str, operation: str, request: web.Request, body: dict[str, Any]
    ) -> web.StreamResponse | None:
        """Return the answer that a fault makes; None where there is none."""
        what, _, more = fault.partition(":")
        if what in ("hang", "drop"):
            if what == "hang":
                await self.stopping.wait()
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=500)
        if what == "late":
            self._answer(operation, body)
        if what == "expired":
            self.tokens.pop(request.headers.get("Authorization", "").removeprefix("Bearer "), None)
        return _fault_page(what, more)


_PAGE = "<!DOCTYPE html><html><body><h2>Our services aren't available right now</h2></body></html>"
_OPERATIONS = {
    "validateRequest": "validate",
    "successNotification": "success",
    "failureNotification": "failure",
    "downloadRevocationRequests": "download",
    "uploadRevocationResults": "upload",
}


def _fault_page(what: str, more: str) -> web.Response | None:
    match what:
        case "":
            return None
        case "code":
            return web.json_response(_word(more))
        case "no-code":
            return web.json_response({"errorDescription": ""})
        case "other":
            return web.json_response(_word("Success") | {"transactionId": "another one"})
        case "expired":
            return web.json_response({"error": "the token has expired"}, status=401)
        case "html":
            return web.Response(text=_PAGE, content_type="text/html")
    status = int(more) if what == "status" else 500
    return web.Response(status=status, text=_PAGE, content_type="text/html")


def _compared(known: dict[str, Any], wanted: CertificationRequest) -> str:
    """Compare a request with what its challenge was made for; return the code of a difference."""
    names = sorted(map(str, wanted.extensions.subject_alternative_names))
    subject = str(wanted.subject)
    if known.get("subject"):
        if not subject:
            return "SubjectNameMissing"
        if subject != known["subject"]:
            return "SubjectNameMismatch"
    if known.get("names"):
        if not names:
            return "SubjectAltNameMissing"
        if names != sorted(known["names"]):
            return "SubjectAltNameMismatch"
    bits = getattr(wanted.public_key, "key_size", 0)
    return "KeyLengthMismatch" if known.get("bits", bits) != bits else ""


def _word(code: str) -> dict[str, Any]:
    return {"code": code, "errorDescription": "" if code == "Success" else f"{code}, says Intune"}


def _jwt(claims: dict[str, Any]) -> str:
    """Return a token that can be read as Entra's can, and that nobody else knows."""
    header, body = ({"typ": "JWT", "alg": "none"}, claims)
    parts = (json.dumps(header).encode(), json.dumps(body).encode(), os.urandom(32))
    return ".".join(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in parts)


def _entra(status: int, error: str, number: int, text: str) -> web.Response:
    found = {
        "error": error,
        "error_description": f"AADSTS{number}: {text} Trace ID: {uuid.uuid4()}",
        "error_codes": [number],
        "trace_id": str(uuid.uuid4()),
        "correlation_id": str(uuid.uuid4()),
    }
    return web.json_response(found, status=status)


def _graph(status: int, code: str, text: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": text}}, status=status)


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts as JSON has them, without tokens."""
    found = {k: dict(v) if k == "headers" else v for k, v in facts.items()}
    if "headers" in found:
        kept = ("client-request-id", "api-version", "UserAgent")
        found["headers"] = {name: facts["headers"].get(name) for name in kept}
    return found


def application(stand_in: StandIn) -> web.Application:
    """Return the application: three base URLs, and one to steer it by."""
    app = web.Application(client_max_size=1 << 20)
    path = f"/graph/v1.0/servicePrincipals/appId={INTUNE}/endpoints"
    app.router.add_post("/login/{tenant}/oauth2/v2.0/token", stand_in.token)
    app.router.add_get(path, stand_in.endpoints)
    app.router.add_post("/fef/{moves}/RACerts/{call:.*}", stand_in.call)
    app.router.add_route("*", "/control/{what}", stand_in.control)
    return app


async def start(stand_in: StandIn, port: int = 0) -> web.AppRunner:
    """Begin to listen on this machine, and note the URL; `cleanup` of the runner ends it."""
    runner = web.AppRunner(application(stand_in), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner


async def _serve(stand_in: StandIn, port: int) -> None:
    runner = await start(stand_in, port)
    print(_SETTINGS.format(url=stand_in.url, tenant=TENANT, client_id=CLIENT_ID), flush=True)
    print(f"# the client secret: {SECRET}", file=sys.stderr, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        stand_in.stopping.set()
        await runner.cleanup()


_SETTINGS = """\
[intune.stand-in]
tenant = "{tenant}"
client_id = "{client_id}"
secret_file = "intune.secret"
authority_url = "{url}/login"
graph_url = "{url}/graph"
resource_url = "{url}/resource/"
"""


def _ask(port: int, what: str, **asked: Any) -> Any:
    body = json.dumps(asked).encode()
    url = f"http://127.0.0.1:{port}/control/{what}"
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Entra, Graph and Intune.")
    port = argparse.ArgumentParser(add_help=False)
    port.add_argument("--port", type=int, default=8400)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve", parents=[port], help="listen, and print the settings of its registration"
    )
    serve.add_argument("--any-use", action="store_true", help="let a challenge serve twice")
    serve.add_argument("--seconds", type=float, default=0.0, help="that every call takes")
    new = commands.add_parser("challenge", parents=[port], help="make a challenge, and print it")
    new.add_argument("--subject", default="", help="the only subject, RFC 4514")
    new.add_argument("--name", action="append", default=[], help="an alternative name, dns:host")
    new.add_argument("--bits", type=int, help="the only length of the key")
    fault = commands.add_parser(
        "fault",
        parents=[port],
        help="have something go wrong",
        epilog=FAULTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fault.add_argument("operation", choices=OPERATIONS)
    fault.add_argument("fault")
    fault.add_argument("--times", type=int, default=1, help="-1 for always")
    commands.add_parser("move", parents=[port], help="give the services other URLs")
    revoke = commands.add_parser(
        "revoke", parents=[port], help="put a certificate into the revocation queue"
    )
    revoke.add_argument("serial", help="in hex")
    revoke.add_argument("--issuer", help="the issuer's name, RFC 4514")
    revoke.add_argument("--endpoint", help="the caConfiguration of the success notification")
    commands.add_parser("log", parents=[port], help="print what was asked, a line of JSON each")
    given = parser.parse_args()
    match given.command:
        case "serve":
            stand_in = StandIn(once=not given.any_use, seconds=given.seconds)
            asyncio.run(_serve(stand_in, given.port))
        case "challenge":
            wanted = {"subject": given.subject, "names": given.name}
            bits = {} if given.bits is None else {"bits": given.bits}
            print(_ask(given.port, "challenge", **wanted, **bits)["challenge"])
        case "fault":
            how = {"operation": given.operation, "fault": given.fault, "times": given.times}
            _ask(given.port, "fault", **how)
        case "revoke":
            how = {"serial": given.serial, "issuer": given.issuer, "endpoint": given.endpoint}
            _ask(given.port, "revoke", **how)
        case "log":
            for one in _ask(given.port, "log"):
                print(json.dumps(one))
        case command:
            _ask(given.port, command)


if __name__ == "__main__":
    main()
