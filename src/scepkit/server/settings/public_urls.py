"""The URLs of endpoints, and those in their certificates: CRL, OCSP responder, CA certificate."""

from __future__ import annotations

import ipaddress
import socket

import structlog

from scepkit.ca.extensions import Locations
from scepkit.errors import SettingsError, UsageError
from scepkit.server.settings import DEFAULT, FILE, Settings

# What devices append, from the end; what is left is where /crl, /ca and /ocsp are too.
_SCEP_PATHS = ("/pkiclient.exe", "/cgi-bin", "/scep")

log = structlog.get_logger()


def of_endpoint(base: str, endpoint: str) -> str:
    """Return the SCEP URL of an endpoint.

    Args:
        base: the URL of the default one.
        endpoint: its name.
    """
    return base if endpoint == DEFAULT else f"{base.rstrip('/')}/{endpoint}"


def of_address(host: str, port: int) -> str:
    """Return the SCEP URL of the default endpoint at an address that a server listens on."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared only
        host = socket.gethostname()
    return f"http://[{host}]:{port}/scep" if ":" in host else f"http://{host}:{port}/scep"


def base(settings: Settings) -> str:
    """Return the SCEP URL of the default endpoint; "" where the server takes any free port."""
    if settings.public_url:
        return settings.public_url
    return of_address(settings.host, settings.port) if settings.port else ""


def is_local(settings: Settings) -> bool:
    """Say whether no other machine than the server's own can use its URL, by all that is known."""
    if settings.public_url:
        return False
    try:
        return ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return settings.host == "localhost"


def locations(settings: Settings, endpoint: str) -> Locations | None:
    """Return where the CRL, the issuer and the OCSP responder are.

    Args:
        settings: the server's.
        endpoint: its name.

    Returns:
        None where the server does not know its own URL.

    Raises:
        SettingsError: the URL cannot be in a certificate.
    """
    key, base = ("pki_url", settings.pki_url) if settings.pki_url else _derived(settings)
    if not base:
        return None
    try:
        return Locations(base, endpoint)
    except UsageError as error:
        raise SettingsError(f"{key}: {error.message}", hint=error.hint) from error


def warn(settings: Settings) -> None:
    """Say it in the log when certificates will name URLs that some programs cannot use."""
    places = locations(settings, DEFAULT)
    if places is not None and places.is_circular:
        log.warning(
            "issued certificates name https URLs: it may take a CRL to get the CRL",
            url=places.base,
            hint="set pki_url to a plain http URL of this server (RFC 5280 section 8)",
        )


def warn_of_none(settings: Settings) -> None:
    """Say it in the log when certificates will name no place to ask for their status."""
    if locations(settings, DEFAULT) is None:
        log.warning(
            "issued certificates will name no CRL and no OCSP responder: "
            "the server does not know its own URL",
            hint=f"before the first device, set public_url in {settings.directory / FILE}, "
            "or start with --public-url URL",
        )


def _derived(settings: Settings) -> tuple[str, str]:
    base = settings.public_url.rstrip("/")
    for path in _SCEP_PATHS:
        base = base.removesuffix(path)
    return "public_url", base
