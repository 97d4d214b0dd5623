"""A new RA before the old one expires: when, how often, and what stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from scepkit.ca.directory import founding, rollover
from scepkit.ca.directory.founding import CA_VALIDITY, RA_VALIDITY
from scepkit.ca.directory.material import load
from scepkit.ca.directory.rotation import rotate_ra
from scepkit.ca.issuer import Order
from scepkit.ca.profiles.profile import Profile
from scepkit.errors import SettingsError, UsageError
from scepkit.keys.pem import write_certificate, write_key
from scepkit.protocol.extensions import NO_EXTENSIONS

pytestmark = pytest.mark.usefixtures("new_keys", "no_fsync")

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
BEFORE = 60 * DAY
RA = ["ra-key.pem", "ra.pem"]


@pytest.fixture
def directory(tmp_path, now):
    founding.create(tmp_path / "ca", "ec", now=now)
    return tmp_path / "ca"


def certificates(credentials):
    return [one.certificate for one in credentials]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.rfc("S-7.2-1", "P-53")
def test_a_new_ra_takes_over_and_the_old_one_still_decrypts(directory, now, openssl):
    """The CA's key goes on signing certificates alone: the next RA follows by itself."""
    before = load(directory, now=now)
    at = now + RA_VALIDITY - BEFORE
    assert rotate_ra(directory, now=at, before=BEFORE)
    after = load(directory, now=at)
    assert after.ca.certificate == before.ca.certificate
    assert after.chain == (after.ra.certificate, after.ca.certificate)
    assert after.ra.certificate.public_key() != before.ra.certificate.public_key()
    assert after.ra.certificate.subject == before.ra.certificate.subject
    assert after.ra.certificate.not_valid_after_utc == at + RA_VALIDITY
    assert certificates(after.retired) == [before.ra.certificate]
    kept, was = (one.private_key.private_numbers() for one in (after.retired[0], before.ra))
    assert kept == was
    openssl.verify(after.ra.certificate, after.ca.certificate, at=at)
    assert names(directory) == [".ca.lock", "ca-key.pem", "ca.pem", "old-ra", *RA]
    assert names(directory / "old-ra/1") == RA


def test_not_a_second_too_early_and_only_once(directory, now):
    due = now + RA_VALIDITY - BEFORE
    assert not rotate_ra(directory, now=due - SECOND, before=BEFORE)
    assert names(directory) == [".ca.lock", "ca-key.pem", "ca.pem", *RA]
    assert rotate_ra(directory, now=due, before=BEFORE)
    assert not rotate_ra(directory, now=due, before=BEFORE)
    assert not rotate_ra(directory, now=due + SECOND, before=BEFORE)


def test_an_ra_that_expired_is_replaced(directory, now):
    """A server that was off for years starts again; without this `load` would refuse."""
    late = now + RA_VALIDITY + 100 * DAY
    with pytest.raises(SettingsError, match="expired on"):
        load(directory, now=late)
    assert rotate_ra(directory, now=late, before=BEFORE)
    assert load(directory, now=late).retired == ()


def test_an_ra_of_a_clock_that_was_ahead_is_replaced(directory, now):
    """The server would not start for years, and no command would help."""
    ahead = now + RA_VALIDITY
    assert rotate_ra(directory, now=ahead, before=BEFORE)
    early = load(directory, now=ahead).ra
    with pytest.raises(SettingsError, match="not valid before"):
        load(directory, now=now)
    assert rotate_ra(directory, now=now, before=BEFORE)
    assert not rotate_ra(directory, now=now, before=BEFORE)
    material = load(directory, now=now)
    assert material.ra.certificate.not_valid_after_utc == now + RA_VALIDITY
    # Who has asked meanwhile encrypts to it.
    assert early.certificate in certificates(material.retired)


def test_what_was_rotated_out_goes_when_it_expires(directory, now):
    end = now + RA_VALIDITY
    rotate_ra(directory, now=end - BEFORE, before=BEFORE)
    assert len(load(directory, now=end - SECOND).retired) == 1
    (directory / "old-ra/1/ra-key.pem").unlink()
    with pytest.raises(SettingsError, match=r"no key file .*old-ra/1/ra-key.pem"):
        load(directory, now=end - SECOND)
    assert load(directory, now=end).retired == ()


def test_newest_first(directory, now):
    seen = []
    for at in (now, now + DAY, now + 2 * DAY):
        seen.insert(0, load(directory, now=at).ra.certificate)
        assert rotate_ra(directory, now=at, before=949 * DAY, validity=950 * DAY)
        assert certificates(load(directory, now=at).retired) == seen


def test_where_the_ca_ends_nothing_rotates_for_ever(directory, now):
    """The CA's end cuts the RA's: a new one that lives no longer is none."""
    end = load(directory, now=now).ca.certificate.not_valid_after_utc
    at, made = now, 0
    while at < end:
        made += rotate_ra(directory, now=at, before=BEFORE)
        at += 10 * DAY
    # Ten years by about 670 days, and the last of them ends with the CA.
    assert made == 5
    at -= 10 * DAY
    assert load(directory, now=at).ra.certificate.not_valid_after_utc == end
    assert not rotate_ra(directory, now=end, before=BEFORE)


