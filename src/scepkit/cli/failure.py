"""The failure of a command: a line, a hint, a code for programs, an exit status."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from scepkit.cli.help import plain
from scepkit.errors import (
    CertificateRevoked,
    Hint,
    LegacyRefused,
    Local,
    NoSuccessor,
    ReloadRefused,
    RequestRefused,
    ScepError,
    StillPending,
    TooManyPending,
    UntrustedCA,
)

FAILED, WRONG_USAGE, PENDING, INTERRUPTED = 1, 2, 3, 130

CODES = {
    "UsageError": "usage",
    "TooManyPending": "too_many_pending",
    "SettingsError": "settings",
    "StoreError": "database",
    "NewerDatabase": "newer_database",
    "EmptyDatabase": "empty_database",
    "UntrustedCA": "untrusted_ca",
    "LegacyRefused": "legacy_refused",
    "CertificateRevoked": "revoked",
    "ReloadRefused": "reload_refused",
    "ThirdPartyFailed": "third_party",
    "Malformed": "malformed",
    "BadReply": "bad_reply",
    "UnverifiedCertificate": "unverified_certificate",
    "TransportError": "transport",
    "NoSuccessor": "no_next_ca",
    "RequestRefused": "refused",
    "RevocationRefused": "revocation_refused",
    "StillPending": "pending",
    "ScepError": "failed",
}
"""The word for each class of error. Scripts rely on the words, so a new class gets a new one."""


_COMMANDS: dict[str, str] = {
    Hint.MAKE_CA: "is it the right directory? `scep serve --dir DIR` makes a new CA",
    Hint.PREPARE_CA: "make one: `scep admin rollover prepare`",
    Hint.NOTHING_TO_CANCEL: "nothing was changed; scep admin rollover status shows where it stands",
    Hint.END_ROLLOVER: "`scep admin rollover activate` or `scep admin rollover cancel` first",
    Hint.WAITING_REQUESTS: "scep admin list --pending shows the waiting requests",
    Hint.CHALLENGES: "scep admin challenge list shows them; nothing was changed",
    Hint.SERIAL_NUMBER: "it is hex, as scep admin list shows it",
    Hint.EARLY_RENEWALS: "scep admin renew-early list shows them; nothing was changed",
    Hint.CERTIFICATES: "scep admin list shows them; nothing was changed",
    Hint.TOKENS: "give its number or its prefix, as scep admin token list shows them; "
    "nothing was changed",
    Hint.DELIVERIES: "give more of its characters; scep admin outbox list shows the ids",
    Hint.CHOSEN_DELIVERIES: "by ID…, or --all for all that were given up",
    Hint.NDES_ACCOUNT: "scep admin ndes-account list shows them",
    Hint.KNOWN_NDES_ACCOUNT: "give it another password with --replace",
    Hint.ISSUER: "write SERIAL@CA, with the first digits of the SHA-256 of the CA's public key",
    Hint.OWN_CERTIFICATES: "scep admin list shows its certificates",
    Hint.MAKE_RA: "so it needs an RA: `scep admin ca ra` makes one; or restore ra.pem and "
    "ra-key.pem beside it",
    Hint.REQUEST_CA: "`scep admin ca request` makes a PKCS#10; `scep admin ca install` takes the "
    "certificate that comes back",
    Hint.CA_REQUEST_WAITS: "`scep admin ca install` takes its certificate; "
    "`scep admin ca request --drop` gives the request up",
    Hint.KEY_PROTECTION: "name the file with its passphrase: key_passphrase_file in scep.toml; or "
    "set SCEP_KEY_PASSPHRASE; or run the command where it can ask",
    Hint.FINGERPRINT: "give sha256: and 64 hex digits, as scep serve prints them",
    Hint.REPLACED_CA: "the CA may have been replaced; ask its operator for the new one's "
    "fingerprint, and give it with --fingerprint",
    Hint.OPERATOR_KNOWS: "the CA's operator, or its log, can say more; the same command makes a "
    "new request",
    Hint.KEY_OF_REQUEST: "name the file with its key: --key-file FILE",
    Hint.NAME_PURPOSES: "correct it, or say what to ask for from now on: --eku LIST",
    Hint.NEXT_CA_IN_FORCE: "leave --next-ca out to renew with it",
    Hint.OCCUPIED: "choose another directory, renew it (scep renew), or replace it with --force",
    Hint.OCCUPIED_BY_KEY: "choose another directory, or replace it with --force",
    Hint.DAMAGED_RECORD: "remove it, and name the server again: scep renew DIR --url URL",
    Hint.DAMAGED_REQUEST: "remove it, then run scep enroll again",
    Hint.REQUEST_LOST: "run scep enroll again, with the challenge",
    Hint.NO_FLEET: "name the directory that was given with --out",
    Hint.TLS_CA_FILE: "name the PEM file of the CA behind the server's TLS certificate "
    "(--tls-ca FILE)",
    Hint.TLS_FAILED: "does the server speak HTTPS at this port? If not, the URL starts with "
    "http://. It may also want to see a certificate of this machine's (--tls-cert FILE)",
    Hint.UNTRUSTED_TLS: "name the CA that issued it (--tls-ca FILE), or check the host name in "
    "the URL",
    Hint.PROXY: "check --proxy, or http_proxy, https_proxy and no_proxy in the environment",
    Hint.SLOW: "allow it more time (--timeout), if the network is slow",
    Hint.NO_ANSWER: "check the URL and the firewalls on the way, or allow it more time (--timeout)",
    Hint.CMP_UNKNOWN: "name it: --cmp-url, such as http://ca.example/cmp/default",
    Hint.CMP_UNRECORDED: "name the CA's CMP service: --cmp-url, such as "
    "http://ca.example/cmp/default",
    Hint.CMP_NOT_FOUND: "name the right place (--cmp-url); the CA may not offer it at all: "
    "then ask its operator",
    Hint.CMP_URL: "check the URL (--cmp-url)",
}
"""Each hint that the other layers leave to their interface, in words of the command line."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of a command.

    Attributes:
        message: what went wrong, one line.
        hint: what to do next; "" for nothing.
        code: a word for programs, which stays the same in later releases.
        status: the exit status.
        is_error: whether something went wrong; that a request waits is only said.
        fail_info: the failInfo of a CA's FAILURE; "" without one (RFC 8894 section 3.2.1.4).
    """

    message: str
    hint: str
    code: str
    status: int
    is_error: bool = True
    fail_info: str = ""


def of_scep(error: ScepError) -> Failure:
    """Return the failure for an error that was raised on purpose."""
    named = (CODES.get(one.__name__) for one in type(error).__mro__)
    info = error.failure.fail_info if isinstance(error, RequestRefused) else None
    return Failure(
        error.message,
        hint(error),
        next(code for code in named if code),
        exit_status(error),
        # That the CA thinks, or stays, is no error: nothing went wrong.
        is_error=not isinstance(error, StillPending | NoSuccessor),
        fail_info=info.name if info is not None else "",
    )


def hint(error: ScepError) -> str:
    """Return the hint of an error in words of the command line."""
    if isinstance(error, LegacyRefused) and error.names:
        return f"{error.hint}: --legacy {','.join(error.names)}"
    return _COMMANDS.get(error.hint, error.hint)


def of_system(error: OSError) -> Failure:
    """Return the failure for an error of the operating system that no command expected."""
    from scepkit.keys import files

    said = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        if not _has_current_directory():
            return Failure(
                "the current directory does not exist any more",
                "change to a directory that does",
                "system",
                WRONG_USAGE,
            )
        message = f"the operating system refuses: {said}"
    else:
        message = f"cannot use {_path(error.filename)}: {said}"
    return Failure(message, files.error_hint(error), "system", WRONG_USAGE)


def of_usage(error: typer.TyperException) -> Failure:
    """Return the failure for a command line that cannot be meant."""
    context, message = getattr(error, "ctx", None), plain(error.format_message())
    usage = f"{context.command_path} --help shows the usage" if context else ""
    message = message[:1].lower() + message[1:].rstrip(".")
    return Failure(message, usage, "usage", error.exit_code)


def of_unexpected(error: Exception) -> Failure:
    """Return the failure for an error that nobody thought of."""
    return Failure(
        f"this should not happen: {type(error).__name__}: {error}",
        "please report it, with what SCEP_DEBUG=1 adds to the output",
        "internal",
        FAILED,
    )


def exit_status(error: ScepError) -> int:
    """Return the exit status for an error."""
    match error:
        case StillPending():
            return PENDING
        case UntrustedCA() | LegacyRefused() | CertificateRevoked() | ReloadRefused():
            return FAILED
        case TooManyPending():
            return FAILED
        case Local():
            return WRONG_USAGE
    return FAILED


def _has_current_directory() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _path(name: str | bytes | int) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)
