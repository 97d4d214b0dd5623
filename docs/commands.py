"""Write docs/reference/commands.md from what the commands say of themselves.

python docs/commands.py           writes it
python docs/commands.py --check   ends with status 1 if it is out of date
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from scepkit.cli import main
from scepkit.cli.app import app

PAGE = Path(__file__).parent / "reference" / "commands.md"


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command, in the order of --help; of a group that is none itself not.

    Args:
        command: `scep`, or one below it.
        words: its own.
    """
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield words
    for name, one in inner.items():
        if not one.hidden:
            yield from commands(one, (*words, name))


COMMANDS = tuple(commands(typer.main.get_command(app)))
HEAD = """\
# Commands

Data goes to stdout, everything else to stderr.
Exit status: 0 done, 1 refused or failed, 2 wrong usage or something on this machine, 3 pending, 130 interrupted by Ctrl-C.
`SCEP_DEBUG=1` shows where an internal error came from.

With `--json` stdout holds JSON, or nothing where the command fails.
An error is then one JSON object on one line, the last line on stderr; what is said before it is for people.
Times are RFC 3339 in UTC, serial numbers are hex with two digits an octet, roles are words such as `ca` and `ra`.

```json
{"error": "there is no directory dev1", "hint": "check its name, …", "code": "settings", "exit_status": 2}
```

`code` is a word that later releases keep, also where they say `error` and `hint` in other words:

| code | what it means |
|---|---|
| `usage` | the command line cannot be meant |
| `settings` | a file, a directory or a setting cannot be used |
| `system` | the operating system refuses something else |
| `database`, `newer_database`, `empty_database` | the server's database cannot be used, was written by a newer release, or is empty where it was not |
| `too_many_pending` | as many challenges as `max_pending` allows can be used already |
| `untrusted_ca` | the CA's certificate is not one that is trusted |
| `legacy_refused` | the CA needs an algorithm that `--legacy` does not allow |
| `transport` | no usable HTTP answer came; worth trying again |
| `reload_refused` | a running server keeps its old settings, or no server runs on the directory |
| `third_party` | a service outside, such as another CA, gave no answer |
| `refused` | the CA answered FAILURE; `fail_info` has its reason, such as `badRequest` |
| `revocation_refused` | the CA does not revoke the certificate |
| `revoked` | the certificate that is to be renewed was revoked |
| `pending` | the request waits for approval |
| `no_next_ca` | the CA announces no successor |
| `bad_reply`, `malformed` | an answer must not be believed, or cannot be read |
| `unverified_certificate` | the CA gave a certificate that could not be verified, and is not installed |
| `aborted`, `interrupted` | a question was answered with no, or somebody pressed Ctrl-C |
| `failed` | anything else that the peer did |
| `internal` | a mistake in scepkit: please report it |

This page is written by `python docs/commands.py` from `--help`.
"""  # noqa: E501 - one sentence a line


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