def test_an_ra_of_ten_years_as_older_versions_made_them(tmp_path, now, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(founding, "RA_VALIDITY", CA_VALIDITY)
        founding.create(tmp_path, "ec", now=now)
    for at in (now, now + CA_VALIDITY - 2 * DAY):
        assert not rotate_ra(tmp_path, now=at, before=BEFORE)


def test_a_ca_without_an_ra_has_nothing_to_rotate(tmp_path, now):
    founding.create(tmp_path, "single", now=now)
    assert not rotate_ra(tmp_path, now=now + CA_VALIDITY - DAY, before=BEFORE)


@pytest.mark.parametrize("before", [RA_VALIDITY, RA_VALIDITY - DAY + SECOND])
def test_an_ra_that_would_be_due_at_once_is_refused(directory, now, before):
    with pytest.raises(UsageError, match="lives 730 days cannot be replaced") as caught:
        rotate_ra(directory, now=now, before=before)
    assert caught.value.hint
    rotate_ra(directory, now=now, before=RA_VALIDITY - DAY)


def test_the_ra_of_the_next_ca_rotates_too(directory, now):
    """A next CA may be prepared for years; devices that are ahead encrypt to its RA."""
    made = rollover.prepare(directory, now=now)
    at = now + RA_VALIDITY - BEFORE
    assert rotate_ra(directory, now=at, before=BEFORE)
    after = load(directory, now=at)
    assert after.next.ca.certificate == made.next.ca.certificate
    assert after.next.chain[0] not in made.next.chain
    old = [made.ra.certificate, made.next.ra.certificate]
    assert sorted(certificates(after.retired), key=old.index) == old
    final = rollover.activate(directory, now=at)
    assert final.chain == after.next.chain
    assert set(certificates(final.retired)) == {*old, after.ra.certificate}


@pytest.mark.parametrize(("bits", "then"), [(1024, 2048), (2048, 2048), (3072, 3072)])
def test_as_large_as_the_one_before(directory, now, bits, then):
    """The operator may have chosen it; one that is too small goes."""
    private = rsa.generate_private_key(65537, bits)
    ca = load(directory, now=now).ca
    small = Profile(rsa_bits=(1024, 4096), default_eku=())
    certified = ca.certify(
        Order(
            subject=ca.own.subject_name,
            public_key=private.public_key(),
            requested=NO_EXTENSIONS,
            profile=small,
            now=now,
        )
    )
    write_key(directory / "ra-key.pem", private)
    certificate = x509.load_der_x509_certificate(certified.der)
    write_certificate(directory / "ra.pem", certificate)
    assert rotate_ra(directory, now=now, before=400 * DAY)
    material = load(directory, now=now)
    assert material.ra.private_key.key_size == then
    assert certificates(material.retired) == [certificate]


@pytest.mark.parametrize("lost", ["ra.pem", "ra-key.pem", "ca-key.pem"])
def test_nothing_is_rotated_where_something_is_lost(directory, now, lost):
    """It is to be repaired, not to be put aside."""
    (directory / lost).unlink()
    with pytest.raises(SettingsError, match=f"there is no .* file .*{lost}"):
        rotate_ra(directory, now=now + RA_VALIDITY, before=BEFORE)
    assert not (directory / "old-ra").exists()


def test_of_several_processes_one_rotates(directory, now, child):
    said = child("race", "rotate", directory)
    assert sorted(said) == ["False"] * 5 + ["True"]
    assert len(load(directory, now=now).retired) == 1


def test_killed_while_rotating(directory, now, killed):
    """The old RA or the new one is in force, and no key is ever lost."""
    made = rollover.prepare(directory, now=now)
    old = [made.ra.certificate, made.next.ra.certificate]
    soon = {"before": 1000 * DAY, "validity": 1100 * DAY}
    seen = []
    for left in killed("rotate", directory):
        shown = load(left, now=now)
        inside = [shown.ra.certificate, shown.next.ra.certificate, *certificates(shown.retired)]
        assert set(old) <= set(inside)
        assert len(set(inside)) == len(inside)
        seen.append(len(inside))
        healed = founding.load_or_create(left, "ec", now=now)
        assert (healed.chain, healed.next.chain) == (shown.chain, shown.next.chain)
        assert not [one for one in names(left) if one.startswith(".") and one != ".ca.lock"]
        assert rotate_ra(left, now=now, **soon) == (len(inside) < 4)
        after = load(left, now=now)
        assert {after.ra.certificate, after.next.ra.certificate}.isdisjoint(old)
        assert set(certificates(after.retired)) == set(old)
        assert names(left / "old-ra") == ["1", "2"]
    assert seen == sorted(seen)
    assert set(seen) == {2, 3, 4}
