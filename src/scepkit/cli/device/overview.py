"""`scep status --all`: all directories in a table, for programs, for a monitor, and as metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from scepkit.cli import describe, failure, table, terminal
from scepkit.cli.device import agent_events
from scepkit.client import clock
from scepkit.client.agent import places, result
from scepkit.client.agent.result import Verdict, Visit
from scepkit.client.agent.state import Standing
from scepkit.keys.files import write_file

_COLUMNS = ("directory", "state", "expires", "hook", "next", "at", "subject")
_BELOW = ("subject", "hook", "next", "at")
_MODE = 0o644


def show(
    root: Path | None, prometheus: Path | None, *, check: timedelta | None, as_json: bool
) -> int:
    """Show the state of all directories below a root; return the exit status.

    Args:
        root: where; None for the usual one.
        prometheus: file for the metrics.
        check: the time before an end in which a monitor is to warn; None to show all.
        as_json: for programs.

    Raises:
        SettingsError: the root cannot be read, or the file not be written.
    """
    listener = agent_events.Listener()
    visits = [result.seen(one) for one in places.below(root or places.usual_root(), listener)]
    if prometheus is not None:
        write_file(prometheus, _metrics(visits).encode("utf-8", "replace"), mode=_MODE)
    if check is not None:
        return _check(visits, check, listener.unread)
    if as_json:
        terminal.json_data({"directories": [agent_events.details(one) for one in visits]})
    elif visits:
        table.write(map(_row, visits), _COLUMNS, _BELOW)
    if not as_json:
        agent_events.summarise(visits)
    return agent_events.exit_status(visits, listener.unread)


def _row(visit: Visit) -> dict[str, str]:
    state, found = visit.state, visit.certificate
    return {
        "directory": str(visit.directory),
        "state": agent_events.word(visit),
        "expires": table.minute(found.not_after if found else None),
        "hook": agent_events.hook_word(state.hook),
        "next": state.next,
        "at": table.minute(state.next_at),
        "subject": describe.subject(found) if found else "",
    }


def _check(visits: Sequence[Visit], window: timedelta, unread: Sequence[Path]) -> int:
    """Print one line for a monitor; return the exit status."""
    soon = clock.now() + window
    bad = [
        one
        for one in visits
        if one.verdict is Verdict.FAILED
        or (one.certificate is not None and one.certificate.not_after < soon)
    ]
    waiting = [one for one in visits if one.verdict is Verdict.WAITS]
    failed = [*map(_problem, bad), *(f"cannot look into {one}" for one in unread)]
    if failed or waiting:
        said = "; ".join(failed or map(_problem, waiting))
        terminal.data(f"{'FAILED' if failed else 'WAITING'}: {terminal.escape(said)}")
        return failure.FAILED if failed else failure.PENDING
    ends = [one.certificate.not_after for one in visits if one.certificate is not None]
    if not ends:
        # A disk that is not mounted, perhaps: to a monitor that is no good news.
        terminal.data("FAILED: there are no certificates")
        return failure.FAILED
    count = f"{len(ends)} certificate{'' if len(ends) == 1 else 's'}"
    terminal.data(f"OK: {count}, the first ends {min(ends):%Y-%m-%d %H:%M} UTC")
    return 0


def _problem(visit: Visit) -> str:
    found, state = visit.certificate, visit.state
    word = agent_events.word(visit)
    why = state.hook.said if state.standing is Standing.VALID else state.said
    end = f", ends {found.not_after:%Y-%m-%d %H:%M} UTC" if found else ""
    return f"{visit.directory} {word}{end}{f' ({why})' if why else ''}"


def _metrics(visits: Sequence[Visit]) -> str:
    """Return the metrics, in the text format of Prometheus."""
    families = (
        ("certificate_not_after_timestamp_seconds", "End of the certificate."),
        ("certificate_renew_timestamp_seconds", "Time at which the certificate is renewed."),
        ("agent_looked_timestamp_seconds", "Last look of the agent."),
        ("agent_renewal_failures", "Failed renewals, one after the other."),
        ("agent_hook_failures", "Failed runs of the hooks, one after the other."),
        ("agent_state", "State of the directory; the label has its word."),
    )
    rows = [(visit, dict(_values(visit))) for visit in visits]
    lines = []
    for name, text in families:
        lines += [f"# HELP scep_{name} {text}", f"# TYPE scep_{name} gauge"]
        for visit, values in rows:
            if name in values:
                labels = {"directory": str(visit.directory)}
                if name == "agent_state":
                    labels["state"] = agent_events.word(visit)
                lines.append(f"scep_{name}{{{_labels(labels)}}} {values[name]:.15g}")
    return "\n".join(lines) + "\n"


def _values(visit: Visit) -> Iterator[tuple[str, float]]:
    state, found = visit.state, visit.certificate
    times: dict[str, datetime | None] = {
        "certificate_not_after_timestamp_seconds": found.not_after if found else None,
        "certificate_renew_timestamp_seconds": state.renew_at,
        "agent_looked_timestamp_seconds": state.looked_at,
    }
    yield from ((name, when.timestamp()) for name, when in times.items() if when is not None)
    yield "agent_renewal_failures", state.failures
    yield "agent_hook_failures", state.hook.failures
    yield "agent_state", 1


def _labels(labels: dict[str, str]) -> str:
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in labels.items()
    }
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())
