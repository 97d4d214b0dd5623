"""The revocation of the certificate in a directory: what it goes by, and what it leaves there."""

from __future__ import annotations

import pytest

import httpd
from client.test_renewing import certificate, fill
from scepkit.client import revocation
from scepkit.client.client import Connection
from scepkit.client.folder import Folder
from scepkit.client.folder.record import Record
from scepkit.client.revocation import Revoked
from scepkit.client.revoker import Revoker
from scepkit.errors import Hint, SettingsError, TransportError
from scepkit.protocol.algorithms import Legacy
from scepkit.protocol.cmp import Reason


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "dev1")
    fill(made, certificate(20), httpd.ca())
    return made


@pytest.fixture
def asked(monkeypatch):
    """What the CA is asked; it says yes, and after the first time that it was so before."""
    calls = []

    def revoke(url, wanted, protector, trusted, **how):
        calls.append((url, wanted, protector(), trusted, how))
        return Revoked(was_before=len(calls) > 1)
        yield

    monkeypatch.setattr(revocation, "revoke", revoke)
    return calls


def remember(folder, **changes):
    folder.remember(Record(**{"url": "http://ca.example/scep", "key": "rsa:2048", **changes}))


def test_by_what_the_directory_records(folder, asked):
    remember(folder, url="http://ca.example/scep/wifi", legacy=("sha1",))
    found = Revoker(folder, Connection()).revoke(Reason.keyCompromise)
    ((url, wanted, protector, trusted, how),) = asked
    assert url == "http://ca.example/cmp/wifi"
    assert wanted == found.certificate == folder.certificate()
    assert protector.credential.certificate == wanted
    assert trusted.anchor == folder.ca()
    assert (how["reason"], how["allowed"]) == (Reason.keyCompromise, {Legacy.SHA1})
    assert folder.revocation().reason == "keyCompromise"
    again = Revoker(folder, Connection()).revoke(Reason.superseded)
    assert again.answer.was_before
    assert folder.revocation().reason == "keyCompromise"


def test_by_what_is_given(folder, asked):
    revoker = Revoker(folder, Connection(), url="http://other.example/cmp", allowed=frozenset())
    with pytest.raises(SettingsError) as caught:
        Revoker(folder, Connection()).revoke()
    assert caught.value.hint == Hint.CMP_UNRECORDED
    revoker.revoke(passphrase=lambda: "the challenge")
    ((url, wanted, protector, _, how),) = asked
    assert url == "http://other.example/cmp"
    assert type(protector) is type(revocation.by_passphrase("x", wanted))
    assert how["allowed"] == frozenset()


def test_a_revocation_leaves_no_connection_open(serve, folder, connections):
    site = serve()
    remember(folder, url=site.url)
    with pytest.raises(TransportError, match="HTTP 400"):
        Revoker(folder, Connection()).revoke()
    assert site.requests
    assert connections() == 0


def test_whoever_says_no_sends_nothing(folder, asked):
    remember(folder)

    def no(found):
        assert found == folder.certificate()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Revoker(folder, Connection()).revoke(confirm=no)
    assert asked == []
    assert folder.revocation() is None
