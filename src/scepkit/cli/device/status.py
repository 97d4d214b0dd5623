"""`scep status`: the state of a directory, and its needs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scepkit.cli import options, terminal
from scepkit.cli.help import Command
from scepkit.cli.options import flag, option
from scepkit.client import clock
from scepkit.errors import SettingsError, UsageError
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from scepkit.client.folder import Folder
    from scepkit.client.folder.record import Record, RevocationNote
    from scepkit.client.renewal_info import RenewalAdvice
    from scepkit.protocol.certificate import Certificate

_EPILOG = """
\b
Examples:
  scep status /etc/www
  scep status --all /etc/scep
  scep status --all /etc/scep --check --warn 14d

\b
Exit status:
  0  there is a valid certificate     2  wrong usage, or a file cannot be used
  1  there is none, or it is revoked  3  there is none yet: a request waits
With --all:
  0  all is well                      2  wrong usage, or a root cannot be read
  1  one is expired, failed, or not   3  a request waits for approval
     deployed
"""

_MANY = "Many directories"

_Directory = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help="Directory made by scep enroll --out; with --all one with many of these up to eight "
        "levels down, SCEP_AGENT_ROOT or /etc/scep unless given.",
        show_default=False,
    ),
]

_All = Annotated[bool, flag(_MANY, "A table of all directories, as scep agent left them.", "--all")]

_Check = Annotated[
    bool,
    flag(_MANY, "One line for a monitor, in place of the table; see the exit status.", "--check"),
]

_Warn = Annotated[
    str,
    option(
        _MANY, "TIME", "With --check: fail if a certificate expires within it.", show_default=True
    ),
]

_Prometheus = Annotated[
    Path | None,
    option(
        _MANY,
        "FILE",
        "Write metrics to this file, for the textfile collector of node_exporter.",
    ),
]

_VALID, _DUE, _EXPIRED = "valid", "due for renewal", "expired"
_EARLY, _WAITING, _EMPTY = "early", "pending", "empty"
_REVOKED, _HELD = "revoked", "on hold"
_EXIT = {_VALID: 0, _DUE: 0, _EXPIRED: 1, _EARLY: 1, _WAITING: 3, _EMPTY: 1}
_EXIT |= {_REVOKED: 1, _HELD: 1}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        "status",
        cls=Command,
        short_help="Show the state of a directory and its certificate.",
        epilog=_EPILOG,
    )(status)


def status(
    directory: _Directory = None,
    *,
    every: _All = False,
    check: _Check = False,
    warn: _Warn = "7d",
    prometheus: _Prometheus = None,
    as_json: options.Json = False,
) -> None:
    """Show the state of a directory: its certificate, its validity, and a waiting request.

    The command contacts no server and changes nothing.
    """
    from scepkit.cli.device.events import existing

    if every:
        from scepkit.cli.device import overview

        window = read_duration(warn) if check else None
        raise typer.Exit(overview.show(directory, prometheus, check=window, as_json=as_json))
    if check or prometheus is not None:
        raise UsageError("--check and --prometheus go with --all")
    if directory is None:
        raise UsageError("no directory is named", hint="scep status DIR, or scep status --all")

    folder, now = existing(directory), clock.now()
    state, rows = _look(folder, now)
    if as_json:
        terminal.json_data(
            {"directory": str(directory), "state": state}
            | {name.replace(" ", "_"): _json(value) for name, value in rows}
        )
    else:
        terminal.data_fields([("state", state), *((name, _text(v)) for name, v in rows)])
    raise typer.Exit(_EXIT[state])


def _look(folder: Folder, now: datetime) -> tuple[str, list[tuple[str, object]]]:
    """Return the state of a directory, and its details by name."""
    from scepkit.cli import describe
    from scepkit.client import rollover
    from scepkit.client.folder import UNVERIFIED
    from scepkit.client.renewal_time import RenewalTime

    certificate, record = folder.certificate(), folder.record()
    waiting = folder.unfinished.exists()
    rows: list[tuple[str, object]] = []
    state = _WAITING if waiting else _EMPTY
    if certificate is not None:
        advice = _advice(folder.path, record)
        start = RenewalTime.of(certificate, folder.got_at(now), advice).at
        state = _state(certificate, start, now)
        rows += _certificate(certificate)
        revoked = folder.revocation()
        if revoked is None:
            rows.append(("renew from", start))
            rows += _advised(advice)
        else:
            state = _REVOKED if revoked.is_final else _HELD
            rows += _revocation(revoked)
        if state == _EARLY:
            rows.append(("clock", describe.slow_clock(certificate)))
        rows += _problem(folder)
    if record is not None:
        rows += _recorded(record)
    if waiting:
        rows += _request(folder.unfinished_record())
    unverified = folder.path / UNVERIFIED
    if unverified.exists():
        rows.append(("unverified", str(unverified)))
    following = rollover.successor(folder.next_ca(), now)
    if following is not None:
        rows += [
            ("next ca", str(following.issuer.subject_name)),
            ("next ca from", following.issuer.not_before),
        ]
    coming = folder.ahead.certificate()
    if coming is not None:
        rows.append(("next certificate from", coming.not_before))
    return state, rows + _agent(folder.path)


def _problem(folder: Folder) -> list[tuple[str, object]]:
    """Return the reason why the certificate could not be renewed, if one is seen."""
    try:
        folder.check_renewable()
    except SettingsError as error:
        return [("problem", error.message)]
    return []


def _advice(directory: Path, record: Record | None) -> RenewalAdvice | None:
    """Return the server's advice on the renewal, as an agent or else `scep renew` got it last."""
    from scepkit.client.agent import result
    from scepkit.client.renewal_info import RenewalAdvice

    noted = result.seen(directory).state
    if noted.advised_at is not None and noted.advise_again_at is not None:
        return RenewalAdvice(noted.advised_at, noted.advise_again_at, noted.explanation)
    return record.advice if record is not None else None


