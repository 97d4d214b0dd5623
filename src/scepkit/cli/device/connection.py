"""From the options of a command to a server, and to the CA certificate to trust.

Trust comes by fingerprint, by asking, or by decree (RFC 8894 section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scepkit.cli import describe, options, terminal
from scepkit.cli.device import challenge
from scepkit.cli.device.request_options import read_source
from scepkit.cli.option_groups import ConnectionOptions, PollingOptions
from scepkit.client.client import Client, Connection
from scepkit.client.folder.files import read_certificate
from scepkit.client.folder.record import ServerChanges
from scepkit.client.secret_source import Secrets
from scepkit.client.tls import ClientCertificate
from scepkit.errors import UntrustedCA, UsageError
from scepkit.protocol.certificate import Certificate
from scepkit.protocol.scep import ca_certificates
from scepkit.protocol.scep.transaction import CAInformation, Limits


def of_options(
    given: ConnectionOptions,
    polling: PollingOptions | None = None,
    secrets: Secrets | None = None,
) -> Connection:
    """Return the way to a server, which shows on the terminal what is waited for.

    Args:
        given: how it is reached.
        polling: how long an approval is waited for.
        secrets: reads passphrases; asks for them on the terminal unless given.

    Raises:
        UsageError: an option cannot be meant.
    """
    limits = None
    if polling is not None:
        options.check_seconds("--poll-interval", polling.poll_interval)
        options.check_seconds("--max-wait", polling.max_wait)
        limits = Limits(poll_interval=polling.poll_interval, max_wait=polling.max_wait)
    options.check_seconds("--timeout", given.timeout)
    pause = terminal.Progress().pause
    return Connection(given.timeout, given.proxy, limits, pause, secrets or asking())


def asking() -> Secrets:
    """Return what reads secrets, and asks for them on the terminal."""
    return Secrets(challenge.ask)


def client_certificate(given: ConnectionOptions, secrets: Secrets) -> ClientCertificate | None:
    """Return the TLS client certificate of the options; None for none.

    Raises:
        UsageError: they cannot be meant.
    """
    passphrase = given.tls_passphrase
    if given.tls_cert is None:
        if given.tls_key is not None or passphrase is not None:
            raise UsageError("--tls-key and --tls-passphrase go with --tls-cert")
        return None
    source = None if passphrase is None else read_source(passphrase, "--tls-passphrase")
    return ClientCertificate(given.tls_cert, given.tls_key, source, secrets)


def client(
    url: str, way: Connection, given: ConnectionOptions, *, ca_id: str, legacy: str = ""
) -> Client:
    """Return a client for the server of a URL.

    Raises:
        UsageError: an option cannot be meant.
        SettingsError: a file for TLS cannot be used.
    """
    return Client(
        url,
        identifier=ca_id,
        allowed=options.read_legacy(legacy),
        transport=way.transport(
            given.tls_ca, client_certificate=client_certificate(given, way.secrets)
        ),
        limits=way.limits,
        pause=way.pause,
    )


def changes(
    url: str,
    ca_id: str | None,
    legacy: str | None,
    tls_ca: Path | None,
    shown: ClientCertificate | None = None,
) -> ServerChanges:
    """Return the changes to a known server that the options give.

    Raises:
        UsageError: an option cannot be meant.
    """
    allowed = None if legacy is None else options.read_legacy(legacy)
    return ServerChanges(url, ca_id, allowed, tls_ca, shown)


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
        """Say whether an option names a CA to trust."""
        return bool(self.fingerprint or self.ca_file or self.insecure)

    def choose(self, information: CAInformation) -> Certificate:
        """Return the CA certificate to trust; where no option says which, somebody is asked.

        Args:
            information: what the server says of itself.

        Raises:
            SettingsError: the file cannot be used.
            UsageError: it holds the certificate of something else than a CA.
            UntrustedCA: it is not the expected one, or nobody says that it is.
        """
        if self.ca_file is not None:
            return _read_ca(self.ca_file)
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


def _read_ca(ca_file: Path) -> Certificate:
    """Return the CA certificate of a file.

    Raises:
        SettingsError: it cannot be used.
        UsageError: it is no CA's.
    """
    found = read_certificate(ca_file)
    if not found.is_ca:
        raise UsageError(
            f"the certificate in {ca_file} is not a CA's",
            hint="name the file with the certificate of the CA (--ca FILE), or give its "
            "fingerprint (--fingerprint)",
        )
    return found


def _ask(anchor: Certificate) -> None:
    terminal.say("The server shows this CA certificate:")
    terminal.fields([("subject", describe.subject(anchor)), *describe.marks(anchor)])
    if not terminal.confirm("Is this the fingerprint that the CA's operator gives?"):
        raise UntrustedCA("the CA was not accepted", hint="ask its operator for the fingerprint")
