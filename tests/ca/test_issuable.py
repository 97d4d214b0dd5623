"""What a CA may not issue of a profile, and what its certificates lack because of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

import keys
from scepkit.ca.authority import Authority
from scepkit.ca.profiles import issuable
from scepkit.ca.profiles.profile import Profile

SERVER, ANY = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SHORT = Profile(validity=timedelta(days=1))


def authority(*, purposes=(), path_length=None, of_root=()):
    """Return a CA below a root."""
    how = {"ca": True, "key_usage": keys.usage("key_cert_sign", "crl_sign")}
    root = keys.certify(
        "Root", keys.ec_key("root"), path_length=path_length, purposes=of_root, **how
    )
    ca = keys.certify("Below", keys.ec_key("below"), root, purposes=purposes, **how)
    return Authority(ca.x509, ca.key, above=[root.x509])


def test_a_ca_that_may_issue_all_of_it():
    assert [*issuable.faults(SHORT, authority(), keys.NOW)] == []
    assert [*issuable.remarks(SHORT, authority(), keys.NOW)] == []


def test_a_path_length_that_allows_no_such_ca():
    (said,) = issuable.faults(SHORT, authority(path_length=0), keys.NOW)
    assert "path length of 0" in said


@pytest.mark.parametrize("days", [-400, 400])
def test_a_ca_that_is_not_valid(days):
    (said,) = issuable.faults(SHORT, authority(), keys.NOW + timedelta(days=days))
    assert "not now" in said


def test_a_validity_beyond_the_end_of_the_ca():
    (said,) = issuable.remarks(Profile(validity=timedelta(days=900)), authority(), keys.NOW)
    assert "certificates end with the CA" in said


@pytest.mark.parametrize(
    ("purposes", "is_told"),
    [((SERVER,), True), ((SERVER, CLIENT), False), ((ANY, SERVER), False), ((), False)],
)
def test_the_purposes_of_a_ca(purposes, is_told):
    """Some verifiers hold a certificate to the purposes of the CAs above it; none to a root's."""
    told = [*issuable.remarks(SHORT, authority(purposes=purposes, of_root=[SERVER]), keys.NOW)]
    assert [one.partition(":")[0] for one in told] == [
        '"CN=Below" is not for client_auth'
    ] * is_told
