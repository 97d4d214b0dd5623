"""Reading the settings again while the server runs: all processes take them over, or none does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from scepkit.errors import ScepError
from scepkit.server.background.audit import record
from scepkit.server.directory import challenge_secrets, endpoint_files
from scepkit.server.directory.data_directory import Home, read_again, utc_now
from scepkit.server.settings import FILE, Settings, public_urls
from scepkit.server.settings import errors as settings_errors
from scepkit.server.settings.profiles import log_ins
from scepkit.store import SERVER, AuditAction, AuditEvent

if TYPE_CHECKING:
    from scepkit.server.in_force import InForce

RELOADED, REFUSED = "reloaded", "refused"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of reading the settings again.

    Attributes:
        result: `reloaded` or `refused`.
        pid: of the process that the operator started.
        processes: how many processes serve with the new settings.
        changed: the settings that have another value now, or whose file has other contents.
        kept: the settings that differ in scep.toml, and count from the next start on.
        error: why the old settings stay in force; empty when they do not.
        hint: what to do about it.
        file: the file with the error, if it is known.
        line: its line; 0 where it is not known.
        key: the setting, if it is one.
        warning: what failed although the settings are in force.
    """

    result: str
    pid: int
    processes: int = 0
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""
    file: str = ""
    line: int = 0
    key: str = ""
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


class Processes(Protocol):
    """The processes that serve."""

    def replace(self, home: Home) -> int:
        """Have all of them serve with other settings, or none; return their number.

        Raises:
            ScepError: the settings cannot be used; the old ones are in force.
        """

    def drop(self, fault: ScepError) -> None:
        """Tell all of them why the old settings stay in force."""


class ThisProcess:
    """The process that serves where there is one alone.

    Args:
        in_force: its settings.
    """

    def __init__(self, in_force: InForce) -> None:
        self._in_force = in_force

    def replace(self, home: Home) -> int:
        """Serve with other settings; as `Processes` says."""
        self._in_force.prepare(home)
        self._in_force.switch()
        return 1

    def drop(self, fault: ScepError) -> None:
        """Note why the old settings stay in force."""
        self._in_force.drop(fault)


class Reloader:
    """Reads the settings of a running server again. Threads may share it.

    Args:
        home: the data directory as it is served, with the contents of the files that it names.
        processes: those that serve.
        read_keys: makes the CAs that are new and reads all, as `key_reading.read_keys` does.
    """

    def __init__(self, home: Home, processes: Processes, read_keys: Callable[[Home], str]) -> None:
        self._home = home
        self._processes = processes
        self._read_keys = read_keys
        self._lock = Lock()

    def reload(self, by: str = SERVER, reason: str = "") -> Outcome:
        """Read the settings, and have all processes serve with them; else all keep the old ones.

        Args:
            by: who asked, for the audit record.
            reason: why, where nobody has a name.
        """
        with self._lock:
            try:
                return self._reload(by, reason)
            except ScepError as error:
                return self._refused(error, by)
            except Exception as error:
                log.exception("bug in scepkit; please report it")
                return self._refused(ScepError(f"{type(error).__name__}, a bug in scepkit"), by)

    def _reload(self, by: str, reason: str) -> Outcome:
        home, kept = read_again(self._home)
        warning = self._read_keys(home)
        count = self._processes.replace(home)
        changed = tuple(_changed(self._home, home))
        self._home = home
        log.info(
            "the settings were read again",
            by=by,
            changed=list(changed),
            kept_until_a_restart=list(kept),
        )
        details = {"changed": list(changed), "kept": list(kept)}
        action = AuditAction.SETTINGS_RELOADED
        event = AuditEvent(action, by, utc_now(), reason=reason or None, details=details)
        warning = record(home.settings, event) or warning
        _warn(home)
        return Outcome(
            RELOADED, os.getpid(), processes=count, changed=changed, kept=kept, warning=warning
        )

    def _refused(self, error: ScepError, by: str) -> Outcome:
        path = self._home.settings.directory / FILE
        place = settings_errors.place_of(error.__cause__, path)
        message, hint = error.message, error.hint
        if place.line and f"line {place.line}" not in message:
            message = f"{message} (line {place.line})"
        if hint.startswith(settings_errors.CORRECT):
            hint = "correct it and reload again"
        facts = asdict(place)
        log.error(
            "the settings cannot be read again; the old ones stay in force",
            by=by,
            error=message,
            hint=hint,
            **{name: value for name, value in facts.items() if value},
        )
        # Without its traceback and cause, which hold what was read.
        self._processes.drop(ScepError(message, hint=hint))
        return Outcome(REFUSED, os.getpid(), error=message, hint=hint, **facts)


def _warn(home: Home) -> None:
    """Warn of what the start warns of, too."""
    public_urls.warn(home.settings)
    log_ins.warn(home.settings)
    static = endpoint_files.challenges(home.files)
    challenge_secrets.warn_of_static(home.settings, static)
    challenge_secrets.warn_of_plain(home.settings, static)


def _changed(before: Home, after: Home) -> Iterator[str]:
    """Yield the settings that differ, and those whose file has other contents."""
    old, new = before.settings.endpoint, after.settings.endpoint
    for name in (one for one in Settings.model_fields if one not in ("endpoint", "profile")):
        if getattr(before.settings, name) != getattr(after.settings, name):
            yield name
    if before.settings.notification == after.settings.notification and (
        (before.secrets or {}) != (after.secrets or {})
    ):
        yield "notification (files)"
    was_said, is_said = before.settings.profile, after.settings.profile
    for name in {**was_said, **is_said}:
        if was_said.get(name) != is_said.get(name):
            yield f"profile.{name}"
    for name in {**old, **new}:
        if name not in old or name not in new:
            yield f"endpoint.{name}"
            continue
        was, now = _values(before, name), _values(after, name)
        yield from (f"endpoint.{name}.{key}" for key in now if was[key] != now[key])


def _values(home: Home, name: str) -> Mapping[str, Any]:
    """Return the settings of an endpoint, with the contents of its files in place of their names.

    The same contents in another place are no change that anybody could tell.
    """
    values = home.settings.endpoint[name].model_dump()
    files = (home.files or {})[name]
    return values | {
        "challenge_file": dict(files.challenges),
        "authorization (files)": (dict(files.secrets), files.intune),
        "renewal_anchors": files.anchors,
        "key.blocklist": files.blocked,
    }
