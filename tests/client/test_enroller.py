"""The safe workflow from a program: a first certificate and its renewal, events and no terminal."""

from __future__ import annotations

from datetime import timedelta

import pytest

import httpd
from pair import grant
from scepkit import (
    BadRequest,
    Client,
    Enroller,
    Folder,
    Limits,
    NotDue,
    Pending,
    RenewalOptions,
    Renewed,
    Renewer,
    RequestRefused,
    ServerChanges,
    SettingsError,
    StillPending,
    UntrustedCA,
    UsageError,
    by_fingerprint,
    events,
)
from scepkit.client.enroller import resume
from scepkit.protocol.scep.http import Operation
from scepkit.protocol.scep.transaction import Wait

NO = BadRequest("not with that challenge")


@pytest.fixture
def told():
    """Every event."""
    return []


@pytest.fixture
def enroller(connect, tmp_path, told):
    """Return what enrols in the directory `dev1` at a site."""

    def enroller(site, *, trust=None, max_wait=0):
        client = connect(site, limits=Limits(max_wait=max_wait))
        folder = Folder(tmp_path / "dev1")
        trust = trust or by_fingerprint(site.fingerprint)
        return Enroller(client, folder, trust, tell=told.append)

    return enroller


def kinds(told):
    return [type(one) for one in told]


def test_a_first_certificate_and_its_renewal(serve, enroller, tmp_path, told):
    site, folder = serve(grant), Folder(tmp_path / "dev1")
    issued = enroller(site).enrol("CN=dev1", names=["dev1.example"], challenge="secret")
    assert folder.certificate() == issued.certificate
    assert folder.record().url == site.url
    assert kinds(told) == [events.CATrusted, events.RequestPrepared]
    first = folder.key()
    outcome = Renewer(folder).renew()
    assert isinstance(outcome, NotDue)
    assert (outcome.certificate, outcome.standing) == (issued.certificate, "not_named")
    outcome = Renewer(folder, tell=told.append).renew(RenewalOptions(force=True))
    assert isinstance(outcome, Renewed)
    assert folder.certificate() == outcome.issued.certificate != issued.certificate
    assert folder.key() != first


def test_a_key_that_cannot_be_made_is_said_before_anything_happens(serve, enroller, tmp_path, told):
    site = serve(grant)
    enroller(site).enrol("CN=dev1")
    asked = len(site.scep.asked)
    told.clear()
    with pytest.raises(UsageError, match="rsa:1"):
        Renewer(Folder(tmp_path / "dev1"), tell=told.append).renew(
            RenewalOptions(key="rsa:1", force=True)
        )
    assert (len(site.scep.asked), told) == (asked, [])


def test_a_request_that_waits_is_gone_on_with(serve, enroller, told):
    """The same call, the same key; the challenge is asked for again, and is not needed."""
    site, asked = serve(Pending(), grant), []
    device = enroller(site)
    with pytest.raises(StillPending):
        device.enrol("CN=dev1", challenge=lambda: asked.append(1) or "secret")
    assert kinds(told)[-1] is events.KeyStays
    told.clear()
    device.enrol("CN=dev1", challenge="another")
    assert events.RequestContinued in kinds(told)
    assert asked == [1]
    first, second = (request for request, _ in site.scep.asked)
    assert (type(first).__name__, type(second).__name__) == ("PKCSReq", "CertPoll")


def test_a_request_that_is_refused_is_given_up(serve, enroller, tmp_path):
    with pytest.raises(RequestRefused):
        enroller(serve(NO)).enrol("CN=dev1")
    assert not (tmp_path / "dev1").exists()


def test_a_ca_that_is_not_the_one_makes_no_directory(serve, enroller, tmp_path):
    def ask(information):
        assert httpd.ca().certificate in information.certificates
        raise UntrustedCA("nobody says that it is")

    site = serve(grant)
    for trust in (by_fingerprint("0" * 64), ask):
        with pytest.raises(UntrustedCA):
            enroller(site, trust=trust).enrol("CN=dev1")
    assert not (tmp_path / "dev1").exists()
    assert not site.scep.asked


@pytest.mark.parametrize(
    ("subject", "how"),
    [
        ("no name", {}),
        ("CN=dev1", {"names": ["ip:nowhere"]}),
        ("CN=dev1", {"purposes": ["no_purpose"]}),
        ("CN=dev1", {"key": "rsa:1"}),
    ],
)
def test_what_cannot_be_asked_for_is_said_before_anything_happens(
    serve, enroller, tmp_path, told, subject, how
):
    asked = []
    with pytest.raises(UsageError):
        enroller(serve(grant)).enrol(subject, challenge=lambda: asked.append(1), **how)
    assert (asked, told) == ([], [])
    assert not (tmp_path / "dev1").exists()


def test_no_event_shows_a_secret(serve, enroller, told):
    enroller(serve(grant)).enrol("CN=dev1", challenge="mica-5T1R-Halm")
    assert told
    assert "mica-5T1R-Halm" not in repr(told)


def test_what_is_good_is_replaced_by_force_alone(serve, enroller):
    device = enroller(serve(grant))
    first = device.enrol("CN=dev1")
    with pytest.raises(SettingsError, match="is there already, valid until"):
        device.enrol("CN=dev1")
    assert device.enrol("CN=dev1", force=True).certificate != first.certificate


def test_a_directory_that_others_can_write_to_is_told_of(serve, enroller, tmp_path, told):
    directory = tmp_path / "dev1"
    directory.mkdir()
    directory.chmod(0o777)
    enroller(serve(grant)).enrol("CN=dev1")
    assert told[0] == events.OthersCanWrite(directory, directory)


def test_a_renewal_leaves_no_connection_open(serve, enroller, tmp_path, connections):
    """Nor does one that fails: an agent makes one after the other for years."""
    enroller(serve(grant)).enrol("CN=dev1")
    site = serve(grant, NO)
    renewer = Renewer(Folder(tmp_path / "dev1"), server=ServerChanges(url=site.url))
    renewer.renew(RenewalOptions(force=True))
    assert connections() == 0
    with pytest.raises(RequestRefused):
        renewer.renew(RenewalOptions(force=True))
    assert len(site.asked(Operation.PKI_OPERATION)) == 2
    assert connections() == 0


def test_asking_again_leaves_no_connection_open(serve, enroller, tmp_path, connections):
    with pytest.raises(StillPending):
        enroller(serve(Pending(), grant)).enrol("CN=dev1")
    resume(Folder(tmp_path / "dev1"))
    assert Folder(tmp_path / "dev1").certificate() is not None
    assert connections() == 0


def test_the_wait_for_approval_is_the_clients(serve, enroller, waits):
    enroller(serve(Pending(), grant), max_wait=600).enrol("CN=dev1")
    assert [type(one) for one in waits] == [Wait]
    assert timedelta(seconds=waits[0].seconds) <= timedelta(minutes=10)


def test_nothing_is_told_unless_asked_for(serve, connect, tmp_path, capsys):
    site = serve(grant)
    folder = Folder(tmp_path / "dev1")
    client = connect(site)
    assert isinstance(client, Client)
    Enroller(client, folder, by_fingerprint(site.fingerprint)).enrol("CN=dev1")
    assert capsys.readouterr() == ("", "")