def _advised(advice: RenewalAdvice | None) -> list[tuple[str, object]]:
    if advice is None:
        return []
    rows: list[tuple[str, object]] = [("advised at", advice.at)]
    return rows + ([("explanation", advice.explanation)] if advice.explanation else [])


def _agent(directory: Path) -> list[tuple[str, object]]:
    """Return what an agent has noted of a directory, if one looks after it."""
    from scepkit.client.agent import result, state_file

    if not (directory / state_file.NAME).exists():
        return []
    from scepkit.cli.device import agent_events

    noted = result.seen(directory)
    state = noted.state
    rows: list[tuple[str, object]] = [("agent", agent_events.word(noted))]
    if state.said:
        rows.append(("reason", state.said))
    if state.hook.wanted:
        said = f": {state.hook.said}" if state.hook.said else ""
        rows.append(("hook", agent_events.hook_word(state.hook) + said))
    if state.next_at is not None:
        rows += [("next", state.next), ("next at", state.next_at)]
    if state.explanation:
        rows.append(("server says why", state.explanation))
    return rows


def _recorded(record: Record) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("server", record.url)]
    if record.passphrase:
        rows.append(("passphrase", record.passphrase))
    return rows + [(name, str(path)) for name, path in record.outputs.paths.items()]


def _revocation(note: RevocationNote) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("revoked at", datetime.fromisoformat(note.at))]
    if note.reason:
        rows.append(("reason", note.reason))
    return rows


def _request(record: Record | None) -> list[tuple[str, object]]:
    if record is None:
        return [("request", "under way")]
    rows: list[tuple[str, object]] = [
        ("request", record.transaction_id),
        ("requested from", record.url),
    ]
    if record.requested_at:
        rows.append(("requested at", datetime.fromisoformat(record.requested_at)))
    return rows


def _state(certificate: Certificate, start: datetime, now: datetime) -> str:
    if now > certificate.not_after:
        return _EXPIRED
    if now < certificate.not_before:
        return _EARLY
    return _DUE if now >= start else _VALID


def _certificate(certificate: Certificate) -> list[tuple[str, object]]:
    from scepkit.cli import describe
    from scepkit.client import keys
    from scepkit.protocol.certificate import show_serial

    return [
        ("subject", describe.subject(certificate)),
        ("issuer", str(certificate.issuer_name)),
        ("serial", show_serial(certificate.serial)),
        ("key", keys.kind(certificate.public_key)),
        ("sha256", describe.fingerprint(certificate)),
        ("not before", certificate.not_before),
        ("not after", certificate.not_after),
    ]


def _json(value: object) -> object:
    from scepkit.cli import describe

    return describe.timestamp(value) if isinstance(value, datetime) else value


def _text(value: object) -> str:
    if not isinstance(value, datetime):
        return str(value)

    left = value - clock.now()
    when = (
        f"in {options.show_duration(left)}"
        if left.total_seconds() > 0
        else f"{options.show_duration(left)} ago"
    )
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({when})"
