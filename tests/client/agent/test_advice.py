"""Renewal information: it brings a renewal forward, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pair import grant
from scepkit import Client, RenewalAdvice, TransportError
from scepkit.protocol.scep.capabilities import WHEN_TO_RENEW
from scepkit.protocol.scep.http import HTTPResponse, Operation

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def server(monkeypatch):
    """What the server says of the time, and how often it was asked."""
    said, asked = [None], []

    def get_renewal_info(client, certificate):
        asked.append((client.url, certificate))
        if said[0] is None:
            raise TransportError("the server knows nothing of it", status=404)
        return said[0]

    monkeypatch.setattr(Client, "get_renewal_info", get_renewal_info)
    return said, asked


@pytest.fixture
def device(site, enrolled):
    site.scep.caps = (*site.scep.caps, WHEN_TO_RENEW)
    return enrolled(site)


def requests(site):
    return len(site.asked(Operation.PKI_OPERATION))


def test_it_is_renewed_when_the_server_wants_it(site, device, look, time, server):
    said, _ = server
    said[0] = RenewalAdvice(time() + DAY, time() + HOUR, "http://ca.example/why")
    state = look(device).state
    assert state.renew_at == time() + DAY
    assert state.explanation == "http://ca.example/why"
    assert requests(site) == 1
    time.jump(days=1)
    look(device)
    assert requests(site) == 2


@pytest.mark.parametrize("at", [timedelta(days=-999), timedelta()])
def test_the_minimum_interval_stays(site, device, look, time, server, at):
    said, _ = server
    said[0] = RenewalAdvice(time() + at, time() + HOUR)
    for _ in range(5):
        look(device, eager=True)
    assert requests(site) == 1
    time.jump(hours=2)
    look(device, eager=True)
    assert requests(site) == 2
    look(device, eager=True)
    assert requests(site) == 2


@pytest.mark.parametrize("advice", [None, "late"])
def test_it_is_never_put_off(site, device, look, time, server, advice):
    said, _ = server
    said[0] = RenewalAdvice(time() + 9999 * DAY, time() + HOUR) if advice else None
    due = look(device).state.renew_at
    assert due < device.certificate().not_after
    time.jump(seconds=(due - time()).total_seconds())
    look(device)
    assert requests(site) == 2


def test_it_is_asked_when_it_said(device, look, time, server):
    said, asked = server
    said[0] = RenewalAdvice(time() + 9 * DAY, time() + 3 * HOUR)
    for _ in range(3):
        look(device)
    assert len(asked) == 1
    time.jump(hours=4)
    look(device)
    assert len(asked) == 2
    # A clock that was wrong when that was noted does not silence it for ever.
    time.jump(days=-400)
    look(device)
    assert len(asked) == 3


def test_a_server_that_offers_none_is_not_asked(site, enrolled, look, server):
    look(enrolled(site))
    assert server[1] == []


def test_a_failure_means_the_own_schedule(serve, enrolled, look, time, told):
    """With the real question, which the server does not know."""
    site = serve(*[grant] * 3)
    site.scep.caps = (*site.scep.caps, WHEN_TO_RENEW)
    folder = enrolled(site)
    site.answer = lambda _request: HTTPResponse(404, b"")
    seen = look(folder)
    assert seen.state.advised_at is None
    assert seen.state.advise_again_at > time()
    assert "RenewalInfoUnknown" in {type(getattr(one, "event", None)).__name__ for one in told}
    assert seen.verdict.value == "well"
