"""The windows in which renewals are suggested: spread, and such that a renewal is taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepkit.enrolment import renewal_window
from scepkit.enrolment.renewal_window import Window
from scepkit.enrolment.rules import RenewalRules
from scepkit.errors import SettingsError
from scepkit.store import CertificateKey, CertificateRow, Pull

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
CA = sha256(b"ca").digest()
USUAL = RenewalRules()
FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def row(life=90 * DAY, serial=1, began=None):
    return CertificateRow(
        serial=serial,
        endpoint="default",
        subject="CN=dev1",
        der=b"",
        not_before=START,
        not_after=START + life,
        public_key=b"",
        issued_at=START,
        revoked_at=None,
        revocation_reason=None,
        issuer=CA,
        renews=None,
        revoked_by=None,
        invalidity_date=None,
        chain_began=began,
    )


def windows(count, rules=USUAL, **how):
    return [renewal_window.usual(row(serial=n, **how), rules) for n in range(1, count + 1)]


def bounds(found):
    return min(one.start for one in found) - START, max(one.end for one in found) - START


@pytest.mark.parametrize(
    ("life", "rules", "first", "last"),
    [
        (90 * DAY, RenewalRules(), 60 * DAY, 70 * DAY),
        (365 * DAY, RenewalRules(), 335 * DAY, 345 * DAY),
        (DAY, RenewalRules(), DAY * 2 / 3, DAY * 7 / 9),
        (90 * DAY, RenewalRules(suggest=Fraction(1, 2)), 45 * DAY, 60 * DAY),
        (90 * DAY, RenewalRules(suggest=Fraction(1, 2), spread=DAY), 45 * DAY, 46 * DAY),
        (90 * DAY, RenewalRules(spread=60 * DAY), 60 * DAY, 90 * DAY),
        (90 * DAY, RenewalRules(window=9 * DAY), 81 * DAY, 84 * DAY),
        (90 * DAY, RenewalRules(suggest=Fraction(1, 10), window=9 * DAY), 81 * DAY, 84 * DAY),
        (90 * DAY, RenewalRules(longest=75 * DAY), 60 * DAY, 65 * DAY),
        (90 * DAY, RenewalRules(longest=45 * DAY), 30 * DAY, 35 * DAY),
    ],
)
def test_windows_are_where_the_profile_has_them(life, rules, first, last):
    earliest, latest = bounds(windows(500, rules, life=life))
    near = (last - first) / 50 + SECOND
    assert first - SECOND <= earliest <= first + near
    assert last - near <= latest <= last + SECOND


@pytest.mark.parametrize(
    "rules",
    [RenewalRules(window=9 * DAY), RenewalRules(longest=400 * DAY), RenewalRules(spread=400 * DAY)],
    ids=str,
)
def test_a_life_at_either_end_of_time(rules):
    """A certificate that was imported may begin, or end, at any time that can be written."""
    for start, end in ((LAST - 90 * DAY, LAST), (FIRST, FIRST + DAY)):
        imported = replace(row(), not_before=start, not_after=end, issued_at=start)
        found = renewal_window.usual(imported, rules)
        assert start <= found.start < found.end <= end


def test_what_cannot_be_renewed_has_no_window():
    assert renewal_window.usual(row(), RenewalRules(window=9 * DAY, longest=45 * DAY)) is None
    over = row(began=START - 100 * DAY)
    assert renewal_window.usual(over, RenewalRules(longest=50 * DAY)) is None


lengths = st.integers(60, 10**9).map(lambda seconds: timedelta(seconds=seconds))
rules = st.builds(
    RenewalRules,
    window=st.none() | lengths,
    longest=st.none() | lengths,
    suggest=st.none() | st.integers(1, 99).map(lambda n: Fraction(n, 100)),
    spread=st.none() | lengths,
)


@given(lengths, rules, st.integers(1, 2**159 - 1))
def test_a_renewal_in_its_window_is_one_that_the_rules_allow(life, rules, serial):
    one = row(life, serial)
    found = renewal_window.usual(one, rules)
    if found is None:
        assert rules.longest is not None
        return
    assert found.start < found.end
    assert found.start.microsecond == found.end.microsecond == 0
    assert found.start >= one.not_before
    # Ends are in whole seconds, so one may be a second late.
    assert found.end <= one.not_after + SECOND
    if rules.window is not None:
        assert found.start >= one.not_after - rules.window - SECOND
    if rules.longest is not None:
        assert found.end <= one.issued_at + rules.longest + SECOND


@given(st.integers(1, 10**9), st.integers(1, 2**159 - 1))
def test_a_share_is_in_its_time_and_the_same_each_time(seconds, serial):
    whole, key = Window(START, START + seconds * SECOND), CertificateKey(serial, CA)
    found = whole.share(key)
    assert found == whole.share(key)
    assert whole.start <= found.start < found.end <= whole.end


def test_ten_thousand_certificates_are_spread_evenly():
    """Fixed numbers, so the same each time: far below 144, which chance passes once in 200."""
    found = windows(10_000)
    first, last = bounds(found)
    latest_start = max(one.start for one in found) - START
    part = (latest_start - first + SECOND) / 100
    counts = Counter(int((one.start - START - first) / part) for one in found)
    assert len(counts) == 100
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 140
    assert last - first > 9.9 * DAY


def test_certificates_with_one_number_of_two_cas_differ():
    whole = Window(START, START + 90 * DAY)
    other = CertificateKey(1, sha256(b"other").digest())
    assert whole.share(CertificateKey(1, CA)) != whole.share(other)


@pytest.mark.parametrize("suggest", [Fraction(-1, 2), Fraction(1), Fraction(3, 2)])
def test_a_point_outside_of_a_certificates_life(suggest):
    with pytest.raises(SettingsError):
        RenewalRules(suggest=suggest)


def early(pulls, rules=USUAL, **how):
    return renewal_window.best(row(**how), rules, pulls)


WEEK = Pull(START + DAY, START + 8 * DAY)


def test_a_call_brings_the_window_forward():
    found = early([WEEK])
    assert WEEK.start <= found.start < found.end <= WEEK.end
    assert found != renewal_window.usual(row(), USUAL)


def test_a_call_that_ends_later_puts_nothing_off():
    later = Pull(START + DAY, START + 80 * DAY)
    usual = renewal_window.usual(row(), USUAL)
    for serial in range(1, 100):
        found = early([later], serial=serial)
        assert found.end <= renewal_window.usual(row(serial=serial), USUAL).end
    assert early([], serial=1) == usual


def test_the_earliest_of_several_counts():
    other = Pull(START + DAY, START + 2 * DAY)
    assert early([WEEK, other]) == early([other, WEEK]) == early([other])


def test_before_a_revocation_there_is_time_left():
    revoked = WEEK._replace(is_revoked=True)
    found = [early([revoked], serial=serial) for serial in range(1, 500)]
    assert max(one.end for one in found) <= START + 8 * DAY - 7 * DAY / 4
    assert max(one.end for one in found) > START + 6 * DAY


def test_a_call_counts_before_the_profiles_own_window_opens():
    rules = RenewalRules(window=9 * DAY)
    assert renewal_window.usual(row(), rules).start >= START + 81 * DAY
    assert early([WEEK], rules).end <= WEEK.end


def test_a_certificate_that_ends_before_has_its_usual_window():
    short = row(life=DAY)
    assert renewal_window.best(short, USUAL, [WEEK]) == renewal_window.usual(short, USUAL)


def test_what_cannot_be_renewed_is_not_called():
    rules = RenewalRules(longest=50 * DAY)
    assert early([WEEK], rules, began=START - 100 * DAY) is None


def test_ten_thousand_certificates_that_are_called_are_spread_evenly():
    found = [early([WEEK], serial=serial) for serial in range(1, 10_001)]
    part = (WEEK.end - WEEK.start) * 7 / 8 / 100
    counts = Counter(int((one.start - WEEK.start) / part) for one in found)
    # The first second of the time may be rounded to the one before.
    assert set(counts) <= set(range(100))
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 140
