"""Every transcript beside this file."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import httpd
from pair import grant
from scepkit.errors import BadRequest
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.http import HTTPResponse, Operation
from scepkit.protocol.messages import Pending

HERE = Path(__file__).parent


def _beside(name):
    spec = spec_from_file_location(name, HERE / f"{name}.py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


transcript = _beside("transcript")


def needs_secret(server, request, sender):
    """Grant what comes with the right challenge."""
    if request.csr.challenge_password != "s3cret":
        raise BadRequest("wrong", text="the challenge is wrong\n\x1b[2Jerror: all is well")
    return grant(server, request, sender)


DECISIONS = {
    "grant": grant,
    "pending": Pending(),
    "refuse": BadRequest("no", text="not you"),
    "secret": needs_secret,
}
INSTEAD = {
    "page": HTTPResponse(200, b"<html>Welcome</html>", "text/html"),
    "missing": HTTPResponse(404, b"nothing here\x1b[2J"),
}
OLD = {"caps": ["DES3", "SHA-1"], "allowed": frozenset({Legacy.SHA1, Legacy.DES3})}


@pytest.mark.parametrize("file", sorted(HERE.glob("*.txt")), ids=lambda file: file.stem)
def test_transcript(file, serve, scep, monkeypatch):
    variables = {"WRONG": "sha256:" + "ab" * 32, "NOWHERE": "http://127.0.0.1:1/scep"}
    for step in transcript.read(file.read_text()):
        if step.kind == "$":
            transcript.run(step, scep, variables)
            continue
        what, _, rest = step.text.partition(" ")
        match what:
            case "server":
                words = rest.split()
                how = OLD if "old" in words else {"ra": None} if "single" in words else {}
                site = serve(*[DECISIONS[w] for w in words if w in DECISIONS], **how)
                for word in words:
                    if word in INSTEAD:
                        site.next(Operation.GET_CA_CAPS, INSTEAD[word])
                        site.next(Operation.GET_CA_CERT, INSTEAD[word])
                variables |= {"URL": site.url, "SHA256": site.fingerprint}
                variables |= {
                    "RA": "sha256:" + httpd.ra().x509.fingerprint(httpd.keys.SHA256).hex()
                }
            case "env":
                monkeypatch.setenv(*rest.split("=", 1))
            case "stdin":
                monkeypatch.setattr(sys, "stdin", type(sys.stdin)(rest + "\n"))
            case "file":
                name, _, text = rest.partition(" ")
                Path(name).write_text(text + "\n")
            case _:
                raise ValueError(step.text)
