"""The agent: looks after directories, again and again.

agent = Agent(AgentSettings(hooks=(("systemctl", "reload", "nginx"),)))
for visit in agent.once(agent.below(Path("/etc/scep"))):
    print(visit.directory, visit.state.standing)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from pathlib import Path

from scepkit.client import clock
from scepkit.client.agent import places
from scepkit.client.agent.events import AgentEvent
from scepkit.client.agent.result import Visit
from scepkit.client.agent.settings import AgentSettings
from scepkit.client.agent.state import State
from scepkit.client.agent.visit import Surroundings, visit
from scepkit.client.client import Connection
from scepkit.protocol.scep.transaction import Limits

# One directory must not keep the others waiting: the next pass asks again.
_LIMITS = Limits(retries=1, max_retry_after=2, max_wait=0)

_SHORTEST_REST, _LONGEST_REST = timedelta(seconds=30), timedelta(hours=1)


class Signal(Enum):
    """The word of whoever runs an agent, between two steps."""

    GO_ON = "go on"
    LOOK_NOW = "look now"
    END = "end"


def ignore(_event: AgentEvent) -> None:
    """Do nothing with an event."""


class Agent:
    """Renews the certificates of directories, and puts them to use.

    Nothing that matters is kept in memory: a new agent goes on where this one ended.

    Args:
        settings: what counts where a directory has no agent.toml.
        connection: how servers are reached; a request that waits for approval is not waited for.
        tell: takes the events.
    """

    def __init__(
        self,
        settings: AgentSettings | None = None,
        connection: Connection | None = None,
        *,
        tell: Callable[[AgentEvent], None] = ignore,
    ) -> None:
        self._settings = settings or AgentSettings()
        usual = connection or Connection()
        self._connection = usual if usual.limits else replace(usual, limits=_LIMITS)
        self._tell = tell
        self._unsaved: dict[Path, State] = {}

    def below(self, root: Path) -> Iterator[Path]:
        """Yield the directories with a certificate at a root and below it: see `places.below`."""
        return places.below(root, self._tell)

    def once(self, directories: Iterable[Path], *, eager: bool = False) -> Iterator[Visit]:
        """Visit directories, one after the other, as the result is asked for.

        Args:
            directories: which.
            eager: try again at once what failed.
        """
        around = Surroundings(
            self._settings, self._connection, self._tell, {}, self._unsaved, eager=eager
        )
        for directory in directories:
            yield visit(directory, around)

    def run(
        self, directories: Callable[[], Iterable[Path]], rest: Callable[[float], Signal]
    ) -> None:
        """Make one pass after the other until told to end.

        Args:
            directories: returns which, at each pass.
            rest: is called with the seconds until the next pass, and between two directories with
                0; says how to go on.
        """
        said = Signal.GO_ON
        while said is not Signal.END:
            next_at = clock.now() + _LONGEST_REST
            for one in self.once(directories(), eager=said is Signal.LOOK_NOW):
                next_at = min(next_at, one.state.next_at or next_at)
                if rest(0) is Signal.END:
                    return
            pause = max(next_at - clock.now(), _SHORTEST_REST)
            said = rest(min(pause, _LONGEST_REST).total_seconds())
