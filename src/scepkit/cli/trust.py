"""Which CA certificate to trust: by fingerprint, by asking, or by decree (RFC 8894 section 2.2)."""

from __future__ import annotations

from cryptography import x509

from scepkit.cli import describe, terminal
from scepkit.errors import UntrustedCA, UsageError
from scepkit.protocol import cacerts
from scepkit.protocol.transaction import CAInformation


def check_options(fingerprint: str, *, insecure: bool) -> None:
    """Refuse what cannot be meant, before anything is sent.

    Raises:
        UsageError: the fingerprint is none, or goes with --insecure.
    """
    if fingerprint and insecure:
        raise UsageError("--fingerprint and --insecure exclude each other")
    if fingerprint:
        try:
            cacerts.read_fingerprint(fingerprint)
        except UntrustedCA as error:
            raise UsageError(error.message, hint=error.hint) from error


def choose(information: CAInformation, fingerprint: str, *, insecure: bool) -> x509.Certificate:
    """Return the CA certificate to trust.

    Args:
        information: what the server says of itself.
        fingerprint: the expected one; "" when the user gave none.
        insecure: trust whichever there is.

    Raises:
        UntrustedCA: it is not the expected one, or nobody says that it is.
    """
    if fingerprint:
        return cacerts.find(information.certificates, fingerprint)
    anchor = cacerts.top(information.certificates)
    if insecure:
        terminal.warn(f"the CA is not authenticated (--insecure): {describe.fingerprint(anchor)}")
        return anchor
    if not terminal.can_ask():
        raise UntrustedCA(
            f"which CA to trust? The server shows {describe.fingerprint(anchor)}",
            hint="if its operator gives the same fingerprint, add it as --fingerprint",
        )
    _ask(anchor)
    return anchor


def _ask(anchor: x509.Certificate) -> None:
    terminal.say("The server shows this CA certificate:")
    terminal.fields(
        [
            ("subject", describe.subject(anchor)),
            ("valid", describe.validity(anchor)),
            ("fingerprint", describe.fingerprint(anchor)),
        ]
    )
    if not terminal.confirm("Is this the fingerprint that the CA's operator gives?"):
        raise UntrustedCA("the CA was not accepted", hint="ask its operator for the fingerprint")
