"""`scep agent install`: write the files that start the agent again and again."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from scepkit.cli import terminal
from scepkit.cli.device import agent_options as asks
from scepkit.cli.options import flag, option
from scepkit.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from scepkit.cli.device.agent_units import Units

EPILOG = """
\b
Examples:
  scep agent install --print
  scep agent install /etc/scep --deploy-hook "systemctl reload nginx"
  scep agent install --cron

\b
Exit status:
  0  done
  2  wrong usage, or a file cannot be written
"""

_FILES = "Files"
_MODE = 0o644

_Print = Annotated[bool, flag(_FILES, "Print the files, and write none.", "--print")]
_Cron = Annotated[
    bool, flag(_FILES, "A line for cron, in place of a service and a timer.", "--cron")
]
_User = Annotated[
    bool,
    flag(_FILES, "For this user's own systemd or crontab, and no other user.", "--user"),
]
_Out = Annotated[
    Path | None,
    option(
        _FILES,
        "DIR",
        "Directory to write to, such as that of a package. Default: where systemd or cron looks.",
    ),
]
_HookWrites = Annotated[
    list[Path] | None,
    option(
        asks.HOOKS,
        "PATH",
        "Directory that a hook writes to: to the service most others are read-only. Repeatable.",
    ),
]
_Force = Annotated[bool, flag(_FILES, "Replace files that say something else.", "--force")]


def install(
    roots: asks.Roots = None,
    *,
    list_file: asks.ListFile = None,
    at: asks.At = "",
    deploy_hook: asks.DeployHook = None,
    hook_writes: _HookWrites = None,
    cron: _Cron = False,
    user: _User = False,
    out: _Out = None,
    print_only: _Print = False,
    force: _Force = False,
) -> None:
    """Write a systemd service and a timer that look after the directories every hour.

    The service may write to the directories, and to those of files that scep enroll was told to
    write elsewhere, such as by --bundle. A hook that writes needs --hook-writes; one that asks
    systemd, such as systemctl reload nginx, needs nothing.
    """
    from scepkit.client.agent import schedule, settings

    if at:
        schedule.read_point(at)
    settings.read_commands(deploy_hook or ())
    units = _units(roots or (), list_file, at, deploy_hook or (), hook_writes or (), user=user)
    files = _files(units, out, cron=cron, user=user)
    if print_only:
        terminal.data("\n".join(f"# {path}\n{text}" for path, text in files.items()))
        return
    if cron and user and out is None:
        raise UsageError(
            "only crontab can write a user's crontab",
            hint="scep agent install --cron --user --print, then crontab -e",
        )
    _write(files, force=force)
    for path in files:
        terminal.say(f"wrote {path}")
    _say_next(out, cron=cron, user=user)


def _units(
    roots: Iterable[Path],
    list_file: Path | None,
    at: str,
    hooks: Iterable[str],
    hook_writes: Iterable[Path],
    *,
    user: bool,
) -> Units:
    """Return what the files are made of; every path is a whole one."""
    from scepkit.cli.device.agent_units import Units
    from scepkit.client.agent import places

    named = [root.absolute() for root in roots]
    if not named and list_file is None:
        named = [places.usual_root().absolute()]
    words = [*_program(), "agent", "run", "--once", *map(str, named)]
    if list_file is not None:
        words += ["--list", str(list_file.absolute())]
    if at:
        words += ["--at", at]
    for hook in hooks:
        words += ["--deploy-hook", hook]
    for word in words:
        if not word.isprintable():
            raise UsageError(
                f"{word!r} holds a control character", hint="a line for cron or systemd has none"
            )
    listed = places.of_list(list_file.absolute()) if list_file is not None else ()
    looked_after = [*named, *listed]
    hooks_write = (path.absolute() for path in hook_writes)
    writable = dict.fromkeys([*looked_after, *_elsewhere(looked_after), *hooks_write])
    return Units(words, tuple(writable), is_user=user)


def _elsewhere(looked_after: Iterable[Path]) -> Iterator[Path]:
    """Yield the directories of files that renewals write elsewhere, such as by --bundle."""
    from scepkit.client.agent import places
    from scepkit.client.agent.agent import ignore
    from scepkit.client.folder import Folder
    from scepkit.errors import ScepError

    roots = [path for path in looked_after if path.is_dir()]
    for directory in (one for root in roots for one in places.below(root, ignore)):
        # One that cannot be used will not be renewed either.
        with contextlib.suppress(ScepError):
            for file in Folder(directory).files().values():
                if not any(file.is_relative_to(root) for root in roots):
                    yield file.parent


def _program() -> Iterator[str]:
    """Yield the words that start this program from anywhere."""
    path = shutil.which(sys.argv[0]) if sys.argv and sys.argv[0] else None
    if path is not None and Path(path).name == "scep":
        yield str(Path(path).absolute())
    else:
        yield from (sys.executable, "-m", "scepkit")


def _files(units: Units, out: Path | None, *, cron: bool, user: bool) -> dict[Path, str]:
    """Return the text of each file by its path."""
    from scepkit.cli.device import agent_units

    if cron:
        return {(out or Path("/etc/cron.d")) / agent_units.CRON: units.cron()}
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    usual = home / "systemd" / "user" if user else Path("/etc/systemd/system")
    where = out or usual
    return {
        where / agent_units.SERVICE: units.service(),
        where / agent_units.TIMER: units.timer(),
    }


def _write(files: dict[Path, str], *, force: bool) -> None:
    """Write files, none of which may say something else already.

    Raises:
        SettingsError: one does, or the file system refuses.
    """
    from scepkit.keys.files import make_directory, read_file, refusals, write_file

    for path, text in files.items():
        with refusals(f"cannot read {path}"):
            differs = path.exists() and read_file(path) != text.encode("utf-8")
        if differs and not force:
            raise SettingsError(
                f"{path} is there already, and says something else",
                hint="look at it; --force replaces it, --print shows what would be written",
            )
    for path, text in files.items():
        with refusals(f"cannot make the directory {path.parent}"):
            make_directory(path.parent)
        write_file(path, text.encode("utf-8"), mode=_MODE)


def _say_next(out: Path | None, *, cron: bool, user: bool) -> None:
    """Say how what was written is started."""
    if cron or out is not None:
        return
    manager = "systemctl --user" if user else "systemctl"
    terminal.say("Start it:")
    terminal.say(f"  {manager} daemon-reload")
    terminal.say(f"  {manager} enable --now scep-agent.timer")
    if user:
        terminal.say("  loginctl enable-linger    # else it runs only while you are logged in")
