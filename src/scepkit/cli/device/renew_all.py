"""`scep renew --all`: renew all directories below a root that are due."""

from __future__ import annotations

from pathlib import Path

from scepkit.cli import failure, terminal
from scepkit.cli.device import agent_events, hints
from scepkit.cli.device.events import EventPrinter, because
from scepkit.client.agent import places
from scepkit.client.client import Connection
from scepkit.client.folder import Folder
from scepkit.client.renewer import NotDue, RenewalOptions, Renewed, Renewer
from scepkit.errors import DirectoryBusy, ScepError, StillPending
from scepkit.protocol.certificate import show_serial


def renew_all(root: Path | None, wanted: RenewalOptions, way: Connection, *, as_json: bool) -> int:
    """Renew all that is due below a root, one after the other; return the exit status.

    What fails for one keeps none of the others. Hooks are the agent's: its next look runs them.

    Args:
        root: where; None for the usual one.
        wanted: when, and what to ask for.
        way: how servers are reached, and passphrases read; it does not wait for an approval.
        as_json: for programs.

    Raises:
        SettingsError: the root cannot be read.
    """
    statuses, rows = set(), []
    listener = agent_events.Listener()
    for directory in places.below(root or places.usual_root(), listener):
        status, row = _renew(Folder(directory, way.secrets), wanted, way)
        statuses.add(status)
        rows.append({"directory": str(directory), **row})
        if not as_json:
            terminal.say(f"{directory}: {row['said']}")
    if as_json:
        terminal.json_data({"directories": rows})
    else:
        terminal.say(f"{len(rows)} director{'y' if len(rows) == 1 else 'ies'}")
    if listener.unread or failure.FAILED in statuses:
        return failure.FAILED
    return failure.PENDING if failure.PENDING in statuses else 0


def _renew(
    folder: Folder, wanted: RenewalOptions, way: Connection
) -> tuple[int, dict[str, object]]:
    """Renew one; return its exit status, and what came of it for programs."""
    printer = EventPrinter()
    try:
        with hints.naming_commands(folder, printer):
            outcome = Renewer(folder, way, tell=printer).renew(wanted)
    except DirectoryBusy as error:
        return 0, {"renewed": False, "said": f"busy: {error.message}"}
    except StillPending as error:
        return failure.PENDING, {"renewed": False, "said": error.message}
    except ScepError as error:
        found = failure.of_scep(error)
        return failure.FAILED, {
            "renewed": False,
            "said": f"{found.message} ({found.hint})" if found.hint else found.message,
            "code": found.code,
        }
    if isinstance(outcome, Renewed):
        serial = show_serial(outcome.issued.certificate.serial)
        return 0, {"renewed": True, "serial": serial, "said": f"renewed: {serial}"}
    if isinstance(outcome, NotDue):
        said = f"not yet: due from {outcome.renew_from:%Y-%m-%d %H:%M} UTC on"
        if outcome.advice is not None:
            said += f", as the server advises{because(outcome.advice)}"
        return 0, {"renewed": False, "said": said}
    return 0, {"renewed": False, "said": "has a certificate of the next CA already"}
