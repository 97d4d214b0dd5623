"""Trust in a CA certificate: by fingerprint, by asking, or by decree (RFC 8894 section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scepkit.cli import describe, terminal
from scepkit.client.folder.files import read_certificate
from scepkit.errors import UntrustedCA, UsageError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates
from scepkit.protocol.scep.transaction import CAInformation


@dataclass(frozen=True, slots=True)
class AnchorOptions:
    """The CA to trust, as the options say.

    Attributes:
        fingerprint: the expected one; "" when the user gave none.
        ca_file: file of the CA certificate to trust.
        insecure: trust whichever there is.

    Raises:
        UsageError: the fingerprint is none, or two options say whom to trust.
    """

    fingerprint: str = ""
    ca_file: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        given = {
            "--fingerprint": self.fingerprint,
            "--ca": self.ca_file,
            "--insecure": self.insecure,
        }
        both = [option for option, value in given.items() if value]
        if len(both) > 1:
            raise UsageError(f"{' and '.join(both)} exclude each other")
        if self.fingerprint:
            try:
                ca_certificates.read_fingerprint(self.fingerprint)
            except UntrustedCA as error:
                raise UsageError(error.message, hint=error.hint) from error

    @property
    def is_given(self) -> bool:
        """True if an option names a CA to trust."""
        return bool(self.fingerprint or self.ca_file or self.insecure)

    def choose(self, information: CAInformation) -> Certificate:
        """Return the CA certificate to trust; where no option says which, somebody is asked.

        Args:
            information: what the server says of itself.

        Raises:
            SettingsError: the file cannot be used.
            UntrustedCA: it is not the expected one, or nobody says that it is.
        """
        if self.ca_file is not None:
            return read(self.ca_file)
        if self.fingerprint:
            return ca_certificates.find(information.certificates, self.fingerprint)
        anchor = ca_certificates.top(information.certificates)
        if self.insecure:
            shown = describe.fingerprint(anchor)
            terminal.warn(f"the CA is not authenticated (--insecure): {shown}")
            return anchor
        if not terminal.can_ask():
            raise UntrustedCA(
                f"no CA is trusted yet; the server shows {describe.fingerprint(anchor)}",
                hint="if its operator gives the same fingerprint, add it as --fingerprint",
            )
        _ask(anchor)
        return anchor


def read(ca_file: Path) -> Certificate:
    """Return the CA certificate of a file.

    Raises:
        SettingsError: it cannot be used.
        UntrustedCA: it is no CA's.
    """
    found = read_certificate(ca_file)
    if not found.is_ca:
        raise UntrustedCA(f"the certificate in {ca_file} is not a CA's")
    return found


def _ask(anchor: Certificate) -> None:
    terminal.say("The server shows this CA certificate:")
    terminal.fields([("subject", describe.subject(anchor)), *describe.marks(anchor)])
    if not terminal.confirm("Is this the fingerprint that the CA's operator gives?"):
        raise UntrustedCA("the CA was not accepted", hint="ask its operator for the fingerprint")
