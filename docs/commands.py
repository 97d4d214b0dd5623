"""Write docs/reference/commands.md from what the commands say of themselves.

python docs/commands.py           writes it
python docs/commands.py --check   ends with status 1 if it is out of date
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

from scepkit.cli import main

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
    ("admin", "challenge", "list"),
    ("admin", "challenge", "void"),
    ("admin", "challenge", "secret"),
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
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        if main([*command, "--help"]):
            sys.exit(f"scep {' '.join(command)} --help failed")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


if __name__ == "__main__":
    for name in [n for n in os.environ if n.startswith("SCEP_")]:
        del os.environ[name]
    os.environ |= {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text("utf-8") == page() else f"{PAGE.name} is out of date")
    PAGE.write_text(page(), "utf-8")
