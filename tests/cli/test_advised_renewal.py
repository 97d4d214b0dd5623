"""The server's advice on a renewal, as `scep renew` and `scep status` take it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pair import grant
from scepkit import Client, RenewalAdvice, TransportError
from scepkit.client.folder import Folder
from scepkit.protocol.scep.capabilities import WHEN_TO_RENEW
from scepkit.protocol.scep.http import Operation

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WHY = "https://ca.example/why"


def now():
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def site(serve, scep):
    """A CA that gives advice; in `a` is a certificate."""
    site = serve(*[grant] * 5)
    site.scep.caps = (*site.scep.caps, WHEN_TO_RENEW)
    known = ["--fingerprint", site.fingerprint]
    assert scep("enroll", site.url, "--subject", "CN=a", "--out", "a", *known)[0] == 0
    return site


@pytest.fixture
def advice(monkeypatch):
    """What the server says, to be changed, and the serial numbers that it was asked for."""

    class Server:
        said = None
        asked: list[int] = []  # noqa: RUF012 - one for each test

    def get_renewal_info(_client, certificate):
        Server.asked.append(certificate.serial)
        if Server.said is None:
            raise TransportError("the server knows nothing of it", status=404)
        return Server.said

    monkeypatch.setattr(Client, "get_renewal_info", get_renewal_info)
    return Server


def requests(site):
    return len(site.asked(Operation.PKI_OPERATION))


def got(ago):
    """Say that the certificate was got some time ago."""
    at = time.time() - ago.total_seconds()
    os.utime("a/cert.pem", (at, at))


def change(**how):
    folder = Folder(Path("a"))
    folder.remember(replace(folder.record(), **how))


def renew(scep, *options):
    """Run `scep renew --json`; return what it printed, and what it said."""
    status, out, err = scep("renew", "a", "--json", *options)
    assert status == 0, err
    return json.loads(out), err


def test_what_it_advises_is_when_it_is_due(site, scep, advice):
    at = now() + 3 * DAY
    advice.said = RenewalAdvice(at, now() + HOUR, WHY)
    found, _ = renew(scep)
    assert (found["renewed"], found["advised"], found["explanation"]) == (False, True, WHY)
    assert datetime.fromisoformat(found["renew_from"]) == at
    _, _, err = scep("renew", "a")
    assert f"due from {at:%Y-%m-%d %H:%M} UTC on, as the server advises ({WHY})" in err
    _, _, err = scep("renew", "--all", ".")
    assert f"as the server advises ({WHY})" in err
    shown = json.loads(scep("status", "a", "--json")[1])
    assert shown["renew_from"] == shown["advised_at"] == found["renew_from"]
    assert (shown["state"], shown["explanation"]) == ("valid", WHY)
    assert (requests(site), len(advice.asked)) == (1, 1)


def test_it_is_renewed_then_and_once(site, scep, advice):
    """Not soon after it was got, whatever the server says, nor by `--before`."""
    advice.said = RenewalAdvice(now() - 9 * DAY, now() + HOUR, WHY)
    found, _ = renew(scep)
    assert (found["renewed"], found["advised"]) == (False, True)
    assert timedelta() < datetime.fromisoformat(found["renew_from"]) - now() <= HOUR
    got(2 * HOUR)
    assert json.loads(scep("status", "a", "--json")[1])["state"] == "due for renewal"
    found, err = renew(scep, "--before", "1h")
    assert found["renewed"]
    assert f"the server wants the certificate renewed now ({WHY})" in err
    for _ in range(3):
        assert not renew(scep)[0]["renewed"]
    assert requests(site) == 2
    assert len(advice.asked) == len(set(advice.asked)) == 2


@pytest.mark.parametrize("options", [[], ["--before", "2d"]])
def test_it_is_never_put_off(site, scep, advice, options):
    usual = renew(scep, *options)[0]["renew_from"]
    change(advise_again_at="")
    advice.said = RenewalAdvice(now() + 9999 * DAY, now() + HOUR, WHY)
    found, _ = renew(scep, *options)
    assert (found["renew_from"], found["advised"], found["explanation"]) == (usual, False, "")
    assert len(advice.asked) == 2


def test_how_often_it_is_asked(site, scep, advice):
    """As often as it wants; and where it does not answer, after a while."""
    _, err = renew(scep)
    assert "does not say when the certificate is best renewed" in err
    assert "warning" not in renew(scep)[1]
    assert len(advice.asked) == 1
    again = datetime.fromisoformat(Folder(Path("a")).record().advise_again_at)
    assert 5 * HOUR < again - now() < 7 * HOUR
    # What a clock that was wrong has noted.
    for noted in ("2099-01-01T00:00:00+00:00", "2001-01-01T00:00:00+00:00"):
        change(advise_again_at=noted)
        renew(scep)
        renew(scep)
    assert len(advice.asked) == 3


def test_it_is_not_asked_where_that_does_not_matter(site, scep, advice):
    renew(scep, "--force")
    renew(scep, "--before", "9999d")
    change(capabilities=("aes",))
    renew(scep)
    assert advice.asked == []


def test_another_server_has_given_no_advice(site, scep, advice):
    advice.said = RenewalAdvice(now() + DAY, now() + HOUR, WHY)
    assert renew(scep)[0]["advised"]
    assert not renew(scep, "--url", f"{site.url}/other")[0]["advised"]
    assert len(advice.asked) == 1


def test_what_others_wrote_into_the_record(site, scep, advice):
    noted = {"advised_at": f"{now() + DAY:%Y-%m-%dT%H:%M:%S}+00:00"}
    again = {"advise_again_at": f"{now() + HOUR:%Y-%m-%dT%H:%M:%S}+00:00"}
    change(**noted, **again, explanation="\x1b[2J")
    for command in ("renew", "status"):
        _, out, err = scep(command, "a")
        assert "[2J" in out + err
        assert "\x1b" not in out + err
