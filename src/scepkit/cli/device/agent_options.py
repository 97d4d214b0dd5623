"""Options of `scep agent`'s commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scepkit.cli.options import flag, option

PLACES, WHEN, HOOKS = "Directories", "Time of renewal", "Deployment"

Roots = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="ROOT",
        help="Directory with directories made by scep enroll --out, up to eight levels down, or "
        "one of these. Default: SCEP_AGENT_ROOT, or /etc/scep.",
        show_default=False,
    ),
]

ListFile = Annotated[
    Path | None,
    option(PLACES, "FILE", "File with directories, one a line; # begins a comment.", "--list"),
]

Once = Annotated[
    bool, flag(WHEN, "Look once, and end: for a timer. Without it, look until stopped.", "--once")
]

At = Annotated[
    str,
    option(
        WHEN,
        "POINT",
        "Point of a certificate's life at which to renew, such as 2/3 or 66%. Default: the last "
        "third, at most 30 days.",
    ),
]

MinInterval = Annotated[
    str,
    option(
        WHEN,
        "TIME",
        "Least time between two certificates of a directory: 1h, 1d, … Default: an hour, or a "
        "tenth of a shorter life.",
    ),
]

RetryNow = Annotated[
    bool, flag(WHEN, "Try again at once what failed, without waiting.", "--retry-now")
]

DeployHook = Annotated[
    list[str] | None,
    option(
        HOOKS,
        "COMMAND",
        "Command that puts a new certificate to use. No shell runs it; SCEP_DIR, SCEP_CERT, "
        "SCEP_KEY, … name the files. Repeatable: one after the other.",
    ),
]

HookTimeout = Annotated[
    float,
    option(HOOKS, "SECONDS", "Longest time for such a command.", show_default=True),
]
