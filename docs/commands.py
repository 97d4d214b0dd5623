"""Write docs/reference/commands.md from what the commands say of themselves.

python docs/commands.py           writes it
python docs/commands.py --check   ends with status 1 if it is out of date
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "reference" / "commands.md"
COMMANDS = (
    ("enroll",),
    ("renew",),
    ("status",),
    ("revoke",),
    ("get", "caps"),
    ("get", "ca"),
    ("get", "next-ca"),
    ("get", "cert"),
    ("get", "crl"),
    ("serve",),
    ("admin", "challenge", "new"),
    ("admin", "list"),
    ("admin", "show"),
    ("admin", "approve"),
    ("admin", "reject"),
    ("admin", "revoke"),
    ("admin", "release"),
    ("admin", "crl"),
    ("admin", "rollover", "prepare"),
    ("admin", "rollover", "activate"),
    ("admin", "rollover", "cancel"),
    ("admin", "rollover", "status"),
    ("admin", "purge"),
)
HEAD = """\
# Commands

Data goes to stdout, everything else to stderr.
Exit status: 0 done, 1 refused or failed, 2 wrong usage or something on this machine, 3 pending.
`SCEP_DEBUG=1` shows where an internal error came from.

This page is written by `python docs/commands.py` from `--help`.
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(f"\n## scep {' '.join(c)}\n\n```\n{_help(c)}```\n" for c in COMMANDS)


def _help(command: tuple[str, ...]) -> str:
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    for name in [n for n in environment if n.startswith("SCEP_")]:
        del environment[name]
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "scepkit", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text("utf-8") == page() else f"{PAGE.name} is out of date")
    PAGE.write_text(page(), "utf-8")
