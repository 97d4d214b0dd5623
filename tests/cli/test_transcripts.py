"""Every transcript beside this file."""

from __future__ import annotations

import math
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

import httpd
import pair
from pair import grant
from scepkit.cli import terminal
from scepkit.errors import BadAlg, BadCertId, BadMessageCheck, BadRequest, FailInfo
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.scep.http import HTTPResponse, Operation
from scepkit.protocol.scep.messages import Failure, GetCert, GetCRL, Pending, Success

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


def retrieve(server, request, sender):
    """Give the certificate or the CRL that is asked for."""
    if isinstance(request, GetCert):
        issued = [one for one in server.issued if one.serial_number == request.serial_number]
        if not issued:
            raise BadCertId("there is no such certificate")
        return Success((issued[0].public_bytes(Encoding.DER),))
    if isinstance(request, GetCRL):
        return Success(crls=(httpd.crl([7]).public_bytes(Encoding.DER),))
    answer = grant(server, request, sender)
    server.issued.append(x509.load_der_x509_certificate(answer.certificates[0]))
    return answer


def without_challenge(server, request, sender):
    """Refuse a challenge, as a CA does with one that is spent."""
    if request.csr.challenge_password is not None:
        raise BadRequest("spent")
    return grant(server, request, sender)


def silent(server, request, sender):
    """Refuse without a word, as micromdm's server does."""
    return Failure(FailInfo.badRequest)


def cut(server, request, sender):
    """Grant a certificate for a client of another name, whatever is asked for."""
    wanted = server.wanted[sender.attributes.transaction_id]
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    issued = httpd.certify(
        "other", pair._Public(wanted.public_key), server.opener, purposes=list(purpose)
    )
    return Success((issued.der,))


DECISIONS = {
    "cut": cut,
    "mac": BadMessageCheck("no"),
    "alg": BadAlg("no"),
    "silent": silent,
    "spent": without_challenge,
    "retrieve": retrieve,
    "grant": grant,
    "pending": Pending(),
    "refuse": BadRequest("no", text="not you"),
    "purposes": BadRequest("no", text="none of the requested extended key usages is allowed here"),
    "revoked": BadRequest("no", text="the certificate that signed was revoked"),
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
    site = None
    # What is said now and then, on a machine that is busy, is in no transcript.
    monkeypatch.setattr(terminal, "_EVERY", math.inf)
    for step in transcript.read(file.read_text()):
        what, _, rest = step.text.partition(" ")
        if step.kind == "$":
            transcript.run(step, scep, variables)
        elif what == "server":
            site = started(serve, rest.split())
            variables |= {"URL": site.url, "SHA256": site.fingerprint}
            variables["RA"] = "sha256:" + httpd.ra().x509.fingerprint(httpd.keys.SHA256).hex()
        else:
            follow(what, rest, site, monkeypatch)


def started(serve, words):
    """Start the server that a transcript asks for."""
    how = OLD if "old" in words else {"ra": None} if "single" in words else {}
    if "next" in words:
        how = {**how, "following": httpd.ca("next-ca")}
    site = serve(*[DECISIONS[w] for w in words if w in DECISIONS], **how)
    site.scep.issued = []
    for word in words:
        if word in INSTEAD:
            site.next(Operation.GET_CA_CAPS, INSTEAD[word])
            site.next(Operation.GET_CA_CERT, INSTEAD[word])
    return site


def follow(what, rest, site, monkeypatch):
    """Do what another directive of a transcript says."""
    match what:
        case "rollover":
            site.scep.roll_over()
        case "offer":
            site.scep.caps = tuple(rest.split())
        case "env":
            monkeypatch.setenv(*rest.split("=", 1))
        case "stdin":
            monkeypatch.setattr(sys, "stdin", type(sys.stdin)(rest + "\n"))
        case "file":
            name, _, text = rest.partition(" ")
            Path(name).write_text(text + "\n")
        case _:
            raise ValueError(f"{what} {rest}")
