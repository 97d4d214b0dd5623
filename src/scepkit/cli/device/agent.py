"""`scep agent`: renew the certificates of many directories, and put them to use, for years."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scepkit.cli import options, terminal
from scepkit.cli.device import agent_install
from scepkit.cli.device import agent_options as asks
from scepkit.cli.help import Command, Group, examples
from scepkit.cli.option_groups import ConnectionOptions
from scepkit.errors import UsageError
from scepkit.protocol.duration import read_duration

if TYPE_CHECKING:
    from scepkit.cli.device.agent_events import Listener
    from scepkit.client.agent.agent import Agent
    from scepkit.client.agent.result import Visit
    from scepkit.client.agent.settings import AgentSettings

_EPILOG = """
\b
Examples:
  scep agent run --once /etc/scep
  scep agent run --once --list /etc/scep.list --at 2/3 \\
      --deploy-hook "systemctl reload nginx"

\b
Exit status, with --once:
  0  all is well                       2  wrong usage, or a root cannot be read
  1  something failed, or is expired   3  something waits for approval
"""


class _Agent(Group):
    """The group `scep agent`, which does `scep agent run` where no command of it is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        known = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if args and args[0] in known else ["run", *args])


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        cls=_Agent,
        help="Renew the certificates of many directories, and put them to use.\n\n"
        "Without a command: scep agent run.",
        epilog=examples(
            "scep agent --once /etc/scep",
            'scep agent --once --deploy-hook "systemctl reload nginx"',
            "scep agent install --print",
        ),
    )
    group.command("run", cls=Command, short_help="Look after directories.", epilog=_EPILOG)(run)
    group.command(
        "install",
        cls=Command,
        short_help="Write a systemd timer, or a line for cron.",
        epilog=agent_install.EPILOG,
    )(agent_install.install)
    app.add_typer(group, name="agent", short_help="Renew the certificates of many directories.")


def run(
    roots: asks.Roots = None,
    *,
    list_file: asks.ListFile = None,
    once: asks.Once = False,
    at: asks.At = "",
    min_interval: asks.MinInterval = "",
    retry_now: asks.RetryNow = False,
    deploy_hook: asks.DeployHook = None,
    hook_timeout: asks.HookTimeout = 60,
    proxy: options.Proxy = None,
    timeout: options.Timeout = 30,
    as_json: options.Json = False,
) -> None:
    """Look after directories: renew each certificate when it is due, then run the hooks.

    All is read from the directories at each look, and the state is kept in agent.json there; so
    the command may be stopped at any time. agent.toml in a directory has settings of its own.
    What fails is tried again after a minute, then after twice as long, up to 6 hours. A request
    that waits for approval is asked for again by the next look.

    Without --once the process looks until SIGTERM or SIGINT; SIGHUP makes it look at once.
    """
    from scepkit.cli.device import agent_events, agent_signals, connection
    from scepkit.client.agent.agent import Agent

    settings = _settings(at, min_interval, deploy_hook or (), hook_timeout)
    if as_json and not once:
        raise UsageError("--json goes with --once", hint="scep status --all --json, at any time")
    way = connection.of_options(ConnectionOptions(proxy=proxy, timeout=timeout))
    listener = agent_events.Listener()
    agent = Agent(settings, way, tell=listener)
    if once:
        looked_after = directories(agent, roots or (), list_file)
        raise typer.Exit(_once(agent, looked_after, listener, eager=retry_now, as_json=as_json))
    with agent_signals.Rest() as rest:
        agent.run(lambda: directories(agent, roots or (), list_file), rest)


def directories(agent: Agent, roots: Iterable[Path], list_file: Path | None) -> Iterator[Path]:
    """Yield the directories that are named, or those below the usual root.

    Raises:
        SettingsError: a root or the list cannot be read.
    """
    from scepkit.client.agent import places

    named = list(roots)
    if not named and list_file is None:
        named = [places.usual_root()]
    listed = places.of_list(list_file) if list_file is not None else ()
    return iter(dict.fromkeys(chain(*map(agent.below, named), listed)))


def _settings(
    at: str, min_interval: str, deploy_hook: Iterable[str], hook_timeout: float
) -> AgentSettings:
    """Read the text of the options.

    Raises:
        UsageError: one cannot be meant.
    """
    from scepkit.client.agent import schedule, settings

    options.check_seconds("--hook-timeout", hook_timeout)
    return settings.AgentSettings(
        at=schedule.read_point(at) if at else None,
        min_interval=read_duration(min_interval) if min_interval else None,
        hooks=settings.read_commands(deploy_hook),
        hook_timeout=timedelta(seconds=hook_timeout),
    )


def _once(
    agent: Agent,
    looked_after: Iterator[Path],
    listener: Listener,
    *,
    eager: bool,
    as_json: bool,
) -> int:
    """Make one pass; return the exit status."""
    from scepkit.cli.device import agent_events

    visits: list[Visit] = []
    with terminal.tally("directories") as count:
        for visit in agent.once(looked_after, eager=eager):
            visits.append(visit)
            count(1)
    if as_json:
        terminal.json_data({"directories": [agent_events.details(one) for one in visits]})
    else:
        agent_events.summarise(visits)
    return agent_events.exit_status(visits, listener.unread)
