"""The words for what happens to a device's certificate: events on the way, and the new one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scepkit.cli import describe, failure, terminal
from scepkit.cli.device import hints
from scepkit.client import events, keys
from scepkit.protocol.certificate import show_serial
from scepkit.protocol.oddities import oddities

if TYPE_CHECKING:
    from pathlib import Path

    from scepkit.client.client import CA
    from scepkit.client.events import Event
    from scepkit.client.folder import Folder
    from scepkit.client.prepared_request import PreparedRequest
    from scepkit.client.renewal_info import RenewalAdvice
    from scepkit.protocol.certificate import Certificate
    from scepkit.protocol.scep.transaction import Issued


class EventPrinter:
    """Prints events.

    Attributes:
        request: the request that went out; None before.
    """

    def __init__(self) -> None:
        self.request: PreparedRequest | None = None

    def __call__(self, event: Event) -> None:
        """Print an event."""
        match event:
            case events.RequestPrepared():
                self.request = event.request
            case events.OthersCanWrite():
                _warn_of_others(event.directory, event.place)
            case events.CATrusted():
                warn_of_weakness(event.ca)
            case events.ReplyUnlikely():
                terminal.warn(
                    f"few CAs can answer to a key of kind {event.kind} without a challenge: "
                    "there is nothing to encrypt the answer with"
                )
            case events.NextCAUnknown():
                terminal.warn(f"the CA could not be asked for its successor: {event.error.message}")
            case events.NextCAUntrusted():
                terminal.warn(
                    f"the CA's successor cannot be trusted: {event.error.message}",
                    failure.hint(event.error),
                )
            case events.RenewalInfoUnknown():
                terminal.warn(
                    "the server does not say when the certificate is best renewed: "
                    f"{event.error.message}"
                )
            case events.RenewalAdvised():
                why = because(event.advice)
                terminal.say(f"the server wants the certificate renewed now{why}")
            case events.OutputsChanged():
                written = ", ".join(map(str, event.written)) or "none"
                left = "; left as they are: " + ", ".join(map(str, event.left))
                terminal.say(f"further files from now on: {written}{left if event.left else ''}")
            case _:
                terminal.say(_line(event))


def _line(event: Event) -> str:
    """Return the line for an event that needs nobody to do anything."""
    match event:
        case events.InstallationFinished():
            return f"finished the installation in {event.directory} that was interrupted"
        case events.NextCAAnnounced():
            return (
                f"the CA announces its successor: {describe.subject(event.certificate)}, "
                f"valid from {event.certificate.not_before:%Y-%m-%d}"
            )
        case events.NextCAInForce():
            return "the next CA is in force: installed the certificate that it issued in advance"
        case events.RevocationUnknown():
            why = "; ".join(event.reasons)
            return f"cannot find out whether the certificate was revoked: {why}"
        case events.HoldEnded():
            return "the certificate is not on hold any more"
    return _of_request(event)


def _of_request(event: Event) -> str:
    """Return the line for what becomes of a request that was begun."""
    match event:
        case events.RequestContinued():
            return f"continuing the request of {event.key_file}; delete it to start anew"
        case events.RequestReplaced():
            of = f" for {event.waiting.subject}" if event.waiting is not None else ""
            return (
                f"{event.key_file.parent} has a waiting request{of}, {event.transaction_id}; "
                f"another one for {event.request.request.csr.subject} is sent in its place, with "
                "the same key"
            )
        case events.RequestOver():
            return f"the request {event.transaction_id} is over: {event.reason}"
        case events.RequestStays():
            return (
                f"the request {event.transaction_id} of {event.key_file} stays: "
                "the command that began it asks again"
            )
        case events.KeyStays():
            return f"the key stays in {event.key_file}: the same command asks again"
    return ""


def because(advice: RenewalAdvice) -> str:
    """Return where the server says why it wants a renewal, for the end of a sentence."""
    return f" ({advice.explanation})" if advice.explanation else ""


def existing(directory: Path) -> Folder:
    """Return a directory that has to be there, with a warning if others can write to it.

    Raises:
        SettingsError: it is not, or there is a symbolic link in the place of something.
    """
    from scepkit.cli.device import challenge
    from scepkit.client.folder import Folder, place
    from scepkit.client.secret_source import Secrets

    folder = Folder(directory, Secrets(challenge.ask))
    with hints.naming_commands(folder):
        folder.check_exists()
    exposed = place.writable_by_others(directory)
    if exposed is not None:
        _warn_of_others(directory, exposed)
    return folder


def _warn_of_others(directory: Path, place: Path) -> None:
    """Warn once, in one line, when others can replace what is in a directory."""
    if place == directory:
        terminal.warn(
            f"others can write to {directory}, and replace the key and the certificates: "
            f"chmod go-w {shlex.quote(str(directory))}"
        )
    else:
        terminal.warn(
            f"others can write to {place}, and replace {directory} in it: "
            f"chmod o-w {shlex.quote(str(place))}"
        )


def warn_of_weakness(ca: CA) -> None:
    """Say which weak algorithms are used, what the CA does not say any more (P-61), and its end."""
    for algorithm in (ca.choice.digest, ca.choice.cipher):
        if algorithm.legacy is not None:
            terminal.warn(f"using {algorithm.name}, since the CA offers nothing better")
    if ca.withdrawn:
        gone = ", ".join(describe.keywords(ca.withdrawn))
        terminal.warn(
            f"the CA no longer lists {gone}: it was changed, or somebody in between removes them; "
            "going on as before"
        )
    anchor = ca.certificates.anchor
    if describe.is_over(anchor):
        terminal.warn(
            f"the CA's certificate ended at {anchor.not_after:%Y-%m-%d %H:%M} UTC: programs refuse "
            "what it issues",
            "look at the clock (date -u); if it is right, ask the CA's operator which CA follows",
        )


def report_issued(
    found: Issued,
    folder: Folder,
    *,
    as_json: bool,
    more: Mapping[str, object] | None = None,
    ahead: bool = False,
) -> None:
    """Report a new certificate and its place.

    Args:
        found: what was got.
        folder: where it is.
        as_json: for programs.
        more: what else to say in the JSON.
        ahead: whether it is one of the next CA, which need not be valid yet.
    """
    certificate, files = found.certificate, folder.files()
    if as_json:
        terminal.json_data(
            {
                **(more or {}),
                **describe.summary(certificate),
                "transaction_id": str(found.transaction_id),
                "changes": [
                    {"what": one.what, "asked": list(one.asked), "got": list(one.got)}
                    for one in found.changes
                ],
                "notices": [one._asdict() for one in found.notices],
                "files": {name: str(path) for name, path in files.items()},
            }
        )
    else:
        got = f"got the certificate of {describe.subject(certificate)}"
        rows = [
            ("serial", show_serial(certificate.serial)),
            *describe.marks(certificate),
            ("files", ", ".join(str(path) for path in files.values())),
        ]
        terminal.say(got)
        terminal.fields(rows)
    for change in found.changes:
        terminal.warn(str(change))
    if found.notices:
        # Nobody signed it: it is the server's remark, if it is even that.
        terminal.say(f"the server remarks that it has cut: {', '.join(map(str, found.notices))}")
    if not ahead:
        warn_if_early(certificate)
    _warn_of(certificate)


def warn_if_early(certificate: Certificate) -> None:
    """Warn of a certificate that is not valid yet by this machine's clock."""
    if describe.is_early(certificate):
        terminal.warn(f"the certificate is {describe.slow_clock(certificate)}", describe.SET_CLOCK)


def _warn_of(certificate: Certificate) -> None:
    """Warn of oddities of a new certificate, and of the needs of its renewal."""
    odd = oddities(certificate)
    if odd:
        terminal.warn(
            f"other programs may refuse this certificate: {'; '.join(odd)}",
            "tell the CA's operator; it is installed, since its key and its signature are right",
        )
    kind = keys.kind(certificate.public_key)
    if kind == "ed25519":
        terminal.say(
            "its renewal will need a challenge: nothing can be encrypted to a key of kind ed25519"
        )
    elif kind.startswith("ec:") and not certificate.asserts_key_agreement:
        terminal.say(
            "its renewal will need a challenge: the CA left keyAgreement out of keyUsage, and few "
            "CAs encrypt to such a key"
        )
