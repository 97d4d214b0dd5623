"""An intermediate CA: its chain.pem goes where it goes."""

from __future__ import annotations

import pytest

import keys
from keys import NOW
from scepkit.ca.directory import adoption, rollover, rotation
from scepkit.ca.directory.founding import RA_VALIDITY
from scepkit.errors import SettingsError
from scepkit.keys.pem import write_certificate, write_key
from scepkit.server.directory import ca_loading
from scepkit.server.settings import Settings

ROOT = keys.certify("Root", keys.rsa_key("root"), ca=True, key_usage=keys.usage("key_cert_sign"))
CA = keys.certify(
    "Issuing",
    keys.rsa_key("ca"),
    ROOT,
    ca=True,
    key_usage=keys.usage("key_cert_sign", "crl_sign"),
    key_identifier=True,
    not_after=NOW + 3650 * keys.DAY,
)
RA = keys.certify(
    "Issuing RA",
    keys.rsa_key("ra"),
    CA,
    key_usage=keys.usage("digital_signature", "key_encipherment"),
)


@pytest.fixture
def directory(tmp_path):
    write_key(tmp_path / "ca-key.pem", CA.key)
    write_certificate(tmp_path / "ca.pem", CA.x509)
    write_key(tmp_path / "ra-key.pem", RA.key)
    write_certificate(tmp_path / "ra.pem", RA.x509)
    write_certificate(tmp_path / "chain.pem", ROOT.x509)
    return tmp_path


@pytest.fixture
def load(directory):
    return lambda: ca_loading.load_all(Settings(directory=directory), now=NOW)["default"]


def test_the_chain_is_read(load):
    assert load().above == (ROOT.x509,)


def test_a_chain_that_does_not_fit(load, directory):
    """One line says which of the certificates is the wrong one."""
    write_certificate(directory / "chain.pem", RA.x509)
    with pytest.raises(SettingsError, match=r"chain.pem: CN=Issuing RA did not issue CN=Issuing"):
        load()


def test_a_rotation_leaves_it(load, directory):
    """Another RA changes nothing above the CA."""
    assert rotation.rotate_ra(directory, now=NOW, before=RA_VALIDITY - 2 * keys.DAY)
    assert load().material.ra.certificate != RA.x509
    assert load().above == (ROOT.x509,)


def test_a_root_is_not_made_to_follow_it(directory):
    """Devices that trust the root above would not trust the next CA."""
    with pytest.raises(SettingsError, match="is no root"):
        rollover.prepare(directory, now=NOW)


def test_a_next_ca_has_a_chain_of_its_own(load, directory):
    """Its chain comes with it, and that of before goes with the CA that it is of."""
    certified = keys.certify(
        "Issuing G2",
        keys.rsa_key("next"),
        ROOT,
        ca=True,
        key_usage=keys.usage("key_cert_sign", "crl_sign"),
        key_identifier=True,
    )
    place = adoption.adopt(directory, certified.x509, certified.key, [ROOT.x509], now=NOW)
    assert place is adoption.Place.NEXT
    assert load().above == (ROOT.x509,)
    rollover.activate(directory, now=NOW)
    assert load().material.ca.certificate == certified.x509
    assert load().above == (ROOT.x509,)
    assert (directory / "old/1/chain.pem").read_bytes()
