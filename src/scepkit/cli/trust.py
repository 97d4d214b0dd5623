"""Which CA certificate to trust: by fingerprint, by asking, or by decree (RFC 8894 section 2.2)."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from scepkit.ca.certificates import read_certificate
from scepkit.cli import describe, terminal
from scepkit.client.client import CA
from scepkit.errors import UntrustedCA, UsageError
from scepkit.protocol import cacerts, chain
from scepkit.protocol.transaction import CAInformation


def check_options(fingerprint: str, *, insecure: bool = False, ca_file: Path | None = None) -> None:
    """Refuse what cannot be meant, before anything is sent.

    Raises:
        UsageError: the fingerprint is none, or two options say whom to trust.
    """
    given = {"--fingerprint": fingerprint, "--ca": ca_file, "--insecure": insecure}
    both = [option for option, value in given.items() if value]
    if len(both) > 1:
        raise UsageError(f"{' and '.join(both)} exclude each other")
    if fingerprint:
        try:
            cacerts.read_fingerprint(fingerprint)
        except UntrustedCA as error:
            raise UsageError(error.message, hint=error.hint) from error


def read(ca_file: Path) -> x509.Certificate:
    """Return the CA certificate of a file.

    Raises:
        SettingsError: it cannot be used.
        UntrustedCA: it is no CA's.
    """
    found = read_certificate(ca_file)
    if not chain.is_ca(found):
        raise UntrustedCA(f"the certificate in {ca_file} is not a CA's")
    return found


def choose(
    information: CAInformation,
    fingerprint: str,
    *,
    insecure: bool = False,
    ca_file: Path | None = None,
) -> x509.Certificate:
    """Return the CA certificate to trust.

    Args:
        information: what the server says of itself.
        fingerprint: the expected one; "" when the user gave none.
        insecure: trust whichever there is.
        ca_file: file of the CA certificate to trust.

    Raises:
        SettingsError: the file cannot be used.
        UntrustedCA: it is not the expected one, or nobody says that it is.
    """
    if ca_file is not None:
        return read(ca_file)
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


def warn_of_weakness(ca: CA) -> None:
    """Say which weak algorithms are used, and what the CA does not say any more (P-61)."""
    for algorithm in (ca.choice.digest, ca.choice.cipher):
        if algorithm.legacy is not None:
            terminal.warn(f"using {algorithm.name}, since the CA offers nothing better")
    if ca.withdrawn:
        gone = ", ".join(describe.keywords(ca.withdrawn))
        terminal.warn(
            f"the CA no longer says that it can do {gone}: it was changed, or somebody is in "
            "between; going on as before"
        )
