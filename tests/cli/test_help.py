"""What --help says: examples of every command, in an order, and no summary that is cut."""

from __future__ import annotations

import pytest
import typer

from scepkit.cli.app import app


def walk(command, words=("scep",)):
    """Return every command and group with how it is called."""
    yield words, command
    for name, one in getattr(command, "commands", {}).items():
        if not one.hidden:
            yield from walk(one, (*words, name))


COMMANDS = dict(walk(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_examples_and_whole_summaries(words, scep):
    """The examples are of that command, and what is in them is there."""
    status, out, _ = scep(*words[1:], "--help")
    assert status == 0
    assert "..." not in out.partition("Commands:")[2].partition("Example")[0]
    _, _, examples = out.partition("Example")
    lines = [line.strip() for line in examples.splitlines() if line.startswith("    scep ")]
    assert lines
    for line in lines:
        assert line.startswith(" ".join(words))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_options_of_examples_are_there(words):
    command = COMMANDS[words]
    if hasattr(command, "commands"):
        return
    known = {name for one in command.params for name in one.opts}
    text = (command.epilog or "").split("Exit status")[0]
    assert {word for word in text.split() if word.startswith("--")} <= known


def test_the_order_of_the_operators_commands(scep):
    """Challenges first, what is rare last; every command is in the order."""
    _, out, _ = scep("admin", "--help")
    listed = out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == [
        "challenge",
        "devices",
        "list",
        "show",
        "approve",
        "reject",
        "revoke",
        "release",
        "renew-early",
        "ndes-account",
        "profile",
        "endpoint",
        "token",
        "intune",
        "ca",
        "certificates",
        "crl",
        "rollover",
        "reload",
        "purge",
        "audit",
        "notification",
        "outbox",
    ]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_value_of_an_option_has_a_name(words):
    """TEXT is for what is text, and is said on purpose."""
    nameless = [
        one.opts[0]
        for one in COMMANDS[words].params
        if not getattr(one, "is_flag", False) and not one.metavar
    ]
    assert nameless == []
