"""Groups of options that belong together, declared once for all commands that have them.

    @grouped
    def caps(url: Url, *, connection: ConnectionOptions, as_json: Json = False) -> None:

To typer such a command has each option of the group as a parameter of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

from scepkit.cli import options
from scepkit.cli.options import TRUST, WANTED, flag, option


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose groups are options of their own, as typer takes them."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    signature = inspect.signature(command, eval_str=True)
    for one in signature.parameters.values():
        if isinstance(one.annotation, type) and is_dataclass(one.annotation):
            groups[one.name] = one.annotation
            parameters += _options(one.annotation)
        else:
            parameters.append(one)

    @wraps(command)
    def flat(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{one.name: values.pop(one.name) for one in fields(group)})
        command(**values)

    flat.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return flat


def _options(group: type[Any]) -> Iterator[inspect.Parameter]:
    kinds = get_type_hints(group, include_extras=True)
    for one in fields(group):
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(one.name, kind, default=one.default, annotation=kinds[one.name])


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The way to a server."""

    tls_ca: options.TlsCa = None
    tls_cert: options.TlsCert = None
    tls_key: options.TlsKey = None
    tls_passphrase: options.TlsPassphrase = None
    proxy: options.Proxy = None
    timeout: options.Timeout = 30


@dataclass(frozen=True, slots=True)
class PollingOptions:
    """The patience with a CA that thinks."""

    poll_interval: options.PollInterval = 60
    max_wait: options.MaxWait = 86400


@dataclass(frozen=True, slots=True)
class ChallengeOptions:
    """The places that a challenge comes from."""

    challenge: options.Challenge = None
    challenge_file: options.ChallengeFile = None
    challenge_command: options.ChallengeCommand = None
    challenge_prompt: options.ChallengePrompt = False

    @property
    def are_given(self) -> bool:
        """Say whether one is named."""
        named = (self.challenge, self.challenge_file, self.challenge_command)
        return self.challenge_prompt or any(one is not None for one in named)


_RenewalChallenge = Annotated[
    str | None,
    option(
        WANTED,
        "SECRET",
        "A challenge (enrolment password), for a CA that wants one for renewals too, and for "
        "keys that cannot decrypt; - reads it from stdin. SCEP_CHALLENGE is not read here: it "
        "may hold a spent one.",
    ),
]


@dataclass(frozen=True, slots=True)
class RenewalChallengeOptions(ChallengeOptions):
    """The same for a renewal, which seldom needs one."""

    challenge: _RenewalChallenge = None


_Insecure = Annotated[
    bool,
    flag(
        TRUST,
        "Trust any CA certificate that the server sends. Without --fingerprint, --ca and "
        "--insecure, scep shows the fingerprint on the terminal and asks.",
        "--insecure",
    ),
]


@dataclass(frozen=True, slots=True)
class TrustOptions:
    """The CA to trust at first sight."""

    fingerprint: options.Fingerprint = ""
    ca_file: options.CaFile = None
    insecure: _Insecure = False
    legacy: options.LegacyList = ""
