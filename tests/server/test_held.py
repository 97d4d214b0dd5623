"""An intermediate CA: its chain.pem goes where it goes."""

from __future__ import annotations

import pytest

import keys
from keys import NOW
from scepkit.ca.directory import rollover, rotation
from scepkit.ca.directory.founding import RA_VALIDITY
from scepkit.errors import SettingsError
from scepkit.keys.pem import read_key, write_certificate, write_key
from scepkit.server import ca_loading
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


def test_a_rollover_takes_it_along(load, directory):
    """The next CA is its own root; the chain stays with the CA that it is of."""
    rollover.prepare(directory, now=NOW)
    assert load().above == (ROOT.x509,)
    rollover.activate(directory, now=NOW)
    now_held = load()
    assert now_held.material.ca.certificate.subject == keys.name("Issuing G2")
    assert now_held.above == ()
    assert (directory / "old/1/chain.pem").read_bytes()


def test_a_next_ca_has_a_chain_of_its_own(load, directory):
    """An operator may have the next CA certified by the root, too."""
    rollover.prepare(directory, now=NOW)
    key = read_key(directory / "next/ca-key.pem")
    certified = keys.certify(
        "Issuing G2",
        key,
        ROOT,
        ca=True,
        key_usage=keys.usage("key_cert_sign", "crl_sign"),
        key_identifier=True,
    )
    write_certificate(directory / "next/ca.pem", certified.x509)
    write_certificate(directory / "next/chain.pem", ROOT.x509)
    rollover.activate(directory, now=NOW)
    assert load().material.ca.certificate == certified.x509
    assert load().above == (ROOT.x509,)
