"""The hints that name options of a device's commands, or a whole command for its directory."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scepkit.client import keys
from scepkit.errors import (
    FailInfo,
    Hint,
    Malformed,
    RequestRefused,
    ScepError,
    TransportError,
)
from scepkit.protocol.scep.messages import PKCSReq

if TYPE_CHECKING:
    from scepkit.cli.device.events import EventPrinter
    from scepkit.client.folder import Folder
    from scepkit.client.folder.record import Record
    from scepkit.client.prepared_request import PreparedRequest
    from scepkit.protocol.certificate import Certificate

FIRST = "scep enroll URL --subject DN --out "
"""The command for a directory that knows nothing, without that directory."""

# Kinds of names that --san takes.
_KINDS = ("dns:", "ip:", "email:", "uri:", "upn:", "dir:")


@contextmanager
def naming_commands(
    folder: Folder, printer: EventPrinter | None = None, *, server: str = "scep renew DIR --url URL"
) -> Iterator[None]:
    """Name the command or the options that help in the hint of an error.

    Args:
        folder: the directory that the command is about.
        printer: knows the request that went out.
        server: the command that names the server, where that is not recorded.
    """
    try:
        yield
    except ScepError as error:
        if printer is not None:
            add_options(error, printer.request)
        name_command(error, folder, server)
        raise


def name_command(error: ScepError, folder: Folder, server: str) -> None:
    """Name the command that helps in the hint of an error; arguments as for `naming_commands`.

    Raises:
        SettingsError: a file of the directory cannot be used.
    """
    match error.hint:
        case Hint.NO_DIRECTORY:
            path = "NEW" if folder.path.exists() else shlex.quote(str(folder.path))
            error.hint = f"{error.hint}: {FIRST}{path}"
        case Hint.FIRST_CERTIFICATE | Hint.NEW_CERTIFICATE:
            error.hint = f"{error.hint}: {enroll_command(folder)}"
        case Hint.NAME_SERVER:
            error.hint = f"{error.hint}: {server}"


def add_options(error: ScepError, request: PreparedRequest | None) -> None:
    """Name the options that may help in the hint of a refusal.

    Args:
        error: the refusal.
        request: what was asked for; None if nothing was.
    """
    if request is None or not isinstance(error, RequestRefused | TransportError):
        return
    *some, last = [*_options(error, request)] or [""]
    if last:
        either = "".join(f"{one}, " for one in some) + "or " * bool(some)
        error.hint = f"{error.hint} ({either}{last})"


def _options(error: RequestRefused | TransportError, request: PreparedRequest) -> Iterator[str]:
    """Yield the options that are about what the hint speaks of."""
    csr, hint = request.request.csr, error.hint
    is_mac = (
        isinstance(error, RequestRefused) and error.failure.fail_info is FailInfo.badMessageCheck
    )
    if "challenge" in hint and (is_mac or csr.challenge_password is None):
        yield "--challenge-file FILE"
        if not is_mac and isinstance(request.request, PKCSReq):
            # A renewal does not look at the variable: what is in there is spent.
            yield "SCEP_CHALLENGE"
    if "RSA" in hint and not keys.kind(csr.public_key).startswith("rsa:"):
        yield "--key rsa:2048"
    if "purposes" in hint:
        yield "--eku"


def enroll_command(folder: Folder) -> str:
    """Return the command; what the directory does not know is left to fill in.

    Raises:
        SettingsError: a file of it cannot be used.
    """
    record = folder.record() or folder.unfinished_record()
    url = shlex.quote(record.url) if record else "URL"
    words = ["scep enroll", url, *_subject(folder), *_recorded(record)]
    return " ".join([*words, "--out", shlex.quote(str(folder.path))])


def _subject(folder: Folder) -> Iterator[str]:
    certificate = folder.certificate()
    if certificate is None:
        yield "--subject DN"
        return
    yield f"--subject {shlex.quote(str(certificate.subject_name))}"
    for name in _names(certificate):
        if name.startswith(_KINDS):
            yield f"--san {shlex.quote(name)}"


def _names(certificate: Certificate) -> tuple[str, ...]:
    try:
        return tuple(map(str, certificate.alternative_names))
    except Malformed:
        # Extensions that cannot be read are no reason not to give a hint.
        return ()


def _recorded(record: Record | None) -> Iterator[str]:
    if record is None:
        return
    outputs = record.outputs
    given = {
        "--eku": ",".join(record.purposes),
        "--template": record.template,
        "--key-passphrase": record.passphrase,
        "--fullchain": outputs.fullchain,
        "--bundle": outputs.bundle,
        "--pkcs12": outputs.pkcs12,
        "--pkcs12-password": outputs.pkcs12_password,
        "--owner": outputs.owner,
        "--group": outputs.group,
        "--mode": outputs.mode,
        "--key-mode": outputs.key_mode,
        "--ca-id": record.ca_id,
        "--legacy": ",".join(record.legacy),
        "--tls-ca": record.tls_ca,
        "--tls-cert": record.tls_cert,
        "--tls-key": record.tls_key,
        "--tls-passphrase": record.tls_passphrase,
    }
    yield from (f"{option} {shlex.quote(value)}" for option, value in given.items() if value)
    if outputs.pkcs12_legacy:
        yield "--pkcs12-legacy"
