"""The first request of a device waits for approval: an agent asks again, without the challenge."""

from __future__ import annotations

from datetime import timedelta

import pytest

import agent.simulation as simulated
from agent.simulation import DAY, Device
from scepkit.client import enroller
from scepkit.client.agent import places
from scepkit.client.agent.result import Verdict, seen
from scepkit.client.agent.state import Standing
from scepkit.errors import Hint, SettingsError, StillPending

HOUR = timedelta(hours=1)


@pytest.fixture
def site(clock, place, quiet):
    """Return a server with an operator who decides."""
    made = simulated.Site(
        place / "data", clock, layout="ec", endpoint={"default": {"approval": "manual"}}
    )
    yield made
    made.close()


@pytest.fixture
def device(request, site, network, clock, place):
    """Return a device whose first request waits."""
    made = Device(place / "root" / "a", clock, network)
    with pytest.raises(StillPending):
        made.enrol(site.challenge(), key=getattr(request, "param", "ec:p256"))
    return made


@pytest.mark.parametrize("device", ["ec:p256", "rsa:2048"], indirect=True)
def test_the_agent_gets_it_once_it_is_approved(device, site, clock):
    path = device.folder.path
    assert list(places.below(path.parent, print)) == [path]
    assert seen(path).verdict is Verdict.WAITS
    assert device.look().verdict is Verdict.WAITS
    assert device.state.standing is Standing.WAITING
    assert device.state.next == "ask again"
    assert seen(path).state.standing is Standing.WAITING
    site.decide()
    clock.time += HOUR
    assert device.look().verdict is Verdict.WELL
    device.check_pair()
    assert site.issued() == set(device.got)
    assert len(device.deployed) == 1
    assert not (path / "request.pem.new").exists()
    assert not device.folder.unfinished.exists()
    # From here on it is a device like any other.
    clock.time += 360 * DAY
    assert device.look().verdict is Verdict.WELL
    assert len(device.got) == 2


def test_it_asks_at_least_every_hour_and_not_at_every_look(device, network, clock):
    device.look()
    asked = len(network.asked)
    device.look()
    assert len(network.asked) == asked
    for _ in range(12):
        clock.time += HOUR
        asked = len(network.asked)
        assert device.look().verdict is Verdict.WAITS
        assert len(network.asked) > asked


@pytest.mark.parametrize(("key", "needs"), [("rsa:2048", False), ("ec:p256", True)])
def test_the_challenge_is_kept_only_where_the_answer_needs_it(
    site, network, clock, place, key, needs
):
    """What cannot be encrypted to the key is encrypted under the challenge."""
    challenge, made = site.challenge(), Device(place / "root" / "b", clock, network)
    with pytest.raises(StillPending):
        made.enrol(challenge, key=key)
    made.look()
    kept = made.folder.waiting_request().request.challenge_password
    assert kept == (challenge if needs else None)
    assert (made.folder.path / "request.pem.new").stat().st_mode & 0o777 == 0o600


def test_a_refusal_is_told_and_the_key_stays(device, site, clock):
    """Only the operator has said no, to this request; another challenge may be good for the key."""
    site.decide(reject=True)
    clock.time += HOUR
    assert device.look().verdict is Verdict.FAILED
    assert device.state.standing is Standing.REFUSED
    assert device.folder.unfinished.exists()


def test_a_server_that_is_away_is_asked_again(device, site, network, clock):
    site.decide()
    network.fate = "down"
    assert device.look().state.standing is Standing.UNREACHABLE
    network.fate = "well"
    clock.time += HOUR
    assert device.look().verdict is Verdict.WELL


def test_another_ca_in_its_place_gets_no_certificate_in(device, clock, place, quiet):
    """The CA is the one whose fingerprint was compared, whoever answers now."""
    other = simulated.Site(place / "other", clock, layout="ec")
    device.way.network.site = other
    try:
        assert device.look().verdict is Verdict.FAILED
    finally:
        other.close()
    assert device.folder.certificate() is None


def test_an_answer_that_was_lost_is_asked_for_again(clock, place, quiet):
    site = simulated.Site(place / "auto", clock, layout="ec")
    network = simulated.Network(site, fate="reply lost")
    made = Device(place / "root" / "c", clock, network)
    with pytest.raises(Exception, match="broke off"):
        made.enrol(site.challenge())
    network.fate = "well"
    assert made.look().verdict is Verdict.WELL
    assert site.issued() == set(made.got)
    site.close()


@pytest.mark.parametrize("broken", ["", "-----BEGIN CERTIFICATE REQUEST-----", "MIIB", "\0" * 9])
def test_a_damaged_file_is_said(device, broken):
    (device.folder.path / "request.pem.new").write_text(broken)
    visit = device.look()
    assert visit.verdict is Verdict.FAILED
    assert "request.pem.new is damaged" in visit.state.said


def test_the_request_of_another_directory_is_not_asked_for(device, site, network, clock, place):
    other = Device(place / "root" / "d", clock, network)
    with pytest.raises(StillPending):
        other.enrol(site.challenge())
    text = (other.folder.path / "request.pem.new").read_text()
    (device.folder.path / "request.pem.new").write_text(text)
    assert device.look().verdict is Verdict.FAILED
    assert "not the recorded one" in device.state.said


def test_where_nothing_waits_nothing_is_asked_for(place):
    (place / "empty").mkdir()
    with pytest.raises(SettingsError, match="no request waits") as caught:
        enroller.resume(simulated.Folder(place / "empty"))
    assert caught.value.hint == Hint.FIRST_CERTIFICATE
