"""When to renew, whom to trust by then, and when to change to the next CA."""

from __future__ import annotations

from datetime import timedelta

import pytest

import httpd
import keys
from pair import _Public
from scepkit.client import renewer, rollover
from scepkit.client.folder import Folder
from scepkit.errors import UntrustedCA
from scepkit.protocol.scep.attributes import TransactionID
from scepkit.protocol.scep.transaction import CAInformation, Issued

DAY = timedelta(days=1)
NEXT = httpd.ca("next-ca")


def certificate(days, issuer=None, start=None):
    start = start or httpd.today()
    return httpd.certify(
        "dev1",
        _Public(keys.rsa_key().public_key()),
        issuer or httpd.ca(),
        not_before=start,
        not_after=start + days * DAY,
    ).certificate


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "dev1")
    fill(made, certificate(20), httpd.ca())
    return made


def fill(folder, found, ca, *above):
    folder.begin(keys.rsa_key())
    folder.install(Issued(found, (ca.certificate, *above), TransactionID(b"1")))


@pytest.mark.parametrize(
    ("days", "before", "left"),
    [
        (365, None, 30),
        (90, None, 30),
        (60, None, 20),
        (3, None, 1),
        (365, 90 * DAY, 90),
        (3, 30 * DAY, 30),
    ],
)
def test_when_to_renew(days, before, left):
    found = certificate(days)
    assert found.not_after - renewer.due(found, before) == left * DAY


def test_the_ca_of_the_folder_is_found_again(serve, connect, folder):
    client = connect(serve())
    found = rollover.find(client, client.ask(), folder)
    assert found.ca.certificates.anchor == httpd.ca().certificate
    assert not found.rolled_over


@pytest.mark.rfc("S-4.7.1-3")
def test_its_successor_is_trusted_once_it_was_vouched_for(serve, connect, folder):
    """A new CA is believed after a verified GetNextCACert, and at no other time."""
    site = serve(following=NEXT)
    client = connect(site)
    certificates = client.get_next_certificates(rollover.find(client, client.ask(), folder).ca)
    site.scep.roll_over()
    with pytest.raises(UntrustedCA):
        rollover.find(client, client.ask(), folder)
    folder.keep_next_ca(certificates)
    found = rollover.find(client, client.ask(), folder)
    assert found.ca.certificates.anchor == NEXT.certificate
    assert found.rolled_over


@pytest.mark.parametrize("is_named", [False, True])
def test_below_one_root_who_issues_tells_them_apart(connect, serve, folder, is_named):
    """The root is trusted all along; the next CA is in force when GetCACert shows it."""
    root = httpd.ca("root")
    before, coming = (
        httpd.certify(name, keys.rsa_key(name), root, ca=True, not_before=httpd.today())
        for name in ("before", "coming")
    )
    fill(folder, certificate(20, before), before, root.certificate)
    folder.keep_next_ca([coming.certificate, root.certificate])
    client = connect(serve())
    for issuing, rolled_over in ((before, False), (coming, True)):
        information = CAInformation(
            frozenset({"scepstandard"}), (issuing.certificate, root.certificate)
        )
        anchor = root.certificate if is_named else None
        found = rollover.find(client, information, folder, anchor=anchor)
        assert found.ca.certificates.issuer == issuing.certificate
        assert found.rolled_over is rolled_over


def test_a_next_ca_that_is_over_is_trusted_no_more(serve, connect, folder):
    """It may have been given up long ago: no message of SCEP says so."""
    over = httpd.certify(
        *("Next CA", keys.rsa_key("next-ca")),
        ca=True,
        not_before=httpd.today() - 9 * DAY,
        not_after=httpd.today() - DAY,
    )
    folder.keep_next_ca([over.certificate])
    site = serve(following=over)
    site.scep.roll_over()
    client = connect(site)
    with pytest.raises(UntrustedCA):
        rollover.find(client, client.ask(), folder)


@pytest.mark.rfc("L-20")
@pytest.mark.parametrize(
    ("start", "rolled_over", "later", "switch"),
    [
        (0, True, 0, True),
        (0, False, 0, False),
        (5, True, 0, False),
        (5, True, 6, True),
        (5, False, 6, False),
        (5, False, 21, True),
    ],
)
def test_when_to_change_over(folder, start, rolled_over, later, switch):
    """Once everything new is valid, and the next CA in force or the old certificate over."""
    folder.keep_next_ca([NEXT.certificate])
    fill(folder.ahead, certificate(25, NEXT, httpd.today() + start * DAY), NEXT)
    now = httpd.today() + later * DAY
    assert rollover.may_switch(folder, now, rolled_over=rolled_over) is switch


def test_nothing_to_change_over_to(folder):
    assert not rollover.may_switch(folder, httpd.today(), rolled_over=True)


@pytest.mark.parametrize("root", [None, NEXT], ids=["roots", "below one root"])
@pytest.mark.parametrize(("rolled_over", "later"), [(True, 0), (False, 21)])
def test_a_next_ca_that_was_given_up(folder, root, rolled_over, later):
    """What it issued is not installed: nobody accepts it, and nobody could revoke it."""
    given_up, announced = (
        httpd.certify(name, keys.rsa_key(name), root, ca=True, not_before=httpd.today())
        for name in ("given-up", "announced")
    )
    above = [root.certificate] if root else []
    folder.keep_next_ca([announced.certificate, *above])
    now = httpd.today() + later * DAY
    for issuer, switch in ((given_up, False), (announced, True)):
        fill(folder.ahead, certificate(25, issuer), issuer, *above)
        assert rollover.may_switch(folder, now, rolled_over=rolled_over) is switch


def test_where_the_next_ca_is_not_known_any_more(folder):
    fill(folder.ahead, certificate(25, NEXT), NEXT)
    assert not rollover.may_switch(folder, httpd.today(), rolled_over=True)


@pytest.mark.rfc("L-20")
def test_a_ca_that_is_not_valid_yet_is_waited_for(folder):
    """The next CA's own certificate has to be valid too, though the device's may be already."""
    coming = httpd.certify(
        "Next CA", keys.rsa_key("next-ca"), ca=True, not_before=httpd.today() + 5 * DAY
    )
    folder.keep_next_ca([coming.certificate])
    fill(folder.ahead, certificate(20, coming), coming)
    assert not rollover.may_switch(folder, httpd.today(), rolled_over=True)
    assert rollover.may_switch(folder, httpd.today() + 6 * DAY, rolled_over=True)
