"""Rows of the checklist about what the commands ask for, and keep."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from scepkit.client.folder import Folder
from scepkit.protocol.scep.http import Operation


def decision(name):
    """Return what a server of the transcripts decides."""
    path = Path(__file__).with_name("test_transcripts.py")
    spec = spec_from_file_location("test_transcripts", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DECISIONS[name]


@pytest.mark.rfc("S-2.1.1-1", "S-7-1")
def test_what_has_to_be_known_before_anything_is_sent(serve, scep):
    """A first enrolment takes the server's address, the CA's fingerprint and the challenge.

    Without the address it is wrong usage; without the fingerprint, or with another CA's, no
    PKIOperation is sent; without the challenge the CA refuses. The challenge gets into no file.
    """
    site = serve(decision("secret"))
    wanted = ["--subject", "CN=a", "--out", "a"]
    assert scep("enroll", *wanted)[0] == 2
    assert scep("enroll", site.url, *wanted)[0] == 1
    assert scep("enroll", site.url, *wanted, "--fingerprint", "0" * 64)[0] == 1
    assert not site.asked(Operation.PKI_OPERATION)
    assert not Path("a").exists()
    known = ["--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, *wanted, *known)[0] == 1
    assert scep("enroll", site.url, *wanted, *known, "--challenge", "s3cret")[0] == 0
    for file in Path("a").iterdir():
        assert b"s3cret" not in file.read_bytes(), file


@pytest.mark.rfc("S-2.6-2")
def test_what_getcert_needs_is_kept(serve, scep):
    """Issuer and serial number are in the directory, so that GetCert needs nothing else."""
    site = serve(decision("retrieve"))
    site.scep.issued = []
    arguments = ["--subject", "CN=a", "--out", "a", "--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, *arguments)[0] == 0
    kept = Folder(Path("a")).certificate()
    assert kept.serial == site.scep.issued[0].serial_number
    status, out, _ = scep("get", "cert", site.url, "--dir", "a")
    assert (status, out) == (0, Path("a/cert.pem").read_text())
