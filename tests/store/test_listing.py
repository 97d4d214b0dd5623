"""Certificates are found by how they stand and by what their subject has in it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scepkit.errors import UsageError
from scepkit.store import CertificateStatus
from stored import NOW


@pytest.fixture
def serials(store):
    return lambda **options: {row.serial for row in store.certificates(**options)}


def test_by_status(store, issuance, serials):
    end = NOW + timedelta(days=10)
    for serial in (1, 2, 3, 4):
        store.record(issuance(serial=serial, not_after=end)).result()
    store.record(issuance(serial=5, not_after=end + timedelta(days=1))).result()
    store.revoke(1, reason=0, by="alice", now=NOW)
    after = end + timedelta(microseconds=1)
    assert serials(status=CertificateStatus.REVOKED) == {1}
    assert serials(status=CertificateStatus.VALID, now=end) == {2, 3, 4, 5}
    assert serials(status=CertificateStatus.EXPIRED, now=end) == set()
    assert serials(status=CertificateStatus.VALID, now=after) == {5}
    assert serials(status=CertificateStatus.EXPIRED, now=after) == {2, 3, 4}
    assert serials(status=CertificateStatus.REVOKED, now=after, endpoint="other") == set()
    with pytest.raises(UsageError, match="no time is given"):
        list(store.certificates(status=CertificateStatus.VALID))


def test_by_subject(store, issuance, serials):
    for serial, subject in enumerate(("CN=router-1", "CN=Router_2", "CN=50%", "O=x"), start=1):
        store.record(issuance(serial=serial, subject=subject)).result()
    assert serials(subject="ROUTER") == {1, 2}
    assert serials(subject="r_2") == {2}
    assert serials(subject="%") == {3}
    assert serials(subject="") == {1, 2, 3, 4}
