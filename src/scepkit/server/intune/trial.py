"""A trial of an app registration: all that the server needs of Entra, Graph and Intune."""

from __future__ import annotations

import json
import uuid
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from scepkit.errors import ThirdPartyFailed
from scepkit.server.intune.client import PERMISSIONS, IntuneClient
from scepkit.server.intune.codes import meaning
from scepkit.server.intune.discovery import CONNECTOR, PERMISSION, VALIDATION, NoService
from scepkit.server.intune.exchange import line

GRAPH_ROLE, INTUNE_ROLE = "Application.Read.All", "scep_challenge_provider"

_CHALLENGE = "not a challenge of Intune"


@dataclass(frozen=True, slots=True)
class Finding:
    """One step of a trial.

    Attributes:
        step: what was tried.
        said: what came of it.
        is_good: whether it is as it has to be.
        hint: what to do about it where it is not.
    """

    step: str
    said: str
    is_good: bool = True
    hint: str = ""


async def trial(client: IntuneClient) -> AsyncIterator[Finding]:
    """Yield what is found, step by step; the last one is the first that is not as it has to be.

    Args:
        client: new, so that it holds nothing.
    """
    registration = client.registration
    steps = (
        ("token for Graph", registration.graph_scope, GRAPH_ROLE, PERMISSION),
        ("token for Intune", registration.intune_scope, INTUNE_ROLE, PERMISSIONS[VALIDATION]),
    )
    try:
        for step, scope, role, permission in steps:
            roles = roles_of(await client.tokens.of(scope))
            lacks = roles is not None and role not in roles
            if lacks:
                yield Finding(step, f"given, without the permission {role}", False, permission)
                return
            yield Finding(step, f"given, with {role}" if roles else "given")
        step = "validation service"
        yield Finding(step, await client.services.url(VALIDATION))
        yield await _queue(client)
        step = "validation"
        word = await client.validate(f"scepkit-trial-{uuid.uuid4()}", _request())
    except ThirdPartyFailed as error:
        yield Finding(step, error.message, False, error.hint)
        return
    if word.is_success:
        said = "Intune agrees to a request that is nobody's: issue nothing by its word"
        yield Finding(step, said, False, "are the URLs Intune's?")
        return
    yield Finding(step, f"refused, as it has to be: {meaning(word.code)}")


async def _queue(client: IntuneClient) -> Finding:
    """Look for the revocation queue, which one can do without."""
    step = "revocation queue"
    try:
        return Finding(step, await client.services.url(CONNECTOR))
    except NoService as error:
        return Finding(step, f"{error.message}; certificates are not revoked for Intune")


def roles_of(token: str) -> tuple[str, ...] | None:
    """Return the permissions in a token; None where it cannot be read, which nobody promises.

    Args:
        token: an access token. Its signature is Microsoft's business.
    """
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    roles = claims.get("roles", []) if isinstance(claims, dict) else None
    if not isinstance(roles, list):
        return None
    return tuple(line(one) for one in roles if isinstance(one, str))


def _request() -> bytes:
    """Return a PKCS#10 that Intune has not ordered, DER."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scepkit trial")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, _CHALLENGE.encode())
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)
