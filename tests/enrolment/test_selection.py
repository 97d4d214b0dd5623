"""Which certificates an operator means: by subject, along renewals, and what is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scepkit.operations import renewal_chain, selection
from scepkit.operations.selection import Moment
from scepkit.protocol.rfc4514 import parse_subject
from stored import make_issuance

DAY = timedelta(days=1)


@pytest.fixture
def device(world):
    return world.enrolled()


def row(world, holder):
    return world.store.certificate(holder.x509.serial_number)


def test_the_whole_subject_counts_and_its_spelling_does_not(world, device):
    other = world.enrolled("other", subject="CN=device,O=Example")
    moment = Moment(world.now)
    for text in ("CN=device", "cn=DEVICE"):
        found = selection.by_subject(world.store, parse_subject(text), moment)
        assert [one.serial for one in found] == [device.x509.serial_number]
    found = selection.by_subject(world.store, parse_subject("O=example,CN=device"), moment)
    assert [one.serial for one in found] == [other.x509.serial_number]


def test_what_has_expired_is_over_unless_it_still_renews(world, device):
    """In a thief's hands a certificate that can be renewed is as good as a valid one."""
    after = row(world, device).not_after + DAY
    wanted = parse_subject("CN=device")
    assert selection.by_subject(world.store, wanted, Moment(after)) == []
    assert selection.by_subject(world.store, wanted, Moment(after, {"other": 9 * DAY})) == []
    grace = Moment(after, {"default": 2 * DAY})
    assert len(selection.by_subject(world.store, wanted, grace)) == 1
    assert selection.by_subject(world.store, wanted, Moment(after + 2 * DAY, grace.graces)) == []


def test_what_is_in_use(world):
    """What is valid, and nothing valid was renewed from it, whatever lies between."""
    store = world.store
    until = world.now + DAY
    first = make_issuance(not_after=until)
    made = [first]

    def renew(old, **how):
        made.append(make_issuance(renews=old.serial, not_after=until, **how))
        store.record(made[-1]).result()
        return made[-1]

    store.record(first).result()
    second = renew(first)
    third, branch = renew(second), renew(first)

    def current():
        chain = store.renewal_chains([first.serial])
        assert {one.serial for one in chain} == {one.serial for one in made}
        return {key.serial for key in renewal_chain.current(chain, world.now)}

    assert current() == {third.serial, branch.serial}
    store.revoke(second.serial, reason=4, by="test", now=world.now)
    assert current() == {third.serial, branch.serial}
    store.revoke(third.serial, reason=4, by="test", now=world.now)
    assert current() == {branch.serial}
    store.revoke(branch.serial, reason=4, by="test", now=world.now)
    assert current() == {first.serial}
