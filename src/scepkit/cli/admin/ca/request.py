"""`scep admin ca request`: a PKCS#10 for a CA that somebody else's is to certify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from scepkit.cli import options, terminal
from scepkit.cli.admin.ca.operator import NameArgument, opened, say_unused
from scepkit.cli.admin.server_directory import DEFAULT_DIRECTORY, DirectoryOption, JsonOption
from scepkit.cli.help import Command, examples
from scepkit.errors import UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from scepkit.ca.directory.requesting import CARequest
    from scepkit.operations.authorities import Operator

_GROUP = 4  # hex digits that are read aloud together


_SubjectOption: TypeAlias = Annotated[
    str | None,
    options.option(
        None,
        "DN",
        "The CA's name, as RFC 4514 has it. Default: that of [ca.NAME] in scep.toml.",
        "--subject",
    ),
]
_KeyOption: TypeAlias = Annotated[
    str | None,
    options.option(
        None,
        "KIND",
        "rsa:2048, rsa:3072, rsa:4096, ec:p256 or ec:p384. Default: what scep.toml has (key in "
        "[ca.NAME], or the layout), or else as the CA that is there, or else rsa:3072.",
        "--key",
    ),
]
_PathLengthOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--path-length",
        min=0,
        max=8,
        metavar="N",
        help="How many CAs may be below one another. Default: 0, or that of [ca.NAME].",
        show_default=False,
    ),
]
_SameKeyOption: TypeAlias = Annotated[
    bool, typer.Option("--same-key", help="For the key and name of the CA that is there.")
]
_DropOption: TypeAlias = Annotated[
    bool, typer.Option("--drop", help="Give up the request that waits, with its key.")
]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        "request",
        cls=Command,
        short_help="Make a CA's key, and print a PKCS#10 for the CA above.",
        epilog=examples(
            "scep admin ca request default --subject 'CN=Device CA,O=Example,C=CH' > device-ca.csr",
            "scep admin ca request default --subject 'CN=Device CA 2' --key ec:p384",
            "scep admin ca request default --same-key",
            "scep admin ca request default --drop",
        ),
    )(request)


def request(
    name: NameArgument,
    *,
    subject: _SubjectOption = None,
    key: _KeyOption = None,
    path_length: _PathLengthOption = None,
    same_key: _SameKeyOption = False,
    drop: _DropOption = False,
    as_json: JsonOption = False,
    directory: DirectoryOption = DEFAULT_DIRECTORY,
) -> None:
    """Make the key of a CA, and print the PKCS#10 that the CA above signs.

    The PKCS#10 goes to stdout, what to compare with whoever signs it to stderr. The key stays here.
    Given again, the command prints the same request. It works before the first `scep serve`, too.
    """
    if sum((subject is not None, same_key, drop)) > 1:
        raise UsageError(
            "--subject, --same-key and --drop exclude each other", hint="give one of them"
        )
    with opened(directory, name, may_be_new=True) as operator:
        from scepkit.operations import authorities

        if drop:
            is_dropped = authorities.drop_request(operator)
            if as_json:
                terminal.json_data({"dropped": is_dropped})
            terminal.say("the request was given up" if is_dropped else "no request waits")
            return
        length = operator.new.path_length if path_length is None else path_length
        made = (
            authorities.request_again(operator, path_length=length)
            if same_key
            else authorities.request(
                operator,
                subject=_subject(operator, subject),
                key=_key(operator, key),
                path_length=length,
            )
        )
        has_endpoint = operator.has_endpoint
    _report(made, name, directory, as_json=as_json)
    if not has_endpoint:
        say_unused(name)


def _key(operator: Operator, given: str | None) -> str:
    from scepkit.operations import authorities

    if given is None:
        return authorities.key_of_successor(operator)
    return replace(operator.new, key=given).keys(operator.layout).ca


def _subject(operator: Operator, text: str | None) -> x509.Name:
    """Return the name of the CA: the one that was given, or else the one in scep.toml.

    Raises:
        UsageError: there is none, or it cannot be one.
    """
    from scepkit.protocol.rfc4514 import parse_subject

    found = parse_subject(text) if text else operator.new.subject
    if found is None:
        raise UsageError(
            f"the CA needs a name: neither --subject nor [ca.{operator.ca}] in scep.toml has one",
            hint="--subject 'CN=Device CA,O=Example,C=CH' for a new CA",
        )
    return found


def _report(made: CARequest, name: str, directory: Path, *, as_json: bool) -> None:
    pem = made.pem.decode("ascii")
    facts = _facts(made)
    if as_json:
        terminal.json_data({**facts, "csr": pem})
    else:
        terminal.data(pem.rstrip("\n"))
    _say(facts)
    terminal.say(
        f"have it signed as a subordinate CA, then: scep admin ca install {name} CERT --chain ROOT "
        f"--dir {directory}"
    )


def _facts(made: CARequest) -> dict[str, str]:
    """Return what a PKCS#10 can be compared by with whoever signs it."""
    import hashlib

    from scepkit.keys.pem import kind
    from scepkit.protocol.distinguished_name import Name

    return {
        "subject": str(Name.of(made.csr.subject)),
        "key": kind(made.csr.public_key()),
        "key_sha256": hashlib.sha256(made.spki).hexdigest(),
    }


def _say(facts: Mapping[str, str]) -> None:
    """Say what can be compared over the phone."""
    digest = facts["key_sha256"]
    groups = [digest[at : at + _GROUP] for at in range(0, len(digest), _GROUP)]
    half = len(groups) // 2
    terminal.say(f"subject     {facts['subject']}")
    terminal.say(f"key         {facts['key']}")
    terminal.say(f"SHA-256     {' '.join(groups[:half])}")
    terminal.say(f"of the key  {' '.join(groups[half:])}")
