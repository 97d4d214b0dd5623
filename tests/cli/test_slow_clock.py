"""A device whose clock is behind: what it gets is kept, and a warning names the clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import httpd
import keys
from pair import grant
from scepkit.cli.device import agent_events
from scepkit.client import clock
from scepkit.client.agent.events import RenewerSaid
from scepkit.client.client import Client
from scepkit.client.events import CATrusted

DAY = timedelta(days=1)
SAYS = "not valid yet by this machine's clock: that says "


@pytest.fixture
def set_back(monkeypatch):
    """Set the client's clock back, by days."""

    def set_back(days):
        behind = days * DAY
        monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) - behind)

    return set_back


def enroll(scep, site, *more):
    how = ["--subject", "CN=a", "--out", "a", "--fingerprint", site.fingerprint]
    return scep("enroll", site.url, *how, *more)


@pytest.mark.parametrize("days", [2, 20000], ids=["two days", "since 1972"])
def test_enroll_renew_and_status(serve, scep, set_back, days):
    """Also with a CA, and an RA, that are not valid yet by that clock."""
    site = serve(grant)
    set_back(days)
    done, _, err = enroll(scep, site)
    assert done == 0, err
    says = f"warning: the certificate is {SAYS}{datetime.now(UTC) - days * DAY:%Y-%m-%d}"
    assert says in err
    assert "hint: look at the clock (date -u)" in err
    done, out, _ = scep("status", "a", "--json")
    assert done == 1
    found = json.loads(out)
    assert found["state"] == "early"
    assert found["clock"].startswith(SAYS)
    done, _, err = scep("renew", "a")
    assert (done, says in err, "not yet: CN=a" in err) == (0, True, True)
    before = Path("a/cert.pem").read_bytes()
    done, _, err = scep("renew", "a", "--force")
    assert (done, says in err) == (0, True)
    assert Path("a/cert.pem").read_bytes() != before


def test_a_clock_that_is_right_says_nothing(serve, scep):
    site = serve(grant)
    assert "clock" not in enroll(scep, site)[2]
    assert "clock" not in scep("status", "a")[1]
    assert "clock" not in scep("renew", "a")[2]


def test_a_ca_that_is_over_is_said(serve, scep, capsys):
    """Its certificate is trusted, since it is the one that was compared; what it issues fails."""
    usage = keys.usage("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")
    over = {"not_before": httpd.today() - 9 * DAY, "not_after": httpd.today() - DAY}
    ca = httpd.certify("Old CA", keys.rsa_key("ca"), ca=True, key_usage=usage, **over)
    site = serve(grant, ra=None, authority=ca)
    says = f"warning: the CA's certificate ended at {httpd.today() - DAY:%Y-%m-%d %H:%M} UTC"
    done, _, err = enroll(scep, site)
    assert (done, says in err, "look at the clock" in err) == (0, True, True)
    done, _, err = scep("renew", "a", "--force")
    assert (done, says in err) == (0, True)
    with Client(site.url) as client:
        agent_events.tell(RenewerSaid(Path("a"), CATrusted(client.get_ca(site.fingerprint))))
    assert says in capsys.readouterr().err
    assert "ended at" not in enroll(scep, serve(grant), "--force")[2]
