"""With --json an error is one object on one line, the last on stderr; stdout holds data or none."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import typer

import httpd
from pair import grant
from scepkit import errors
from scepkit.cli import app, failure, terminal
from scepkit.errors import BadReply, ScepError
from scepkit.protocol import cmp
from scepkit.protocol.scep.http import HTTPResponse, Operation
from scepkit.protocol.scep.messages import Pending, Success

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = runpy.run_path(str(DOCS / "commands.py"))["COMMANDS"]


SCEP = typer.main.get_command(app.app)


def takes_json(words):
    command = SCEP
    for word in words:
        command = command.get_command(None, word)
    return any("--json" in one.opts for one in command.params)


def told(err):
    """Return the object on the last line of stderr."""
    return json.loads(err.splitlines()[-1])


WITH_JSON = [words for words in COMMANDS if takes_json(words)]


def test_the_commands_of_a_device_have_it():
    of_devices = {words for words in COMMANDS if words[0] not in ("serve", "admin")}
    # What is printed are the files that systemd and cron read.
    assert of_devices - {("agent", "install")} < set(WITH_JSON)


def test_every_command_of_an_operator_has_it():
    assert {words for words in COMMANDS if words[0] == "admin"} < set(WITH_JSON)


@pytest.mark.parametrize("words", WITH_JSON, ids=" ".join)
def test_wrong_usage(scep, words):
    status, out, err = scep(*words, "--frob", "--json")
    assert (status, out) == (2, "")
    found = json.loads(err)
    assert found.pop("error").startswith("no such option: --frob")
    assert found == {
        "hint": f"scep {' '.join(words)} --help shows the usage",
        "code": "usage",
        "exit_status": 2,
    }


def test_what_follows_two_dashes_is_no_option(scep):
    assert scep("status", "--", "--json")[2].startswith("error: there is no directory --json\n")


def test_a_group_without_a_command(scep):
    status, out, err = scep("get", "--json")
    assert (status, out) == (2, "")
    assert told(err)["code"] == "usage"


def test_a_local_problem(scep):
    status, out, err = scep("status", "missing", "--json")
    assert (status, out) == (2, "")
    assert told(err) == {
        "error": "there is no directory missing",
        "hint": "check its name, or get a first certificate: "
        "scep enroll URL --subject DN --out missing",
        "code": "settings",
        "exit_status": 2,
    }


def test_a_refusal_has_its_fail_info(serve, scep):
    def refuse(server, request, sender):
        raise errors.BadRequest("no")

    site = serve(refuse)
    how = ["--subject", "CN=a", "--out", "a", "--fingerprint", site.fingerprint, "--json"]
    status, out, err = scep("enroll", site.url, *how)
    assert (status, out) == (1, "")
    assert (told(err)["code"], told(err)["fail_info"]) == ("refused", "badRequest")


def test_what_waits_is_pending(serve, scep):
    site = serve(Pending())
    how = ["--subject", "CN=a", "--out", "a", "--fingerprint", site.fingerprint, "--json"]
    status, out, err = scep("enroll", site.url, *how, "--max-wait", "0")
    assert (status, out) == (3, "")
    assert (told(err)["code"], told(err)["exit_status"]) == ("pending", 3)


def test_a_server_that_answers_nothing(serve, scep):
    site = serve()
    site.next(Operation.GET_CA_CAPS, HTTPResponse(404, b""))
    site.next(Operation.GET_CA_CERT, HTTPResponse(404, b""))
    _, out, err = scep("get", "ca", site.url, "--json")
    assert (out, told(err)["code"]) == ("", "transport")


@pytest.mark.parametrize(
    ("raised", "code", "status"),
    [
        (typer.Abort(), "aborted", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (ZeroDivisionError("boom"), "internal", 1),
        (OSError(28, "No space left on device"), "system", 2),
        (BadReply("\x1b[2J"), "bad_reply", 1),
    ],
    ids=repr,
)
def test_the_others(scep, monkeypatch, raised, code, status):
    def fail(*args, **kwargs):
        raise raised

    monkeypatch.setattr("scepkit.cli.device.connection.client", fail)
    found = scep("get", "caps", "http://ca.example", "--json")
    assert (found[0], found[1]) == (status, "")
    assert (told(found[2])["code"], told(found[2])["exit_status"]) == (code, status)
    assert "\x1b" not in found[2]


def every(kind):
    for one in kind.__subclasses__():
        yield one
        yield from every(one)


def test_every_error_that_a_command_tells_has_a_word():
    """Those of what is asked of a server need none: a client is answered in other words."""
    of_servers = (errors.FailInfoError, errors.HTTPRefused, cmp.CMPError)
    ours = (one for one in every(ScepError) if one.__module__.startswith("scepkit."))
    unnamed = {
        one.__name__
        for one in ours
        if not issubclass(one, of_servers)
        and not any(base.__name__ in failure.CODES for base in one.__mro__ if base != ScepError)
    }
    assert unnamed == {"Local", "Remote"}


def test_the_page_lists_the_words():
    page = (DOCS / "reference" / "commands.md").read_text("utf-8")
    head = page.split("\n## ")[0]
    words = {*failure.CODES.values(), "system", "internal", "aborted", "interrupted"}
    assert {word for word in words if f"`{word}`" not in head} == set()


def test_a_list_without_a_number_and_an_end(serve, scep):
    """Not every CA writes them, and nobody wants to read `None`."""

    def retrieve(server, request, sender):
        if hasattr(request, "csr"):
            return grant(server, request, sender)
        found = httpd.crl([7], number=None)
        from cryptography.hazmat.primitives.serialization import Encoding

        return Success(crls=(found.public_bytes(Encoding.DER),))

    site = serve(retrieve)
    how = ["--subject", "CN=a", "--out", "a", "--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, *how)[0] == 0
    status, out, err = scep("get", "crl", "--dir", "a")
    assert status == 0
    assert out.startswith("-----BEGIN X509 CRL-----")
    assert "None" not in err
    assert "number" not in err


def test_the_object_is_one_line(capsys):
    terminal.failure(failure.Failure("a\nb", "", "usage", 2), as_json=True)
    assert json.loads(capsys.readouterr().err) == {
        "error": "a\nb",
        "hint": "",
        "code": "usage",
        "exit_status": 2,
    }
