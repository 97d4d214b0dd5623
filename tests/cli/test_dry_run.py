"""`scep enroll --dry-run`: everything is shown, nothing is sent or written."""

from __future__ import annotations

import json
from pathlib import Path

from pair import grant


def rehearse(scep, site, *more):
    return scep(
        *("enroll", site.url, "--fingerprint", site.fingerprint, "--out", "dev1", "--dry-run"),
        *more,
    )


def test_a_program_can_read_it(serve, scep):
    site = serve(grant)
    asked = ("--subject", "CN=dev1,O=Example", "--san", "dirname:CN=x", "--template", "1.2.3:4.5")
    more = ("--eku", "server_auth", "--challenge", "s3cret", "--key", "ec:p256", "--json")
    status, out, err = rehearse(scep, site, *asked, *more, "--fullchain", "full.pem")
    plan = json.loads(out)
    assert (status, plan["ca"]["sha256"]) == (0, site.fingerprint)
    assert plan["algorithms"] == {"digest": "sha256", "cipher": "aes128-cbc"}
    assert "AES" in plan["capabilities"]
    assert plan["request"] == {
        "subject": "CN=dev1,O=Example",
        "names": ["dir:CN=x"],
        "key": "ec:p256",
        "purposes": ["server_auth"],
        "extensions": ["2.5.29.17", "2.5.29.37", "1.3.6.1.4.1.311.21.7", "2.5.29.15"],
        "template": "1.2.3:4.5",
        "challenge": True,
    }
    assert plan["files"]["fullchain"] == str(Path.cwd() / "full.pem")
    assert "s3cret" not in out + err
    assert site.scep.asked == []
    assert list(Path.cwd().iterdir()) == []


def test_what_would_be_refused_is_refused(serve, scep):
    """The directory, the key and the CA are looked at as ever."""
    site = serve(grant)
    enrolled = scep(
        *("enroll", site.url, "--fingerprint", site.fingerprint, "--out", "dev1"),
        *("--subject", "CN=dev1"),
    )
    assert enrolled[0] == 0
    before = {path: path.read_bytes() for path in Path("dev1").iterdir()}
    status, _, err = rehearse(scep, site, "--subject", "CN=dev1")
    assert (status, "is there already, valid until" in err) == (2, True)
    assert rehearse(scep, site, "--subject", "CN=dev1", "--force")[0] == 0
    assert {path: path.read_bytes() for path in Path("dev1").iterdir()} == before
    assert len(site.scep.asked) == 1
